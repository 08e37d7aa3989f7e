"""Faster R-CNN as its training starts: what it keeps of the file, and what stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50
from torchvision.models.detection import fasterrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn_v2
from torchvision.ops.misc import FrozenBatchNorm2d

from tkm.networks import faster_rcnn_files
from tkm.networks.faster_rcnn import PersonDetector
from tkm.networks.faster_rcnn_files import load
from tkm.networks.faster_rcnn_start import from_detector, from_imagenet
from tkm.weights import WeightsError

V1, V2 = "faster-rcnn-resnet-50", "faster-rcnn-resnet-50-v2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A ResNet-50 for ImageNet, and both designs for COCO, of random weights and statistics."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("files")
    found = {}
    networks = {
        "imagenet": resnet50(),
        V1: fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None),
        V2: fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None),
    }
    for name, network in networks.items():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
                module.running_var.uniform_(1e-6, 1)
                module.running_mean.normal_()
        found[name] = folder / f"{name}.pth"
        torch.save(network.state_dict(), found[name])
    yield found
    for path in found.values():
        path.unlink()


@pytest.mark.parametrize("name", [V1, V2])
def test_a_detector_keeps_what_it_knows_of_people(files: dict[str, Path], name: str) -> None:
    whole, start = load(name, files[name]), from_detector(name, files[name])
    x = torch.randn(5, 1024)

    logits, boxes = (answer.detach() for answer in start.roi_heads.box_predictor(x))
    all_logits, all_boxes = (answer.detach() for answer in whole.roi_heads.box_predictor(x))

    torch.testing.assert_close(logits, all_logits[:, :2])
    torch.testing.assert_close(boxes, all_boxes[:, :8])
    state = start.state_dict()
    for parameter, tensor in whole.state_dict().items():
        if "box_predictor" not in parameter and not parameter.endswith("num_batches_tracked"):
            torch.testing.assert_close(state[parameter], tensor)


def learns(network: PersonDetector) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", [V1, V2])
def test_stem_c2_and_known_statistics_stay_as_they_are(files: dict[str, Path], name: str) -> None:
    network = from_imagenet(name, files["imagenet"])
    body = {parameter for parameter in learns(network) if parameter.startswith("backbone.body.")}

    assert body == {
        f"backbone.body.{parameter}" for parameter in kernels() if parameter.startswith(("layer2", "layer3", "layer4"))
    }
    assert {"rpn.head.bbox_pred.weight", "roi_heads.box_predictor.cls_score.weight"} <= learns(network)
    network.backbone.body.train()(torch.rand(1, 3, 32, 32))
    theirs = torch.load(files["imagenet"], weights_only=True)
    for parameter, tensor in network.backbone.body.state_dict().items():
        torch.testing.assert_close(tensor, theirs[parameter])


def kernels() -> set[str]:
    return {name for name, parameter in resnet50().named_parameters() if parameter.dim() == 4}


def test_other_weights_are_refused_by_name(files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match=r"faster-rcnn-resnet-50\.pth holds .* not ImageNet weights"):
        from_imagenet(V1, files[V1])


def test_a_file_without_epsilon_gives_one_that_needs_none(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(files[V1].read_bytes()).hexdigest()
    monkeypatch.setattr(faster_rcnn_files, "PUBLISHED_WITHOUT_EPSILON", digest)
    x = torch.randn(1, 64, 8, 8)
    published = load(V1, files[V1]).backbone.body.bn1
    torch.save(from_detector(V1, files[V1]).state_dict(), tmp_path / "trained.pth")

    trained = load(V1, tmp_path / "trained.pth").backbone.body.bn1

    assert (published.eps, trained.eps) == (0, 1e-5)
    torch.testing.assert_close(trained(x), published(x), rtol=1e-4, atol=1e-4)
