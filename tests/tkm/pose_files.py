"""Checkpoints of pose networks as others publish them, made of random numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tkm.networks.pose import PoseNetwork
from tkm.skeleton import COCO_17, Skeleton


def flat_names(network: PoseNetwork) -> dict[str, Tensor]:
    """The network's parameters as SimpleBaseline and HRNet files call them."""
    assert isinstance(network.keypoints, nn.Module)
    return {key.removeprefix("backbone.").removeprefix("head."): value for key, value in network.keypoints.state_dict().items()}


def published(name: str, skeleton: Skeleton = COCO_17, seed: int = 0) -> dict[str, Tensor]:
    """A flat checkpoint in which every tensor holds one random number of its own, so that a file of it is small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        own = flat_names(PoseNetwork(name, skeleton))
    return {
        key: torch.tensor(7) if tensor.ndim == 0 else torch.rand(1, generator=generator).expand(tensor.shape)
        for key, tensor in own.items()
    }


def as_mmpose(flat: Mapping[str, Tensor], head: str = "head") -> dict[str, Tensor]:
    """A flat checkpoint as MMPose calls its parameters."""
    return {f"{head if key.startswith(('deconv_', 'final_')) else 'backbone'}.{key}": value for key, value in flat.items()}


def random_network(name: str, skeleton: Skeleton = COCO_17, seed: int = 0) -> PoseNetwork:
    """A network whose heatmaps have many maxima, of responses around 0.9."""
    torch.manual_seed(seed)
    network = PoseNetwork(name, skeleton).eval()
    parameters = flat_names(network)
    parameters["final_layer.weight"].normal_(std=0.001)
    parameters["final_layer.bias"].fill_(0.8)
    for key, tensor in parameters.items():
        if key.startswith("deconv_layers.") and tensor.ndim == 4:
            tensor.normal_(std=0.02)
    return network
