"""Networks and heads of random weights, as files in the layouts that users have them: enough to measure speed and size.

Batch norms get the statistics of crops of the clip that is measured. Left at 0 and 1, activations double from block to block, out
of float16's range; and with them F varies over places and channels as a trained head's does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.heads import Role
from tkm import weights
from tkm.networks.faster_rcnn import PersonDetector
from tkm.networks.heads import HeadFacts, HeadKind, build, save_head
from tkm.networks.matching import Matching
from tkm.networks.pose import PoseNetwork, embedded
from tkm.networks.refinement import Refinement

COCO_CLASSES = 91
CALIBRATION_CROPS = 4
HEADS: tuple[HeadKind, ...] = ("matching", "refinement")


def write_detector(path: Path, name: str) -> Path:
    """A Faster R-CNN in torchvision's layout."""
    network = PersonDetector(name, COCO_CLASSES)
    # Its batch norms may be frozen, without statistics of their own: residual branches are damped instead.
    damped = {key: tensor * 0.2 if key.endswith("bn3.weight") else tensor for key, tensor in network.state_dict().items()}
    torch.save(damped, path)
    return path


def write_pose(folder: Path, name: str, crops: NDArray[np.uint8], tau: int, *, with_heads: bool) -> dict[Role, Path]:
    """A pose network in its published, flat layout, but for the embedded one, and heads for it; files by role.

    Args: crops (N, H, W, 3) uint8, at least CALIBRATION_CROPS, of the size that the network takes.
    """
    pixels = torch.from_numpy(crops[:CALIBRATION_CROPS])
    files: dict[Role, Path] = {}
    if name == "movenet-thunder":
        network, sha256 = embedded(), weights.digest(name)
    else:
        network = PoseNetwork(name)
        own, drawn = network, network.normalise(pixels)
        _settle(network, lambda: own(drawn))
        assert isinstance(network.keypoints, nn.Module)
        state = network.keypoints.state_dict()
        files["pose"] = folder / f"{name}.pth"
        torch.save({key.removeprefix("backbone.").removeprefix("head."): tensor for key, tensor in state.items()}, files["pose"])
        sha256 = hashlib.sha256(files["pose"].read_bytes()).hexdigest()
    if with_heads:
        with torch.no_grad():
            maps = network.features(network.normalise(pixels))
        for kind in HEADS:
            facts = HeadFacts.usual(kind, name, sha256, network.skeleton.name, tau)
            head = build(facts)
            assert isinstance(head, Matching | Refinement)
            _settle(head, partial(_everywhere, head, network, maps))
            files[kind] = folder / f"{kind}.safetensors"
            save_head(files[kind], head, facts)
    return files


def _everywhere(head: Matching | Refinement, network: PoseNetwork, maps: tuple[Tensor, ...]) -> Tensor:
    """F or H of a head in all cells of the heatmaps."""
    rows, columns = network.keypoints.answer(maps).heatmap.shape[2:]
    cell = torch.arange(rows * columns).expand(len(maps[0]), 1, -1)
    if isinstance(head, Matching):
        return head.at(maps, cell)
    return head.module.at(maps, network.responses(maps), cell)


def _settle(module: nn.Module, run: Callable[[], object]) -> None:
    """Give batch norms the statistics of what `run` sends through them."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.momentum = None  # a plain mean
    module.train()
    with torch.no_grad():
        run()
    module.eval()
