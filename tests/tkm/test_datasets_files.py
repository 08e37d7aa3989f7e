import json
import time

import numpy as np
import pytest

from tests.tkm.test_datasets_coco import document as coco_document
from tests.tkm.test_datasets_coco import person as coco_person
from tests.tkm.test_datasets_posetrack17 import document as document_of_2017
from tests.tkm.test_datasets_posetrack17 import frame, point, rect
from tests.tkm.test_datasets_posetrack18 import document as document_of_2018
from tests.tkm.test_datasets_posetrack18 import person as person_of_2018
from tkm.datasets.errors import DatasetError
from tkm.datasets.files import parse_json, read_document
from tkm.skeleton import COCO_17, POSETRACK_15


def test_posetrack_2017_is_told_by_its_annolist():
    (sequence,) = read_document(document_of_2017(frame(1, rect(point(0, 1, 2)))), "a")
    assert (sequence.name, sequence.skeleton, len(sequence.people)) == ("a", POSETRACK_15, 1)


def test_posetrack_2018_is_told_by_its_keypoints():
    (sequence,) = read_document(document_of_2018(2, (person_of_2018(20000020000),)), "a")
    assert (sequence.name, sequence.skeleton, len(sequence)) == ("a", POSETRACK_15, 2)


def test_posetrack_2018_with_cocos_keypoints_is_told_by_its_video():
    someone = person_of_2018(20000020000)
    someone["keypoints"][2] = 0
    made = document_of_2018(1, (someone,))
    made["categories"][0]["keypoints"] = list(COCO_17.keypoints)
    (sequence,) = read_document(made, "a")
    assert sequence.skeleton is COCO_17
    assert sequence.people.xy_px[0, 0].tolist() == [1, 2]  # hidden counts there


def test_a_file_of_several_posetrack_sequences_gives_each():
    made = document_of_2018(2)
    made["images"][1] |= {"file_name": "images/val/000017_bonn_test/000000.jpg", "vid_id": "000017"}
    assert [s.name for s in read_document(made, "val")] == ["000002_bonn_test", "000017_bonn_test"]


def test_anything_else_with_images_is_coco():
    (sequence,) = read_document(coco_document(["val2017/2.jpg", "val2017/1.jpg"], coco_person(1)), "a")
    assert (sequence.name, sequence.frame_names) == ("val2017", ("val2017/1.jpg", "val2017/2.jpg"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}],
            r"a\.json: a list is COCO's results, which say nothing of their images",
        ),
        ("text", r"a\.json: must be a JSON object, not 'text'"),
        ({}, r"annolist.*images, annotations and categories.*images, annotations, categories missing; found nothing"),
        ({"images": [], "info": {}}, r"annotations, categories missing; found images, info"),
    ],
)
def test_anything_else_is_told_what_was_looked_for(document, message):
    with pytest.raises(DatasetError, match=message):
        read_document(document, "a.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"images": [\n  1,,2]}', r"a\.json: not JSON: .* at line 2, column 5"),
        (b"", r"a\.json: not JSON: .* at line 1, column 1"),
        (b'{"a": "\xff"}', r"a\.json: not JSON: byte 7 is no UTF-8"),
        (b'{"a": NaN}', r"a\.json: NaN is no JSON number"),
        (b'{"a": -Infinity}', r"a\.json: -Infinity is no JSON number"),
        (b"[" * 200_000, r"a\.json: lists and objects are nested too deeply"),
    ],
)
def test_broken_json_is_told_by_file_and_place(data, message):
    with pytest.raises(DatasetError, match=message):
        parse_json(data, "a.json")


def test_json_keeps_numbers_and_may_begin_with_a_byte_order_mark():
    assert parse_json(b"\xef\xbb\xbf" + json.dumps([0.1, 1012737300032]).encode(), "a") == [0.1, 1012737300032]


def test_reading_thousands_of_images_takes_about_a_second():
    rng = np.random.default_rng(0)
    people = [coco_person(int(image), keypoints=rng.integers(0, 640, 51).tolist()) for image in rng.integers(0, 5000, 11_000)]
    made = coco_document([f"{n:012d}.jpg" for n in range(5000)], *people)
    began = time.perf_counter()
    (sequence,) = read_document(made, "val")
    assert time.perf_counter() - began < 3  # measured: 0.15 s
    assert (len(sequence), len(sequence.people)) == (5000, 11_000)
