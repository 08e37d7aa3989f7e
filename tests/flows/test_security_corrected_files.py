"""Corrected files come from strangers: what is wrong or hostile in one is an error that names file and place."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.annotated import Format, read_annotated
from storage.handed_out import Origin
from storage.reading import LimitError
from storage.sources import InputError
from tests.flows.corrected import (
    Results,
    back,
    edit_json,
)
from tkm.skeleton import COCO_17


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
        ("coco", lambda document: document["annotations"][3]["keypoints"].__setitem__(slice(0, 3), [1e39, 4, 2]),
         "a keypoint lies over 1,000,000 px away"),
        ("coco", lambda document: document["images"][2]["tkm"].update(skeleton="posetrack_15"), "tell of different skeletons"),
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
    with zipfile.ZipFile(tmp_path / "flipped.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(walk.written("cvat", tmp_path / "cvat"), "annotations.xml")
    data = bytearray((tmp_path / "flipped.zip").read_bytes())
    data[60:80] = bytes(20)
    (tmp_path / "flipped.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"flipped.zip: it is a ZIP file that cannot be read"):
        back(tmp_path / "flipped.zip")


def test_a_cvat_file_of_several_exports_is_refused(walk: Results, tmp_path: Path) -> None:
    path = walk.written("cvat", tmp_path)
    text = path.read_text()
    path.write_text(text.replace(walk.video, "another-0badcafe", text.count(walk.video) // 2))
    with pytest.raises(InputError, match="people of several exports"):
        back(path)


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
        with pytest.raises(ValueError, match=r"it does not tell|pairs|rise"):
            Origin.parse(text)
