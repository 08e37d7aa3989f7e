"""Bodies: shapes that people have, and segments that move as rigid bodies joined at joints."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tkm.synthetic.bodies.body import KEYPOINTS, Body, BodyModel, keypoints_m, pose_segments, shape_body
from tkm.synthetic.bodies.segments import PARENTS, SEGMENT, SEGMENTS, segment_of_bone

MAN = (0.0, 0.67, 0.5, 0.5, 0.42, 0.5)


@pytest.fixture(scope="module")
def man(body_model: BodyModel) -> Body:
    return shape_body(body_model, MAN)


def turns(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return Rotation.random(int(np.prod(shape)), rng=rng).as_matrix().reshape(*shape, 3, 3)


def named(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(KEYPOINTS, points, strict=True))


def at_rest(body: Body) -> np.ndarray:
    identity = np.tile(np.eye(3), (len(SEGMENTS), 1, 1))
    return keypoints_m(body, *pose_segments(body, identity, body.joints_m[0]))


def test_a_body_at_rest_faces_minus_y_with_its_left_at_plus_x(man: Body) -> None:
    point = named(at_rest(man))
    assert point["nose"][1] < point["left_ear"][1] - 0.05
    for joint in ("eye", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        assert point[f"left_{joint}"][0] > 0 > point[f"right_{joint}"][0]
    order = ["head_top", "nose", "neck", "left_shoulder", "left_hip", "left_knee", "left_ankle"]
    heights = [point[name][2] for name in order]
    assert heights == sorted(heights, reverse=True)
    assert point["head_top"][2] == pytest.approx(man.rest_m[:, 2].max(), abs=1e-3)


def test_phenotypes_change_bodies_as_their_names_say(body_model: BodyModel) -> None:
    def body(**changes: float) -> Body:
        names = ("gender", "age", "muscle", "weight", "height", "proportions")
        return shape_body(body_model, tuple({**dict(zip(names, MAN, strict=True)), **changes}[name] for name in names))

    def belly_m(body: Body) -> float:
        waist = body_model.skin[:, SEGMENT["abdomen"]] > 0.5
        return float(np.ptp(body.rest_m[waist, 1]))

    assert 1.7 < body().height_m < 1.9
    assert body(gender=1.0).height_m < body().height_m
    assert body(age=1 / 3).height_m < 1.4
    assert body(height=0.8).height_m > body(height=0.2).height_m + 0.1
    assert belly_m(body(weight=1.0, muscle=0.2)) > belly_m(body(weight=0.0, muscle=0.2)) + 0.05


def test_keypoints_are_those_of_the_skinned_mesh(body_model: BodyModel, man: Body) -> None:
    rng = np.random.default_rng(3)
    rotation, root_m = turns(rng, len(SEGMENTS)), rng.normal(size=3)
    turned, joint_m = pose_segments(man, rotation, root_m)
    vertices = np.zeros((len(man.rest_m), 3))
    for s in range(len(SEGMENTS)):
        moved = (man.rest_m - man.joints_m[s]) @ turned[s].T + joint_m[s]
        vertices += body_model.skin[:, s : s + 1] * moved
    expected = body_model.regressor.astype(np.float64) @ vertices
    np.testing.assert_allclose(keypoints_m(man, turned, joint_m), expected, atol=1e-5)


def test_segments_keep_their_lengths_and_hang_together(man: Body) -> None:
    rng = np.random.default_rng(4)
    turned, joint_m = pose_segments(man, turns(rng, 5, len(SEGMENTS)), rng.normal(size=(5, 3)))
    for s, parent in enumerate(PARENTS[1:], start=1):
        length_m = np.linalg.norm(man.joints_m[s] - man.joints_m[parent])
        np.testing.assert_allclose(np.linalg.norm(joint_m[:, s] - joint_m[:, parent], axis=1), length_m, atol=1e-9)
    np.testing.assert_allclose(turned @ turned.swapaxes(-1, -2), np.broadcast_to(np.eye(3), turned.shape), atol=1e-9)


def test_a_turned_elbow_moves_the_wrist_and_nothing_above(man: Body) -> None:
    rotation = np.tile(np.eye(3), (len(SEGMENTS), 1, 1))
    rotation[SEGMENT["left_forearm"]] = Rotation.from_euler("x", -90, degrees=True).as_matrix()
    bent = named(keypoints_m(man, *pose_segments(man, rotation, man.joints_m[0])))
    straight = named(at_rest(man))
    moved = {name for name in KEYPOINTS if np.linalg.norm(bent[name] - straight[name]) > 0.01}
    assert moved <= {"left_wrist", "left_elbow"}
    assert np.linalg.norm(bent["left_wrist"] - straight["left_wrist"]) > 0.15


def test_a_turned_segment_carries_all_that_hangs_on_it(man: Body) -> None:
    turn = Rotation.from_euler("xyz", (20, -35, 110), degrees=True).as_matrix()
    rotation = np.tile(np.eye(3), (len(SEGMENTS), 1, 1))
    rotation[SEGMENT["pelvis"]] = turn
    hips_m = man.joints_m[0]
    found = keypoints_m(man, *pose_segments(man, rotation, hips_m))
    np.testing.assert_allclose(found, (at_rest(man) - hips_m) @ turn.T + hips_m, atol=1e-6)


def test_a_model_survives_its_file(body_model: BodyModel) -> None:
    data = body_model.to_bytes()
    again = BodyModel.from_bytes(data)
    assert again.to_bytes() == data
    np.testing.assert_array_equal(again.components_m, body_model.components_m)
    assert again.bones == body_model.bones


def test_a_bone_of_another_rig_is_named() -> None:
    with pytest.raises(ValueError, match="tail01"):
        segment_of_bone("tail01.L")
