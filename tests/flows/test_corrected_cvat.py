"""What people, and CVAT itself, make of an exported CVAT file comes back as they mean it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np

from storage import cvat
from storage.cvat import LABELS_FILE
from storage.handed_out import NEW_TRACK, HandedOut
from tests.flows.corrected import (
    LEFT_WRIST,
    RIGHT_WRIST,
    Results,
    assert_as_exported,
    back,
    edit,
    hide,
    interpolate,
    label_of,
    person,
    place,
    point_of,
    shape_of,
    split,
    track_of,
)
from tkm.skeleton import COCO_17


def test_a_cvat_file_has_a_skeleton_track_a_track_and_the_labels_of_its_task(walk: Results, tmp_path: Path) -> None:
    root = ET.parse(walk.written("cvat", tmp_path)).getroot()
    assert (root.findtext("version"), root.findtext("meta/task/size")) == ("1.1", "21")
    assert [track.get("label") for track in root.findall("track")] == ["person", "person"]
    shape = shape_of(track_of(root, 1), 12)
    assert [int(shape.get("frame", "")) for shape in track_of(root, 1)] == list(range(0, 21, 2))
    assert {point.get("label") for point in shape.findall("points")} == set(COCO_17.keypoints)
    assert point_of(shape, "left_wrist").get("outside") == "1"
    (label,) = json.loads((tmp_path / LABELS_FILE).read_text())
    assert [one["name"] for one in label["sublabels"]] == list(COCO_17.keypoints)
    assert (label["type"], label["svg"].count("<circle")) == ("skeleton", 17)
    named = {one.get("name") for one in shape.findall("attribute")}
    assert named == {one["name"] for one in label["attributes"]}


def test_a_track_is_outside_in_cvat_where_nobody_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame, sampled = np.array([4, 4, 6, 12]), np.arange(0, 21, 2)
    given = HandedOut(
        video="walk-1", run="20260101-000000-abcdef", name="walk", skeleton=COCO_17, size_px=(240, 200), pictures=("",) * 21,
        sampled=sampled, frames=sampled[1:], frame=frame, detection=np.array([0, 1, 0, 2]), track_id=np.array([3, 7, 3, 3]),
        box_xyxy_px=np.zeros((4, 4), np.float32), xy_px=rng.uniform(0, 200, (4, 17, 2)).astype(np.float32),
    )  # fmt: skip
    path = tmp_path / "walk.xml"
    path.write_bytes(cvat.write(given))
    tracks = ET.parse(path).getroot().findall("track")
    is_outside = [
        {int(shape.get("frame", "")): {point.get("outside") for point in shape.findall("points")} == {"1"} for shape in track}
        for track in tracks
    ]
    assert is_outside == [{4: False, 6: False, 8: True, 12: False, 14: True}, {4: False, 6: True}]
    found = back(edit(path, interpolate))
    assert found.frames.tolist() == list(range(2, 21))
    assert list(zip(found.frame.tolist(), found.detection.tolist(), found.label.tolist(), strict=True)) == [
        (4, 0, 3), (4, 1, 7), (6, 0, 3), (12, 2, 3),
    ]  # fmt: skip
    np.testing.assert_allclose(found.xy_px, given.xy_px, atol=found.rounding_px)


def test_shapes_that_cvat_draws_between_key_frames_change_nothing(walk: Results, tmp_path: Path) -> None:
    assert_as_exported(back(edit(walk.written("cvat", tmp_path), interpolate)), walk)


def test_what_cvat_downloads_is_read_as_it_is(walk: Results, tmp_path: Path) -> None:
    path = walk.written("cvat", tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "task.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "annotations.xml")
        archive.writestr("images/frame_000000.png", b"")
    assert_as_exported(back(tmp_path / "task.zip"), walk)


def test_a_track_that_is_split_in_cvat_is_a_new_track_from_there_on(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        split(root, 0, 6)

    found = back(edit(walk.written("cvat", tmp_path), change))
    labels = label_of(found, walk, 0)
    assert labels == [0, 0, 0, *[labels[3]] * 8]
    assert labels[3] >= NEW_TRACK
    assert set(label_of(found, walk, 1)) == {1}


def test_tracks_that_are_exchanged_in_cvat_go_on_as_each_other(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        parts = [split(root, number, 4) for number in (0, 1)]
        for number, part in enumerate(reversed(parts)):
            track = track_of(root, number)
            track.remove(track[-1])  # its end
            track.extend(list(part))
            root.remove(part)

    found = back(edit(walk.written("cvat", tmp_path), change))
    assert label_of(found, walk, 0) == [0, 0, *[1] * 9]
    assert label_of(found, walk, 1) == [1, 1, *[0] * 9]
    assert found.ignored == ()


def test_a_track_id_that_is_written_in_cvat_counts(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        rest = split(root, 0, 6)
        for attribute in rest.iter("attribute"):
            if attribute.get("name") == "track_id":
                attribute.text = "1"
        for shape in [shape for shape in track_of(root, 1) if int(shape.get("frame", "")) >= 6]:
            track_of(root, 1).remove(shape)

    found = back(edit(walk.written("cvat", tmp_path), change))
    assert label_of(found, walk, 0) == [0, 0, 0, *[1] * 8]


def test_a_whole_track_is_merged_by_its_track_id_whichever_of_the_two_is_renamed(walk: Results, tmp_path: Path) -> None:
    for renamed, other in ((0, 1), (1, 0)):

        def change(root: ET.Element, renamed: int = renamed, other: int = other) -> None:
            for number, is_gone in ((0, lambda frame: frame >= 6), (1, lambda frame: frame < 6)):
                track = track_of(root, number)
                for shape in [shape for shape in track if is_gone(int(shape.get("frame", "")))]:
                    track.remove(shape)
            for attribute in track_of(root, renamed).iter("attribute"):
                if attribute.get("name") == "track_id":
                    attribute.text = str(other)

        found = back(edit(walk.written("cvat", tmp_path / str(renamed)), change))
        assert set(found.label.tolist()) == {other}
        assert set(found.frame.tolist()) == set(range(0, 21, 2))


def test_tracks_and_frames_that_are_deleted_in_cvat_are_gone(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        root.remove(track_of(root, 1))
        hide(shape_of(track_of(root, 0), 4))

    found = back(edit(walk.written("cvat", tmp_path), change))
    assert found.frame.tolist() == [0, 2, *range(6, 21, 2)]
    assert {4, 20} <= set(found.frames)


def test_keypoints_that_are_moved_or_hidden_in_cvat_are(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        shape = shape_of(track_of(root, 1), 2)
        point_of(shape, "nose").set("points", "11.25,12.50")
        point_of(shape, "right_wrist").set("outside", "1")
        wrist = point_of(shape, "left_wrist")  # which was not given
        wrist.set("outside", "0")
        wrist.set("points", "3.00,4.00")

    found = back(edit(walk.written("cvat", tmp_path), change))
    now, was = found.xy_px[place(found, walk, 2, 1)], walk.xy_px()[person(walk, 2, 1)]
    assert now[[0, LEFT_WRIST]].tolist() == [[11.25, 12.5], [3, 4]]
    assert np.isnan(now[RIGHT_WRIST]).all()
    others = [k for k in range(17) if k not in (0, LEFT_WRIST, RIGHT_WRIST)]
    np.testing.assert_allclose(now[others], was[others], atol=0.01)


def test_what_is_added_in_cvat_is_named_and_changes_nothing(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        track = ET.SubElement(root, "track", {"id": "7", "label": "car", "source": "manual"})
        ET.SubElement(track, "box", {"frame": "4", "keyframe": "1", "outside": "0", "occluded": "0", "xtl": "1", "ytl": "1",
                                     "xbr": "9", "ybr": "9"})  # fmt: skip
        copied = ET.SubElement(root, "track", {"id": "8", "label": "person", "source": "manual"})
        copied.append(ET.fromstring(ET.tostring(shape_of(track_of(root, 0), 2))))
        copied[0].set("frame", "6")  # propagated to another frame

    found = back(edit(walk.written("cvat", tmp_path), change))
    assert len(found.frame) == walk.rows.num_rows
    assert sorted(found.ignored) == [
        f"{walk.video}, frame 4: a box was added by hand", f"{walk.video}, frame 6: a skeleton was added by hand",
    ]  # fmt: skip


def test_where_key_frames_are_removed_in_cvat_nothing_is_deleted(walk: Results, tmp_path: Path) -> None:
    def change(root: ET.Element) -> None:
        for frame in (4, 6):
            track_of(root, 0).remove(shape_of(track_of(root, 0), frame))
        interpolate(root)

    found = back(edit(walk.written("cvat", tmp_path), change))
    assert not {4, 6} & set(found.frames)
    assert (~np.isin(walk.numbers("frame"), [4, 6])).sum() == len(found.frame)
    (sentence,) = found.ignored
    assert sentence.startswith(f"{walk.video}, frames 4 to 7: a track was drawn on where its key frames were removed")


