"""Runs as the flow records them, over artifacts that tests have made without it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from flows.groups import Group
from storage import runs, tables
from storage.store import Store
from tasks import publish, track
from tasks.execute import run_frames, run_in_order
from tasks.merge import merge
from tasks.plan import VideoPlan, plan_video
from tests.tasks.plans import finished


def copied(plan: VideoPlan, folder: Path) -> VideoPlan:
    """The plan over a copy of its store."""
    shutil.copytree(plan.store.root, folder)
    return replace(plan, store=Store(str(folder)))


def tracked_again(plan: VideoPlan, params: track.TrackParams) -> VideoPlan:
    """The same video under other parameters of track, whose results are there."""
    other = plan_video(plan.store, plan.source, plan.content_sha256, {**plan.params, "track": params})

    def silent(stage: str, frames: int) -> None:
        pass

    run_in_order(other, track.STAGE, chunk_frames=8, report=silent)
    run_frames(other, [publish.STAGE], 0, 20, chunk_frames=8, threads=1, report=silent)
    return other


def recorded(plan: VideoPlan, *, is_published: bool = True) -> str:
    """A run that has this video alone, published where its last stage is whole; its id."""
    store, run = plan.store, runs.new_run(plan.store)
    runs.start_run(store, run, {"groups": 1, "started": "2026-01-01T00:00:00Z", "versions": {"torch": "2.14"}})
    runs.write_plan(store, run, f"{plan.shard:02d}-0000", Group("", plan.shard, (plan.source,), (plan,)).plan_rows())
    if is_published:
        tables.create_tables(store)
        merge(store, run, plan.shard, [finished(plan)])
    runs.end_run(store, run, {})
    return run


