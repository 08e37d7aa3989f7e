"""Track ids by maximum bipartite matching between adjacent frames (paper section 3.2, Eq. 3-4), and over gaps by memory.

Shape legend: P people of the poses given, Q people of a frame or remembered, T sampled frames, K keypoints, D channels of a
feature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from tkm.similarity import LEARNED, Measure, box_area, check_feature, iou, pose_similarity
from tkm.skeleton import COCO_17
from tkm.types import Bool, Float, Int, PoseSet, check, joined

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
class Memory:
    """Identity over gaps, beyond the paper, which matches adjacent frames only: who is lost for a while may get the id back.

    frames      sampled frames in a row that a person may be missing and still be remembered; 0, as in the paper, for no memory
    similarity  what somebody who appears must reach to be taken for a remembered person, in (0, 1]: the mean over keypoints of
                G_k for tkm, the probability of the whole body for tbm, either with OVERLAP_SHARE of the boxes' IOU added, because
                somebody who was half hidden looks little like before and is still there; IOU or OKS itself
    reach       how far from there they may appear, see `within_reach`; None for anywhere

    Raises ValueError where one is out of its range.
    """

    frames: int = 0
    similarity: float = 0.5
    reach: float | None = None

    def __post_init__(self) -> None:
        if self.frames < 0 or not 0 < self.similarity <= 1 or not (self.reach is None or self.reach > 0):
            raise ValueError(f"Memory must have frames of at least 0, similarity in (0, 1] and a reach above 0, not {self}")


def within_reach(later: PoseSet, earlier: PoseSet, reach: float) -> Bool:
    """Who may have moved how far: (P, Q) bool of later people with people seen earlier, in place of Eq. 5's gate over a gap.

    The centres of both boxes are at most `reach` sizes apart for every frame of the video between them, a size being the square
    root of the larger box's area: people are moved on, and partly hidden, where a box of theirs no longer overlaps the last.
    """
    of_later, of_earlier = ((poses.box_xyxy_px[:, :2] + poses.box_xyxy_px[:, 2:]) / 2 for poses in (later, earlier))
    distance_px = np.linalg.norm(of_later[:, None] - of_earlier[None], axis=-1)
    area_px2 = np.maximum(box_area(later.box_xyxy_px)[:, None], box_area(earlier.box_xyxy_px)[None])
    frames = later.frame[:, None] - earlier.frame[None]
    near: Bool = distance_px <= reach * frames * np.sqrt(area_px2)
    return near


OVERLAP_SHARE = np.float32(0.5)  # of a learned likeness, see Memory
REMEMBERED = 256  # people at most, those seen last: a detector that sees ghosts must not make the state grow without end


@dataclass(frozen=True)
class TrackerState:
    """All that tracking carries from one chunk of a video to the next.

    poses           Q people who may be matched, as they were seen last: those of the last frame, then those remembered, who were
                    seen last first
    track_id        (Q,) int64, their tracks
    missed          (Q,) int64, sampled frames without them since then; 0 for the people of the last frame, rising
    next_track_id   the id that the next new person gets
    last_frame      number of the last frame seen, people in it or not; -1 before the first
    feature         their features for a learned similarity, (Q, K, D) float32 for tkm and (Q, 1, D) for tbm; None for the others,
                    and before the first frame
    """

    poses: PoseSet
    track_id: Int
    missed: Int
    next_track_id: int
    last_frame: int
    feature: Float | None = None

    def __post_init__(self) -> None:
        Q = len(self.poses)
        if self.track_id.shape != (Q,) or self.track_id.dtype != np.int64:
            raise ValueError(f"TrackerState.track_id must be ({Q},) int64, one id a pose")
        if Q and not 0 <= self.track_id.min() <= self.track_id.max() < self.next_track_id:
            raise ValueError(f"TrackerState.track_id must lie in 0..{self.next_track_id - 1}, below next_track_id")
        check(self, "missed", (Q,), np.int64)
        if (np.diff(self.missed, prepend=0) < 0).any():
            raise ValueError("TrackerState.missed must be at least 0 and rise")
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
        none = np.empty(0, np.int64)
        return cls(nobody, none, none, next_track_id=0, last_frame=-1)

    def take(self, index: Int | Bool) -> TrackerState:
        """The same state with these people alone, by an integer or boolean index."""
        feature = None if self.feature is None else self.feature[index]
        return replace(
            self, poses=self.poses.take(index), track_id=self.track_id[index], missed=self.missed[index], feature=feature
        )


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
    memory: Memory | None = None,
) -> tuple[Int, TrackerState]:
    """Give every pose the id of its track: that of the person matched in the sampled frame before, else a new one.

    Without memory a track lives from one sampled frame to the next, and a frame without people ends all. With memory those whom
    the frame before leaves unmatched are matched, by the same measure, with the people lost before that. The frame before comes
    first: what it gives is what the paper gives, and a lost person, or a second pose of somebody which was given an id of its
    own, takes nobody out of a track that goes on. A cut of the camera ends all tracks and all memory.

    Ids count from 0 in each video; new people of one frame get theirs by falling pose score, then by detection number, so ids
    depend on no order of rows. Tracking a video in chunks, each with the state that the one before returned, gives the ids
    of tracking it whole.

    Args:
        poses: P rows in any order, all of frames in `frames`.
        frames: (T,) int64, the numbers of all sampled frames of this chunk, rising, those without people included.
        state: what `track` returned for the chunk before, or `TrackerState.start` for a video's first.
        measure: similarity of two people, see `pose_similarity`.
        iou_gate: people of adjacent frames whose boxes overlap less are never matched.
        is_cut: (T,) bool, beside `frames`: a shot begins here, and nobody is matched with the frame before; None for no cuts.
        sigmas: (K,) float32, of the poses' skeleton, for `oks`.
        feature: for a learned measure, float32 row for row beside poses: for `tkm` (P, K, D), F at the cells of the poses'
            keypoints, for `tbm` (P, 1, D), the bodies' vectors. None for the others.
        classifiers: for a learned measure, the trained ones.
        by_confidence: for `tkm`, weigh keypoints by their scores, see `pose_similarity`.
        memory: how lost people are remembered; None, as in the paper, for not at all.
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

    def similarity(now: PoseSet, feature_now: Float | None, before: TrackerState, gate: float) -> Float:
        return pose_similarity(
            measure, now, before.poses, gate, sigmas,
            later_feature=feature_now, earlier_feature=before.feature, classifiers=classifiers, by_confidence=by_confidence,
        )  # fmt: skip

    memory = memory or Memory()
    keypoints = feature.shape[1] if measure == "tkm" and feature is not None else 1  # Eq. 5 is a sum over them
    track_id = np.full(len(poses), -1, np.int64)
    for frame, first, last, cut in zip(frames.tolist(), start.tolist(), stop.tolist(), cuts.tolist(), strict=True):
        rows = order[first:last]
        now, feature_now = poses.take(rows), None if feature is None else feature[rows]
        if cut:
            state = state.take(np.empty(0, np.int64))
        ids = np.full(len(rows), -1, np.int64)
        before = np.flatnonzero(state.missed == 0)
        if len(rows) and len(before):
            matched, matched_before = match(similarity(now, feature_now, state.take(before), iou_gate))
            ids[matched] = state.track_id[before[matched_before]]
        new, lost = np.flatnonzero(ids < 0), np.flatnonzero(state.missed > 0)
        if len(new) and len(lost):
            feature_new = None if feature_now is None else feature_now[new]
            similar = similarity(now.take(new), feature_new, state.take(lost), 0.0)
            likeness = similar / np.float32(keypoints)
            if measure in LEARNED:
                likeness += OVERLAP_SHARE * iou(now.box_xyxy_px[new], state.poses.box_xyxy_px[lost])
            is_known = likeness >= memory.similarity
            if memory.reach is not None:
                is_known &= within_reach(now.take(new), state.poses.take(lost), memory.reach)
            matched, matched_lost = match(np.where(is_known, likeness, np.float32(0)))
            ids[new[matched]] = state.track_id[lost[matched_lost]]
        new = np.flatnonzero(ids < 0)
        ids[new] = state.next_track_id + np.arange(len(new))
        track_id[rows] = ids
        state = _after(state, frame, now, ids, feature_now, memory.frames)
    return track_id, state


def _after(
    state: TrackerState, frame: int, now: PoseSet, ids: Int, feature: Float | None, memory_frames: int
) -> TrackerState:
    """The state after a frame with these people: they come first, then who is still remembered, and who is not is forgotten."""
    is_kept = ~np.isin(state.track_id, ids) & (state.missed < memory_frames)
    lost = state.take(np.flatnonzero(is_kept)[:REMEMBERED])
    if feature is not None and lost.feature is not None:
        feature = np.concatenate([feature, lost.feature])
    return TrackerState(
        poses=joined(now, lost.poses),
        track_id=np.concatenate([ids, lost.track_id]),
        missed=np.concatenate([np.zeros(len(ids), np.int64), lost.missed + 1]),
        next_track_id=max(state.next_track_id, int(ids.max(initial=-1)) + 1),
        last_frame=frame,
        feature=feature,
    )
