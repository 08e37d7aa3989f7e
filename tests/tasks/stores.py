"""Stores made by hand, in which what is kept is small and no network has run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from storage import runs, tables
from storage.artifacts import Artifact, Provenance
from storage.schemas import CORRECTIONS, FRAMES, POSES, SUSPECTS, TRACKS, VIDEOS, name_of
from storage.store import Store

Keys = Mapping[str, str]  # keys of a video's artifacts by stage


def key(name: str) -> str:
    """A key that tells what it is of."""
    return name.encode().hex()[:40].ljust(40, "0")


def make(store: Store, stage: str, name: str, chunks: int = 2, *, is_closed: bool = True, inputs: Keys | None = None) -> Artifact:
    """An artifact of some chunks of two frames each."""
    artifact = Artifact(store, stage, key(name))
    for start in range(0, 2 * chunks, 2):
        rows = pa.table({"frame": np.arange(start, start + 2), "name": [name] * 2})
        artifact.commit(start, start + 2, rows, rows.slice(1), seconds=1.0, device="cpu")
    if is_closed:
        artifact.close(2 * chunks, Provenance(1, {}, {}, inputs or {}, {}))
    return artifact


def video(*stages: str, of: str) -> dict[str, str]:
    """Keys of a video's artifacts of these stages: of what it is called, or, before a colon, of what it shares with others."""
    return {stage.rpartition(":")[2]: key((stage.rpartition(":")[0] or of) + stage.rpartition(":")[2]) for stage in stages}


def record(store: Store, videos: Mapping[str, Keys], *, groups: int = 1, has_ended: bool = True, params: str = "{}") -> str:
    """A run of this process that planned these videos as one of its groups; its id."""
    run = runs.new_run(store)
    runs.start_run(store, run, {"groups": groups})
    same = {"uri": "/videos/x.mp4", "kind": "video", "content_sha256": "c", "shard": 3, "params": params}
    planned = [(one, stage, own) for one, keys in videos.items() for stage, own in keys.items()]
    rows = [{**same, "video": one, "name": one, "stage": stage, "key": own} for one, stage, own in planned]
    runs.write_plan(store, run, "03-0000", rows)
    if has_ended:
        runs.end_run(store, run, {})
    return run


def show(store: Store, one: str, run: str, publish_key: str = "k") -> None:
    """Have the published tables show a video of a run, from this artifact."""
    tables.create_tables(store)
    values = {
        "video": one, "name": one, "uri": "/videos/x.mp4", "content_sha256": "c", "codec": "h264", "width_px": 1, "height_px": 1,
        "video_frames": 1, "frames": 1, "duration_ns": 0, "poses": 0, "tracks": 0, "suspects": 0, "run": run, "shard": 3,
        "publish_key": publish_key,
    }  # fmt: skip
    of_video = pa.table({name: [value] for name, value in values.items()}).select(VIDEOS.names).cast(VIDEOS)
    empty = {name_of(schema): schema.empty_table() for schema in (FRAMES, POSES, TRACKS, SUSPECTS, CORRECTIONS)}
    rows = {"videos": of_video, **empty}
    tables.publish_videos(store, run, 3, rows)


def keys_there(store: Store) -> set[tuple[str, str]]:
    """Stage and key of every artifact of which anything is left: a part, a commit of a chunk, or a manifest."""
    names = [name for prefix in ("artifacts", "chunks", "manifests") for name in store.list(prefix)]
    return {(name.split("/")[1], name.split("/")[2].removesuffix(".json")) for name in names}


def assert_whole(store: Store) -> None:
    """Assert that all that is committed can be read: nobody believes in what is gone."""
    for name in store.list("manifests"):
        _, stage, own = name.split("/")
        Artifact(store, stage, own.removesuffix(".json")).read()
