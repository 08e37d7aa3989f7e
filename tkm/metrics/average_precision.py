"""Average precision of single points (AP), as PoseTrack's evaluator (leonid-pishchulin/poseval) counts it.

Shape legend: P predicted people, Q true people, N pairs of them in the same frame, D predicted points, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tkm.datasets.sequence import Double
from tkm.metrics.cleaning import JOINTS, PCKH_THRESHOLD, Frames
from tkm.types import Bool, Int, check


@dataclass(frozen=True)
class PointDetections:
    """The predicted points of one video, joint after joint, in a joint by frame and person.

    number        (J,) int64, how many of the D points each joint has
    score         (D,) float64
    is_hit        (D,) bool, the point lies where the true person that its person is assigned to has it
    true_points   (J,) int64, how many points there are to find
    """

    number: Int
    score: Double
    is_hit: Bool
    true_points: Int

    def __post_init__(self) -> None:
        check(self, "number", (JOINTS,), np.int64)
        check(self, "score", (int(self.number.sum()),), np.float64)
        check(self, "is_hit", self.score.shape, np.bool_)
        check(self, "true_points", (JOINTS,), np.int64)


@dataclass(frozen=True)
class PointScores:
    """In percent, (J,) float64 each: area under the curve; precision and recall at its end, all points taken."""

    average_precision: Double
    precision: Double
    recall: Double


def assigned_pairs(frames: Frames) -> Int:
    """Which pairs of people belong together: places in frames.pair_pred, (pairs,) int64.

    Every prediction goes to the true person of whose points it hits the largest share, the first of several; of the
    predictions that went to a person, the one with the largest share stays, the first of several.
    """
    hits = (frames.distance <= PCKH_THRESHOLD).sum(axis=1)
    share = hits / frames.true_given.sum(axis=1)[frames.pair_true]
    candidates = np.flatnonzero(share > 0)
    by_prediction = candidates[np.lexsort((frames.pair_true[candidates], -share[candidates], frames.pair_pred[candidates]))]
    best = by_prediction[_is_first(frames.pair_pred[by_prediction])]
    by_truth = best[np.lexsort((frames.pair_pred[best], -share[best], frames.pair_true[best]))]
    return by_truth[_is_first(frames.pair_true[by_truth])]


def point_detections(frames: Frames) -> PointDetections:
    """The predicted points of a video with their hits: points of people assigned to nobody hit nothing."""
    pairs = assigned_pairs(frames)
    is_hit = np.zeros(frames.pred_given.shape, np.bool_)
    is_hit[frames.pair_pred[pairs]] = frames.distance[pairs] <= PCKH_THRESHOLD
    given = frames.pred_given.T
    return PointDetections(
        given.sum(axis=1), frames.pred_score.T[given], is_hit.T[given], frames.true_given.sum(axis=0, dtype=np.int64)
    )


def by_falling_score(videos: Sequence[PointDetections], joint: int) -> tuple[Double, Bool, Int]:
    """Score, hit and number of the video of a joint's points of all videos, (points,) each, by falling score.

    Of equal scores the last comes first, in the order of videos, frames and people. The evaluator reverses numpy's default
    argsort, which orders ties differently from CPU to CPU and from version to version, and takes files as the directory lists
    them: its own AP moves by some 1e-4 percent with the machine, which no rule of ours can follow.
    """
    stop = [np.cumsum(video.number) for video in videos]
    parts = [slice(int(end[joint] - video.number[joint]), int(end[joint])) for video, end in zip(videos, stop, strict=True)]
    score = np.concatenate([np.empty(0), *(video.score[part] for video, part in zip(videos, parts, strict=True))])
    is_hit = np.concatenate([np.empty(0, np.bool_), *(video.is_hit[part] for video, part in zip(videos, parts, strict=True))])
    number = np.repeat(np.arange(len(videos)), [part.stop - part.start for part in parts])
    order = np.argsort(score, kind="stable")[::-1]
    return score[order], is_hit[order], number[order]


def average_precision(videos: Sequence[PointDetections]) -> PointScores:
    """AP of each joint over the points of all videos, by all-points interpolation with a monotone envelope (PASCAL VOC).

    As in the evaluator a joint that is never predicted has AP, precision and recall 0, even without truth, and one that is
    predicted without truth has precision 0 and no AP and recall: NaN.
    """
    true_points = np.sum([np.zeros(JOINTS, np.int64), *(video.true_points for video in videos)], axis=0)
    scores = np.empty((3, JOINTS))
    for joint in range(JOINTS):
        _, is_hit, _ = by_falling_score(videos, joint)
        scores[:, joint] = _curve(is_hit, int(true_points[joint]))
    return PointScores(*(100 * scores))


def _curve(is_hit: Bool, true_points: int) -> tuple[float, float, float]:
    """Area under the envelope of precision over recall, and its end's precision and recall, of points by falling score."""
    if not len(is_hit):
        return 0.0, 0.0, 0.0
    hits = np.cumsum(is_hit)
    precision = hits / np.arange(1, len(is_hit) + 1)
    if not true_points:
        return np.nan, float(precision[-1]), np.nan
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[is_hit].sum() / true_points), float(precision[-1]), float(hits[-1] / true_points)


def _is_first(group: Int) -> Bool:
    """Where in sorted numbers (n,) another one begins."""
    return np.diff(group, prepend=-1) != 0
