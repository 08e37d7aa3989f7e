"""Published checkpoints load as they are, whatever their layout; what does not fit is refused by a sentence that helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.tkm.pose_files import as_mmpose, flat_names, published
from tkm.networks import checkpoints
from tkm.networks.hrnet import HRNet
from tkm.networks.resnet import ResNet
from tkm.skeleton import COCO_17, MPII_16, POSETRACK_15, Skeleton
from tkm.weights import FOLDER, WEIGHTS, WeightsError

pytestmark = pytest.mark.usefixtures("one_thread")
Flat = Mapping[str, Tensor]


def written(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def prefixed(flat: Flat) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in flat.items()}


def training_checkpoint(flat: Flat) -> dict[str, Any]:
    others = {"momentum_buffer": torch.zeros(3)}
    return {"epoch": 210, "model": "pose_resnet", "state_dict": prefixed(flat), "best_state_dict": flat, "optimizer": others}


LAYOUTS: dict[str, Callable[[Flat], Any]] = {
    "flat": dict,
    "prefixed": prefixed,
    "training checkpoint": training_checkpoint,
    "training checkpoint, prefixed alone": lambda flat: {"epoch": 1, "state_dict": prefixed(flat)},
    "best alone": lambda flat: {"best_state_dict": dict(flat), "perf": 0.7},
    "mmpose": lambda flat: {"meta": {"mmpose_version": "1.1.0"}, "state_dict": as_mmpose(flat)},
    "older mmpose": lambda flat: {"meta": {}, "state_dict": as_mmpose(flat, "keypoint_head")},
    "mmpose, prefixed": lambda flat: {"state_dict": prefixed(as_mmpose(flat))},
    "without counters": lambda flat: {key: value for key, value in flat.items() if "num_batches" not in key},
    "float16": lambda flat: {key: value.half() if value.is_floating_point() else value for key, value in flat.items()},
}


@pytest.mark.parametrize(
    ("name", "layout"), [*(("resnet-50", layout) for layout in LAYOUTS), ("hrnet-w32", "prefixed"), ("hrnet-w32", "mmpose")]
)
def test_every_layout_of_a_checkpoint_loads(name: str, layout: str, tmp_path: Path) -> None:
    flat = published(name)
    path = written(LAYOUTS[layout](flat), tmp_path / "final_state.pth")
    network = checkpoints.pose_network(path, name)
    assert not network.training
    loaded = flat_names(network)
    for key, tensor in flat.items():
        if "num_batches" not in key:
            assert torch.allclose(loaded[key], tensor, atol=1e-3 if layout == "float16" else 0), key
    # MMPose feeds its ResNets with RGB; the networks of the flat files were trained on BGR.
    seen = torch.zeros(1, 1, 1, 3, dtype=torch.uint8)
    seen[..., 0] = 255
    red_stands = int(network.normalise(seen)[0, :, 0, 0].argmax())
    assert red_stands == (2 if name == "resnet-50" and "mmpose" not in layout else 0)


@pytest.mark.parametrize(
    ("name", "skeleton"), [("resnet-101", POSETRACK_15), ("resnet-152", MPII_16), ("hrnet-w48", POSETRACK_15)]
)
def test_networks_of_every_size_load_with_heads_of_other_skeletons(name: str, skeleton: Skeleton, tmp_path: Path) -> None:
    flat = published(name, skeleton)
    network = checkpoints.pose_network(written(flat, tmp_path / "model_best.pth.tar"), name, skeleton)
    assert torch.equal(flat_names(network)["final_layer.weight"], flat["final_layer.weight"])


def test_files_of_other_formats_and_names_load(tmp_path: Path) -> None:
    flat = published("hrnet-w32")
    old = written(flat, tmp_path / "0a1b2c", _use_new_zipfile_serialization=False)
    safe = tmp_path / "weights"
    save_file({key: value.contiguous() for key, value in flat.items()}, safe)
    for path in (old, safe):
        assert torch.equal(flat_names(checkpoints.pose_network(path, "hrnet-w32"))["conv1.weight"], flat["conv1.weight"])
    embedded = FOLDER / WEIGHTS["movenet-thunder"].file
    assert checkpoints.pose_network(embedded, "movenet-thunder").facts.name == "movenet-thunder"


def refused(path: Path, name: str, skeleton: Skeleton = COCO_17) -> str:
    with pytest.raises(WeightsError) as error:
        checkpoints.pose_network(path, name, skeleton)
    message = str(error.value)
    assert message.startswith(str(path))
    assert len(message) < 900
    return message


def test_a_head_of_another_number_of_keypoints_is_refused_unless_asked_for(tmp_path: Path) -> None:
    flat = published("resnet-50", MPII_16)
    path = written(flat, tmp_path / "pose.pth")
    message = refused(path, "resnet-50")
    assert "head of 16 keypoints" in message
    assert "coco_17 has 17" in message
    assert "--estimate-skeleton mpii_16" in message
    network = checkpoints.pose_network(path, "resnet-50", COCO_17, new_head=True)
    loaded = flat_names(network)
    assert loaded["final_layer.weight"].shape[0] == 17
    assert len(loaded["final_layer.weight"].unique()) > 100, "it starts anew"
    assert torch.equal(loaded["deconv_layers.3.weight"], flat["deconv_layers.3.weight"])


def test_a_head_of_a_number_that_no_skeleton_has_is_refused(tmp_path: Path) -> None:
    flat = published("hrnet-w32")
    flat |= {"final_layer.weight": torch.rand(1).expand(133, 32, 1, 1), "final_layer.bias": torch.rand(1).expand(133)}
    message = refused(written(flat, tmp_path / "pose.pth"), "hrnet-w32")
    assert "133 keypoints" in message
    assert "no skeleton" in message


def test_the_checkpoint_of_another_network_is_recognised(tmp_path: Path) -> None:
    path = written(as_mmpose(published("resnet-101", POSETRACK_15)), tmp_path / "pose.pth")
    message = refused(path, "hrnet-w48")
    assert "does not fit hrnet-w48" in message
    assert "--estimate-network resnet-101" in message
    assert "resnet-101" in refused(path, "movenet-thunder")


def test_surplus_missing_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    flat = published("resnet-50")
    del flat["layer3.2.conv2.weight"]
    flat |= {"layer9.weight": torch.zeros(3), "bn1.bias": torch.zeros(65)}
    message = refused(written(flat, tmp_path / "pose.pth"), "resnet-50")
    for told in ("layer3.2.conv2.weight", "layer9.weight", "bn1.bias (65,), not (64,)"):
        assert told in message


@pytest.mark.parametrize("name", ["resnet-50", "hrnet-w32"])
def test_an_imagenet_checkpoint_makes_no_poses_but_starts_a_backbone(name: str, tmp_path: Path) -> None:
    flat = {key: value for key, value in published(name).items() if not key.startswith(("deconv_layers.", "final_layer."))}
    if name == "resnet-50":
        classifier = {"fc.weight": torch.zeros(1).expand(1000, 2048), "fc.bias": torch.zeros(1000)}
        backbone: ResNet | HRNet = ResNet(50)
    else:
        classifier = {"classifier.weight": torch.zeros(1).expand(1000, 2048), "incre_modules.0.0.conv1.weight": torch.zeros(3)}
        classifier |= {"final_layer.0.weight": torch.zeros(3), "stage4.2.fuse_layers.1.0.0.0.weight": torch.zeros(3)}
        backbone = HRNet(32)
    path = written(flat | classifier, tmp_path / "imagenet.pth")
    assert "without a keypoint head" in refused(path, name)
    assert "ImageNet" in refused(written(flat, tmp_path / "backbone.pth"), name)
    checkpoints.start_backbone(backbone, path)
    loaded = backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in flat.items())
    del flat["conv1.weight"]
    with pytest.raises(WeightsError, match=r"half.pth.*conv1\.weight"):
        checkpoints.start_backbone(backbone, written(flat, tmp_path / "half.pth"))
