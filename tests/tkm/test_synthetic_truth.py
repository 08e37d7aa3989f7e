"""Truth of rendered frames: known points where they must be, hidden ones marked."""

from __future__ import annotations

import numpy as np
import pytest

from tkm.synthetic.bodies.body import KEYPOINTS, Body, BodyModel, keypoints_m, pose_segments, shape_body
from tkm.synthetic.bodies.mesh import BONES, Materials, Mesh, Pattern
from tkm.synthetic.bodies.segments import SEGMENT, SEGMENTS
from tkm.synthetic.camera import Camera
from tkm.synthetic.drawing.painter import Painter
from tkm.synthetic.drawing.plate import Drawn, Light, Plate
from tkm.synthetic.people.people import make_person
from tkm.synthetic.truth import HIDDEN, OUT_OF_VIEW, SEEN, frame_truth, thickness_m, visible_extents

WIDTH, HEIGHT = 96, 64
NOWHERE = 255
K = len(KEYPOINTS)


def camera(width: int = WIDTH, height: int = HEIGHT) -> Camera:
    """At the world's origin, looking along +y; 100 px a metre at 1 m."""
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return Camera(width, height, np.array([100.0]), rotation[None], np.zeros((1, 3)))


def empty() -> Drawn:
    return Drawn(
        colour=np.zeros((HEIGHT, WIDTH, 3), np.float32),
        depth_m=np.full((2 * HEIGHT, 2 * WIDTH), np.inf, np.float32),
        person=np.full((2 * HEIGHT, 2 * WIDTH), -1, np.int16),
        segment=np.full((2 * HEIGHT, 2 * WIDTH), NOWHERE, np.uint8),
        full_xyxy_px=np.full((2, 4), np.nan),
        head_xyxy_px=np.full((2, 4), np.nan),
    )


def cover(drawn: Drawn, box_xyxy_px: tuple[int, int, int, int], person: int, segment: str | None, depth_m: float) -> None:
    x1, y1, x2, y2 = (2 * edge for edge in box_xyxy_px)
    drawn.depth_m[y1:y2, x1:x2] = depth_m
    drawn.person[y1:y2, x1:x2] = person
    drawn.segment[y1:y2, x1:x2] = NOWHERE if segment is None else SEGMENT[segment]


def people(points: dict[tuple[int, str], tuple[float, float, float]]) -> np.ndarray:
    """(2, K, 3); keypoints that are not given are behind the camera."""
    points_m = np.tile([0.0, -1.0, 0.0], (2, K, 1))
    for (person, name), at in points.items():
        points_m[person, KEYPOINTS.index(name)] = at
    return points_m


def visibility_of(drawn: Drawn, at: tuple[float, float, float], within_m: float = 0.1, name: str = "left_elbow") -> int:
    """Of a keypoint of person 0 whose nose is seen in a corner of its own."""
    cover(drawn, (0, 0, 4, 4), 0, "head", 1.0)
    points_m = people({(0, name): at, (0, "nose"): (-0.47, 1.0, 0.31)})
    truth = frame_truth(drawn, points_m, np.full((2, K), within_m), camera(), 0)
    assert truth.visibility[0, KEYPOINTS.index("nose")] == SEEN
    return int(truth.visibility[0, KEYPOINTS.index(name)])


def test_a_point_lands_where_the_pinhole_puts_it() -> None:
    drawn = empty()
    cover(drawn, (50, 20, 60, 30), 0, "left_upper_arm", 1.95)
    points_m = people({(0, "left_elbow"): (0.15, 2.0, 0.14)})
    truth = frame_truth(drawn, points_m, np.full((2, K), 0.1), camera(), 0)
    elbow = KEYPOINTS.index("left_elbow")
    np.testing.assert_allclose(truth.xy_px[0, elbow], [48 + 100 * 0.15 / 2, 32 - 100 * 0.14 / 2])
    assert truth.track_id.tolist() == [0]
    assert truth.visibility[0, elbow] == SEEN


def test_own_skin_just_before_a_joint_does_not_hide_it() -> None:
    drawn = empty()
    cover(drawn, (40, 24, 56, 40), 0, "left_forearm", 1.95)
    assert visibility_of(drawn, (0.0, 2.0, 0.0)) == SEEN


@pytest.mark.parametrize(
    ("person", "segment", "depth_m"),
    [
        (1, "left_forearm", 1.95),  # another's arm before it
        (-1, None, 1.5),  # furniture before it
        (0, "chest", 1.95),  # the own trunk before it
        (0, "left_forearm", 1.6),  # the own arm, but far before it
    ],
)
def test_what_is_before_a_joint_hides_it(person: int, segment: str | None, depth_m: float) -> None:
    drawn = empty()
    cover(drawn, (40, 24, 56, 40), person, segment, depth_m)
    assert visibility_of(drawn, (0.0, 2.0, 0.0)) == HIDDEN


def test_what_is_behind_a_joint_does_not_hide_it() -> None:
    drawn = empty()
    cover(drawn, (40, 24, 56, 40), 1, "chest", 2.5)
    assert visibility_of(drawn, (0.0, 2.0, 0.0)) == SEEN


@pytest.mark.parametrize("at", [(1.0, 2.0, 0.0), (-1.0, 2.0, 0.0), (0.0, 2.0, 0.7), (0.0, 2.0, -0.7), (0.0, -2.0, 0.0)])
def test_points_beside_the_picture_or_behind_the_camera_are_out_of_view(at: tuple[float, float, float]) -> None:
    assert visibility_of(empty(), at) == OUT_OF_VIEW


def test_people_without_a_seen_point_are_left_out_and_others_keep_their_ids() -> None:
    drawn = empty()
    cover(drawn, (40, 24, 56, 40), 1, "head", 1.9)
    points_m = people({(0, "nose"): (0.0, 2.5, 0.0), (1, "nose"): (0.0, 1.95, 0.0)})
    truth = frame_truth(drawn, points_m, np.full((2, K), 0.1), camera(), 0)
    assert truth.track_id.tolist() == [1]


def test_boxes_and_areas_of_what_is_seen() -> None:
    drawn = empty()
    cover(drawn, (10, 20, 30, 60), 0, "chest", 2.0)
    cover(drawn, (20, 10, 50, 40), 1, "chest", 1.0)  # over a corner of the other
    boxes, area_px2 = visible_extents(drawn.person, 3)
    np.testing.assert_array_equal(boxes[:2], [[10, 20, 30, 60], [20, 10, 50, 40]])
    np.testing.assert_array_equal(area_px2, [20 * 40 - 10 * 20, 30 * 30, 0])
    assert np.isnan(boxes[2]).all()


def test_full_boxes_end_at_the_edge_and_heads_do_not() -> None:
    drawn = empty()
    cover(drawn, (0, 24, 10, 40), 0, "head", 1.95)
    drawn.full_xyxy_px[0] = drawn.head_xyxy_px[0] = [-20.0, 24.0, 10.0, 90.0]
    points_m = people({(0, "nose"): (-0.9, 2.0, 0.0)})
    truth = frame_truth(drawn, points_m, np.full((2, K), 0.1), camera(), 0)
    np.testing.assert_array_equal(truth.full_xyxy_px, [[0, 24, 10, HEIGHT]])
    np.testing.assert_array_equal(truth.head_xyxy_px, [[-20, 24, 10, 90]])


def naked(model: BodyModel, body: Body) -> Mesh:
    segment = np.argsort(-model.skin, axis=1, kind="stable")[:, :BONES]
    share = np.take_along_axis(model.skin, segment, axis=1)
    one = np.ones((1, 3), np.float32)
    skin = Materials(one, one, np.array([Pattern.PLAIN], np.uint8), one[:, 0], np.eye(3, dtype=np.float32)[:1], one[:, 0])
    material = np.zeros(len(model.faces), np.uint8)
    return Mesh(body.rest_m, model.faces, segment.astype(np.uint8), share / share.sum(1, keepdims=True), material, skin)


def test_thickness_is_a_limbs_own(body_model: BodyModel) -> None:
    body = shape_body(body_model, (0.0, 0.67, 0.5, 0.5, 0.42, 0.5))
    within_m = dict(zip(KEYPOINTS, thickness_m(body, naked(body_model, body)), strict=True))
    assert 0.01 <= within_m["nose"] < 0.03  # a point of the skin: not seen through the head
    assert within_m["left_wrist"] < within_m["left_knee"] < within_m["left_hip"] < 0.22
    turned = np.tile(np.eye(3), (len(SEGMENTS), 1, 1))
    points_m = dict(zip(KEYPOINTS, keypoints_m(body, *pose_segments(body, turned, body.joints_m[0])), strict=True))
    back_of_head_m = body.rest_m[body_model.skin[:, SEGMENT["head"]] > 0.9, 1].max()
    assert back_of_head_m - points_m["nose"][1] > within_m["nose"] + 0.1


def seen_by(model: BodyModel, number: int, turn_deg: float) -> set[str]:
    """Keypoints of a dressed person, arms hanging down, that are seen; at 0 the person faces the camera, at 90 its left does."""
    person = make_person(model, number)
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    rotation = np.tile(np.eye(3), (len(SEGMENTS), 1, 1))
    rotation[0] = [[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]
    turned, joint_m = pose_segments(person.body, rotation, np.array([0, 5, person.body.sole_m]))
    still = Camera(
        200,
        400,
        np.array([800.0]),
        np.array([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]]),
        np.array([[0, 0, person.body.height_m / 2]]),
    )
    is_head = person.mesh.segment[: len(person.body.rest_m), 0] == SEGMENT["head"]
    one = np.ones(3, np.float32)
    light = Light(np.array([0, 0, 1], np.float32), one, one, 0.5)
    nothing = Plate(
        np.zeros((400, 200, 3), np.float32), np.full((400, 200), np.inf, np.float32), np.full((400, 200, 2), np.nan, np.float32)
    )
    painter = Painter(
        [person.mesh], turned[None, None], joint_m[None, None], person.body.joints_m[None], is_head, still, light, 0.0
    )
    points_m = keypoints_m(person.body, turned, joint_m)[None]
    truth = frame_truth(painter.draw(nothing, 0), points_m, thickness_m(person.body, person.mesh)[None], still, 0)
    return {KEYPOINTS[k] for k in np.flatnonzero(truth.visibility[0] == SEEN)}


FACE = {"nose", "left_eye", "right_eye"}
LIMBS = {f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")}


def shares(model: BodyModel, turn_deg: float) -> dict[str, float]:
    """By keypoint, share of some people of whom it is seen. Bags and hoods hide some, of some."""
    seen = [seen_by(model, number, turn_deg) for number in range(100, 116)]
    return {name: float(np.mean([name in one for one in seen])) for name in KEYPOINTS}


def test_clothes_hide_no_joint_that_faces_the_camera(body_model: BodyModel) -> None:
    front, back, left = (shares(body_model, turn_deg) for turn_deg in (0, 180, 90))
    assert {name: share for name, share in front.items() if name in LIMBS | FACE | {"neck", "head_top"} and share < 0.85} == {}
    assert {name: share for name, share in back.items() if name in LIMBS and share < 0.6} == {}
    assert max(back[name] for name in FACE) == 0
    near = {name for name in LIMBS | FACE if name.startswith("left_")}
    assert {name: share for name, share in left.items() if name in near and share < 0.75} == {}
    assert max(left[name] for name in ("right_shoulder", "right_hip", "right_eye", "right_ear")) <= 0.1
