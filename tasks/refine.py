"""refine: keypoints sought anew among their candidates, with the support of the same person in the frames around (Eq. 6).

Every place of a keypoint, its own cell and its candidates', gets a new response from its own refinement scalar and those at the
predicted keypoints of the counterparts, weighed by keypoint matching. The place with the highest is the refined keypoint
(choices 7 to 10 of docs/method.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from storage.codecs import candidates_from_table, column, list_array, list_column, poses_from_table, skeleton_of_table, table_of
from storage.schemas import REFINED
from tasks import embed, estimate, paths, suppress, trained
from tasks.people import features_of
from tasks.stage import Block, Params, Resources, Stage, digest_field
from tkm.networks import runtime
from tkm.refinement import Divisor
from tkm.types import FeatureSet

if TYPE_CHECKING:
    from torch import Tensor


class RefineParams(Params):
    """Parameters of refine."""

    on: bool = Field(
        True, description="refine keypoints (default where there are heads for it)", json_schema_extra={"option": "--refine"}
    )
    divisor: Divisor = Field(
        "window",
        description="Eq. 6 divides by the window's 2 tau + 1 frames, however short the path, or by 1 + the sum of W: as in the "
        "refinement head's training",
    )
    matching: str | None = digest_field("the matching head")
    refinement: str | None = digest_field("the refinement head")


class _Responses(NamedTuple):
    """What every place of the survivors' keypoints is worth."""

    response: Tensor  # (P, K, S)


@dataclass(frozen=True)
class Places:
    """The places at which refinement looks for the keypoints of a block's own survivors, and what it finds each worth.

    own            (P,) their rows among the survivors of the whole block
    response       (P, K, S) float32, by Eq. 6; NaN where a keypoint has fewer places
    place          (P, K) int64, the best
    counterparts   (P,) int32, detections of other frames that took part
    """

    own: NDArray[np.int64]
    response: NDArray[np.float32]
    place: NDArray[np.int64]
    counterparts: NDArray[np.int32]


def run(block: Block, params: RefineParams) -> pa.Table:
    """Refined poses of the survivors of the block's own frames; those of the halo only support."""
    people = block.inputs["estimate"].filter(block.inputs["suppress"]["is_kept"])
    found = places(block, params)
    if found is None:
        return REFINED.empty_table()
    skeleton, rows = skeleton_of_table(people), people.take(found.own)
    poses, candidates = poses_from_table(rows, skeleton), candidates_from_table(rows, skeleton)
    xy_px = np.concatenate([poses.xy_px[:, :, None], candidates.xy_px], axis=2)
    return table_of(
        REFINED,
        frame=poses.frame,
        detection=poses.detection,
        xy_px=list_array(np.take_along_axis(xy_px, found.place[:, :, None, None], axis=2)[:, :, 0]),
        score=list_array(np.take_along_axis(found.response, found.place[:, :, None], axis=2)[:, :, 0]),
        place=list_array(found.place.astype(np.int32)),
        counterparts=found.counterparts,
    )


def places(block: Block, params: RefineParams) -> Places | None:
    """What every place of the keypoints is worth; None where nobody is in the block's own frames."""
    from tkm.refinement import best_place  # here: see tkm.networks.runtime

    people = block.inputs["estimate"].filter(block.inputs["suppress"]["is_kept"])
    frame = column(people, "frame", np.int64)
    own = np.flatnonzero(np.isin(frame, block.core_frames))
    if not len(own):
        return None
    features = features_of(block, len(skeleton_of_table(people).keypoints))
    counterpart, tau = _counterparts(block, frame, column(people, "detection", np.int64), own)
    response = _refine(features, own, counterpart, tau, params)
    return Places(own, response.numpy(), best_place(response).numpy(), (counterpart >= 0).sum(axis=1).astype(np.int32))


def _counterparts(
    block: Block, frame: NDArray[np.int64], detection: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """(P, 2 tau) rows of the counterparts of the people `own`, from tau frames before to tau after, -1 for none; and tau."""
    if "paths" not in block.inputs:
        return np.empty((len(own), 0), np.int64), 0
    tau = block.input_params["paths"].tau  # type: ignore[attr-defined]
    table = block.inputs["paths"]
    if table.num_rows != len(frame):
        raise ValueError("the tables of paths and suppress speak of different people; re-run paths")
    number = np.concatenate(
        [list_column(table, "backward", tau)[own, ::-1], list_column(table, "forward", tau)[own]], axis=1
    )
    steps = np.array([*range(-tau, 0), *range(1, tau + 1)])
    at = np.searchsorted(block.frames, frame[own])[:, None] + steps
    # A person's row by frame and detection; what lies beyond the block is on no path, for paths end with the video.
    most = 1 + max(int(detection.max(initial=0)), int(number.max(initial=0)))
    key = np.searchsorted(block.frames, frame) * most + detection
    wanted = at * most + number
    order = np.argsort(key)
    row = order[np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)]
    is_there = number >= 0
    if (key[row] != wanted)[is_there].any():
        raise ValueError("the tables of paths and suppress speak of different people; re-run paths")
    return np.where(is_there, row, -1), tau


def _refine(
    features: FeatureSet, own: NDArray[np.int64], counterpart: NDArray[np.int64], tau: int, params: RefineParams
) -> Tensor:
    """(P, K, S), the responses of Eq. 6."""
    import torch  # here: see tkm.networks.runtime

    from tkm.refinement import refined_response, support

    bias = trained.refinement(str(params.refinement)).bias
    is_before = (torch.arange(2 * tau) < tau).to(bias.device)
    known = np.maximum(counterpart, 0)  # rows that are no counterpart's are masked

    def weights(part: Sequence[Tensor]) -> Tensor:
        own_steps, own_step, context_steps, context_step = part
        classifiers = trained.matching(str(params.matching)).classifiers
        return support(
            classifiers, own_steps.float() * own_step[..., None], context_steps.float() * context_step[..., None], is_before
        )

    def respond(part: tuple[Tensor, ...]) -> _Responses:
        own_scalar, context_scalar, is_there, *vectors = part
        weight = weights(vectors) if vectors else own_scalar.new_zeros(len(own_scalar), 0, *own_scalar.shape[1:])
        return _Responses(refined_response(own_scalar, context_scalar, weight, is_there, bias, tau, params.divisor))

    rows = [_has(features.scalar)[own], _has(features.scalar)[known, :, 0], counterpart >= 0]
    if tau:
        steps, step = _has(features.feature), _has(features.feature_step)
        rows += [steps[own], step[own], steps[known, :, 0], step[known, :, 0]]
    return runtime.in_passes(tuple(torch.from_numpy(row) for row in rows), respond).response


def _has(values: NDArray[Any] | None) -> NDArray[Any]:
    if values is None:
        raise ValueError("the table of embed lacks what a head gives; re-run embed with all heads that refine takes")
    return values


def _digests(params: RefineParams) -> dict[str, str]:
    digests = {"matching": params.matching, "refinement": params.refinement}
    return {head: digest for head, digest in digests.items() if digest}


STAGE = Stage(
    "refine",
    run,
    RefineParams,
    inputs=(estimate.STAGE, suppress.STAGE, embed.STAGE, paths.STAGE),
    output=REFINED,
    resources=Resources(gpus=1),
    version=1,
    weights=lambda params: _digests(params["refine"]),
    halo=lambda params: params["paths"].tau,
    is_active=lambda params: params["refine"].on,
)
