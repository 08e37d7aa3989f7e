"""Checkpoints of Faster R-CNN: torchvision's published ones and what its reference training writes load as they are.

A file in any of the layouts of tkm.weights.files, of any number of classes of which person is class 1, in torchvision's parameter
names, old ones too. What does not fit is refused with what it is and what would fit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from tkm.networks.faster_rcnn import DESIGNS, PERSON, PersonDetector
from tkm.weights import WeightsError
from tkm.weights.files import read_state_dict

# torchvision's file for the first ResNet-50 was trained when its frozen batch norm had no epsilon; torchvision evaluates that
# file, and no other, without one. Its SHA-256 begins as its name, fasterrcnn_resnet50_fpn_coco-258fb6c6.pth, says.
PUBLISHED_WITHOUT_EPSILON = "258fb6c6"
# What torchvision's first files name without its place in a sequence, and how it is named now.
_OLD_NAMES = (
    (re.compile(r"rpn\.head\.conv\.(weight|bias)"), r"rpn.head.conv.0.0.\1"),
    (re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.(weight|bias)"), r"backbone.fpn.\1_blocks.\2.0.\3"),
)
_CLASSES, _BOXES = "roi_heads.box_predictor.cls_score.weight", "roi_heads.box_predictor.bbox_pred.weight"
_OFFSETS = "backbone.body.layer2.0.conv2.offset_mask.weight"
_BODY = "backbone.body."
# Blocks of stage C4, and shape of a 3 x 3 kernel's channels in C2: what tells the backbones apart.
_SHAPES = {"resnet50": (6, (64, 64)), "resnet101": (23, (64, 64)), "resnext101_32x8d": (23, (256, 8))}

_WANTED = (
    "give a Faster R-CNN in torchvision's parameter names, such as its fasterrcnn_resnet50_fpn_coco-258fb6c6.pth "
    "(--detect-network faster-rcnn-resnet-50) or fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth (faster-rcnn-resnet-50-v2)"
)


class _Kind(NamedTuple):
    """What a file holds: one of DESIGNS, deformable or not, where it is a detector; and what it is in words."""

    network: str | None
    deformable: bool
    words: str

    @property
    def options(self) -> str:
        return f"--detect-network {self.network}" + " --detect-deformable" * self.deformable


def load(name: str, path: Path, *, deformable: bool = False) -> PersonDetector:
    """The network of DESIGNS with the parameters of a file, in evaluation mode, on the CPU.

    Raises WeightsError, which names the file, where it is another network's, has no detection heads, or cannot be read.
    """
    parameters = {_new_name(parameter): tensor for parameter, tensor in read_state_dict(path).items()}
    kind = _kind(parameters)
    if (kind.network, kind.deformable) != (name, deformable):
        asked = _Kind(name, deformable, "").options
        fitting = f"it fits {kind.options}" if kind.network else _WANTED
        raise WeightsError(f"weights file {path} does not fit {asked}: it holds {kind.words}; {fitting}")
    classes = parameters[_CLASSES].shape[0]
    if classes <= PERSON:
        raise WeightsError(f"weights file {path} knows {classes} class: person has to be class {PERSON}, beside the background")
    network = PersonDetector(name, classes, deformable=deformable)
    _fill(network, parameters, f"weights file {path} holds {kind.words}, but not as {name} has it")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest().startswith(PUBLISHED_WITHOUT_EPSILON):
            for module in network.modules():
                if isinstance(module, FrozenBatchNorm2d):
                    module.eps = 0.0
    return network.eval()


def start_from_imagenet(network: PersonDetector, path: Path) -> None:
    """Fill the backbone, for training, from an ImageNet classification file of torchvision; a deformable one's kernels too.

    Raises WeightsError, which names the file, where it is no such file or of another backbone.
    """
    parameters = read_state_dict(path)
    kept = {name: tensor for name, tensor in parameters.items() if not name.startswith("fc.")}
    body = network.backbone.body
    offsets = {name: tensor for name, tensor in body.state_dict().items() if ".offset_mask." in name}
    _fill(body, offsets | kept, f"weights file {path} holds {_kind(parameters).words}, not ImageNet weights of this backbone")


def _new_name(name: str) -> str:
    for old, new in _OLD_NAMES:
        if old.fullmatch(name):
            return old.sub(new, name)
    return name


def _fill(network: nn.Module, parameters: Mapping[str, Tensor], complaint: str) -> None:
    """Load exactly these; counts of batches, which frozen batch norm lacks and evaluation ignores, may be there or not."""
    own, count = network.state_dict(), ".num_batches_tracked"
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if not name.endswith(count)}
    found = {name: tuple(tensor.shape) for name, tensor in parameters.items() if not name.endswith(count)}
    wrong = [
        *(f"{name} is missing" for name in wanted if name not in found),
        *(
            f"{name} has the shape {found[name]} in place of {shape}"
            for name, shape in wanted.items()
            if found.get(name, shape) != shape
        ),
        *(f"{name} is not part of it" for name in found if name not in wanted),
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise WeightsError(f"{complaint}: {'; '.join(wrong[:3])}{more}")
    network.load_state_dict({name: parameters.get(name, tensor) for name, tensor in own.items()})


def _kind(parameters: Mapping[str, Tensor]) -> _Kind:
    """What a file of these parameters is, by the names and shapes that only it has."""
    names = parameters.keys()
    deformable = _OFFSETS in names
    if _BOXES in names and _CLASSES in names and "rpn.head.conv.0.0.weight" in names:
        is_v2 = "backbone.fpn.inner_blocks.0.1.weight" in names
        backbone = _backbone(parameters, _BODY)
        network = next((own for own, design in DESIGNS.items() if design == (backbone, is_v2)), None)
        if network:
            return _Kind(network, deformable, network + " with deformable convolutions" * deformable)
        of = f"over {backbone}, of torchvision's design v2" if backbone else "over another backbone"
        return _Kind(None, deformable, f"a Faster R-CNN {of}")
    if "fc.weight" in names and "conv1.weight" in names:
        backbone = _backbone(parameters, "")
        return _Kind(None, False, f"a classification network{f', {backbone}' * bool(backbone)}, without detection heads")
    if any(name.startswith(("rpn_head.", "proposal_generator.")) for name in names):
        return _Kind(None, False, "a detector in MMDetection's or Detectron2's parameter names")
    if any(name.startswith(_BODY) for name in names):
        return _Kind(None, deformable, "a detector without Faster R-CNN's heads")
    if any(name.endswith("final_layer.weight") for name in names):
        return _Kind(None, False, "a pose network (--pose-weights)")
    return _Kind(None, False, f"something else: {', '.join(list(names)[:3])} ...")


def _backbone(parameters: Mapping[str, Tensor], prefix: str) -> str | None:
    """Name, by torchvision, of the ResNet whose parameters' names begin with the prefix."""
    blocks = sum(name.startswith(f"{prefix}layer3.") and name.endswith(".conv3.weight") for name in parameters)
    kernel = parameters.get(f"{prefix}layer1.0.conv2.weight")
    shape = (blocks, tuple(kernel.shape[:2])) if kernel is not None else None
    return next((name for name, own in _SHAPES.items() if own == shape), None)
