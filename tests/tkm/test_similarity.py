import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.builders import boxes_around, crowd, standing
from tests.tkm.plain_formulas import pose_matching
from tkm.networks.matching import Body, Classifiers, MatchingModule
from tkm.similarity import aligned_iou, iou, joint_confidence, keypoint_similarity, oks, pose_similarity
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


def decided_classifiers(keypoints: int, channels: int = 6) -> Classifiers:
    """Random ones whose probabilities lie far from 1/2, so that no pair looks like another."""
    torch.manual_seed(3)
    classifiers = Classifiers(keypoints, channels, hidden=8)
    with torch.no_grad():
        for parameter in classifiers.parameters():
            parameter.mul_(3)
    return classifiers


def test_tkm_is_eq_5_written_out():
    rng = np.random.default_rng(0)
    later, earlier = crowd(1).take(np.arange(6)), crowd(2).take(np.arange(5))
    later_feature, earlier_feature = rng.normal(size=(6, 17, 6)), rng.normal(size=(5, 17, 6))
    classifiers = decided_classifiers(17)
    for gate in (0.1, 0.01):
        boxes = later.box_xyxy_px.astype(float), earlier.box_xyxy_px.astype(float)
        plain = pose_matching(classifiers, later_feature, earlier_feature, *boxes, gate)
        assert 0 < (plain > 0).sum() < plain.size
        is_near = iou(later.box_xyxy_px, earlier.box_xyxy_px) >= gate
        exact = keypoint_similarity(classifiers.double(), later_feature, earlier_feature, is_near)
        np.testing.assert_allclose(exact, plain, rtol=0, atol=1e-11)
        features = {
            "later_feature": later_feature.astype(np.float32),
            "earlier_feature": earlier_feature.astype(np.float32),
        }
        similarity = pose_similarity("tkm", later, earlier, gate, classifiers=classifiers.float(), **features)
        assert similarity.dtype == np.float32
        np.testing.assert_allclose(similarity, plain, rtol=0, atol=1e-4)


def test_tbm_is_one_classifier_on_features_averaged_over_the_crop():
    torch.manual_seed(0)
    body = Body(MatchingModule(3, 4, channels=6), decided_classifiers(1)).double().eval()
    crops = (torch.randn(7, 3, 8, 6, dtype=torch.float64),)
    with torch.no_grad():
        F, vector = body.module(crops).numpy(), body.vector(crops).numpy()
    later = standing([1] * 4, [(100 + 20 * i, 100) for i in range(4)])
    earlier = standing([0] * 3, [(100, 100), (150, 100), (400, 100)])
    means = np.array([[[F[i, d].sum() / (8 * 6) for d in range(6)]] for i in range(7)])
    boxes = later.box_xyxy_px.astype(float), earlier.box_xyxy_px.astype(float)
    plain = pose_matching(body.classifiers, means[:4], means[4:], *boxes, gate=0.1)
    is_near = iou(later.box_xyxy_px, earlier.box_xyxy_px) >= 0.1
    exact = keypoint_similarity(body.classifiers, vector[:4, None], vector[4:, None], is_near)
    np.testing.assert_allclose(exact, plain, rtol=0, atol=1e-12)
    assert 0 < (plain > 0).sum() < plain.size
    similarity = pose_similarity(
        "tbm", later, earlier, classifiers=body.classifiers.float(),
        later_feature=vector[:4, None].astype(np.float32), earlier_feature=vector[4:, None].astype(np.float32),
    )  # fmt: skip
    np.testing.assert_allclose(similarity, plain, rtol=0, atol=1e-5)


def test_who_is_later_matters_to_a_learned_similarity():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 17, 6))
    classifiers, everybody = decided_classifiers(17).double(), np.ones((3, 3), np.bool_)
    there, back = keypoint_similarity(classifiers, a, b, everybody), keypoint_similarity(classifiers, b, a, everybody)
    assert np.abs(there - back.T).max() > 0.1


def test_confidence_weighs_the_keypoints_of_a_pair_by_both_scores_and_keeps_the_scale():
    rng = np.random.default_rng(0)
    a, b = standing([1, 1], [(100, 100), (120, 100)]), standing([0], [(110, 100)])
    a = dataclasses.replace(a, score=rng.uniform(0.1, 1, (2, 17)).astype(np.float32))
    b = dataclasses.replace(b, score=rng.uniform(0.1, 1, (1, 17)).astype(np.float32))
    classifiers = decided_classifiers(17)
    features = {
        "later_feature": rng.normal(size=(2, 17, 6)).astype(np.float32),
        "earlier_feature": rng.normal(size=(1, 17, 6)).astype(np.float32),
    }
    weighed = pose_similarity("tkm", a, b, classifiers=classifiers, by_confidence=True, **features)
    plain = pose_similarity("tkm", a, b, classifiers=classifiers, **features)
    with torch.no_grad():
        same = classifiers(*map(torch.from_numpy, features.values())).numpy()  # (2, 17)
    product = a.score * b.score
    np.testing.assert_allclose(weighed[:, 0], (same * product).sum(axis=1) / product.mean(axis=1), rtol=1e-5)
    assert not np.allclose(weighed, plain, atol=1e-2)
    # Equal scores weigh nothing, and a keypoint that is not given counts for nothing.
    assert np.allclose(joint_confidence(np.full((2, 3), 0.5, np.float32), np.full((4, 3), 0.2, np.float32)), 1)
    assert joint_confidence(np.array([[0.5, np.nan]], np.float32), np.array([[0.5, 0.5]], np.float32)).tolist() == [[[2, 0]]]
    assert joint_confidence(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)).tolist() == [[[0, 0]]]


@pytest.mark.parametrize("measure", ["tkm", "tbm"])
def test_a_learned_measure_without_features_or_classifiers_is_refused(measure):
    a, feature = standing([0], [(100, 100)]), np.zeros((1, 17, 6), np.float32)
    with pytest.raises(ValueError, match=f"measure '{measure}' needs features"):
        pose_similarity(measure, a, a)
    with pytest.raises(ValueError, match=f"measure '{measure}' needs features"):
        pose_similarity(measure, a, a, later_feature=feature, earlier_feature=feature)


def test_features_of_other_people_or_keypoints_are_refused():
    a, classifiers = standing([0, 0], [(100, 100), (110, 100)]), decided_classifiers(17)
    fitting, short, body = (np.zeros(shape, np.float32) for shape in ((2, 17, 6), (1, 17, 6), (2, 1, 6)))
    with pytest.raises(ValueError, match=r"features must be \(2, K, D\)"):
        pose_similarity("tkm", a, a, classifiers=classifiers, later_feature=fitting, earlier_feature=short)
    with pytest.raises(ValueError, match="17 keypoints and 6 numbers"):
        pose_similarity("tkm", a, a, classifiers=classifiers, later_feature=body, earlier_feature=body)


def test_nobody_near_is_nobody_similar():
    far = np.zeros((2, 3), np.bool_)
    later, earlier = np.zeros((2, 17, 6), np.float32), np.zeros((3, 17, 6), np.float32)
    assert not keypoint_similarity(decided_classifiers(17), later, earlier, far).any()
