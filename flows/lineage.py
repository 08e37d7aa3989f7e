"""lineage: what made a video's rows, from its content on: artifacts, parameters, weights, inputs, devices.

A row of `poses` tells its `video` and its `run`, which is all that is needed: `tkm lineage URI@RUN VIDEO`. What was removed since
(`--keep`, `tkm gc`) is told from the run's plan; how long it took, and where, went with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
from rich.table import Table

from flows.again import recorded_params
from flows.settings import SettingsError
from flows.terminal import one_line
from storage import runs, tables
from storage.artifacts import Artifact, Chunk, DamagedArtifactError, Manifest, artifact_key
from storage.corrections import created_of, id_of, read_correction
from storage.sources import InputError, Source, some
from storage.store import Store
from storage.weights import is_kept, weights_name
from tasks import correct
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan
from tasks.stage import Stage
from tkm.weights import WEIGHTS


@dataclass(frozen=True)
class WeightsUsed:
    """A weights file that a stage used, what for, and its digest.

    source   the embedded file, or where the store keeps it; empty where it does not any more
    """

    role: str
    sha256: str
    source: str


@dataclass(frozen=True)
class Step:
    """The artifact of one stage of a video.

    state      `whole`, `begun`, `removed` (its rows are in what was made of them), or `missing`
    version    of the stage; None where it is not known, because another version of this package wrote the artifact and it is gone
    inputs     keys of the artifacts that it was made of, by stage, or the digest of the content
    devices    that computed it; empty where that is not known, as are seconds, bytes, rows and chunks (frames [start, stop))
    """

    stage: str
    key: str
    state: str
    version: int | None
    params: Mapping[str, Any]
    weights: tuple[WeightsUsed, ...]
    inputs: Mapping[str, str]
    devices: tuple[str, ...]
    seconds: float | None
    bytes: int | None
    rows: int | None
    chunks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Lineage:
    """What made the rows of a video: of a run, by settings and software, from content, by steps, in their order; and what people
    corrected, a sentence an import.
    """

    root: str
    video: str
    name: str
    uri: str
    content_sha256: str
    run: str
    is_shown: bool
    started: Mapping[str, Any]
    steps: tuple[Step, ...]
    failure: str | None
    corrections: tuple[str, ...]


def lineage(store: Store, run: str | None, video: str) -> Lineage:
    """What made a video's rows: those of a run, or those that the tables show.

    Args: video, its id or name.
    Raises InputError where no video, or several, are called so, StoreError for a run that is not there.
    """
    shown = {row["video"]: row["run"] for row in tables.read(store, "videos", columns=["video", "run"]).to_pylist()}
    run, rows = _planned(store, run, video, shown)
    first = next(iter(rows.values()))
    started, _ = runs.read_facts(store, run)
    steps = _steps(store, rows)
    failed = [failure.message for failure in runs.read_failures(store, run) if failure.video == first["video"]]
    return Lineage(
        root=store.root,
        video=first["video"],
        name=first["name"],
        uri=first["uri"],
        content_sha256=first["content_sha256"],
        run=run,
        is_shown=shown.get(first["video"]) == run,
        started=started,
        steps=steps,
        failure=failed[0] if failed else None,
        corrections=_corrections(store, first["video"], steps),
    )


def page(found: Lineage) -> Iterator[Table | str]:
    """Lineage, piece by piece, for a terminal."""
    shown = "which the tables show" if found.is_shown else "of which the tables show another run's rows, or none"
    yield f"[bold]{one_line(found.video)}[/]  {one_line(found.uri)}"
    yield f"content {found.content_sha256}"
    yield f"run     {found.run}, {shown}: rows with `video` = {found.video} and `run` = {found.run}"
    versions = ", ".join(f"{name} {number}" for name, number in found.started.get("versions", {}).items())
    yield f"begun   {found.started.get('started', 'unknown')}  {one_line(versions)}"
    table = Table("stage", "artifact", "version", "state", "rows", "chunks", "seconds", "MB")
    for step in found.steps:
        sizes = (step.rows, len(step.chunks) or None, step.seconds, None if step.bytes is None else f"{step.bytes / 1e6:.2f}")
        told = ("" if size is None else str(size) for size in sizes)
        table.add_row(step.stage, step.key[:12], "?" if step.version is None else str(step.version), step.state, *told)
    yield table
    for step in found.steps:
        values = ", ".join(f"{name}={value}" for name, value in step.params.items() if value is not None)
        yield f"[bold]{step.stage}[/] " + ("" if step.stage == correct.STAGE.name else one_line(values))
        if step.stage == correct.STAGE.name:
            yield from (f"  {one_line(line)}" for line in found.corrections)
        if step.inputs:
            yield "  of " + ", ".join(f"{name} {key[:12]}" for name, key in step.inputs.items())
        for one in step.weights:
            yield f"  with {one.role}: {one_line(one.source or 'not in the store any more')}, sha256 {one.sha256}"
        if step.devices:
            yield f"  on {one_line('; '.join(step.devices))}"
    if found.failure:
        yield f"[red]failed[/]: {one_line(found.failure)}"


def _corrections(store: Store, video: str, steps: Sequence[Step]) -> tuple[str, ...]:
    """What people corrected, import by import."""
    names = [name for step in steps if step.stage == correct.STAGE.name for name in step.params["records"]]
    told = []
    for name in names:
        when = f"{id_of(name)}, {created_of(name):%Y-%m-%d %H:%M:%S} UTC"
        try:
            made = read_correction(store, video, name)
            told.append(f"{when}: {len(made.edits)} edits by {made.author} from {made.source}, of run {made.run}")
        except DamagedArtifactError:
            told.append(f"{when}: not in the store any more")
    return tuple(told)


def _planned(
    store: Store, run: str | None, video: str, shown: Mapping[str, str]
) -> tuple[str, dict[str, dict[str, Any]]]:
    """The run that made a video's rows, and what it planned of the video by stage, in the pipeline's order."""
    if run is None:
        runs.find_run(store, None)
        published = tables.read(store, "videos", columns=["video", "name"]).to_pylist()
        video = _named(published, video, f"{store.root} shows no rows of {video}; of a run that failed on it, give URI@RUN")
        run = shown[video]
    plan = runs.read_plan(store, runs.find_run(store, run))
    video = _named(plan.select(["video", "name"]).to_pylist(), video, f"run {run} of {store.root} planned no video {video}")
    order = {stage.name: n for n, stage in enumerate(PIPELINE)}
    own = sorted(plan.filter(pc.equal(plan["video"], video)).to_pylist(), key=lambda row: order.get(row["stage"], -1))
    return run, {row["stage"]: row for row in own}


def _named(rows: Sequence[Mapping[str, str]], video: str, otherwise: str) -> str:
    """Id of the one video that has this id or name, with or without its suffix."""
    names = {row["video"]: row["name"] for row in rows}
    found = [one for one, name in names.items() if video in (one, name, name.rpartition(".")[0])]
    if not found:
        raise InputError(f"{otherwise}. Its videos: {some(names)}" if names else otherwise)
    if len(found) > 1 and video not in found:
        raise InputError(f"{len(found)} videos are called {video}; give the id of one: {some(found)}")
    return video if video in found else found[0]


def _steps(store: Store, rows: Mapping[str, Mapping[str, Any]]) -> tuple[Step, ...]:
    """The artifacts that a run planned of a video. What is not there, and stands before one that is whole, has been removed."""
    known = {stage.name: stage for stage in PIPELINE}
    planned = plan_of(store, rows)
    steps: list[Step] = []
    for name, row in reversed(list(rows.items())):
        artifact = Artifact(store, name, row["key"])
        manifest = artifact.manifest()
        if manifest:
            steps.append(_whole(store, manifest))
            continue
        chunks = artifact.chunks()
        state = "begun" if chunks else "removed" if any(step.state == "whole" for step in steps) else "missing"
        steps.append(_planned_step(store, planned, known.get(name), row, state, chunks))
    return tuple(reversed(steps))


def _whole(store: Store, manifest: Manifest) -> Step:
    return Step(
        stage=manifest.stage,
        key=manifest.key,
        state="whole",
        version=manifest.version,
        params=manifest.params,
        weights=_weights(store, manifest.weights),
        inputs=manifest.inputs,
        devices=_devices(manifest.chunks),
        seconds=manifest.seconds,
        bytes=manifest.bytes,
        rows=manifest.rows,
        chunks=tuple((chunk.start, chunk.stop) for chunk in manifest.chunks),
    )


def _planned_step(
    store: Store, plan: VideoPlan | None, stage: Stage | None, row: Mapping[str, Any], state: str, chunks: Sequence[Chunk]
) -> Step:
    """What is known of an artifact that has no manifest: its key tells whether today's stage, of some version, makes it."""
    params: dict[str, Any] = json.loads(row["params"])
    weights: dict[str, str] = dict(stage.weights(plan.params)) if plan and stage else {}
    inputs: dict[str, str] = plan.inputs_of(stage) if plan and stage else {}
    versions = range(stage.version if stage else 0, 0, -1)
    version = next((v for v in versions if artifact_key(row["stage"], v, params, weights, inputs) == row["key"]), None)
    if version is None:
        weights, inputs = {}, {}
    parts = [part for chunk in chunks for part in (chunk.part, chunk.state) if part]
    return Step(
        stage=row["stage"],
        key=row["key"],
        state=state,
        version=version,
        params=params,
        weights=_weights(store, weights),
        inputs=inputs,
        devices=_devices(chunks),
        seconds=round(sum(chunk.seconds for chunk in chunks), 3) if chunks else None,
        bytes=sum(part.bytes for part in parts) if chunks else None,
        rows=sum(chunk.part.rows for chunk in chunks) if chunks else None,
        chunks=tuple((chunk.start, chunk.stop) for chunk in chunks),
    )


def plan_of(store: Store, rows: Mapping[str, Mapping[str, Any]]) -> VideoPlan | None:
    """A video's plan with the keys that the run had; None where this version does not understand its parameters."""
    first = next(iter(rows.values()))
    try:
        params = recorded_params(rows)
    except SettingsError:
        return None
    keys = {name: row["key"] for name, row in rows.items()}
    return VideoPlan(store, Source(first["uri"], first["kind"]), first["content_sha256"], "", params, keys)


def _weights(store: Store, digests: Mapping[str, str]) -> tuple[WeightsUsed, ...]:
    embedded = {known.sha256: f"embedded {known.file}" for known in WEIGHTS.values()}
    return tuple(
        WeightsUsed(role, sha256, embedded.get(sha256) or (weights_name(sha256) if is_kept(store, sha256) else ""))
        for role, sha256 in digests.items()
    )


def _devices(chunks: Sequence[Chunk]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chunk.device for chunk in chunks))
