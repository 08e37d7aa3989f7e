"""Stage 2 of the paper's training: matching and body heads, on pairs of locations in a frozen network's features.

Shape legend: P people of a video, K keypoints, S places a keypoint, M pairs, D channels of F, n inputs of a place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.head_params import MatchingTrainParams
from tasks.head_reader import Reader
from tkm.networks.reduced import MATCHING_INPUTS
from tkm.training.pairs import Pairs, draw_pairs, draw_people
from tkm.training.samples import Samples, identities
from tkm.training.schedule import sample_order
from tkm.types import Int

if TYPE_CHECKING:
    from tkm.networks.matching import Body, Matching

VALIDATION_SEED = 1
_MOST_MAPS = 48  # people in a row whose maps go through a module of the paper's in one step of a video


class PairBatch(NamedTuple):
    """M pairs: what the module looks at, and the pairs.

    inputs      of a reduced matching head (2, M, n), later then earlier; else what the module makes F of, by person: of a reduced
                body head (P, B, n), of the paper's the maps (P, D, h, w)
    row, cell   (2, M) each, the people and cells of the places; where inputs are by place, they are not looked at
    keypoint    (M,) int64
    is_same     (M,) int64
    """

    inputs: Tensor
    row: Tensor
    cell: Tensor
    keypoint: Tensor
    is_same: Tensor


class PairNetwork(nn.Module):
    """A matching or body head as training calls it: pairs to logits."""

    def __init__(self, head: Matching | Body, *, is_reduced: bool, is_body: bool) -> None:
        super().__init__()
        self.head, self.is_reduced, self.is_body = head, is_reduced, is_body

    def forward(self, batches: list[PairBatch]) -> Tensor:
        """(M, 2), the pairs of all batches one after the other."""
        later, earlier = zip(*(self._features(batch) for batch in batches), strict=True)
        keypoint = torch.cat([batch.keypoint for batch in batches])
        return self.head.classifiers.logits_of(torch.cat(later).float(), torch.cat(earlier).float(), keypoint).float()

    def _features(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """F of both sides of a batch's pairs, (M, D) each."""
        module: Any = self.head.module
        if not len(batch.keypoint):  # nobody of the video is seen twice, and batch norm takes no empty batch
            # Of all parameters all the same: processes that train together wait for everybody's gradients, zeros among them.
            nothing = batch.inputs.new_zeros(0, self.head.classifiers.channels) + sum(one.sum() for one in module.parameters())
            return nothing, nothing
        if self.is_body:
            body = module(batch.inputs).mean(dim=1) if self.is_reduced else module.body((batch.inputs,))
            later, earlier = body[batch.row]
        elif self.is_reduced:
            later, earlier = module(batch.inputs)
        else:
            F = module((batch.inputs,))
            later, earlier = F.flatten(2).mT[batch.row, batch.cell]
        return later, earlier


class PairTrainee:
    """A matching or a body head that learns whether two locations, or two bodies, are of one person (tasks.fit.Trainee).

    Cross-entropy on 4 negative pairs for each positive one. Validation gives it over pairs that are the same each time, and the
    share of these that is told rightly, of positive and of negative ones.
    """

    def __init__(self, head: Matching | Body, train: Reader, val: Reader, params: MatchingTrainParams, kind: str) -> None:
        self.is_body = kind == "body"
        self.model: nn.Module = PairNetwork(head, is_reduced=train.is_reduced, is_body=self.is_body)
        self.train, self.val, self.params = train, val, params

    def batches(self, epoch: int, rank: int, world: int, first: int) -> Iterator[list[PairBatch]]:
        """Pairs drawn from (seed, epoch, video)."""
        params = self.params
        order = sample_order(len(self.train), params.batch_size, seed=params.seed, epoch=epoch, rank=rank, world=world)
        for step in order[first:].tolist():
            drawn = [self._pairs(self.train, video, np.random.default_rng([params.seed, epoch, video])) for video in step]
            yield drawn

    def losses(self, model: nn.Module, batch: list[PairBatch]) -> Mapping[str, Tensor]:
        """Cross-entropy as `loss`."""
        is_same = torch.cat([one.is_same for one in batch])
        return {"loss": functional.cross_entropy(model(batch), is_same, reduction="sum") / max(len(is_same), 1)}

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """`loss`, and shares of positive and of negative pairs told rightly, on videos that are held out."""
        losses, right, same = [], [], []
        device = next(model.parameters()).device
        for video in range(len(self.val)):
            batch = self._pairs(self.val, video, np.random.default_rng([VALIDATION_SEED, video]))
            batch = PairBatch(*(tensor.to(device) for tensor in batch))
            logits = model([batch])
            losses.append(functional.cross_entropy(logits, batch.is_same, reduction="none").cpu())
            right.append((logits.argmax(dim=1) == batch.is_same).cpu())
            same.append(batch.is_same.cpu() == 1)
        if not sum(map(len, losses)):
            return {}
        told, positive = torch.cat(right).float(), torch.cat(same)
        return {
            "loss": float(torch.cat(losses).mean()),
            "positive_right": float(told[positive].mean()),
            "negative_right": float(told[~positive].mean()),
        }

    def _pairs(self, reader: Reader, video: int, rng: np.random.Generator) -> PairBatch:
        samples, params = reader.read(video), self.params
        rows = np.arange(len(samples))
        if not reader.is_reduced and len(rows) > _MOST_MAPS:
            rows = rows[int(rng.integers(len(rows) - _MOST_MAPS + 1)) :][:_MOST_MAPS]
        frame, track_id = samples.frame[rows], samples.track_id[rows]
        if self.is_body:
            pairs = draw_people(frame, track_id, params.positives // 4 + 1, params.most_frames, rng)
        else:
            identity = identities(samples, reader.columns)[rows]
            pairs = draw_pairs(frame, track_id, identity, params.positives, params.most_frames, rng)
        return self._batch(samples, pairs._replace(later=rows[pairs.later], earlier=rows[pairs.earlier]))

    def _batch(self, samples: Samples, pairs: Pairs) -> PairBatch:
        row = np.stack([pairs.later, pairs.earlier])
        place = np.stack([pairs.later_place, pairs.earlier_place])
        keypoint = np.zeros_like(pairs.keypoint) if self.is_body else pairs.keypoint
        if self.train.is_reduced and not self.is_body:
            inputs = samples.inputs[row, pairs.keypoint, place, :MATCHING_INPUTS]
            cell = np.zeros_like(row)
        else:
            cell = samples.cell[row, pairs.keypoint, place]
            row, rows = _renumbered(row)
            inputs = samples.body[rows] if self.train.is_reduced else samples.inputs[rows]
        arrays = (inputs.astype(np.float32), row, cell, keypoint, pairs.is_same.astype(np.int64))
        return PairBatch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _renumbered(row: Int) -> tuple[Int, Int]:
    """Rows as numbers among those that there are, and these."""
    rows, numbers = np.unique(row, return_inverse=True)
    return numbers.reshape(row.shape), rows
