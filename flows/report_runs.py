"""What a report tells of how results came about: runs, parameters, weights, devices, seconds and bytes, failures, scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from flows.taken import taken
from storage import runs, tables
from storage.store import Store
from tasks.pipeline import PIPELINE
from tkm.weights import WEIGHTS

_RUNS = 20  # whose plans are read
_FAILURES = 100


@dataclass(frozen=True)
class StageTold:
    """A stage over all videos: parameters and weights, each with how many videos it is of, and what its artifacts took.

    Of many artifacts, seconds and bytes are estimates.
    """

    stage: str
    params: tuple[tuple[dict[str, Any], int], ...]
    weights: tuple[tuple[str, str, str], ...]
    devices: tuple[str, ...]
    artifacts: int
    seconds: float
    bytes: float
    is_estimate: bool


@dataclass(frozen=True)
class RunTold:
    """A run: its facts at its start and at its end, None where it recorded none, and how many of the shown videos are its."""

    run: str
    started: dict[str, Any]
    ended: dict[str, Any] | None
    videos: int


def runs_told(store: Store, run: str | None, videos: Sequence[dict[str, Any]]) -> list[RunTold]:
    """The run, or those that the tables show rows of, the latest first."""
    count = Counter(row["run"] for row in videos)
    told = [run] if run else sorted(count, reverse=True)[:_RUNS]
    there = set(runs.all_runs(store))
    return [
        RunTold(one, *runs.read_facts(store, one), videos=len(videos) if run else count[one]) for one in told if one in there
    ]


def stages_told(store: Store, told: Sequence[RunTold], videos: Sequence[dict[str, Any]]) -> list[StageTold]:
    """The stages that the videos went through under these runs, in order."""
    of_run = {row["video"]: row["run"] for row in videos}
    rows: dict[str, list[tuple[str, str]]] = {}
    for one in told:
        plan = runs.read_plan(store, one.run).select(["video", "stage", "key", "params"])
        for video, stage, key, params in zip(*(plan[name].to_pylist() for name in plan.column_names), strict=True):
            if len(told) == 1 or of_run.get(video) == one.run:
                rows.setdefault(stage, []).append((key, params))
    return [_stage(store, stage.name, rows[stage.name]) for stage in PIPELINE if stage.name in rows]


def _stage(store: Store, stage: str, rows: Sequence[tuple[str, str]]) -> StageTold:
    took = taken(store, stage, [key for key, _ in rows])
    names = {one.sha256: one.file for one in WEIGHTS.values()}
    used = {(role, digest) for one in took.manifests for role, digest in one.weights.items()}
    return StageTold(
        stage=stage,
        params=tuple((json.loads(params), count) for params, count in Counter(params for _, params in rows).most_common(5)),
        weights=tuple((role, names.get(digest, "a given file"), digest) for role, digest in sorted(used)),
        devices=tuple(sorted({chunk.device for manifest in took.manifests for chunk in manifest.chunks})),
        artifacts=took.artifacts,
        seconds=took.seconds,
        bytes=took.bytes,
        is_estimate=took.is_estimate,
    )


def failures_told(store: Store, run: str | None) -> tuple[list[dict[str, Any]], int]:
    """Videos that failed, some of them, and how many there are."""
    if run:
        failed = [vars(failure) for failure in runs.read_failures(store, run)]
    else:
        failed = tables.read(store, "failures", columns=["video", "uri", "stage", "message", "is_permanent"]).to_pylist()
    failed.sort(key=lambda row: row["video"])
    return failed[:_FAILURES], len(failed)


def scores_told(store: Store, told: Sequence[RunTold]) -> list[dict[str, Any]]:
    """Scores against truth, where these runs' results were evaluated: an evaluation a row, over all joints."""
    rows = tables.read(store, "scores")
    wanted = {one.run for one in told}
    found: dict[str, dict[str, Any]] = {}
    for row in rows.filter(pc.equal(rows["joint"], "total")).to_pylist():
        if wanted & set(row["run"].replace(" ", "").split(",")):
            one = found.setdefault(row["evaluation"], {**row, "values": {}})
            one["values"][row["metric"]] = row["value"]
    return list(found.values())
