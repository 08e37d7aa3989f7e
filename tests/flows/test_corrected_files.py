"""What is exported to be corrected comes back as it was, as people leave it, or as an error that tells what is wrong where."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows.export import export
from flows.settings import SettingsError
from storage import cvat
from storage.annotated import AnnotatedVideo, Format, read_annotated
from storage.codecs import column, keypoints_from_columns
from storage.cvat import LABELS_FILE
from storage.handed_out import NEW_TRACK, HandedOut, Origin
from storage.labelstudio import CONFIG_FILE
from storage.reading import LimitError
from storage.sources import InputError, Source
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import tkm
from tests.flows.given_runs import annotated, people
from tests.flows.results import write_clip
from tkm.skeleton import COCO_17, POSETRACK_15, Skeleton

FORMATS: tuple[Format, ...] = ("cvat", "labelstudio", "coco", "posetrack18")
PLACED = tuple((frame, track, 60.0 + 100 * track + frame) for frame in range(21) for track in (0, 1))
LEFT_WRIST, RIGHT_WRIST = COCO_17.keypoints.index("left_wrist"), COCO_17.keypoints.index("right_wrist")


@dataclass(frozen=True)
class Results:
    """A run of one clip, sampled every second frame, and its rows of `poses`."""

    store: Store
    run: str
    video: str
    rows: pa.Table

    def numbers(self, name: str) -> np.ndarray:
        return column(self.rows, name, np.int64)

    def xy_px(self, skeleton: Skeleton = COCO_17) -> np.ndarray:
        return keypoints_from_columns(self.rows, skeleton)[0]

    def written(self, format_: Format, folder: Path, **options: Any) -> Path:
        """The file of the clip that is exported in a format."""
        written = [Path(name) for name in export(self.store, None, format_, str(folder), **options)]
        return next(path for path in written if path.name in ("walk.xml", "walk.json", "annotations.json"))


def results(folder: Path, *placed: tuple[int, int, float], skeleton: Skeleton = COCO_17) -> Results:
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / "walk.mp4"
    write_clip(clip)
    store, source = Store(str(folder / "out")), Source(str(clip))
    run = annotated(store, (source, people("walk", 21, *placed, skeleton=skeleton)), every=2)
    rows = read_results(store, None, "poses").sort_by([("frame", "ascending"), ("track_id", "ascending")])
    return Results(store, run, source.video_id, rows)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return results(tmp_path_factory.mktemp("walk"), *PLACED)


def back(path: Path, format_: Format | None = None) -> AnnotatedVideo:
    (found,) = read_annotated(str(path), format_)
    return found


def by_place(found: AnnotatedVideo) -> dict[tuple[int, int], int]:
    """Rows by frame and detection."""
    return {place: row for row, place in enumerate(zip(found.frame.tolist(), found.detection.tolist(), strict=True))}


def label_of(found: AnnotatedVideo, walk: Results, track: int) -> list[int]:
    """Labels, by frame, that a track's people have now."""
    rows = by_place(found)
    was = walk.rows.filter(pa.array(walk.numbers("track_id") == track))
    places = zip(was["frame"].to_pylist(), was["detection"].to_pylist(), strict=True)
    return [int(found.label[rows[place]]) for place in places if place in rows]


def person(walk: Results, frame: int, track: int) -> int:
    """Row of `poses` of a track in a frame."""
    return int(np.flatnonzero((walk.numbers("frame") == frame) & (walk.numbers("track_id") == track))[0])


def place(found: AnnotatedVideo, walk: Results, frame: int, track: int) -> int:
    """Row of the annotated video of who was a track in a frame."""
    return by_place(found)[frame, int(walk.numbers("detection")[person(walk, frame, track)])]


def assert_as_exported(found: AnnotatedVideo, walk: Results, frames: list[int] | None = None) -> None:
    is_in = np.isin(walk.numbers("frame"), walk.numbers("frame") if frames is None else frames)
    rows = by_place(found)
    was = walk.rows.filter(pa.array(is_in))
    own = [rows[place] for place in zip(was["frame"].to_pylist(), was["detection"].to_pylist(), strict=True)]
    assert (found.video, found.run, found.ignored) == (walk.video, walk.run, ())
    assert sorted(own) == list(range(is_in.sum()))
    np.testing.assert_array_equal(found.label[own], walk.numbers("track_id")[is_in])
    xy_px = walk.xy_px()[is_in]
    np.testing.assert_array_equal(np.isnan(found.xy_px[own]), np.isnan(xy_px))
    assert np.nanmax(np.linalg.norm(found.xy_px[own] - xy_px, axis=2)) <= found.rounding_px
    assert set(walk.numbers("frame")[is_in]) <= set(found.frames)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_nobody_changed_comes_back_as_it_was_exported(format_: Format, walk: Results, tmp_path: Path) -> None:
    path = walk.written(format_, tmp_path)
    if format_ == "labelstudio":
        assert back(path).frames.tolist() == []  # nobody has submitted anything
        submit(path)
    assert_as_exported(back(path), walk)
    assert_as_exported(back(path, format_), walk)
    assert_as_exported(back(tmp_path), walk)  # of the whole folder, what is for the program is left alone


@pytest.mark.parametrize("format_", FORMATS)
def test_people_of_another_skeleton_come_back_in_theirs(format_: Format, tmp_path: Path) -> None:
    walk = results(tmp_path / "run", (0, 0, 60.0), (2, 0, 66.0), skeleton=POSETRACK_15)
    path = walk.written(format_, tmp_path / "files")
    if format_ == "labelstudio":
        submit(path)
    np.testing.assert_allclose(back(path).xy_px, walk.xy_px(POSETRACK_15), atol=0.01)


def test_exports_go_to_s3_and_are_read_from_there(walk: Results, any_root: str) -> None:
    written = list(export(walk.store, None, "cvat", f"{any_root}/files"))
    assert written == [f"{Store(any_root).root}/files/{name}" for name in ("walk.xml", LABELS_FILE)]
    (found,) = read_annotated(f"{any_root}/files", None)
    assert_as_exported(found, walk)


# CVAT


def edit(path: Path, change: Callable[[ET.Element], None]) -> Path:
    """Change an XML file in place."""
    tree = ET.parse(path)
    change(tree.getroot())
    tree.write(path, encoding="utf-8", xml_declaration=True)
    return path


def track_of(root: ET.Element, number: int) -> ET.Element:
    return root.findall("track")[number]


def shape_of(track: ET.Element, frame: int) -> ET.Element:
    return next(shape for shape in track if shape.get("frame") == str(frame))


def point_of(shape: ET.Element, name: str) -> ET.Element:
    return next(point for point in shape if point.get("label") == name)


def hide(shape: ET.Element) -> None:
    for point in shape.findall("points"):
        point.set("outside", "1")


def split(root: ET.Element, number: int, frame: int) -> ET.Element:
    """Split a track at a frame, as CVAT does: the first part ends outside, the rest is a track of its own."""
    track = track_of(root, number)
    rest = ET.SubElement(root, "track", {"id": "9", "label": "person", "source": "manual"})
    for shape in [shape for shape in track if int(shape.get("frame", "")) >= frame]:
        track.remove(shape)
        rest.append(shape)
    last = ET.fromstring(ET.tostring(track[-1]))
    last.set("frame", str(frame))
    hide(last)
    track.append(last)
    return rest


def interpolate(root: ET.Element) -> None:
    """Write shapes of all frames, as CVAT does: between key frames what lies between, until a track is outside."""
    for track in root.findall("track"):
        shapes = list(track)
        for before, after in pairwise(shapes):
            if all(point.get("outside") == "1" for point in before.findall("points")):
                continue
            for frame in range(int(before.get("frame", "")) + 1, int(after.get("frame", ""))):
                drawn = ET.fromstring(ET.tostring(before))
                drawn.set("frame", str(frame))
                drawn.set("keyframe", "0")
                track.insert(list(track).index(after), drawn)


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
    tracks = ET.parse(path).getroot().findall("track")  # noqa: S314 - our own file
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


# COCO and PoseTrack


def edit_json(path: Path, change: Callable[[Any], None]) -> Path:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def annotation(document: Any, walk: Results, frame: int, track: int) -> dict[str, Any]:
    return next(one for one in document["annotations"] if (one["tkm"]["frame"], one["tkm"]["track"]) == (frame, track))


@pytest.mark.parametrize("format_", ["coco", "posetrack18"])
def test_what_people_change_in_coco_and_posetrack_files_comes_back(format_: Format, walk: Results, tmp_path: Path) -> None:
    def change(document: Any) -> None:
        names = document["categories"][0]["keypoints"]
        moved = annotation(document, walk, 2, 1)["keypoints"]
        moved[:2] = [11.25, 12.5]  # the nose
        hidden = 3 * names.index("right_wrist")
        moved[hidden : hidden + 3] = [0, 0, 0]
        document["annotations"].remove(annotation(document, walk, 4, 0))
        for one in document["annotations"]:
            if one["tkm"]["track"] == 1 and one["tkm"]["frame"] > 10:
                one["track_id"] = 5
        annotation(document, walk, 6, 0)["bbox"][0] -= 9
        document["annotations"].append({**annotation(document, walk, 8, 0), "id": 10**15, "tkm": None})

    found = back(edit_json(walk.written(format_, tmp_path), change))
    now, was = found.xy_px[place(found, walk, 2, 1)], walk.xy_px()[person(walk, 2, 1)].copy()
    was[[0, RIGHT_WRIST]] = [11.25, 12.5], [np.nan, np.nan]
    np.testing.assert_array_equal(now, was)  # of PoseTrack's too, which has neither eyes nor ears
    assert len(found.frame) == walk.rows.num_rows - 1
    assert (found.label[found.frame == 4]).tolist() == [1]
    assert label_of(found, walk, 1) == [*[1] * 6, *[5] * 5]
    assert len(found.ignored) == 2
    assert re.search("frame 6: the box of track 0 was changed", found.ignored[0])
    assert re.search("frame 8: a person was added by hand", found.ignored[1])


def test_a_frame_that_is_taken_out_of_a_coco_file_was_not_looked_at(walk: Results, tmp_path: Path) -> None:
    def change(document: Any) -> None:
        (gone,) = (image for image in document["images"] if image.get("tkm", {}).get("frame") == 4)
        document["images"].remove(gone)
        document["annotations"] = [one for one in document["annotations"] if one["image_id"] != gone["id"]]

    assert back(edit_json(walk.written("coco", tmp_path), change)).frames.tolist() == [0, 2, *range(6, 21, 2)]


def test_a_neck_that_is_moved_is_named_where_the_run_has_none(walk: Results, tmp_path: Path) -> None:
    def change(document: Any) -> None:
        at = 3 * document["categories"][0]["keypoints"].index("head_bottom")
        annotation(document, walk, 2, 0)["keypoints"][at] += 5

    (sentence,) = back(edit_json(walk.written("posetrack18", tmp_path), change)).ignored
    assert "frame 2, track 0: head_bottom was changed" in sentence


# Label Studio


def submit(path: Path, change: Callable[[int, list[dict[str, Any]]], list[dict[str, Any]] | None] | None = None) -> Path:
    """Submit every task, as it was predicted or as `change` has it by frame; None for one that is left open."""
    tasks = json.loads(path.read_text())
    for n, task in enumerate(tasks):
        (predicted,) = task["predictions"]
        result = predicted["result"] if change is None else change(task["data"]["frame"], predicted["result"])
        if result is not None:
            task |= {"id": n, "annotations": [{"id": n, "was_cancelled": False, "result": result}]}
    path.write_text(json.dumps(tasks))
    return path


def test_label_studio_gets_a_task_a_frame_with_addresses_of_pictures_and_its_interface(walk: Results, tmp_path: Path) -> None:
    tasks = json.loads(walk.written("labelstudio", tmp_path, images="https://host/").read_text())
    assert [task["data"]["image"] for task in tasks[:2]] == [f"https://host/images/walk/{n:06d}.jpg" for n in (0, 2)]
    config = ET.parse(tmp_path / CONFIG_FILE).getroot()
    controls = {control.get("name"): control for control in config if control.get("name") != "image"}
    used = {region["from_name"] for task in tasks for region in task["predictions"][0]["result"]}
    assert used == set(controls)
    assert [label.get("value") for label in controls["keypoint"]] == list(COCO_17.keypoints)
    ids = [region["id"] for task in tasks for region in task["predictions"][0]["result"] if region["type"] != "number"]
    assert len(ids) == len(set(ids))


def test_what_people_change_in_label_studio_comes_back(walk: Results, tmp_path: Path) -> None:
    def region(result: list[dict[str, Any]], track: int) -> str:
        return next(one["id"] for one in result if one["type"] == "number" and one["value"]["number"] == track)

    def change(frame: int, result: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        if frame == 2:
            own = region(result, 1)
            nose = next(one for one in result if one["id"] == f"{own}.nose")
            nose["value"] |= {"x": 50, "y": 25}
            result = [one for one in result if one["id"] != f"{own}.right_wrist"]
            wrist = {"x": 10, "y": 10, "width": 0.4, "keypointlabels": ["left_wrist"]}  # drawn into the person
            result.append({**nose, "id": "xYz", "parentID": own, "value": wrist})
        elif frame == 4:
            own = region(result, 0)
            result = [one for one in result if own not in (one["id"], one.get("parentID"))]
            result.append({"id": "aBc", "type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": 9, "height": 9}})
        elif frame == 6:
            return None
        elif frame > 10:
            for one in result:
                if one["type"] == "number" and one["value"]["number"] == 1:
                    one["value"]["number"] = 5
        return result

    found = back(submit(walk.written("labelstudio", tmp_path), change))
    now, was = found.xy_px[place(found, walk, 2, 1)], walk.xy_px()[person(walk, 2, 1)].copy()
    was[[0, LEFT_WRIST, RIGHT_WRIST]] = [120, 50], [24, 20], [np.nan, np.nan]  # of 240 x 200
    np.testing.assert_allclose(now, was, atol=0.01)
    assert found.frames.tolist() == [0, 2, 4, *range(8, 21, 2)]
    assert found.label[found.frame == 4].tolist() == [1]
    assert not (found.frame == 6).any()
    assert label_of(found, walk, 1) == [*[1] * 5, *[5] * 5]
    assert found.ignored == (f"{walk.video}, frame 4: a region of the type rectanglelabels was added by hand",)


# Suspects


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A person who jumps away in frame 10 alone, and one who does not."""
    placed = ((frame, track, (60.0 if track else 300.0) + (400 if (frame, track) == (10, 1) else 0))
              for frame in range(21) for track in (0, 1))  # fmt: skip
    return results(tmp_path_factory.mktemp("jumping"), *placed)


@pytest.mark.parametrize("format_", FORMATS)
def test_suspects_are_exported_with_everybody_in_the_frames_around_them(
    format_: Format, jumping: Results, tmp_path: Path
) -> None:
    suspects = read_results(jumping.store, None, "suspects").to_pydict()
    assert suspects["frame"]
    frames = read_results(jumping.store, None, "frames").to_pydict()
    near = [frame for frame, pts_ns in zip(frames["frame"], frames["pts_ns"], strict=True)
            if any(abs(pts_ns - own) <= 500_000_000 for own in suspects["pts_ns"])]  # fmt: skip
    assert 0 < len(near) < len(frames["frame"])
    path = jumping.written(format_, tmp_path, suspects_only=True)
    if format_ == "labelstudio":
        submit(path)
    found = back(path)
    assert_as_exported(found, jumping, near)
    assert {frame for frame in found.frames.tolist() if frame % 2 == 0} == set(near)


def test_without_suspects_there_is_nothing_to_export(walk: Results, tmp_path: Path) -> None:
    assert read_results(walk.store, None, "suspects").num_rows == 0
    with pytest.raises(InputError, match="no suspects"):
        walk.written("cvat", tmp_path, suspects_only=True)
    assert list(tmp_path.iterdir()) == []


def test_options_that_a_format_has_not_are_refused(walk: Results, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--suspects: parquet"):
        list(export(walk.store, None, "parquet", str(tmp_path), suspects_only=True))
    with pytest.raises(SettingsError, match="--images: coco"):
        list(export(walk.store, None, "coco", str(tmp_path), images="x"))


@pytest.mark.slow
def test_the_command_exports_suspects_of_a_run(jumping: Results, tmp_path: Path) -> None:
    address = f"{jumping.store.root}@{jumping.run}"
    done = tkm("export", address, "--format", "cvat", "--suspects", "-o", str(tmp_path))
    assert done.stdout.split() == [f"{tmp_path}/walk.xml", f"{tmp_path}/{LABELS_FILE}"], done.stderr
    refused = tkm("export", address, "--format", "coco", "--images", "x", "-o", str(tmp_path))
    assert refused.returncode != 0
    assert "--images" in refused.stderr


# Files that nobody should have to trust


def laughs(text: str) -> str:
    entities = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    return text.replace("<annotations>", f"{entities}<annotations>&b;", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (laughs, "has a DTD or entities"),
        (lambda text: text.replace("<annotations>", '<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotations>', 1), "has a DTD"),
        (lambda text: text[: len(text) // 2], r"line \d+: this is no XML"),
        (lambda text: text.replace("<track ", "<a>" * 100 + "</a>" * 100 + "<track ", 1), r"line \d+: elements are nested"),
        (lambda text: re.sub('points="[^"]*"', 'points="nan,1"', text, count=1), r"line \d+: a keypoint lies at 'nan,1'"),
        (lambda text: re.sub('points="[^"]*"', 'points="1e300,1"', text, count=1), r"line \d+: a keypoint lies at"),
        (lambda text: re.sub('points="[^"]*"', 'points="1,2;3,4"', text, count=1), r"line \d+: points of a keypoint must be two"),
        (lambda text: text.replace('frame="2"', f'frame="{"9" * 5000}"', 1), r"line \d+: the frame of a <skeleton>"),
        (lambda text: text.replace('frame="2"', 'frame="two"', 1), r"line \d+: the frame of a <skeleton>"),
        (lambda text: text.replace('outside="0"', 'outside="maybe"', 1), r"line \d+: outside must be 0 or 1"),
        (lambda text: text.replace('label="left_eye"', 'label="nose"', 1), r"line \d+: the keypoint 'nose' is twice"),
        (lambda text: text.replace("detection 0", "detection none", 1), r"line \d+: the attribute `person` must be as it was"),
        (lambda text: text.replace(" 0-20<", " 0-99999999999<"), r"line \d+: the attribute `export` cannot be read"),
        (lambda text: text.replace("coco_17", "octopus_8"), r"line \d+: .*no skeleton 'octopus_8'"),
        (lambda text: text.replace('name="export"', 'name="other"'), "by which people are known again"),
        (lambda text: text.replace("annotations>", "dataset>"), "begin with <annotations>"),
        (lambda _: '<annotations><image id="0" name="a"/></annotations>', "export from CVAT as `CVAT for video 1.1`"),
    ],
)  # fmt: skip
def test_a_cvat_file_that_is_wrong_is_refused_with_its_place(
    change: Callable[[str], str], said: str, walk: Results, tmp_path: Path
) -> None:
    path = walk.written("cvat", tmp_path)
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(InputError, match=said) as refused:
        back(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("format_", "change", "said"),
    [
        ("coco", lambda document: document["images"][0]["tkm"].update(frame=-1), r"images\[0\]: tkm\[0\].frame"),
        ("coco", lambda document: document["images"][0]["tkm"].update(frame=1e400), "Infinity is no JSON number"),
        ("coco", lambda document: document["images"][0]["tkm"].update(skeleton="x"), r"tkm\[0\].skeleton"),
        ("coco", lambda document: document["images"][0].update(tkm=[1]), r"images\[0\]: tkm\[0\] must be a JSON object"),
        ("coco", lambda document: document["annotations"][3].update(keypoints=[1, 2]), r"annotations\[3\].keypoints"),
        ("coco", lambda document: document["annotations"][3]["tkm"].update(detection="a"), r"tions\[3\]: tkm\[0\].detection"),
        ("coco", lambda document: document["annotations"][3].update(track_id=10**15), r"annotations\[3\].track_id"),
        ("coco", lambda document: [image.pop("tkm", None) for image in document["images"]], "no image in it has the key `tkm`"),
        ("posetrack18", lambda document: document["annotations"][3]["tkm"].pop("keypoints"), r"tions\[3\]: tkm\[0\].keypoints"),
        ("posetrack18", lambda document: document["annotations"][3].update(image_id=7), r"annotations\[3\].image_id"),
        ("labelstudio", lambda tasks: tasks[2]["data"].pop("run"), r"tasks\[2\]: its data tell no run"),
        ("labelstudio", lambda tasks: tasks[2]["data"].update(frame=10**9), r"tasks\[2\].data.frame"),
        ("labelstudio", lambda tasks: tasks[2]["data"]["people"].update(f0d0={}), r"tasks\[2\].data.people.f0d0 names nobody"),
        ("labelstudio", lambda tasks: tasks[2].update(annotations=[{"result": [{"id": "f4d0", "type": "rectanglelabels"}]}]),
         r"tasks\[2\]: annotations\[0\]: result\[0\].value"),
        ("labelstudio", lambda tasks: tasks[2].update(annotations=3), r"tasks\[2\]: annotations must be a list"),
        ("labelstudio", lambda tasks: tasks.clear(), "there are no tasks"),
    ],
)  # fmt: skip
def test_a_json_file_that_is_wrong_is_refused_with_its_place(
    format_: Format, change: Callable[[Any], object], said: str, walk: Results, tmp_path: Path
) -> None:
    path = walk.written(format_, tmp_path)
    edit_json(path, lambda document: change(document) and None)
    with pytest.raises(InputError, match=said) as refused:
        back(path)
    assert path.name in str(refused.value)


def test_files_that_are_no_export_say_so(walk: Results, tmp_path: Path) -> None:
    path = walk.written("coco", tmp_path)
    with pytest.raises(InputError, match=r"results.json: these are COCO's results.* correct annotations.json"):
        back(tmp_path / "results.json")
    with pytest.raises(InputError, match="of the format coco, not cvat"):
        back(path, "cvat")
    with pytest.raises(InputError, match="no such file"):
        back(tmp_path / "gone.xml")
    again = tmp_path / "again.json"
    again.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=f"{walk.video} is in .*again.json and again in .*annotations.json"):
        read_annotated(str(tmp_path), None)
    again.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"again.json.*nested too deeply"):
        back(again)
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(InputError, match=r"bad.zip: it is a ZIP file that cannot be read"):
        back(tmp_path / "bad.zip")


def test_a_zip_file_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, walk: Results, tmp_path: Path) -> None:
    monkeypatch.setattr("storage.annotated.MAX_DOCUMENT_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "task.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", b"<" * 10_000_000)
    with pytest.raises(InputError, match="has over"):
        back(tmp_path / "task.zip")


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch, walk: Results, tmp_path: Path) -> None:
    path = walk.written("cvat", tmp_path)
    monkeypatch.setattr("storage.documents.MAX_DOCUMENT_BYTES", 1000)
    with pytest.raises(LimitError, match=r"walk\.xml"):
        back(path)


def test_an_origin_is_read_as_it_is_written() -> None:
    origin = Origin("walk-12345678", "20260101-000000-abcdef", COCO_17, ((0, 20), (30, 30), (40, 99)))
    assert Origin.parse(str(origin)) == origin
    assert origin.frames.tolist() == [*range(21), 30, *range(40, 100)]
    for text in ("", "walk", "walk@run coco_17 3-1", "walk@run coco_17 0-5,5-9", "walk@run coco_17 -", "../x@run coco_17 0-1"):
        with pytest.raises(ValueError, match="it does not tell|pairs|rise"):
            Origin.parse(text)
