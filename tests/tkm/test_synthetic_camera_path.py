"""Cameras of clips: still, panning, zooming, shaking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tkm.synthetic.scenario import scenario_of
from tkm.synthetic.scenery.camera_path import plan_camera

STILL = scenario_of("easy")


def planned(seed=0, frames=60, fps=20.0, size=(960, 540), **changes):
    return plan_camera(replace(STILL, **changes), frames, fps, *size, np.random.default_rng(seed))


def test_a_still_camera_is_exactly_still():
    camera = planned()
    assert len(camera) == 60
    assert (camera.rotation == camera.rotation[0]).all()
    assert (camera.focal_px == camera.focal_px[0]).all()
    assert (camera.position_m == camera.position_m[0]).all()


@pytest.mark.parametrize("seed", range(8))
def test_people_at_the_origin_are_seen_at_a_useful_size(seed):
    camera = planned(seed)
    xy_px, depth_m = camera.project(0, np.array([[0, 0, 0], [0, 0, 1.7]]))
    assert (depth_m > 4).all()
    assert camera.position_m[0, 1] < -4
    # Of somebody 1.7 m high, seen from somewhat above.
    assert STILL.height[0] - 0.03 < (xy_px[0, 1] - xy_px[1, 1]) / 540 < STILL.height[1] + 0.03
    assert (xy_px > 0).all()
    assert (xy_px < [960, 540]).all()
    assert np.hypot(*camera.position_m[0, :2]) == pytest.approx(np.clip(np.hypot(*camera.position_m[0, :2]), *STILL.distance_m))


@pytest.mark.parametrize("size", [(960, 540), (540, 960), (640, 640)])
@pytest.mark.parametrize("preset", ["crowd", "twins+dance"])
def test_wide_pictures_of_many_people_and_narrow_ones_show_them_large_enough(size, preset):
    for seed in range(6):
        camera = plan_camera(scenario_of(preset), 1, 20.0, *size, np.random.default_rng(seed))
        xy_px, _ = camera.project(0, np.array([[0, 0, 0], [0, 0, 1.7]]))
        assert 0.27 < (xy_px[0, 1] - xy_px[1, 1]) / size[1] < 0.55


@pytest.mark.parametrize("seed", range(8))
def test_rotations_keep_the_picture_upright_and_unmirrored(seed):
    camera = planned(seed, pan_deg=(10, 10), shake_px=(3, 3))
    np.testing.assert_allclose(camera.rotation @ camera.rotation.transpose(0, 2, 1), np.tile(np.eye(3), (60, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(camera.rotation), 1)
    left, _ = camera.project(0, np.array([-1.0, 0, 0]))
    right, _ = camera.project(0, np.array([1.0, 0, 0]))
    assert left[0] < right[0]


@pytest.mark.parametrize("seed", range(12))
def test_a_pan_turns_by_at_most_what_is_asked_and_smoothly(seed):
    camera = planned(seed, frames=200, pan_deg=(14, 14))
    forward = camera.rotation[:, 2]
    heading = np.degrees(np.arctan2(forward[:, 0], forward[:, 1]))
    middle = np.degrees(np.arctan2(-camera.position_m[0, 0], -camera.position_m[0, 1]))
    assert np.abs(heading - middle).max() <= 14 + 1e-6
    assert np.ptp(heading) > 14
    assert np.abs(np.diff(heading)).max() < 25 / 20
    np.testing.assert_allclose(forward[:, 2], forward[0, 2])


def test_a_zoom_changes_the_focal_length_by_its_share_and_nothing_else():
    cameras = [planned(seed, frames=200, zoom=(0.3, 0.3)) for seed in range(8)]
    for camera in cameras:
        assert (camera.rotation == camera.rotation[0]).all()
        assert 1.2 < camera.focal_px.max() / camera.focal_px.min() <= 1.3 + 1e-9


def test_a_shake_has_about_the_asked_deviation_in_the_picture():
    moved = []
    for seed in range(10):
        camera = planned(seed, frames=400, shake_px=(2.0, 2.0))
        middle, _ = camera.project(0, np.zeros(3))
        xy_px = np.stack([camera.project(t, np.array([0, 0, 1.0]))[0] for t in range(len(camera))])
        moved.append(xy_px.std(axis=0))
        assert np.isfinite(middle).all()
    np.testing.assert_allclose(np.mean(moved, axis=0), 2.0, rtol=0.25)


def test_motion_is_a_function_of_time_that_frames_only_sample():
    slow = planned(3, frames=30, fps=10, pan_deg=(8, 8), zoom=(0.3, 0.3), shake_px=(2, 2))
    fast = planned(3, frames=60, fps=20, pan_deg=(8, 8), zoom=(0.3, 0.3), shake_px=(2, 2))
    np.testing.assert_allclose(fast.rotation[::2], slow.rotation, atol=1e-12)
    np.testing.assert_allclose(fast.focal_px[::2], slow.focal_px)


@pytest.mark.parametrize("size", [(320, 180), (1080, 1920), (1920, 1080)])
def test_any_size_and_a_single_frame(size):
    camera = planned(1, frames=1, size=size, pan_deg=(5, 5), zoom=(0.2, 0.2), shake_px=(1, 1))
    assert (camera.width_px, camera.height_px) == size
    xy_px, _ = camera.project(0, np.array([0, 0, 1.0]))
    assert ((xy_px > 0) & (xy_px < size)).all()


def test_equal_seeds_give_equal_cameras():
    one, other = planned(5, pan_deg=(4, 14), shake_px=(1, 3)), planned(5, pan_deg=(4, 14), shake_px=(1, 3))
    assert (one.rotation == other.rotation).all()
    assert not (one.position_m == planned(6, pan_deg=(4, 14), shake_px=(1, 3)).position_m).all()
