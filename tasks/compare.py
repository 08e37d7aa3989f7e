"""What differs between the rows that two runs give of one video.

Rows of `frames` and `tracks` are the same ones by their number and their id. People are the same ones by their detection where
both runs have the same detections, else by their boxes: one to one within a frame, of the highest total IOU.

Shape legend: P people in frames that are in both, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from storage.codecs import column
from storage.schemas import POSE_KEYPOINTS
from tkm.training.samples import assigned
from tkm.types import Bool, Float, Int

_OF_RUN = ("run", "shard", "publish_key", "uri", "name")  # which differ without the results being others
_KEYS = {"frames": "frame", "tracks": "track_id"}
_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")


@dataclass(frozen=True)
class RowsChanged:
    """Rows of a table that are in the second run only, in the first only, or in both with other values."""

    added: int = 0
    removed: int = 0
    changed: int = 0

    @property
    def is_any(self) -> bool:
        """Whether there is any such row."""
        return bool(self.added or self.removed or self.changed)

    def __add__(self, other: RowsChanged) -> RowsChanged:
        return RowsChanged(self.added + other.added, self.removed + other.removed, self.changed + other.changed)


@dataclass(frozen=True)
class PeopleChanged:
    """What is different of a video's people.

    poses, tracks    how many there are, in the first run and in the second
    keypoints        of people in both runs, those with a position in both
    moved            of these, those at another position; median_px and max_px are how far they moved, 0 where none did
    renumbered       people in frames that have another track id
    regrouped        of these, those that have one also where the ids of the second run are renamed, one to one, as well as can be
    distance_px      (moved,) float32, how far each has moved
    """

    poses: tuple[int, int]
    tracks: tuple[int, int]
    keypoints: int
    moved: int
    median_px: float
    max_px: float
    renumbered: int
    regrouped: int
    distance_px: Float


def compare_rows(
    first: Mapping[str, pa.Table], second: Mapping[str, pa.Table], *, same_detections: bool
) -> tuple[dict[str, RowsChanged], PeopleChanged]:
    """What differs between two runs' tables `videos`, `frames`, `poses` and `tracks` of one video.

    Args: same_detections, whether a detection's number means the same in both.
    """
    changed = {"videos": _changed(first["videos"], second["videos"], np.zeros(1, np.int64), np.zeros(1, np.int64))}
    for name, key in _KEYS.items():
        keys = tuple(column(table[name], key, np.int64) for table in (first, second))
        _, here, there = np.intersect1d(keys[0], keys[1], return_indices=True)
        changed[name] = _changed(first[name], second[name], here, there)
    here, there = _same_people(first["poses"], second["poses"], same_detections=same_detections)
    changed["poses"] = _changed(first["poses"], second["poses"], here, there)
    return changed, _people(first["poses"], second["poses"], here, there)


def _changed(first: pa.Table, second: pa.Table, here: Int, there: Int) -> RowsChanged:
    """Rows that are only in one, and rows `here` of the first that are rows `there` of the second with other values."""
    names = [name for name in first.column_names if name in second.column_names and name not in (*_OF_RUN, "video", "detection")]
    differs = np.zeros(len(here), np.bool_)
    for name in names:
        differs |= _differs(first[name].take(pa.array(here)), second[name].take(pa.array(there)))
    return RowsChanged(second.num_rows - len(there), first.num_rows - len(here), int(differs.sum()))


def _differs(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Bool:
    """(rows,) whether two columns differ; absent and NaN are equal to themselves."""
    one, other = (_plain(values) for values in (one, other))
    is_same = pc.or_(pc.fill_null(pc.equal(one, other), False), pc.and_(pc.is_null(one), pc.is_null(other)))
    if pa.types.is_floating(one.type):
        is_same = pc.or_(is_same, pc.fill_null(pc.and_(pc.is_nan(one), pc.is_nan(other)), False))
    return np.asarray(pc.invert(is_same).to_numpy(zero_copy_only=False), np.bool_)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _same_people(first: pa.Table, second: pa.Table, *, same_detections: bool) -> tuple[Int, Int]:
    """(P,) rows of the first and (P,) of the second that are the same person in the same frame."""
    frames = [column(table, "frame", np.int64) for table in (first, second)]
    if same_detections:
        detections = [column(table, "detection", np.int64) for table in (first, second)]
        base = max((int(one.max(initial=0)) for one in detections), default=0) + 1
        ids = [frame * base + detection for frame, detection in zip(frames, detections, strict=True)]
        _, here, there = np.intersect1d(ids[0], ids[1], return_indices=True)
        return here, there
    boxes = [np.stack([column(table, name, np.float32) for name in _BOX], axis=1) for table in (first, second)]
    rows = [_rows_by_number(frame) for frame in frames]
    pairs = [
        (mine[match >= 0], theirs[match[match >= 0]])
        for number, mine in rows[0].items()
        if (theirs := rows[1].get(number)) is not None
        for match in [assigned(boxes[0][mine], boxes[1][theirs])]
    ]
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *(pair[0] for pair in pairs)]), np.concatenate([empty, *(pair[1] for pair in pairs)])


def _rows_by_number(number: Int) -> dict[int, Int]:
    """Rows by what number they have, each in order."""
    order = np.argsort(number, kind="stable")
    numbers, starts = np.unique(number[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(numbers) else {}


def _people(first: pa.Table, second: pa.Table, here: Int, there: Int) -> PeopleChanged:
    positions = [_positions(table, rows) for table, rows in ((first, here), (second, there))]
    distance = np.linalg.norm(positions[0] - positions[1], axis=2)
    moved = distance[distance > 0]
    tracks = [column(table, "track_id", np.int64) for table in (first, second)]
    mine, theirs = tracks[0][here], tracks[1][there]
    return PeopleChanged(
        poses=(first.num_rows, second.num_rows),
        tracks=(len(np.unique(tracks[0])), len(np.unique(tracks[1]))),
        keypoints=int(np.isfinite(distance).sum()),
        moved=len(moved),
        median_px=float(np.median(moved)) if len(moved) else 0.0,
        max_px=float(moved.max(initial=0)),
        renumbered=int((mine != theirs).sum()),
        regrouped=len(mine) - _kept_together(mine, theirs),
        distance_px=moved.astype(np.float32),
    )


def _positions(table: pa.Table, rows: Int) -> NDArray[np.float64]:
    """(P, K, 2) positions of the keypoints that any skeleton has, NaN where one has none."""
    taken = table.take(pa.array(rows))
    return np.stack([_axis(taken, [f"{name}_{axis}" for name in POSE_KEYPOINTS]) for axis in "xy"], axis=2)


def _axis(table: pa.Table, names: Sequence[str]) -> NDArray[np.float64]:
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)


def _kept_together(mine: Int, theirs: Int) -> int:
    """Of P people, those whose ids agree when the second run's are renamed, one to one, as well as can be."""
    if not len(mine):
        return 0
    one, other = (np.unique(ids, return_inverse=True)[1] for ids in (mine, theirs))
    number = np.concatenate([one, other + one.max() + 1])  # of an id of either run
    count = int(number.max()) + 1
    links = coo_array((np.ones(len(one), np.int8), (number[: len(one)], number[len(one) :])), shape=(count, count))
    group = connected_components(links, directed=False)[1][one].astype(np.int64)
    kept = 0
    for rows in _rows_by_number(group).values():  # few ids meet, so that the tables are small in long videos, too
        shared = np.unique(one[rows], return_inverse=True)[1], np.unique(other[rows], return_inverse=True)[1]
        table = np.zeros((int(shared[0].max()) + 1, int(shared[1].max()) + 1), np.int64)
        np.add.at(table, shared, 1)
        kept += int(table[linear_sum_assignment(table, maximize=True)].sum())
    return kept
