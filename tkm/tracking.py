"""Track ids by maximum bipartite matching between adjacent frames (paper section 3.2, Eq. 3-4).

Shape legend: P people of the poses given, Q people of a frame, T sampled frames, K keypoints, D channels of a feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from tkm.similarity import LEARNED, Measure, check_feature, pose_similarity
from tkm.skeleton import COCO_17
from tkm.types import Bool, Float, Int, PoseSet

if TYPE_CHECKING:
    from tkm.networks.matching import Classifiers


def match(similarity: Float) -> tuple[Int, Int]:
    """The one-to-one matching of highest total similarity (Eq. 3-4); pairs of similarity 0 are never matched.

    Args: similarity (P, Q), finite and at least 0.
    Returns: rows and columns, (pairs,) int64 each, by rising row.
    Raises: ValueError for a similarity below 0 or not finite.
    """
    if not (np.isfinite(similarity) & (similarity >= 0)).all():
        raise ValueError("similarity must be finite and at least 0")
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    positive = similarity[rows, columns] > 0
    return rows[positive].astype(np.int64), columns[positive].astype(np.int64)


@dataclass(frozen=True)
class TrackerState:
    """All that tracking carries from one chunk of a video to the next.

    poses           the people of the last frame, Q rows
    track_id        (Q,) int64, their tracks
    next_track_id   the id that the next new person gets
    last_frame      number of the last frame seen, people in it or not; -1 before the first
    feature         their features for a learned similarity, (Q, K, D) float32 for tkm and (Q, 1, D) for tbm; None for the others,
                    and before the first frame
    """

    poses: PoseSet
    track_id: Int
    next_track_id: int
    last_frame: int
    feature: Float | None = None

    def __post_init__(self) -> None:
        if self.track_id.shape != (len(self.poses),) or self.track_id.dtype != np.int64:
            raise ValueError(f"TrackerState.track_id must be ({len(self.poses)},) int64, one id a pose")
        if len(self.track_id) and not 0 <= self.track_id.min() <= self.track_id.max() < self.next_track_id:
            raise ValueError(f"TrackerState.track_id must lie in 0..{self.next_track_id - 1}, below next_track_id")
        if self.feature is not None:
            check_feature(self.poses, self.feature)

    @classmethod
    def start(cls, keypoints: int) -> TrackerState:
        """The state before a video's first frame, for poses of this many keypoints."""
        nobody = PoseSet(
            frame=np.empty(0, np.int64), detection=np.empty(0, np.int64), box_xyxy_px=np.empty((0, 4), np.float32),
            box_score=np.empty(0, np.float32), xy_px=np.empty((0, keypoints, 2), np.float32),
            score=np.empty((0, keypoints), np.float32),
        )  # fmt: skip
        return cls(nobody, np.empty(0, np.int64), next_track_id=0, last_frame=-1)


def track(
    poses: PoseSet,
    frames: Int,
    state: TrackerState,
    measure: Measure = "iou",
    iou_gate: float = 0.1,
    is_cut: Bool | None = None,
    sigmas: Float = COCO_17.oks_sigmas,
    *,
    feature: Float | None = None,
    classifiers: Classifiers | None = None,
    by_confidence: bool = False,
) -> tuple[Int, TrackerState]:
    """Give every pose the id of its track: that of the person matched in the sampled frame before, else a new one.

    A track lives from one sampled frame to the next: a frame without people ends all, and so does a cut of the camera. Ids
    count from 0 in each video; new people of one frame get theirs by falling pose score, then by detection number, so ids
    depend on no order of rows. Tracking a video in chunks, each with the state that the one before returned, gives the ids
    of tracking it whole.

    Args:
        poses: P rows in any order, all of frames in `frames`.
        frames: (T,) int64, the numbers of all sampled frames of this chunk, rising, those without people included.
        state: what `track` returned for the chunk before, or `TrackerState.start` for a video's first.
        measure: similarity of two people, see `pose_similarity`.
        iou_gate: people whose boxes overlap less are never matched.
        is_cut: (T,) bool, beside `frames`: a shot begins here, and nobody is matched with the frame before; None for no cuts.
        sigmas: (K,) float32, of the poses' skeleton, for `oks`.
        feature: for a learned measure, float32 row for row beside poses: for `tkm` (P, K, D), F at the cells of the poses'
            keypoints, for `tbm` (P, 1, D), the bodies' vectors. None for the others.
        classifiers: for a learned measure, the trained ones.
        by_confidence: for `tkm`, weigh keypoints by their scores, see `pose_similarity`.
    Returns: (P,) int64 track ids, row for row beside poses, and the state for the next chunk.
    Raises: ValueError where frames do not rise beyond the last one seen, a pose belongs to none of them, is_cut differs
        from them in shape, or a learned measure has no features or no classifiers.
    """
    if (measure in LEARNED) != (feature is not None) or (measure in LEARNED) != (classifiers is not None):
        raise ValueError(f"measure {measure!r} is given features and classifiers where, and only where, it is a learned one")
    if feature is not None:
        check_feature(poses, feature)
    if (np.diff(frames, prepend=state.last_frame) <= 0).any():
        raise ValueError(f"frames must rise, from beyond frame {state.last_frame} that was tracked last")
    strangers = ~np.isin(poses.frame, frames)
    if strangers.any():
        raise ValueError(f"poses.frame {poses.frame[np.argmax(strangers)]} is not among the sampled frames given")
    cuts = np.zeros(len(frames), np.bool_) if is_cut is None else is_cut
    if cuts.shape != frames.shape:
        raise ValueError(f"is_cut must be {frames.shape}, one a frame, not {cuts.shape}")
    # The one order that everything below follows, whatever the order of the rows.
    order = np.lexsort((poses.detection, -poses.pose_score, poses.frame))
    start, stop = np.searchsorted(poses.frame[order], frames), np.searchsorted(poses.frame[order], frames, side="right")
    track_id = np.full(len(poses), -1, np.int64)
    before, ids_before, next_track_id = state.poses, state.track_id, state.next_track_id
    feature_before = state.feature
    for first, last, cut in zip(start.tolist(), stop.tolist(), cuts.tolist(), strict=True):
        rows = order[first:last]
        now, feature_now = poses.take(rows), None if feature is None else feature[rows]
        ids = np.full(len(rows), -1, np.int64)
        if len(rows) and len(before) and not cut:
            similarity = pose_similarity(
                measure, now, before, iou_gate, sigmas,
                later_feature=feature_now, earlier_feature=feature_before, classifiers=classifiers, by_confidence=by_confidence,
            )  # fmt: skip
            matched, matched_before = match(similarity)
            ids[matched] = ids_before[matched_before]
        new = ids < 0
        ids[new] = next_track_id + np.arange(new.sum())
        next_track_id += int(new.sum())
        track_id[rows] = ids
        before, feature_before, ids_before = now, feature_now, ids
    last_frame = int(frames[-1]) if len(frames) else state.last_frame
    return track_id, TrackerState(before, ids_before, next_track_id, last_frame, feature_before)
