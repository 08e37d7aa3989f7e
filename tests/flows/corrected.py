"""A run whose people are exported to be corrected, files as people and programs change them, and what comes back."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.export import export
from storage.annotated import AnnotatedVideo, Format, read_annotated
from storage.codecs import column, keypoints_from_columns
from storage.sources import Source
from storage.store import Store
from tasks.merge import read_results
from tests.flows.given_runs import annotated, people
from tests.flows.results import write_clip
from tkm.skeleton import COCO_17, Skeleton

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


def edit_json(path: Path, change: Callable[[Any], None]) -> Path:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def annotation(document: Any, walk: Results, frame: int, track: int) -> dict[str, Any]:
    return next(one for one in document["annotations"] if (one["tkm"]["frame"], one["tkm"]["track"]) == (frame, track))


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
