"""Faster R-CNN answers as torchvision's does for people, whoever else is in the pass, plain and deformable, on CPU and CUDA."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.models.detection import FasterRCNN

from tests.tkm.detector_builders import PUBLISHED, frames, people_of, reference, suppressed
from tkm.networks import faster_rcnn
from tkm.networks.deformable import DeformableConv2d, make_deformable
from tkm.networks.faster_rcnn import DESIGNS, PersonDetector, find_people

SMALL = {"min_size": 96, "max_size": 160, "rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 60}


def small(name: str, classes: int, *, deformable: bool = False, proposals: int = 60) -> PersonDetector:
    torch.manual_seed(11)
    network = PersonDetector(name, classes, deformable=deformable, min_side_px=96, max_side_px=160, proposals=proposals)
    return network.eval()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As stages run networks on a CPU; sums of several threads may differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[*((name, 91) for name in PUBLISHED), ("faster-rcnn-resnet-50", 2)], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[FasterRCNN, PersonDetector]:
    """torchvision's network and ours with the same parameters."""
    name, classes = request.param
    theirs, ours = reference(name, classes, **SMALL), small(name, classes)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.fixture(scope="module")
def detector() -> PersonDetector:
    network = small("faster-rcnn-resnet-50", 91)
    network.load_state_dict(reference("faster-rcnn-resnet-50", **SMALL).state_dict())
    return network


@pytest.mark.parametrize(("height_px", "width_px"), [(120, 170), (300, 90)])
def test_people_are_those_of_torchvision(pair: tuple[FasterRCNN, PersonDetector], height_px: int, width_px: int) -> None:
    theirs, ours = pair
    frame = frames(1, height_px, width_px)
    found = find_people(ours, frame)
    score, box = suppressed(found.person_score[0], found.box_xyxy_px[0], frame[0])
    expected_score, expected_box = people_of(theirs, frame[0])
    assert len(expected_score) >= 2
    assert score.shape == expected_score.shape
    torch.testing.assert_close(score, expected_score, rtol=0, atol=1e-4)
    torch.testing.assert_close(box, expected_box, rtol=0, atol=1e-4 * max(height_px, width_px))


def test_scores_fall_and_red_and_blue_are_not_swapped(detector: PersonDetector) -> None:
    frame = frames(1, 100, 140)
    found, swapped = find_people(detector, frame), find_people(detector, frame.flip(3))
    assert (found.person_score.diff(dim=1) <= 0).all()
    assert not torch.allclose(found.person_score, swapped.person_score, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_frame_gets_the_same_bits_alone_and_in_any_company(
    detector: PersonDetector, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(faster_rcnn.ROWS, "cpu", rows)
    block = frames(3, 100, 140)
    together = find_people(detector, block)
    for place in range(3):
        alone = find_people(detector, block[place : place + 1])
        assert torch.equal(alone.person_score[0], together.person_score[place])
        assert torch.equal(alone.box_xyxy_px[0], together.box_xyxy_px[place])


def test_a_frame_of_few_proposals_has_scores_of_zero_behind_them() -> None:
    detector = small("faster-rcnn-resnet-50", 2, proposals=400)  # more than there are anchors
    found = find_people(detector, frames(1, 40, 200))
    assert found.person_score.shape == (1, 400)
    assert found.person_score[0, 0] > 0
    assert found.person_score[0, -1] == 0
    assert found.box_xyxy_px.isfinite().all()


@pytest.mark.parametrize("name", DESIGNS)
def test_every_network_runs_deformable_too_and_starts_as_the_plain_one(name: str) -> None:
    plain, deformable = small(name, 2, proposals=10), small(name, 2, deformable=True, proposals=10)
    missing, surplus = deformable.load_state_dict(plain.state_dict(), strict=False)
    assert not surplus
    assert all(".conv2.offset_mask." in parameter for parameter in missing)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        levels, expected = deformable.backbone(images), plain.backbone(images)
    for level, features in expected.items():
        torch.testing.assert_close(levels[level], features, rtol=0, atol=1e-4 * float(features.abs().max()))


def test_the_three_by_three_convolutions_of_c3_to_c5_are_deformable_and_no_others() -> None:
    backbone = resnet50(weights=None)
    make_deformable(backbone)
    found = [name for name, module in backbone.named_modules() if isinstance(module, DeformableConv2d)]
    blocks = [("layer2", 4), ("layer3", 6), ("layer4", 3)]
    assert found == [f"{stage}.{block}.conv2" for stage, count in blocks for block in range(count)]


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 4)])
def test_a_new_deformable_convolution_is_the_plain_one(stride: int, groups: int) -> None:
    torch.manual_seed(0)
    layer, x = DeformableConv2d(8, 12, stride, groups), torch.randn(2, 8, 9, 11)
    plain = functional.conv2d(x, layer.weight, stride=stride, padding=1, groups=groups)
    torch.testing.assert_close(layer(x), plain, rtol=0, atol=1e-5)


def test_offsets_move_samples_by_y_and_x_and_logits_weigh_them() -> None:
    torch.manual_seed(0)
    layer, x = DeformableConv2d(4, 6), torch.randn(1, 4, 10, 12)
    with torch.no_grad():
        layer.offset_mask.bias[:18] = torch.tensor([2.0, 1.0]).repeat(9)  # two cells down, one to the right
        layer.offset_mask.bias[18:] = -1.5
    moved = functional.pad(x, (0, 1, 0, 2))[:, :, 2:, 1:]
    weight = 2 * torch.sigmoid(torch.tensor(-1.5))
    inside = (..., slice(1, -3), slice(1, -2))  # where no sample is beyond an edge in either
    torch.testing.assert_close(layer(x)[inside], weight * functional.conv2d(moved, layer.weight, padding=1)[inside])


def test_training_gives_losses_that_reach_the_offsets() -> None:
    network = small("faster-rcnn-resnet-50", 2, deformable=True).train()
    target = {"boxes": torch.tensor([[20.0, 20.0, 60.0, 90.0]]), "labels": torch.tensor([1])}
    losses = network([torch.rand(3, 96, 128)], [target])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert total.isfinite()
    offset_mask = network.backbone.body.layer3[0].conv2.offset_mask
    assert isinstance(offset_mask, nn.Conv2d)
    assert offset_mask.weight.grad is not None
    assert offset_mask.weight.grad.abs().max() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares CPU and CUDA, and there is no CUDA device")
@pytest.mark.parametrize("deformable", [False, True])
def test_cuda_finds_the_people_that_the_cpu_finds(detector: PersonDetector, deformable: bool) -> None:
    block = frames(6, 100, 140)  # not a multiple of the frames a pass
    ours = small("faster-rcnn-resnet-50", 91, deformable=deformable)
    ours.load_state_dict(detector.state_dict(), strict=not deformable)
    on_cpu = find_people(ours, block)
    on_cuda = find_people(ours.cuda().to(memory_format=torch.channels_last), block)
    for place in range(len(block)):
        score, box = suppressed(on_cpu.person_score[place], on_cpu.box_xyxy_px[place], block[place])
        other_score, other_box = suppressed(on_cuda.person_score[place], on_cuda.box_xyxy_px[place], block[place])
        assert matched(score, box, other_score, other_box) >= 0.8  # float16 tips the balance of some near-equal proposals


def matched(score: Tensor, box: Tensor, other_score: Tensor, other_box: Tensor) -> float:
    """Share of boxes that have one of nearly the same place (2 px) and score (0.05) on the other side."""
    near = (box[:, None] - other_box[None]).abs().amax(dim=2) < 2
    alike = (score[:, None] - other_score[None]).abs() < 0.05
    return float((near & alike).any(dim=1).float().mean())
