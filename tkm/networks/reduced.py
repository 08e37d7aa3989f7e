"""The heads' modules for the embedded MoveNet: the paper's, reduced to what its 64 x 64 maps can bear.

One 3x3 convolution 256 -> 256 at 64 x 64 costs 2.4 GMAC, twice MoveNet itself, and the paper's matching module has twelve. Here
1x1 projections of MoveNet's features are summed and a few separable convolutions see what lies around a cell: matching and
refinement together take less than 0.3 GMAC a crop.

What a keypoint looks like, and so whose it is, stands in the raw features at strides 4 to 16; the feature pyramid has kept the
posture and lost the person. So matching takes the former alone, and they reach F by a skip too: at this size a module that had
to relearn them did worse than they do by themselves.

Shape legend: N crops, D channels of F, C channels of H, 64 x 64 cells of the heatmaps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tkm.networks.facts import FACTS

# Channels of MoveNet Thunder's features: raw ones at strides 4, 8 and 16, then the pyramid's output at stride 4.
*_RAW, PYRAMID_CHANNELS = FACTS["movenet-thunder"].feature_channels
RAW_CHANNELS = tuple(_RAW)


class Embedding(nn.Module):
    """Feature levels to one map at the first level's resolution: standardised by channel, projected, upsampled and summed."""

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        # Levels differ a hundredfold in range. Frozen features need statistics, not a scale to be learnt: the projection has one.
        self.standardise = nn.ModuleList(nn.BatchNorm2d(n, affine=False) for n in in_channels)
        self.project = nn.ModuleList(nn.Conv2d(n, channels, 1, bias=i == 0) for i, n in enumerate(in_channels))

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """(N, channels, rows, columns) of the levels (N, in_channels[i], ...), the first of which has the most cells."""
        total = self.project[0](self.standardise[0](levels[0]))
        for level, standardise, project in zip(levels[1:], self.standardise[1:], self.project[1:], strict=True):
            # The 1x1 convolution and the resampling commute: this way round the one has fewer cells and the other fewer channels.
            projected = project(standardise(level))
            total = total + functional.interpolate(projected, size=total.shape[2:], mode="bilinear", align_corners=False)
        return total


class SeparableConv(nn.Sequential):
    """ReLU, depthwise 3x3, pointwise, batch norm. ReLU comes first, so that what is added to a skip may be negative."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )


class ReducedMatchingModule(nn.Module):
    """MoveNet's features to F: the embedding of the raw levels, plus what three separable convolutions add from around a cell."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.embedding = Embedding(RAW_CHANNELS, channels)
        self.surroundings = nn.Sequential(*(SeparableConv(channels) for _ in range(3)))

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """F (N, D, 64, 64) of MoveNet's four levels, of which it takes the first three."""
        raw = self.embedding(features[: len(RAW_CHANNELS)])
        F: Tensor = raw + self.surroundings(raw)
        return F


class ReducedRefinementModule(nn.Module):
    """MoveNet's features to H: all four levels embedded, three separable convolutions around a skip, then ReLU."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.embedding = Embedding((*RAW_CHANNELS, PYRAMID_CHANNELS), channels)
        self.surroundings = nn.Sequential(*(SeparableConv(channels) for _ in range(3)))

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """H (N, C, 64, 64) of MoveNet's four levels; not negative."""
        levels = self.embedding(features)
        return torch.relu(levels + self.surroundings(levels))
