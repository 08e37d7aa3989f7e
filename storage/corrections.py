"""What people corrected of a video, kept for good below corrections/<video>/ of a store, written once and never changed.

    <time>-<sha256>.json                      the edits of one import
    <time>-<sha256>-revokes-<sha256>.json     takes the edits back that have the second digest

Names hold the digest of what is in the object and sort by time, so that one listing tells the corrections in force of all videos.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.artifacts import DamagedArtifactError
from storage.store import Store, StoreError
from tkm.corrections import Anchor, Edit
from tkm.skeleton import skeleton_of

_STAMP = "%Y%m%dT%H%M%S%fZ"
_SHOWN_ID = 12  # digits of the digest by which people name a correction
NAME = r"\d{8}T\d{12}Z-[0-9a-f]{64}"
_OBJECT = re.compile(rf"corrections/([A-Za-z0-9_-]{{1,200}})/({NAME})(?:-revokes-([0-9a-f]{{64}}))?\.json")


@dataclass(frozen=True)
class Correction:
    """The edits of one import to one video.

    author          who made it, as they call themselves
    source          name of the file or folder that was imported; source_sha256 its digest
    run             run whose results were corrected
    skeleton        names and order of the keypoints that the edits' anchors have
    """

    video: str
    author: str
    source: str
    source_sha256: str
    run: str
    skeleton: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Kept:
    """An import as names tell it: its video, its own name, when it was kept (UTC), and whether it was revoked."""

    video: str
    name: str
    created: datetime
    is_revoked: bool

    @property
    def id(self) -> str:
        """What people call it."""
        return id_of(self.name)


def id_of(name: str) -> str:
    """What people call a correction of that name: the first digits of its digest."""
    return name.rpartition("-")[2][:_SHOWN_ID]


def created_of(name: str) -> datetime:
    """When a correction of that name was kept, UTC."""
    return datetime.strptime(name.partition("-")[0], _STAMP).replace(tzinfo=UTC)


def list_corrections(store: Store, video: str | None = None) -> dict[str, tuple[Kept, ...]]:
    """All imports that were ever kept, by video and in order of time: of all videos or of one, by one listing."""
    made, revoked = [], set()
    for found in map(_OBJECT.fullmatch, store.list("corrections" if video is None else f"corrections/{video}")):
        if found and found[3]:
            revoked.add((found[1], found[3]))
        elif found:
            made.append((found[1], found[2]))
    by_video: dict[str, tuple[Kept, ...]] = {}
    for of, name in sorted(made):
        kept = Kept(of, name, created_of(name), (of, name.rpartition("-")[2]) in revoked)
        by_video[of] = (*by_video.get(of, ()), kept)
    return by_video


def in_force(store: Store) -> dict[str, tuple[str, ...]]:
    """Names of the corrections that hold, by video and in order; videos without any are left out."""
    found = {of: tuple(one.name for one in kept if not one.is_revoked) for of, kept in list_corrections(store).items()}
    return {of: names for of, names in found.items() if names}


def write_correction(store: Store, correction: Correction) -> str:
    """Keep a correction; its name."""
    value = {**asdict(correction), "edits": [_edit_json(edit, correction.skeleton) for edit in correction.edits]}
    return _write(store, correction.video, value, "")


def revoke(store: Store, kept: Kept, author: str) -> None:
    """Take a correction back. It stays, and so does the word that it was revoked."""
    of = kept.name.rpartition("-")[2]
    _write(store, kept.video, {"video": kept.video, "author": author, "revokes": of}, f"-revokes-{of}")


def read_correction(store: Store, video: str, name: str) -> Correction:
    """A correction that was kept. DamagedArtifactError where it is gone or is not what was written, StoreError where another
    version wrote it.
    """
    where = f"{store.root}/{_object(video, name)}"
    try:
        data = store.read(_object(video, name))
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != name.rpartition("-")[2]:
        remedy = f"put it back from a copy, or run `tkm verify {store.root}`, which takes it away, and import it again"
        raise DamagedArtifactError(f"{where} is damaged or missing: {remedy}")
    try:
        value = json.loads(data)
        del value["created"]
        return Correction(**{**value, "edits": tuple(_edit(edit, value["skeleton"]) for edit in value["edits"])})
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where} is not of the form that this version writes; use the version that wrote it") from error


def is_whole_correction(store: Store, name: str) -> bool:
    """Whether an object below corrections/ holds what its name tells by digest; one that does not is taken away.

    Of a revocation the name says all that counts: it stays whatever it holds, or what was revoked would be back.
    """
    found = _OBJECT.fullmatch(name)
    told = found[2].rpartition("-")[2] if found and not found[3] else None
    is_whole = told is None or told == hashlib.sha256(store.read(name)).hexdigest()
    if not is_whole:
        store.delete(name)
    return is_whole


def _write(store: Store, video: str, value: Mapping[str, Any], ending: str) -> str:
    now = datetime.now(UTC)
    for latest in list_corrections(store, video).get(video, ())[-1:]:  # also where a clock is behind
        now = max(now, latest.created + timedelta(microseconds=1))
    stamp = now.strftime(_STAMP)
    # With its time, for what was revoked may be imported again.
    data = json.dumps({"created": stamp, **value}, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    name = f"{stamp}-{hashlib.sha256(data).hexdigest()}"
    store.create(_object(video, name + ending), data)
    return name


def _object(video: str, name: str) -> str:
    return f"corrections/{video}/{name}.json"


def _edit_json(edit: Edit, skeleton: str) -> dict[str, Any]:
    """Keypoints by name, for the number is another in another skeleton; what an edit has not is left out."""
    joint = None if edit.joint is None else skeleton_of(skeleton).keypoints[edit.joint]
    return {name: value for name, value in {**asdict(edit), "joint": joint}.items() if value is not None}


def _edit(value: Mapping[str, Any], skeleton: str) -> Edit:
    read: dict[str, Callable[[Any], Any]] = {
        "anchor": _anchor,
        "other": _anchor,
        "joint": skeleton_of(skeleton).keypoints.index,
        "xy_px": tuple,
    }
    return Edit(**{name: read[name](own) if name in read else own for name, own in value.items()})


def _anchor(value: Mapping[str, Any]) -> Anchor:
    places = tuple(None if place is None else (place[0], place[1]) for place in value["xy_px"])
    x1, y1, x2, y2 = value["box_xyxy_px"]
    return Anchor(value["frame"], (x1, y1, x2, y2), places)
