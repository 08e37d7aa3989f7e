"""How sure a difference between two predictions is: paired bootstrap over videos.

Shape legend: V videos, R resamples, J joints, D predicted points of a joint in all videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tkm.datasets.sequence import Double
from tkm.metrics.average_precision import by_falling_score
from tkm.metrics.cleaning import JOINTS
from tkm.metrics.hota import hota
from tkm.metrics.identity import idf1
from tkm.metrics.mota import mota
from tkm.metrics.scores import VideoScores, check_comparable, values_of
from tkm.types import Bool, Int

_BLOCK = 2**16  # weights of points worked on at a time, few enough for a processor's cache


@dataclass(frozen=True)
class Difference:
    """A score of the one prediction less that of the other, with its 95 % interval; NaN if undefined."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Differences:
    """Differences in the column "Total with truth", percent points, of ID switches their number; AP is after the threshold."""

    average_precision: Difference
    mota: Difference
    hota: Difference
    idf1: Difference
    id_switches: Difference


def paired_bootstrap(a: Sequence[VideoScores], b: Sequence[VideoScores], resamples: int = 2000, seed: int = 0) -> Differences:
    """Differences a - b over videos drawn with replacement, the same for both, as often as there are videos.

    The interval runs from the 2.5th to the 97.5th percentile of the resamples in which the score is defined.

    Raises: ValueError with fewer than 2 videos, where a and b are not of the same videos in the same order, or where protocols
        differ, or thresholds within one side.
    """
    if [video.name for video in a] != [video.name for video in b]:
        raise ValueError("a paired bootstrap needs the same videos in the same order on both sides")
    if len(a) < 2:
        raise ValueError(f"a bootstrap over videos needs at least 2, not {len(a)}")
    check_comparable(a)
    check_comparable(b)
    if a[0].protocol != b[0].protocol:
        raise ValueError(f"scores of different protocols do not compare: {a[0].protocol} and {b[0].protocol}")
    V = len(a)
    drawn = np.random.default_rng(seed).multinomial(V, np.full(V, 1 / V), size=resamples)
    weights = np.concatenate([np.ones((1, V), np.int64), drawn])  # the first: every video once
    totals = zip(_totals(a, weights), _totals(b, weights), strict=True)
    return Differences(*(_interval(of_a - of_b) for of_a, of_b in totals))


def _interval(difference: Double) -> Difference:
    resampled = difference[1:][~np.isnan(difference[1:])]
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
    return Difference(float(difference[0]), float(low), float(high))


def _totals(videos: Sequence[VideoScores], weights: Int) -> tuple[Double, Double, Double, Double, Double]:
    """"Total with truth" (R,) of AP, MOTA, HOTA, IDF1 and ID switches where each video counts as often as weights (R, V) say."""
    true_points = weights @ np.stack([video.points.true_points for video in videos])
    has_truth = true_points > 0
    tracking = mota(*_weighted([video.tracking for video in videos], weights)).mota
    of_thresholds = hota(*_weighted([video.hota for video in videos], weights)).hota.mean(axis=-1)
    identities = idf1(*_weighted([video.identities for video in videos], weights))
    switches = (weights @ np.stack([video.tracking.switches for video in videos])).sum(axis=1, where=has_truth, dtype=np.float64)
    undefined = np.nan if not all(video.is_tracked for video in videos) else 0.0
    return (
        _total(_average_precision(videos, weights, true_points), has_truth), _total(tracking, has_truth) + undefined,
        _total(of_thresholds, has_truth) + undefined, _total(identities, has_truth) + undefined, switches + undefined,
    )  # fmt: skip


def _weighted(parts: Sequence[Any], weights: Int) -> list[NDArray[Any]]:
    """The sums of a part of the videos' scores, each array with the resamples before its own axes."""
    return [np.tensordot(weights, np.stack(arrays), axes=1) for arrays in zip(*map(values_of, parts), strict=True)]


def _total(scores: Double, has_truth: Bool) -> Double:
    """(R,) float64, means of scores (R, J) over joints with truth that have a value."""
    counts = has_truth & ~np.isnan(scores)
    number = counts.sum(axis=-1)
    return np.divide(scores.sum(axis=-1, where=counts), number, out=np.full(len(scores), np.nan), where=number > 0)


def _average_precision(videos: Sequence[VideoScores], weights: Int, true_points: Int) -> Double:
    """(R, J) float64 in percent: sorted once; a point that counts n times stands for n equal ones, one after the other."""
    scores = np.full(true_points.shape, np.nan)
    for joint in range(JOINTS):
        _, is_hit, video = by_falling_score([video.points for video in videos], joint)
        rows = max(1, _BLOCK // max(1, len(is_hit)))
        for first in range(0, len(weights), rows):
            block = slice(first, first + rows)
            area = _area(weights[block].astype(np.float64)[:, video], is_hit)
            found = true_points[block, joint] > 0
            scores[block, joint][found] = 100 * area[found] / true_points[block, joint][found]
    return scores


def _area(weight: Double, is_hit: Bool) -> Double:
    """(R,) float64, hits times the envelope of precision, of points by falling score that count weight (R, D) times each."""
    hit = weight * is_hit
    precision = np.cumsum(hit, axis=1) / np.maximum(1, np.cumsum(weight, axis=1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Double = np.einsum("rd,rd->r", hit, envelope)
    return area
