import pytest
import torch
from torch import nn

from tkm.networks.refinement import Refinement, RefinementModule


@pytest.mark.parametrize(("stride", "size"), [(32, (3, 2)), (4, (24, 16))])
def test_scalars_and_bias_are_the_one_by_one_convolution_of_h(stride, size):
    torch.manual_seed(0)
    head = Refinement(RefinementModule(6, stride, channels=8), keypoints=5, channels=8).double().eval()
    features = (torch.randn(2, 6, *size, dtype=torch.float64),)
    cell = torch.randint(24 * 16, (2, 5, 4))
    cell[1, 2, 3] = -1
    with torch.no_grad():
        H = head.module(features)
        response = head.response(H)
        assert H.shape == (2, 8, 24, 16)
        assert head.bias.abs().min() > 0
        everywhere = H.flatten(2).mT[:, None].expand(-1, 5, -1, -1)
        assert torch.allclose(head.project(everywhere) + head.bias[:, None], response.flatten(2), rtol=0, atol=1e-12)
        a = head.scalars(features, (), cell)
    assert torch.equal(a.isnan(), cell < 0)
    wanted = response.flatten(2).gather(2, cell.clamp(min=0))
    assert torch.allclose((a + head.bias[:, None])[cell >= 0], wanted[cell >= 0], atol=1e-5)


def test_what_the_keypoint_head_answers_does_not_matter_to_the_papers_module():
    torch.manual_seed(0)
    head = Refinement(RefinementModule(6, 4, channels=8), keypoints=5, channels=8).eval()
    features, cell = (torch.randn(2, 6, 8, 8),), torch.randint(64, (2, 5, 3))
    with torch.no_grad():
        assert torch.equal(head.scalars(features, (), cell), head.scalars(features, (torch.rand(2, 5, 8, 8),), cell))


def test_h_is_what_comes_out_of_batch_norm_and_relu():
    torch.manual_seed(0)
    H = RefinementModule(6, 4, channels=8).eval()((torch.randn(1, 6, 8, 8),))
    assert H.min() == 0
    assert H.max() > 0


@pytest.mark.parametrize(("stride", "strides"), [(32, [2, 2, 2]), (8, [1, 1, 2]), (4, [1, 1, 1])])
def test_there_are_three_deconvolutions_whatever_the_backbone(stride, strides):
    layers = [layer for layer in RefinementModule(6, stride, channels=8).modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.stride[0] for layer in layers] == strides


def test_a_stride_that_three_deconvolutions_cannot_lead_from_is_refused():
    with pytest.raises(ValueError, match="stride 64"):
        RefinementModule(6, 64, channels=8)
