"""What is exported to be corrected comes back as it was, or as people leave it; of CVAT, see test_corrected_cvat."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.export import export
from flows.settings import SettingsError
from storage.annotated import Format, read_annotated
from storage.cvat import LABELS_FILE
from storage.labelstudio import CONFIG_FILE
from storage.sources import InputError
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import tkm
from tests.flows.corrected import (
    FORMATS,
    LEFT_WRIST,
    RIGHT_WRIST,
    Results,
    annotation,
    assert_as_exported,
    back,
    edit_json,
    label_of,
    person,
    place,
    results,
    submit,
)
from tkm.skeleton import COCO_17, POSETRACK_15


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


# COCO and PoseTrack


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


