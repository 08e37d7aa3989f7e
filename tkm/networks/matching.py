"""Keypoint matching (paper section 3.2): feature maps F and the classifiers G_k; and TBM, the same for whole bodies.

Shape legend: N crops, K keypoints, D channels of F, H hidden units of a classifier, h x w cells of the heatmaps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tkm.heatmaps import gather_vectors

if TYPE_CHECKING:
    from tkm.networks.reduced import ReducedMatchingModule

SAME = 1  # the class of a classifier that says "the same person": Eq. 5's probability


class BasicBlock(nn.Sequential):
    """Three 3x3 convolutions, then a deconvolution, which doubles the resolution or keeps it. Batch norm and ReLU after each."""

    def __init__(self, in_channels: int, channels: int, *, doubles: bool) -> None:
        layers: list[nn.Module] = []
        for i in range(3):
            convolution = nn.Conv2d(in_channels if i == 0 else channels, channels, 3, padding=1, bias=False)
            layers += [_started(convolution), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        super().__init__(*layers, *deconvolution(channels, channels, doubles=doubles))


def deconvolution(in_channels: int, channels: int, *, doubles: bool) -> tuple[nn.Module, ...]:
    """A deconvolution, batch norm and ReLU: 4x4 at stride 2, or, where the resolution is to stay, 3x3 at stride 1."""
    size, stride = (4, 2) if doubles else (3, 1)
    layer = nn.ConvTranspose2d(in_channels, channels, size, stride, padding=1, bias=False)
    return _started(layer), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _started(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """The layer with He's initial weights (arXiv 1502.01852): sixteen layers keep the scale before batch norm knows any."""
    inputs = layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)  # that one output cell sees
    nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
    return layer


def doublings(backbone_stride: int, heatmap_stride: int, layers: int) -> list[bool]:
    """Which of a module's deconvolutions double the resolution: the last log2(backbone stride / heatmap stride) of them.

    Raises: ValueError where so many layers do not lead from the one stride to the other.
    """
    steps = math.log2(backbone_stride / heatmap_stride)
    if not (steps.is_integer() and 0 <= steps <= layers):
        raise ValueError(f"{layers} deconvolutions do not lead from stride {backbone_stride} to stride {heatmap_stride}")
    return [i >= layers - steps for i in range(layers)]


class MatchingModule(nn.Module):
    """Backbone features to F at the heatmaps' resolution, by four basic blocks (paper section 3.2).

    "Four basic blocks", each of which doubles the resolution, would overshoot: from a ResNet's stride 32 they lead to stride 2,
    while the heatmaps have stride 4. There are four blocks all the same; the last log2(backbone stride / heatmap stride) of them
    double, and in the others the deconvolution has stride 1 and keeps the resolution (choice 2 of docs/method.md): the last
    three double on a ResNet, and none does on an HRNet, which is at stride 4 already.
    """

    def __init__(self, in_channels: int, backbone_stride: int, heatmap_stride: int = 4, channels: int = 256) -> None:
        super().__init__()
        self.channels = channels
        inputs = (in_channels, channels, channels, channels)
        doubles = doublings(backbone_stride, heatmap_stride, layers=4)
        self.blocks = nn.Sequential(*(BasicBlock(n, channels, doubles=d) for n, d in zip(inputs, doubles, strict=True)))

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """F (N, D, h, w) of backbone features, of which it takes the first: (N, in_channels, rows, columns)."""
        F: Tensor = self.blocks(features[0])
        return F

    def at(self, features: tuple[Tensor, ...], cell: Tensor) -> Tensor:
        """F (N, K, S, D) in cells (N, K, S) int64 of the heatmaps, 0 where the cell is -1."""
        return gather_vectors(self(features), cell)

    def body(self, features: tuple[Tensor, ...]) -> Tensor:
        """(N, D), F averaged over the crop."""
        F: Tensor = self(features)
        return F.mean(dim=(2, 3))


class KeypointLinear(nn.Module):
    """K fully connected layers side by side, one a keypoint: weight (K, out, in), bias (K, out)."""

    def __init__(self, keypoints: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as torch starts a single layer
        self.weight = nn.Parameter(torch.empty(keypoints, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(keypoints, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(..., K, in) to (..., K, out)."""
        return times(x, self.weight) + self.bias


def times(x: Tensor, weight: Tensor) -> Tensor:
    """Each keypoint's vector times its own matrix: x (..., K, in), weight (K, out, in); (..., K, out).

    Raises: ValueError where x is of other keypoints or another length than the matrices; a single one would be broadcast.
    """
    K, _, inputs = weight.shape
    if x.shape[-2:] != (K, inputs):
        raise ValueError(f"these classifiers take features of {K} keypoints and {inputs} numbers, not {tuple(x.shape[-2:])}")
    return torch.einsum("...ki,koi->...ko", x, weight)


class Classifiers(nn.Module):
    """The classifiers G_k (paper section 3.2): whether a keypoint of a later frame and one of an earlier are of the same person.

    Each is three fully connected layers (H, H, 2) with ReLU between them on the concatenation [f ; f'], then softmax; H is 256
    in the paper. The arguments come in the order (later frame, earlier frame) everywhere, and class 1 is "the same person".

    The first layer splits: W [f ; f'] + c = (A f + c) + B f' with W = [A | B] (choice 3 of docs/method.md). What depends on one
    keypoint alone is computed once for each by `later_part` and `earlier_part`; a pair costs their sum and the last two layers.
    """

    def __init__(self, keypoints: int, channels: int = 256, hidden: int = 256) -> None:
        super().__init__()
        self.channels = channels
        self.first = KeypointLinear(keypoints, 2 * channels, hidden)
        self.second = KeypointLinear(keypoints, hidden, hidden)
        self.third = KeypointLinear(keypoints, hidden, 2)

    def later_part(self, f: Tensor) -> Tensor:
        """A f + c of keypoints of the later frame, f (..., K, D): (..., K, H)."""
        return times(f, self.first.weight[..., : self.channels]) + self.first.bias

    def earlier_part(self, f: Tensor) -> Tensor:
        """B f' of keypoints of the earlier frame, f (..., K, D): (..., K, H)."""
        return times(f, self.first.weight[..., self.channels :])

    def logits(self, later_part: Tensor, earlier_part: Tensor) -> Tensor:
        """(..., K, 2) before the softmax, of pairs of parts (..., K, H), broadcast; what cross-entropy trains on."""
        hidden = torch.relu(later_part + earlier_part)
        answers: Tensor = self.third(torch.relu(self.second(hidden)))
        return answers

    def logits_of(self, later: Tensor, earlier: Tensor, keypoint: Tensor) -> Tensor:
        """(M, 2) before the softmax, of M pairs of features (M, D) each, each of one keypoint, (M,) int64: what training draws.

        Pairs are laid out keypoint by keypoint, so that each classifier multiplies its own alone.
        """
        K = len(self.first.weight)
        order = keypoint.argsort(stable=True)
        counts = keypoint.bincount(minlength=K)
        row = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[keypoint[order]]
        at = row, keypoint[order]
        spread = [f.new_zeros(int(counts.max()), K, f.shape[1]).index_put(at, f[order]) for f in (later, earlier)]
        logits = self.logits(self.later_part(spread[0]), self.earlier_part(spread[1]))[at]
        return torch.empty_like(logits).index_put((order,), logits)

    def pairs(self, later_part: Tensor, earlier_part: Tensor) -> Tensor:
        """(..., K) probabilities of "the same person", of pairs of parts (..., K, H), broadcast."""
        return self.logits(later_part, earlier_part).softmax(dim=-1)[..., SAME]

    def forward(self, later: Tensor, earlier: Tensor) -> Tensor:
        """G_k(f, f') of features of a later and an earlier frame, (..., K, D) each, broadcast: (..., K) probabilities."""
        return self.pairs(self.later_part(later), self.earlier_part(earlier))


class Matching(nn.Module):
    """The keypoint matching head: `module`, backbone features to F, and `classifiers`, the K functions G_k."""

    def __init__(self, module: MatchingModule | ReducedMatchingModule, classifiers: Classifiers) -> None:
        super().__init__()
        self.module = module
        self.classifiers = classifiers

    def at(self, features: tuple[Tensor, ...], cell: Tensor) -> Tensor:
        """F (N, K, S, D) in cells (N, K, S) int64; 0 where the cell is -1."""
        return self.module.at(features, cell).masked_fill((cell < 0)[..., None], 0)


class Body(nn.Module):
    """TBM, the paper's comparison of whole bodies: a module of its own and one classifier (choice 15 of docs/method.md)."""

    def __init__(self, module: MatchingModule | ReducedMatchingModule, classifiers: Classifiers) -> None:
        super().__init__()
        self.module = module
        self.classifiers = classifiers

    def vector(self, features: tuple[Tensor, ...]) -> Tensor:
        """(N, D): F averaged over the crop."""
        return self.module.body(features)
