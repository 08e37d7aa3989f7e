"""What there is to know of each pose network without building it: stages, options and heads read it without torch.

Sources: MoveNet Thunder (tkm/networks/movenet.py); SimpleBaseline ResNets (microsoft/human-pose-estimation.pytorch); HRNets
(leoxiaobin/deep-high-resolution-net.pytorch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tkm.skeleton import COCO_17, SKELETONS

NetworkName = Literal["movenet-thunder", "resnet-50", "resnet-101", "resnet-152", "hrnet-w32", "hrnet-w48"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
Colours = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class NetworkFacts:
    """One pose network.

    name                 what settings call it
    input_px             sizes (height, width) of the crop that it takes, the default first
    colours              order of the channels in which the crop is fed to it
    fill                 what stands outside the frame in a crop, and outside the box where that is blanked: 0..255
    grey_margin          default of the share of a box's sides beyond which pixels are blanked, None for not at all: measured for
                         MoveNet (it no longer lands on a neighbour), not for the others
    feature_channels     channels of each map of backbone features; MoveNet's begin with the crop's own colours
    feature_strides_px   their strides, pixels of the crop a cell
    deconvs              transposed convolutions of the keypoint head (choice 1 of docs/method.md)
    skeletons            names of the skeletons that it can have a head for
    """

    name: NetworkName
    input_px: tuple[tuple[int, int], ...]
    colours: Colours
    fill: int
    grey_margin: float | None
    feature_channels: tuple[int, ...]
    feature_strides_px: tuple[int, ...]
    deconvs: int
    skeletons: tuple[str, ...]


def _public(name: NetworkName, colours: Colours, channels: int, stride_px: int, deconvs: int) -> NetworkFacts:
    # COCO's heads are published at the first two sizes, MPII's at the last two.
    sizes = ((384, 288), (256, 192), (256, 256), (384, 384))
    skeletons = tuple(skeleton.name for skeleton in SKELETONS)
    return NetworkFacts(name, sizes, colours, 0, None, (channels,), (stride_px,), deconvs, skeletons)


FACTS: dict[str, NetworkFacts] = {
    facts.name: facts
    for facts in (
        NetworkFacts(
            "movenet-thunder", ((256, 256),), "rgb", 128, 0.05, (3, 40, 56, 168, 24), (4, 4, 8, 16, 4), 0, (COCO_17.name,)
        ),
        _public("resnet-50", "bgr", 2048, 32, 3),
        _public("resnet-101", "bgr", 2048, 32, 3),
        _public("resnet-152", "bgr", 2048, 32, 3),
        _public("hrnet-w32", "rgb", 32, 4, 0),
        _public("hrnet-w48", "rgb", 48, 4, 0),
    )
}


def facts_of(name: str) -> NetworkFacts:
    """Facts of the network that settings call by this name; ValueError for one that there is not."""
    if name not in FACTS:
        raise ValueError(f"there is no pose network {name!r}, only {', '.join(NETWORKS)}")
    return FACTS[name]
