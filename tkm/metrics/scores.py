"""All PoseTrack metrics of a video in a form that pools, and the scores of many videos as PoseTrack's tables have them.

Shape legend: J joints, C columns of a table, D predicted points, A thresholds of HOTA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Rows
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from tkm.datasets.sequence import Double, Sequence
from tkm.metrics.average_precision import PointDetections, average_precision, point_detections
from tkm.metrics.cleaning import JOINTS, annotated_frames, labeled_frames
from tkm.metrics.hota import HotaSums, hota, hota_sums
from tkm.metrics.identity import IdentityCounts, identity_counts, idf1
from tkm.metrics.mota import MotaCounts, Protocol, mota, mota_counts
from tkm.skeleton import POSETRACK_15
from tkm.types import Bool, check

# A table's columns between those of single joints and the totals: means of the joints that the evaluator names together.
GROUPS = {
    "Head": ("head_top", "neck", "nose"),
    "Shou": ("right_shoulder", "left_shoulder"),
    "Elb": ("right_elbow", "left_elbow"),
    "Wri": ("right_wrist", "left_wrist"),
    "Hip": ("right_hip", "left_hip"),
    "Knee": ("right_knee", "left_knee"),
    "Ankl": ("right_ankle", "left_ankle"),
}
COLUMNS = (*POSETRACK_15.keypoints, *GROUPS, "Total", "Total with truth")
_GROUP_JOINTS = [[POSETRACK_15.keypoints.index(joint) for joint in joints] for joints in GROUPS.values()]
Part = TypeVar("Part", MotaCounts, HotaSums, IdentityCounts)


@dataclass(frozen=True)
class VideoScores:
    """What the scores of one video are computed from. Videos pool only under one protocol and one threshold.

    name                 of the video
    protocol             which rules MOTA follows; AP, HOTA and IDF1 have no quirks to leave out
    keypoint_threshold   predicted points scored below it are left out of all but `all_points`
    is_tracked           truth and prediction have track ids; else tracking, HOTA and identities are zeros that mean nothing
    all_points           predicted points before the threshold
    points               predicted points after it
    tracking             counts of MOTA
    hota                 sums of HOTA
    identities           counts of IDF1
    """

    name: str
    protocol: Protocol
    keypoint_threshold: float
    is_tracked: bool
    all_points: PointDetections
    points: PointDetections
    tracking: MotaCounts
    hota: HotaSums
    identities: IdentityCounts

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise ValueError(f"VideoScores.protocol must be one of {', '.join(get_args(Protocol))}, not {self.protocol!r}")
        if np.isnan(self.keypoint_threshold):
            raise ValueError("VideoScores.keypoint_threshold must be a number, -inf for none")


_PARTS: dict[str, Any] = {
    "all_points": PointDetections, "points": PointDetections, "tracking": MotaCounts, "hota": HotaSums,
    "identities": IdentityCounts,
}  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """Scores of videos pooled, (C,) float64 each, in percent, in the order of COLUMNS; NaN where undefined.

    A group's column is the mean of its joints, NaN if one is. "Total" is the evaluator's mean over all joints that have a
    value, "Total with truth" the mean over those that have truth. id_switches are numbers, and sums instead of means.

    videos                 how many
    has_truth              (J,) bool, the joint has true points
    ap_before_threshold    average precision of all predicted points
    ap_after_threshold     and, from here on, of those that are not scored below the threshold
    ap_precision           at the end of AP's curve
    ap_recall              at the end of AP's curve
    mota, motp             of single points, as precision and recall, after matching by track
    hota, deta, assa, loca means over thresholds
    idf1                   identities
    id_switches            those of MOTA
    """

    videos: int
    has_truth: Bool
    ap_before_threshold: Double
    ap_after_threshold: Double
    ap_precision: Double
    ap_recall: Double
    mota: Double
    motp: Double
    precision: Double
    recall: Double
    hota: Double
    deta: Double
    assa: Double
    loca: Double
    idf1: Double
    id_switches: Double

    def __post_init__(self) -> None:
        check(self, "has_truth", (JOINTS,), np.bool_)
        for field in fields(self)[2:]:
            check(self, field.name, (len(COLUMNS),), np.float64)


def score_video(truth: Sequence, prediction: Sequence, protocol: Protocol, keypoint_threshold: float) -> VideoScores:
    """What the scores of one video are computed from.

    Args: truth and prediction, both POSETRACK_15; predicted points scored below keypoint_threshold, as those without score
        are, are left out of everything but the AP before the threshold: -inf for none.
    Raises: ValueError as `annotated_frames` and `mota_counts` do.
    """
    everything = annotated_frames(truth, prediction)
    frames = everything if keypoint_threshold == -np.inf else annotated_frames(truth, prediction, keypoint_threshold)
    all_points = point_detections(everything)
    points = all_points if frames is everything else point_detections(frames)
    # Of no frames there is nothing to count, whatever the ids.
    tracked = frames if frames.has_tracks else replace(frames.first(0), has_tracks=True)
    labeled = labeled_frames(truth, prediction, keypoint_threshold) if frames.has_tracks else tracked
    return VideoScores(
        truth.name, protocol, keypoint_threshold, frames.has_tracks, all_points, points,
        mota_counts(tracked, protocol), hota_sums(labeled), identity_counts(tracked),
    )  # fmt: skip


def pool(videos: Iterable[VideoScores]) -> Scores:
    """The scores of all videos together, as if they were one set. Where one is not tracked, tracking has no scores: NaN.

    Raises: ValueError without videos, or where protocols or thresholds differ.
    """
    all_videos = list(videos)
    check_comparable(all_videos)
    before = average_precision([video.all_points for video in all_videos])
    after = average_precision([video.points for video in all_videos])
    counts = _total([video.tracking for video in all_videos])
    tracking = mota(*values_of(counts))
    of_thresholds = hota(*values_of(_total([video.hota for video in all_videos])))
    identities = idf1(*values_of(_total([video.identities for video in all_videos])))
    has_truth = np.sum([video.points.true_points for video in all_videos], axis=0) > 0
    is_tracked = all(video.is_tracked for video in all_videos)
    of_points = (before.average_precision, after.average_precision, after.precision, after.recall)
    of_tracks = (
        tracking.mota, tracking.motp, tracking.precision, tracking.recall,
        of_thresholds.hota.mean(axis=1), of_thresholds.detection.mean(axis=1),
        of_thresholds.association.mean(axis=1), of_thresholds.localisation.mean(axis=1), identities,
    )  # fmt: skip
    switches = counts.switches.astype(np.float64)
    columns = [
        *(_columns(values, has_truth, _mean) for values in of_points),
        *(_columns(values, has_truth, _mean) if is_tracked else np.full(len(COLUMNS), np.nan) for values in of_tracks),
        _columns(switches, has_truth, np.sum) if is_tracked else np.full(len(COLUMNS), np.nan),
    ]
    return Scores(len(all_videos), has_truth, *columns)


def check_comparable(videos: Rows[VideoScores]) -> None:
    """ValueError unless there are videos, all scored under one protocol and one threshold."""
    rules = {(video.protocol, video.keypoint_threshold) for video in videos}
    if len(rules) != 1:
        raise ValueError(f"scores pool under one protocol and one keypoint threshold, not under {sorted(rules)}")


def to_arrays(scores: VideoScores) -> dict[str, Any]:
    """Everything in plain scalars and arrays, by "field" or "part.field": (J,), (J, A), and of all joints' points (D,)."""
    found: dict[str, Any] = {}
    for field in fields(scores):
        value = getattr(scores, field.name)
        if field.name in _PARTS:
            found |= {f"{field.name}.{part.name}": getattr(value, part.name) for part in fields(value)}
        else:
            found[field.name] = value
    return found


def from_arrays(arrays: Mapping[str, Any]) -> VideoScores:
    """What `to_arrays` was given."""
    return VideoScores(**{
        field.name: _PARTS[field.name](*(arrays[f"{field.name}.{part.name}"] for part in fields(_PARTS[field.name])))
        if field.name in _PARTS else arrays[field.name]
        for field in fields(VideoScores)
    })  # fmt: skip


def values_of(part: PointDetections | MotaCounts | HotaSums | IdentityCounts) -> list[NDArray[Any]]:
    """The part's arrays, in the order of its fields."""
    return [getattr(part, field.name) for field in fields(part)]


def _total(parts: Rows[Part]) -> Part:
    """The sum of counts or sums of videos."""
    return type(parts[0])(*(np.sum(arrays, axis=0) for arrays in zip(*map(values_of, parts), strict=True)))


def _columns(values: Double, has_truth: Bool, summary: Callable[[Double], float]) -> Double:
    """(C,) float64, a score of joints (J,) with its groups and totals beside it."""
    has_value = ~np.isnan(values)
    groups = [summary(values[joints]) for joints in _GROUP_JOINTS]
    return np.array([*values, *groups, summary(values[has_value]), summary(values[has_value & has_truth])], np.float64)


def _mean(values: Double) -> float:
    return float(values.mean()) if len(values) else np.nan
