import dataclasses

import numpy as np
import pytest

from tkm.skeleton import COCO_17


def test_coco_names_in_the_order_of_the_annotations():
    assert len(COCO_17.keypoints) == 17
    assert COCO_17.keypoints[0] == "nose"
    assert COCO_17.keypoints[9] == "left_wrist"
    assert COCO_17.keypoints[16] == "right_ankle"


def test_flip_exchanges_left_and_right_by_name_and_twice_is_nothing():
    mirrored = [COCO_17.keypoints[k] for k in COCO_17.flip_order]
    swapped = [
        name.replace("left", "?").replace("right", "left").replace("?", "right") for name in COCO_17.keypoints
    ]
    assert mirrored == swapped
    assert [COCO_17.flip_order[k] for k in COCO_17.flip_order] == list(range(17))


def test_every_keypoint_is_on_a_limb_and_the_drawing_is_symmetric():
    assert {k for limb in COCO_17.limbs for k in limb} == set(range(17))
    limbs = {frozenset(limb) for limb in COCO_17.limbs}
    assert {frozenset(COCO_17.flip_order[k] for k in limb) for limb in limbs} == limbs


def test_both_sides_are_placed_as_exactly():
    assert np.array_equal(COCO_17.oks_sigmas, COCO_17.oks_sigmas[list(COCO_17.flip_order)])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("keypoints", ("nose",) * 17),
        ("limbs", ((0, 17),)),
        ("flip_pairs", ((-1, 2),)),
        ("oks_sigmas", np.ones(16, np.float32)),
    ],
)
def test_an_impossible_skeleton_names_its_field(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(COCO_17, **{field: value})
