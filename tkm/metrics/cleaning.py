"""What all PoseTrack metrics count over: the people and points of truth and prediction that take part, and their distances.

The rules are those of PoseTrack's evaluator (leonid-pishchulin/poseval) and, for HOTA, those of PoseTrack21.

Shape legend: T frames of the video, F frames that count, P predicted people, Q true people, N pairs of a predicted and a true
person of the same frame, J joints.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import shapely

from tkm.datasets.sequence import Double, Polygon, Sequence
from tkm.skeleton import POSETRACK_15
from tkm.types import Bool, Int, check

JOINTS = len(POSETRACK_15.keypoints)
MISSING_SCORE = -9999.0  # what the evaluator takes for the score of a point that has none
PCKH_THRESHOLD = 0.5  # a point is found if it lies no further from the true one, in head sizes
_HEAD_SIZE_PER_DIAGONAL = 0.6


@dataclass(frozen=True)
class Frames:
    """Truth and prediction of one video after the clean-up. Rows rise by frame; in a frame they have the order of the file.

    name             of the video
    frame            (F,) int64, numbers of the frames that count, rising
    has_pred         (F,) bool, the evaluator has a predicted person in the frame, which may be one without points: see
                     `annotated_frames`
    has_true         (F,) bool, likewise a true person
    pred_frame       (P,) int64, place in `frame` of each predicted person
    pred_track_id    (P,) int64
    pred_given       (P, J) bool, the person has this point
    pred_score       (P, J) float64, of the points; MISSING_SCORE where the file has none
    true_frame       (Q,) int64, place in `frame` of each true person
    true_track_id    (Q,) int64
    true_given       (Q, J) bool
    pair_pred        (N,) int64, rows of predicted people, rising: a person stands with all true ones of the frame
    pair_true        (N,) int64, rows of true people, rising for each predicted one
    distance         (N, J) float64, of two points, in head sizes of the true person; inf where one of them is not given
    has_tracks       people of both truth and prediction have track ids
    """

    name: str
    frame: Int
    has_pred: Bool
    has_true: Bool
    pred_frame: Int
    pred_track_id: Int
    pred_given: Bool
    pred_score: Double
    true_frame: Int
    true_track_id: Int
    true_given: Bool
    pair_pred: Int
    pair_true: Int
    distance: Double
    has_tracks: bool

    def __post_init__(self) -> None:
        P, Q, N = len(self.pred_frame), len(self.true_frame), len(self.pair_pred)
        F = len(self.frame)
        check(self, "frame", (F,), np.int64)
        check(self, "has_pred", (F,), np.bool_)
        check(self, "has_true", (F,), np.bool_)
        check(self, "pred_frame", (P,), np.int64)
        check(self, "pred_track_id", (P,), np.int64)
        check(self, "pred_given", (P, JOINTS), np.bool_)
        check(self, "pred_score", (P, JOINTS), np.float64)
        check(self, "true_frame", (Q,), np.int64)
        check(self, "true_track_id", (Q,), np.int64)
        check(self, "true_given", (Q, JOINTS), np.bool_)
        check(self, "pair_pred", (N,), np.int64)
        check(self, "pair_true", (N,), np.int64)
        check(self, "distance", (N, JOINTS), np.float64)

    def __len__(self) -> int:
        return len(self.frame)

    def first(self, frames: int) -> Frames:
        """The first F frames alone."""
        P, Q = (int(np.searchsorted(rows, frames)) for rows in (self.pred_frame, self.true_frame))
        N = int(np.searchsorted(self.pair_pred, P))
        return Frames(
            self.name, self.frame[:frames], self.has_pred[:frames], self.has_true[:frames],
            self.pred_frame[:P], self.pred_track_id[:P], self.pred_given[:P], self.pred_score[:P],
            self.true_frame[:Q], self.true_track_id[:Q], self.true_given[:Q],
            self.pair_pred[:N], self.pair_true[:N], self.distance[:N], self.has_tracks,
        )  # fmt: skip


def annotated_frames(truth: Sequence, prediction: Sequence, keypoint_threshold: float = -np.inf) -> Frames:
    """What AP, MOTA and IDF1 count over: the frames in which the truth has people, with or without points.

    Points strictly inside an ignore region are left out of truth and prediction, then people without points. `is_labeled` is
    not read, as the evaluator does not read it.

    The evaluator drops people without points only in frames with ignore regions, or where the file has no list of points for
    them. Else they stay, which `has_pred` and `has_true` tell: people whose list of points is empty in a file of 2017, or all
    zeros in one of 2018, and who thus have a visibility. Those whom keypoint_threshold leaves no point do not stay.

    Args: truth and prediction of one video, both POSETRACK_15; predicted points scored below keypoint_threshold, as those
        without score are, are left out.
    Raises: ValueError where the skeleton is another, the numbers of frames differ, a true person has no head box to measure
        the distance of a prediction by, or track ids are negative or twice in a frame.
    """
    is_annotated = np.zeros(len(truth), np.bool_)
    is_annotated[truth.people.frame] = True
    return _frames(truth, prediction, is_annotated, keypoint_threshold, smallest_px=-np.inf)


def labeled_frames(truth: Sequence, prediction: Sequence, keypoint_threshold: float = -np.inf) -> Frames:
    """What HOTA counts over: the frames that are labeled, people or not; a point with x <= 0 or y <= 0 is not given.

    Otherwise as `annotated_frames`.
    """
    return _frames(truth, prediction, truth.is_labeled, keypoint_threshold, smallest_px=0.0)


def _frames(truth: Sequence, prediction: Sequence, kept: Bool, keypoint_threshold: float, smallest_px: float) -> Frames:
    for sequence in (truth, prediction):
        if sequence.skeleton.keypoints != POSETRACK_15.keypoints:
            raise ValueError(f"{sequence.name}: PoseTrack's metrics need {POSETRACK_15.name}, not {sequence.skeleton.name}")
    if len(truth) != len(prediction):
        raise ValueError(f"{truth.name}: the truth has {len(truth)} frames, the prediction {len(prediction)}")
    has_tracks = _has_track_ids(truth) and _has_track_ids(prediction)
    regions = _frames_of_regions(truth.ignore_regions, kept)
    true_given = _given(truth, kept, regions, smallest_px)
    pred_given = _given(prediction, kept, regions, smallest_px)
    pred_score = np.nan_to_num(prediction.people.keypoint_score, nan=MISSING_SCORE)
    pred_given &= pred_score >= keypoint_threshold

    true_rows, pred_rows = (np.flatnonzero(given.any(axis=1)) for given in (true_given, pred_given))
    place = np.cumsum(kept) - 1
    has_pred, has_true = (
        _has_people(sequence, given, truth.ignore_regions)[kept]
        for sequence, given in ((prediction, pred_given), (truth, true_given))
    )
    true_frame, pred_frame = place[truth.people.frame[true_rows]], place[prediction.people.frame[pred_rows]]
    pair_pred, pair_true = _pairs(pred_frame, true_frame)
    given = pred_given[pred_rows][pair_pred] & true_given[true_rows][pair_true]
    offset_px = prediction.people.xy_px[pred_rows][pair_pred] - truth.people.xy_px[true_rows][pair_true]
    head_size_px = _head_size_px(truth, true_rows[pair_true])
    distance = np.full(given.shape, np.inf)
    # No point is found on a head without extent.
    np.divide(_length(offset_px), head_size_px[:, None], out=distance, where=given & (head_size_px > 0)[:, None])
    return Frames(
        truth.name, np.flatnonzero(kept).astype(np.int64), has_pred, has_true,
        pred_frame, prediction.people.track_id[pred_rows], pred_given[pred_rows], pred_score[pred_rows],
        true_frame, truth.people.track_id[true_rows], true_given[true_rows],
        pair_pred, pair_true, distance, has_tracks,
    )  # fmt: skip


def _has_track_ids(sequence: Sequence) -> bool:
    """Whether people have track ids, nobody included; ValueError where some are negative, or twice in a frame."""
    people = sequence.people
    if len(people) and (people.track_id == -1).all():
        return False
    order = np.lexsort((people.track_id, people.frame))
    frame, track_id = people.frame[order], people.track_id[order]
    wrong = track_id < 0
    wrong[1:] |= (np.diff(frame) == 0) & (np.diff(track_id) == 0)
    if wrong.any():
        at = frame == frame[np.argmax(wrong)]
        ids = ", ".join(map(str, np.unique(track_id[at & wrong]).tolist()))
        raise ValueError(f"{sequence.name}, frame {frame[at][0]}: track ids must be at least 0 and unique in a frame, not {ids}")
    return True


def _frames_of_regions(regions: tuple[tuple[Polygon, ...], ...], kept: Bool) -> list[tuple[shapely.Polygon, Bool]]:
    """Each ignore region once, with the frames (T,) that have it: files repeat them from frame to frame."""
    frames: dict[bytes, list[int]] = defaultdict(list)
    for t in np.flatnonzero(kept).tolist():
        for polygon in regions[t]:
            if len(polygon) >= 3:
                frames[polygon.tobytes()].append(t)
    found = []
    for corners, where in frames.items():
        polygon = shapely.Polygon(np.frombuffer(corners, np.float64).reshape(-1, 2))
        shapely.prepare(polygon)
        has = np.zeros(len(kept), np.bool_)
        has[where] = True
        found.append((polygon, has))
    return found


def _given(sequence: Sequence, kept: Bool, regions: list[tuple[shapely.Polygon, Bool]], smallest_px: float) -> Bool:
    """Which points (people, J) take part: given, in frames that count, outside of every ignore region."""
    people = sequence.people
    given: Bool = (np.isfinite(people.xy_px) & (people.xy_px > smallest_px)).all(axis=-1) & kept[people.frame][:, None]
    for polygon, has in regions:
        row, joint = np.nonzero(given & has[people.frame][:, None])
        inside = shapely.contains_xy(polygon, people.xy_px[row, joint])
        given[row[inside], joint[inside]] = False
    return given


def _has_people(sequence: Sequence, given: Bool, regions: tuple[tuple[Polygon, ...], ...]) -> Bool:
    """(T,) bool, the frames in which the evaluator has people, of their points (people, J) that take part."""
    people = sequence.people
    without_regions = np.array([not polygons for polygons in regions], np.bool_)
    has_points = np.isfinite(people.xy_px.sum(axis=-1)).any(axis=1)
    has_empty_list = ~has_points & (people.visibility >= 0).any(axis=1)
    has_people = np.zeros(len(sequence), np.bool_)
    has_people[people.frame[given.any(axis=1) | (has_empty_list & without_regions[people.frame])]] = True
    return has_people


def _pairs(pred_frame: Int, true_frame: Int) -> tuple[Int, Int]:
    """Rows (N,) of predicted and (N,) of true people, every two of a frame, by rising predicted, then true row."""
    first = np.searchsorted(true_frame, pred_frame)
    number = np.searchsorted(true_frame, pred_frame, side="right") - first
    pair_pred = np.repeat(np.arange(len(pred_frame)), number)
    place = np.arange(len(pair_pred)) - np.repeat(np.cumsum(number) - number, number)
    return pair_pred, first[pair_pred] + place


def _head_size_px(truth: Sequence, rows: Int) -> Double:
    """(rows,) float64, 0.6 of the diagonal of the head box of each row's person."""
    head_xyxy_px = truth.people.head_xyxy_px[rows]
    missing = ~np.isfinite(head_xyxy_px).all(axis=1)
    if missing.any():
        row = rows[np.argmax(missing)]
        frame, track_id = truth.people.frame[row], truth.people.track_id[row]
        raise ValueError(f"{truth.name}, frame {frame}, track {track_id}: the true person has no head box to measure by")
    extent_px = head_xyxy_px[:, 2:] - head_xyxy_px[:, :2]
    return _HEAD_SIZE_PER_DIAGONAL * _length(extent_px)


def _length(vector: Double) -> Double:
    """Of vectors (..., 2), to the last bit as np.linalg.norm, and with it the evaluator, computes that of one.

    Both leave the sum of squares to BLAS, whose rounding decides whether a distance that is just the threshold is a hit.
    """
    return np.sqrt(np.vecdot(vector, vector))
