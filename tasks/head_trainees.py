"""Stage 2 of the paper's training: the heads, on samples of a frozen network (tasks.samples).

Shape legend: P people of a part of a video, K keypoints, S places a keypoint, M pairs, J = 2 tau counterparts, n inputs of a place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tasks.samples import SampleSet
from tasks.training import TrainParams
from tkm.heatmaps import gather_vectors
from tkm.networks import runtime
from tkm.networks.heads import REDUCED_NETWORKS
from tkm.networks.reduced import MATCHING_INPUTS
from tkm.refinement import Divisor, refined_response, support
from tkm.training.pairs import Pairs, draw_pairs, draw_people
from tkm.training.samples import HIT_CELLS, OWN, Samples, distances_cells, identities
from tkm.training.schedule import STAGE_TWO, Schedule, sample_order
from tkm.training.windows import true_counterparts

if TYPE_CHECKING:
    from tkm.networks.matching import Body, Matching
    from tkm.networks.refinement import Refinement
    from tkm.types import Int

# What measured best for the reduced heads, whose inputs are kept and which therefore see them often.
REDUCED = Schedule("adam", lr=2e-3, epochs=24, milestones=(16, 21), weight_decay=1e-4)
_MOST_PEOPLE = 96  # of a step's part of a video
_VALIDATION_SEED = 1
_VISIBILITIES = {2: "seen_right", 1: "hidden_right"}
_AT_ONCE = 8  # people whose W is computed in one go: 3,000 pairs each


class HeadTrainParams(TrainParams):
    """Parameters that the training of every head has."""

    reduced: bool = Field(True, description="whether the heads are the embedded network's", json_schema_extra={"option": None})
    tau: int = Field(5, ge=0, le=64, description="sampled frames on each side of the window; 0 trains refinement on single frames")
    batch_size: int = Field(2, ge=1, description="videos a step, of all processes together")
    val_share: float = Field(0.1, ge=0, lt=1, description="share of the videos that is held out to validate on")

    @property
    def schedule(self) -> Schedule:
        """The paper's second stage, or that of the reduced heads, with what is asked for changed."""
        return (REDUCED if self.reduced else STAGE_TWO).changed(epochs=self.epochs, lr=self.lr)


class MatchingTrainParams(HeadTrainParams):
    """Parameters of the training of a matching or a body head."""

    tau: int = Field(5, ge=1, le=64, description="sampled frames on each side of the window that the head is for")
    most_frames: int = Field(48, ge=1, description="longest gap of a pair, in sampled frames")
    positives: int = Field(500, ge=1, description="positive pairs of a video and step; negative ones are four times as many")


class RefinementTrainParams(HeadTrainParams):
    """Parameters of the training of a refinement head."""

    divisor: Literal["window", "weights"] = Field("window", description="what Eq. 6 divides by: 2 tau + 1, or 1 + the sum of W")
    hidden_weight: float = Field(1.0, ge=0, description="weight of keypoints that are hidden in Eq. 2; the paper has 0")
    sigma: float = Field(3.0, gt=0, description="width of the Gaussians of Eq. 2, in cells of the heatmap")


class Reader:
    """Samples by number, the last ones that were read kept in half of this machine's memory."""

    def __init__(self, sets: Sequence[SampleSet]) -> None:
        self.sets = sets
        self._kept: OrderedDict[int, Samples] = OrderedDict()

    def __len__(self) -> int:
        return len(self.sets)

    def read(self, number: int) -> Samples:
        """The samples of a video."""
        if number not in self._kept:
            self._kept[number] = self.sets[number].read()
            while sum(one.inputs.nbytes + one.body.nbytes for one in self._kept.values()) > runtime.memory_bytes() // 2:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    @property
    def is_reduced(self) -> bool:
        """Whether the samples are inputs of reduced heads, and not maps of a backbone."""
        return self.sets[0].network in REDUCED_NETWORKS

    @property
    def columns(self) -> int:
        """Of the heatmaps."""
        return self.sets[0].columns


class PairBatch(NamedTuple):
    """M pairs: what the module looks at, and the pairs.

    inputs      of a reduced head (2, M, n), later then earlier; of the paper's the maps (P, D, h, w), of which row (2, M) and cell
                (2, M) tell the places
    row, cell   see there; of a body head the cell is not looked at
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
        if self.is_reduced:
            F = module(batch.inputs)
            later, earlier = F.mean(dim=2) if self.is_body else F
        elif self.is_body:
            later, earlier = module.body((batch.inputs,))[batch.row]
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
            batch = self._pairs(self.val, video, np.random.default_rng([_VALIDATION_SEED, video]))
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
        if self.is_body:
            pairs = draw_people(samples.frame, samples.track_id, params.positives // 4 + 1, params.most_frames, rng)
        else:
            identity = identities(samples, reader.columns)
            pairs = draw_pairs(samples.frame, samples.track_id, identity, params.positives, params.most_frames, rng)
        return self._batch(samples, pairs)

    def _batch(self, samples: Samples, pairs: Pairs) -> PairBatch:
        row = np.stack([pairs.later, pairs.earlier])
        place = np.stack([pairs.later_place, pairs.earlier_place])
        keypoint = np.zeros_like(pairs.keypoint) if self.is_body else pairs.keypoint
        if not self.train.is_reduced:
            row, rows = _renumbered(row)
            inputs = samples.inputs[rows]
            cell = samples.cell[rows[row], pairs.keypoint, place]
        else:
            inputs = samples.body[row] if self.is_body else samples.inputs[row, pairs.keypoint, place, :MATCHING_INPUTS]
            cell = np.zeros_like(row)
        arrays = (inputs.astype(np.float32), row, cell, keypoint, pairs.is_same.astype(np.int64))
        return PairBatch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _renumbered(row: Int) -> tuple[Int, Int]:
    """Rows as numbers among those that there are, and these."""
    rows, numbers = np.unique(row, return_inverse=True)
    return numbers.reshape(row.shape), rows


class Window(NamedTuple):
    """People of a part of a video, and what supports each of them.

    inputs      (P, K, S, n) of a reduced head, at the pose's own places and the candidates'; of the paper's the maps (P, D, h, w)
    cell        (P, K, S) int64, the places
    own         (R,) int64, rows of the people whose windows lie within the part
    context     (R, J) int64, rows of their counterparts, -1 for none
    weight      (R, J, K, S) float16, W of Eq. 6
    target      (R, K, S) float32, what Eq. 2 asks for in these places
    share       (R, K, S) float32, how much each counts; 0 where there is no place, or the truth is not known
    """

    inputs: Tensor
    cell: Tensor
    own: Tensor
    context: Tensor
    weight: Tensor
    target: Tensor
    share: Tensor


class WindowNetwork(nn.Module):
    """A refinement head as training calls it: windows to responses by Eq. 6."""

    def __init__(self, head: Refinement, tau: int, divisor: Divisor, *, is_reduced: bool) -> None:
        super().__init__()
        self.head, self.tau, self.divisor, self.is_reduced = head, tau, divisor, is_reduced

    def forward(self, windows: list[Window]) -> list[Tensor]:
        """(R, K, S) of each; what stands where there is no place means nothing."""
        return [self._responses(window) for window in windows]

    def _responses(self, window: Window) -> Tensor:
        module: Any = self.head.module
        H = module(window.inputs) if self.is_reduced else gather_vectors(module((window.inputs,)), window.cell)
        a = self.head.project(H)
        context = a[:, :, 0][window.context.clamp(min=0)]  # at their predicted keypoints
        return refined_response(
            a[window.own], context, window.weight.float(), window.context >= 0, self.head.bias, self.tau, self.divisor
        )


class RefinementTrainee:
    """A refinement head that learns Eq. 2 on the places of each keypoint, under a matching head that stays as it is.

    Counterparts are the same person's, by truth. Validation gives the loss, and of keypoints that are seen and hidden the share for
    which the place of the highest response is right, within HIT_CELLS of the truth.
    """

    def __init__(
        self, head: Refinement, matching: Matching | None, train: Reader, val: Reader, params: RefinementTrainParams
    ) -> None:
        self.model: nn.Module = WindowNetwork(head, params.tau, params.divisor, is_reduced=train.is_reduced)
        self.matching = matching
        self.train, self.val, self.params = train, val, params
        self._kept: dict[tuple[int, int], dict[int, Tensor]] = {}

    def batches(self, epoch: int, rank: int, world: int, first: int) -> Iterator[list[Window]]:
        """Parts of videos, drawn from (seed, epoch, video)."""
        params = self.params
        order = sample_order(len(self.train), params.batch_size, seed=params.seed, epoch=epoch, rank=rank, world=world)
        for step in order[first:].tolist():
            yield [self._drawn(epoch, video) for video in step]

    def losses(self, model: nn.Module, batch: list[Window]) -> Mapping[str, Tensor]:
        """Eq. 2 on the places alone, summed over them, a person's mean, as `loss`."""
        squares = [self._squares(response.float(), one) for response, one in zip(model(batch), batch, strict=True)]
        return {"loss": torch.stack(squares).sum() / max(sum(len(one.own) for one in batch), 1)}

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """`loss`, and shares of keypoints whose best place is right, on videos that are held out."""
        total, people = 0.0, 0
        is_right: dict[int, list[NDArray[np.bool_]]] = {visibility: [] for visibility in _VISIBILITIES}
        device = next(model.parameters()).device
        for video in range(len(self.val)):
            samples, rows = self._part(self.val, video, np.random.default_rng([_VALIDATION_SEED, video]))
            window = Window(*(tensor.to(device) for tensor in self._window(self.val, video, samples, rows)))
            if not len(window.own):
                continue
            response = model([window])[0].float()
            total += float(self._squares(response, window))
            people += len(window.own)
            best = response.masked_fill(window.cell[window.own] < 0, -torch.inf).argmax(dim=2, keepdim=True).cpu().numpy()
            own = rows[window.own.cpu().numpy()]
            distance = np.take_along_axis(distances_cells(samples, self.val.columns)[own][:, :, OWN:], best, axis=2)[..., 0]
            for visibility, found in is_right.items():
                is_of = (samples.visibility[own] == visibility) & ~np.isnan(distance)
                found.append((distance <= HIT_CELLS)[is_of])
        shares = {name: np.concatenate(is_right[visibility]) for visibility, name in _VISIBILITIES.items() if people}
        return {"loss": total / max(people, 1), **{name: float(found.mean()) for name, found in shares.items() if len(found)}}

    def _drawn(self, epoch: int, video: int) -> Window:
        samples, rows = self._part(self.train, video, np.random.default_rng([self.params.seed, epoch, video]))
        return self._window(self.train, video, samples, rows)

    def _squares(self, response: Tensor, window: Window) -> Tensor:
        known = window.share > 0
        squares: Tensor = ((response[known] - window.target[known]).square() * window.share[known]).sum()
        return squares

    def _part(self, reader: Reader, video: int, rng: np.random.Generator) -> tuple[Samples, Int]:
        """The samples of a video, and rows of consecutive frames of it, at most so many people."""
        samples = reader.read(video)
        if len(samples) <= _MOST_PEOPLE:
            return samples, np.arange(len(samples))
        first = int(rng.integers(len(samples) - _MOST_PEOPLE + 1))
        start = int(np.searchsorted(samples.frame, samples.frame[first]))  # whole frames
        return samples, np.arange(start, min(start + _MOST_PEOPLE, len(samples)))

    def _window(self, reader: Reader, video: int, samples: Samples, rows: Int) -> Window:
        params, tau = self.params, self.params.tau
        whole = true_counterparts(samples.frame, samples.track_id, tau)[rows]
        is_cut = ((whole >= 0) & ~np.isin(whole, rows)).any(axis=1)
        own = np.flatnonzero((samples.track_id[rows] >= 0) & ~is_cut)
        context = np.where(whole[own] >= 0, np.searchsorted(rows, whole[own]), -1)
        cell = samples.cell[rows][:, :, OWN:]
        distance = distances_cells(samples, reader.columns)[rows[own]][:, :, OWN:]
        visibility = samples.visibility[rows[own]][:, :, None]
        share = np.where(visibility == 2, 1.0, np.where(visibility == 1, params.hidden_weight, 0.0)) * ~np.isnan(distance)
        target = np.exp(-np.square(np.nan_to_num(distance)) / params.sigma**2)
        inputs = samples.inputs[rows][:, :, OWN:] if reader.is_reduced else samples.inputs[rows]
        seen = torch.from_numpy(np.ascontiguousarray(inputs)).float()
        weight = self._weight(reader, video, samples, rows, own, context)
        return Window(
            inputs=seen,
            cell=torch.from_numpy(np.ascontiguousarray(cell)),
            own=torch.from_numpy(own),
            context=torch.from_numpy(context),
            weight=weight,
            target=torch.from_numpy(target.astype(np.float32)),
            share=torch.from_numpy(share.astype(np.float32)),
        )

    def _weight(self, reader: Reader, video: int, samples: Samples, rows: Int, own: Int, context: Int) -> Tensor:
        """W (R, J, K, S) float16 between places of the people `own` and the predicted keypoints of their counterparts.

        It stays the same, so it is kept by person.
        """
        kept = self._kept.setdefault((id(reader), video), {})
        K, S = samples.cell.shape[1], samples.cell.shape[2] - OWN
        if self.matching is None:
            return torch.zeros(len(own), 0, K, S, dtype=torch.float16)
        lacking = [n for n, row in enumerate(rows[own].tolist()) if row not in kept]
        if lacking:
            with torch.no_grad():
                F = self._features(reader, samples, rows)
                is_before = torch.arange(context.shape[1]) < self.params.tau
                for start in range(0, len(lacking), _AT_ONCE):
                    some = lacking[start : start + _AT_ONCE]
                    of_context = F[torch.from_numpy(context[some]).clamp(min=0)][:, :, :, 0]
                    W = support(self.matching.classifiers, F[torch.from_numpy(own[some])], of_context, is_before).half()
                    kept |= {int(rows[own[n]]): one for n, one in zip(some, W, strict=True)}
        return torch.stack([kept[row] for row in rows[own].tolist()]) if len(own) else torch.zeros(0, context.shape[1], K, S).half()

    def _features(self, reader: Reader, samples: Samples, rows: Int) -> Tensor:
        """F (P, K, S, D) at the pose's own places and the candidates'."""
        assert self.matching is not None
        module: Any = self.matching.module
        if reader.is_reduced:
            F: Tensor = module(torch.from_numpy(samples.inputs[rows][:, :, OWN:, :MATCHING_INPUTS]).float())
            return F
        maps = torch.from_numpy(samples.inputs[rows]).float()
        return self.matching.at((maps,), torch.from_numpy(samples.cell[rows][:, :, OWN:]))
