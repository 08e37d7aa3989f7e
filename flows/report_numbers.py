"""What a report tells of results: counts, distributions, and the places to look at first. A shard is in memory at a time.

Shape legend: N bins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage import runs, tables
from storage.schemas import POSE_KEYPOINTS, name_of
from storage.store import Store
from tasks import publish
from tasks.merge import RESULTS, finished_of_run, published_rows
from tasks.plan import SHARDS
from tkm.types import Int

CURVES = 6  # of so few videos people are told over time
SUSPECTS = 24  # that are told, and shown
SCORE_BINS = 20
TRACK_EDGES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, float("inf"))
TRACK_LABELS = ("0-0.5", "0.5-1", "1-2", "2-5", "5-10", "10-30", "30-60", "1-5 min", "5-60 min", "> 1 h")
_OF_EACH = 4  # suspects of a video that are told, however many videos there are
_CURVE_POINTS = 400  # more than there are pixels
_SCORES = [f"{joint}_score" for joint in POSE_KEYPOINTS]
_COLUMNS: Mapping[str, list[str]] = {
    "videos": ["video", "name", "uri", "width_px", "height_px", "codec", "video_frames", "frames", "duration_ns", "poses",
               "tracks", "run", "shard"],
    "frames": ["video", "pts_ns", "persons"],
    "poses": ["video", *_SCORES],
    "tracks": ["video", "first_pts_ns", "last_pts_ns", "poses"],
    "suspects": ["video", "suspect", "kind", "frame", "pts_ns", "track_id", "other_track_id", "joint", "value", "limit",
                 "severity", "x", "y"],
}  # fmt: skip


@dataclass
class Numbers:
    """What the results hold.

    videos          rows of `videos` by id, and whether the tables show them, `is_shown`, or another run's
    people          number of frames by the number of people in them
    scores          (N,) by keypoint: how many score in each twentieth from 0 to 1
    track_lengths   tracks by seconds from first to last frame, between TRACK_EDGES_S
    curves          by video, times in seconds and people, of at most CURVES videos; empty where there are more
    suspects        rows of `suspects`, the worst first, at most SUSPECTS, of many videos a few each
    kinds           all suspects by kind
    """

    videos: list[dict[str, Any]] = field(default_factory=list)
    people: Counter[int] = field(default_factory=Counter)
    scores: dict[str, Int] = field(default_factory=dict)
    track_lengths: Int = field(default_factory=lambda: np.zeros(len(TRACK_EDGES_S) - 1, np.int64))
    curves: dict[str, tuple[list[float], list[int]]] = field(default_factory=dict)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def total(self, name: str) -> int:
        """Sum of a column of `videos`."""
        return sum(row[name] for row in self.videos)


def numbers_of(store: Store, run: str | None) -> Numbers:
    """Of all videos that the tables show, or of those that a run has finished."""
    found = Numbers()
    shown = None if run is None else tables.published_keys(store)
    for shard in range(SHARDS):
        for is_shown, rows in _rows(store, run, shard, shown):
            _count(found, rows)
            found.videos += [{**row, "is_shown": is_shown} for row in rows["videos"].to_pylist()]
            if len(found.videos) > CURVES:
                found.curves.clear()
    found.videos.sort(key=lambda row: row["video"])
    found.scores = {joint: found.scores[joint] for joint in POSE_KEYPOINTS if joint in found.scores}
    found.suspects = _spread(found.suspects, len(found.videos))
    return found


def _rows(
    store: Store, run: str | None, shard: int, shown: Mapping[str, str] | None
) -> Iterator[tuple[bool, dict[str, pa.Table]]]:
    """The tables of a shard's videos: True and what is published, then False and what is not, a video at a time."""
    if run is None or shown is None:
        yield True, {name: _published(store, name, shard) for name in _COLUMNS}
        return
    plan = runs.read_plan(store, run, shard)
    plan = plan.filter(pc.equal(plan["stage"], publish.STAGE.name))
    keys = dict(zip(plan["video"].to_pylist(), plan["key"].to_pylist(), strict=True))
    same = [video for video, key in keys.items() if shown.get(video) == key]
    if same:
        among = pa.array(same, pa.string())
        whole = {name: _published(store, name, shard) for name in _COLUMNS}
        yield True, {name: rows.filter(pc.is_in(rows["video"].cast(pa.string()), among)) for name, rows in whole.items()}
    others = keys.keys() - set(same)
    for finished in finished_of_run(store, run, others) if others else ():
        rows = published_rows(store, run, finished)
        yield False, {name: rows[name].select(columns) for name, columns in _COLUMNS.items()}


def _published(store: Store, name: str, shard: int) -> pa.Table:
    if tables.open_table(store, name) is None:  # of an earlier version, which had fewer
        return next(schema for schema in RESULTS if name_of(schema) == name).empty_table().select(_COLUMNS[name])
    return tables.read_shard(store, name, shard, columns=_COLUMNS[name])


def _count(found: Numbers, rows: Mapping[str, pa.Table]) -> None:
    frames: pd.DataFrame = rows["frames"].to_pandas()
    found.people.update({int(people): int(count) for people, count in frames["persons"].value_counts().items()})  # type: ignore[call-overload]
    if len(found.videos) + rows["videos"].num_rows <= CURVES:
        for video, own in frames.groupby("video", observed=True):
            found.curves[str(video)] = _curve(own.sort_values("pts_ns"))
    for joint, column in zip(POSE_KEYPOINTS, _SCORES, strict=True):
        score = rows["poses"][column].drop_null().to_numpy()
        if len(score):
            counts = np.histogram(np.clip(score, 0, 1), SCORE_BINS, (0, 1))[0]
            found.scores[joint] = found.scores.get(joint, np.zeros(SCORE_BINS, np.int64)) + counts
    seconds = pc.subtract(rows["tracks"]["last_pts_ns"], rows["tracks"]["first_pts_ns"]).to_numpy() / 1e9
    found.track_lengths = found.track_lengths + np.histogram(seconds, TRACK_EDGES_S)[0]
    found.kinds.update(rows["suspects"]["kind"].to_pylist())
    number = rows["suspects"]["suspect"]
    of_each = pc.less(number, _OF_EACH)
    others = pc.and_(pc.less(number, SUSPECTS), pc.invert(of_each))
    for chosen in (of_each, others):  # few, however many videos there are
        order = [("severity", "descending"), ("video", "ascending"), ("suspect", "ascending")]
        worst = rows["suspects"].filter(chosen).sort_by(order)
        found.suspects += worst.slice(0, SUSPECTS).to_pylist()


def _curve(frames: pd.DataFrame) -> tuple[list[float], list[int]]:
    """Seconds and people of some frames, evenly apart; of those that are left out the most people count."""
    step = -(-len(frames) // _CURVE_POINTS)
    seconds = (frames["pts_ns"].to_numpy() - frames["pts_ns"].iloc[0]) / 1e9
    people = frames["persons"].to_numpy()
    starts = np.arange(0, len(frames), step)
    return seconds[starts].tolist(), np.maximum.reduceat(people, starts).tolist()


def _spread(suspects: Sequence[dict[str, Any]], videos: int) -> list[dict[str, Any]]:
    """The worst, but of many videos not more of one than let others be seen."""
    most = max(SUSPECTS // max(videos, 1), _OF_EACH)
    ordered = sorted(suspects, key=lambda row: (-row["severity"], row["video"], row["suspect"]))
    seen: Counter[str] = Counter()
    kept = []
    for row in ordered:
        seen[row["video"]] += 1
        if seen[row["video"]] <= most:
            kept.append(row)
    return kept[:SUSPECTS]
