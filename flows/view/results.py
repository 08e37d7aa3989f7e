"""What the tables hold of a video, as arrays that windows are cut from; and which videos there are.

Frames are counted by their place among the T sampled frames of their video.

Shape legend: T sampled frames, R people in frames, K keypoints.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
import pyarrow as pa

from flows.show import videos_of
from storage import tables
from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from storage.schemas import POSE_KEYPOINTS
from storage.store import Store
from tasks.merge import read_results
from tkm.skeleton import Skeleton
from tkm.types import Float, Int

PERSON = ("place", "track_id", "detection", "pose_score", "box_score", "box_x1", "box_y1", "box_x2", "box_y2")
HELD_POSES = 4_000_000  # people in frames, of the videos looked at last: 1 GB
SHOWN_VIDEOS = 200  # of a list; more are found by typing a part of the name
_JOINTS = [f"{joint}_{axis}" for joint in POSE_KEYPOINTS for axis in ("x", "y", "score")]


@dataclass(frozen=True)
class Looked:
    """A video that is looked at.

    row        its row in `videos`
    frames     (T,) int64, numbers of the sampled frames
    pts_ns     (T,) int64, their times
    skeleton   whose keypoints the people have
    track_id   (R,) int64
    people     (R, 9 + 3 K) float32, by place and track id: the columns of PERSON, then x, y in px and score of each keypoint, NaN
               where one is not given
    start      (T + 1,) int64, first of the people of each frame
    tracks     rows of `tracks`
    suspects   rows of `suspects`, the worst first; None where the results are of a version that looked for none
    """

    row: Mapping[str, Any]
    frames: Int
    pts_ns: Int
    skeleton: Skeleton
    track_id: Int
    people: Float
    start: Int
    tracks: list[dict[str, Any]]
    suspects: list[dict[str, Any]] | None

    def window(self, start: int, stop: int) -> Float:
        """(P, 9 + 3 K) the people of the frames [start, stop)."""
        return self.people[self.start[start] : self.start[stop]]

    def size_px(self) -> tuple[int, int]:
        """Width and height of the frames; where nothing tells it, what holds all boxes."""
        if self.row["width_px"]:
            return int(self.row["width_px"]), int(self.row["height_px"])
        right, bottom = (self.people[:, PERSON.index(side)].max(initial=1) for side in ("box_x2", "box_y2"))
        return math.ceil(right), math.ceil(bottom)

    def place_of(self, frame: int) -> int | None:
        """Place of a frame among the sampled ones, None for one that was not sampled."""
        place = int(np.searchsorted(self.frames, frame))
        return place if place < len(self.frames) and self.frames[place] == frame else None


class UnknownVideoError(LookupError):
    """There is no video of an id."""


class Results:
    """The results of a store, or of one of its runs; safe to be asked by many threads.

    Videos that were looked at last are held, and read anew when one is opened after the tables changed.
    """

    def __init__(self, store: Store, run: str | None) -> None:
        self.store, self.run = store, run
        self._lock = RLock()
        self._rows: dict[str, dict[str, Any]] = {}
        self._held: OrderedDict[str, tuple[object, Looked]] = OrderedDict()
        self.refresh()

    def refresh(self) -> None:
        """Read again which videos there are. StoreError where there are none."""
        rows = videos_of(self.store, self.run).to_dict("records")
        with self._lock:
            self._rows = {str(row["video"]): without_nan(row) for row in rows}

    def videos(self, text: str) -> dict[str, Any]:
        """How many videos have a text in their id or name, and the first of them by id."""
        with self._lock:
            rows = list(self._rows.values())
        sought = text.casefold()
        found = [row for row in rows if sought in row["video"].casefold() or sought in row["name"].casefold()]
        return {"videos": len(rows), "found": len(found), "shown": found[:SHOWN_VIDEOS]}

    def open(self, video: str) -> Looked:
        """A video as the tables show it now. UnknownVideoError where there is none of that id."""
        with self._lock:
            if video not in self._rows:
                raise UnknownVideoError(video)
            row = self._rows[video]
            state = self._state()
            held = self._held.pop(video, None)
            looked = held[1] if held and state is not None and held[0] == state else _read(self.store, self.run, row)
            self._held[video] = (state, looked)
            while len(self._held) > 1 and sum(len(one.people) for _, one in self._held.values()) > HELD_POSES:
                self._held.popitem(last=False)
            return looked

    def looked(self, video: str) -> Looked:
        """A video as it was when it was opened. UnknownVideoError where there is none of that id."""
        with self._lock:
            held = self._held.get(video)
            return held[1] if held else self.open(video)

    def _state(self) -> object:
        """What changes with the published tables; None for a run, whose rows are made of its artifacts each time."""
        table = None if self.run else tables.open_table(self.store, "poses")
        return None if table is None else table.version()


def without_nan(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of a table with None for what JSON has no number for."""
    return {str(name): None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}


def _read(store: Store, run: str | None, row: Mapping[str, Any]) -> Looked:
    sampled = _rows(store, run, row, "frames", ["frame", "pts_ns"])
    frames, pts_ns = column(sampled, "frame", np.int64), column(sampled, "pts_ns", np.int64)
    poses = _rows(store, run, row, "poses", ["frame", *PERSON[1:], *_JOINTS, "skeleton"])
    skeleton = skeleton_of_table(poses)
    place = np.searchsorted(frames, column(poses, "frame", np.int64))
    people = np.empty((poses.num_rows, len(PERSON) + 3 * len(skeleton.keypoints)), np.float32)
    people[:, 0] = place
    for n, name in enumerate(PERSON[1:], 1):
        people[:, n] = column(poses, name, np.float32)
    xy_px, score = keypoints_from_columns(poses, skeleton)
    people[:, len(PERSON) :] = np.concatenate([xy_px, score[..., None]], axis=2).reshape(len(people), 3 * len(skeleton.keypoints))
    is_told = row["suspects"] is not None
    return Looked(
        row=row,
        frames=frames,
        pts_ns=pts_ns,
        skeleton=skeleton,
        track_id=column(poses, "track_id", np.int64),
        people=people,
        start=np.searchsorted(place, np.arange(len(frames) + 1)),
        tracks=[without_nan(one) for one in _rows(store, run, row, "tracks").to_pylist()],
        suspects=[without_nan(one) for one in _rows(store, run, row, "suspects").to_pylist()] if is_told else None,
    )


def _rows(store: Store, run: str | None, row: Mapping[str, Any], name: str, columns: list[str] | None = None) -> pa.Table:
    """Rows of a video in a table, in the table's order."""
    if run is None:
        return tables.read(store, name, videos=[row["video"]], shard=row["shard"], columns=columns)
    return read_results(store, run, name, videos=[row["video"]], columns=columns)
