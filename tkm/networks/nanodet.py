"""NanoDet-g, the embedded person detector: CSP backbone, path aggregation neck, generalised focal loss head.

The network is `nanodet-g` of https://github.com/RangiLyu/nanodet (Apache-2.0), batch norm folded into the convolutions,
reduced to its person class; the weights come from the package named in tkm/weights/README.md.

Shape legend: N images, A anchors of the strides 8, 16 and 32 (52^2 + 26^2 + 13^2 = 3549), C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tkm import weights

INPUT_SIZE_PX = 416
STRIDES_PX = (8, 16, 32)
# A side's distance is the mean of a distribution over these multiples of the stride (generalised focal loss, Eq. 3).
DISTANCE_BINS = 11
# ImageNet statistics in the channel order BGR, 0..255, that the network was trained with.
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
LEAKY_SLOPE = 0.1


class NanoDetOutput(NamedTuple):
    """Every anchor's answer, before any threshold or suppression; anchors by stride, then row, then column.

    person_score   (N, A) float32, in [0, 1]
    box_xyxy_px    (N, A, 4) float32, in pixels of the network's input; not clipped to it
    """

    person_score: Tensor
    box_xyxy_px: Tensor


def normalise(images: Tensor) -> Tensor:
    """RGB pixels as the network wants them.

    images: (N, 416, 416, 3) uint8 or float, RGB, 0..255. Returns (N, 3, 416, 416) float32, standardised BGR, in
    channels-last memory.
    Raises ValueError for another shape.
    """
    if images.shape[1:] != (INPUT_SIZE_PX, INPUT_SIZE_PX, 3):
        raise ValueError(f"images must have shape (N, {INPUT_SIZE_PX}, {INPUT_SIZE_PX}, 3), not {tuple(images.shape)}")
    mean, std = (torch.tensor(bgr, device=images.device) for bgr in (MEAN_BGR, STD_BGR))
    return ((images.flip(-1) - mean) / std).permute(0, 3, 1, 2)


class ConvLeaky(nn.Conv2d):
    """Square convolution that keeps the resolution (but for its stride), followed by a leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), LEAKY_SLOPE, inplace=True)


class TinyResidual(nn.Module):
    """Two convolutions of half the channels each, their outputs concatenated: C -> C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvLeaky(channels, channels // 2)
        self.second = ConvLeaky(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.cat((self.second(x), x), dim=1)


class CspStage(nn.Module):
    """Cross stage partial block: the entry convolution's output goes around the residual blocks too, C -> 2 C."""

    def __init__(self, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.entry = ConvLeaky(channels, channels, stride)
        self.residuals = nn.Sequential(*(TinyResidual(channels) for _ in range(blocks)))
        self.exit = ConvLeaky(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        return torch.cat((self.exit(self.residuals(x)), x), dim=1)


class PathAggregation(nn.Module):
    """Sums the levels top down, then bottom up, at one channel count (PANet with bilinear resampling)."""

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        sums = [conv(x) for conv, x in zip(self.lateral, levels, strict=True)]
        for i in range(len(sums) - 1, 0, -1):
            up = F.interpolate(sums[i], scale_factor=2.0, mode="bilinear", align_corners=False)
            sums[i - 1] = sums[i - 1] + up
        for i in range(len(sums) - 1):
            # Bilinear resampling to half the size reads the centre of each 2 x 2 window: its mean.
            sums[i + 1] = sums[i + 1] + F.avg_pool2d(sums[i], 2)
        return sums


class LevelHead(nn.Module):
    """A level's person logit and the distributions of the distances to the box's four sides, in one tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvLeaky(channels, channels)
        self.predict = nn.Conv2d(channels, 1 + 4 * DISTANCE_BINS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, H W, 1 + 4 bins): person logit, then left, top, right, bottom."""
        return self.predict(self.conv(x)).flatten(2).transpose(1, 2)


class NanoDet(nn.Module):
    """Images to a person score and a box at every anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.stages = nn.ModuleList(
            (CspStage(32, 1, stride=1), CspStage(64, 2, stride=2), CspStage(128, 2, stride=2), CspStage(256, 3, stride=2))
        )
        self.neck = PathAggregation((128, 256, 512), 128)
        self.heads = nn.ModuleList(LevelHead(128) for _ in STRIDES_PX)
        sides = [INPUT_SIZE_PX // stride for stride in STRIDES_PX]
        centres = [(torch.cartesian_prod(torch.arange(n), torch.arange(n)).flip(1) + 0.5) for n in sides]
        self.register_buffer("anchor_stride_px", _per_anchor(sides), persistent=False)
        self.register_buffer("anchor_xy_px", torch.cat(centres) * self.anchor_stride_px, persistent=False)
        self.register_buffer("bins", torch.arange(DISTANCE_BINS, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> NanoDetOutput:
        """images: (N, 3, 416, 416) float32 as `normalise` gives them."""
        # The leaky ReLU rises, so that it and the maximum commute; after pooling it has a quarter of the work.
        x = F.leaky_relu(F.max_pool2d(self.stem(images), 3, stride=2, padding=1), LEAKY_SLOPE, inplace=True)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        levels = self.neck(levels[1:])
        answers = torch.cat([head(level) for head, level in zip(self.heads, levels, strict=True)], dim=1).float()
        distributions = answers[..., 1:].unflatten(-1, (4, DISTANCE_BINS)).softmax(-1)
        left_top, right_bottom = ((distributions @ self.bins) * self.anchor_stride_px).chunk(2, dim=-1)
        box_xyxy_px = torch.cat((self.anchor_xy_px - left_top, self.anchor_xy_px + right_bottom), dim=-1)
        return NanoDetOutput(answers[..., 0].sigmoid(), box_xyxy_px)


def _per_anchor(sides: list[int]) -> Tensor:
    """(A, 1) float32, the stride of each anchor in pixels."""
    repeats = torch.tensor([side * side for side in sides])
    return torch.tensor(STRIDES_PX, dtype=torch.float32).repeat_interleave(repeats)[:, None]


def nanodet() -> NanoDet:
    """The detector with the embedded weights, in evaluation mode.

    Raises ValueError where the weights file is damaged.
    """
    network = NanoDet()
    network.load_state_dict(weights.load("nanodet"))
    return network.eval().to(memory_format=torch.channels_last)
