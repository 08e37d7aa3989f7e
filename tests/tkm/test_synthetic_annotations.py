"""The annotation files of rendered clips: what is read from them is what was true, in both skeletons."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tkm.datasets.files import read_document
from tkm.datasets.ids import FIRST_OTHER
from tkm.datasets.sequence import Sequence
from tkm.metrics.scores import pool, score_video
from tkm.skeleton import COCO_17, POSETRACK_15, Skeleton
from tkm.synthetic.annotations import annotation_document, first_image_id, truth_sequence
from tkm.synthetic.bodies.body import KEYPOINTS
from tkm.synthetic.clip import Role
from tkm.synthetic.spec import ClipSpec
from tkm.synthetic.truth import FrameTruth

NAME = "000004_twins_s7"
SPEC = ClipSpec(seed=7, number=4, preset="twins", frames=3, width_px=200, height_px=120)
ROLES = (Role(0, 31, None, ("walk",)), Role(1, 32, 0, ("walk", "sit")))
NOSE, LEFT_WRIST, HEAD_TOP = (KEYPOINTS.index(name) for name in ("nose", "left_wrist", "head_top"))


def frame(people: list[int]) -> FrameTruth:
    """People 60 px apart whose nose is seen, left wrist is hidden and head top is above the picture."""
    rng = np.random.default_rng(5)
    number = np.array(people, np.int64)
    left = 20.0 + 60 * number[:, None]
    place = rng.uniform(0, 1, (len(KEYPOINTS), 2)) * (25, 100)
    xy_px = np.concatenate([left, np.zeros_like(left)], axis=1)[:, None] + place
    xy_px[:, HEAD_TOP, 1] = -4
    visibility = np.full(xy_px.shape[:2], 2, np.int8)
    visibility[:, LEFT_WRIST], visibility[:, HEAD_TOP] = 1, 0
    box = np.concatenate([left, np.zeros_like(left), left + 25, np.full_like(left, 100.00049)], axis=1)
    head = np.concatenate([left + 5, np.full_like(left, -5), left + 15, np.full_like(left, 10)], axis=1)
    return FrameTruth(number, xy_px, visibility, box, box - (0, 0, 5, 0), head, np.full(len(people), 1234.5))


TRUTH = [frame([0, 1]), frame([]), frame([1])]


def read(skeleton: Skeleton) -> Sequence:
    document = annotation_document(NAME, SPEC, ROLES, TRUTH, skeleton, first_image_id(NAME, 4))
    (found,) = read_document(json.loads(json.dumps(document, allow_nan=False)), NAME)
    return found


@pytest.mark.parametrize("skeleton", [COCO_17, POSETRACK_15])
def test_files_tell_every_person_and_point_as_it_is(skeleton: Skeleton) -> None:
    found = read(skeleton)
    people = found.people
    assert found.skeleton is skeleton
    assert found.frame_names == tuple(f"images/{NAME}/00000{t}.jpg" for t in range(3))
    assert found.size_px.tolist() == [[200, 120]] * 3
    assert people.frame.tolist() == [0, 0, 2]
    assert people.track_id.tolist() == [0, 1, 1]
    slot = [KEYPOINTS.index(name) for name in skeleton.keypoints]
    true_xy_px = np.concatenate([one.xy_px for one in TRUTH])[:, slot]
    in_view = np.concatenate([one.visibility for one in TRUTH])[:, slot] > 0
    assert np.isnan(people.xy_px[~in_view]).all()
    np.testing.assert_allclose(people.xy_px[in_view], true_xy_px[in_view], atol=6e-4)
    np.testing.assert_array_equal(people.visibility, np.concatenate([one.visibility for one in TRUTH])[:, slot])
    for values, field in ((people.box_xyxy_px, "full_xyxy_px"), (people.head_xyxy_px, "head_xyxy_px")):
        np.testing.assert_allclose(values, np.concatenate([getattr(one, field) for one in TRUTH]), atol=6e-4)
    assert people.area_px2.tolist() == [1234.5] * 3
    assert ("head_top" in skeleton.keypoints) == (skeleton is POSETRACK_15)


def test_reading_gives_the_sequence_to_the_last_bit() -> None:
    written = truth_sequence(NAME, SPEC, TRUTH, COCO_17, first_image_id(NAME, 4))
    found = read(COCO_17)
    for field in ("frame", "track_id", "score", "box_xyxy_px", "head_xyxy_px", "area_px2", "xy_px", "visibility"):
        np.testing.assert_array_equal(getattr(found.people, field), getattr(written.people, field))
    np.testing.assert_array_equal(found.image_id, written.image_id)


def test_files_also_tell_what_can_be_seen_who_plays_and_how_the_clip_is_made_again() -> None:
    document = annotation_document(NAME, SPEC, ROLES, TRUTH, POSETRACK_15, 0)
    assert [entry["bbox_visible"] for entry in document["annotations"]] == [[x, 0, 20, 100] for x in (20, 80, 80)]
    assert document["tracks"][1] == {"track_id": 1, "person": 32, "twin": 0, "actions": ("walk", "sit")}
    assert ClipSpec(**document["synthesis"]) == SPEC


def test_truth_given_back_as_predictions_is_without_fault() -> None:
    truth = read(POSETRACK_15)
    scores = pool([score_video(truth, truth, "official", -np.inf)])
    has_truth = [k for k, name in enumerate(POSETRACK_15.keypoints) if name != "head_top"]
    for metric in (scores.ap_before_threshold, scores.mota, scores.idf1, scores.hota):
        np.testing.assert_allclose(metric[has_truth], 100)


def test_no_two_clips_of_a_series_share_numbers_of_pictures_and_json_readers_take_them() -> None:
    names = [f"{number:06d}_{preset}_s7" for number in range(300) for preset in ("easy", "crowd")]
    first = np.array([first_image_id(name, int(name[:6])) for name in names])
    same_series = first[::2]
    assert (np.diff(np.sort(same_series)) >= 10_000).all()
    assert first.min() >= FIRST_OTHER
    assert first.max() + 10_000 < 2**53
