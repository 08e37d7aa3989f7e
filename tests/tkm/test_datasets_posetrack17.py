import json
from dataclasses import replace

import numpy as np
import pytest

from tests.tkm.test_datasets_posetrack18 import assert_same
from tkm.datasets import posetrack17, posetrack18
from tkm.datasets.errors import DatasetError
from tkm.skeleton import COCO_17, POSETRACK_15


def point(number: int, x: float, y: float, **told) -> dict:
    return {"id": [number], "x": [x], "y": [y], **told}


def rect(*points: dict, **told) -> dict:
    return {"x1": [10], "y1": [20], "x2": [30], "y2": [50], "track_id": [4], "annopoints": [{"point": list(points)}], **told}


def frame(number: int, *rects: dict, **told) -> dict:
    return {
        "image": [{"name": f"images/bonn_5sec/000002_bonn/{number:08d}.jpg"}],
        "imgnum": [number],
        "annorect": list(rects),
        **told,
    }


def document(*frames: dict) -> dict:
    return {"annolist": list(frames)}


def test_points_and_head_of_a_person():
    made = document(frame(1, rect(point(12, 1.5, 2.5, is_visible=[1], score=[0.25]), point(0, 7, 8), score=[0.5])))
    sequence = posetrack17.read(made, "000002_bonn")
    people = sequence.people
    assert sequence.skeleton is POSETRACK_15
    assert sequence.frame_names == ("images/bonn_5sec/000002_bonn/00000001.jpg",)
    assert people.xy_px[0, POSETRACK_15.keypoints.index("neck")].tolist() == [1.5, 2.5]
    assert people.xy_px[0, POSETRACK_15.keypoints.index("right_ankle")].tolist() == [7, 8]
    assert np.isnan(people.xy_px[0, 1:12]).all()
    assert people.keypoint_score[0, 12] == 0.25
    assert people.visibility[0, [12, 0]].tolist() == [1, -1]
    assert people.head_xyxy_px[0].tolist() == [10, 20, 30, 50]
    assert (people.track_id[0], people.score[0]) == (4, 0.5)
    assert np.isnan(people.box_xyxy_px).all()


def test_bare_scalars_are_read_as_lists_of_one():
    listed = document(frame(1, rect(point(12, 1.5, 2.5, is_visible=[0])), is_labeled=[1]))
    bare = json.loads(json.dumps(listed).replace("[1.5]", "1.5").replace("[12]", "12").replace("[4]", "4").replace("[1]", "1"))
    bare["annolist"][0]["image"] = {"name": bare["annolist"][0]["image"][0]["name"]}
    assert bare != listed
    assert_same(posetrack17.read(bare, "x"), posetrack17.read(listed, "x"))


def test_a_single_point_or_region_need_not_stand_in_a_list():
    made = document(frame(1, rect(annopoints={"point": point(3, 1, 2)}), ignore_regions={"point": [point(0, 1, 2)]}))
    sequence = posetrack17.read(made, "x")
    assert sequence.people.xy_px[0, 3].tolist() == [1, 2]
    assert sequence.ignore_regions[0][0].tolist() == [[1, 2]]


@pytest.mark.parametrize("annopoints", [[], {}, [{}], [{"point": []}], None])
def test_a_person_without_points_is_kept(annopoints):
    people = posetrack17.read(document(frame(1, rect(annopoints=annopoints))), "x").people
    assert len(people) == 1
    assert np.isnan(people.xy_px).all()
    # Only an empty list of points says that somebody looked for them.
    assert (people.visibility == (0 if annopoints == [{"point": []}] else -1)).all()


def test_all_frames_count_whether_labelled_or_not_in_the_order_of_the_file():
    bare = frame(3)
    del bare["annorect"]
    made = document(frame(9, rect(), is_labeled=[1]), bare, frame(5, rect(), rect(track_id=[7]), is_labeled=[0]))
    sequence = posetrack17.read(made, "x")
    assert [name[-5] for name in sequence.frame_names] == ["9", "3", "5"]
    assert sequence.is_labeled.tolist() == [True, True, False]
    assert sequence.people.frame.tolist() == [0, 2, 2]
    assert sequence.people.track_id.tolist() == [4, 4, 7]


def test_ignored_regions_are_polygons():
    regions = [{"point": [point(0, 1, 2), point(0, 3, 4), point(0, 5, 6)]}, {"point": [point(0, 7, 8)]}]
    sequence = posetrack17.read(document(frame(1, ignore_regions=regions), frame(2, ignore_regions=[])), "x")
    assert [polygon.tolist() for polygon in sequence.ignore_regions[0]] == [[[1, 2], [3, 4], [5, 6]], [[7, 8]]]
    assert sequence.ignore_regions[1] == ()


def test_the_first_point_of_a_number_counts_as_for_the_evaluator():
    twice = point(3, 1, 2, score=[0.25], is_visible=[1]), point(3, 5, 6, score=[0.75], is_visible=[0])
    people = posetrack17.read(document(frame(1, rect(*twice))), "x").people
    assert people.xy_px[0, 3].tolist() == [1, 2]
    assert people.keypoint_score[0, 3] == 0.25
    assert people.visibility[0, 3] == 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"annolist": 3}, r"a\.json: annolist must be a list, not 3"),
        ({"annolist": [3]}, r"a\.json: annolist\[0\] must be a JSON object, not 3"),
        (document(frame(1), {"annorect": []}), r"annolist\[1\]\.image is missing"),
        (document({"image": [{}]}), r"annolist\[0\]\.image\[0\]\.name is missing"),
        (document(frame(1, is_labeled=["?"])), r"annolist\[0\]\.is_labeled must be true or false, not '\?'"),
        (
            document(frame(1), frame(2, rect(point(15, 1, 2)))),
            r"annolist\[1\]\.annorect\[0\]\.annopoints\[0\]\.point\[0\]\.id must be",
        ),
        (
            document(frame(1, rect(point(1, 2, 3), {"id": [1], "x": [2]}))),
            r"annopoints\[0\]\.point\[1\]\.y is missing: a finite number",
        ),
        (document(frame(1, rect(point(1, 2, 3, score=["high"])))), r"point\[0\]\.score must be a finite number, not 'high'"),
        (document(frame(1, rect(track_id=["a"]))), r"annolist\[0\]\.annorect\[0\]\.track_id must be a whole number"),
        (document(frame(1, rect(y2=[]))), r"annolist\[0\]\.annorect\[0\]\.y2 is missing: a finite number, as x1, y1, x2, y2"),
        (document(frame(1, rect(annopoints=[7]))), r"annorect\[0\]\.annopoints\[0\] must be a JSON object, not 7"),
    ],
)
def test_what_does_not_fit_is_told_by_entry_and_field(made, message):
    with pytest.raises(DatasetError, match=message):
        posetrack17.read(made, "a.json")


def test_a_written_sequence_reads_back_to_the_last_bit():
    rng = np.random.default_rng(0)
    people = [
        rect(
            *(
                point(k, *rng.normal(0, 300, 2), score=[rng.random()], is_visible=[k % 2])
                for k in rng.permutation(15)[:n].tolist()
            ),
            track_id=[n],
            score=[rng.random()],
        )
        for n in range(16)
    ]
    regions = [{"point": [point(0, *rng.random(2)) for _ in range(5)]}]
    unscored = {
        field: value for field, value in rect(point(2, 1, 2)).items() if field not in ("track_id", "x1", "y1", "x2", "y2")
    }
    made = document(frame(0, *people[:9], ignore_regions=regions), frame(1, is_labeled=[0]), frame(2, *people[9:], unscored))
    sequence = posetrack17.read(made, "000002_bonn")
    written = posetrack17.write(sequence)
    assert_same(sequence, posetrack17.read(json.loads(json.dumps(written, allow_nan=False)), "000002_bonn"))
    assert [entry["imgnum"] for entry in written["annolist"]] == [[1], [2], [3]]
    assert "track_id" not in written["annolist"][2]["annorect"][-1]


def test_from_2017_to_2018_and_back_keeps_points_tracks_and_official_ids():
    made = document(
        frame(0, rect(point(12, 1.5, 2.5, is_visible=[1], score=[0.25]))),
        frame(1, rect(point(0, 3, 4, is_visible=[0], score=[1]))),
    )
    old = posetrack17.read(made, "000002_bonn")
    document_of_2018 = posetrack18.write(old)
    assert [image["id"] for image in document_of_2018["images"]] == [20000020000, 20000020001]
    new = posetrack18.read(document_of_2018, "000002_bonn")
    back = posetrack17.read(posetrack17.write(new), "000002_bonn")
    assert np.array_equal(back.people.xy_px, old.people.xy_px, equal_nan=True)
    assert back.people.track_id.tolist() == [4, 4]
    assert np.array_equal(back.people.head_xyxy_px, old.people.head_xyxy_px)


def test_other_skeletons_are_not_written():
    sequence = posetrack17.read(document(frame(0)), "x")
    empty = replace(sequence.people, **{
        "xy_px": np.empty((0, 17, 2)), "keypoint_score": np.empty((0, 17)), "visibility": np.empty((0, 17), np.int8)
    })  # fmt: skip
    with pytest.raises(DatasetError, match="x: PoseTrack's files of 2017 hold posetrack_15, not coco_17"):
        posetrack17.write(replace(sequence, skeleton=COCO_17, people=empty))
