"""How people of rendered video move: on the ground, without sliding, apart from each other, and in view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tkm.synthetic.bodies.body import Body, BodyModel, keypoints_m, pose_segments, shape_body
from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.camera import Camera
from tkm.synthetic.motion.actions import seat_height_m
from tkm.synthetic.motion.choreography import Choreography, plan_motions
from tkm.synthetic.motion.limbs import measure
from tkm.synthetic.motion.motion import Motion
from tkm.synthetic.motion.rotations import about_x, about_z, pitch_roll_yaw, transpose
from tkm.synthetic.scenario import PRESETS, scenario_of

WIDTH_PX, HEIGHT_PX = 960, 540
SHAPES = (  # a man, a stout woman, a child, an old person
    (0.0, 0.67, 0.5, 0.5, 0.42, 0.5),
    (1.0, 0.67, 0.5, 0.9, 0.5, 0.5),
    (0.5, 0.33, 0.5, 0.5, 0.5, 0.5),
    (0.3, 1.0, 0.4, 0.6, 0.3, 0.5),
)


@pytest.fixture(scope="module")
def bodies(body_model: BodyModel) -> tuple[Body, ...]:
    return tuple(shape_body(body_model, shape) for shape in SHAPES)


def camera_of(frames: int, distance_m: float = 8.0) -> Camera:
    """A pinhole 1.7 m high that looks along +y, a bit down."""
    tilt = 0.06
    rotation = np.array([[1.0, 0, 0], [0, -np.sin(tilt), -np.cos(tilt)], [0, np.cos(tilt), -np.sin(tilt)]])
    position_m = np.tile([0.0, -distance_m, 1.7], (frames, 1))
    return Camera(WIDTH_PX, HEIGHT_PX, np.full(frames, 900.0), np.tile(rotation, (frames, 1, 1)), position_m)


def plan(
    bodies: tuple[Body, ...], preset: str, seed: int, people: int = 6, twins: int = 0, frames: int = 60, fps: float = 20.0
) -> tuple[Choreography, list[Body]]:
    """A choreography of the first bodies, repeated, the first 2 * `twins` of them in pairs."""
    cast = [bodies[number % len(bodies)] for number in range(people)]
    twin = [number ^ 1 if number < 2 * twins else None for number in range(people)]
    rng, style = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    return plan_motions(scenario_of(preset), camera_of(frames), cast, twin, frames, fps, rng, style), cast


def soles_m(body: Body, motion: Motion) -> list[np.ndarray]:
    """For the left and the right foot, (T, N, 3) vertices below the ankle in the world."""
    turned, joint_m = pose_segments(body, motion.rotation, motion.root_m)
    feet = []
    for side, sign in (("left", 1), ("right", -1)):
        foot = SEGMENT[f"{side}_foot"]
        below = (body.rest_m[:, 2] < body.joints_m[foot, 2]) & (sign * body.rest_m[:, 0] > 0)
        offset_m = body.rest_m[below] - body.joints_m[foot]
        feet.append(np.einsum("tij,vj->tvi", turned[:, foot], offset_m) + joint_m[:, None, foot])
    return feet


def middles_px(motion: Motion, camera: Camera) -> np.ndarray:
    return np.stack([camera.project(t, motion.root_m[t])[0] for t in range(len(camera))])


@pytest.mark.parametrize("preset", [*PRESETS, "crowd+dance"])
def test_feet_touch_the_ground_and_do_not_slide_on_it(bodies: tuple[Body, ...], preset: str) -> None:
    choreography, cast = plan(bodies, preset, seed=3)
    for body, motion in zip(cast, choreography.motions, strict=True):
        feet = soles_m(body, motion)
        lowest_m = np.stack([foot[..., 2].min(axis=1) for foot in feet])
        assert lowest_m.min() > -0.005
        if "run" not in motion.actions:
            assert lowest_m.min(axis=0).max() < 0.03
        for foot in feet:
            stands = (foot[1:, :, 2] < 0.004) & (foot[:-1, :, 2] < 0.004)
            slide_m = np.where(stands, np.linalg.norm(np.diff(foot[..., :2], axis=0), axis=2), 0)
            assert slide_m.max() < 0.03


@pytest.mark.parametrize("preset", ["crowd", "dance"])
def test_knees_bend_backwards_and_elbows_forwards(bodies: tuple[Body, ...], preset: str) -> None:
    choreography, cast = plan(bodies, preset, seed=5)
    for body, motion in zip(cast, choreography.motions, strict=True):
        turned, joint_m = pose_segments(body, motion.rotation, motion.root_m)
        for side in ("left", "right"):
            hip, knee, ankle = (joint_m[:, SEGMENT[f"{side}_{name}"]] for name in ("thigh", "shin", "foot"))
            # The hinge's left axis: a shin that swings back turns about it from the thigh.
            hinge = turned[:, SEGMENT[f"{side}_thigh"]] @ np.array([1.0, 0, 0])
            assert np.sum(np.cross(knee - hip, ankle - knee) * hinge, axis=1).min() > -1e-6
            elbow, fore = (
                SEGMENT[f"{side}_forearm"],
                body.joints_m[SEGMENT[f"{side}_hand"]] - body.joints_m[SEGMENT[f"{side}_forearm"]],
            )
            upper = body.joints_m[elbow] - body.joints_m[SEGMENT[f"{side}_upper_arm"]]
            axis = np.cross(fore, upper)  # at rest, where the elbow is bent as elbows bend
            bent = motion.rotation[:, elbow] @ fore
            assert np.sum(np.cross(bent, upper) * axis, axis=1).min() > -1e-6


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_nobody_walks_through_anybody(bodies: tuple[Body, ...], preset: str, seed: int) -> None:
    choreography, _ = plan(bodies, preset, seed, people=12 if preset == "crowd" else 6, twins=2 if preset != "easy" else 0)
    root_m = np.stack([motion.root_m[:, :2] for motion in choreography.motions])
    apart_m = np.linalg.norm(root_m[:, None] - root_m[None], axis=-1).min(axis=-1)
    assert apart_m[~np.eye(len(root_m), dtype=bool)].min() > 0.42


@pytest.mark.parametrize("preset", PRESETS)
def test_motion_has_no_jumps(bodies: tuple[Body, ...], preset: str) -> None:
    fps = 60.0
    choreography, _ = plan(bodies, preset, seed=2, frames=181, fps=fps, twins=1)
    for motion in choreography.motions:
        assert np.linalg.norm(np.diff(motion.root_m, axis=0), axis=1).max() * fps < 5.0
        turn = transpose(motion.rotation[:-1]) @ motion.rotation[1:]
        angle_rad = np.arccos(np.clip((np.trace(turn, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
        assert np.degrees(angle_rad.max()) * fps < 1500
        product = motion.rotation @ transpose(motion.rotation)
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-9)


def test_equal_seeds_give_equal_motion_and_others_do_not(bodies: tuple[Body, ...]) -> None:
    one, again, other = (plan(bodies, "crowd", seed)[0] for seed in (1, 1, 2))
    for motion, same in zip(one.motions, again.motions, strict=True):
        np.testing.assert_array_equal(motion.rotation, same.rotation)
        np.testing.assert_array_equal(motion.root_m, same.root_m)
    assert not np.allclose(one.motions[0].root_m, other.motions[0].root_m)


def test_the_style_changes_how_people_move(bodies: tuple[Body, ...]) -> None:
    def draw(style: int) -> Choreography:
        return plan_motions(
            scenario_of("easy"),
            camera_of(40),
            bodies,
            [None] * 4,
            40,
            20.0,
            np.random.default_rng(0),
            np.random.default_rng(style),
        )

    assert not np.allclose(draw(1).motions[0].rotation, draw(2).motions[0].rotation)


def test_fps_only_samples_the_motion(bodies: tuple[Body, ...]) -> None:
    slow, _ = plan(bodies, "crowd", seed=4, frames=40, fps=20.0)
    fast, _ = plan(bodies, "crowd", seed=4, frames=79, fps=40.0)
    for motion, finer in zip(slow.motions, fast.motions, strict=True):
        np.testing.assert_allclose(motion.root_m, finer.root_m[::2], atol=1e-9)
        np.testing.assert_allclose(motion.rotation, finer.rotation[::2], atol=1e-9)


@pytest.mark.parametrize(("frames", "fps"), [(1, 20.0), (2, 5.0), (7, 60.0), (90, 5.0)])
@pytest.mark.parametrize("preset", ["crowd", "dance"])
def test_clips_of_any_length(bodies: tuple[Body, ...], frames: int, fps: float, preset: str) -> None:
    choreography, cast = plan(bodies, preset, seed=0, people=5, twins=1, frames=frames, fps=fps)
    for body, motion in zip(cast, choreography.motions, strict=True):
        assert len(motion.root_m) == frames
        assert np.isfinite(motion.rotation).all()
        assert min(foot[..., 2].min() for foot in soles_m(body, motion)) > -0.005


@pytest.mark.parametrize("preset", PRESETS)
def test_people_are_in_view(bodies: tuple[Body, ...], preset: str) -> None:
    camera, shares = camera_of(60), []
    for seed in range(3):
        choreography, cast = plan(bodies, preset, seed, twins=1)
        for body, motion in zip(cast, choreography.motions, strict=True):
            points_m = keypoints_m(body, *pose_segments(body, motion.rotation, motion.root_m))
            seen = []
            for t in range(60):
                xy_px, depth_m = camera.project(t, points_m[t])
                seen.append(
                    ((depth_m > 0.5) & (xy_px > 0).all(axis=1) & (xy_px < (WIDTH_PX, HEIGHT_PX)).all(axis=1)).mean() > 0.3
                )
            assert any(seen)
            shares.append(np.mean(seen))
    assert np.mean(shares) > 0.8


def test_who_leaves_comes_back(bodies: tuple[Body, ...]) -> None:
    scenario = replace(scenario_of("easy"), walk=1, run=0, stand=0, wave=0, encounters=0, leaving=1.0)
    camera = camera_of(60)
    choreography = plan_motions(
        scenario, camera, bodies[:3], [None] * 3, 60, 20.0, np.random.default_rng(0), np.random.default_rng(1)
    )
    for body, motion in zip(bodies, choreography.motions, strict=False):
        points_m = keypoints_m(body, *pose_segments(body, motion.rotation, motion.root_m))
        seen = np.array([((x := camera.project(t, points_m[t])[0][:, 0]) > 0).any() & (x < WIDTH_PX).any() for t in range(60)])
        out = np.flatnonzero(~seen)
        assert len(out)
        assert seen[: out[0]].any()
        assert seen[out[-1] :].any()


def test_twins_pass_before_each_other(bodies: tuple[Body, ...]) -> None:
    camera, near = camera_of(60), []
    for seed in range(6):
        choreography, _ = plan(bodies, "twins", seed, people=2, twins=1)
        one, other = (middles_px(motion, camera) for motion in choreography.motions)
        near.append(np.abs(one - other)[:, 0].min() < 60)
    assert sum(near) >= 4


def test_who_sits_sits_on_the_seat_with_level_thighs(bodies: tuple[Body, ...]) -> None:
    scenario = replace(scenario_of("easy"), walk=0, run=0, stand=0, wave=0, sit=1)
    choreography = plan_motions(
        scenario, camera_of(60), bodies, [None] * 4, 60, 20.0, np.random.default_rng(0), np.random.default_rng(1)
    )
    assert len(choreography.seats) == 4
    for body, motion, seat in zip(bodies, choreography.motions, choreography.seats, strict=True):
        assert "sit" in motion.actions
        assert abs(seat.height_m - seat_height_m(measure(body))) < 0.03
        lowest = int(motion.root_m[:, 2].argmin())
        assert np.linalg.norm(motion.root_m[lowest, :2] - seat.xy_m) < 0.15
        assert 0.03 < motion.root_m[lowest, 2] - seat.height_m < 0.15
        _, joint_m = pose_segments(body, motion.rotation[lowest], motion.root_m[lowest])
        for side in ("left", "right"):
            hip, knee = joint_m[SEGMENT[f"{side}_thigh"]], joint_m[SEGMENT[f"{side}_shin"]]
            assert abs(knee[2] - hip[2]) < 0.1


def test_actions_follow_the_weights(bodies: tuple[Body, ...]) -> None:
    names = [name for seed in range(4) for motion in plan(bodies, "dance", seed)[0].motions for name in motion.actions[:1]]
    assert names.count("dance") > len(names) / 2
    assert "sit" not in names


def test_arms_hang_beside_the_body(bodies: tuple[Body, ...]) -> None:
    scenario = replace(scenario_of("easy"), walk=1, run=0, stand=0, wave=0, encounters=0)
    choreography = plan_motions(
        scenario, camera_of(60), bodies, [None] * 4, 60, 20.0, np.random.default_rng(0), np.random.default_rng(1)
    )
    for body, motion in zip(bodies, choreography.motions, strict=True):
        turned, joint_m = pose_segments(body, motion.rotation, motion.root_m)
        girth_m = measure(body).girth_m
        for side, sign in (("left", 1), ("right", -1)):
            wrist_m = joint_m[:, SEGMENT[f"{side}_hand"]] - motion.root_m
            inside = np.einsum("tji,tj->ti", turned[:, 0], wrist_m)
            beside = np.abs(inside[:, 1]) < 0.1
            assert (sign * inside[beside, 0] > girth_m).all()
            assert (wrist_m[:, 2] < 0.3 * body.height_m).all()


def test_rotations_turn_as_their_signs_say() -> None:
    np.testing.assert_allclose(about_x(0.3) @ [0, 0, 1], [0, -np.sin(0.3), np.cos(0.3)])  # forward
    np.testing.assert_allclose(about_z(np.pi / 2) @ [0, -1, 0], [1, 0, 0], atol=1e-12)  # to the left
    turn = pitch_roll_yaw(np.array([0.2, -0.4, 0.7]))
    np.testing.assert_allclose(turn @ transpose(turn), np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
