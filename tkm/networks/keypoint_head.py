"""The keypoint head of the paper (choice 1 of docs/method.md) and the network it makes with a backbone: crops to heatmaps.

Shape legend: N crops of H x W pixels, K keypoints, h x w cells of the heatmaps.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tkm.heatmaps import PoseEstimate, cell_to_crop, decode_highest, quarter_shift
from tkm.networks.facts import Colours

CHANNELS = 256
# Of ImageNet, in 0..255, applied to the first, second and third channel as they are fed: published networks that take BGR were
# trained so, too.
MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class HeatmapOutput(NamedTuple):
    """What the network says of each crop, before decoding.

    heatmap    (N, K, h, w), keypoint responses: about 1 at a keypoint, about 0 elsewhere, not clipped
    features   the backbone's maps
    """

    heatmap: Tensor
    features: tuple[Tensor, ...]


class KeypointHead(nn.Module):
    """0 to 3 transposed convolutions (4 x 4, stride 2, 256 channels, batch norm, ReLU), then 1 x 1 to K heatmaps.

    Parameters are called as in microsoft/human-pose-estimation.pytorch.
    """

    def __init__(self, in_channels: int, keypoints: int, deconvs: int) -> None:
        super().__init__()
        if not 0 <= deconvs <= 3:
            raise ValueError(f"deconvs must be 0 to 3, not {deconvs}")
        channels = [in_channels] + [CHANNELS] * deconvs
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            deconv = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            nn.init.normal_(deconv.weight, std=0.001)
            layers += [deconv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(channels[-1], keypoints, 1)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        self.final_layer.bias = nn.Parameter(torch.zeros(keypoints))

    def forward(self, features: Tensor) -> Tensor:
        """features: (N, in_channels, ...). Returns (N, K, h, w)."""
        heatmap: Tensor = self.final_layer(self.deconv_layers(features))
        return heatmap


class HeatmapNetwork(nn.Module):
    """A backbone and a keypoint head: the SimpleBaseline ResNets and the HRNets.

    backbone    crops to a tuple of maps, of which the head takes the first
    stride_px   pixels of the crop a cell of the heatmaps
    colours     order of the channels in which crops are fed
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, head: KeypointHead, stride_px: int, colours: Colours) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.colours = colours
        # In training, cell j stood for the pixel of index stride x j, whose centre is half a pixel further.
        self.cell_centre = 0.5 / stride_px
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (N, H, W, 3) uint8 RGB to what `features` takes, (N, 3, H, W) float32 in channels-last memory."""
        ordered = pixels.flip(3) if self.colours == "bgr" else pixels
        return (ordered.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def features(self, crops: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of normalised crops (N, 3, H, W)."""
        maps: tuple[Tensor, ...] = self.backbone(crops)
        return maps

    def answer(self, features: tuple[Tensor, ...]) -> HeatmapOutput:
        """What the head says of the backbone's maps."""
        return HeatmapOutput(self.head(features[0]), features)

    def responses(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG002
        """None: the paper's refinement module looks at the backbone's maps alone."""
        return ()

    def forward(self, crops: Tensor) -> HeatmapOutput:
        """crops: (N, 3, H, W) float32 as `normalise` gives them, H and W multiples of 32."""
        return self.answer(self.features(crops))

    def averaged(self, output: HeatmapOutput, mirrored: HeatmapOutput, flip_order: tuple[int, ...]) -> HeatmapOutput:
        """Mean of the maps of crops and of their mirror images, brought back; features are those of the crops.

        Mirroring W pixels takes index p to W - 1 - p, which stands in cell (W - 1 - p) / s at stride s. Brought back, that is
        cell (W / s - 1) - (W - 1 - p) / s = p / s - (s - 1) / s: almost a cell left of where p stands in the crop's own maps. So
        the map moves one cell to the right, as in the published evaluations; its first column stays.
        """
        back = mirrored.heatmap[:, list(flip_order)].flip(3)
        moved = torch.cat([back[..., :1], back[..., :-1]], dim=3)
        return HeatmapOutput((output.heatmap.float() + moved.float()) / 2, output.features)

    def decode(self, output: HeatmapOutput) -> PoseEstimate:
        """Eq. 1: each keypoint is where its response is highest."""
        return decode_highest(output.heatmap, self.cell_centre)

    def place(self, heatmap: Tensor, cell: Tensor) -> Tensor:
        """Where in the crop the peaks in these cells (N, K, C) stand: (N, K, C, 2) float32, NaN where the cell is -1."""
        height, width = heatmap.shape[2:]
        return cell_to_crop(cell, quarter_shift(heatmap, cell), height, width, self.cell_centre)
