"""Pairs of keypoint locations to train G_k on (paper section 3.2; choice 11 of docs/method.md).

Shape legend: P people, K keypoints, S places a keypoint, M pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tkm.training.samples import OWN, UNCLEAR
from tkm.types import Int

NEGATIVES = 4  # for each positive pair (paper section 3.2)
OWN_SHARE = 0.7  # of the places that are drawn: the true one or the pose's own; the others are candidates
WRONG_SHARE = 0.5  # of the negative pairs: both of one person, and one place wrong; the others are of two people
_DRAWS = 24  # for each positive pair that is wanted, so that there are enough of every kind


class Pairs(NamedTuple):
    """M pairs of locations, one of a later and one of an earlier frame.

    later, earlier                 (M,) int64, rows of the people
    keypoint                       (M,) int64
    later_place, earlier_place     (M,) int64, columns of their places
    is_same                        (M,) bool, both are true locations of the keypoint of one person
    """

    later: Int
    earlier: Int
    keypoint: Int
    later_place: Int
    earlier_place: Int
    is_same: NDArray[np.bool_]


def draw_pairs(frame: Int, track_id: Int, identity: Int, positives: int, most_frames: int, rng: np.random.Generator) -> Pairs:
    """Pairs of different frames of one video, 4 negative ones for each positive one.

    Positive are two true locations of one person. Negative are locations of two people, of whom at least one is a true location,
    and, where there are as many, for half of them the true location of a person and a wrong one of the same: those teach what
    refinement asks for. Where a video has fewer of a kind, there are fewer.

    Args: frame, track_id (P,) int64; identity (P, K, S) int64 of `tkm.training.samples.identities`; positives, how many are wanted;
        most_frames, the longest gap; rng, which alone decides what is drawn.
    """
    P, K, S = identity.shape
    draws = positives * _DRAWS
    one, other = rng.integers(P, size=(2, draws))
    keypoint = rng.integers(K, size=draws)
    places = np.where(rng.random((2, draws)) < OWN_SHARE, rng.integers(OWN + 1, size=(2, draws)), rng.integers(OWN + 1, S, (2, draws)))
    is_later = frame[one] > frame[other]
    later, earlier = np.where(is_later, one, other), np.where(is_later, other, one)
    later_place, earlier_place = np.where(is_later, places[0], places[1]), np.where(is_later, places[1], places[0])
    of_later, of_earlier = identity[later, keypoint, later_place], identity[earlier, keypoint, earlier_place]
    gap = frame[later] - frame[earlier]
    is_known = (of_later != UNCLEAR) & (of_earlier != UNCLEAR) & ((of_later >= 0) | (of_earlier >= 0)) & (gap > 0) & (gap <= most_frames)
    is_same = of_later == of_earlier
    same = np.flatnonzero(is_known & is_same)[:positives]
    negative = is_known & ~is_same
    is_one_person = track_id[later] == track_id[earlier]
    wrong = np.flatnonzero(negative & is_one_person)[: round(NEGATIVES * WRONG_SHARE * len(same))]
    others = np.flatnonzero(negative & ~is_one_person)[: NEGATIVES * len(same) - len(wrong)]
    chosen = np.concatenate([same, wrong, others])
    return Pairs(
        later[chosen], earlier[chosen], keypoint[chosen], later_place[chosen], earlier_place[chosen],
        np.arange(len(chosen)) < len(same),
    )  # fmt: skip


def draw_people(frame: Int, track_id: Int, positives: int, most_frames: int, rng: np.random.Generator) -> Pairs:
    """Pairs of whole people of different frames, as `draw_pairs` draws them: what TBM is trained on."""
    is_somebody = track_id >= 0
    identity = np.where(is_somebody, track_id, UNCLEAR)[:, None, None].repeat(OWN + 2, axis=2)
    return draw_pairs(frame, track_id, identity, positives, most_frames, rng)
