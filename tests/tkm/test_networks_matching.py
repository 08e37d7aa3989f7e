import numpy as np
import pytest
import torch
from torch import nn

from tests.tkm.plain_formulas import classify
from tkm.networks.matching import Body, Classifiers, Matching, MatchingModule


def classifiers_in_float64(keypoints: int = 3, channels: int = 5, hidden: int = 7) -> Classifiers:
    torch.manual_seed(0)
    classifiers = Classifiers(keypoints, channels, hidden).double()
    with torch.no_grad():  # far from probability 1/2, where one pair looks like another
        for parameter in classifiers.parameters():
            parameter.mul_(3)
    return classifiers


def test_split_classifiers_are_three_layers_on_the_concatenation_of_later_and_earlier():
    classifiers = classifiers_in_float64()
    later, earlier = (torch.randn(4, 3, 5, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        all_pairs = classifiers(later[:, None], earlier[None, :])
        row_by_row = classifiers(later, earlier)
    plain = [
        [[classify(classifiers, k, a[k].numpy(), b[k].numpy()) for k in range(3)] for b in earlier] for a in later
    ]
    assert all_pairs.shape == (4, 4, 3)
    np.testing.assert_allclose(all_pairs.numpy(), plain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(row_by_row.numpy(), np.diagonal(plain, axis1=0, axis2=1).T, rtol=0, atol=1e-12)
    assert np.ptp(plain) > 0.3


def test_who_is_later_matters_to_a_classifier():
    classifiers = classifiers_in_float64()
    a, b = (torch.randn(3, 5, dtype=torch.float64) for _ in range(2))
    assert (classifiers(a, b) - classifiers(b, a)).abs().max() > 1e-3


def test_each_keypoint_has_a_classifier_of_its_own():
    classifiers = classifiers_in_float64()
    a, b = (torch.randn(1, 5, dtype=torch.float64).expand(3, 5) for _ in range(2))
    assert len(set(classifiers(a, b).tolist())) == 3


@pytest.mark.parametrize("shape", [(4, 1, 5), (4, 3, 10), (4, 2, 5)])
def test_features_of_other_keypoints_or_another_length_are_refused(shape):
    classifiers = classifiers_in_float64()
    with pytest.raises(ValueError, match="3 keypoints and 5 numbers"):
        classifiers(torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(("stride", "size"), [(32, (3, 2)), (16, (6, 4)), (4, (24, 16))])
def test_features_come_at_the_heatmaps_resolution_from_four_blocks_of_three_convolutions_and_a_deconvolution(stride, size):
    module = MatchingModule(6, stride, channels=8).eval()
    with torch.no_grad():
        assert module((torch.randn(2, 6, *size),)).shape == (2, 8, 24, 16)
    kinds = [type(layer) for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.Conv2d, nn.ConvTranspose2d] * 4


def test_f_in_cells_is_that_of_the_map_and_nothing_where_there_is_no_cell():
    torch.manual_seed(0)
    head = Matching(MatchingModule(6, 16, channels=8), Classifiers(3, 8, 8)).eval()
    features, cell = (torch.randn(2, 6, 3, 2),), torch.randint(12 * 8, (2, 3, 5))
    cell[0, 1, 2:] = -1
    with torch.no_grad():
        F, found = head.module(features), head.at(features, cell)
    assert found.shape == (2, 3, 5, 8)
    for n, k, s in ((0, 0, 0), (0, 1, 1), (1, 2, 4)):
        row, column = divmod(int(cell[n, k, s]), 8)
        assert torch.equal(found[n, k, s], F[n, :, row, column])
    assert not found[0, 1, 2:].any()
    assert found[cell >= 0].abs().amax(dim=1).min() > 0


def test_the_last_blocks_double_and_the_first_ones_keep_the_resolution():
    strides = [layer.stride[0] for layer in MatchingModule(6, 32, channels=8).modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert strides == [1, 2, 2, 2]


@pytest.mark.parametrize("stride", [2, 12, 128])
def test_a_stride_that_four_blocks_cannot_lead_from_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride {stride}"):
        MatchingModule(6, stride, channels=8)


def test_the_vector_of_a_body_is_the_mean_over_its_crop():
    torch.manual_seed(0)
    body = Body(MatchingModule(6, 4, channels=8), Classifiers(1, 8, 8)).eval()
    features = (torch.randn(2, 6, 5, 3),)
    with torch.no_grad():
        F, vector = body.module(features), body.vector(features)
    assert vector.shape == (2, 8)
    assert vector.abs().max() > 0.01
    assert torch.allclose(vector, sum(F[:, :, y, x] for y in range(5) for x in range(3)) / 15, atol=1e-6)
