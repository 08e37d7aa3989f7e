from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tkm.synthetic.bodies.body import BodyModel, Double, pose_segments, shape_body
from tkm.synthetic.bodies.mesh import Materials, Mesh
from tkm.synthetic.bodies.segments import SEGMENT, SEGMENTS
from tkm.synthetic.camera import Camera
from tkm.synthetic.drawing.painter import Painter
from tkm.synthetic.drawing.plate import Drawn, Light, Plate

H, W, FOCAL_PX, EYE_M = 90, 160, 150.0, 1.5  # a camera at the origin, that high, and looks along +y
S = len(SEGMENTS)
OUT_OF_WORLD_TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
SIDE_M = 0.4
FAR = np.float32(50)


def _light(**changes: float) -> Light:
    towards = np.array([0.0, -0.6, 0.8], np.float32)
    return Light(towards, np.full(3, 0.7, np.float32), np.full(3, 0.3, np.float32), changes.get("hardness", 0.7))


def _camera(frames: int = 3, **changes: Double) -> Camera:
    still = {
        "focal_px": np.full(frames, FOCAL_PX),
        "rotation": np.tile(OUT_OF_WORLD_TO_CAMERA, (frames, 1, 1)),
        "position_m": np.tile([0.0, 0.0, EYE_M], (frames, 1)),
    }
    return Camera(W, H, **(still | changes))


def _materials(colour: tuple[float, float, float] = (0.8, 0.8, 0.8)) -> Materials:
    grey = np.array([colour], np.float32)
    one = np.ones(1, np.float32)
    return Materials(grey, grey, np.zeros(1, np.uint8), one, np.array([[0, 0, 1]], np.float32), 0 * one)


def _cube(segment: str = "chest", colour: tuple[float, float, float] = (0.8, 0.8, 0.8), grid: int = 6) -> Mesh:
    """A cube around the origin, SIDE_M wide, of fine triangles seen from outside, that moves with one segment."""
    steps = np.linspace(-0.5, 0.5, grid + 1)
    u, v = (axis.ravel() for axis in np.meshgrid(steps, steps))
    vertices, faces = [], []
    a, b = np.meshgrid(np.arange(grid), np.arange(grid))
    low = (b * (grid + 1) + a).ravel()
    quads = np.stack([low, low + 1, low + grid + 2, low + grid + 1], axis=1)
    for axis in range(3):
        for sign in (-1, 1):
            points = np.empty((len(u), 3))
            points[:, axis], points[:, (axis + 1) % 3], points[:, (axis + 2) % 3] = sign * 0.5, u, v
            corners = quads[:, ::sign] + len(vertices) * len(u)
            vertices.append(points * SIDE_M)
            faces += [corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]
    rest_m, triangles = np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32)
    share = np.zeros((len(rest_m), 4), np.float32)
    share[:, 0] = 1
    moved_by = np.full((len(rest_m), 4), SEGMENT[segment], np.uint8)
    return Mesh(rest_m, triangles, moved_by, share, np.zeros(len(triangles), np.uint8), _materials(colour))


def _painter(meshes: list[Mesh], at_m: Double, camera: Camera | None = None, shutter: float = 0.0) -> Painter:
    """Cubes whose middles are at_m, (P, T, 3), in the world. Half of a cube's vertices are its head's."""
    P, T = at_m.shape[:2]
    turned = np.tile(np.eye(3), (P, T, S, 1, 1))
    joint_m = np.repeat(at_m[:, :, None], S, axis=2)
    vertices = len(meshes[0].rest_m) if meshes else 4
    head = np.arange(vertices) < vertices / 2
    return Painter(meshes, turned, joint_m, np.zeros((P, S, 3)), head, camera or _camera(T), _light(), shutter)


def _still(*places: tuple[float, float, float], frames: int = 3) -> Double:
    return np.repeat(np.array(places, np.float64).reshape(-1, 1, 3), frames, axis=1)


def _plate(depth_m: float = np.inf, level: float = 0.2) -> Plate:
    return Plate(
        np.full((H, W, 3), level, np.float32), np.full((H, W), depth_m, np.float32), np.full((H, W, 2), np.nan, np.float32)
    )


def _ground_plate() -> Plate:
    x, y = np.meshgrid(np.arange(W) + 0.5 - W / 2, np.arange(H) + 0.5 - H / 2)
    with np.errstate(divide="ignore"):
        depth_m = np.where(y > 0, EYE_M * FOCAL_PX / y, np.inf)
    ground_m = np.where((y > 0)[..., None], np.stack([x * depth_m / FOCAL_PX, depth_m], axis=2), np.nan)
    return replace(_plate(), depth_m=depth_m.astype(np.float32), ground_m=ground_m.astype(np.float32))


def _extent(is_on: np.ndarray) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in pixels of the samples that are on."""
    rows, columns = np.flatnonzero(is_on.any(axis=1)), np.flatnonzero(is_on.any(axis=0))
    return columns[0] / 2, rows[0] / 2, (columns[-1] + 1) / 2, (rows[-1] + 1) / 2


def _equal(one: Drawn, other: Drawn) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in vars(one))


def test_a_cube_covers_the_pixels_and_has_the_depth_that_the_pinhole_gives_it() -> None:
    drawn = _painter([_cube()], _still((0.1, 4.0, EYE_M + 0.1))).draw(_plate(), 1)
    front_m = 4.0 - SIDE_M / 2
    box = np.array([-0.1, -0.3, 0.3, 0.1]) * FOCAL_PX / front_m + np.array([W, H, W, H]) / 2
    assert _extent(drawn.person == 0) == pytest.approx(box, abs=0.5)
    assert drawn.full_xyxy_px[0] == pytest.approx(box, abs=0.01)
    x1, y1, x2, y2 = (2 * box + [2, 2, -2, -2]).astype(int)
    assert (drawn.person[y1:y2, x1:x2] == 0).all()  # no cracks
    assert drawn.depth_m[y1:y2, x1:x2] == pytest.approx(front_m, abs=1e-3)
    assert np.isinf(drawn.depth_m[drawn.person < 0]).all()


def test_depth_on_a_slanting_surface_is_right_in_perspective() -> None:
    camera = _camera(position_m=np.tile([0.0, 0.0, EYE_M], (3, 1)))
    drawn = _painter([_cube(grid=1)], _still((1.2, 2.0, EYE_M)), camera).draw(_plate(), 1)
    row = H  # at the height of the eye: the cube's left side, x = 1.0, is seen as well as its front
    columns = np.flatnonzero(drawn.person[row] == 0)
    x = (columns + 0.5) / 2 - W / 2
    side_m = 1.0 * FOCAL_PX / x
    is_side = side_m < 2.0 + SIDE_M / 2
    is_side &= side_m > 2.0 - SIDE_M / 2 + 0.01
    assert is_side.sum() > 10
    assert drawn.depth_m[row, columns[is_side]] == pytest.approx(side_m[is_side], abs=1e-3)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_of_two_hides_the_further(order: tuple[int, int]) -> None:
    places = [(0.0, 3.0, EYE_M), (0.1, 5.0, EYE_M)]
    meshes = [_cube("chest", (0.9, 0.1, 0.1)), _cube("head", (0.1, 0.1, 0.9))]
    drawn = _painter([meshes[k] for k in order], _still(*(places[k] for k in order))).draw(_plate(), 0)
    near, far = order.index(0), order.index(1)
    middle = drawn.person[H - 8 : H + 8, W - 8 : W + 8]
    assert (middle == near).all()
    assert (drawn.segment[drawn.person == near] == SEGMENT["chest"]).all()
    assert (drawn.segment[drawn.person == far] == SEGMENT["head"]).all()
    assert (drawn.segment[drawn.person < 0] == 255).all()
    red, _, blue = drawn.colour[H // 2, W // 2]
    assert red > 5 * blue


def test_what_stands_before_a_person_hides_them() -> None:
    plate = _plate()
    plate.depth_m[:, : W // 2] = 2
    plate.depth_m[:, W // 2 :] = 8
    alone = _painter([_cube()], _still((0.0, 4.0, EYE_M)))
    drawn = alone.draw(plate, 1)
    assert (drawn.person[:, :W] == -1).all()
    assert (drawn.depth_m[:, :W] == 2).all()
    assert (drawn.person[H, W : W + 10] == 0).all()
    assert np.array_equal(drawn.colour[:, : W // 2], plate.colour[:, : W // 2])
    assert drawn.full_xyxy_px[0] == pytest.approx(alone.draw(_plate(), 1).full_xyxy_px[0])


def test_the_share_of_an_edge_pixel_that_is_covered_mixes_the_colours() -> None:
    drawn = _painter([_cube()], _still((0.0, 4.2, EYE_M))).draw(_plate(level=0.0), 1)  # its front is 15 pixels wide
    covered = (drawn.person == 0).reshape(H, 2, W, 2).mean(axis=(1, 3))
    full = drawn.colour[H // 2, W // 2, 0]
    is_part = (covered == 0.5) & (np.arange(H) == H // 2)[:, None]
    assert is_part.any()
    assert drawn.colour[..., 0][is_part] == pytest.approx(full / 2, rel=0.1)


def test_boxes_are_those_of_the_vertices_and_of_the_heads_vertices(body_model: BodyModel) -> None:
    body = shape_body(body_model, (0.0, 0.67, 0.5, 0.5, 0.42, 0.5))
    order = np.argsort(-body_model.skin, axis=1, kind="stable")[:, :4]
    share = np.take_along_axis(body_model.skin, order, axis=1)
    share /= share.sum(axis=1, keepdims=True)
    faces = body_model.faces
    mesh = Mesh(body.rest_m, faces, order.astype(np.uint8), share, np.zeros(len(faces), np.uint8), _materials())
    head = body_model.skin[:, SEGMENT["head"]] > 0.5
    rotation, root_m = np.tile(np.eye(3), (1, S, 1, 1)), np.array([[0.4, 6.5, body.sole_m]])
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    rotation[0, SEGMENT["left_upper_arm"]] = turn
    turned, joint_m = pose_segments(body, rotation, root_m)
    painter = Painter([mesh], turned[None], joint_m[None], body.joints_m[None], head, _camera(1), _light(), 0.0)
    drawn = painter.draw(_plate(), 0)

    moved = np.einsum("sij,vsj->vsi", turned[0], body.rest_m[:, None] - body.joints_m) + joint_m[0]
    world_m = (np.take_along_axis(moved, order[:, :, None], axis=1) * share[:, :, None]).sum(axis=1)
    xy_px = _camera(1).project(0, world_m)[0]
    used = np.unique(faces)
    assert drawn.full_xyxy_px[0] == pytest.approx(np.concatenate([xy_px[used].min(axis=0), xy_px[used].max(axis=0)]), abs=0.01)
    assert drawn.head_xyxy_px[0] == pytest.approx(np.concatenate([xy_px[head].min(axis=0), xy_px[head].max(axis=0)]), abs=0.01)
    assert _extent(drawn.person == 0) == pytest.approx(drawn.full_xyxy_px[0], abs=1)
    mouth = {SEGMENT["head"], SEGMENT["neck"]}
    assert {SEGMENT["left_hand"], SEGMENT["right_shin"]} | mouth <= set(np.unique(drawn.segment).tolist())


def test_surfaces_that_face_the_lamp_are_brighter() -> None:
    camera = _camera(position_m=np.tile([0.0, 0.0, EYE_M + 1.0], (3, 1)))
    drawn = _painter([_cube()], _still((0.0, 4.0, EYE_M)), camera).draw(_plate(level=0.0), 1)
    rows = np.flatnonzero(drawn.colour[:, W // 2, 0] > 0)
    top, front = drawn.colour[rows[1], W // 2, 0], drawn.colour[rows[-2], W // 2, 0]
    assert top > front > 0


def test_shadows_darken_the_ground_by_the_feet_away_from_the_lamp_and_nowhere_far() -> None:
    plate = _ground_plate()
    drawn = _painter([_cube()], _still((0.0, 7.0, SIDE_M / 2))).draw(plate, 1)
    kept = np.where(np.isfinite(plate.depth_m), drawn.colour[..., 0] / plate.colour[..., 0], 1)
    is_free = (drawn.person < 0).reshape(H, 2, W, 2).all(axis=(1, 3)) & np.isfinite(plate.depth_m)
    x, y = plate.ground_m[..., 0], plate.ground_m[..., 1]
    before = is_free & (np.abs(x) < 0.1) & (y > 6.6) & (y < 6.8)
    far = is_free & (np.hypot(x, y - 7) > 1.5)
    beside = is_free & (np.abs(y - 7.0) < 0.15) & (np.abs(np.abs(x) - 0.27) < 0.03)
    assert before.any()
    assert beside.any()
    assert kept[before].max() < 0.97
    assert kept[beside].mean() < 0.95
    assert (kept[far] == 1).all()
    assert kept[is_free].max() <= 1


def test_shadows_lie_on_the_side_away_from_the_lamp() -> None:
    plate = _ground_plate()
    at_m = _still((0.0, 7.0, SIDE_M / 2), frames=1)
    lamp_on_the_left = Light(np.array([-0.6, 0, 0.8], np.float32), np.full(3, 0.7, np.float32), np.full(3, 0.3, np.float32), 0.8)
    joint_m = np.repeat(at_m[:, :, None], S, axis=2)
    turned, rest_m = np.tile(np.eye(3), (1, 1, S, 1, 1)), np.zeros((1, S, 3))
    painter = Painter([_cube()], turned, joint_m, rest_m, np.ones(4, np.bool_), _camera(1), lamp_on_the_left, 0.0)
    drawn = painter.draw(plate, 0)
    kept, (x, y) = drawn.colour[..., 0] / plate.colour[..., 0], np.moveaxis(plate.ground_m, 2, 0)
    at_side = np.abs(y - 7) < 0.15
    lit, dark = (at_side & (np.abs(x - middle) < 0.04) for middle in (-0.38, 0.38))
    assert lit.any()
    assert kept[lit].min() > 0.95
    assert kept[dark].max() < 0.75


def test_a_moving_person_is_smeared_along_the_motion_and_keeps_its_light() -> None:
    at_m = _still((0.0, 4.0, EYE_M))
    at_m[0, :, 0] = [-0.3, 0.0, 0.3]
    sharp = _painter([_cube()], at_m).draw(_plate(20.0, 0.0), 1)
    smeared = _painter([_cube()], at_m, shutter=0.8).draw(_plate(20.0, 0.0), 1)
    assert smeared.colour.sum() == pytest.approx(sharp.colour.sum(), rel=0.02)
    lit_sharp, lit_smeared = (drawn.colour[..., 0] > 1e-6 for drawn in (sharp, smeared))
    length_px = 0.3 * FOCAL_PX / 3.8 * 0.8
    grown = lit_smeared.any(axis=0).sum() - lit_sharp.any(axis=0).sum()
    assert grown == pytest.approx(length_px, abs=2)
    assert np.array_equal(lit_smeared.any(axis=1), lit_sharp.any(axis=1))
    for name in ("person", "segment", "depth_m", "full_xyxy_px", "head_xyxy_px"):
        assert np.array_equal(getattr(sharp, name), getattr(smeared, name))


def test_nothing_that_stands_still_is_smeared() -> None:
    at_m = _still((0.0, 4.0, EYE_M))
    plate = _plate(20.0)
    plate.colour[:, ::2] = 0.8
    assert _equal(_painter([_cube()], at_m, shutter=0.0).draw(plate, 1), _painter([_cube()], at_m, shutter=0.9).draw(plate, 1))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_turning_camera_smears_the_plate_its_own_way(axis: int) -> None:
    angles = np.radians([-3.0, 0.0, 3.0])
    c, s = np.cos(angles), np.sin(angles)
    o, i = np.zeros(3), np.ones(3)
    pan = [[c, o, s], [o, i, o], [-s, o, c]]
    tilt = [[i, o, o], [o, c, -s], [o, s, c]]
    turn = np.moveaxis(np.array(pan if axis == 0 else tilt), 2, 0)
    camera = _camera(rotation=turn @ OUT_OF_WORLD_TO_CAMERA)
    plate = _plate(20.0, 0.0)
    plate.colour[H // 2, W // 2] = 1.0
    colour = _painter([], np.empty((0, 3, 3)), camera, shutter=0.7).draw(plate, 1).colour[..., 0]
    assert colour.sum() == pytest.approx(1, abs=1e-3)
    across, along = np.ptp(np.argwhere(colour > 1e-6), axis=0)[:: 1 if axis == 0 else -1]
    assert along == pytest.approx(FOCAL_PX * np.tan(np.radians(3)) * 0.7, abs=1.5)
    assert across <= 2  # a tile's middle is a little off the picture's


def test_equal_input_gives_equal_bits_in_any_order_of_frames() -> None:
    at_m = _still((0.0, 4.0, EYE_M), (0.2, 4.5, EYE_M - 0.5))
    at_m[:, :, 0] += np.linspace(-0.2, 0.2, 3)
    plate, meshes = _ground_plate(), [_cube(), _cube("head", (0.2, 0.5, 0.3))]
    first, second = (_painter(meshes, at_m, shutter=0.5) for _ in range(2))
    forth = [first.draw(plate, t) for t in (0, 1, 2)]
    back = [second.draw(plate, t) for t in (2, 1, 0)][::-1]
    assert all(_equal(one, other) for one, other in zip(forth, back, strict=True))
    assert not np.array_equal(forth[0].colour, forth[1].colour)


def test_without_people_there_is_the_plate() -> None:
    plate = _ground_plate()
    drawn = _painter([], np.empty((0, 3, 3)), shutter=0.5).draw(plate, 1)
    assert np.array_equal(drawn.colour, plate.colour)
    assert (drawn.person == -1).all()
    assert np.array_equal(drawn.depth_m[::2, 1::2], plate.depth_m)
    assert drawn.full_xyxy_px.shape == drawn.head_xyxy_px.shape == (0, 4)


def test_who_is_behind_the_camera_has_no_box_and_who_is_beside_the_picture_has_one() -> None:
    plate = _plate()
    drawn = _painter([_cube()] * 3, _still((0.0, -4.0, EYE_M), (0.0, 0.1, EYE_M), (9.0, 4.0, EYE_M))).draw(plate, 1)
    assert np.isnan(drawn.full_xyxy_px[:2]).all()
    assert np.isnan(drawn.head_xyxy_px[:2]).all()
    assert drawn.full_xyxy_px[2, 0] > W
    assert not (drawn.person == 0).any()
    assert not (drawn.person == 2).any()
    assert np.isfinite(drawn.colour).all()


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="1 meshes and 3 frames"):
        _painter([_cube()], _still((0.0, 4.0, 1.0), (0.0, 5.0, 1.0)), _camera(3))
    small = Plate(np.zeros((9, 16, 3), np.float32), np.ones((9, 16), np.float32), np.zeros((9, 16, 2), np.float32))
    with pytest.raises(ValueError, match="90 x 160"):
        _painter([_cube()], _still((0.0, 4.0, 1.0))).draw(small, 0)
