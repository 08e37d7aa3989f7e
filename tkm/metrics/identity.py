"""Identity F1 (IDF1) of single points, Ristani et al. 2016, "Performance Measures and a Data Set for Multi-Target Tracking".

Shape legend: J joints, M pairs of points, O true tracks, H predicted tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from tkm.datasets.sequence import Double
from tkm.metrics.cleaning import JOINTS, PCKH_THRESHOLD, Frames
from tkm.metrics.matching import point_pairs
from tkm.types import Int, check


@dataclass(frozen=True)
class IdentityCounts:
    """Points of one video, or of several, by whether their tracks belong together: counts add up. All (J,) int64.

    true_positives    IDTP, true points that the predicted track which belongs to theirs has too
    false_positives   IDFP, predicted points that are none of these
    false_negatives   IDFN, true points that are none of these
    """

    true_positives: Int
    false_positives: Int
    false_negatives: Int

    def __post_init__(self) -> None:
        for field in ("true_positives", "false_positives", "false_negatives"):
            check(self, field, (JOINTS,), np.int64)


def identity_counts(frames: Frames) -> IdentityCounts:
    """Points of one video by whether their tracks belong together, frames being those of `annotated_frames`, all of them.

    For each joint one true track belongs to one predicted track at most, such that as many points as possible agree over the
    whole video; this is the matching with the fewest false positives and negatives in sum.

    Raises: ValueError where people have no track ids.
    """
    pairs = point_pairs(frames, PCKH_THRESHOLD)
    O, H = (int(numbers.max(initial=-1)) + 1 for numbers in (pairs.object_, pairs.hypothesis))  # noqa: E741
    key = (pairs.joint * O + pairs.object_) * H + pairs.hypothesis
    together = np.bincount(key, minlength=JOINTS * O * H).reshape(JOINTS, O, H)
    true_positives = np.array([points[linear_sum_assignment(points, maximize=True)].sum() for points in together], np.int64)
    return IdentityCounts(
        true_positives, frames.pred_given.sum(axis=0) - true_positives, frames.true_given.sum(axis=0) - true_positives
    )


def idf1(true_positives: Int, false_positives: Int, false_negatives: Int) -> Double:
    """IDF1 (..., J) in percent, from counts (..., J); NaN for a joint without truth."""
    true_points = true_positives + false_negatives
    points = true_points + true_positives + false_positives
    score: Double = np.divide(200.0 * true_positives, points, out=np.full(points.shape, np.nan), where=true_points > 0)
    return score
