import json
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tkm.datasets import posetrack18
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import first_image_ids, posetrack_image_id, split_posetrack_image_id
from tkm.datasets.sequence import Sequence
from tkm.skeleton import COCO_17, POSETRACK_15

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NOSE, NECK, HEAD_TOP = (POSETRACK_15.keypoints.index(name) for name in ("nose", "neck", "head_top"))
RIGHT_ANKLE = POSETRACK_15.keypoints.index("right_ankle")


def person(image_id: int, number: int = 0, **fields_of_person) -> dict:
    """A person whose keypoint slots are at (10 slot + 1, 10 slot + 2), seen."""
    keypoints = [value for slot in range(17) for value in (10 * slot + 1, 10 * slot + 2, 1)]
    return {"id": number, "image_id": image_id, "category_id": 1, "keypoints": keypoints, "track_id": number, **fields_of_person}


def document(images: int = 2, people: tuple[dict, ...] = ()) -> dict:
    return {
        "categories": [{"id": 1, "name": "person", "keypoints": list(posetrack18.KEYPOINTS)}],
        "images": [
            {"id": 20000020000 + t, "file_name": f"images/val/000002_bonn_test/{t:06d}.jpg", "vid_id": "000002"}
            for t in range(images)
        ],
        "annotations": list(people),
    }


def changed(part: str, n: int, **values) -> dict:
    """A document of two frames and two people with fields of one entry replaced; None takes the field away."""
    made = document(2, (person(20000020000), person(20000020001, 1)))
    made[part][n].update(values)
    made[part][n] = {field: value for field, value in made[part][n].items() if value is not None}
    return made


def assert_same(a: object, b: object) -> None:
    """Equal field by field; arrays to the last bit, NaN equal to NaN."""
    for field in fields(a):  # type: ignore[arg-type]
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name == "people":
            assert_same(x, y)
        elif field.name == "ignore_regions":
            assert [[p.tolist() for p in polygons] for polygons in x] == [[p.tolist() for p in polygons] for polygons in y]
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, field.name
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), field.name
        else:
            assert x == y, field.name


def again(sequence: Sequence, **options) -> Sequence:
    text = json.dumps(posetrack18.write(sequence, **options), allow_nan=False)
    return posetrack18.read(json.loads(text), sequence.name)


def test_keypoints_are_taken_by_name():
    sequence = posetrack18.read(document(1, (person(20000020000),)), "000002_bonn_test")
    assert sequence.skeleton is POSETRACK_15
    xy_px = sequence.people.xy_px[0]
    assert xy_px[NOSE].tolist() == [1, 2]
    assert xy_px[NECK].tolist() == [11, 12]
    assert xy_px[HEAD_TOP].tolist() == [21, 22]
    assert xy_px[RIGHT_ANKLE].tolist() == [161, 162]


def test_another_order_of_names_is_followed():
    made = document(1, (person(20000020000),))
    made["categories"][0]["keypoints"] = list(COCO_17.keypoints)
    sequence = posetrack18.read(made, "x")
    assert sequence.skeleton is COCO_17
    assert sequence.people.xy_px[0, 16].tolist() == [161, 162]
    assert posetrack18.write(sequence)["categories"][0]["keypoints"] == list(COCO_17.keypoints)


def test_a_point_of_zeros_is_not_given_and_a_hidden_one_with_coordinates_is():
    someone = person(20000020000)
    someone["keypoints"][:6] = [0, 0, 0, 5, 0, 0]
    people = posetrack18.read(document(1, (someone,)), "x").people
    assert np.isnan(people.xy_px[0, NOSE]).all()
    assert people.xy_px[0, NECK].tolist() == [5, 0]
    assert people.visibility[0, NECK] == 0


def test_what_is_not_told_is_nan_and_boxes_have_two_corners():
    scores = [n / 100 for n in range(17)]
    told = person(20000020000, 1, scores=scores, score=0.5, bbox=[1, 2, 3, 4], bbox_head=[5, 6, 7, 8])
    bare = person(20000020000, 2, scores=[])
    del bare["track_id"]
    people = posetrack18.read(document(1, (told, bare)), "x").people
    assert people.box_xyxy_px[0].tolist() == [1, 2, 4, 6]
    assert people.head_xyxy_px[0].tolist() == [5, 6, 12, 14]
    assert people.keypoint_score[0, RIGHT_ANKLE] == 0.16
    assert people.score[0] == 0.5
    assert np.isnan(people.box_xyxy_px[1]).all()
    assert np.isnan(people.keypoint_score[1]).all()
    assert people.track_id.tolist() == [1, -1]


def test_frames_keep_the_order_of_the_file_and_people_follow_them():
    made = document(2, (person(20000020000, 7), person(20000020001, 8), person(20000020000, 9)))
    made["images"].reverse()
    sequence = posetrack18.read(made, "x")
    assert sequence.image_id.tolist() == [20000020001, 20000020000]
    assert sequence.people.frame.tolist() == [0, 1, 1]
    assert sequence.people.track_id.tolist() == [8, 7, 9]


@pytest.mark.parametrize(
    ("x", "y", "polygons"),
    [
        ([[0, 4, 4], [9, 8, 7]], [[0, 0, 4], [1, 2, 3]], [[[0, 0], [4, 0], [4, 4]], [[9, 1], [8, 2], [7, 3]]]),
        ([0, 4, 4], [0, 0, 4], [[[0, 0], [4, 0], [4, 4]]]),
        ([], [], []),
    ],
)
def test_ignored_regions_are_polygons_in_a_list_or_one_alone(x, y, polygons):
    made = changed("images", 1, ignore_regions_x=x, ignore_regions_y=y, is_labeled=False, width=640, height=480)
    sequence = posetrack18.read(made, "x")
    assert [polygon.tolist() for polygon in sequence.ignore_regions[1]] == polygons
    assert sequence.ignore_regions[0] == ()
    assert sequence.is_labeled.tolist() == [True, False]
    assert sequence.size_px.tolist() == [[0, 0], [640, 480]]
    assert_same(sequence, again(sequence))


@pytest.mark.parametrize(
    ("part", "n", "values", "message"),
    [
        ("annotations", 1, {"image_id": 5}, r"a\.json: annotations\[1\]\.image_id must be the id of one of the images, not 5"),
        ("annotations", 0, {"image_id": None}, r"annotations\[0\]\.image_id is missing"),
        ("annotations", 0, {"keypoints": None}, r"annotations\[0\]\.keypoints is missing: a list of 51 finite numbers"),
        ("annotations", 1, {"keypoints": [1] * 50}, r"annotations\[1\]\.keypoints must be a list of 51 finite numbers"),
        ("annotations", 1, {"keypoints": ["1"] * 51}, r"annotations\[1\]\.keypoints must be a list of 51 finite numbers"),
        ("annotations", 1, {"scores": [0.5] * 15}, r"annotations\[1\]\.scores must be a list of 17 finite numbers"),
        ("annotations", 1, {"score": float("nan")}, r"annotations\[1\]\.score must be a finite number, not nan"),
        ("annotations", 1, {"bbox": [1, 2, 3]}, r"annotations\[1\]\.bbox must be a list of 4 finite numbers"),
        ("annotations", 0, {"track_id": 1.5}, r"annotations\[0\]\.track_id must be a whole number, not 1\.5"),
        ("annotations", 0, {"track_id": True}, r"annotations\[0\]\.track_id must be a whole number"),
        ("annotations", 0, {"track_id": 2**70}, r"annotations\[0\]\.track_id must be a whole number of 64 bits"),
        ("images", 1, {"file_name": None}, r"images\[1\]\.file_name is missing"),
        ("images", 1, {"file_name": 3}, r"images\[1\]\.file_name must be a string, not 3"),
        ("images", 1, {"id": 20000020000}, r"images\[1\]\.id must be another number than that of a\.json: images\[0\]"),
        ("images", 0, {"is_labeled": "yes"}, r"images\[0\]\.is_labeled must be true or false, not 'yes'"),
        ("images", 0, {"ignore_regions_x": [[1, 2]], "ignore_regions_y": []}, r"images\[0\]\.ignore_regions_y must be as many"),
        ("images", 0, {"ignore_regions_x": [[1, 2, 3]], "ignore_regions_y": [[1, 2]]}, r"polygon\[0\]\.ignore_regions_y must be"),
        ("images", 0, {"ignore_regions_x": [[1, 2, 3]]}, r"images\[0\]: ignore_regions_y is missing"),
        ("images", 1, {"file_name": "other/000001.jpg"}, r"images must be of one folder .* not of 2: 000002_bonn_test, other"),
        ("categories", 0, {"keypoints": ["nose", "tail"]}, r"categories\[0\]\.keypoints must hold all the names of a known"),
        ("categories", 0, {"keypoints": None}, r"categories\[0\]\.keypoints must be a list of different names"),
    ],
)
def test_what_does_not_fit_is_told_by_entry_and_field(part, n, values, message):
    with pytest.raises(DatasetError, match=message):
        posetrack18.read(changed(part, n, **values), "a.json")


@pytest.mark.parametrize("field", ["images", "annotations", "categories"])
def test_a_missing_list_is_named(field):
    made = document()
    del made[field]
    with pytest.raises(DatasetError, match=f"a.json: {field} is missing"):
        posetrack18.read(made, "a.json")


def test_a_written_sequence_reads_back_to_the_last_bit():
    rng = np.random.default_rng(0)
    people = []
    for n in range(300):
        someone = person(20000020000 + n % 2, n, score=rng.random(), bbox_head=rng.normal(0, 300, 4).tolist())
        someone |= {"scores": rng.random(17).tolist(), "bbox": (rng.normal(0, 1, 4) * 10.0 ** rng.integers(-3, 4, 4)).tolist()}
        someone["keypoints"] = [value for xy in rng.normal(100, 300, (17, 2)).tolist() for value in (*xy, n % 3)]
        someone["keypoints"][3 * (n % 17) :: 3] = [0.0] * len(someone["keypoints"][3 * (n % 17) :: 3])
        people.append(someone)
    sequence = posetrack18.read(document(2, tuple(people)), "000002_bonn_test")
    assert_same(sequence, again(sequence))
    assert posetrack18.write(again(sequence)) == posetrack18.write(sequence)


def test_a_written_file_has_what_the_official_evaluator_asks_for():
    sequence = posetrack18.read(document(2, (person(20000020001, 3), person(20000020001, 5))), "000002_bonn_test")
    made = posetrack18.write(replace(sequence, image_id=np.full(2, -1)))
    (category,) = made["categories"]
    assert category["name"] == "person"
    assert category["keypoints"] == list(posetrack18.KEYPOINTS)
    assert [image["id"] for image in made["images"]] == [20000020000, 20000020001]
    assert all(image["frame_id"] == image["id"] and image["vid_id"] == "000002" for image in made["images"])
    assert all(image["nframes"] == 2 and image["has_no_densepose"] is True for image in made["images"])
    assert [someone["id"] for someone in made["annotations"]] == [2000002000100, 2000002000101]
    assert [someone["track_id"] for someone in made["annotations"]] == [3, 5]
    assert [len(someone["keypoints"]) for someone in made["annotations"]] == [51, 51]
    ears = made["annotations"][0]["keypoints"][9:15]
    assert ears == [0] * 6


def test_people_without_a_track_get_a_free_number_when_asked():
    untracked = [person(20000020000, n) for n in range(3)]
    for someone in untracked[:2]:
        del someone["track_id"]
    untracked[2]["track_id"] = 0
    sequence = posetrack18.read(document(1, tuple(untracked)), "x")
    assert again(sequence).people.track_id.tolist() == [-1, -1, 0]
    assert again(sequence, number_untracked=True).people.track_id.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("ids", "message"), [((4, 4), "track_id 4 stands twice in frame 0"), ((1, 10_000), "track_id 10000 must be at most 9999")]
)
def test_track_ids_that_the_evaluator_refuses_are_not_written(ids, message):
    sequence = posetrack18.read(document(1, tuple(person(20000020000, n) for n in ids)), "x")
    with pytest.raises(DatasetError, match=message):
        posetrack18.write(sequence)


def test_a_crowd_of_more_than_a_hundred_still_has_ids_of_its_own():
    crowd = [person(20000020000 + t, n) for t in range(2) for n in range(150)]
    made = posetrack18.write(posetrack18.read(document(2, tuple(crowd)), "x"))
    assert len({someone["id"] for someone in made["annotations"]}) == 300


def test_predictions_without_scores_of_keypoints_stay_without():
    sequence = posetrack18.read(document(1, (person(20000020000, scores=[]),)), "x")
    assert posetrack18.write(sequence)["annotations"][0]["scores"] == []


@pytest.mark.parametrize(
    ("name", "frame", "number"),
    [
        ("000002_bonn_test", 3, 20000020003),
        ("099273730_bonn_test", 32, 1012737300032),
        ("012834_mpii_test", 0, 10128340000),
        ("000001_mpiinew_test", 4, 30000010004),
        ("000001_mpiinew", 4, 30000010004),
        ("holiday", 0, None),
        ("000002_bonnet_test", 0, None),
        ("000002_bonn_test", 10_000, None),
    ],
)
def test_official_numbers_of_frames(name, frame, number):
    assert posetrack_image_id(name, frame) == number


def test_a_number_tells_its_frame_where_only_one_sequence_can_have_it():
    assert split_posetrack_image_id(20000020003) == ("bonn", 2, 3)
    assert split_posetrack_image_id(10128340000) == ("mpii", 12834, 0)
    assert split_posetrack_image_id(1012737300032) == ("bonn", 99273730, 32)
    assert split_posetrack_image_id(39128970000) is None  # bonn 1912897 or mpiinew 912897
    assert split_posetrack_image_id(785) is None


def test_numbers_of_other_sequences_never_meet():
    first = first_image_ids({"b": 25_000, "a": 1, "c": 0, "000002_bonn_test": 5})
    assert first == first_image_ids({"000002_bonn_test": 5, "c": 0, "a": 1, "b": 25_000})
    taken = [number for name, T in (("a", 1), ("b", 25_000)) for number in range(first[name], first[name] + T)]
    assert len(set(taken)) == 25_001
    assert min(taken) > posetrack_image_id("999999999_bonn_test", 9_999)
    sequence = posetrack18.read(document(2), "holiday")
    made = posetrack18.write(replace(sequence, image_id=np.full(2, -1)), first_image_id=first["b"])
    assert [image["id"] for image in made["images"]] == [first["b"], first["b"] + 1]


@pytest.mark.skipif(not (DATA / "bonn").is_dir(), reason=f"{DATA}/bonn is not there: real sequences, which we may not copy")
@pytest.mark.parametrize("kind", ["gt", "pred", "detections"])
def test_real_files_read_and_come_back(kind):
    files = sorted((DATA / "bonn" / kind).glob("*.json"))
    assert len(files) == 15
    for path in files:
        made = json.loads(path.read_text())
        before = deepcopy(made)
        sequence = posetrack18.read(made, path.stem)
        assert made == before
        assert_same(sequence, again(sequence))
        assert len(sequence.people) == len(made["annotations"])
        assert list(sequence.frame_names) == sorted(sequence.frame_names)
        numbered = posetrack18.write(replace(sequence, image_id=np.full(len(sequence), -1)))
        assert [image["id"] for image in numbered["images"]] == [image["id"] for image in made["images"]]
        assert np.isnan(sequence.people.keypoint_score).all() == (kind == "gt")
        assert (sequence.people.track_id < 0).all() == (kind == "detections")


@pytest.mark.skipif(not (DATA / "mmpose_mini").is_dir(), reason=f"{DATA}/mmpose_mini is not there: it may not be copied")
def test_real_truth_with_a_nose():
    path = DATA / "mmpose_mini/posetrack18/annotations/val/003418_mpii_test.json"
    sequence = posetrack18.read(json.loads(path.read_text()), path.stem)
    assert sequence.people.xy_px[0, NOSE].tolist() == [621, 471]
    assert sequence.size_px.tolist() == [[1920, 1080]]
    assert [len(polygon) for polygon in sequence.ignore_regions[0]][:2] == [len(sequence.ignore_regions[0][0]), 13]
    assert_same(sequence, again(sequence))
