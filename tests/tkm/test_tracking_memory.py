"""Identity over gaps: what track remembers of people whom sampled frames miss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from storage.codecs import tracker_state_from_table, tracker_state_to_table
from tests.builders import crowd, standing
from tests.heads import recognisers
from tkm.networks.matching import Classifiers
from tkm.similarity import pose_similarity
from tkm.skeleton import COCO_17
from tkm.tracking import REMEMBERED, Memory, TrackerState, track, within_reach
from tkm.types import PoseSet

START = TrackerState.start(17)


def looking_like(poses: PoseSet, look: list[int], people: int, keypoints: int = 17) -> dict:
    """What a learned measure takes, of people who look like one of so many."""
    feature = np.eye(people, dtype=np.float32)[look][:, None].repeat(keypoints, axis=1)
    return {"feature": feature, "classifiers": recognisers(keypoints, people)}


@pytest.mark.parametrize("measure", ["iou", "oks", "tkm", "tbm"])
def test_who_is_missed_for_as_long_as_memory_lasts_keeps_the_id_and_for_longer_does_not(measure):
    poses = standing([0, 4, 10], [(100, 100)] * 3)
    learned = looking_like(poses, [0, 0, 0], 2, 17 if measure == "tkm" else 1) if measure in ("tkm", "tbm") else {}
    for frames, ids in ((2, [0, 1, 2]), (3, [0, 0, 1]), (4, [0, 0, 1]), (5, [0, 0, 0])):
        assert track(poses, np.arange(11), START, measure, memory=Memory(frames, 0.5), **learned)[0].tolist() == ids
    # Sampled frames count, not those between them.
    every_second = np.arange(0, 11, 2)
    assert track(poses, every_second, START, measure, memory=Memory(1, 0.5), **learned)[0].tolist() == [0, 0, 1]


def test_a_remembered_person_is_found_wherever_they_come_back_if_they_look_the_same():
    poses = standing([0, 0, 3, 3], [(100, 100), (400, 100), (700, 300), (100, 100)], score=[0.9, 0.8, 0.9, 0.8])
    ids, _ = track(poses, np.arange(4), START, "tkm", memory=Memory(5, 0.9), **looking_like(poses, [0, 1, 0, 2], 3))
    assert ids.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("measure", ["iou", "oks"])
def test_somebody_less_like_a_remembered_person_than_asked_is_new(measure):
    poses = standing([0, 2], [(100, 100), (110, 100)])
    value = float(pose_similarity(measure, poses.take(np.array([1])), poses.take(np.array([0])), 0.0)[0, 0])
    assert 0.1 < value < 0.9
    for wanted, ids in ((value * 0.99, [0, 0]), (value * 1.01, [0, 1])):
        assert track(poses, np.arange(3), START, measure, memory=Memory(5, wanted))[0].tolist() == ids


def test_the_mean_over_keypoints_is_what_must_be_reached_and_a_body_is_one():
    poses = standing([0, 2], [(100, 100), (700, 100)])
    learned = looking_like(poses, [0, 0], 2)
    learned["feature"][1, 8:] = [0, 1]  # 8 of 17 keypoints look the same
    for wanted, ids in ((7.5 / 17, [0, 0]), (8.5 / 17, [0, 1])):
        assert track(poses, np.arange(3), START, "tkm", memory=Memory(5, wanted), **learned)[0].tolist() == ids


def test_who_looks_little_like_before_is_known_again_in_the_same_place_and_no_stranger_is():
    poses = standing([0, 2], [(100, 100)] * 2)
    for alike, ids in ((3, [0, 0]), (0, [0, 1])):  # of 17 keypoints; half the overlap stands for eight and a half
        learned = looking_like(poses, [0, 0], 2)
        learned["feature"][1, alike:] = [0, 1]
        assert track(poses, np.arange(3), START, "tkm", memory=Memory(5, 0.6), **learned)[0].tolist() == ids


def test_a_lost_double_takes_nobody_out_of_a_track_that_goes_on():
    # In frame 0 somebody has two poses; one is gone, and the other moves away from where the one was lost.
    poses = standing([0, 0, 1, 2, 3], [(100, 100), (104, 100), (100, 100), (120, 100), (104, 100)], [0.9, 0.8, 0.9, 0.9, 0.9])
    assert track(poses, np.arange(4), START, "oks", memory=Memory(5, 0.1))[0].tolist() == [0, 1, 0, 0, 0]
    # As a second pose again it is the double that it was.
    twice = standing([0, 0, 1, 2, 2], [(100, 100), (104, 100), (100, 100), (100, 100), (104, 100)], [0.9, 0.8, 0.9, 0.9, 0.8])
    assert track(twice, np.arange(3), START, "oks", memory=Memory(5, 0.1))[0].tolist() == [0, 1, 0, 0, 1]


def test_a_reach_grows_with_the_frames_that_somebody_was_missed_for():
    size_px = np.sqrt(60 * 150)
    for frames, sizes, ids in ((2, 0.45, [0, 0]), (2, 0.55, [0, 1]), (8, 1.9, [0, 0]), (8, 2.1, [0, 1])):
        poses = standing([0, frames], [(1000, 1000), (1000 + 0.6 * sizes * size_px, 1000 - 0.8 * sizes * size_px)])
        learned = looking_like(poses, [0, 0], 2)
        for sampled in (np.arange(frames + 1), np.arange(0, frames + 1, 2), np.array([0, 1, frames])):
            memory = Memory(9, 0.5, reach=0.25)
            found = track(poses, sampled, START, "tkm", iou_gate=1.0, memory=memory, **learned)[0]
            assert found.tolist() == (ids if len(sampled) > 2 else [0, 1])
        assert track(poses, np.arange(frames + 1), START, "tkm", memory=Memory(9, 0.5), **learned)[0].tolist() == [0, 0]


def test_the_larger_box_tells_how_far_is_far():
    whole, half = standing([0], [(100, 100)]), standing([4], [(180, 100)])
    half = dataclasses.replace(half, box_xyxy_px=half.box_xyxy_px / 2 + np.array([90, 50, 90, 50], np.float32))
    for later, earlier in ((half, whole), (dataclasses.replace(whole, frame=half.frame + 4), half)):
        both = dataclasses.replace(later, frame=earlier.frame + 4)
        is_near = [within_reach(both, earlier, reach)[0, 0] for reach in (80 / 4 / np.sqrt(9000) * f for f in (0.99, 1.01))]
        assert is_near == [False, True]


def test_two_lost_people_come_back_as_the_matching_of_highest_total_says():
    poses = standing([0, 0, 2, 2], [(100, 100), (135, 100), (120, 100), (165, 100)], score=[0.9, 0.8, 0.9, 0.8])
    assert track(poses, np.arange(3), START, "iou", memory=Memory(2, 0.01))[0].tolist() == [0, 1, 0, 1]


def test_a_cut_forgets_everybody():
    poses, frames = standing([0, 4], [(100, 100)] * 2), np.arange(5)
    for cut in (1, 3, 4):
        assert track(poses, frames, START, "iou", is_cut=frames == cut, memory=Memory(9, 0.5))[0].tolist() == [0, 1]
    assert track(poses, frames, START, "iou", is_cut=frames == 0, memory=Memory(9, 0.5))[0].tolist() == [0, 0]


@pytest.mark.parametrize("measure", ["iou", "oks"])
def test_memory_joins_tracks_and_does_nothing_else(measure):
    joined = 0
    for seed in range(6):
        poses, frames = crowd(seed, frames=40), np.arange(40)
        plain, _ = track(poses, frames, START, measure)
        without, state = track(poses, frames, START, measure, memory=Memory(0, 0.5))
        assert np.array_equal(plain, without)
        assert set(state.poses.frame.tolist()) <= {39}
        ids, state = track(poses, frames, START, measure, memory=Memory(4, 0.3))
        assert set(ids.tolist()) == set(range(state.next_track_id))
        # Each track without memory is a piece of one with it, whose pieces are no more than four missed frames apart.
        assert len(set(zip(plain.tolist(), ids.tolist(), strict=True))) == plain.max() + 1
        for one in set(ids.tolist()):
            seen = np.sort(poses.frame[ids == one])
            assert len(set(seen.tolist())) == len(seen)
            assert (np.diff(seen) <= 5).all()
        joined += len(set(plain.tolist())) - len(set(ids.tolist()))
    assert joined > 10


@pytest.mark.parametrize("measure", ["oks", "tkm"])
def test_chunks_and_the_order_of_rows_change_nothing_with_memory(measure):
    torch.manual_seed(0)
    classifiers = Classifiers(17, 8, 8)
    remembered = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        poses, frames = crowd(seed, frames=40, size_px=200), np.arange(40)
        feature = rng.normal(size=(len(poses), 17, 8)).astype(np.float32)
        is_cut = rng.random(40) < 0.05

        def tracked(rows, chunk, state, measure=measure, poses=poses, feature=feature, is_cut=is_cut):
            learned = {"feature": feature[rows], "classifiers": classifiers} if measure == "tkm" else {}
            return track(
                poses.take(rows), chunk, state, measure, is_cut=is_cut[chunk], memory=Memory(6, 0.49), **learned
            )

        everybody = np.arange(len(poses))
        whole, end = tracked(everybody, frames, START)
        assert len(set(whole.tolist())) < len(set(track(poses, frames, START, "oks")[0].tolist()))
        remembered += int((end.missed > 0).sum())
        state, parts = START, []
        for chunk in np.split(frames, np.sort(rng.integers(0, 41, 8))):
            ids, state = tracked(np.flatnonzero(np.isin(poses.frame, chunk)), chunk, state)
            state = tracker_state_from_table(tracker_state_to_table(state, COCO_17))  # as it is kept between chunks
            parts.append(ids)
        assert np.array_equal(np.concatenate(parts), whole)
        for name in ("track_id", "missed", "next_track_id", "last_frame", "feature"):
            assert np.array_equal(getattr(state, name), getattr(end, name)), name
        assert np.array_equal(state.poses.xy_px, end.poses.xy_px)
        order = rng.permutation(len(poses))
        assert np.array_equal(tracked(order, frames, START)[0], whole[order])
    assert remembered


def test_what_is_remembered_is_bounded_and_those_seen_last_stay():
    frames = np.arange(20)
    poses = standing(frames.repeat(30).tolist(), [(1e4 * t, 1e3 * i) for t in range(20) for i in range(30)])
    _, state = track(poses, frames, START, memory=Memory(10**6, 0.5))
    assert len(state.poses) == 30 + REMEMBERED
    assert state.poses.frame.min() == 19 - REMEMBERED // 30 - 1
    assert (np.diff(state.missed) >= 0).all()


def test_memory_that_makes_no_sense_and_a_state_without_order_are_refused():
    for wrong in ((-1, 0.5), (1, 0), (1, 1.1), (1, np.nan), (1, 0.5, 0), (1, 0.5, np.nan)):
        with pytest.raises(ValueError, match="Memory"):
            Memory(*wrong)
    _, state = track(standing([0, 1], [(100, 100), (400, 100)]), np.arange(2), START, memory=Memory(3, 0.5))
    assert state.missed.tolist() == [0, 1]
    for missed in ([1, 0], [-1, 0], [0]):
        with pytest.raises(ValueError, match="missed"):
            dataclasses.replace(state, missed=np.array(missed, np.int64))
