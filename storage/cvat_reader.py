"""What people left of the people of CVAT's XML, `CVAT for video 1.1`, that storage.cvat wrote.

CVAT writes a shape for every frame of a track: those of its key frames, with what people did there, and those that it draws
between, which repeat the attribute `person` of the key frame before them.

Shape legend: K keypoints.
"""

from __future__ import annotations

import re
import xml.sax
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NoReturn
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import Locator

import defusedxml.sax
import numpy as np
from defusedxml import DefusedXmlException

from storage.handed_out import FARTHEST_PX, MAX_FRAME, NEW_TRACK, AnnotatedVideo, Left, Origin, annotated_video
from storage.sources import InputError
from tkm.types import Float

ROUNDING_PX = 0.01  # two decimals in x and in y
_MAX_DEPTH, _MAX_TEXT = 32, 100_000
_PERSON = re.compile(r"frame (\d{1,8}), detection (\d{1,12}), track (\d{1,12}), next (\d{1,8})", re.ASCII)
_SHAPES = frozenset(("box", "ellipse", "polygon", "polyline", "points", "cuboid", "skeleton", "mask"))


@dataclass
class _Shape:
    """One shape as the file has it: what kind, where in the file, and its keypoints, None where outside."""

    kind: str
    line: int
    frame: int
    is_key: bool
    is_outside: bool
    points: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


class _Reader(ContentHandler):
    """Collects the tracks of a file; what does not fit is an InputError with the file and the line."""

    _locator: Locator

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.uri = uri
        self.tracks: list[list[_Shape]] = []
        self._open: list[str] = []
        self._shape: _Shape | None = None
        self._attribute, self._text = "", ""

    @property
    def line(self) -> int:
        return int(self._locator.getLineNumber() or 0)

    def refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self.uri}, line {self.line}: {what}")

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802 - the name that SAX calls
        self._open.append(name)
        if len(self._open) > _MAX_DEPTH:
            self.refuse(f"elements are nested more than {_MAX_DEPTH} deep")
        if len(self._open) == 1 and name != "annotations":
            self.refuse(f"CVAT's files begin with <annotations>, not <{name[:40]}>")
        if name == "image":
            self.refuse("this is `CVAT for images`; export from CVAT as `CVAT for video 1.1`, which keeps the tracks")
        if name == "track" and len(self._open) == 2:
            self.tracks.append([])
        elif self._open[1:2] == ["track"] and name in _SHAPES:
            if self._shape is None:
                self._begin(name, attrs)
            elif name == "points":
                self._add_point(self._shape, attrs)
        elif self._shape is not None and name == "attribute":
            self._attribute, self._text = attrs.get("name", ""), ""

    def characters(self, content: str) -> None:
        if self._attribute:
            self._text += content
            if len(self._text) > _MAX_TEXT:
                self.refuse(f"an attribute has more than {_MAX_TEXT} characters")

    def endElement(self, name: str) -> None:  # noqa: N802 - the name that SAX calls
        self._open.pop()
        if name == "attribute" and self._shape is not None and self._attribute:
            self._shape.attributes.setdefault(self._attribute, self._text.strip())
            self._attribute = ""
        elif self._shape is not None and len(self._open) == 2:
            self.tracks[-1].append(self._shape)
            self._shape = None

    def _begin(self, kind: str, attrs: Any) -> None:
        frame = attrs.get("frame", "")
        if not re.fullmatch(r"\d{1,8}", frame, re.ASCII) or int(frame) >= MAX_FRAME:
            self.refuse(f"the frame of a <{kind}> must be a whole number below {MAX_FRAME}, not {frame[:40]!r}")
        self._shape = _Shape(kind, self.line, int(frame), self._flag(attrs, "keyframe", "1"), self._flag(attrs, "outside", "0"))

    def _add_point(self, shape: _Shape, attrs: Any) -> None:
        label, text = attrs.get("label", ""), attrs.get("points", "")
        try:
            x, y = (float(number) for number in text.split(","))
        except ValueError:
            self.refuse(f"points of a keypoint must be two numbers x,y, not {text[:40]!r}")
        if not (abs(x) < FARTHEST_PX and abs(y) < FARTHEST_PX):  # NaN is not
            self.refuse(f"a keypoint lies at {text[:40]!r}, which is in no frame")
        if label in shape.points:
            self.refuse(f"the keypoint {label[:40]!r} is twice in one skeleton")
        shape.points[label] = None if self._flag(attrs, "outside", "0") else (x, y)

    def _flag(self, attrs: Any, name: str, missing: str) -> bool:
        value = attrs.get(name, missing)
        if value not in ("0", "1"):
            self.refuse(f"{name} must be 0 or 1, not {value[:40]!r}")
        return bool(value == "1")


@dataclass(frozen=True)
class _Person:
    """What a shape says of whom it was exported as; `following` is the frame in which that track is next, or the video's end."""

    frame: int
    detection: int
    track: int
    following: int


def read(data: bytes, uri: str) -> list[AnnotatedVideo]:
    """What people left of the people of a file of `write`, as CVAT writes it.

    Raises: InputError, which names file and line, for XML that is broken or has entities or a DTD, for other files of CVAT, and
        where nobody who was exported is left.
    """
    reader = _Reader(uri)
    try:
        defusedxml.sax.parseString(data, reader, forbid_dtd=True)
    except DefusedXmlException:
        raise InputError(f"{uri}: its XML has a DTD or entities, which CVAT's files do not: it is not read") from None
    except xml.sax.SAXParseException as error:
        raise InputError(f"{uri}, line {error.getLineNumber()}: this is no XML: {error.getMessage()}") from None
    except (UnicodeError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{uri}: this is no XML that can be read: {error}") from None
    tracks: dict[str, list[list[_Shape]]] = {}
    added = [track for track in reader.tracks if track and not _origin_of(track)]
    for track in reader.tracks:
        if origin := _origin_of(track):
            tracks.setdefault(origin, []).append(sorted(track, key=lambda shape: shape.frame))
    if not tracks:
        raise InputError(
            f"{uri}: nobody in it has the attributes `export` and `person`, by which people are known again; export with "
            "`tkm export --format cvat`, and create the task with the labels of its cvat_labels.json"
        )
    if len(tracks) > 1:
        raise InputError(f"{uri}: it has people of several exports, by their attributes `export`; give a file a video and export")
    [(text, own)] = tracks.items()
    return [_video(uri, text, own, added)]


def _origin_of(track: list[_Shape]) -> str:
    return next((text for shape in track if (text := shape.attributes.get("export", ""))), "")


def _video(uri: str, text: str, tracks: list[list[_Shape]], added: list[list[_Shape]]) -> AnnotatedVideo:
    try:
        origin = Origin.parse(text)
    except ValueError as error:
        raise InputError(f"{uri}, line {tracks[0][0].line}: the attribute `export` cannot be read: {error}") from None
    ignored = [f"{origin.video}, frame {track[0].frame}: a {track[0].kind} was added by hand" for track in added]
    dropped: set[int] = set()
    kept = []
    for track in tracks:
        people, lost = _told(uri, track, origin, ignored)
        dropped |= lost
        kept.append((people, track[0].attributes.get("track_id", "")))
    left = []
    for (people, _), label in zip(kept, _labels(uri, tracks, kept), strict=True):
        left += [
            Left(person.frame, person.detection, label, _keypoints(shape, origin, ignored))
            for person, shape in people
            if person.frame not in dropped
        ]
    frames = origin.frames
    frames = frames[~np.isin(frames, np.array(sorted(dropped), np.int64))]
    return annotated_video(
        origin.video, origin.run, frames, left, len(origin.skeleton.keypoints), ROUNDING_PX, ignored
    )


def _told(
    uri: str, track: list[_Shape], origin: Origin, ignored: list[str]
) -> tuple[list[tuple[_Person, _Shape]], set[int]]:
    """The exported people of a track with their shapes, and frames in which the one whom the track has there cannot be told."""
    people, lost, added = [], [], []
    seen = [(shape, _person(uri, shape)) for shape in track if not _is_gone(shape)]
    is_exported = any(person is not None and person.frame == shape.frame for shape, person in seen)
    for shape, person in seen:
        is_given = any(first <= shape.frame <= last for first, last in origin.spans)
        if person is not None and person.frame == shape.frame and is_given:
            people.append((person, shape))
        elif person is not None and is_exported and is_given and shape.frame >= person.following:
            lost.append(shape.frame)
        elif shape.is_key:  # others are what CVAT draws where nobody of the track was exported
            added.append(shape)
    for first, last in _runs(lost):
        where = f"frame {first}" if first == last else f"frames {first} to {last}"
        ignored.append(
            f"{origin.video}, {where}: a track was drawn on where its key frames were removed: nothing is changed there, of "
            "others neither"
        )
    ignored += [f"{origin.video}, frame {shape.frame}: a {shape.kind} was added by hand" for shape in added]
    return people, set(lost)


def _is_gone(shape: _Shape) -> bool:
    hidden = shape.kind == "skeleton" and all(place is None for place in shape.points.values())
    return shape.is_outside or hidden


def _person(uri: str, shape: _Shape) -> _Person | None:
    if shape.kind != "skeleton" or not (text := shape.attributes.get("person", "")):
        return None
    match = _PERSON.fullmatch(text)
    if match is None:
        raise InputError(
            f"{uri}, line {shape.line}: the attribute `person` must be as it was exported, not {text[:60]!r}; undo that in CVAT"
        )
    return _Person(*(int(number) for number in match.groups()))


def _labels(
    uri: str, tracks: list[list[_Shape]], kept: list[tuple[list[tuple[_Person, _Shape]], str]]
) -> list[int]:
    """The track id of each track: the first of those of its people that no track before it took, else a new one.

    A `track_id` that people wrote themselves, which none of its people had, counts before that.
    """
    labels = [-1] * len(kept)
    taken: set[int] = set()
    for n in sorted(range(len(kept)), key=lambda n: kept[n][0][0][0].frame if kept[n][0] else MAX_FRAME):
        people, told = kept[n]
        own = list(dict.fromkeys(person.track for person, _ in people))
        if told and not re.fullmatch(r"\d{1,12}", told, re.ASCII):
            raise InputError(f"{uri}, line {tracks[n][0].line}: track_id must be a whole number, not {told[:40]!r}")
        if told and own and int(told) not in own:
            labels[n] = int(told)
            continue
        labels[n] = next((track for track in own if track not in taken), NEW_TRACK + n)
        taken.add(labels[n])
    return labels


def _keypoints(shape: _Shape, origin: Origin, ignored: list[str]) -> Float:
    names = origin.skeleton.keypoints
    unknown = [label for label in shape.points if label not in names]
    if unknown:
        ignored.append(f"{origin.video}, frame {shape.frame}: the run's poses have no keypoint {unknown[0][:40]!r}")
    return np.array([shape.points.get(name) or (np.nan, np.nan) for name in names], np.float32)


def _runs(frames: list[int]) -> list[tuple[int, int]]:
    runs = [list(run) for _, run in groupby(enumerate(frames), key=lambda pair: pair[1] - pair[0])]
    return [(run[0][1], run[-1][1]) for run in runs]
