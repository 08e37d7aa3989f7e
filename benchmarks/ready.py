"""A bucket in which everything is computed already for many videos: a run over it still plans, looks, and publishes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import aiohttp

from benchmarks.entries import entries
from flows.again import wanted_again
from flows.annotate import annotate
from storage.artifacts import Artifact
from storage.sealed import seal
from storage.sources import Source
from storage.store import Store
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Stage
from tests.s3_server import BUCKET, S3Server

_AT_ONCE = 16


def write_ready(folder: Path, videos: int) -> None:
    """Write `videos/`, as `benchmarks.entries` has them, and `results/`, where each has whole artifacts by default parameters.

    The first video is annotated; the others, which show the same, get its rows under the keys of their own content.
    """
    clips, results = folder / "videos", Store(str(folder / "results"))
    clips.mkdir(parents=True)
    made = entries(videos)
    first = clips / "000000.mp4"
    first.write_bytes(next(made))
    annotate(str(first), results.root, {}, quiet=True)
    wanted = wanted_again(results, None, "publish", [], [])
    [source] = wanted.sources
    params = wanted.params(source, {})
    model = plan_video(results, source, wanted.earlier[source.uri].content_sha256, params)
    rows = {stage.name: _parts(model, stage) for stage in model.stages}
    for n, data in enumerate(made, start=1):
        clip = clips / f"{n:06d}.mp4"
        clip.write_bytes(data)
        plan = plan_video(results, Source(str(clip)), hashlib.sha256(data).hexdigest(), params)
        for stage in plan.stages:
            _copy(model.artifact(stage), plan, stage, rows[stage.name])
    for name in ("runs", "tables", "digests", "reports"):
        results.delete_folder(name)


def send(folder: Path, server: S3Server) -> None:
    """Put all files of a folder into the bucket, by the server's own way in: an S3 client takes many times as long."""
    asyncio.run(_send([path for path in folder.rglob("*") if path.is_file()], folder, f"{server.filer_url}/buckets/{BUCKET}"))


async def _send(files: list[Path], folder: Path, url: str) -> None:
    left = iter(files)

    async def some(session: aiohttp.ClientSession) -> None:
        for file in left:
            async with session.put(f"{url}/{file.relative_to(folder)}", data=file.read_bytes()) as answer:
                answer.raise_for_status()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(some(session) for _ in range(_AT_ONCE)))


def _parts(plan: VideoPlan, stage: Stage) -> dict[str, bytes]:
    return {name: plan.store.read(name) for name in plan.store.list(f"artifacts/{stage.name}/{plan.keys[stage.name]}")}


def _copy(own: Artifact, plan: VideoPlan, stage: Stage, parts: Mapping[str, bytes]) -> None:
    """Write the parts and the manifest of an artifact under a video's own key: as plain files, for nobody reads them yet."""
    manifest, key = own.manifest(), plan.keys[stage.name]
    assert manifest is not None
    for name, data in parts.items():
        _write(plan.store.path(name.replace(own.key, key)), data)
    facts = json.loads(json.dumps(asdict(manifest)).replace(own.key, key)) | {"inputs": plan.inputs_of(stage)}
    _write(plan.store.path(f"manifests/{stage.name}/{key}.json"), seal(facts))


def _write(path: str, data: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)
