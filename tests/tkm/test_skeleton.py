import dataclasses

import numpy as np
import pytest

from tkm.skeleton import COCO_17, MPII_16, POSETRACK_15, SKELETONS, convert


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


def standing(shift: float = 0.0) -> dict[str, tuple[float, float]]:
    """Somebody upright, from the front, feet at y = 17: what each keypoint of COCO is."""
    right = {
        "eye": (-0.3, 2.0), "ear": (-0.7, 2.0), "shoulder": (-2, 4.0), "elbow": (-2, 7.0), "wrist": (-2, 9.0),
        "hip": (-1, 10.0), "knee": (-1, 14.0), "ankle": (-1, 17.0),
    }  # fmt: skip
    person = {"nose": (shift, 2.5)}
    for name, (x, y) in right.items():
        person |= {f"right_{name}": (x + shift, y), f"left_{name}": (-x + shift, y)}
    return person


def posed(*people: dict[str, tuple[float, float]], skeleton=COCO_17, dtype=np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Positions, NaN for keypoints that are not told of, and scores k / 100."""
    xy = np.array([[person.get(name, (np.nan, np.nan)) for name in skeleton.keypoints] for person in people], dtype)
    return xy, np.tile(np.arange(len(skeleton.keypoints), dtype=dtype) / 100, (len(people), 1))


def without(person: dict, *names: str) -> dict:
    return {name: xy for name, xy in person.items() if name not in names}


def at(skeleton, xy: np.ndarray, name: str) -> list[float]:
    return xy[0, skeleton.keypoints.index(name)].tolist()


EARS, EYES = ("left_ear", "right_ear"), ("left_eye", "right_eye")


def test_neck_and_head_top_lie_on_the_line_from_shoulders_to_ears():
    xy, score = convert(*posed(standing()), COCO_17, POSETRACK_15)
    assert at(POSETRACK_15, xy, "neck") == pytest.approx([0, 4 - 0.3 * 2])
    assert at(POSETRACK_15, xy, "head_top") == pytest.approx([0, 4 - 1.7 * 2])
    expected = ((0.05 + 0.06) / 2 + (0.03 + 0.04) / 2) / 2  # of shoulders and ears
    assert score[0, POSETRACK_15.keypoints.index("neck")] == pytest.approx(expected)
    assert not np.isnan(xy).any()


def test_they_follow_a_head_that_leans():
    leaning = standing()
    for name in EARS:
        leaning[name] = (leaning[name][0] + 1, leaning[name][1])
    xy, _ = convert(*posed(leaning), COCO_17, POSETRACK_15)
    assert at(POSETRACK_15, xy, "head_top") == pytest.approx([1.7, 0.6])


@pytest.mark.parametrize(
    ("missing", "head_top"),
    [
        (("left_ear",), [-0.7 * 1.7, 0.6]),
        (EARS, [0, 4 - 1.5 * 2]),
        ((*EARS, *EYES), [0, 4 - 1.5 * 1.5]),
        (("left_shoulder",), [-2 + 1.7 * 2, 0.6]),
        ((*EARS, *EYES, "nose"), [np.nan, np.nan]),
        (("left_shoulder", "right_shoulder"), [np.nan, np.nan]),
    ],
)
def test_the_head_is_where_the_best_points_given_say(missing, head_top):
    both = posed(standing(5), without(standing(), *missing))
    xy, score = convert(*both, COCO_17, POSETRACK_15)
    assert at(POSETRACK_15, xy[1:], "head_top") == pytest.approx(head_top, nan_ok=True)
    assert at(POSETRACK_15, xy, "head_top") == pytest.approx([5, 0.6])  # nobody else's points matter
    assert np.isnan(score[1, POSETRACK_15.keypoints.index("head_top")]) == np.isnan(head_top[0])


def test_what_is_shared_comes_back_and_what_is_not_is_nan():
    xy, score = posed(standing())
    there, there_score = convert(xy, score, COCO_17, POSETRACK_15)
    back, back_score = convert(there, there_score, POSETRACK_15, COCO_17)
    lost = [COCO_17.keypoints.index(name) for name in (*EARS, *EYES)]
    kept = [k for k in range(17) if k not in lost]
    assert np.array_equal(back[:, kept], xy[:, kept])
    assert np.array_equal(back_score[:, kept], score[:, kept])
    assert np.isnan(back[:, lost]).all()
    assert np.isnan(back_score[:, lost]).all()


def test_a_skeleton_to_itself_changes_nothing_but_the_scores_of_what_is_not_given():
    xy, score = posed(without(standing(), "nose"))
    same, same_score = convert(xy, score, COCO_17, COCO_17)
    assert np.array_equal(same, xy, equal_nan=True)
    assert np.isnan(same_score[0, 0])
    assert np.array_equal(same_score[0, 1:], score[0, 1:])
    assert score[0, 0] == 0  # the argument is left alone


def test_pelvis_and_thorax_are_middles_and_need_both_sides():
    whole, lame = standing(), without(standing(), "left_hip", "right_shoulder")
    xy, score = convert(*posed(whole, lame), COCO_17, MPII_16)
    assert at(MPII_16, xy, "pelvis") == [0, 10]
    assert at(MPII_16, xy, "thorax") == [0, 4]
    assert score[0, MPII_16.keypoints.index("pelvis")] == pytest.approx(0.115)
    assert np.isnan(xy[1, [MPII_16.keypoints.index("pelvis"), MPII_16.keypoints.index("thorax")]]).all()


def test_neck_and_head_top_that_the_source_has_are_kept():
    known = standing() | {"neck": (0.1, 3.3), "head_top": (0.2, 0.1)}
    xy, _ = convert(*posed(known, skeleton=POSETRACK_15), POSETRACK_15, MPII_16)
    assert (at(MPII_16, xy, "neck"), at(MPII_16, xy, "head_top")) == ([0.1, 3.3], [0.2, 0.1])
    back, _ = convert(*posed(known, skeleton=MPII_16), MPII_16, POSETRACK_15)
    assert np.isnan(at(POSETRACK_15, back, "nose")).all()
    assert at(POSETRACK_15, back, "left_wrist") == [2, 9]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("P", [0, 3])
def test_shapes_and_dtypes_of_a_conversion(dtype, P):
    xy, score = np.zeros((P, 17, 2), dtype), np.zeros((P, 17), dtype)
    for target in SKELETONS:
        converted, converted_score = convert(xy, score, COCO_17, target)
        assert (converted.shape, converted.dtype) == ((P, len(target.keypoints), 2), dtype)
        assert (converted_score.shape, converted_score.dtype) == ((P, len(target.keypoints)), dtype)


def test_poses_of_another_skeleton_are_refused():
    with pytest.raises(ValueError, match=r"xy and score must be \(P, 15, 2\) and \(P, 15\) for posetrack_15, not \(1, 17, 2\)"):
        convert(*posed(standing()), POSETRACK_15, COCO_17)
