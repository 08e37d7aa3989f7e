"""Queries of two million poses in 16 partitions on an S3 server: seconds of a lookup, of aggregates, and of the whole command.

python -m benchmarks.queries [--rows N] [--videos N] [--record NAME]

Artifacts of people who walk are written, and published by the run's own merging; then each query is asked, by what `tkm query`
calls, of a catalog that has been opened for it alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.commands import command
from benchmarks.record import heading, record
from benchmarks.report import table
from flows.query import asked
from storage import runs, tables
from storage.artifacts import Artifact, Provenance
from storage.codecs import keypoint_columns, table_of
from storage.schemas import FRAMES_INDEX, PERSONS
from storage.store import Store
from tasks import index, publish
from tasks.catalog import Catalog
from tasks.merge import Finished, merge
from tasks.plan import SHARDS, shard_of
from tasks.stage import Stage
from tests.s3_server import BUCKET, serve
from tkm.skeleton import COCO_17

_ROOT = f"s3://{BUCKET}/results"
_PEOPLE = 3  # in every frame
_FRAME_NS = 40_000_000
_TIMES = 5


def write(rows: int, videos: int) -> str:
    """Publish so many poses of so many videos, as a run does; the id of the video that is looked up."""
    store, frames = Store(_ROOT), rows // videos // _PEOPLE
    run = runs.new_run(store)
    runs.start_run(store, run, {"groups": SHARDS})
    tables.create_tables(store)
    with ThreadPoolExecutor(4) as pool:
        finished = sorted(pool.map(lambda number: _finished(store, number, frames), range(videos)), key=lambda one: one.shard)
    for shard, group in groupby(finished, key=lambda one: one.shard):
        own = list(group)
        runs.write_plan(store, run, f"{shard:02d}-0000", [row for one in own for row in _planned(one)])
        merge(store, run, shard, own)
    runs.end_run(store, run, {})
    return finished[videos // 2].video


def _finished(store: Store, number: int, frames: int) -> Finished:
    """A video whose first and last artifact are written."""
    sha256 = hashlib.sha256(f"{number}".encode()).hexdigest()
    video, key = f"cam{number:05d}-{sha256[:8]}", sha256[:40]
    for stage, rows in ((index.STAGE, _frames(frames)), (publish.STAGE, _persons(number, frames))):
        _commit(store, stage, key, frames, rows)
    return Finished(video, f"{video}.mp4", f"s3://videos/{video}.mp4", sha256, shard_of(video), key, key)


def _commit(store: Store, stage: Stage, key: str, frames: int, rows: pa.Table) -> None:
    provenance = Provenance(stage.version, {}, {}, {}, {})
    Artifact(store, stage.name, key).commit_whole(frames, rows, seconds=0.0, device="none", provenance=provenance)


def _planned(one: Finished) -> Iterator[dict[str, Any]]:
    facts = {"video": one.video, "name": one.name, "uri": one.uri, "kind": "video", "content_sha256": one.content_sha256}
    for stage in (index.STAGE, publish.STAGE):
        yield facts | {"shard": one.shard, "stage": stage.name, "key": one.publish_key, "params": "{}"}


def _frames(frames: int) -> pa.Table:
    frame = np.arange(frames)
    same = {"width_px": 1920, "height_px": 1080, "rotation_degrees": 0, "codec": "h264"}
    return table_of(
        FRAMES_INDEX,
        frame=frame,
        pts_ns=frame * _FRAME_NS,
        is_key_frame=frame % 50 == 0,
        is_sampled=np.ones(frames, np.bool_),
        **{name: [value] * frames for name, value in same.items()},
    )


def _persons(number: int, frames: int) -> pa.Table:
    """People of 200 x 500 px who walk to and fro; keypoints keep their places in them but for half a pixel of noise."""
    random, joints = np.random.default_rng(number), len(COCO_17.keypoints)
    frame, person = np.repeat(np.arange(frames), _PEOPLE), np.tile(np.arange(_PEOPLE), frames)
    left_px = 300 + 400 * person + 100 * np.sin(frame / 60 + person)
    corner = np.stack([left_px, np.full(len(frame), 300.0)], axis=1)
    pose = random.uniform(0, 1, (_PEOPLE, joints, 2)) * (200, 500)
    xy_px = corner[:, None] + pose[person] + random.normal(0, 0.5, (len(frame), joints, 2))
    moved = xy_px + random.normal(0, 0.5, xy_px.shape)
    score = random.uniform(0.5, 1, (2, len(frame), joints))
    sides = dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), np.hstack([corner, corner + np.array([200, 500])]).T, strict=True))
    return table_of(
        PERSONS,
        frame=frame,
        pts_ns=frame * _FRAME_NS,
        track_id=person,
        detection=person,
        box_score=score[0, :, 0],
        pose_score=score[0].mean(axis=1),
        skeleton=[COCO_17.name] * len(frame),
        **sides,
        **keypoint_columns(COCO_17, xy_px, score[0]),
        **keypoint_columns(COCO_17, moved, score[1], "initial_"),
    )


def queries(video: str) -> dict[str, str]:
    """What is asked, by what it is called in the report."""
    return {
        "lookup: a wrist of one video": f"SELECT frame, track_id, left_wrist_x, left_wrist_y FROM poses WHERE video = '{video}'",
        "lookup: all columns of one video": f"SELECT * FROM poses WHERE video = '{video}'",
        "lookup: an artifact of one video": f"SELECT frame, detection, nose_x FROM persons WHERE video = '{video}'",
        "aggregate: count and means of all": "SELECT count(*), avg(box_score), avg(nose_score) FROM poses",
        "aggregate: by video and track": "SELECT video, track_id, count(*), avg(pose_score), max(frame) FROM poses GROUP BY ALL",
    }


def measure(rows: int, videos: int, folder: Path) -> dict[str, Any]:
    """Seconds of each query, in this process and as a command, and of the first with deltalake and DuckDB alone."""
    with serve(folder) as server:
        os.environ |= server.environment()
        began = time.perf_counter()
        video = write(rows, videos)
        found: dict[str, Any] = {"rows": rows, "videos": videos, "writing": time.perf_counter() - began}
        found["load"] = os.getloadavg()[0]
        found["queries"] = {
            name: {"asked": _median(partial(_ask, sql)), "command": _median(partial(_command, sql), times=3)}
            for name, sql in queries(video).items()
        }
        found["alone"] = _median(partial(_alone, video))
        found["files"] = len(tables.dataset(Store(_ROOT), "poses").files)
    return found


def _ask(sql: str) -> None:
    catalog = Catalog(Store(_ROOT), None)
    with asked(sql, {name: partial(catalog.open, name) for name in catalog.entries}) as relation:
        relation.to_arrow_table()


def _command(sql: str) -> None:
    command("query", _ROOT, sql, "--format", "csv")


def _alone(video: str) -> None:
    """As the cookbook shows it, without this package: DuckDB finds the table under the name of the variable."""
    poses = tables.open_table(Store(_ROOT), "poses").to_pyarrow_dataset()  # type: ignore[union-attr]
    with duckdb.connect() as sql:
        sql.register("poses", poses)
        where = f"video = '{video}' AND shard = {shard_of(video)}"
        sql.sql(f"SELECT frame, track_id, left_wrist_x, left_wrist_y FROM poses WHERE {where}").to_arrow_table()


def _median(ask: Callable[[], None], times: int = _TIMES) -> float:
    """Seconds of the middle one of several calls, after one that is not counted."""
    ask()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def report(found: dict[str, Any]) -> str:
    """The measurement as Markdown."""
    rows = [(name, f"{part['asked']:.2f}", f"{part['command']:.1f}") for name, part in found["queries"].items()]
    rows.append(("the first by deltalake and DuckDB alone, `shard` given", f"{found['alone']:.2f}", ""))
    return "\n".join(
        [
            f"## {found['rows']} poses of {found['videos']} videos, {found['files']} files on an S3 server",
            f"`python -m benchmarks.queries --rows {found['rows']} --videos {found['videos']}`\n",
            table(("query", "seconds", "seconds of `tkm query`, its start included"), rows),
            f"\nMedian of {_TIMES} (of 3 as a command), tables opened anew each time, the S3 server on the same cores. Wanted: a "
            "lookup in 0.3 s, an aggregate in 1 s. "
            f"Load when the queries began: {found['load']:.1f}. Writing and publishing took {found['writing']:.0f} s.",
        ]
    )


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--record", metavar="NAME")
    options = parser.parse_args()
    head = heading("Queries,")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.rows, options.videos, Path(folder))
    text = f"{head}\n\n{report(found)}"
    print(text)
    record(text, options.record)


if __name__ == "__main__":
    main()
