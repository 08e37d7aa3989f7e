"""Whole clips: their truth, and that equal specifications give equal pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tkm.geometry import Image
from tkm.synthetic.bodies.body import KEYPOINTS, BodyModel
from tkm.synthetic.bodies.segments import PARENTS, SEGMENTS
from tkm.synthetic.camera import Camera
from tkm.synthetic.clip import Clip, plan_clip
from tkm.synthetic.motion import choreography
from tkm.synthetic.motion.manner import Manner, draw_manner
from tkm.synthetic.scenario import PRESETS
from tkm.synthetic.spec import DOMAINS, ClipSpec
from tkm.synthetic.truth import HIDDEN, OUT_OF_VIEW, SEEN, FrameTruth

SMALL = ClipSpec(seed=11, number=0, preset="twins+camera", frames=8, fps=8, width_px=320, height_px=180)


def drawn(clip: Clip) -> tuple[list[Image], list[FrameTruth]]:
    pictures, truth = zip(*clip.frames(), strict=True)
    return list(pictures), list(truth)


@pytest.fixture(scope="module")
def clip(body_model: BodyModel) -> Clip:
    return plan_clip(SMALL, body_model)


@pytest.fixture(scope="module")
def small(clip: Clip) -> tuple[list[Image], list[FrameTruth]]:
    return drawn(clip)


def pixel(camera: Camera, t: int, point_m: np.ndarray) -> np.ndarray:
    """Where a pinhole puts a point of the world, written out."""
    x, y, z = camera.rotation[t] @ (point_m - camera.position_m[t])
    return np.array([camera.focal_px[t] * x / z + camera.width_px / 2, camera.focal_px[t] * y / z + camera.height_px / 2])


def keypoints_px(clip: Clip, model: BodyModel, p: int, t: int) -> np.ndarray:
    """Of the naked body, skinned vertex by vertex, through anny's regressor: (K, 2)."""
    body, motion = clip.people[p].body, clip.motions[p]
    turned, joint_m = [np.eye(3)] * len(SEGMENTS), [np.zeros(3)] * len(SEGMENTS)
    vertices_m = np.zeros((len(body.rest_m), 3))
    for s, parent in enumerate(PARENTS):
        if parent < 0:
            turned[s], joint_m[s] = motion.rotation[t, s], motion.root_m[t]
        else:
            turned[s] = turned[parent] @ motion.rotation[t, s]
            joint_m[s] = joint_m[parent] + turned[parent] @ (body.joints_m[s] - body.joints_m[parent])
        vertices_m += model.skin[:, [s]] * ((body.rest_m - body.joints_m[s]) @ turned[s].T + joint_m[s])
    return np.stack([pixel(clip.camera, t, point_m) for point_m in model.regressor.astype(np.float64) @ vertices_m])


def test_known_joints_are_where_the_truth_says_and_tracks_never_swap(
    body_model: BodyModel, clip: Clip, small: tuple[list[Image], list[FrameTruth]]
) -> None:
    checked = 0
    for t, truth in enumerate(small[1]):
        for p, xy_px in zip(truth.track_id, truth.xy_px, strict=True):
            np.testing.assert_allclose(xy_px, keypoints_px(clip, body_model, p, t), atol=0.02)
            checked += 1
    assert checked >= len(clip.people)


def test_points_are_out_of_view_where_they_are_beside_the_picture_and_only_there(
    small: tuple[list[Image], list[FrameTruth]],
) -> None:
    for truth in small[1]:
        inside = ((truth.xy_px >= 0) & (truth.xy_px < [SMALL.width_px, SMALL.height_px])).all(axis=2)
        np.testing.assert_array_equal(truth.visibility == OUT_OF_VIEW, ~inside)
        assert (truth.visibility == SEEN).any(axis=1).all()
    assert any((truth.visibility == HIDDEN).any() for truth in small[1])


def test_boxes_hold_what_they_are_of(small: tuple[list[Image], list[FrameTruth]]) -> None:
    for truth in small[1]:
        visible, full = truth.visible_xyxy_px, truth.full_xyxy_px
        # The depth buffer has two samples a pixel, so a box around samples may end half a pixel beyond that around vertices.
        assert (visible[:, :2] >= full[:, :2] - 0.5).all()
        assert (visible[:, 2:] <= full[:, 2:] + 0.5).all()
        assert (truth.area_px2 > 0).all()
        assert (truth.area_px2 <= (visible[:, 2:] - visible[:, :2]).prod(axis=1)).all()
        seen = (truth.visibility == SEEN)[..., None]
        assert (np.where(seen, truth.xy_px, np.inf).min(axis=1) >= visible[:, :2] - 2).all()
        assert (np.where(seen, truth.xy_px, -np.inf).max(axis=1) <= visible[:, 2:] + 2).all()
        head = np.concatenate([truth.xy_px[:, [KEYPOINTS.index(name)]] for name in ("nose", "left_eye", "head_top")], axis=1)
        assert (head.min(axis=1) >= truth.head_xyxy_px[:, :2] - 1).all()
        assert (head.max(axis=1) <= truth.head_xyxy_px[:, 2:] + 1).all()


def test_equal_specifications_give_equal_pixels(body_model: BodyModel, small: tuple[list[Image], list[FrameTruth]]) -> None:
    again, truth = drawn(plan_clip(SMALL, body_model))
    np.testing.assert_array_equal(again, small[0])
    for one, other in zip(truth, small[1], strict=True):
        np.testing.assert_array_equal(one.xy_px, other.xy_px)


@pytest.mark.parametrize("change", [{"seed": 12}, {"number": 1}, {"preset": "camera+twins"}, {"domain": "val"}])
def test_other_specifications_give_other_clips(body_model: BodyModel, clip: Clip, change: dict[str, object]) -> None:
    other = plan_clip(replace(SMALL, **change), body_model)
    assert [person.number for person in other.people] != [person.number for person in clip.people]


def test_no_two_domains_share_a_person_or_a_way_of_moving(body_model: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cast: dict[str, set[int]] = {domain: set() for domain in DOMAINS}
    strides: dict[str, set[float]] = {domain: set() for domain in DOMAINS}

    def noted(style: np.random.Generator) -> Manner:
        manner = draw_manner(style)
        strides[spec.domain].add(manner.stride)
        return manner

    monkeypatch.setattr(choreography, "draw_manner", noted)
    for domain in DOMAINS:
        for number in range(3):
            spec = ClipSpec(seed=1, number=number, preset="dance", domain=domain, frames=1, people=4)
            cast[domain] |= {role.person for role in plan_clip(spec, body_model).roles}
    for drawn_by in (cast, strides):
        assert [len(of_domain) for of_domain in drawn_by.values()] == [12, 12, 12]
        assert len(set[object]().union(*drawn_by.values())) == 36


@pytest.mark.parametrize("preset", [*PRESETS, "crowd+dance+camera"])
def test_every_preset_keeps_to_its_numbers(body_model: BodyModel, preset: str) -> None:
    spec = replace(SMALL, preset=preset, frames=1)
    scenario = spec.scenario()
    planned = plan_clip(spec, body_model)
    assert scenario.people[0] <= len(planned.people) <= scenario.people[1]
    assert scenario.crf[0] <= planned.crf <= scenario.crf[1]
    assert all(role.twin is None or planned.twin[role.twin] == role.track_id for role in planned.roles)
    (picture, truth), *others = planned.frames()
    assert not others
    assert picture.shape == (180, 320, 3)
    assert picture.std() > 10  # something is drawn
    assert len(truth) >= 1


def test_people_and_twins_can_be_chosen(body_model: BodyModel) -> None:
    planned = plan_clip(replace(SMALL, preset="easy", frames=1, people=6, twins=1.0), body_model)
    assert len(planned.people) == 6
    assert all(twin is not None for twin in planned.twin)


def test_a_photo_is_the_background(body_model: BodyModel) -> None:
    red = np.zeros((90, 120, 3), np.uint8)
    red[..., 0] = 200
    spec = replace(SMALL, preset="easy", frames=1, people=2)
    (picture, _), *_ = plan_clip(spec, body_model, red).frames()
    is_red = (picture[..., 0] > 100) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    assert is_red.mean() > 0.4
