"""The heads' modules for the embedded MoveNet: the paper's, reduced to what its 64 x 64 maps can bear.

One 3x3 convolution 256 -> 256 at 64 x 64 costs 2.4 GMAC, twice MoveNet itself, and the paper's matching module has twelve. Here
1x1 convolutions alone look at one cell at a time: what lies around it stands in MoveNet's deeper features already. So
nothing is computed but at the cells that are asked for, some three hundred of 4096, and heads can be trained on these cells'
inputs alone, which a backbone that stays frozen needs to be asked for once.

What a keypoint looks like, and so whose it is, stands in the raw features at strides 4 to 16 and in the crop's own colours; the
feature pyramid has kept the posture and lost the person. So matching takes the former alone. Refinement takes all of it, and
what the keypoint head itself answers.

Shape legend: N crops, K keypoints, S places a keypoint, n numbers of a cell, D channels of F, C channels of H.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tkm.heatmaps import sample_vectors
from tkm.networks.facts import FACTS

# Channels of MoveNet Thunder's features: the crop's colours, raw features at strides 4, 8 and 16, then the pyramid's output.
COLOUR_CHANNELS, *_RAW, PYRAMID_CHANNELS = FACTS["movenet-thunder"].feature_channels
COLOUR_SCALES = 3  # colours of a cell, and means over 2 x 2 and 4 x 4 cells
RESPONSES = 2 * 17  # of the heatmaps, and of these as the network's decoding weighs them
MATCHING_INPUTS = COLOUR_SCALES * COLOUR_CHANNELS + sum(_RAW)
REFINEMENT_INPUTS = MATCHING_INPUTS + PYRAMID_CHANNELS + RESPONSES + 2
BODY_CELLS = 8  # rows and columns of a crop whose means TBM is computed from
_LEAST_RESPONSE = 1e-5
_LOG_LEAST_RESPONSE = math.log(_LEAST_RESPONSE)


def matching_inputs(features: tuple[Tensor, ...], cell: Tensor) -> Tensor:
    """What matching looks at in cells (N, K, S) int64 of MoveNet's features: (N, K, S, n); 0 where the cell is -1."""
    return sample_vectors(_identity_maps(features), cell, _shape(features))


def refinement_inputs(features: tuple[Tensor, ...], responses: tuple[Tensor, ...], cell: Tensor) -> Tensor:
    """What refinement looks at in cells (N, K, S) int64: (N, K, S, n); 0 where the cell is -1.

    The inputs of matching, the pyramid's features, the logarithms of all keypoints' responses, raw and weighted, and where in the
    crop the cell is, -1 to 1.
    """
    rows, columns = _shape(features)
    logs = tuple(response.float().clamp(min=_LEAST_RESPONSE).log() for response in responses)
    seen = sample_vectors((*_identity_maps(features), features[-1], *logs), cell, (rows, columns))
    middle = torch.stack([(cell % columns + 0.5) * 2 / columns, (cell.div(columns, rounding_mode="floor") + 0.5) * 2 / rows], -1)
    return torch.cat([seen, (middle - 1).masked_fill((cell < 0)[..., None], 0)], dim=-1)


def body_inputs(features: tuple[Tensor, ...]) -> Tensor:
    """What TBM looks at: the inputs of matching as means over the cells of a grid of 8 x 8, (N, 64, n)."""
    maps = (functional.adaptive_avg_pool2d(level.float(), BODY_CELLS) for level in _identity_maps(features))
    return torch.cat(tuple(maps), dim=1).flatten(2).mT


def _identity_maps(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The maps that tell one person from another."""
    colours = features[0].float()
    means = (functional.avg_pool2d(colours, 2**scale) for scale in range(1, COLOUR_SCALES))
    return colours, *means, *features[1 : 1 + len(_RAW)]


def _shape(features: tuple[Tensor, ...]) -> tuple[int, int]:
    """Rows and columns of cells."""
    return features[0].shape[2], features[0].shape[3]


class CellNetwork(nn.Module):
    """Numbers of a cell, standardised by channel, to a vector: a projection, plus what one hidden layer adds to it."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        # Inputs differ a hundredfold in range. Frozen features need statistics, not a scale to be learnt: the layers have one.
        self.standardise = nn.BatchNorm1d(inputs, affine=False)
        self.project = nn.Linear(inputs, channels)
        self.hidden = nn.Linear(inputs, 2 * channels)
        self.add = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) of (..., inputs)."""
        x = self.standardise(x.float().flatten(0, -2)).reshape(x.shape)
        y: Tensor = self.project(x) + self.add(torch.relu(self.hidden(x)))
        return y


class ReducedMatchingModule(CellNetwork):
    """MoveNet's features to F, cell by cell: a projection of its inputs, which already tell people apart, and a hidden layer."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__(MATCHING_INPUTS, channels)

    def at(self, features: tuple[Tensor, ...], cell: Tensor) -> Tensor:
        """F (N, K, S, D) in cells (N, K, S) int64 of MoveNet's features; what stands where the cell is -1 means nothing."""
        F: Tensor = self(matching_inputs(features, cell))
        return F

    def body(self, features: tuple[Tensor, ...]) -> Tensor:
        """(N, D), F averaged over the crop."""
        F: Tensor = self(body_inputs(features))
        return F.mean(dim=1)


class ReducedRefinementModule(nn.Module):
    """MoveNet's features to H, cell by cell: a hidden layer's answer, and beside it the keypoint head's own responses.

    The responses stand there as 0 for LEAST_RESPONSE to 1 for a response of 1, by their logarithms.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.network = CellNetwork(REFINEMENT_INPUTS, channels)

    def forward(self, x: Tensor) -> Tensor:
        """H (..., C) of `refinement_inputs` (..., n), with C = channels + RESPONSES."""
        logs = x[..., -RESPONSES - 2 : -2].float()
        return torch.cat([torch.relu(self.network(x)), 1 - logs / _LOG_LEAST_RESPONSE], dim=-1)

    def at(self, features: tuple[Tensor, ...], responses: tuple[Tensor, ...], cell: Tensor) -> Tensor:
        """H (N, K, S, C) in cells (N, K, S) int64; what stands where the cell is -1 means nothing."""
        H: Tensor = self(refinement_inputs(features, responses, cell))
        return H


def start_response(response: nn.Conv2d) -> None:
    """Let a reduced refinement head begin with what the keypoint head knows: each keypoint's own weighted response, unchanged.

    Training then learns what to change of it, and not a ranking of places from nothing.
    """
    K = RESPONSES // 2
    with torch.no_grad():
        response.weight.zero_()
        response.weight[:, -K:, 0, 0] = torch.eye(K)
        assert response.bias is not None
        response.bias.zero_()
