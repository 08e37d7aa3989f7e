"""What is around people: places, clutter, seats, and how they move in the picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tkm.synthetic.camera import Camera
from tkm.synthetic.motion.motion import Seat
from tkm.synthetic.scenario import scenario_of
from tkm.synthetic.scenery.camera_path import plan_camera
from tkm.synthetic.scenery.furniture import seat_solids
from tkm.synthetic.scenery.lights import plan_light
from tkm.synthetic.scenery.scenery import plan_scenery

CROWD = scenario_of("crowd")
MOVING = scenario_of("crowd+camera")
AWAY_M = 0.45  # things are at least so far from people's feet


def walks(people, frames, rng):
    start, end = rng.uniform([-2.5, -1.0], [2.5, 2.0], (2, people, 1, 2))
    return start + (end - start) * np.linspace(0, 1, frames)[:, None]


def planned(seed=0, scenario=CROWD, frames=12, size=(320, 180), photo=None, seats=(), ground_m=None):
    rng = np.random.default_rng(seed)
    camera = plan_camera(scenario, frames, 20.0, *size, rng)
    ground_m = walks(4, frames, rng) if ground_m is None else ground_m
    return plan_scenery(scenario, camera, ground_m, seats, plan_light(rng), photo, rng), ground_m


def nearest(obstacles, camera):
    return min(obstacles, key=lambda obstacle: np.linalg.norm(obstacle.xy_m - camera.position_m[0, :2]))


def pixels_of(plate, xy_px):
    column, row = np.floor(xy_px).astype(int).T
    height, width = plate.depth_m.shape
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return column[seen], row[seen], seen


@pytest.mark.parametrize("seed", range(5))
def test_plates_are_light_of_a_natural_exposure_everywhere(seed):
    plate = planned(seed)[0].plate(0)
    assert np.isfinite(plate.colour).all()
    assert plate.colour.min() >= 0
    assert 70 < 255 * (np.clip(plate.colour, 0, 1) ** (1 / 2.2)).mean() < 170
    assert plate.colour.std() > 0.05
    assert (plate.depth_m > 0).all()


def test_a_still_camera_s_plate_is_made_once():
    scenery, _ = planned()
    assert scenery.plate(0) is scenery.plate(11)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scenario", [CROWD, MOVING])
def test_ground_and_depth_agree_with_the_camera(seed, scenario):
    scenery, _ = planned(seed, scenario)
    for t in (0, 11):
        plate = scenery.plate(t)
        row, column = np.nonzero(np.isfinite(plate.ground_m[..., 0]))
        assert len(row) > 1000
        places_m = np.column_stack([plate.ground_m[row, column], np.zeros(len(row))]).astype(np.float64)
        xy_px, depth_m = scenery.camera.project(t, places_m)
        np.testing.assert_allclose(xy_px, np.column_stack([column, row]) + 0.5, atol=0.01)
        np.testing.assert_allclose(plate.depth_m[row, column], depth_m, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_frames_of_a_moving_camera_show_the_same_things_at_the_same_places(seed):
    scenery, _ = planned(seed, MOVING, frames=40, size=(640, 360))
    camera, first, last = scenery.camera, scenery.plate(0), scenery.plate(39)
    row, column = np.mgrid[4:356:3, 4:636:3].reshape(2, -1)
    near = np.isfinite(first.depth_m[row, column])
    row, column = row[near], column[near]
    seen = np.column_stack([column + 0.5 - 320, row + 0.5 - 180, np.full(len(row), camera.focal_px[0])]) / camera.focal_px[0]
    places_m = (seen * first.depth_m[row, column, None]) @ camera.rotation[0] + camera.position_m[0]
    xy_px, depth_m = camera.project(39, places_m)
    column, row, inside = pixels_of(last, xy_px)
    assert inside.sum() > 500
    off = np.abs(last.depth_m[row, column] / depth_m[inside] - 1)
    assert (off < 0.02).mean() > 0.93  # the rest are edges


def test_the_camera_of_a_scenery_must_keep_its_place():
    camera = planned(0, MOVING)[0].camera
    walking = Camera(
        camera.width_px, camera.height_px, camera.focal_px, camera.rotation, camera.position_m + np.arange(12)[:, None] * 0.01
    )
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="place"):
        plan_scenery(MOVING, walking, walks(2, 12, rng), (), plan_light(rng), None, rng)


@pytest.mark.parametrize("seed", range(6))
def test_clutter_stands_on_the_ground_in_nobody_s_way(seed):
    scenery, ground_m = planned(seed, replace(CROWD, clutter=(5, 5)))
    assert len(scenery.obstacles) >= 1
    for obstacle in scenery.obstacles:
        assert obstacle.distance_m(ground_m.reshape(-1, 2)).min() >= AWAY_M
    # What is drawn stands where the boxes are, up from the ground, and no ground is seen in the middle of something solid.
    camera, plate = scenery.camera, scenery.plate(0)
    row, column = np.nonzero(np.isfinite(plate.depth_m) & np.isnan(plate.ground_m[..., 0]))
    seen = np.column_stack([column + 0.5 - 160, row + 0.5 - 90, np.full(len(row), camera.focal_px[0])]) / camera.focal_px[0]
    places_m = (seen * plate.depth_m[row, column, None]) @ camera.rotation[0] + camera.position_m[0]
    for obstacle in scenery.obstacles:
        xy_px, _ = camera.project(0, np.append(obstacle.xy_m, obstacle.height_m / 2))
        if obstacle is nearest(scenery.obstacles, camera) and ((xy_px > 0) & (xy_px < [320, 180])).all():
            own = places_m[obstacle.distance_m(places_m[:, :2]) < 0.03]
            assert len(own) > 3
            assert own[:, 2].min() > -0.02


def test_things_stand_before_people_where_the_scenario_always_has_some():
    hidden = {}
    for least in (0, 2):
        places = [planned(seed, replace(CROWD, clutter=(least, 2)), size=(64, 36)) for seed in range(10)]
        hides = [
            obstacle.hides(scenery.camera.position_m[0], ground_m.reshape(-1, 2), 0.5).any()
            for scenery, ground_m in places
            for obstacle in scenery.obstacles
        ]
        hidden[least] = sum(hides)
    assert hidden[2] > hidden[0]


def test_paths_that_leave_and_missing_people_are_walked_around_too():
    ground_m = walks(3, 12, np.random.default_rng(1))
    ground_m[0] *= 3
    ground_m[1, 4:8] = np.nan
    scenery, _ = planned(1, ground_m=ground_m)
    feet = ground_m[np.isfinite(ground_m).all(axis=-1)]
    assert all(obstacle.distance_m(feet).min() >= AWAY_M for obstacle in scenery.obstacles)
    assert np.isfinite(scenery.plate(0).colour).all()


def test_things_hide_people_for_a_while_but_nobody_for_most_of_the_time():
    hidden = []
    for seed in range(8):
        scenery, ground_m = planned(seed, replace(CROWD, clutter=(4, 4)), frames=20, size=(160, 90))
        plate = scenery.plate(0)
        for feet_m in ground_m:
            place = [np.column_stack([feet_m, np.full(len(feet_m), z)]) for z in (0.4, 1.6)]
            behind = []
            for points_m in place:
                xy_px, depth_m = scenery.camera.project(0, points_m)
                column, row, seen = pixels_of(plate, xy_px)
                behind.append(np.zeros(len(feet_m), bool))
                behind[-1][seen] = plate.depth_m[row, column] < depth_m[seen] - 0.3
            hidden.append([behind[0].mean(), (behind[0] & behind[1]).mean()])
    legs, whole = np.array(hidden).T
    assert (legs > 0).mean() > 0.2
    assert whole.max() <= 0.55
    assert np.mean(whole) < 0.1


@pytest.mark.parametrize("seed", range(8))
def test_a_seat_has_its_top_at_the_height_and_its_back_behind(seed):
    seat = Seat(np.array([0.5, 1.0]), 0.47, np.array([0.6, -0.8]))
    corners_m = seat_solids(seat, np.random.default_rng(seed)).corners_m.reshape(-1, 3)
    ahead_m = (corners_m[:, :2] - seat.xy_m) @ seat.facing
    assert corners_m[:, 2].min() == pytest.approx(0, abs=0.031)
    under = ahead_m > -0.205
    assert corners_m[under, 2].max() == pytest.approx(0.47)
    assert ahead_m.max() < 0.3


def test_a_seat_is_drawn_where_the_person_sits():
    seat = Seat(np.array([0.0, 0.0]), 0.45, np.array([0.0, -1.0]))
    scenery, _ = planned(2, replace(CROWD, clutter=(0, 0)), size=(640, 360), seats=[seat], ground_m=np.zeros((1, 12, 2)))
    xy_px, depth_m = scenery.camera.project(0, np.array([[0.0, 0.0, 0.45]]))
    (column,), (row,), _ = pixels_of(scenery.plate(0), xy_px)
    assert scenery.plate(0).depth_m[row, column] == pytest.approx(depth_m[0], abs=0.15)


def checked_photo():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (9, 16, 3), np.uint8), (640, 360), interpolation=cv2.INTER_CUBIC)


def test_a_photo_is_what_is_behind_people():
    photo = checked_photo()
    scenery, _ = planned(0, replace(CROWD, clutter=(0, 0)), size=(640, 360), photo=photo)
    plate = scenery.plate(0)
    assert np.isinf(plate.depth_m).all()
    value = photo / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(plate.colour, linear, atol=2e-3)
    below = np.isfinite(plate.ground_m[..., 0])
    assert below[-1].all()
    assert not below[0].all() or scenery.camera.rotation[0, 2, 2] < -0.2


def test_a_photo_turns_with_the_camera():
    photo = checked_photo()
    scenery, _ = planned(4, replace(MOVING, clutter=(0, 0), pan_deg=(6, 6)), frames=60, size=(640, 360), photo=photo)
    camera, first, last = scenery.camera, scenery.plate(0), scenery.plate(59)
    far_m = camera.position_m[0] + np.array([[x, 1000.0, z] for x in (-150, -50, 50, 150) for z in (-60, 20, 60)])
    (a, _), (b, _) = camera.project(0, far_m), camera.project(59, far_m)
    assert np.abs(a - b).max() > 3
    smooth = [cv2.GaussianBlur(plate.colour, (0, 0), 1.5) for plate in (first, last)]
    seen = ((a > 2) & (a < [638, 358]) & (b > 2) & (b < [638, 358])).all(axis=1)
    assert seen.sum() >= 4
    colours = [image[tuple(np.floor(xy[seen]).astype(int)[:, ::-1].T)] for image, xy in zip(smooth, (a, b), strict=True)]
    np.testing.assert_allclose(colours[0], colours[1], atol=0.08)


def test_things_stand_before_a_photo():
    scenery, _ = planned(3, replace(CROWD, clutter=(4, 4)), size=(640, 360), photo=checked_photo())
    near = np.isfinite(scenery.plate(0).depth_m)
    assert 0.002 < near.mean() < 0.7


@pytest.mark.parametrize("size", [(64, 48), (180, 320), (641, 359)])
@pytest.mark.parametrize("photo", [None, np.full((50, 200, 3), 128, np.uint8)])
def test_any_size_and_a_single_frame(size, photo):
    scenery, _ = planned(1, MOVING, frames=1, size=size, photo=photo)
    assert scenery.plate(0).colour.shape == (size[1], size[0], 3)
    assert np.isfinite(scenery.plate(0).colour).all()


def test_equal_seeds_give_equal_plates():
    one, other, third = planned(7, MOVING)[0], planned(7, MOVING)[0], planned(8, MOVING)[0]
    for t in (0, 11):
        for name in ("colour", "depth_m", "ground_m"):
            np.testing.assert_array_equal(getattr(one.plate(t), name), getattr(other.plate(t), name))
    assert (one.plate(0).colour != third.plate(0).colour).any()


@pytest.mark.parametrize("seed", range(20))
def test_lights_come_from_above_and_expose_well(seed):
    light = plan_light(np.random.default_rng(seed))
    assert np.linalg.norm(light.towards) == pytest.approx(1, abs=1e-5)
    assert light.towards[2] > 0.2
    assert 0.5 < (light.colour * light.towards[2] + light.ambient).mean() < 1.6
    assert 0 <= light.hardness <= 1
