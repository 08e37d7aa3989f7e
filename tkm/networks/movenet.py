"""MoveNet Thunder, the embedded pose network: MobileNetV2 (width 1.75), feature pyramid, CenterNet heads.

The network is Google's MoveNet SinglePose Thunder (Apache-2.0, https://www.kaggle.com/models/google/movenet), batch
norm folded into the convolutions; the weights come from the package named in tkm/weights/README.md. The published
graph decodes one image at a time; here forward pass and decoding take a batch.

Shape legend: N crops, K = 17 keypoints in COCO order, C channels, H = W = 64 cells of the heatmaps, 4 pixels each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tkm import weights
from tkm.heatmaps import PoseEstimate, cell_to_crop, subpixel_shift

INPUT_SIZE_PX = 256
KEYPOINTS = 17
HEATMAP_SIZE = 64
# 1 / 127.5 and the distance offset 1.8 as the published graph rounds them to float16.
PIXEL_SCALE = 0.007843017578125
DISTANCE_OFFSET_CELLS = 1.7998046875


class MoveNetOutput(NamedTuple):
    """What the network says of each crop, before decoding; positions and distances in heatmap cells, y before x.

    heatmap         (N, K, 64, 64), keypoint responses in [0, 1]
    centre          (N, 64, 64), responses to the centre of a person in [0, 1]
    regression_yx   (N, K, 2, 64, 64), from a cell, taken as the person's centre, to each keypoint
    offset_yx       (N, K, 2, 64, 64), from a cell's index to the keypoint in it
    features        the crop itself, (N, 3, 64, 64), means of 4 x 4 pixels, -1 to 1; then backbone outputs at strides 4, 8, 16,
                    (N, 40, 64, 64), (N, 56, 32, 32), (N, 168, 16, 16), before the pyramid; linear (no activation), so
                    negative values occur; then the pyramid's, (N, 24, 64, 64), from which all of the above is computed
    """

    heatmap: Tensor
    centre: Tensor
    regression_yx: Tensor
    offset_yx: Tensor
    features: tuple[Tensor, ...]


class SameConv(nn.Conv2d):
    """3 x 3 convolution with TensorFlow's SAME padding: at stride 2 an even side is padded at its end only."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (1, 1):
            return super().forward(x)
        # A leading row and column of zeros in the kernel take up the padding at the start: the same numbers, without
        # the copy of the whole map that padding it on one side would cost.
        kernel = functional.pad(self.weight, (1, 0, 1, 0))
        return functional.conv2d(x, kernel, self.bias, self.stride, self.padding, groups=self.groups)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project; a shortcut where shapes agree. Expansion 1 has no `expand`."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, hidden, 1) if hidden != in_channels else None
        self.depthwise = SameConv(hidden, hidden, stride=stride, groups=hidden)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y: Tensor = self.project(functional.relu6(self.depthwise(hidden), inplace=True))
        return y.add_(x) if self.shortcut else y


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int, expansion: int = 6) -> nn.Sequential:
    channels = [in_channels] + [out_channels] * blocks
    return nn.Sequential(
        *(
            InvertedResidual(channels[i], channels[i + 1], stride if i == 0 else 1, expansion * channels[i])
            for i in range(blocks)
        )
    )


class MobileNetV2(nn.Module):
    """MobileNetV2 (arXiv 1801.04381, Table 2) at width 1.75, its classifier left out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 56, stride=2)
        self.stages = nn.ModuleList(
            (
                _stage(56, 32, 1, stride=1, expansion=1),
                _stage(32, 40, 2, stride=2),
                _stage(40, 56, 3, stride=2),
                _stage(56, 112, 4, stride=2),
                _stage(112, 168, 3, stride=1),
                _stage(168, 280, 3, stride=2),
                _stage(280, 560, 1, stride=1),
            )
        )
        self.last = nn.Conv2d(560, 1280, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Outputs of the seven stages (strides 2, 4, 8, 16, 16, 32, 32), then of the last convolution (stride 32)."""
        x = functional.relu6(self.stem(x), inplace=True)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        outputs.append(functional.relu6(self.last(x), inplace=True))
        return outputs


class SeparableConv(nn.Module):
    """Depthwise 3 x 3 convolution, pointwise convolution, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = SameConv(in_channels, in_channels, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.pointwise(self.depthwise(x)), inplace=True)


class FeaturePyramid(nn.Module):
    """Top down from stride 32 to stride 4, each level doubled, added to its lateral convolution and smoothed."""

    def __init__(self) -> None:
        super().__init__()
        laterals = ((1280, 64), (112, 64), (56, 32), (40, 24))
        self.lateral = nn.ModuleList(nn.Conv2d(*channels, 1) for channels in laterals)
        self.smooth = nn.ModuleList((SeparableConv(64, 32), SeparableConv(32, 24), SeparableConv(24, 24)))

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """levels: backbone outputs at strides 32, 16, 8, 4. Returns (N, 24, 64, 64)."""
        x: Tensor = self.lateral[0](levels[0])
        for lateral, smooth, level in zip(self.lateral[1:], self.smooth, levels[1:], strict=True):
            up = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = smooth(lateral(level).add_(up))
        return x


class Head(nn.Sequential):
    """CenterNet head: separable convolution to 96 channels, pointwise prediction."""

    def __init__(self, out_channels: int) -> None:
        super().__init__(SeparableConv(24, 96), nn.Conv2d(96, out_channels, 1))


class MoveNetThunder(nn.Module):
    """Crops to keypoint heatmaps and what decodes them, for the person in the middle of the crop."""

    cell: Tensor
    middle_weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        self.pyramid = FeaturePyramid()
        self.heatmap = Head(KEYPOINTS)
        self.centre = Head(1)
        self.regression = Head(2 * KEYPOINTS)
        self.offset = Head(2 * KEYPOINTS)
        cell = torch.arange(HEATMAP_SIZE, dtype=torch.float32)
        from_middle = torch.hypot(cell[:, None] - HEATMAP_SIZE // 2, cell - HEATMAP_SIZE // 2)
        self.register_buffer("cell", cell, persistent=False)
        self.register_buffer("middle_weight", 1 / (from_middle + DISTANCE_OFFSET_CELLS), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 256, 256, 3) uint8 RGB to what `features` takes, (N, 3, 256, 256) float32 in channels-last memory."""
        return pixels.permute(0, 3, 1, 2).float()

    def features(self, crops: Tensor) -> tuple[Tensor, ...]:
        """The backbone and its pyramid alone: `features` of the output. crops: (N, 3, 256, 256) float32, RGB, 0..255."""
        scaled = crops * PIXEL_SCALE - 1
        _, stride4, stride8, stride16, deep16, _, _, stride32 = self.backbone(scaled)
        colours = functional.avg_pool2d(scaled, INPUT_SIZE_PX // HEATMAP_SIZE)
        return colours, stride4, stride8, deep16, self.pyramid((stride32, stride16, stride8, stride4))

    def responses(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The heatmaps (N, K, 64, 64) of these features, and the same as decoding weighs them: what refinement looks at, too."""
        output = self.answer(features)
        return output.heatmap, self.decode(output).weighted_heatmap

    def answer(self, features: tuple[Tensor, ...]) -> MoveNetOutput:
        """What the heads say of the pyramid's output."""
        x = features[-1]
        return MoveNetOutput(
            heatmap=self.heatmap(x).sigmoid(),
            centre=self.centre(x).sigmoid()[:, 0],
            regression_yx=self.regression(x).unflatten(1, (KEYPOINTS, 2)),
            offset_yx=self.offset(x).unflatten(1, (KEYPOINTS, 2)),
            features=features,
        )

    def forward(self, crops: Tensor) -> MoveNetOutput:
        """crops: (N, 3, 256, 256) float32, RGB, 0..255."""
        return self.answer(self.features(crops))

    def averaged(self, output: MoveNetOutput, mirrored: MoveNetOutput, flip_order: tuple[int, ...]) -> MoveNetOutput:
        """Mean of the maps of crops and of their mirror images, brought back; features are those of the crops.

        Cells have their middles at j + 0.5 (the offset counts from the cell's corner), so column j becomes column 63 - j and the
        maps need no shift. A keypoint at x = j + v, with v an offset or, from the person's cell, a regression, is at
        64 - x = (63 - j) + (1 - v) in the mirror image: there v has become 1 - v.
        """
        order = list(flip_order)

        def mean(own: Tensor, other: Tensor) -> Tensor:
            return (own.float() + other.float()) / 2

        def back(maps_yx: Tensor) -> Tensor:
            y, x = maps_yx[:, order].flip(4).float().unbind(2)
            return torch.stack([y, 1 - x], dim=2)

        return MoveNetOutput(
            heatmap=mean(output.heatmap, mirrored.heatmap[:, order].flip(3)),
            centre=mean(output.centre, mirrored.centre.flip(2)),
            regression_yx=mean(output.regression_yx, back(mirrored.regression_yx)),
            offset_yx=mean(output.offset_yx, back(mirrored.offset_yx)),
            features=output.features,
        )

    def decode(self, output: MoveNetOutput) -> PoseEstimate:
        """The published graph's own decoding, for a batch.

        The person is where the centre response, weighed by nearness to the crop's middle, is highest. From there each
        keypoint is regressed roughly; it is then sought in its heatmap, weighed by nearness to the regressed position,
        and placed within its cell by that cell's offset. The weighted heatmap is the responses divided by the distance to the
        regressed position plus 1.8.
        """
        heatmap = output.heatmap.float()
        person = (output.centre.float() * self.middle_weight).flatten(1).argmax(1)  # (N,) index of a cell
        person_yx = torch.stack((person // HEATMAP_SIZE, person % HEATMAP_SIZE), dim=-1)
        regressed_yx = person_yx[:, None] + _at_cell(output.regression_yx, person[:, None].expand(-1, KEYPOINTS))
        dy2, dx2 = (regressed_yx[..., None] - self.cell).square().unbind(2)  # each (N, K, 64)
        distance = (dy2[..., :, None] + dx2[..., None, :]).sqrt_()
        weighted = heatmap / distance.add_(DISTANCE_OFFSET_CELLS)
        best = weighted.flatten(2).argmax(2)  # (N, K) index of a cell
        cell_yx = torch.stack((best // HEATMAP_SIZE, best % HEATMAP_SIZE), dim=-1)
        xy = (cell_yx + _at_cell(output.offset_yx, best)).flip(-1) / HEATMAP_SIZE
        score = heatmap.flatten(2).gather(2, best[..., None])[..., 0]
        return PoseEstimate(xy, score, best, weighted)

    def place(self, heatmap: Tensor, cell: Tensor) -> Tensor:
        """Where in the crop the peaks in these cells (N, K, C) stand: (N, K, C, 2) float32, NaN where the cell is -1."""
        return cell_to_crop(cell, subpixel_shift(heatmap, cell), HEATMAP_SIZE, HEATMAP_SIZE)


def _at_cell(maps_yx: Tensor, cell: Tensor) -> Tensor:
    """(N, K, 2) float32, the values of maps_yx (N, K, 2, H, W) at each keypoint's cell, (N, K) index into H W."""
    index = cell[:, :, None, None].expand(-1, -1, 2, 1)
    return maps_yx.flatten(3).gather(3, index)[..., 0].float()


def movenet_thunder() -> MoveNetThunder:
    """The pose network with the embedded weights, in evaluation mode.

    Raises ValueError where the weights file is damaged.
    """
    network = MoveNetThunder()
    network.load_state_dict(weights.load("movenet-thunder"))
    # Channels-last kernels are what a CPU runs fastest (15 to 30 % less time than the default layout).
    return network.eval().to(memory_format=torch.channels_last)
