"""Stage 2 of the paper's training: refinement heads, on the places of keypoints in windows of a frozen network's samples.

Shape legend: P people of a part of a video, R of them to refine, K keypoints, S places a keypoint, J = 2 tau counterparts,
D channels of maps, n inputs of a place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.head_params import RefinementTrainParams
from tasks.head_reader import Reader
from tasks.pair_trainee import VALIDATION_SEED
from tkm.heatmaps import gather_vectors
from tkm.networks.reduced import MATCHING_INPUTS
from tkm.refinement import Divisor, refined_response, support
from tkm.training.samples import HIT_CELLS, OWN, Samples, distances_cells
from tkm.training.schedule import sample_order
from tkm.training.windows import true_counterparts
from tkm.types import Int

if TYPE_CHECKING:
    from tkm.networks.matching import Matching
    from tkm.networks.refinement import Refinement

_MOST_PEOPLE, _MOST_IN_WINDOWS = 96, 256  # of a part of a video: with windows more, so that some of a crowd fit whole
_VISIBILITIES = {2: "seen", 1: "hidden"}
_AT_ONCE = 8  # people whose W is computed in one go: 3,000 pairs each


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

    Counterparts are the same person's, by truth. The matching head answers on the CPU, whatever the device: once a person.
    Validation gives the loss, and of keypoints that are seen and hidden the share for which the place of the highest response is
    right, within HIT_CELLS of the truth.
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
        """`loss`, and shares of seen and hidden keypoints that are right, before and as refined, on videos that are held out."""
        total, people = 0.0, 0
        is_right: dict[str, list[NDArray[np.bool_]]] = {}
        device = next(model.parameters()).device
        for video in range(len(self.val)):
            samples, rows = self._part(self.val, video, np.random.default_rng([VALIDATION_SEED, video]))
            window = Window(*(tensor.to(device) for tensor in self._window(self.val, video, samples, rows)))
            if not len(window.own):
                continue
            response = model([window])[0].float()
            total += float(self._squares(response, window))
            people += len(window.own)
            best = response.masked_fill(window.cell[window.own] < 0, -torch.inf).argmax(dim=2, keepdim=True).cpu().numpy()
            own = rows[window.own.cpu().numpy()]
            distance = distances_cells(samples, self.val.columns)[own][:, :, OWN:]
            places = {"right_before": distance[:, :, 0], "right": np.take_along_axis(distance, best, axis=2)[..., 0]}
            for visibility, seen in _VISIBILITIES.items():
                is_of = (samples.visibility[own] == visibility) & ~np.isnan(places["right_before"])
                for name, away in places.items():
                    is_right.setdefault(f"{seen}_{name}", []).append((away <= HIT_CELLS)[is_of])
        shares = {name: np.concatenate(found) for name, found in is_right.items()}
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
        samples, most = reader.read(video), _MOST_IN_WINDOWS if self.params.tau else _MOST_PEOPLE
        if len(samples) <= most:
            return samples, np.arange(len(samples))
        first = int(rng.integers(len(samples) - most + 1))
        start = int(np.searchsorted(samples.frame, samples.frame[first]))  # whole frames
        return samples, np.arange(start, min(start + most, len(samples)))

    def _window(self, reader: Reader, video: int, samples: Samples, rows: Int) -> Window:
        params, tau = self.params, self.params.tau
        whole = true_counterparts(samples.frame, samples.track_id, tau)[rows]
        is_cut = ((whole >= 0) & ~np.isin(whole, rows)).any(axis=1)
        own = np.flatnonzero((samples.track_id[rows] >= 0) & ~is_cut & _has_window(samples, tau)[rows])
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
        if not len(own):
            return torch.zeros(0, context.shape[1], K, S, dtype=torch.float16)
        return torch.stack([kept[row] for row in rows[own].tolist()])

    def _features(self, reader: Reader, samples: Samples, rows: Int) -> Tensor:
        """F (P, K, S, D) at the pose's own places and the candidates'."""
        assert self.matching is not None
        module: Any = self.matching.module
        if reader.is_reduced:
            F: Tensor = module(torch.from_numpy(samples.inputs[rows][:, :, OWN:, :MATCHING_INPUTS]).float())
            return F
        maps = torch.from_numpy(samples.inputs[rows]).float()
        return self.matching.at((maps,), torch.from_numpy(samples.cell[rows][:, :, OWN:]))


def _has_window(samples: Samples, tau: int) -> NDArray[np.bool_]:
    """(P,) whether the frames of a person's window are there: responses of Eq. 6 fall with what is missing, and in videos, which
    are longer than what is trained on, few windows lack any. All people where no window is whole.
    """  # fmt: skip
    last = samples.frame.max(initial=0)
    is_whole = (samples.frame >= tau) & (samples.frame <= last - tau)
    return is_whole if is_whole.any() else np.ones(len(samples), np.bool_)
