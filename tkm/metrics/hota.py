"""Higher order tracking accuracy (HOTA) of single points: PoseTrack21's protocol, TrackEval's algorithm.

Luiten et al. 2021, "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking".

Shape legend: P predicted people, Q true people, J joints, A thresholds, M pairs of points, L pairs of tracks of a joint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.datasets.sequence import Double
from tkm.metrics.cleaning import JOINTS, Frames
from tkm.metrics.matching import PointPairs, best_assignment, point_pairs
from tkm.types import Bool, Int, check

# As TrackEval writes them: rounded otherwise, a similarity on a threshold would fall on its other side.
ALPHAS = np.arange(0.05, 0.99, 0.05)
_FURTHEST = 0.5001  # head sizes; there the similarity of two points is 0
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class HotaSums:
    """What HOTA is computed from, of one video or of several: sums add up.

    true_points        (J,) int64
    predicted_points   (J,) int64
    true_positives     (J, A) int64, matches at least as similar as the threshold
    association        (J, A) float64, sum over them of the share of their two tracks' points that are matched with each other
    similarity         (J, A) float64, sum over them of the similarity
    """

    true_points: Int
    predicted_points: Int
    true_positives: Int
    association: Double
    similarity: Double

    def __post_init__(self) -> None:
        check(self, "true_points", (JOINTS,), np.int64)
        check(self, "predicted_points", (JOINTS,), np.int64)
        check(self, "true_positives", (JOINTS, len(ALPHAS)), np.int64)
        check(self, "association", (JOINTS, len(ALPHAS)), np.float64)
        check(self, "similarity", (JOINTS, len(ALPHAS)), np.float64)


@dataclass(frozen=True)
class HotaScores:
    """In percent, (J, A) float64 each, NaN for a joint without truth. A joint's score is the mean over thresholds."""

    hota: Double
    detection: Double
    association: Double
    localisation: Double


def hota_sums(frames: Frames) -> HotaSums:
    """What HOTA needs of one video, frames being those of `labeled_frames`.

    Two points are as similar as max(0, 1 - distance / 0.5001). One assignment a frame and joint serves all thresholds: it has
    the highest sum of similarity times the alignment of the two tracks over the whole video.

    Raises: ValueError where people have no track ids.
    """
    pairs = point_pairs(frames, _FURTHEST)
    similarity = 1 - pairs.distance / _FURTHEST
    tracks, true_points, predicted_points = _tracks(frames, pairs)
    alignment = _alignment(pairs, similarity, tracks, true_points, predicted_points)
    matched = np.flatnonzero(_matched(pairs, similarity * alignment[tracks]))
    is_match = similarity[matched, None] >= ALPHAS - _EPSILON
    together = _sums(tracks[matched], is_match, len(true_points))
    union = (true_points + predicted_points)[:, None] - together
    joint_of_tracks = np.zeros(len(true_points), np.int64)
    joint_of_tracks[tracks] = pairs.joint
    return HotaSums(
        frames.true_given.sum(axis=0, dtype=np.int64), frames.pred_given.sum(axis=0, dtype=np.int64),
        _sums(pairs.joint[matched], is_match, JOINTS).astype(np.int64),
        _sums(joint_of_tracks, together * together / union, JOINTS),
        _sums(pairs.joint[matched], is_match * similarity[matched, None], JOINTS),
    )  # fmt: skip


def hota(true_points: Int, predicted_points: Int, true_positives: Int, association: Double, similarity: Double) -> HotaScores:
    """Scores from the sums that HotaSums has, of any leading axes before its own: (..., J) and (..., J, A)."""
    positives = true_positives
    detection = positives / np.maximum(1, (true_points + predicted_points)[..., None] - positives)
    mean_association = association / np.maximum(1, positives)
    # Without a match TrackEval takes the places of points to be perfect.
    localisation = np.maximum(1e-10, similarity) / np.maximum(1e-10, positives)
    scores = np.stack([np.sqrt(detection * mean_association), detection, mean_association, localisation])
    return HotaScores(*np.where((true_points > 0)[..., None], 100 * scores, np.nan))


def _tracks(frames: Frames, pairs: PointPairs) -> tuple[Int, Int, Int]:
    """Number of the pair of tracks and joint (M,) that each pair of points is of, and these tracks' points: (L,), (L,)."""
    objects, hypotheses = (int(numbers.max(initial=-1)) + 1 for numbers in (pairs.object_, pairs.hypothesis))
    key = (pairs.joint * objects + pairs.object_) * hypotheses + pairs.hypothesis
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    joint = pairs.joint[first]
    points = []
    for track_id, given, person in (
        (frames.true_track_id, frames.true_given, pairs.true[first]),
        (frames.pred_track_id, frames.pred_given, pairs.pred[first]),
    ):
        of_track = np.unique(track_id, return_inverse=True)[1]
        counts = np.zeros((int(of_track.max(initial=-1)) + 1, JOINTS), np.int64)
        np.add.at(counts, of_track, given)
        points.append(counts[of_track[person], joint])
    return number, points[0], points[1]


def _alignment(pairs: PointPairs, similarity: Double, tracks: Int, true_points: Int, predicted_points: Int) -> Double:
    """(L,) float64, how far two tracks go together over the video: a soft Jaccard index of their points."""
    of_pred, of_true = (_totals(pairs.joint, person, similarity) for person in (pairs.pred, pairs.true))
    all_of_both = of_pred + of_true - similarity
    share = np.divide(similarity, all_of_both, out=np.zeros_like(similarity), where=all_of_both > _EPSILON)
    together = np.bincount(tracks, share, minlength=len(true_points))
    return together / (true_points + predicted_points - together)


def _totals(joint: Int, person: Int, value: Double) -> Double:
    """(M,) float64, the sum of the values of all pairs that have the same point."""
    point = person * JOINTS + joint
    return np.bincount(point, value, minlength=1)[point]


def _matched(pairs: PointPairs, score: Double) -> Bool:
    """Which pairs (M,) the assignment with the highest sum of scores takes in each frame of each joint."""
    matched = np.repeat(~pairs.is_open, np.diff(pairs.start))
    for group in pairs.open_groups():
        part = slice(*pairs.start[group : group + 2].tolist())
        rows, columns = int(pairs.rows[group]), int(pairs.columns[group])
        matched[part] = best_assignment(rows, columns, pairs.row[part], pairs.column[part], -score[part], 0.0)
    return matched


def _sums(group: Int, values: Double | Bool, groups: int) -> Double:
    """(groups, A) float64, of rows (n, A) that belong to the same group."""
    return np.stack([np.bincount(group, column, minlength=groups) for column in values.T], axis=1).astype(np.float64)
