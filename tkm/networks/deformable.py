"""Deformable convolution v2 (Zhu et al., CVPR 2019): samples are taken beside the grid, each with a weight, both learned."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import DeformConv2d

_SAMPLES = 9  # of a 3 x 3 kernel


class DeformableConv2d(DeformConv2d):
    """A 3 x 3 convolution whose samples move and are weighted by what a second convolution makes of the same input.

    Parameters: `weight`, of a plain convolution's name and shape, and `offset_mask`, a convolution to 18 offsets (y and x of
    every sample, in cells of the input) and 9 logits of weights. The weights are twice a sigmoid and `offset_mask` starts at
    zero: no offsets, all weights one, so that it starts as the plain convolution of its `weight`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)
        self.offset_mask = nn.Conv2d(in_channels, 3 * _SAMPLES, 3, stride, padding=1)
        nn.init.zeros_(self.offset_mask.weight)
        nn.init.zeros_(cast(Tensor, self.offset_mask.bias))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float to (N, out_channels, H / stride, W / stride), rounded up."""
        offset, logit = self.offset_mask(x).split((2 * _SAMPLES, _SAMPLES), dim=1)
        return super().forward(x, offset, 2 * logit.sigmoid())


def make_deformable(backbone: ResNet) -> None:
    """Make the 3 x 3 convolutions of C3 to C5 deformable (choice 16 of docs/method.md), in place; their weights stay.

    Takes torchvision's ResNets and ResNeXts of bottleneck blocks.
    """
    for stage in (backbone.layer2, backbone.layer3, backbone.layer4):
        for block in cast("list[Bottleneck]", stage):
            plain = block.conv2
            deformable = DeformableConv2d(plain.in_channels, plain.out_channels, plain.stride[0], plain.groups)
            with torch.no_grad():
                deformable.weight.copy_(plain.weight)
            block.conv2 = deformable
