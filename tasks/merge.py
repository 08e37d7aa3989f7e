"""Merging a shard's finished videos into the published tables, and reading results back, of the latest state or of one run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from storage import runs, tables
from storage.artifacts import Artifact, DamagedArtifactError
from storage.schemas import FAILURES, FRAMES, POSES, TRACKS, VIDEOS
from storage.store import Store
from tasks import index, publish
from tkm.skeleton import COCO_17


@dataclass(frozen=True)
class Finished:
    """A video whose last stage is whole: its identity and the keys that its rows come from."""

    video: str
    name: str
    uri: str
    content_sha256: str
    shard: int
    index_key: str
    publish_key: str


def published_rows(store: Store, run: str, finished: Finished) -> dict[str, pa.Table]:
    """Rows of one video for the tables `videos`, `frames`, `poses` and `tracks`, from its artifacts."""
    persons = Artifact(store, publish.STAGE.name, finished.publish_key).read()
    frame_index = Artifact(store, index.STAGE.name, finished.index_key).read()
    frames = publish.frame_counts(persons, frame_index)
    summaries = publish.track_summaries(persons)
    video = {
        "video": finished.video,
        "name": finished.name,
        "uri": finished.uri,
        "content_sha256": finished.content_sha256,
        **{name: frame_index[name][0].as_py() for name in ("width_px", "height_px", "codec")},
        "video_frames": frame_index.num_rows,
        "frames": len(frames["frame"]),
        "duration_ns": frame_index["pts_ns"][-1].as_py() - frame_index["pts_ns"][0].as_py(),
        "poses": persons.num_rows,
        "tracks": len(summaries),
        "publish_key": finished.publish_key,
        "run": run,
        "shard": finished.shard,
    }

    def stamped(schema: pa.Schema, columns: dict[str, Any], rows: int) -> pa.Table:
        same = {
            "video": pa.array(np.full(rows, finished.video)),
            "run": pa.array(np.full(rows, run)),
            "shard": pa.array(np.full(rows, finished.shard, np.int32)),
            "skeleton": pa.array(np.full(rows, COCO_17.name)),
        }
        every = {**same, **columns}
        return pa.table({name: every[name] for name in schema.names}).cast(schema)

    return {
        "videos": pa.Table.from_pylist([video]).select(VIDEOS.names).cast(VIDEOS),
        "frames": stamped(FRAMES, frames, len(frames["frame"])),
        "poses": stamped(POSES, {name: persons[name] for name in persons.column_names}, persons.num_rows),
        "tracks": stamped(TRACKS, {name: summaries[name].to_numpy() for name in summaries.columns}, len(summaries)),
    }


def merge(
    store: Store, run: str, shard: int, finished: Sequence[Finished], failed: Sequence[runs.Failure]
) -> tuple[int, list[runs.Failure]]:
    """Bring the published tables of one shard up to date.

    Returns the number of videos whose rows changed, and those whose artifacts turned out to be damaged.
    """
    published = tables.read(store, "videos", videos=[video.video for video in finished], columns=["video", "publish_key"])
    current = {row["video"]: row["publish_key"] for row in published.to_pylist()}
    changed = [video for video in finished if current.get(video.video) != video.publish_key]
    rows: dict[str, dict[str, pa.Table]] = {}
    damaged: list[runs.Failure] = []
    for video in changed:
        try:
            rows[video.video] = published_rows(store, run, video)
        except (DamagedArtifactError, FileNotFoundError) as error:
            message = f"{video.uri}: {error}; run again"
            damaged.append(runs.Failure(video.video, video.uri, publish.STAGE.name, message, False, shard))
    if rows:
        parts = list(rows.values())
        joined = {name: pa.concat_tables([part[name] for part in parts]).unify_dictionaries() for name in parts[0]}
        tables.replace_videos(store, shard, list(rows), joined)
    gone = {failure.video for failure in damaged}
    finished, failed = [video for video in finished if video.video not in gone], [*failed, *damaged]
    known = set(tables.read(store, "failures", columns=["video"])["video"].to_pylist())
    seen = {video.video for video in finished if video.video in known} | {failure.video for failure in failed}
    if seen:
        rows_failed = pa.Table.from_pylist([{**asdict(failure), "run": run} for failure in failed], schema=FAILURES)
        tables.replace_videos(store, shard, seen, {"failures": rows_failed})
    return len(rows), damaged


def finished_of_run(store: Store, run: str, wanted: Collection[str] | None = None) -> Iterable[Finished]:
    """The videos of a run, all or those wanted, whose last stage is whole."""
    videos: dict[str, dict[str, Any]] = {}
    for row in runs.read_plan(store, run).to_pylist():
        videos.setdefault(row["video"], row)[f"{row['stage']}_key"] = row["key"]
    for row in (row for video, row in videos.items() if wanted is None or video in wanted):
        if Artifact(store, publish.STAGE.name, row["publish_key"]).manifest() is not None:
            yield Finished(**{name: row[name] for name in Finished.__dataclass_fields__})


def read_results(
    store: Store, run: str | None, name: str, *, videos: Collection[str] | None = None, columns: list[str] | None = None
) -> pa.Table:
    """Rows of `videos`, `frames`, `poses` or `tracks`: the latest of every video, or those of one run (`URI@RUN`)."""
    if run is None:
        return tables.read(store, name, videos=videos, columns=columns)
    schema = {"videos": VIDEOS, "frames": FRAMES, "poses": POSES, "tracks": TRACKS}[name]
    rows = [
        published_rows(store, run, finished)[name]
        for finished in finished_of_run(store, runs.find_run(store, run), videos)
    ]
    table = pa.concat_tables(rows).unify_dictionaries() if rows else schema.empty_table()
    return table.select(columns) if columns else table

