"""Poses as `tkm annotate --detections` has them, suppressed, tracked and scored with the stages' own functions, over a grid.

Shape legend: P poses of a video, T frames, V videos, J joints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from storage.codecs import given_poses_from_table
from storage.given import given_of, kind_of
from tasks.suppress import SuppressParams
from tasks.track import TrackParams
from tkm.datasets.files import parse_json, read_document
from tkm.datasets.sequence import People
from tkm.datasets.sequence import Sequence as Annotations
from tkm.metrics.average_precision import PointDetections, average_precision, point_detections
from tkm.metrics.cleaning import annotated_frames
from tkm.metrics.mota import MotaCounts, Protocol, mota, mota_counts
from tkm.metrics.scores import VideoScores, score_video, values_of
from tkm.similarity import Measure
from tkm.skeleton import Skeleton
from tkm.suppression import box_nms, pose_nms
from tkm.tracking import Memory, TrackerState, track
from tkm.types import Bool, Int, PoseSet

Method = Literal["cnms", "pnms"]
NO_THRESHOLD = -np.inf
COMBINATIONS: tuple[tuple[Method, Measure], ...] = (("cnms", "iou"), ("cnms", "oks"), ("pnms", "iou"), ("pnms", "oks"))
DEFAULT_FLOOR = SuppressParams().min_pose_score
DEFAULT_GATE = TrackParams().iou_gate

# From far too strict to no suppression at all, finer where MOTA has its maximum.
NMS_GRID: dict[Method, tuple[float, ...]] = {
    "cnms": (0.3, 0.35, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0),
    "pnms": (0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3),
}
FLOOR_GRID = (DEFAULT_FLOOR, 0.4, 0.45, 0.5)
GATE_GRID = (0.0, DEFAULT_GATE, 0.2)
KEYPOINT_GRID = (NO_THRESHOLD, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class Video:
    """One video: its truth, and all poses that a detector gives, duplicates included."""

    name: str
    truth: Annotations
    poses: PoseSet
    skeleton: Skeleton


@dataclass(frozen=True)
class Setting:
    """All that is tuned. nms is cnms_iou or pnms_distance, floor min_pose_score; keypoint matters to the evaluation alone."""

    method: Method
    measure: Measure
    nms: float
    floor: float = DEFAULT_FLOOR
    gate: float = DEFAULT_GATE
    keypoint: float = NO_THRESHOLD


@dataclass(frozen=True)
class Trial:
    """What tuning looks at: of each video the counts of MOTA after the keypoint threshold, and all points before it."""

    setting: Setting
    counts: tuple[MotaCounts, ...]
    points: tuple[PointDetections, ...]

    def mota(self, half: Iterable[int]) -> float:
        """MOTA of some videos, mean over the joints with truth, official protocol."""
        some = list(half)
        summed = (np.sum(each, axis=0) for each in zip(*(values_of(self.counts[v]) for v in some), strict=True))
        return _mean_with_truth(mota(*summed).mota, [self.points[v] for v in some])

    def average_precision(self, half: Iterable[int]) -> float:
        """AP of some videos, mean over the joints with truth, before the keypoint threshold."""
        some = [self.points[v] for v in half]
        return _mean_with_truth(average_precision(some).average_precision, some)


def read_video(truth_file: Path, detections_file: Path) -> Video:
    """A video of PoseTrack's files."""
    truth, detections = read_one(truth_file), read_one(detections_file)
    poses, skeleton = poses_of(detections)
    return Video(truth.name, truth, poses, skeleton)


def read_one(path: Path) -> Annotations:
    """The one sequence of a file."""
    (sequence,) = read_document(parse_json(path.read_bytes(), str(path)), path.stem)
    return sequence


def poses_of(sequence: Annotations) -> tuple[PoseSet, Skeleton]:
    """Poses and skeleton, as suppress and track are given them."""
    return given_poses_from_table(given_of(sequence, kind_of(sequence.people), len(sequence)).table)


def read_videos(data: Path) -> list[Video]:
    """All videos of a folder with gt/ and detections/, by name."""
    return [read_video(path, data / "detections" / path.name) for path in sorted((data / "gt").glob("*.json"))]


def default_setting(method: Method, measure: Measure) -> Setting:
    """The stages' own parameters."""
    params = SuppressParams()
    return Setting(method, measure, params.cnms_iou if method == "cnms" else params.pnms_distance)


def is_kept(poses: PoseSet, method: Method, nms: float, floor: float, share: float = 0.5) -> Bool:
    """(P,) bool, as the stage suppress decides; share is that of `pose_nms`, which the stage leaves as it is."""
    kept: Bool = poses.pose_score >= floor
    scored = poses.take(kept)
    if method == "pnms":
        kept[kept] = pose_nms(scored, nms, share)
    else:
        kept[kept] = box_nms(scored.box_xyxy_px, scored.box_score, scored.frame, scored.detection, nms)
    return kept


def track_ids(poses: PoseSet, video: Video, measure: Measure, gate: float, memory: Memory | None = None) -> Int:
    """(P,) int64 track ids of a video's survivors, as the stage track gives them."""
    frames = np.arange(len(video.truth))
    start = TrackerState.start(len(video.skeleton.keypoints))
    return track(poses, frames, start, measure, gate, None, video.skeleton.oks_sigmas, memory=memory)[0]


def prediction(poses: PoseSet, track_id: Int, truth: Annotations) -> Annotations:
    """Poses with ids as the evaluation reads them: by frame and track id, as they are published."""
    order = np.lexsort((track_id, poses.frame))
    poses = poses.take(order)
    P = len(poses)
    people = People(
        frame=poses.frame,
        track_id=track_id[order],
        score=poses.pose_score.astype(np.float64),
        box_xyxy_px=poses.box_xyxy_px.astype(np.float64),
        head_xyxy_px=np.full((P, 4), np.nan),
        area_px2=np.full(P, np.nan),
        is_crowd=np.zeros(P, np.bool_),
        xy_px=poses.xy_px.astype(np.float64),
        keypoint_score=poses.score.astype(np.float64),
        visibility=np.full(poses.score.shape, -1, np.int8),
    )
    return replace(truth, people=people)


def predict(video: Video, setting: Setting) -> Annotations:
    """What a setting makes of a video."""
    poses = video.poses.take(is_kept(video.poses, setting.method, setting.nms, setting.floor))
    return prediction(poses, track_ids(poses, video, setting.measure, setting.gate), video.truth)


def scored(videos: Sequence[Video], setting: Setting, protocol: Protocol = "official") -> list[VideoScores]:
    """All metrics of all videos under a setting."""
    return [score_video(video.truth, predict(video, setting), protocol, setting.keypoint) for video in videos]


def sweep(videos: Sequence[Video], method: Method, measure: Measure) -> Iterator[Trial]:
    """Every setting of the grid; what does not depend on a parameter is not computed again for it."""
    for nms, floor in product(NMS_GRID[method], FLOOR_GRID):
        kept = [video.poses.take(is_kept(video.poses, method, nms, floor)) for video in videos]
        points: tuple[PointDetections, ...] = ()
        for gate in GATE_GRID:
            pairs = [
                (video.truth, prediction(poses, track_ids(poses, video, measure, gate), video.truth))
                for video, poses in zip(videos, kept, strict=True)
            ]
            points = points or tuple(point_detections(annotated_frames(*pair)) for pair in pairs)
            for keypoint in KEYPOINT_GRID:
                counts = tuple(mota_counts(annotated_frames(*pair, keypoint), "official") for pair in pairs)
                yield Trial(Setting(method, measure, nms, floor, gate, keypoint), counts, points)


def best(trials: Iterable[Trial], half: Sequence[int]) -> Setting:
    """The setting of the highest MOTA on some videos; of equal ones the first in the order of the grids."""
    return max(trials, key=lambda trial: trial.mota(half)).setting


def best_for_ap(trials: Iterable[Trial], half: Sequence[int]) -> Setting:
    """The same for AP before the keypoint threshold, which depends on nothing but suppression."""
    first = (GATE_GRID[0], KEYPOINT_GRID[0])
    of_suppression = [trial for trial in trials if (trial.setting.gate, trial.setting.keypoint) == first]
    return max(of_suppression, key=lambda trial: trial.average_precision(half)).setting


def _mean_with_truth(scores: np.ndarray, points: Sequence[PointDetections]) -> float:
    has_truth = np.sum([each.true_points for each in points], axis=0) > 0
    return float(scores[has_truth].mean())
