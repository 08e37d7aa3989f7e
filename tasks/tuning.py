"""Trying settings on annotated clips whose networks have run: suppress, track, paths, refine and publish by their own functions.

What the networks say of a clip is in its artifacts, features of everybody whom any setting may keep among them; all that comes
after is computed in memory, setting by setting, and nothing of it is kept.

Shape legend: J joints of PoseTrack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.codecs import column
from storage.store import Store
from storage.weights import fetch
from tasks import embed, estimate, index, paths, publish, refine, suppress, track
from tasks.execute import timeline
from tasks.plan import VideoPlan
from tasks.predictions import in_skeleton, sequence_of
from tasks.stage import Block, Params
from tasks.truth import Truth
from tkm.datasets.sequence import Sequence as Annotations
from tkm.metrics.average_precision import PointDetections, average_precision, point_detections
from tkm.metrics.cleaning import annotated_frames
from tkm.metrics.mota import MotaCounts, mota, mota_counts
from tkm.metrics.scores import values_of
from tkm.similarity import Measure

# The grids, the default first: of equal settings the first one counts. Coarse, so that rows which choose alike share artifacts.
NMS_GRID: dict[str, tuple[float, ...]] = {
    "pnms": (0.15, 0.075, 0.1, 0.2, 0.25),  # pnms_distance
    "cnms": (0.5, 0.35, 0.6, 0.7, 0.85),  # cnms_iou
}
MIN_POSE_SCORE_GRID = (0.1, 0.2, 0.3)
# A network's scores and refined ones are not on one scale, so thresholds are found by what they drop: shares of the keypoints.
DROPPED_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
# memory_frames and memory_similarity, in rows that have it: probabilities, and overlaps, which fall with every frame.
_OF_PROBABILITY = ((24, 0.5), (8, 0.5), (60, 0.5), (24, 0.7), (24, 0.9))
_OF_OVERLAP = ((24, 0.1), (2, 0.1), (8, 0.1), (60, 0.1), (24, 0.3))
MEMORY_GRID: dict[Measure, tuple[tuple[int, float], ...]] = {
    "iou": _OF_OVERLAP, "oks": _OF_OVERLAP, "tbm": _OF_PROBABILITY, "tkm": _OF_PROBABILITY,
}  # fmt: skip
LOOSE = suppress.SuppressParams(method="cnms", cnms_iou=1.0, min_pose_score=min(MIN_POSE_SCORE_GRID))  # keeps whom any may keep


@dataclass(frozen=True)
class Setting:
    """What is tuned: nms is pnms_distance or cnms_iou; the keypoint threshold is the evaluation's alone, None for none.

    The memory of track matters to rows that have one.
    """

    nms: float
    min_pose_score: float = MIN_POSE_SCORE_GRID[0]
    keypoint_threshold: float | None = None
    memory_frames: int = _OF_PROBABILITY[0][0]
    memory_similarity: float = _OF_PROBABILITY[0][1]


@dataclass(frozen=True)
class Clip:
    """An annotated clip whose networks have run, under LOOSE suppression.

    plan       with the artifacts index, estimate, suppress and, where a row looks at features, embed
    by_itself  likewise, with the refinement scalars of single frames in embed; None where no row needs them
    truth      what its people really do
    """

    plan: VideoPlan
    by_itself: VideoPlan | None
    truth: Truth


@dataclass(frozen=True)
class Trial:
    """What came of a setting on a clip: counts of MOTA under each of some keypoint thresholds, and all points, under none."""

    counts: tuple[MotaCounts, ...]
    points: PointDetections


def keypoint_scores(store: Store, clip: Clip, params: Mapping[str, Params]) -> NDArray[np.float64]:
    """Scores of all keypoints, in the truth's skeleton, of all people whom these parameters keep."""
    score = _predict(_read(store, clip, params), params, clip.truth.read(store)).people.keypoint_score
    return score[np.isfinite(score)]


def trials(
    store: Store, clip: Clip, settings: Sequence[Mapping[str, Params]], thresholds: Sequence[float | None]
) -> list[Trial]:
    """Each of some parameters, by stage name, which differ in what is tuned alone, tried on a clip.

    Raises: DamagedArtifactError where artifacts are not whole, ValueError for truth that cannot be evaluated.
    """
    true, tables = clip.truth.read(store), _read(store, clip, settings[0])
    return [_trial(_predict(tables, params, true), true, thresholds) for params in settings]


def pooled_mota(counts: Sequence[MotaCounts], points: Sequence[PointDetections]) -> float:
    """MOTA of clips together in percent, official protocol: mean over the joints that have truth."""
    summed = (np.sum(each, axis=0) for each in zip(*map(values_of, counts), strict=True))
    return _mean_with_truth(mota(*summed).mota, points)


def pooled_average_precision(points: Sequence[PointDetections]) -> float:
    """Mean average precision of clips together in percent: over the joints that have truth, of all keypoints."""
    return _mean_with_truth(average_precision(points).average_precision, points)


@dataclass(frozen=True)
class _Tables:
    """A clip's artifacts: `is_loose` (P,) tells which of estimate's people `features` has rows of."""

    clip: Clip
    index: pa.Table
    estimate: pa.Table
    is_loose: NDArray[np.bool_]
    features: pa.Table | None


def _read(store: Store, clip: Clip, params: Mapping[str, Params]) -> _Tables:
    """A clip's artifacts, and on this machine the heads that these parameters take."""
    for stage in (track.STAGE, paths.STAGE, refine.STAGE):
        for sha256 in stage.weights(params).values() if stage.is_active(params) else ():
            fetch(store, sha256)
    plan, features = clip.plan, None
    if embed.STAGE.is_active(params):
        features = plan.artifact(embed.STAGE).read()
        if params["refine"].on and params["paths"].tau == 0:  # type: ignore[attr-defined]
            if clip.by_itself is None:
                raise ValueError(f"{plan.video}: no scalars of single frames were computed for self-refinement")
            name = "refinement_scalar"
            alone = clip.by_itself.artifact(embed.STAGE).read()[name]
            features = features.set_column(features.column_names.index(name), name, alone).cast(embed.STAGE.output)
    is_loose = column(plan.artifact(suppress.STAGE).read(), "is_kept", np.bool_)
    return _Tables(clip, plan.artifact(index.STAGE).read(), plan.artifact(estimate.STAGE).read(), is_loose, features)


def _predict(tables: _Tables, params: Mapping[str, Params], true: Annotations) -> Annotations:
    """What these parameters make of a clip, as it is evaluated."""
    line = timeline(tables.clip.plan)
    inputs = {"estimate": tables.estimate}

    def block() -> Block:
        return Block(line.frames, line.pts_ns, (), inputs, params)

    inputs["suppress"] = suppress.run(block(), params["suppress"])  # type: ignore[arg-type]
    if tables.features is not None:
        is_kept = column(inputs["suppress"], "is_kept", np.bool_)
        inputs["embed"] = tables.features.filter(pa.array(is_kept[tables.is_loose]))
    inputs["track"], _ = track.run(block(), params["track"], None)  # type: ignore[arg-type]
    if paths.STAGE.is_active(params):
        inputs["paths"] = paths.run(block(), params["paths"])  # type: ignore[arg-type]
    if refine.STAGE.is_active(params):
        inputs["refine"] = refine.run(block(), params["refine"])  # type: ignore[arg-type]
    persons = publish.run(block(), publish.PublishParams())
    return in_skeleton(sequence_of(persons, tables.index, tables.clip.truth.name), true.skeleton)


def _trial(predicted: Annotations, true: Annotations, thresholds: Sequence[float | None]) -> Trial:
    true = true.in_frames(predicted.is_labeled)
    everything = annotated_frames(true, predicted)
    kept = (everything if one is None else annotated_frames(true, predicted, one) for one in thresholds)
    return Trial(tuple(mota_counts(frames, "official") for frames in kept), point_detections(everything))


def _mean_with_truth(scores: NDArray[np.float64], points: Sequence[PointDetections]) -> float:
    has_truth = np.sum([each.true_points for each in points], axis=0) > 0
    return float(scores[has_truth].mean())
