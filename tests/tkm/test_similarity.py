import dataclasses
import math

import numpy as np
import pytest

from tests.builders import boxes_around, crowd, standing
from tkm.similarity import aligned_iou, iou, oks, pose_similarity
from tkm.skeleton import COCO_17


def iou_by_loop(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    table = np.zeros((len(a), len(b)))
    for p, (ax0, ay0, ax1, ay1) in enumerate(a.astype(float)):
        for q, (bx0, by0, bx1, by1) in enumerate(b.astype(float)):
            overlap = max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
            table[p, q] = overlap / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap)
    return table


def oks_by_loop(a: np.ndarray, b: np.ndarray, a_area: np.ndarray, b_area: np.ndarray) -> np.ndarray:
    table = np.zeros((len(a), len(b)))
    for p in range(len(a)):
        for q in range(len(b)):
            terms = [
                math.exp(-((a[p, k] - b[q, k]) ** 2).sum() / (2 * (a_area[p] + b_area[q]) / 2 * (2 * sigma) ** 2))
                for k, sigma in enumerate(COCO_17.oks_sigmas.tolist())
            ]
            table[p, q] = sum(terms) / len(terms)
    return table


def test_iou_is_overlap_over_union_for_every_pair():
    rng = np.random.default_rng(0)
    a, b = boxes_around(rng.uniform(0, 200, (7, 2))), boxes_around(rng.uniform(0, 200, (5, 2)), 90, 120)
    table = iou(a, b)
    assert table.dtype == np.float32
    assert np.allclose(table, iou_by_loop(a, b), atol=1e-6)
    assert np.array_equal(np.diag(iou(a[:5], b)), aligned_iou(a[:5], b))
    assert np.array_equal(iou(b, a), table.T)


def test_iou_of_known_boxes():
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [3, 3, 3, 9]], np.float32)
    assert np.allclose(iou(a, b), [[1, 1 / 3, 0, 0]])
    empty = np.zeros((1, 4), np.float32)
    assert iou(empty, empty).tolist() == [[0]]
    assert iou(a, np.empty((0, 4), np.float32)).shape == (1, 0)


def test_oks_is_cocos_formula_with_the_mean_of_both_areas():
    a, b = crowd(1).take(np.arange(6)), crowd(2).take(np.arange(4))
    a_area, b_area = np.linspace(4000, 9000, 6, dtype=np.float32), np.linspace(3000, 12000, 4, dtype=np.float32)
    near = dataclasses.replace(b, xy_px=(a.xy_px[:4] + b.xy_px * 0.02).astype(np.float32))
    table = oks(a.xy_px, near.xy_px, a_area, b_area, COCO_17.oks_sigmas)
    assert table.dtype == np.float32
    assert np.allclose(table, oks_by_loop(a.xy_px.astype(float), near.xy_px.astype(float), a_area, b_area), atol=1e-5)
    assert table.max() > 0.3
    assert np.array_equal(oks(near.xy_px, a.xy_px, b_area, a_area, COCO_17.oks_sigmas), table.T)


def test_oks_of_a_pose_with_itself_is_one_and_without_any_area_zero():
    pose = standing([0], [(100, 100)]).xy_px
    one, none = np.array([9000], np.float32), np.zeros(1, np.float32)
    assert oks(pose, pose, one, one, COCO_17.oks_sigmas).tolist() == [[1]]
    assert oks(pose, pose, none, none, COCO_17.oks_sigmas).tolist() == [[0]]


def test_poses_with_other_keypoints_than_the_sigmas_are_refused():
    pose, area = standing([0], [(100, 100)], keypoints=5).xy_px, np.ones(1, np.float32)
    with pytest.raises(ValueError, match="sigmas"):
        oks(pose, pose, area, area, COCO_17.oks_sigmas)


@pytest.mark.parametrize("measure", ["iou", "oks"])
def test_people_whose_boxes_overlap_less_than_the_gate_are_not_similar(measure):
    a = standing([0, 0], [(100, 100), (400, 100)])
    b = standing([1, 1, 1], [(110, 104), (138, 100), (400, 100)])
    overlap = iou(a.box_xyxy_px, b.box_xyxy_px)
    for gate in (0.0, 0.1, 0.5):
        similarity = pose_similarity(measure, a, b, iou_gate=gate)
        assert (similarity[overlap < gate] == 0).all()
        assert (similarity[(overlap >= gate) & (overlap > 0)] > 0).all()
        assert similarity[1, 2] == 1


def test_measures_tell_a_posture_from_a_place():
    a = standing([0], [(100, 100)])
    same_box_other_pose = dataclasses.replace(a, xy_px=a.xy_px[:, ::-1].copy())
    assert pose_similarity("iou", a, same_box_other_pose)[0, 0] == 1
    assert pose_similarity("oks", a, same_box_other_pose)[0, 0] < 0.6


def test_an_unknown_measure_is_refused():
    a = standing([0], [(100, 100)])
    with pytest.raises(ValueError, match="measure"):
        pose_similarity("colour", a, a)


def test_oks_is_the_mean_over_the_keypoints_that_both_have() -> None:
    pose, area = standing([0], [(100, 100)]).xy_px, np.array([9000], np.float32)
    part = pose.copy()
    part[0, 5:] = np.nan
    assert oks(pose, part, area, area, COCO_17.oks_sigmas).tolist() == [[1]]
    assert oks(part, np.full_like(pose, np.nan), area, area, COCO_17.oks_sigmas).tolist() == [[0]]
