"""Faster R-CNN as its training starts: from ImageNet's weights of the backbone, or from a detector that was trained already.

Batch norm that comes with statistics keeps them, since a few large pictures a batch have none worth the name. The stem and C2,
whose filters suit all pictures, stay as they are, as in torchvision's reference training.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from tkm.networks.faster_rcnn import PersonDetector
from tkm.networks.faster_rcnn_files import load, start_from_imagenet

_CLASSES = 2  # the background and PERSON
_STAYS = ("conv1", "bn1", "layer1")


def from_imagenet(name: str, path: Path, *, deformable: bool = False, seed: int = 0) -> PersonDetector:
    """A detector of people whose backbone has the weights of an ImageNet classification file, and all else new ones.

    Raises WeightsError, which names the file, where it does not fit.
    """
    torch.manual_seed(seed)
    network = PersonDetector(name, _CLASSES, deformable=deformable)
    start_from_imagenet(network, path)
    return _made_ready(network, network.backbone.body)


def from_detector(name: str, path: Path, *, deformable: bool = False) -> PersonDetector:
    """The detector of a file, which tells people from the background alone: of other classes nothing is kept.

    Raises WeightsError, which names the file, where it does not fit.
    """
    network = load(name, path, deformable=deformable)
    predictor = network.roi_heads.box_predictor
    predictor.cls_score = _first_rows(predictor.cls_score, _CLASSES)
    predictor.bbox_pred = _first_rows(predictor.bbox_pred, 4 * _CLASSES)
    return _made_ready(network, network)


def _first_rows(layer: nn.Linear, rows: int) -> nn.Linear:
    """A layer of the first answers; the background's and a person's come first."""
    fewer = nn.Linear(layer.in_features, rows)
    with torch.no_grad():
        fewer.weight.copy_(layer.weight[:rows])
        fewer.bias.copy_(layer.bias[:rows])
    return fewer


def _made_ready(network: PersonDetector, pretrained: nn.Module) -> PersonDetector:
    _freeze_norms(pretrained)
    body: nn.Module = network.backbone.body
    for name in _STAYS:
        body.get_submodule(name).requires_grad_(False)
    return network.train()


def _freeze_norms(module: nn.Module) -> None:
    """Put frozen batch norm, under the same names, in place of each that learns; and give that with no epsilon the usual one."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps)
            frozen.load_state_dict({key: value for key, value in child.state_dict().items() if key in frozen.state_dict()})
            setattr(module, name, frozen)
        elif isinstance(child, FrozenBatchNorm2d):
            _take_usual_epsilon(child)
        else:
            _freeze_norms(child)


def _take_usual_epsilon(norm: FrozenBatchNorm2d) -> None:
    """What a file says of an epsilon is lost in the file that comes of the training: the weights make up for it."""
    usual = FrozenBatchNorm2d(1).eps
    norm.weight *= ((norm.running_var + usual) / (norm.running_var + norm.eps)).sqrt()
    norm.eps = usual
