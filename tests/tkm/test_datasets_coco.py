import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tkm.test_datasets_posetrack18 import document as posetrack_document
from tests.tkm.test_datasets_posetrack18 import person as posetrack_person
from tkm.datasets import coco
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import posetrack_image_id
from tkm.datasets.posetrack18 import read as read_posetrack
from tkm.datasets.posetrack18 import read_videos
from tkm.datasets.results import results_to_sequences
from tkm.skeleton import COCO_17

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mmpose_mini"
HERE = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there: it may not be copied")


def person(image_id: int, number: int = 1, **told) -> dict:
    """A person whose keypoint k is at (10 k + 1, 10 k + 2), seen."""
    keypoints = [value for k in range(17) for value in (10 * k + 1, 10 * k + 2, 2)]
    return {
        "id": number, "image_id": image_id, "category_id": 1, "keypoints": keypoints, "bbox": [1, 2, 3, 4], "area": 7.5,
        "iscrowd": 0, "num_keypoints": 17, **told,
    }  # fmt: skip


def document(file_names: list[str], *people: dict, **told) -> dict:
    return {
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(file_names)],
        "annotations": list(people),
        "categories": [
            {"id": 3, "name": "car"},
            {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)},
        ],
        **told,
    }


def test_pictures_without_a_folder_are_one_sequence_in_the_natural_order_of_their_names():
    made = document(["a10.jpg", "a9.jpg", "a1.jpg"], person(0), person(2), person(1))
    (sequence,) = coco.read(made, "val")
    assert sequence.name == "val"
    assert sequence.frame_names == ("a1.jpg", "a9.jpg", "a10.jpg")
    assert sequence.image_id.tolist() == [2, 1, 0]
    assert sequence.people.frame.tolist() == [0, 1, 2]
    assert sequence.size_px.tolist() == [[64, 48]] * 3


def test_a_person_as_coco_tells():
    made = document(["a.jpg"], person(0, iscrowd=1, score=0.5), person(0, area=9))
    made["annotations"][0]["keypoints"][:3] = [5, 6, 0]
    made["annotations"][0]["keypoints"][5] = 1
    (sequence,) = coco.read(made, "val")
    people = sequence.people
    assert np.isnan(people.xy_px[0, 0]).all()  # visibility 0 is not labelled, wherever it lies
    assert people.xy_px[0, 16].tolist() == [161, 162]
    assert people.visibility[0, :3].tolist() == [0, 1, 2]
    assert people.box_xyxy_px[0].tolist() == [1, 2, 4, 6]
    assert people.area_px2.tolist() == [7.5, 9]
    assert people.is_crowd.tolist() == [True, False]
    assert people.track_id.tolist() == [-1, -1]


def test_only_people_are_read():
    made = document(["a.jpg"], {"id": 5, "image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4]}, person(0))
    (sequence,) = coco.read(made, "val")
    assert len(sequence.people) == 1


def test_each_folder_and_each_video_is_a_sequence():
    made = document(["a/2.jpg", "b/1.jpg", "a/1.jpg"], person(1), person(0))
    by_folder = coco.read(made, "val")
    assert [(s.name, s.frame_names, len(s.people)) for s in by_folder] == [
        ("a", ("a/1.jpg", "a/2.jpg"), 1),
        ("b", ("b/1.jpg",), 1),
    ]
    assert by_folder[0].people.frame.tolist() == [1]
    made = document(["1.jpg", "2.jpg", "3.jpg"])
    for image, video in zip(made["images"], (7, 7, 8), strict=True):
        image["video_id"] = video
    assert [(s.name, len(s)) for s in coco.read(made, "val")] == [("7", 2), ("8", 1)]


def test_folders_of_one_name_go_by_their_paths():
    names = [s.name for s in coco.read(document(["train/a/1.jpg", "val/a/1.jpg", "val/b/1.jpg"]), "x")]
    assert names == ["train/a", "val/a", "b"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"annotations": [person(0), person(9)]},
            r"v\.json: annotations\[1\]\.image_id must be the id of one of the images, not 9",
        ),
        ({"annotations": [person(0, keypoints=[1, 2])]}, r"annotations\[0\]\.keypoints must be a list of 51 finite numbers"),
        ({"annotations": [person(0, area="big")]}, r"annotations\[0\]\.area must be a finite number, not 'big'"),
        ({"annotations": [person(0, iscrowd=2)]}, r"annotations\[0\]\.iscrowd must be true or false, not 2"),
        ({"categories": [{"id": 3, "name": "car"}]}, r"categories must hold one called 'person', or one with keypoints, not 0"),
        (
            {"categories": [{"id": 1, "name": "person"}]},
            r"categories\[0\]\.keypoints must be a list of different names, not None",
        ),
    ],
)
def test_what_does_not_fit_is_told_by_entry_and_field(told, message):
    with pytest.raises(DatasetError, match=message):
        coco.read(document(["a.jpg"], **told), "v.json")


def test_an_error_counts_entries_as_the_file_does_though_others_are_left_out():
    car = {"id": 5, "image_id": 0, "category_id": 3}
    with pytest.raises(DatasetError, match=r"annotations\[2\]\.keypoints"):
        coco.read(document(["a.jpg"], car, person(0), person(0, keypoints=[])), "v.json")


def test_a_written_dataset_reads_back():
    made = document(["a.jpg", "b.jpg"], person(0), person(1, iscrowd=1, track_id=3))
    made["annotations"][1]["keypoints"][6:9] = [0, 0, 0]
    (sequence,) = coco.read(made, "val")
    (back,) = coco.read(json.loads(json.dumps(coco.write_dataset([sequence]), allow_nan=False)), "val")
    for field in ("box_xyxy_px", "area_px2", "is_crowd", "xy_px", "visibility", "track_id", "frame"):
        assert np.array_equal(getattr(back.people, field), getattr(sequence.people, field), equal_nan=True), field
    assert back.image_id.tolist() == [0, 1]


def test_scores_of_keypoints_read_back_so_that_predictions_keep_their_order():
    (sequence,) = coco.read(document(["a.jpg"], person(0)), "val")
    sure = np.linspace(0.1, 0.9, 17)[None]
    predicted = replace(sequence, people=replace(sequence.people, keypoint_score=sure))
    (back,) = coco.read(json.loads(json.dumps(coco.write_dataset([predicted]))), "val")
    assert back.people.keypoint_score.tolist() == sure.tolist()
    assert "scores" not in coco.write_dataset([sequence])["annotations"][0]


def test_box_and_area_are_made_up_where_nobody_gave_them():
    sequence = read_posetrack(
        posetrack_document(1, (posetrack_person(20000020000), posetrack_person(20000020000, 1))), "000002_bonn_test"
    )
    xy_px = sequence.people.xy_px.copy()
    xy_px[1] = np.nan
    made = coco.write_dataset([replace(sequence, people=replace(sequence.people, xy_px=xy_px))])
    assert [someone["bbox"] for someone in made["annotations"]] == [[1, 2, 160, 160], [0, 0, 0, 0]]
    assert [someone["area"] for someone in made["annotations"]] == [25_600, 0]
    assert [someone["num_keypoints"] for someone in made["annotations"]] == [15, 0]


def test_sequences_of_one_file_get_ids_that_differ():
    (a,) = coco.read(document(["1.jpg", "2.jpg"]), "a")
    unnumbered = replace(a, image_id=np.full(2, -1))
    made = coco.write_dataset([replace(unnumbered, name=name) for name in ("b", "a", "000002_bonn_test")])
    ids = [image["id"] for image in made["images"]]
    assert len(set(ids)) == 6
    assert ids[4:] == [20000020001, 20000020002]
    with pytest.raises(DatasetError, match="image_id 0 is in a and again in b"):
        coco.write_dataset([a, replace(a, name="b")])
    with pytest.raises(DatasetError, match="different names, not a, a"):
        coco.write_dataset([a, a])


def test_one_file_holds_one_skeleton():
    (a,) = coco.read(document(["1.jpg"]), "a")
    with pytest.raises(DatasetError, match="one skeleton, not coco_17, posetrack_15"):
        coco.write_dataset([a, read_posetrack(posetrack_document(1), "b")])


def test_results_need_scores_and_leave_out_people_without_keypoints():
    (sequence,) = coco.read(document(["1.jpg"], person(0, score=0.5), person(0, 2, keypoints=[0] * 51)), "a")
    (result,) = coco.write_results([sequence])
    assert (result["image_id"], result["category_id"], result["score"]) == (0, 1, 0.5)
    assert result["keypoints"][-3:] == [161, 162, 1]
    assert "bbox" not in result
    nameless = replace(sequence, people=replace(sequence.people, score=np.array([np.nan, 1])))
    with pytest.raises(DatasetError, match=r"a: people\.score\[0\] is not given"):
        coco.write_results([nameless])


def test_results_of_poses_read_back():
    (sequence,) = coco.read(document(["1.jpg", "2.jpg"], person(1, score=0.5)), "a")
    scored = replace(sequence, people=replace(sequence.people, keypoint_score=np.linspace(0, 1, 17)[None]))
    results = json.loads(json.dumps(coco.write_results([scored])))
    (back,) = results_to_sequences(results, {0: ("a", 0), 1: ("a", 1)}, {"a": 2}, "r.json")
    assert back.people.frame.tolist() == [1]
    assert np.array_equal(back.people.xy_px, scored.people.xy_px)
    assert np.array_equal(back.people.keypoint_score, scored.people.keypoint_score)


def box(image_id: int, **told) -> dict:
    return {"image_id": image_id, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, **told}


def test_given_boxes_go_to_the_frames_that_the_caller_says():
    results = [box(12), box(10, score=0.25), box(12, bbox=[5, 6, 7, 8]), box(11, category_id=3)]
    frames = {10: ("b", 0), 11: ("b", 1), 12: ("a", 3)}
    a, b, c = results_to_sequences(results, frames, {"a": 4, "b": 2, "c": 1}, "r.json")
    assert [(s.name, len(s), len(s.people)) for s in (a, b, c)] == [("a", 4, 2), ("b", 2, 1), ("c", 1, 0)]
    assert a.people.frame.tolist() == [3, 3]
    assert a.people.box_xyxy_px.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert b.people.score.tolist() == [0.25]
    assert np.isnan(a.people.xy_px).all()
    assert a.image_id.tolist() == [-1, -1, -1, 12]
    back = coco.write_results([replace(a, image_id=np.arange(9, 13))])
    assert [result["bbox"] for result in back] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"annotations": []}, r"r\.json: must be a list of results"),
        ([box(0), box(5)], r"r\.json: results\[1\]\.image_id must be the id of a known frame, not 5"),
        ([box(0, category_id=3), box(0, score=None)], r"results\[1\]\.score is missing: a finite number"),
        ([box(0, bbox=[1, 2])], r"results\[0\]\.bbox must be a list of 4 finite numbers, not \[1, 2\]"),
        ([box(0, bbox=None)], r"results\[0\]\.bbox is missing: a list of 4 finite numbers, or keypoints"),
        ([box(0, keypoints=[1] * 45)], r"results\[0\]\.keypoints must be a list of 51 finite numbers"),
        ([[1, 2, 3, 4, 0.5]], r"results\[0\] must be a JSON object"),
    ],
)
def test_results_that_do_not_fit_are_told_by_entry_and_field(results, message):
    with pytest.raises(DatasetError, match=message):
        results_to_sequences(results, {0: ("a", 0)}, {"a": 1}, "r.json")


def test_frames_that_no_sequence_has_are_the_callers_mistake():
    with pytest.raises(ValueError, match=r"frames\[0\] is frame 1 of 'a', which lengths does not have"):
        results_to_sequences([], {0: ("a", 1)}, {"a": 1}, "r.json")


@HERE
def test_pycocotools_takes_what_is_written_and_finds_the_truth_perfect(tmp_path, capsys):
    coco_api, coco_eval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    (sequence,) = coco.read(json.loads((DATA / "coco/test_coco.json").read_text()), "test_coco")
    assert (len(sequence), len(sequence.people)) == (4, 14)
    (tmp_path / "truth.json").write_text(json.dumps(coco.write_dataset([sequence]), allow_nan=False))
    truth = coco_api.COCO(str(tmp_path / "truth.json"))
    found = replace(sequence, people=replace(sequence.people, score=np.linspace(1, 0.5, 14)))
    evaluation = coco_eval.COCOeval(truth, truth.loadRes(coco.write_results([found])), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1
    original = coco_api.COCO(str(DATA / "coco/test_coco.json"))
    assert sorted(a["area"] for a in truth.anns.values()) == sorted(a["area"] for a in original.anns.values())


@HERE
def test_real_detections_of_posetrack_find_their_frames_by_number():
    truth = read_videos(json.loads((DATA / "posetrack18/annotations/test_posetrack18_val.json").read_text()), "val")
    assert [(s.name, len(s.people)) for s in truth] == [
        ("012834_mpii_test", 11),
        ("009473_mpii_test", 2),
        ("003418_mpii_test", 1),
    ]
    frames = {posetrack_image_id(s.name, 0): (s.name, 0) for s in truth}
    assert sorted(frames) == sorted(int(s.image_id[0]) for s in truth)
    results = json.loads((DATA / "posetrack18/annotations/test_posetrack18_human_detections.json").read_text())
    found = results_to_sequences(results, frames, {s.name: 1 for s in truth}, "detections")
    assert sum(len(s.people) for s in found) == len(results) == 278
