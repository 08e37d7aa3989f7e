"""Boxes and poses from files: what a table must hold, what becomes of it, and how it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from storage.artifacts import DamagedArtifactError
from storage.given import (
    given_frames,
    given_info,
    given_of,
    given_pictures,
    kind_of,
    last_frame,
    read_given,
    sequences_from_table,
    write_given,
)
from storage.schemas import DETECTIONS, GIVEN_POSES
from storage.sources import InputError
from storage.store import Store
from tkm.datasets.sequence import Sequence

BOXES: dict[str, list[Any]] = {
    "frame": [2, 0, 2], "box_x1": [1.0, 2.0, 3.0], "box_y1": [4.0, 5.0, 6.0], "box_x2": [50.0, 60.0, 70.0],
    "box_y2": [80.0, 90.0, 99.0], "box_score": [0.5, 0.6, 0.9],
}  # fmt: skip


def table(**columns: list[Any]) -> pa.Table:
    """BOXES with other columns in their place, or beside them, as pandas writes it."""
    return pa.Table.from_pandas(pd.DataFrame({**BOXES, **columns}), preserve_index=False)


def only(found: pa.Table) -> Sequence:
    (sequence,) = sequences_from_table(found, "clip", "clip.parquet")
    return sequence


def test_boxes_are_numbered_in_each_frame_by_falling_score() -> None:
    given = given_of(only(table()), "boxes", None).table
    assert given.schema.equals(DETECTIONS)
    assert given.select(["frame", "detection"]).to_pydict() == {"frame": [0, 2, 2], "detection": [0, 0, 1]}
    assert given["box_x1"].to_pylist() == [2.0, 3.0, 1.0]
    np.testing.assert_array_equal(given["box_score"], np.array([0.6, 0.9, 0.5], np.float32))


def test_equal_scores_keep_the_order_of_the_file_and_missing_ones_are_1() -> None:
    given = given_of(only(table(frame=[0, 0, 0], box_score=[None, 0.5, None])), "boxes", None).table
    assert given["box_x1"].to_pylist() == [1.0, 3.0, 2.0]
    assert given["box_score"].to_pylist() == [1.0, 1.0, 0.5]


def test_a_box_without_a_pixel_is_left_out() -> None:
    given = given_of(only(table(box_x2=[1.5, 60.0, 70.0])), "boxes", None).table
    assert given["box_x1"].to_pylist() == [2.0, 3.0]


def test_poses_without_boxes_get_those_of_their_keypoints() -> None:
    posed = pa.table({
        "frame": [0, 1, 2], "nose_x": [10.0, 20.0, None], "nose_y": [30.0, 40.0, None],
        "neck_x": [15.0, None, None], "neck_y": [25.0, None, None], "nose_score": [0.5, None, None],
    })  # fmt: skip
    sequence = only(posed)
    given = given_of(sequence, kind_of(sequence.people), None).table
    assert given.schema.equals(GIVEN_POSES)
    assert set(given["skeleton"].to_pylist()) == {"posetrack_15"}, "COCO has no neck"
    assert given["frame"].to_pylist() == [0, 1], "a person without any keypoint is none"
    boxes = given.select(["box_x1", "box_y1", "box_x2", "box_y2"]).to_pylist()
    assert [list(box.values()) for box in boxes] == [[10, 25, 15, 30], [20, 40, 20, 40]]
    assert given["nose_score"].to_pylist() == [0.5, 1.0]
    assert given["neck_score"].to_pylist() == [1.0, None]
    assert given["left_eye_x"].null_count == 2


def test_a_box_without_area_does_not_stand_for_a_pose() -> None:
    posed = table(box_x2=[1.0, 60.0, 70.0], nose_x=[10.0] * 3, nose_y=[20.0] * 3, left_hip_x=[30.0] * 3, left_hip_y=[90.0] * 3)
    given = given_of(only(posed), "poses", None).table
    boxes = given.select(["box_x1", "box_x2"]).to_pydict()
    assert boxes == {"box_x1": [2.0, 3.0, 10.0], "box_x2": [60.0, 70.0, 30.0]}


def test_kinds() -> None:
    assert kind_of(only(table()).people) == "boxes"
    assert kind_of(only(table(nose_x=[None, 1.0, None], nose_y=[None, 1.0, None])).people) == "poses"
    nobody = only(pa.table({"frame": [0], "nose_x": pa.nulls(1), "nose_y": pa.nulls(1)}))
    assert kind_of(nobody.people) == "poses"


def test_a_column_video_tells_videos_apart_and_video_frames_how_long_they_are() -> None:
    found = sequences_from_table(table(video=["b", "a", "b"], video_frames=[7, 1, 7]), "file", "file.parquet")
    assert [(one.name, len(one), one.people.frame.tolist()) for one in found] == [("a", 1, [0]), ("b", 7, [2, 2])]
    assert len(only(table())) == 3, "else up to the last frame that has people"


def test_a_table_without_rows_is_one_video_without_people() -> None:
    sequence = only(table().slice(0, 0))
    assert (sequence.name, len(sequence), len(sequence.people)) == ("clip", 0, 0)


def test_integers_categories_and_half_precision_are_numbers_and_names_like_any_other() -> None:
    columns = table(video=["a", "a", "a"]).to_pandas().astype({"video": "category", "frame": "int32", "box_x1": "float16"})
    columns["box_x2"] = columns["box_x2"].astype("int16")
    (sequence,) = sequences_from_table(pa.Table.from_pandas(columns), "file", "file.parquet")
    assert sequence.name == "a"
    assert sequence.people.box_xyxy_px[0].tolist() == [2, 5, 60, 90]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"frame": [0, -1, 2]}, "frame -1 is below 0"),
        ({"frame": [0, 1.5, 2]}, "column frame, row 1: a whole number is expected, not 1.5"),
        ({"frame": [0, None, 2]}, "column frame, row 1: a whole number is expected, not nothing"),
        ({"frame": ["0", "1", "2"]}, "column frame must hold numbers"),
        ({"frame": [True, False, True]}, "column frame must hold numbers"),
        ({"box_x1": ["1", "2", "3"]}, "column box_x1 must hold numbers"),
        ({"box_y2": [80.0, np.inf, 99.0]}, "column box_y2, row 1: a finite number"),
        ({"box_y2": [80.0, np.nan, 99.0]}, "column box_y2, row 1: a number is expected"),
        ({"box_score": ["a", "b", "c"]}, "column box_score must hold numbers"),
        ({"video": ["a", None, "a"]}, "column video, row 1"),
        ({"video_frames": [2, 2, 2]}, "video clip: video_frames must be one number above all frames, not 2"),
        ({"video_frames": [7, 8, 7]}, "video_frames must be one number above all frames, not 7, 8"),
        ({"skeleton": ["coco_17", "posetrack_15", "coco_17"]}, "several skeletons: coco_17, posetrack_15"),
        ({"skeleton": ["coco_17", None, "coco_17"]}, "several skeletons: None, coco_17"),
        ({"skeleton": ["halpe"] * 3}, "no skeleton 'halpe'"),
        ({"nose_x": [1.0, 2.0, 3.0]}, "no column nose_y"),
        ({"nose_x": [1.0, None, 3.0], "nose_y": [1.0, 2.0, 3.0]}, "column nose_x, row 1: a number is expected"),
        ({f"{joint}_{axis}": [1.0] * 3 for joint in ("neck", "left_eye") for axis in "xy"}, "keypoints left_eye, neck"),
    ],
)
def test_what_cannot_be_is_refused_by_file_and_column(columns: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(InputError) as refused:
        sequences_from_table(table(**columns), "clip", "/data/clip.parquet")
    assert str(refused.value).startswith("/data/clip.parquet: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [(["frame"], "no column frame"), (["box_x1", "box_y2"], "no column box_x1, box_y2"), (list(BOXES)[1:], "no column box_x1")],
)
def test_columns_that_must_be_there(lacking: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sequences_from_table(table().drop_columns(lacking), "clip", "clip.parquet")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"box_x2": [50.0, 60.0, 2.0]}, r"frame 2 has a box that ends before it begins.*\[3.0, 6.0, 2.0, 99.0\]"),
        ({"box_y2": [80.0, 1e300, 99.0]}, "frame 0 has a box or keypoint more than 1,000,000 px away"),
        ({"nose_x": [1.0, 2.0, 3.0], "nose_y": [1.0, 2.0, -1e7]}, "frame 2 has a box or keypoint more than"),
    ],
)
def test_places_that_no_picture_has_are_refused_by_frame(columns: dict[str, list[Any]], said: str) -> None:
    sequence = only(table(**columns))
    with pytest.raises(ValueError, match=said):
        given_of(sequence, kind_of(sequence.people), None)


def test_rows_are_kept_by_their_digest_with_what_is_known_of_the_frames(any_root: str) -> None:
    store = Store(any_root)
    sequence = only(table())
    T = len(sequence)
    names = tuple(f"{frame}.jpg" for frame in range(T))
    sequence = replace(sequence, frame_names=names, image_id=np.arange(T) + 7, size_px=np.tile([640, 480], (T, 1)))
    given = given_of(sequence, "boxes", 5)
    sha256 = write_given(store, given, sequence)
    assert write_given(store, given, sequence) == sha256
    assert write_given(None, given, sequence) == sha256, "a dry run knows it too"
    assert write_given(None, given) != sha256
    found = read_given(store, sha256)
    assert found.replace_schema_metadata(None).equals(given.table.replace_schema_metadata(None))
    assert (given_frames(found), last_frame(found)) == (5, 2)
    assert given_pictures(found) == (list(names), [frame + 7 for frame in range(T)])
    info = given_info(found)
    assert (len(info), info.width_px, info.height_px, info.codec) == (5, 640, 480, "none")
    assert (np.diff(info.pts_ns) > 0).all()


def test_damaged_rows_are_noticed_and_can_be_given_again(tmp_path: Any) -> None:
    store = Store(str(tmp_path))
    given = given_of(only(table()), "boxes", None)
    sha256 = write_given(store, given)
    store.write(f"given/{sha256}.parquet", b"something else")
    for _ in range(2):  # first damaged, then gone
        with pytest.raises(DamagedArtifactError, match="--detections"):
            read_given(store, sha256)
    write_given(store, given)
    assert read_given(store, sha256).num_rows == 3
