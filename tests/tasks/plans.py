"""Runs as the flow records them, for tests that go without it."""

from __future__ import annotations

from pathlib import Path

from storage import runs
from tasks.merge import Finished
from tasks.plan import VideoPlan


def finished(plan: VideoPlan) -> Finished:
    return Finished(
        video=plan.video,
        name=Path(plan.source.uri).name,
        uri=plan.source.uri,
        content_sha256=plan.content_sha256,
        shard=plan.shard,
        index_key=plan.keys["index"],
        publish_key=plan.keys["publish"],
    )


def recorded_run(plan: VideoPlan) -> str:
    """A run that began now and planned this video; its id."""
    run = runs.new_run(plan.store)
    row = {"video": plan.video, "name": Path(plan.source.uri).name, "uri": plan.source.uri, "kind": plan.source.kind}
    row |= {"content_sha256": plan.content_sha256, "shard": plan.shard}
    params = {stage: plan.params[stage].model_dump_json() for stage in plan.keys}
    rows = [row | {"stage": stage, "key": key, "params": params[stage]} for stage, key in plan.keys.items()]
    runs.start_run(plan.store, run, {})
    runs.write_plan(plan.store, run, "group", rows)
    return run
