import dataclasses
import itertools

import numpy as np
import pytest
import torch

from tests.builders import crowd, standing
from tests.heads import recognisers
from tests.tkm.plain_formulas import pose_matching
from tkm.networks.matching import Classifiers
from tkm.similarity import pose_similarity
from tkm.tracking import TrackerState, match, track

MEASURES = ["iou", "oks"]


def best_total_by_enumeration(similarity: np.ndarray) -> float:
    P, Q = similarity.shape
    if P > Q:
        return best_total_by_enumeration(similarity.T)
    return max(sum(similarity[p, q] for p, q in enumerate(columns)) for columns in itertools.permutations(range(Q), P))


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (4, 4)])
def test_matching_has_the_highest_total_and_no_pair_of_similarity_zero(shape):
    rng = np.random.default_rng(0)
    for _ in range(20):
        similarity = rng.random(shape) * (rng.random(shape) < 0.5)
        rows, columns = match(similarity.astype(np.float32))
        assert len(set(rows)) == len(rows)
        assert len(set(columns)) == len(columns)
        assert (similarity[rows, columns] > 0).all()
        assert similarity[rows, columns].sum() == pytest.approx(best_total_by_enumeration(similarity), abs=1e-5)


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
def test_a_similarity_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="similarity"):
        match(np.array([[0.5, bad]], np.float32))


@pytest.mark.parametrize("measure", MEASURES)
def test_two_people_walking_keep_their_ids_and_a_newcomer_gets_the_next(measure):
    frame, centre = [], []
    for t in range(10):
        frame += [t, t] + [t] * (t >= 4)
        centre += [(100 + 5 * t, 200), (400 - 5 * t, 200)] + [(700, 200)] * (t >= 4)
    poses = standing(frame, centre, score=[0.9 - 0.001 * i for i in range(len(frame))])
    ids, state = track(poses, np.arange(10), TrackerState.start(17), measure)
    for t in range(10):
        assert ids[poses.frame == t].tolist() == ([0, 1, 2] if t >= 4 else [0, 1])
    assert state.next_track_id == 3
    assert state.last_frame == 9


def test_the_best_total_wins_over_the_best_single_pair():
    # The most similar pair is person 0 now with person 1 before, and would leave the other two without a match.
    poses = standing([0, 0, 1, 1], [(100, 100), (135, 100), (120, 100), (165, 100)], score=[0.9, 0.8, 0.9, 0.8])
    ids, _ = track(poses, np.array([0, 1]), TrackerState.start(17), iou_gate=0.0)
    assert ids.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("measure", MEASURES)
def test_people_beyond_the_gate_get_new_ids(measure):
    poses = standing([0, 1], [(100, 100), (155, 100)])
    assert track(poses, np.array([0, 1]), TrackerState.start(17), measure, iou_gate=0.1)[0].tolist() == [0, 1]


def test_a_frame_without_people_ends_all_tracks_but_one_not_sampled_does_not():
    poses = standing([0, 6], [(100, 100)] * 2)
    assert track(poses, np.array([0, 3, 6]), TrackerState.start(17))[0].tolist() == [0, 1]
    assert track(poses, np.array([0, 6]), TrackerState.start(17))[0].tolist() == [0, 0]


def test_a_cut_ends_all_tracks_and_ids_go_on_counting():
    poses, frames = standing([0, 0, 1, 1, 2, 2, 3, 3], [(100, 100), (400, 100)] * 4, score=[0.9, 0.8] * 4), np.arange(4)
    ids, state = track(poses, frames, TrackerState.start(17), is_cut=frames == 2)
    assert ids.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert state.next_track_id == 4


def test_a_cut_at_the_first_frame_of_a_chunk_ends_the_tracks_of_the_chunk_before():
    poses = standing([0, 1], [(100, 100)] * 2)
    _, state = track(poses.take(np.array([0])), np.array([0]), TrackerState.start(17))
    then = poses.take(np.array([1])), np.array([1]), state
    assert track(*then, is_cut=np.array([True]))[0].tolist() == [1]
    assert track(*then, is_cut=np.array([False]))[0].tolist() == [0]


def test_cuts_change_nothing_but_who_goes_on_over_them():
    poses, frames = crowd(3, frames=30), np.arange(30)
    uncut, _ = track(poses, frames, TrackerState.start(17))
    for cut in (1, 11, 29):
        ids, _ = track(poses, frames, TrackerState.start(17), is_cut=frames == cut)
        before = poses.frame < cut
        assert np.array_equal(ids[before], uncut[before])
        assert not set(ids[before].tolist()) & set(ids[~before].tolist())
        pairs = set(zip(ids[~before].tolist(), uncut[~before].tolist(), strict=True))
        assert len(pairs) == len(set(ids[~before].tolist())) == len(set(uncut[~before].tolist()))


def test_cuts_that_are_not_one_a_frame_are_refused():
    with pytest.raises(ValueError, match="is_cut"):
        track(standing([0], [(100, 100)]), np.arange(2), TrackerState.start(17), is_cut=np.array([True]))


@pytest.mark.parametrize("cut_share", [0.0, 0.2])
@pytest.mark.parametrize("measure", MEASURES)
def test_tracking_in_chunks_is_tracking_at_once(measure, cut_share):
    for seed in range(6):
        poses, frames = crowd(seed, frames=30), np.arange(30)
        rng = np.random.default_rng(seed)
        is_cut = rng.random(30) < cut_share
        whole, end = track(poses, frames, TrackerState.start(17), measure, is_cut=is_cut)
        assert end.next_track_id > 6
        for _ in range(5):
            cuts = np.sort(rng.integers(0, 31, rng.integers(1, 8)))
            state, parts = TrackerState.start(17), []
            for chunk in np.split(frames, cuts):
                mine = poses.take(np.isin(poses.frame, chunk))
                ids, state = track(mine, chunk, state, measure, is_cut=is_cut[chunk])
                parts.append(ids)
            assert np.array_equal(np.concatenate(parts), whole)
            assert (state.next_track_id, state.last_frame) == (end.next_track_id, end.last_frame)
            assert np.array_equal(state.track_id, end.track_id)
            assert np.array_equal(state.poses.xy_px, end.poses.xy_px)


@pytest.mark.parametrize("measure", MEASURES)
def test_ids_do_not_depend_on_the_order_of_rows(measure):
    # Equal scores and identical people in one place: nothing but the detection number tells them apart.
    twins = standing([0, 0, 0, 1, 1, 1, 2, 2], [(100, 100)] * 3 + [(104, 100)] * 3 + [(108, 100)] * 2)
    for poses, frames in ((crowd(7), np.arange(20)), (twins, np.arange(3))):
        ids, _ = track(poses, frames, TrackerState.start(17), measure)
        for seed in range(10):
            order = np.random.default_rng(seed).permutation(len(poses))
            assert np.array_equal(track(poses.take(order), frames, TrackerState.start(17), measure)[0], ids[order])


def test_new_ids_follow_the_pose_score_then_the_detection_number():
    poses = standing([0, 0, 0, 0], [(100, 100), (300, 100), (500, 100), (700, 100)], score=[0.5, 0.9, 0.9, 0.7])
    poses = poses.take(np.array([2, 0, 1, 3]))
    assert track(poses, np.array([0]), TrackerState.start(17))[0].tolist() == [1, 3, 0, 2]


def test_tracks_are_what_the_definition_gives():
    poses, frames = crowd(8, frames=25), np.arange(25)
    ids, state = track(poses, frames, TrackerState.start(17))
    assert set(ids.tolist()) == set(range(state.next_track_id))
    for t in frames:
        now = poses.frame == t
        assert len(set(ids[now].tolist())) == now.sum()
        before = poses.frame == t - 1
        similarity = pose_similarity("iou", poses.take(now), poses.take(before))
        same = ids[now][:, None] == ids[before][None, :]
        assert (similarity[same] > 0).all()
        assert similarity[same].sum() == pytest.approx(similarity[match(similarity)].sum(), abs=1e-5)
        # Who is new has never been seen before.
        new = set(ids[now].tolist()) - set(ids[before].tolist())
        assert not new & set(ids[poses.frame < t - 1].tolist())


def test_nobody_ever():
    ids, state = track(standing([], []), np.arange(5), TrackerState.start(17))
    assert ids.shape == (0,)
    assert (state.next_track_id, state.last_frame) == (0, 4)
    ids, state = track(standing([], []), np.arange(0), state)
    assert state.last_frame == 4


def test_frames_out_of_order_and_poses_of_no_frame_are_refused():
    poses = standing([3], [(100, 100)])
    _, state = track(poses, np.array([2, 3]), TrackerState.start(17))
    with pytest.raises(ValueError, match="frames must rise"):
        track(poses, np.array([3]), state)
    with pytest.raises(ValueError, match="frames must rise"):
        track(poses, np.array([3, 3]), TrackerState.start(17))
    with pytest.raises(ValueError, match=r"poses.frame 3"):
        track(poses, np.array([1, 2, 4]), TrackerState.start(17))


def test_a_state_with_ids_it_has_not_given_is_refused():
    _, state = track(standing([0], [(100, 100)]), np.array([0]), TrackerState.start(17))
    with pytest.raises(ValueError, match="track_id"):
        dataclasses.replace(state, next_track_id=0)
    with pytest.raises(ValueError, match="track_id"):
        dataclasses.replace(state, track_id=np.empty(0, np.int64))


@pytest.mark.parametrize(("measure", "keypoints"), [("tkm", 17), ("tbm", 1)])
def test_people_who_change_places_keep_their_ids_by_what_they_look_like(measure, keypoints):
    poses = standing([0, 0, 1, 1], [(100, 100), (130, 100), (131, 100), (101, 100)], score=[0.9, 0.8, 0.9, 0.8])
    looks = np.eye(2, dtype=np.float32)[[0, 1, 0, 1], None].repeat(keypoints, axis=1)
    learned = {"feature": looks, "classifiers": recognisers(keypoints, 2)}
    assert track(poses, np.arange(2), TrackerState.start(17), "iou")[0].tolist() == [0, 1, 1, 0]
    assert track(poses, np.arange(2), TrackerState.start(17), measure, **learned)[0].tolist() == [0, 1, 0, 1]
    # People whose boxes do not overlap are not matched, whatever they look like.
    apart = standing([0, 1], [(100, 100), (165, 100)])
    learned["feature"] = looks[:1].repeat(2, axis=0)
    assert track(apart, np.arange(2), TrackerState.start(17), measure, **learned)[0].tolist() == [0, 1]


def test_ids_by_features_are_those_of_eq_3_to_5_with_the_later_frame_first():
    torch.manual_seed(0)
    classifiers = Classifiers(2, 3, 4)
    with torch.no_grad():
        for parameter in classifiers.parameters():
            parameter.mul_(4)
    poses = standing([0, 0, 0, 1, 1, 1], [(100, 100), (110, 100), (120, 100)] * 2, [0.9, 0.8, 0.7] * 2, keypoints=2)
    boxes = poses.box_xyxy_px.astype(float)
    differing = 0
    for seed in range(10):
        feature = np.random.default_rng(seed).normal(size=(6, 2, 3)).astype(np.float32)
        ids, _ = track(poses, np.arange(2), TrackerState.start(2), "tkm", feature=feature, classifiers=classifiers)
        later_first = pose_matching(classifiers, feature[3:], feature[:3], boxes[3:], boxes[:3], gate=0.1)
        earlier_first = pose_matching(classifiers, feature[:3], feature[3:], boxes[:3], boxes[3:], gate=0.1).T
        assert ids.tolist() == [0, 1, 2, *match(later_first)[1]]
        differing += not np.array_equal(match(later_first)[1], match(earlier_first)[1])
    assert differing


def test_tracking_by_features_in_chunks_is_tracking_at_once_whatever_the_order_of_rows():
    torch.manual_seed(0)
    classifiers = Classifiers(17, 8, 8)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        poses, frames = crowd(seed, frames=30, size_px=150), np.arange(30)
        feature = rng.normal(size=(len(poses), 17, 8)).astype(np.float32)
        whole, end = track(poses, frames, TrackerState.start(17), "tkm", feature=feature, classifiers=classifiers)
        assert not np.array_equal(whole, track(poses, frames, TrackerState.start(17), "iou")[0])
        state, parts = TrackerState.start(17), []
        for chunk in np.split(frames, np.sort(rng.integers(0, 31, 6))):
            mine = np.isin(poses.frame, chunk)
            ids, state = track(poses.take(mine), chunk, state, "tkm", feature=feature[mine], classifiers=classifiers)
            parts.append(ids)
        assert np.array_equal(np.concatenate(parts), whole)
        assert np.array_equal(state.feature, end.feature)
        assert state.feature.shape == (len(state.poses), 17, 8)
        order = rng.permutation(len(poses))
        shuffled, _ = track(
            poses.take(order), frames, TrackerState.start(17), "tkm", feature=feature[order], classifiers=classifiers
        )
        assert np.array_equal(shuffled, whole[order])


def test_a_learned_measure_without_features_and_features_without_one_are_refused():
    poses, frames, start = standing([0], [(100, 100)]), np.array([0]), TrackerState.start(17)
    feature, classifiers = np.zeros((1, 17, 8), np.float32), Classifiers(17, 8, 8)
    for given in ({}, {"feature": feature}, {"classifiers": classifiers}):
        with pytest.raises(ValueError, match="measure 'tkm'"):
            track(poses, frames, start, "tkm", **given)
    with pytest.raises(ValueError, match="measure 'iou'"):
        track(poses, frames, start, "iou", feature=feature, classifiers=classifiers)
    with pytest.raises(ValueError, match=r"features must be \(1, K, D\)"):
        track(poses, frames, start, "tkm", feature=feature.repeat(2, axis=0), classifiers=classifiers)


def test_a_state_whose_features_are_not_its_peoples_is_refused():
    _, state = track(standing([0], [(100, 100)]), np.array([0]), TrackerState.start(17))
    assert state.feature is None
    with pytest.raises(ValueError, match="features"):
        dataclasses.replace(state, feature=np.zeros((2, 17, 8), np.float32))
