"""Merging a shard's finished videos into the published tables, and reading results back, of the latest state or of one run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from storage import runs, tables
from storage.artifacts import Artifact, DamagedArtifactError
from storage.schemas import CORRECTIONS, EDITS, FAILURES, FRAMES, POSES, SUSPECTS, TRACKS, VIDEOS, name_of, with_columns
from storage.store import Store
from tasks import correct, index, publish
from tkm.skeleton import COCO_17

RESULTS = (VIDEOS, FRAMES, POSES, TRACKS, SUSPECTS, CORRECTIONS)  # the tables that a run's artifacts make
BATCH_ROWS = 500_000  # people in frames that are merged at a time: some 150 MB


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
    """Rows of one video for the tables of RESULTS, from its artifacts."""
    artifact = Artifact(store, publish.STAGE.name, finished.publish_key)
    manifest = artifact.manifest()
    persons = artifact.read(manifest=manifest)
    correct_key = manifest.inputs.get(correct.STAGE.name) if manifest else None
    edits = correct.edits_of(store, correct_key) if correct_key else EDITS.empty_table()
    frame_index = Artifact(store, index.STAGE.name, finished.index_key).read()
    frames = publish.frame_counts(persons, frame_index)
    summaries = publish.track_summaries(persons)

    def stamped(schema: pa.Schema, columns: dict[str, Any], rows: int) -> pa.Table:
        same = {
            "video": pa.array(np.full(rows, finished.video)),
            "run": pa.array(np.full(rows, run)),
            "shard": pa.array(np.full(rows, finished.shard, np.int32)),
            "skeleton": pa.array(np.full(rows, COCO_17.name)),  # which version 1 of publish did not tell, having no other
        }
        every = {**same, **columns}
        return with_columns(pa.table({name: every[name] for name in schema.names if name in every}), schema).cast(schema)

    poses = stamped(POSES, {name: persons[name] for name in persons.column_names}, persons.num_rows)
    suspects = publish.suspicious_places(poses)
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
        "tracks": len(summaries["track_id"]),
        "suspects": len(suspects["suspect"]),
        "publish_key": finished.publish_key,
        "run": run,
        "shard": finished.shard,
    }
    return {
        "videos": pa.Table.from_pylist([video]).select(VIDEOS.names).cast(VIDEOS),
        "frames": stamped(FRAMES, frames, len(frames["frame"])),
        "poses": poses,
        "tracks": stamped(TRACKS, summaries, len(summaries["track_id"])),
        "suspects": stamped(SUSPECTS, suspects, len(suspects["suspect"])),
        "corrections": stamped(CORRECTIONS, {name: edits[name] for name in edits.column_names}, edits.num_rows),
    }


def joined(videos: Sequence[Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    """Rows of at least one video, together."""
    return {name: pa.concat_tables([rows[name] for rows in videos]).unify_dictionaries() for name in videos[0]}


def merge(store: Store, run: str, shard: int, finished: Sequence[Finished]) -> tuple[int, list[str]]:
    """Bring the published tables of one shard up to date with finished videos, which are no longer failures.

    Returns how many videos' rows changed, and the ids of those whose artifacts turned out to be damaged or missing; what is
    damaged has been withdrawn. Rows of a bounded number of people are held at a time.
    """
    current = tables.published_keys(store, videos=[video.video for video in finished])
    changed, damaged = 0, []
    batch: dict[str, dict[str, pa.Table]] = {}

    def publish_batch() -> int:
        later = _shown_by_later(store, run, batch)
        rows = [rows for video, rows in batch.items() if video not in later]
        batch.clear()
        return len(tables.publish_videos(store, run, shard, joined(rows))) if rows else 0

    for video in finished:
        if current.get(video.video) == video.publish_key:
            continue
        try:
            batch[video.video] = published_rows(store, run, video)
        except DamagedArtifactError:
            damaged.append(video.video)
        if sum(rows["poses"].num_rows for rows in batch.values()) >= BATCH_ROWS:
            changed += publish_batch()
    changed += publish_batch()
    known = set(tables.read(store, "failures", columns=["video"])["video"].to_pylist())
    done = {video.video for video in finished} & known - set(damaged)
    tables.replace_failures(store, shard, done, FAILURES.empty_table())
    return changed, damaged


def _shown_by_later(store: Store, run: str, videos: Collection[str]) -> set[str]:
    """Those of the videos of which the tables show what a run that began later wants: it found its rows there and wrote none."""
    later = [other for other in runs.all_runs(store) if other > run] if videos else []
    if not later:
        return set()
    current = tables.published_keys(store, videos=videos)
    finished = (video for other in later for video in finished_of_run(store, other, videos))
    return {video.video for video in finished if current.get(video.video) == video.publish_key}


def merge_failures(store: Store, run: str, shard: int, failed: Sequence[runs.Failure]) -> None:
    """Tell in `failures`, of videos of one shard, why they could not be finished; what was published of them before stays."""
    rows = pa.Table.from_pylist([{**asdict(failure), "run": run} for failure in failed], schema=FAILURES)
    tables.replace_failures(store, shard, {failure.video for failure in failed}, rows)


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
    """Rows of one of RESULTS: the latest of every video, or those of one run (`URI@RUN`)."""
    if run is None:
        return tables.read(store, name, videos=videos, columns=columns)
    schema = next(schema for schema in RESULTS if name_of(schema) == name)
    rows = [
        published_rows(store, run, finished)[name]
        for finished in finished_of_run(store, runs.find_run(store, run), videos)
    ]
    table = pa.concat_tables(rows).unify_dictionaries() if rows else schema.empty_table()
    return table.select(columns) if columns else table

