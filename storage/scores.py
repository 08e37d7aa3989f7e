"""Between what scores are computed from (tkm.metrics) and the tables that keep it, video by video."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.evaluation_schemas import VIDEO_OKS, VIDEO_SCORES
from tkm.metrics.oks import THRESHOLDS, OksEvaluations
from tkm.metrics.scores import VideoScores, from_arrays, to_arrays
from tkm.skeleton import POSETRACK_15

_AREAS = ("all", "medium", "large")  # COCO's ranges of a person's size
_OF_VIDEO = ("name", "protocol", "keypoint_threshold", "is_tracked")
_PARTS = ("all_points", "points", "tracking", "hota", "identities")
_POINTS = ("score", "is_hit")  # columns that hold a joint's points, as many as there are
_JOINTS = len(POSETRACK_15.keypoints)


def scores_to_table(scores: VideoScores) -> pa.Table:
    """Table `video_scores`, a row a joint."""
    arrays = to_arrays(scores)
    columns: dict[str, Any] = {"joint": pa.array(POSETRACK_15.keypoints)}
    for name, value in arrays.items():
        part, _, field = name.partition(".")
        if name in _OF_VIDEO:
            columns[name] = pa.array([value] * _JOINTS)
        elif field in _POINTS:
            columns[f"{part}_{field}"] = _lists(value, arrays[f"{part}.number"])
        elif value.ndim == 2:
            columns[f"{part}_{field}"] = _lists(value.reshape(-1), np.full(_JOINTS, value.shape[1]))
        else:
            columns[f"{part}_{field}"] = pa.array(value)
    return pa.table({name: columns[name] for name in VIDEO_SCORES.names}).cast(VIDEO_SCORES)


def scores_from_table(table: pa.Table) -> VideoScores:
    """Inverse of scores_to_table."""
    arrays: dict[str, Any] = {name: table[name][0].as_py() for name in _OF_VIDEO}
    for name in VIDEO_SCORES.names[1 + len(_OF_VIDEO) :]:
        part = next(part for part in _PARTS if name.startswith(f"{part}_"))
        field, values = name.removeprefix(f"{part}_"), table[name].combine_chunks()
        if field in _POINTS:
            arrays[f"{part}.{field}"] = _flat(values)
            arrays[f"{part}.number"] = values.value_lengths().to_numpy().astype(np.int64)
        else:
            is_flat = not pa.types.is_list(values.type)
            arrays[f"{part}.{field}"] = values.to_numpy() if is_flat else _flat(values).reshape(len(values), -1)
    return from_arrays(arrays)


def oks_to_table(found: OksEvaluations) -> pa.Table:
    """Table `video_oks`, a row a range of area."""
    A, S, P = found.is_match.shape
    return pa.table(
        {
            "area": pa.array(_AREAS),
            "true_people": pa.array(found.true_people),
            "score": _lists(np.tile(found.score, A), np.full(A, P)),
            "is_match": _lists(found.is_match.reshape(-1), np.full(A, S * P)),
            "is_ignored": _lists(found.is_ignored.reshape(-1), np.full(A, S * P)),
        }
    ).cast(VIDEO_OKS)


def oks_from_table(table: pa.Table) -> OksEvaluations:
    """Inverse of oks_to_table."""
    score = _flat(table["score"].combine_chunks()[:1])
    shape = (len(_AREAS), THRESHOLDS, len(score))
    is_match, is_ignored = (_flat(table[name].combine_chunks()).reshape(shape) for name in ("is_match", "is_ignored"))
    return OksEvaluations(score, is_match, is_ignored, np.asarray(table["true_people"].to_numpy(), np.int64))


def _lists(values: NDArray[Any], lengths: NDArray[np.int64]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _flat(values: pa.ListArray) -> NDArray[Any]:
    return np.asarray(values.flatten().to_numpy(zero_copy_only=False))
