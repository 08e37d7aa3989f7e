import dataclasses
import math

import numpy as np
import pytest

from tests.builders import boxes_around, crowd, detections, standing
from tkm.similarity import iou
from tkm.suppression import box_nms, pose_nms
from tkm.types import PoseSet


def greedy_by_loop(frame, detection, score, similar) -> np.ndarray:
    keep = np.zeros(len(frame), bool)
    for number in set(frame.tolist()):
        rows = [p for p in range(len(frame)) if frame[p] == number]
        kept: list[int] = []
        for p in sorted(rows, key=lambda p: (-score[p], detection[p])):
            if not any(similar(q, p) for q in kept):
                kept.append(p)
        keep[kept] = True
    return keep


def pose_nms_by_loop(poses: PoseSet, factor: float, share: float) -> np.ndarray:
    def similar(a: int, b: int) -> bool:
        sizes = []
        for p in (a, b):
            x0, y0, x1, y1 = poses.box_xyxy_px[p].tolist()
            sizes.append(math.sqrt((x1 - x0) * (y1 - y0)))
        distances = [math.dist(u, v) for u, v in zip(poses.xy_px[a].tolist(), poses.xy_px[b].tolist(), strict=True)]
        return sum(d < factor * min(sizes) for d in distances) > share * len(distances)

    return greedy_by_loop(poses.frame, poses.detection, poses.pose_score, similar)


def with_duplicates(seed: int) -> PoseSet:
    """A crowd and, of every person, a worse and a displaced copy in the same frame."""
    rng = np.random.default_rng(seed)
    first = crowd(seed)
    P = len(first)
    poses = first.take(np.tile(np.arange(P), 3))
    return dataclasses.replace(
        poses,
        detection=(poses.detection + np.repeat([0, 100, 200], P)).astype(np.int64),
        xy_px=poses.xy_px + rng.normal(0, 5, poses.xy_px.shape).astype(np.float32),
        box_xyxy_px=poses.box_xyxy_px + rng.normal(0, 6, (3 * P, 4)).astype(np.float32),
        box_score=rng.choice(np.array([0.4, 0.6, 0.8], np.float32), 3 * P),
        score=np.full_like(poses.score, 0.5),
    )


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_box_nms_is_the_greedy_loop_frame_by_frame(threshold):
    poses = with_duplicates(1)
    overlap = iou(poses.box_xyxy_px, poses.box_xyxy_px)
    expected = greedy_by_loop(
        poses.frame, poses.detection, poses.box_score, lambda a, b: overlap[a, b] > np.float32(threshold)
    )
    keep = box_nms(poses.box_xyxy_px, poses.box_score, poses.frame, poses.detection, threshold)
    assert np.array_equal(keep, expected)
    assert 0 < keep.sum() < len(keep)


@pytest.mark.parametrize(("factor", "share"), [(0.05, 0.5), (0.1, 0.5), (0.1, 0.7), (0.3, 0.2)])
def test_pose_nms_is_the_greedy_loop_frame_by_frame(factor, share):
    poses = with_duplicates(2)
    keep = pose_nms(poses, factor, share)
    assert np.array_equal(keep, pose_nms_by_loop(poses, factor, share))
    assert 0 < keep.sum() < len(keep)


def test_who_stays_does_not_depend_on_the_order_of_rows():
    poses = with_duplicates(3)
    keep_boxes = box_nms(poses.box_xyxy_px, poses.box_score, poses.frame, poses.detection, 0.5)
    keep_poses = pose_nms(poses)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(poses))
        mixed = poses.take(order)
        keep = box_nms(mixed.box_xyxy_px, mixed.box_score, mixed.frame, mixed.detection, 0.5)
        assert np.array_equal(keep, keep_boxes[order])
        assert np.array_equal(pose_nms(mixed), keep_poses[order])


def test_among_equals_the_lower_detection_number_stays():
    poses = standing([0, 0, 0], [(100, 100)] * 3).take(np.array([2, 0, 1]))
    assert pose_nms(poses).tolist() == [False, True, False]
    keep = box_nms(poses.box_xyxy_px, poses.box_score, poses.frame, poses.detection, 0.5)
    assert keep.tolist() == [False, True, False]


def test_the_higher_product_of_box_and_keypoint_scores_stays():
    poses = standing([0, 0], [(100, 100)] * 2, score=[0.9, 0.6])
    poses = dataclasses.replace(poses, score=poses.score * np.array([[0.5], [1.0]], np.float32))
    assert pose_nms(poses).tolist() == [False, True]


def test_people_of_different_frames_do_not_suppress_each_other():
    poses = standing([0, 1, 2], [(100, 100)] * 3)
    assert pose_nms(poses).all()
    assert box_nms(poses.box_xyxy_px, poses.box_score, poses.frame, poses.detection, 0.5).all()


def test_a_dropped_box_suppresses_nobody():
    # The middle box overlaps both others, which do not overlap each other.
    rows = detections([0, 0, 0], boxes_around(np.array([[100, 100], [130, 100], [160, 100]])), [0.9, 0.8, 0.7])
    assert box_nms(rows.box_xyxy_px, rows.score, rows.frame, rows.detection, 0.3).tolist() == [True, False, True]


def test_more_than_the_share_of_all_keypoints_must_coincide():
    poses = standing([0, 0], [(100, 100)] * 2, score=[0.9, 0.8], keypoints=10)
    for apart, same_person in ((4, True), (5, False)):
        xy_px = poses.xy_px.copy()
        xy_px[1, :apart] += 50
        # Low scores do not excuse keypoints from the count.
        score = poses.score.copy()
        score[:, :apart] = 0.01
        moved = dataclasses.replace(poses, xy_px=xy_px, score=score)
        assert pose_nms(moved, share=0.5)[1] != same_person


def test_the_distance_scales_with_the_smaller_person():
    poses = standing([0, 0], [(100, 100), (106, 100)], score=[0.9, 0.8])
    assert pose_nms(poses, 0.1).tolist() == [True, False]
    doubled = dataclasses.replace(poses, box_xyxy_px=poses.box_xyxy_px * 2, xy_px=poses.xy_px * 2)
    assert pose_nms(doubled, 0.1).tolist() == [True, False]
    box_xyxy_px = poses.box_xyxy_px.copy()
    box_xyxy_px[1] = (100, 90, 112, 120)
    assert pose_nms(dataclasses.replace(poses, box_xyxy_px=box_xyxy_px), 0.1).all()


def test_nobody_in_nobody_out():
    nobody = standing([], [])
    assert pose_nms(nobody).shape == (0,)
    assert box_nms(nobody.box_xyxy_px, nobody.box_score, nobody.frame, nobody.detection, 0.5).shape == (0,)


def test_bad_thresholds_and_repeated_detections_are_refused_by_name():
    poses = standing([0, 0], [(100, 100)] * 2)
    with pytest.raises(ValueError, match="distance_factor"):
        pose_nms(poses, distance_factor=-1)
    with pytest.raises(ValueError, match="share"):
        pose_nms(poses, share=1.5)
    with pytest.raises(ValueError, match="iou_threshold"):
        box_nms(poses.box_xyxy_px, poses.box_score, poses.frame, poses.detection, 50)
    with pytest.raises(ValueError, match="detection 0 of frame 0"):
        pose_nms(poses.take(np.array([0, 1, 0])))


def test_only_keypoints_that_both_poses_have_count() -> None:
    twins = standing([0, 0], [(100, 100), (100, 100)], score=[0.9, 0.8], keypoints=10)
    few = twins.xy_px.copy()
    few[1, 4:] = np.nan  # six of ten are not given: all four that both have coincide
    assert pose_nms(dataclasses.replace(twins, xy_px=few)).tolist() == [True, False]
    few[1, 1:4] += 1000  # one of four
    assert pose_nms(dataclasses.replace(twins, xy_px=few)).tolist() == [True, True]
    nothing = np.full_like(few, np.nan)
    nothing[0] = few[0]
    assert pose_nms(dataclasses.replace(twins, xy_px=nothing)).tolist() == [True, True], "that share none are no one person"
