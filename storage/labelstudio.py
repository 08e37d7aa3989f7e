"""Label Studio's JSON: a task a frame, with a rectangle a person and the keypoints in it, written to correct, and read back.

Regions are known again by their ids, which Label Studio keeps from a prediction to the annotation that is made of it: `f12d3` is
detection 3 of frame 12, `f12d3.left_wrist` its left wrist. What people are compared with stands in the task's `data`.

Shape legend: P people in frames, K keypoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from storage.handed_out import MAX_FRAME, NEW_TRACK, AnnotatedVideo, HandedOut, Left, annotated_video
from storage.sources import InputError
from tkm.datasets.columns import Double, Entries
from tkm.datasets.errors import DatasetError
from tkm.skeleton import Skeleton, skeleton_of
from tkm.types import Float

CONFIG_FILE = "label_studio_config.xml"
PREFIX = "/data/local-files/?d="  # Label Studio's own address of files in its local storage
ROUNDING_PX = 0.1  # percent of the picture, which the editor keeps with all digits
BOX_MOVED = 0.05  # percent of the picture
_PERSON = re.compile(r"f(\d{1,8})d(\d{1,12})", re.ASCII)


def write_config(skeleton: Skeleton) -> bytes:
    """The labelling interface of a project: paste it into the project's settings."""
    keypoints = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in skeleton.keypoints)
    return f"""<View>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="person" toName="image">
    <Label value="person"/>
  </RectangleLabels>
  <KeyPointLabels name="keypoint" toName="image">
{keypoints}
  </KeyPointLabels>
  <Number name="track" toName="image" perRegion="true" min="0" step="1"/>
</View>
""".encode()


def write(given: HandedOut, prefix: str) -> list[dict[str, Any]]:
    """The tasks of a video, one a frame that is exported; `prefix` goes before the names of the pictures.

    Raises: InputError where the size of the pictures, which places are shares of, is not known.
    """
    if not all(given.size_px):
        raise InputError(f"{given.video}: the size of its frames is not known, which Label Studio needs; export as coco or cvat")
    first = np.searchsorted(given.frame, given.frames, side="left")
    last = np.searchsorted(given.frame, given.frames, side="right")
    tasks = []
    for frame, a, b in zip(given.frames.tolist(), first.tolist(), last.tolist(), strict=True):
        result = [part for row in range(a, b) for part in _results(given, row, _region(given, row))]
        tasks.append(
            {
                "data": {
                    "image": prefix + given.pictures[frame],
                    "video": given.video,
                    "run": given.run,
                    "skeleton": given.skeleton.name,
                    "frame": frame,
                    "width": given.size_px[0],
                    "height": given.size_px[1],
                    "people": dict(_asked(given, row) for row in range(a, b)),
                },
                "predictions": [{"model_version": given.run, "result": result}],
            }
        )
    return tasks


def _asked(given: HandedOut, row: int) -> tuple[str, dict[str, Any]]:
    """What a task's data tell of a person, by their region: what comes back is compared with it."""
    region = _region(given, row)
    box = [region["value"][side] for side in ("x", "y", "width", "height")]
    return region["id"], {"track": int(given.track_id[row]), "box": box}


def _region(given: HandedOut, row: int) -> dict[str, Any]:
    width, height = given.size_px
    x1, y1, x2, y2 = given.box_xyxy_px[row].astype(np.float64).tolist()
    return {
        **_common(given, f"f{given.frame[row]}d{given.detection[row]}", "person"),
        "type": "rectanglelabels",
        "value": {
            "x": x1 / width * 100,
            "y": y1 / height * 100,
            "width": (x2 - x1) / width * 100,
            "height": (y2 - y1) / height * 100,
            "rotation": 0,
            "rectanglelabels": ["person"],
        },
    }


def _results(given: HandedOut, row: int, region: dict[str, Any]) -> list[dict[str, Any]]:
    width, height = given.size_px
    box = {name: value for name, value in region["value"].items() if name != "rectanglelabels"}
    track = {**region, "from_name": "track", "type": "number", "value": {**box, "number": int(given.track_id[row])}}
    points = [
        {
            **_common(given, f"{region['id']}.{name}", "keypoint"),
            "type": "keypointlabels",
            "parentID": region["id"],
            "value": {"x": x / width * 100, "y": y / height * 100, "width": 0.4, "keypointlabels": [name]},
        }
        for name, (x, y) in zip(given.skeleton.keypoints, given.xy_px[row].astype(np.float64).tolist(), strict=True)
        if x == x and y == y  # NaN where absent
    ]
    return [region, track, *points]


def _common(given: HandedOut, id_: str, name: str) -> dict[str, Any]:
    width, height = given.size_px
    return {
        "id": id_, "from_name": name, "to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0,
    }  # fmt: skip


def read(document: Any, uri: str) -> list[AnnotatedVideo]:
    """What people left of the people of the tasks of `write`, as Label Studio exports them (JSON, not JSON-MIN).

    Only tasks with an annotation count: what nobody submitted, nobody looked at. Raises: InputError, which names file and entry.
    """
    try:
        return _read(document if isinstance(document, list) else [document], uri)
    except DatasetError as error:
        raise InputError(f"{error}; export from Label Studio as JSON, not JSON-MIN") from None


def _read(document: list[Any], uri: str) -> list[AnnotatedVideo]:
    tasks = Entries.of({"tasks": document}, "tasks", uri)
    videos: dict[tuple[str, str, str], list[_Task]] = {}
    for n in range(len(tasks)):
        task = _task(tasks.objects[n], tasks.where[n])
        videos.setdefault((task.video, task.run, task.skeleton.name), []).append(task)
    if not videos:
        raise InputError(f"{uri}: there are no tasks in it; export from Label Studio as JSON")
    return [_video(own) for own in videos.values()]


@dataclass(frozen=True)
class _Task:
    """A frame as it was exported, by the `data` of its task, and what was submitted: `regions`, None where nothing was.

    tracks    by region, the track id of everybody who was exported
    boxes     (P, 4), their boxes in percent, x, y, width and height
    answers   how often it was submitted
    """

    where: str
    video: str
    run: str
    skeleton: Skeleton
    frame: int
    size_px: tuple[int, int]
    tracks: dict[str, int]
    boxes: dict[str, Double]
    answers: int
    regions: Entries | None


def _task(entry: dict[str, Any], where: str) -> _Task:
    data = entry.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("run"), str):
        raise InputError(f"{where}: its data tell no run: this is no task of `tkm export --format labelstudio`")
    fields = Entries([data], [f"{where}.data"])
    frame, width, height = (int(fields.integers(name)[0]) for name in ("frame", "width", "height"))
    if not 0 <= frame < MAX_FRAME:
        fields.refuse(0, "frame", f"a whole number below {MAX_FRAME}")
    people = data.get("people")
    if not isinstance(people, dict) or not all(isinstance(one, dict) for one in people.values()):
        fields.refuse(0, "people", "an object, as it was exported")
    given = Entries(list(people.values()), [f"{where}.data.people.{key[:40]}" for key in people])
    for n, key in enumerate(people):
        match = _PERSON.fullmatch(key)
        if match is None or int(match[1]) != frame:
            raise InputError(f"{given.where[n]} names nobody of frame {frame}; people must stay as they were exported")
    try:
        skeleton = skeleton_of(fields.texts("skeleton")[0])
    except ValueError as error:
        raise InputError(f"{where}.data: {error}") from None
    answers = Entries.of(entry, "annotations", where) if entry.get("annotations") is not None else Entries([], [])
    done = [n for n, one in enumerate(answers.objects) if one.get("was_cancelled") is not True]
    newest = max(done, key=lambda n: (str(answers.objects[n].get("updated_at", "")), n), default=-1)
    return _Task(
        where=where,
        video=fields.texts("video")[0],
        run=data["run"],
        skeleton=skeleton,
        frame=frame,
        size_px=(width, height),
        tracks=dict(zip(people, given.integers("track").tolist(), strict=True)),
        boxes=dict(zip(people, given.rows("box", 4), strict=True)),
        answers=len(done),
        regions=Entries.of(answers.objects[newest], "result", answers.where[newest]) if done else None,
    )


def _video(tasks: list[_Task]) -> AnnotatedVideo:
    ignored: list[str] = []
    left = [one for task in tasks for one in _people(task, ignored)]
    frames = np.unique(np.array([task.frame for task in tasks if task.regions is not None], np.int64))
    keypoints = len(tasks[0].skeleton.keypoints)
    return annotated_video(tasks[0].video, tasks[0].run, frames, left, keypoints, ROUNDING_PX, ignored)


def _people(task: _Task, ignored: list[str]) -> Iterator[Left]:
    """Who is left in a frame: those whose rectangle is. What else was done is told in `ignored`."""
    if task.regions is None:
        return
    here = f"{task.video}, frame {task.frame}"
    if task.answers > 1:
        ignored.append(f"{here}: it was submitted {task.answers} times: the newest counts")
    label: dict[str, int] = {}
    xy_px: dict[str, Float] = {}
    points: list[tuple[str, int]] = []
    for n, (id_, kind) in enumerate(zip(task.regions.texts("id", ""), task.regions.texts("type", ""), strict=True)):
        if kind == "rectanglelabels" and id_ in task.tracks:
            xy_px.setdefault(id_, np.full((len(task.skeleton.keypoints), 2), np.nan, np.float32))
            if (np.abs(_values(task.regions, n, "x", "y", "width", "height") - task.boxes[id_]) > BOX_MOVED).any():
                ignored.append(f"{here}: the box of {id_} was changed, which results are not corrected by")
        elif kind == "number":
            if id_ in task.tracks:
                label[id_] = _track(task.regions, n)
        elif kind == "keypointlabels":
            points.append((str(task.regions.objects[n].get("parentID") or id_.partition(".")[0]), n))
        else:
            ignored.append(f"{here}: a region of the type {kind[:40] or 'nothing'} was added by hand")
    for person, n in points:
        _place(task, person, n, xy_px, ignored)
    for id_, places in xy_px.items():
        match = _PERSON.fullmatch(id_)
        assert match is not None
        yield Left(task.frame, int(match[2]), label.get(id_, task.tracks[id_]), places)


def _place(task: _Task, person: str, n: int, xy_px: dict[str, Float], ignored: list[str]) -> None:
    """Put the keypoint of a region to its person."""
    assert task.regions is not None
    here = f"{task.video}, frame {task.frame}"
    names = _of(task.regions, n).objects[0].get("keypointlabels")
    name = names[0] if isinstance(names, list) and len(names) == 1 else None
    if name not in task.skeleton.keypoints:
        ignored.append(f"{here}: a keypoint is labelled {str(names)[:60]}, which the run's poses have not")
    elif person not in xy_px:
        why = "whose rectangle is gone, so that the person counts as deleted" if person in task.tracks else "who was not exported"
        if not any(sentence.startswith(f"{here}: keypoints of {person[:40] or 'nobody'},") for sentence in ignored):
            ignored.append(f"{here}: keypoints of {person[:40] or 'nobody'}, {why}")
    else:
        place = xy_px[person][task.skeleton.keypoints.index(name)]
        if not np.isnan(place).any():
            ignored.append(f"{here}: {person} has the keypoint {name} twice: the first counts")
        else:
            place[:] = _values(task.regions, n, "x", "y") / 100 * task.size_px


def _of(regions: Entries, n: int) -> Entries:
    """The `value` of a region."""
    value = regions.objects[n].get("value")
    if not isinstance(value, dict):
        regions.refuse(n, "value", "an object")
    return Entries([value], [f"{regions.where[n]}.value"])


def _values(regions: Entries, n: int, *names: str) -> Double:
    value = _of(regions, n)
    return np.array([value.numbers(name)[0] for name in names])


def _track(regions: Entries, n: int) -> int:
    value = _of(regions, n)
    number = int(value.integers("number")[0])
    if not 0 <= number < NEW_TRACK:
        value.refuse(0, "number", "the number of a track, 0 or more")
    return number
