"""Published checkpoints of pose networks, as they are: any layout of names becomes `backbone.` and `head.`, and must fit exactly.

Known layouts, in PyTorch files of any age and in safetensors, whatever a file is called:
- flat: backbone, `deconv_layers.` and `final_layer.` side by side (microsoft/human-pose-estimation.pytorch and
  leoxiaobin/deep-high-resolution-net.pytorch);
- the same within a training checkpoint, as `best_state_dict` or `state_dict`, with or without the prefix `module.`;
- MMPose's: prefixes `backbone.`, and `head.` or `keypoint_head.`. Its networks all take RGB, its ResNets too.

`num_batches_tracked` may be missing. Files say nothing of the input's size, nor of a ResNet's style (tkm.networks.resnet): who
loads them has to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from tkm.networks.facts import NETWORKS, Colours
from tkm.networks.pose import PoseNetwork
from tkm.skeleton import COCO_17, SKELETONS, Skeleton
from tkm.weights import WeightsError
from tkm.weights.files import read_state_dict

_HEADS = ("keypoint_head.", "head.")
_FLAT_HEAD = ("deconv_layers.", "final_layer.")
_COUNTER = ".num_batches_tracked"
# What only a network trained to classify ImageNet has: torchvision's ResNets, then timm's HRNets.
_CLASSIFIER = ("fc.", "classifier.", "incre_modules.", "downsamp_modules.", "final_layer.0.", "final_layer.1.")
_SHOWN = 3


class Checkpoint(NamedTuple):
    """Tensors of a file.

    layout    `flat` or `mmpose`
    tensors   by name, floating point ones float32; names begin with `backbone.` or `head.`
    """

    layout: Literal["flat", "mmpose"]
    tensors: dict[str, Tensor]


def pose_network(
    path: Path, name: str, skeleton: Skeleton = COCO_17, *, caffe_style: bool = False, new_head: bool = False
) -> PoseNetwork:
    """The network of this name with the weights of a file, in evaluation mode, on the CPU.

    Args: caffe_style, as PoseNetwork takes it; new_head, whether the file's last layer is left aside and starts anew, to
        fine-tune another skeleton's network.
    Raises: WeightsError, which names the file and says what it holds and what would fit.
    """
    if name == "movenet-thunder":
        network, found = PoseNetwork(name, skeleton), _floats(path)
    else:
        checkpoint = read(path)
        colours: Colours | None = "rgb" if checkpoint.layout == "mmpose" else None
        network = PoseNetwork(name, skeleton, colours=colours, caffe_style=caffe_style)
        found = checkpoint.tensors
    keypoints = network.keypoints
    assert isinstance(keypoints, nn.Module)
    wanted = keypoints.state_dict()
    if new_head:
        found = {key: tensor for key, tensor in found.items() if not key.startswith("head.final_layer.")}
        found |= {key: tensor for key, tensor in wanted.items() if key.startswith("head.final_layer.")}
    found = {key: tensor for key, tensor in wanted.items() if key.endswith(_COUNTER)} | found
    if _shapes(found) != _shapes(wanted):
        raise WeightsError(f"{path} {_misfit(found, wanted, name, skeleton)}")
    keypoints.load_state_dict(found)
    return network.eval()


def start_backbone(backbone: nn.Module, path: Path) -> None:
    """Load an ImageNet checkpoint, torchvision's of a ResNet or timm's of an HRNet, into a backbone, without the classifier.

    Raises: WeightsError where it has not all of the backbone's parameters.
    """
    found = {key.removeprefix("backbone."): tensor for key, tensor in read(path).tensors.items()}
    wanted = backbone.state_dict()
    # Of a classifier's last fusion, the backbone has the part for the highest resolution alone.
    found = {key: tensor for key, tensor in found.items() if key in wanted}
    found = {key: tensor for key, tensor in wanted.items() if key.endswith(_COUNTER)} | found
    if _shapes(found) != _shapes(wanted):
        raise WeightsError(f"{path} holds no ImageNet weights of this backbone: {_difference(found, wanted)}")
    backbone.load_state_dict(found)


def read(path: Path) -> Checkpoint:
    """Tensors of a checkpoint in any of the known layouts.

    Raises: WeightsError where the file cannot be read, or holds no state dict, or objects beside tensors.
    """
    tensors = _floats(path)
    if any(key.startswith("backbone.") for key in tensors):
        renamed = {}
        for key, tensor in tensors.items():
            prefix = next((prefix for prefix in _HEADS if key.startswith(prefix)), None)
            renamed[f"head.{key.removeprefix(prefix)}" if prefix else key] = tensor
        return Checkpoint("mmpose", renamed)
    return Checkpoint("flat", {f"{'head' if _is_of_head(key) else 'backbone'}.{key}": value for key, value in tensors.items()})


def _floats(path: Path) -> dict[str, Tensor]:
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in read_state_dict(path).items()}


def _is_of_head(key: str) -> bool:
    return key.startswith(_FLAT_HEAD) and not key.startswith(_CLASSIFIER)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _misfit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], name: str, skeleton: Skeleton) -> str:
    """What is wrong with a file's tensors, and what to do about it: the rest of a sentence that the file's name begins."""
    is_of_backbone = all(key in found and found[key].shape == wanted[key].shape for key in wanted if not key.startswith("head."))
    last = found.get("head.final_layer.weight")
    has_classifier = any(key.removeprefix("backbone.").startswith(_CLASSIFIER) for key in found)
    if last is None and (is_of_backbone or has_classifier):
        return f"holds a backbone without a keypoint head, as trained on ImageNet: give a checkpoint of {name} trained for poses"
    alike = _alike(found, name)
    if alike == name and last is not None and len(last) != len(skeleton.keypoints):
        fitting = [known.name for known in SKELETONS if len(known.keypoints) == len(last)]
        remedy = f"give --estimate-skeleton {fitting[0]}" if fitting else "there is no skeleton of that many keypoints here"
        wants = f"{skeleton.name} has {len(skeleton.keypoints)}"
        return f"has a head of {len(last)} keypoints, and {wants}: {remedy}"
    rather = f"its tensors are those of {alike}: give --estimate-network {alike}; " if alike not in (None, name) else ""
    return f"does not fit {name}: {rather}{_difference(found, wanted)}"


def _alike(found: Mapping[str, Tensor], first: str) -> str | None:
    """The network whose parameters these are, whatever number of keypoints they are for; None for no known one."""
    own = _without_counters_and_last(found)
    for name in (first, *(name for name in NETWORKS if name != first)):
        with torch.device("meta"):
            keypoints = PoseNetwork(name).keypoints
        assert isinstance(keypoints, nn.Module)
        if own == _without_counters_and_last(keypoints.state_dict()):
            return name
    return None


def _without_counters_and_last(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    skipped = ("head.final_layer.weight", "head.final_layer.bias")
    return {key: shape for key, shape in _shapes(tensors).items() if not key.endswith(_COUNTER) and key not in skipped}


def _difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The first names that are missing, too many, or of another shape."""
    have, want = _shapes(found), _shapes(wanted)
    kinds = {
        "missing": [key for key in want if key not in have],
        "too many": [key for key in have if key not in want],
        "of another shape": [f"{key} {have[key]}, not {want[key]}" for key in want if key in have and have[key] != want[key]],
    }
    parts = [f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    return "of its tensors, " + "; ".join(parts)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
