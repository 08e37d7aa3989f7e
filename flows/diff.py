"""diff: what changed from one run to another, or from one dataset to another: videos, parameters, rows, people.

Videos whose last artifact is the same have the same rows, and nothing of them is read. Of the others two videos' rows are in
memory at a time, and of the plans one shard's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import runs, tables
from storage.artifacts import Artifact, closed_keys
from storage.sources import InputError
from storage.store import Store, StoreError
from tasks import estimate, given, index, publish
from tasks.compare import PeopleChanged, RowsChanged, compare_rows
from tasks.merge import Finished, published_rows
from tasks.pipeline import PIPELINE
from tasks.plan import SHARDS
from tasks.stage import Stage

_TABLES = ("videos", "frames", "poses", "tracks")  # suspects follow from poses, and change numbers with every other one
_EDGES_PX: NDArray[np.float64] = np.geomspace(1e-3, 1e5, 1862)  # neighbours differ by 1%


@dataclass(frozen=True)
class Side:
    """One of the two: a store, and a run of it, None for what its tables show."""

    store: Store
    run: str | None

    @property
    def address(self) -> str:
        """As a user gives it."""
        return self.store.root if self.run is None else f"{self.store.root}@{self.run}"


@dataclass(frozen=True)
class Planned:
    """A video of a run: its identity, and by stage the key of its artifact and the parameters, as JSON."""

    finished: Finished
    run: str
    keys: Mapping[str, str]
    params: Mapping[str, str]
    is_whole: bool


@dataclass(frozen=True)
class VideoChanged:
    """What changed of a video: whether its content did, the stages that made other artifacts, its rows, its people."""

    video: str
    name: str
    is_other_content: bool
    stages: tuple[str, ...]
    rows: Mapping[str, RowsChanged]
    people: PeopleChanged


@dataclass(frozen=True)
class Change:
    """Something of a stage that is not what it was, in how many videos: a parameter, weights, or the stage's version."""

    stage: str
    what: str
    before: str
    after: str
    videos: int


@dataclass(frozen=True)
class Difference:
    """What changed from `first` to `second`, addresses.

    only_first, only_second   names of the videos that only one has finished
    same                      number of videos with the same rows
    changes                   of parameters, weights and versions, the stages in order
    rows                      by table; videos that only one has count as wholly removed or added, in `videos` alone
    keypoints, moved          of people in both; median_px, to 1%, and max_px are over all that moved
    videos                    those that have other rows
    """

    first: str
    second: str
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    same: int
    changes: tuple[Change, ...]
    rows: Mapping[str, RowsChanged]
    keypoints: int
    moved: int
    median_px: float
    max_px: float
    videos: tuple[VideoChanged, ...]

    @property
    def is_any(self) -> bool:
        """Whether the tables differ."""
        return bool(self.only_first or self.only_second or self.videos)


def diff(first: Side, second: Side) -> Difference:
    """What changed from one side to the other. Videos are the same by their id, which comes from their address.

    Raises StoreError where there is no such run, or a store without any, InputError where neither has finished a video.
    """
    sides = tuple(_Reader(side) for side in (first, second))
    only: tuple[list[str], list[str]] = ([], [])
    changes: Counter[tuple[str, str, str, str]] = Counter()
    rows = dict.fromkeys(_TABLES, RowsChanged())
    moved = np.zeros(len(_EDGES_PX) + 1, np.int64)
    videos: list[VideoChanged] = []
    same = 0
    for shard in range(SHARDS):
        here, there = (side.videos(shard) for side in sides)
        only[0].extend(here[video].finished.name for video in here if video not in there)
        only[1].extend(there[video].finished.name for video in there if video not in here)
        for video in sorted(here.keys() & there.keys()):
            one, other = here[video], there[video]
            changes.update(_changes(first.store, second.store, one, other))
            found = None if _rests_on(one) == _rests_on(other) else _compare(first.store, second.store, one, other)
            if found is None or not any(found.rows[name].is_any for name in _TABLES):
                same += 1
                continue
            moved += np.bincount(np.searchsorted(_EDGES_PX, found.people.distance_px), minlength=len(moved))
            rows = {name: rows[name] + found.rows[name] for name in _TABLES}
            videos.append(replace(found, people=replace(found.people, distance_px=np.zeros(0, np.float32))))
    if not (same or videos or only[0] or only[1]):
        raise InputError(f"neither {first.address} nor {second.address} has finished a video; run `tkm annotate` first")
    rows["videos"] += RowsChanged(added=len(only[1]), removed=len(only[0]))
    order = {stage.name: n for n, stage in enumerate(PIPELINE)}
    return Difference(
        first=first.address,
        second=second.address,
        only_first=tuple(sorted(only[0])),
        only_second=tuple(sorted(only[1])),
        same=same,
        changes=tuple(Change(*change, count) for change, count in sorted(changes.items(), key=lambda one: order[one[0][0]])),
        rows=rows,
        keypoints=sum(video.people.keypoints for video in videos),
        moved=int(moved.sum()),
        median_px=_median(moved),
        max_px=max((video.people.max_px for video in videos), default=0.0),
        videos=tuple(videos),
    )


class _Reader:
    """The finished videos of a side, shard by shard."""

    def __init__(self, side: Side) -> None:
        self._store = side.store
        self._run = None if side.run is None else runs.find_run(side.store, side.run)
        runs.find_run(side.store, None)
        self._whole = closed_keys(side.store, publish.STAGE.name)

    def videos(self, shard: int) -> dict[str, Planned]:
        """Finished videos by id, with what their run planned of them."""
        if self._run is not None:
            found = self._of_run(self._run, shard)
            return {video: planned for video, planned in found.items() if planned.is_whole}
        rows = tables.read_shard(self._store, "videos", shard).select(["video", "run", "publish_key"]).to_pylist()
        shown = {row["video"]: row for row in rows}
        videos: dict[str, Planned] = {}
        for run in sorted({row["run"] for row in rows}):
            videos |= {v: one for v, one in self._of_run(run, shard).items() if v in shown and shown[v]["run"] == run}
        for video, row in shown.items():
            if video not in videos or not videos[video].is_whole or row["publish_key"] != videos[video].finished.publish_key:
                raise StoreError(f"{video} is being published anew, or its artifact is gone; run `tkm annotate` to the end")
        return videos

    def _of_run(self, run: str, shard: int) -> dict[str, Planned]:
        by_video: dict[str, list[dict[str, Any]]] = {}
        for row in runs.read_plan(self._store, run, shard).to_pylist():
            by_video.setdefault(row["video"], []).append(row)
        return {video: self._planned(run, rows) for video, rows in sorted(by_video.items())}

    def _planned(self, run: str, rows: list[dict[str, Any]]) -> Planned:
        keys = {row["stage"]: row["key"] for row in rows}
        same = {name: rows[0][name] for name in ("video", "name", "uri", "content_sha256", "shard")}
        finished = Finished(**same, index_key=keys[index.STAGE.name], publish_key=keys[publish.STAGE.name])
        return Planned(finished, run, keys, {row["stage"]: row["params"] for row in rows}, finished.publish_key in self._whole)


def _rests_on(one: Planned) -> tuple[str, str]:
    """What decides a video's rows."""
    return one.finished.index_key, one.finished.publish_key


def _compare(store: Store, other_store: Store, one: Planned, other: Planned) -> VideoChanged:
    before, after = published_rows(store, one.run, one.finished), published_rows(other_store, other.run, other.finished)
    finders = (estimate.STAGE.name, given.POSES.name)  # who numbers the detections
    same_detections = any(one.keys.get(name) == other.keys.get(name) is not None for name in finders)
    rows, people = compare_rows(before, after, same_detections=same_detections)
    stages = tuple(stage.name for stage in PIPELINE if one.keys.get(stage.name) != other.keys.get(stage.name))
    is_other_content = one.finished.content_sha256 != other.finished.content_sha256
    return VideoChanged(one.finished.video, one.finished.name, is_other_content, stages, rows, people)


def _changes(store: Store, other_store: Store, one: Planned, other: Planned) -> Iterator[tuple[str, str, str, str]]:
    """What of each stage is another in the second run: stage, what, before, after. What only follows from inputs is not told."""
    for stage in PIPELINE:
        name = stage.name
        keys = one.keys.get(name), other.keys.get(name)
        if keys[0] == keys[1]:
            continue
        if None in keys:
            yield name, "stage", "had" if keys[0] else "had not", "has" if keys[1] else "has not"
            continue
        before, after = json.loads(one.params[name]), json.loads(other.params[name])
        changed = sorted(field for field in before.keys() | after.keys() if before.get(field) != after.get(field))
        yield from ((name, field, _value(before.get(field)), _value(after.get(field))) for field in changed)
        if not changed and _has_same_inputs(stage, one, other):
            yield from _unseen(Artifact(store, name, str(keys[0])), Artifact(other_store, name, str(keys[1])))


def _has_same_inputs(stage: Stage, one: Planned, other: Planned) -> bool:
    if not stage.inputs:
        return one.finished.content_sha256 == other.finished.content_sha256
    return all(one.keys.get(source.name) == other.keys.get(source.name) for source in stage.inputs)


def _unseen(one: Artifact, other: Artifact) -> Iterator[tuple[str, str, str, str]]:
    """What parameters do not tell: the stage's version, and weights that came with another version of this package."""
    before, after = one.manifest(), other.manifest()
    if before is None or after is None:
        yield one.stage, "version or weights", "removed" if before is None else "there", "removed" if after is None else "there"
        return
    if before.version != after.version:
        yield one.stage, "version", str(before.version), str(after.version)
    for role in sorted(before.weights.keys() | after.weights.keys()):
        if before.weights.get(role) != after.weights.get(role):
            yield one.stage, f"weights {role}", _value(before.weights.get(role)), _value(after.weights.get(role))


def _value(value: Any) -> str:
    """As a user gives it; a digest by its first digits."""
    if value is None:
        return "none"
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def _median(counts: NDArray[np.int64]) -> float:
    """Median of distances that were counted between _EDGES_PX."""
    if not counts.sum():
        return 0.0
    place = int(np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2))
    return float(_EDGES_PX[min(place, len(_EDGES_PX) - 1)])
