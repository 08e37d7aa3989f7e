"""Keypoint refinement (paper section 3.3): feature maps H, and the scalars that Eq. 6 needs of them.

Shape legend: N crops, K keypoints, C channels of H, h x w cells of the heatmaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tkm.heatmaps import gather_vectors
from tkm.networks.matching import deconvolution, doublings

if TYPE_CHECKING:
    from tkm.networks.reduced import ReducedRefinementModule


class RefinementModule(nn.Module):
    """Backbone features to H at the heatmaps' resolution, by the keypoint prediction module's structure: three deconvolutions.

    H is what comes out of the last one's batch norm and ReLU (choice 8 of docs/method.md). On a ResNet all three double the
    resolution, from stride 32 to 4. An HRNet's own keypoint head has none, being at stride 4 already, which would leave the
    refinement nothing but a 1x1 convolution of frozen features: there the three have stride 1 and keep the resolution.
    """

    def __init__(self, in_channels: int, backbone_stride: int, heatmap_stride: int = 4, channels: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, doubles in enumerate(doublings(backbone_stride, heatmap_stride, layers=3)):
            layers += deconvolution(in_channels if i == 0 else channels, channels, doubles=doubles)
        self.deconvolutions = nn.Sequential(*layers)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """H (N, C, h, w) of backbone features, of which it takes the first: (N, in_channels, rows, columns)."""
        H: Tensor = self.deconvolutions(features[0])
        return H

    def at(self, features: tuple[Tensor, ...], responses: tuple[Tensor, ...], cell: Tensor) -> Tensor:  # noqa: ARG002
        """H (N, K, S, C) in cells (N, K, S) int64, 0 where the cell is -1; responses of the keypoint head are not looked at."""
        return gather_vectors(self(features), cell)


class Refinement(nn.Module):
    """The keypoint refinement head: `module`, backbone features to H, and `response`, the 1x1 convolution to K channels.

    The convolution is linear, so Eq. 6 on H followed by it is the same sum over the scalars w_k . H, plus its bias (choice 8 of
    docs/method.md; `tkm.refinement` sums them).
    """

    def __init__(self, module: RefinementModule | ReducedRefinementModule, keypoints: int, channels: int = 256) -> None:
        super().__init__()
        self.module = module
        self.response = nn.Conv2d(channels, keypoints, 1)

    @property
    def bias(self) -> Tensor:
        """(K,), what the response has beside the scalars."""
        bias = self.response.bias
        assert bias is not None
        return bias

    def scalars(self, features: tuple[Tensor, ...], responses: tuple[Tensor, ...], cell: Tensor) -> Tensor:
        """The response without its bias, a = w_k . H, in cells (N, K, S) int64 of each keypoint: (N, K, S); NaN where it is -1.

        Args: features, the backbone's maps; responses, what the keypoint head made of them, as the network has it.
        """
        return self.project(self.module.at(features, responses, cell)).masked_fill(cell < 0, torch.nan)

    def project(self, H: Tensor) -> Tensor:
        """A = w_k . H (..., K, S) of H (..., K, S, C)."""
        weight = self.response.weight[:, :, 0, 0]
        with torch.autocast(H.device.type, enabled=False):  # responses are compared: half precision would make some of them equal
            return torch.einsum("...ksc,kc->...ks", H.to(weight.dtype), weight)
