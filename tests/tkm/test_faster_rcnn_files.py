"""torchvision's detection checkpoints load as they are; what does not fit is refused with what it is and what would fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50, resnet101, resnext101_64x4d
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_fpn,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    keypointrcnn_resnet50_fpn,
    retinanet_resnet50_fpn,
)
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.misc import FrozenBatchNorm2d

from tests.tkm.detector_builders import layout
from tkm.networks import faster_rcnn_files
from tkm.networks.faster_rcnn import DESIGNS, PersonDetector
from tkm.networks.faster_rcnn_files import load, start_from_imagenet
from tkm.weights import WeightsError

Layout = dict[str, Tensor]
NO_WEIGHTS: dict[str, Any] = {"weights": None, "weights_backbone": None}
V1, V2 = "faster-rcnn-resnet-50", "faster-rcnn-resnet-50-v2"


def over(backbone: str) -> Callable[[], nn.Module]:
    """torchvision's first design over another of its backbones, as its users build it."""
    return lambda: FasterRCNN(resnet_fpn_backbone(backbone_name=backbone, weights=None), num_classes=2)


def v1(classes: int = 91) -> Layout:
    return layout(lambda: fasterrcnn_resnet50_fpn(num_classes=classes, **NO_WEIGHTS))


def v2() -> Layout:
    return layout(lambda: fasterrcnn_resnet50_fpn_v2(**NO_WEIGHTS))


def as_published(parameters: Layout) -> Layout:
    """In the names of torchvision's file of 2019, whose frozen batch norm counts no batches."""
    old = {name.replace("rpn.head.conv.0.0.", "rpn.head.conv."): tensor for name, tensor in parameters.items()}
    for blocks in ("inner_blocks", "layer_blocks"):
        old = {
            name.replace(".0.weight", ".weight").replace(".0.bias", ".bias") if blocks in name else name: tensor
            for name, tensor in old.items()
        }
    return {name: tensor for name, tensor in old.items() if not name.endswith("num_batches_tracked")}


def saved(content: object, folder: Path) -> Path:
    path = folder / "detector.pth"
    torch.save(content, path)
    return path


LAYOUTS: dict[str, tuple[str, Callable[[], Layout], Callable[[Layout], object]]] = {
    "v1": (V1, v1, lambda own: own),
    "v1 as published": (V1, v1, as_published),
    "v1 of torchvision's reference training": (V1, v1, lambda own: {"model": own, "optimizer": {}, "epoch": 25}),
    "v1 of several GPUs": (V1, v1, lambda own: {f"module.{name}": tensor for name, tensor in own.items()}),
    "v1 of people alone": (V1, lambda: v1(2), lambda own: own),
    "v2": (V2, v2, lambda own: own),
    "ResNet-101": ("faster-rcnn-resnet-101", lambda: layout(over("resnet101")), lambda own: own),
    "ResNeXt-101": ("faster-rcnn-resnext-101", lambda: layout(over("resnext101_32x8d")), lambda own: own),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout_loads_as_it_is(kind: str, tmp_path: Path) -> None:
    name, parameters, wrapped = LAYOUTS[kind]
    expected = parameters()
    network = load(name, saved(wrapped(expected), tmp_path))
    assert not network.training
    own = network.state_dict()
    counts = {parameter for parameter in own.keys() ^ expected.keys() if parameter.endswith("num_batches_tracked")}
    assert own.keys() ^ expected.keys() == counts
    for parameter in own.keys() & expected.keys():
        assert torch.equal(own[parameter], expected[parameter]), parameter


def test_a_deformable_network_loads_what_it_saved(tmp_path: Path) -> None:
    expected = layout(lambda: PersonDetector(V1, 2, deformable=True))
    own = load(V1, saved(expected, tmp_path), deformable=True).state_dict()
    assert torch.equal(
        own["backbone.body.layer4.2.conv2.offset_mask.bias"], expected["backbone.body.layer4.2.conv2.offset_mask.bias"]
    )


def test_only_torchvisions_published_v1_file_is_evaluated_without_batch_norms_epsilon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(as_published(v1()), tmp_path)
    assert epsilons(load(V1, path)) == {1e-5}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(faster_rcnn_files, "PUBLISHED_WITHOUT_EPSILON", digest[:8])
    assert epsilons(load(V1, path)) == {0.0}


def epsilons(network: PersonDetector) -> set[float]:
    return {module.eps for module in network.modules() if isinstance(module, FrozenBatchNorm2d)}


POSE_NETWORK = {"conv1.weight": torch.zeros(1), "deconv_layers.0.weight": torch.zeros(1), "final_layer.weight": torch.zeros(1)}
MISFITS: dict[str, tuple[tuple[str, bool], Callable[[], Layout], str]] = {
    "v2 for v1": ((V1, False), v2, rf"does not fit --detect-network {V1}: it holds {V2}; it fits --detect-network {V2}$"),
    "v1 for v2": ((V2, False), v1, rf"it holds {V1}; it fits --detect-network {V1}$"),
    "v1 for ResNet-101": (("faster-rcnn-resnet-101", False), v1, rf"it fits --detect-network {V1}$"),
    "plain for deformable": (
        (V1, True),
        v1,
        rf"does not fit .* --detect-deformable: it holds {V1}; it fits --detect-network {V1}$",
    ),
    "deformable for plain": (
        (V1, False),
        lambda: layout(lambda: PersonDetector(V1, 2, deformable=True)),
        rf"it fits --detect-network {V1} --detect-deformable$",
    ),
    "ImageNet": (
        (V1, False),
        lambda: layout(resnet50),
        "a classification network, resnet50, without detection heads; give a Faster",
    ),
    "RetinaNet": (
        (V1, False),
        lambda: layout(lambda: retinanet_resnet50_fpn(**NO_WEIGHTS)),
        "a detector without Faster R-CNN's heads",
    ),
    "MobileNet": (
        (V1, False),
        lambda: layout(lambda: fasterrcnn_mobilenet_v3_large_fpn(**NO_WEIGHTS)),
        "a Faster R-CNN over another backbone",
    ),
    "another ResNeXt": (
        ("faster-rcnn-resnext-101", False),
        lambda: layout(over("resnext101_64x4d")),
        "a Faster R-CNN over another backbone",
    ),
    "Keypoint R-CNN": (
        (V1, False),
        lambda: layout(lambda: keypointrcnn_resnet50_fpn(**NO_WEIGHTS)),
        r"roi_heads\.keypoint_head.* is not part",
    ),
    "a pose network": ((V1, False), lambda: POSE_NETWORK, "a pose network"),
    "MMDetection": (
        (V1, False),
        lambda: {"backbone.conv1.weight": torch.zeros(1), "rpn_head.rpn_conv.weight": torch.zeros(1)},
        "MMDetection",
    ),
    "anything": ((V1, False), lambda: {"encoder.bias": torch.zeros(1)}, r"something else: encoder\.bias"),
    "a single class": ((V1, False), lambda: v1(1), "knows 1 class: person has to be class 1"),
    "a parameter missing": (
        (V1, False),
        lambda: without(v1(), "rpn.head.bbox_pred.bias"),
        r"rpn\.head\.bbox_pred\.bias is missing",
    ),
    "a shape of its own": (
        (V1, False),
        lambda: v1() | {"roi_heads.box_head.fc6.weight": torch.zeros(1).expand(512, 12544)},
        r"fc6\.weight has the shape \(512, 12544\) in place of \(1024, 12544\)",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_what_does_not_fit_is_refused_with_what_it_is_and_what_would_fit(kind: str, tmp_path: Path) -> None:
    (name, deformable), parameters, said = MISFITS[kind]
    with pytest.raises(WeightsError, match=said) as refused:
        load(name, saved(parameters(), tmp_path), deformable=deformable)
    assert str(tmp_path / "detector.pth") in str(refused.value)


def without(parameters: Layout, name: str) -> Layout:
    return {own: tensor for own, tensor in parameters.items() if own != name}


@pytest.mark.parametrize("deformable", [False, True])
def test_imagenet_weights_start_the_backbone(deformable: bool, tmp_path: Path) -> None:
    expected = layout(resnet50)
    network = PersonDetector(V1, 2, deformable=deformable)
    heads = network.roi_heads.box_predictor.cls_score.weight.clone()
    start_from_imagenet(network, saved(expected, tmp_path))
    body = network.backbone.body.state_dict()
    for name in body.keys() & expected.keys():
        assert torch.equal(body[name], expected[name]), name
    assert len(body.keys() & expected.keys()) == sum(not name.endswith(("tracked", "fc.weight", "fc.bias")) for name in expected)
    assert all(not tensor.any() for name, tensor in body.items() if ".offset_mask." in name)
    assert torch.equal(network.roi_heads.box_predictor.cls_score.weight, heads)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (lambda: layout(resnet101), r"holds a classification network, resnet101, .*not ImageNet weights of this backbone"),
        (lambda: layout(resnext101_64x4d), "not ImageNet weights of this backbone"),
        (v2, f"holds {V2}, not ImageNet weights"),
    ],
)
def test_imagenet_weights_of_another_backbone_are_refused(parameters: Callable[[], Layout], said: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=said):
        start_from_imagenet(PersonDetector(V1, 2), saved(parameters(), tmp_path))


def test_every_network_is_one_of_these_layouts() -> None:
    assert {name for name, _, _ in LAYOUTS.values()} == set(DESIGNS)
