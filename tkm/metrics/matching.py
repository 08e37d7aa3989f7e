"""Pairs of a predicted and a true point that may be matched, and the frames of a joint in which the choice is open.

In most frames every point has one possible partner at most. There all possible pairs are matched, whatever the rule, so only
the other frames of a joint need an assignment.

Shape legend: P predicted people, Q true people, J joints, M pairs of points, G groups of pairs of one joint and one frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from tkm.datasets.sequence import Double
from tkm.metrics.cleaning import Frames
from tkm.types import Bool, Int, check


@dataclass(frozen=True)
class PointPairs:
    """Pairs of points of the same joint and frame, by rising joint, frame, predicted and true row.

    joint       (M,) int64
    pred        (M,) int64, row of the predicted person in Frames
    true        (M,) int64, row of the true person
    object_     (M,) int64, number of the true person's track in the video, from 0
    hypothesis  (M,) int64, number of the predicted person's track
    column      (M,) int64, place of the predicted point among those of its joint and frame
    row         (M,) int64, place of the true point among those of its joint and frame
    distance    (M,) float64, in head sizes
    start       (G + 1,) int64, where the groups begin, and M
    columns     (G,) int64, how many predicted points the joint has in the frame
    rows        (G,) int64, how many true ones
    is_open     (G,) bool, some point has several possible partners
    """

    joint: Int
    pred: Int
    true: Int
    object_: Int
    hypothesis: Int
    column: Int
    row: Int
    distance: Double
    start: Int
    columns: Int
    rows: Int
    is_open: Bool

    def __post_init__(self) -> None:
        M, G = len(self.joint), len(self.is_open)
        for field in ("joint", "pred", "true", "object_", "hypothesis", "column", "row"):
            check(self, field, (M,), np.int64)
        check(self, "distance", (M,), np.float64)
        check(self, "start", (G + 1,), np.int64)
        check(self, "columns", (G,), np.int64)
        check(self, "rows", (G,), np.int64)
        check(self, "is_open", (G,), np.bool_)

    def __len__(self) -> int:
        return len(self.joint)

    def open_groups(self) -> list[int]:
        """The groups whose matching is a choice, by rising joint and frame."""
        return np.flatnonzero(self.is_open).tolist()


def require_tracks(frames: Frames) -> None:
    """ValueError unless people of both truth and prediction have track ids."""
    if not frames.has_tracks:
        raise ValueError(f"{frames.name}: tracking is not measured where truth or prediction have no track ids")


def point_pairs(frames: Frames, furthest: float) -> PointPairs:
    """All pairs of a predicted and a true point no further apart than `furthest`, in head sizes.

    Raises: ValueError where people have no track ids.
    """
    require_tracks(frames)
    joint, pair = np.nonzero(np.ascontiguousarray(frames.distance.T) <= furthest)
    pred, true = frames.pair_pred[pair], frames.pair_true[pair]
    frame = frames.pred_frame[pred]
    column, columns = _places(frames.pred_given, frames.pred_frame, len(frames))
    row, rows = _places(frames.true_given, frames.true_frame, len(frames))
    group = joint * len(frames) + frame
    start = np.flatnonzero(np.diff(group, prepend=-1))
    several = (_partners(joint, pred, len(frames.pred_frame)) > 1) | (_partners(joint, true, len(frames.true_frame)) > 1)
    return PointPairs(
        joint, pred, true, track_numbers(frames.true_track_id)[true], track_numbers(frames.pred_track_id)[pred],
        column[pred, joint], row[true, joint], frames.distance[pair, joint], np.append(start, len(joint)),
        columns[frame[start], joint[start]], rows[frame[start], joint[start]],
        np.logical_or.reduceat(several, start) if len(start) else several,
    )  # fmt: skip


def track_numbers(track_id: Int) -> Int:
    """Numbers (P,) int64 from 0, by rising track id."""
    return np.unique(track_id, return_inverse=True)[1]


def best_assignment(rows: int, columns: int, row: Int, column: Int, cost: Double, otherwise: float) -> Bool:
    """Which of some pairs (pairs,) the one-to-one assignment of least total cost takes.

    Args: numbers of rows and columns; row, column and cost of each pair; the cost of all other pairs.
    """
    costs = np.full((rows, columns), otherwise)
    costs[row, column] = cost
    taken_row, taken_column = linear_sum_assignment(costs)
    column_of_row = np.full(rows, -1)
    column_of_row[taken_row] = taken_column
    return column_of_row[row] == column


def _places(given: Bool, frame: Int, frames: int) -> tuple[Int, Int]:
    """Place (people, J) of each given point among those of its joint and frame, and how many there are (frames, J)."""
    before = np.zeros((len(given) + 1, given.shape[1]), np.int64)
    np.cumsum(given, axis=0, out=before[1:])
    first = np.searchsorted(frame, np.arange(frames + 1))
    return before[:-1] - before[first[frame]], np.diff(before[first], axis=0)


def _partners(joint: Int, person: Int, people: int) -> Int:
    """(M,) int64, how many of the pairs have the same point, given by its joint and its person's row."""
    point = joint * people + person
    return np.bincount(point, minlength=1)[point]
