"""NanoDet-g, the embedded person detector: CSP backbone, path aggregation neck, generalised focal loss head.

The network is `nanodet-g` of https://github.com/RangiLyu/nanodet (Apache-2.0), batch norm folded into the convolutions,
reduced to its person class and to RGB input; the weights come from the package named in tkm/weights/README.md. It was
trained on squares of 416 pixels and, being convolutional, takes any canvas whose sides are multiples of 32.

Shape legend: N images of H x W pixels, A anchors of the strides 8, 16 and 32 (3549 on a square of 416), C channels.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tkm import weights

INPUT_SIZE_PX = 416
STRIDES_PX = (8, 16, 32)
# A side's distance is the mean of a distribution over these multiples of the stride (generalised focal loss, Eq. 3).
DISTANCE_BINS = 11
# ImageNet statistics, 0..255. The published network takes BGR; the conversion swapped its first kernel's channels.
MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.12, 57.375)
LEAKY_SLOPE = 0.1


class NanoDetOutput(NamedTuple):
    """Every anchor's answer, before any threshold or suppression; anchors by stride, then row, then column.

    person_score   (N, A) float32, in [0, 1]
    box_xyxy_px    (N, A, 4) float32, in pixels of the network's input; not clipped to it
    """

    person_score: Tensor
    box_xyxy_px: Tensor


class ConvLeaky(nn.Conv2d):
    """Square convolution that keeps the resolution (but for its stride), followed by a leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(super().forward(x), LEAKY_SLOPE, inplace=True)


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
            up = functional.interpolate(sums[i], scale_factor=2.0, mode="bilinear", align_corners=False)
            sums[i - 1] = sums[i - 1] + up
        for i in range(len(sums) - 1):
            # Bilinear resampling to half the size reads the centre of each 2 x 2 window: its mean.
            sums[i + 1] = sums[i + 1] + functional.avg_pool2d(sums[i], 2)
        return sums


class LevelHead(nn.Module):
    """A level's person logit and the distributions of the distances to the box's four sides, in one tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvLeaky(channels, channels)
        self.predict = nn.Conv2d(channels, 1 + 4 * DISTANCE_BINS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, H W, 1 + 4 bins): person logit, then left, top, right, bottom."""
        answers: Tensor = self.predict(self.conv(x))
        return answers.flatten(2).transpose(1, 2)


class NanoDet(nn.Module):
    """Images to a person score and a box at every anchor."""

    bins: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.stages = nn.ModuleList(
            CspStage(channels, blocks, stride)
            for channels, blocks, stride in ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 3, 2))
        )
        self.neck = PathAggregation((128, 256, 512), 128)
        self.heads = nn.ModuleList(LevelHead(128) for _ in STRIDES_PX)
        self.register_buffer("bins", torch.arange(DISTANCE_BINS, dtype=torch.float32)[:, None, None], persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN_RGB), persistent=False)
        self.register_buffer("std", torch.tensor(STD_RGB), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Pixels as `forward` wants them: standardised by channel.

        images: (N, H, W, 3) uint8 or float, RGB, 0..255, H and W multiples of 32, as `letterbox` makes them. Returns
        (N, 3, H, W) float32 in channels-last memory.
        Raises ValueError for another shape.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] % STRIDES_PX[-1] or images.shape[2] % STRIDES_PX[-1]:
            wanted = f"(N, H, W, 3) with H and W multiples of {STRIDES_PX[-1]}"
            raise ValueError(f"images must have shape {wanted}, not {tuple(images.shape)}: letterbox them first")
        # Whole rows at once: a loop over the last three numbers alone would take five times as long.
        width = images.shape[2]
        rows = (images.flatten(2) - self.mean.repeat(width)) / self.std.repeat(width)
        return rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)

    def forward(self, images: Tensor) -> NanoDetOutput:
        """images: (N, 3, H, W) float32 as `normalise` gives them."""
        # The leaky ReLU rises, so that it and the maximum commute; after pooling it has a quarter of the work.
        x = functional.max_pool2d(self.stem(images), 3, stride=2, padding=1)
        x = functional.leaky_relu(x, LEAKY_SLOPE, inplace=True)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        levels = self.neck(levels[1:])
        answers = torch.cat([head(level) for head, level in zip(self.heads, levels, strict=True)], dim=1).float()
        # The bins go before the anchors: a softmax over a last dimension of 11 would take 8 % of the network's time.
        logits = answers[..., 1:].reshape(*answers.shape[:2], 4, DISTANCE_BINS).permute(0, 3, 1, 2).contiguous()
        anchor_xy_px, anchor_stride_px = _anchors(images.shape[2], images.shape[3], images.device)
        distances = (logits.softmax(1) * self.bins).sum(1) * anchor_stride_px
        left_top, right_bottom = distances.chunk(2, dim=-1)
        box_xyxy_px = torch.cat((anchor_xy_px - left_top, anchor_xy_px + right_bottom), dim=-1)
        return NanoDetOutput(answers[..., 0].sigmoid(), box_xyxy_px)


@cache
def _anchors(height_px: int, width_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres (A, 2) as (x, y) and strides (A, 1) of all anchors of a canvas, float32, in pixels."""
    centres, strides = [], []
    for stride_px in STRIDES_PX:
        y, x = torch.arange(height_px // stride_px) + 0.5, torch.arange(width_px // stride_px) + 0.5
        centres.append(torch.cartesian_prod(y, x).flip(1) * stride_px)
        strides.append(torch.full((len(centres[-1]), 1), float(stride_px)))
    return torch.cat(centres).to(device), torch.cat(strides).to(device)


def nanodet() -> NanoDet:
    """The detector with the embedded weights, in evaluation mode.

    Raises ValueError where the weights file is damaged.
    """
    network = NanoDet()
    network.load_state_dict(weights.load("nanodet"))
    # Channels-last kernels are what a CPU runs fastest (15 to 30 % less time than the default layout).
    return network.eval().to(memory_format=torch.channels_last)
