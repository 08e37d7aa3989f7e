"""Suspects of people who walk as people do, until something is done to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tkm.skeleton import COCO_17
from tkm.suspects import Suspects, TrackedPoses, find_suspects

FPS, FRAMES, HEIGHT_PX = 25, 60, 200.0
WRIST, ELBOW = COCO_17.keypoints.index("left_wrist"), COCO_17.keypoints.index("left_elbow")
# Shares of the box, by keypoint.
STANDING = np.array(
    [[.5, .06], [.53, .05], [.47, .05], [.56, .06], [.44, .06], [.7, .2], [.3, .2], [.8, .35], [.2, .35], [.85, .5], [.15, .5],
     [.62, .52], [.38, .52], [.62, .75], [.38, .75], [.62, .97], [.38, .97]],
)  # fmt: skip


def walking(track_id: int, from_px: tuple[float, float], px_a_frame: float, frames: range = range(FRAMES)) -> TrackedPoses:
    """A person, 80 x 200 px, from a place at frame 0 on to the right."""
    frame = np.array(frames, np.int64)
    corner_px = np.array(from_px) + np.outer(frame, [px_a_frame, 0])
    jitter = np.random.default_rng(track_id).normal(0, 1, (len(frame), 17, 2))
    xy_px = corner_px[:, None] + STANDING * [80, HEIGHT_PX] + jitter
    boxes = np.concatenate([corner_px, corner_px + np.array([80, HEIGHT_PX])], axis=1)
    tracks, score = np.full(len(frame), track_id, np.int64), np.full((len(frame), 17), 0.8, np.float32)
    return TrackedPoses(frame, frame * 10**9 // FPS, tracks, boxes.astype(np.float32), xy_px.astype(np.float32), score)


def together(*people: TrackedPoses) -> TrackedPoses:
    return TrackedPoses(*(np.concatenate(values) for values in zip(*(vars(one).values() for one in people), strict=True)))


def found(*people: TrackedPoses) -> Suspects:
    return find_suspects(together(*people), COCO_17)


def test_people_who_walk_and_pass_each_other_are_not_suspected() -> None:
    assert len(found(walking(0, (0, 100), 4), walking(1, (240, 110), -4), walking(2, (600, 50), 0))) == 0


def test_nobody_is_nothing_to_suspect() -> None:
    nobody = walking(0, (0, 0), 1).take(np.zeros(0, np.int64))
    assert len(find_suspects(nobody, COCO_17)) == 0


def test_a_wrist_that_jumps_away_and_back_is_told_once_where_it_is_wrong() -> None:
    person = walking(3, (0, 100), 4)
    person.xy_px[30, WRIST] += [0, -90]
    suspects = found(person)
    assert [(kind, frame, joint) for kind, frame, joint in zip(suspects.kind, suspects.frame, suspects.joint, strict=True)] == [
        ("joint_speed", 30, WRIST)
    ]
    assert suspects.xy_px[0] == pytest.approx(person.xy_px[30, WRIST])
    assert suspects.value[0] == pytest.approx(90 / HEIGHT_PX * FPS, rel=0.1)
    assert suspects.severity[0] > 1


def test_what_the_network_itself_doubts_is_not_suspected() -> None:
    person = walking(3, (0, 100), 4)
    person.xy_px[30, WRIST] += [0, -90]
    person.score[30, WRIST] = 0.1
    assert len(found(person)) == 0


def test_a_limb_that_is_too_long_is_told_by_its_less_sure_end() -> None:
    person = walking(3, (0, 100), 4)
    away = np.linspace(0, 120, 10).tolist()
    for n, away_px in enumerate([*away, *[120] * 5, *away[::-1]]):  # too slow for its speed to tell
        person.xy_px[30 + n, WRIST] += [away_px, 0]
        person.score[30 + n, WRIST] = 0.5
    suspects = found(person)
    assert set(suspects.kind) == {"limb_length"}
    assert set(suspects.joint) == {WRIST}
    assert 35 <= suspects.frame[0] < 45


def test_a_track_that_jumps_to_another_person_is_a_switch() -> None:
    before, after = walking(5, (0, 100), 4, range(30)), walking(5, (500, 120), 4, range(30, FRAMES))
    suspects = found(before, after)
    assert (suspects.kind.tolist(), suspects.frame.tolist(), suspects.track_id.tolist()) == (["switch"], [30], [5])
    assert suspects.other_track_id[0] == -1


def test_a_person_who_gets_another_id_is_a_switch_of_the_two() -> None:
    suspects = found(walking(1, (0, 100), 4, range(30)), walking(8, (0, 100), 4, range(34, FRAMES)))
    assert (suspects.kind.tolist(), suspects.frame.tolist()) == (["switch"], [34])
    assert (suspects.track_id[0], suspects.other_track_id[0]) == (8, 1)


def test_two_who_leave_a_meeting_under_each_others_id_are_a_switch() -> None:
    one, other = walking(0, (0, 100), 8), walking(1, (480, 110), -8)
    meet = 30
    for person, exchanged in ((one, 1), (other, 0)):
        person.track_id[person.frame >= meet] = exchanged
    suspects = found(one, other)
    pair = [
        frame
        for frame, here, there in zip(suspects.frame, suspects.track_id, suspects.other_track_id, strict=True)
        if {int(here), int(there)} == {0, 1}
    ]
    assert pair
    assert abs(pair[0] - meet) <= 5


def test_the_worst_come_first_and_no_more_than_wanted() -> None:
    people = [walking(n, (300 * n, 100), 4) for n in range(6)]
    for n, person in enumerate(people):
        person.xy_px[20 + n, WRIST] += [0, -80 - 10 * n]
    poses = together(*people)
    suspects = find_suspects(poses, COCO_17)
    assert suspects.track_id.tolist() == [5, 4, 3, 2, 1, 0]
    assert find_suspects(poses, COCO_17, most=2).track_id.tolist() == [5, 4]
    shuffled = poses.take(np.random.default_rng(0).permutation(len(poses.frame)))
    again = find_suspects(shuffled, COCO_17)
    assert all(np.array_equal(getattr(again, name), value) for name, value in vars(suspects).items())


def test_poses_without_keypoints_are_judged_by_their_boxes() -> None:
    person = walking(1, (0, 100), 4, range(30))
    other = walking(8, (0, 100), 4, range(34, FRAMES))
    bare = [replace(one, xy_px=np.full_like(one.xy_px, np.nan), score=np.full_like(one.score, np.nan)) for one in (person, other)]
    assert found(*bare).kind.tolist() == ["switch"]
