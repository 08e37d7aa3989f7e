"""Pairs to train G_k on: what is positive, what is negative, how many of each (choice 11 of docs/method.md)."""

from __future__ import annotations

import numpy as np
import pytest

from tkm.training.pairs import NEGATIVES, Pairs, draw_pairs, draw_people
from tkm.training.samples import NOBODY, OWN, TRUE, UNCLEAR

FRAMES, PEOPLE, K, S, MOST = 12, 4, 3, 6, 5


def video(people: int = PEOPLE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """People in all frames; the last place of each keypoint is unclear, half of the others wrong, the truth's own is right."""
    frame = np.repeat(np.arange(FRAMES), people)
    track_id = np.tile(np.arange(people) + 10, FRAMES)
    rng = np.random.default_rng(0)
    shape = (len(frame), K, S)
    identity = np.where(rng.random(shape) < 0.5, track_id[:, None, None], NOBODY)
    identity[..., TRUE], identity[..., -1] = track_id[:, None], UNCLEAR
    return frame, track_id, identity


def drawn(positives: int = 100, seed: int = 1, people: int = PEOPLE) -> Pairs:
    return draw_pairs(*video(people), positives, MOST, np.random.default_rng(seed))


def labels(pairs: Pairs, people: int = PEOPLE) -> tuple[np.ndarray, np.ndarray]:
    identity = video(people)[2]
    return (
        identity[pairs.later, pairs.keypoint, pairs.later_place],
        identity[pairs.earlier, pairs.keypoint, pairs.earlier_place],
    )


def test_there_are_four_negative_pairs_for_each_positive_one() -> None:
    pairs = drawn()
    assert pairs.is_same.sum() == 100
    assert (~pairs.is_same).sum() == NEGATIVES * 100 == 400


def test_positive_pairs_are_true_locations_of_one_person() -> None:
    pairs = drawn()
    later, earlier = (one[pairs.is_same] for one in labels(pairs))
    assert (later == earlier).all()
    assert (later >= 0).all()


def test_negative_pairs_hold_a_true_location_and_nothing_unclear() -> None:
    pairs = drawn()
    later, earlier = (one[~pairs.is_same] for one in labels(pairs))
    assert (later != earlier).all()
    assert ((later >= 0) | (earlier >= 0)).all()
    assert (later != UNCLEAR).all()
    assert (earlier != UNCLEAR).all()


def test_half_of_the_negative_pairs_are_of_one_person_with_a_wrong_place() -> None:
    pairs = drawn(people=2)
    track_id = video(people=2)[1]
    of_one = (track_id[pairs.later] == track_id[pairs.earlier])[~pairs.is_same]
    later, earlier = (one[~pairs.is_same][of_one] for one in labels(pairs, people=2))
    assert of_one.sum() == 200
    assert ((later == NOBODY) != (earlier == NOBODY)).all()


def test_the_first_of_a_pair_is_of_the_later_frame_and_both_within_the_longest_gap() -> None:
    pairs = drawn()
    frame = video()[0]
    gap = frame[pairs.later] - frame[pairs.earlier]
    assert gap.min() == 1
    assert gap.max() == MOST


def test_places_of_every_kind_are_drawn() -> None:
    pairs = drawn()
    seen = set(pairs.later_place.tolist())
    assert {TRUE, OWN} < seen
    assert max(seen) == S - 2, "candidates too, but for those of which nothing is known"
    assert set(pairs.keypoint.tolist()) == set(range(K))


def test_the_generator_alone_decides_what_is_drawn() -> None:
    for one, other in zip(drawn(seed=4), drawn(seed=4), strict=True):
        assert one.tolist() == other.tolist()
    assert drawn(seed=5).later.tolist() != drawn(seed=4).later.tolist()


def test_a_video_of_one_person_gives_pairs_of_that_person_alone() -> None:
    pairs = drawn(people=1)
    assert pairs.is_same.sum() == 100
    assert (~pairs.is_same).sum() == 200


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, PEOPLE)], ids=["one person", "one frame"])
def test_a_video_in_which_nobody_is_seen_twice_gives_no_pairs(rows: slice) -> None:
    frame, track_id, identity = (one[rows] for one in video())
    assert len(draw_pairs(frame, track_id, identity, 100, MOST, np.random.default_rng(0)).is_same) == 0


def test_pairs_of_whole_people_leave_out_who_is_nobody() -> None:
    frame, track_id, _ = video()
    track_id = np.where(track_id == 12, -1, track_id)
    pairs = draw_people(frame, track_id, 50, MOST, np.random.default_rng(0))
    later, earlier = track_id[pairs.later], track_id[pairs.earlier]
    assert ((later == earlier) == pairs.is_same).all()
    assert (later >= 0).all()
    assert (earlier >= 0).all()
    assert pairs.is_same.sum() == 50
    assert (~pairs.is_same).sum() == 200
