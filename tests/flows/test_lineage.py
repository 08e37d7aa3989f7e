"""What made a video's rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.lineage import lineage
from storage import tables
from storage.artifacts import Artifact
from storage.runs import Failure, write_failures
from storage.sources import InputError
from storage.store import StoreError
from tasks import track
from tasks.plan import VideoPlan
from tasks.retention import dropped_stages, remove
from tests.flows.commands import tkm
from tests.flows.recorded import copied, recorded, tracked_again
from tkm.weights import digest

WHOLE = {"index", "detect", "estimate", "suppress", "track", "publish"}


@pytest.fixture
def plan(short_run: VideoPlan, tmp_path: Path) -> VideoPlan:
    return copied(short_run, tmp_path / "store")


def test_a_row_of_poses_leads_to_all_that_made_it(plan: VideoPlan) -> None:
    run = recorded(plan)
    row = tables.read(plan.store, "poses").to_pylist()[0]
    found = lineage(plan.store, row["run"], row["video"])
    assert (found.run, found.is_shown, found.content_sha256) == (run, True, plan.content_sha256)
    assert {step.stage for step in found.steps} == WHOLE
    steps = {step.stage: step for step in found.steps}
    assert steps["index"].inputs == {"content": plan.content_sha256}
    for step in found.steps[1:]:
        assert step.inputs == {name: steps[name].key for name in step.inputs}, "each is made of those that are named"
    (nanodet,) = steps["detect"].weights
    assert (nanodet.sha256, nanodet.source) == (digest("nanodet"), "embedded nanodet.safetensors")
    estimate = Artifact(plan.store, "estimate", steps["estimate"].key).manifest()
    assert estimate is not None
    assert (steps["estimate"].seconds, steps["estimate"].bytes, steps["estimate"].rows) == (
        estimate.seconds, estimate.bytes, estimate.rows
    )  # fmt: skip
    assert steps["estimate"].chunks == ((0, 20),)
    assert steps["track"].params["similarity"] == "oks"


def test_what_was_removed_is_told_from_the_plan(plan: VideoPlan) -> None:
    recorded(plan)
    before = {step.stage: step for step in lineage(plan.store, None, plan.source.name).steps}
    remove(plan.store, {(stage, key) for stage, key in plan.keys.items() if stage in dropped_stages("poses")})
    after = {step.stage: step for step in lineage(plan.store, None, plan.video).steps}
    assert after["publish"] == before["publish"]
    for stage in WHOLE - {"index", "publish"}:
        assert (before[stage].state, after[stage].state) == ("whole", "removed")
        for told in ("key", "version", "params", "weights", "inputs"):
            assert getattr(after[stage], told) == getattr(before[stage], told), told
        assert (after[stage].seconds, after[stage].devices, after[stage].chunks) == (None, (), ())


def test_each_run_has_its_own_and_the_tables_show_the_last(plan: VideoPlan) -> None:
    first = recorded(plan)
    other = tracked_again(plan, track.TrackParams(similarity="iou"))
    second = recorded(other)
    assert lineage(plan.store, None, plan.video).run == second
    assert not lineage(plan.store, first, plan.video).is_shown
    shared = [lineage(plan.store, run, plan.video).steps[2] for run in (first, second)]
    assert shared[0] == shared[1]


def test_a_video_that_failed_is_told_with_its_failure(plan: VideoPlan) -> None:
    remove(plan.store, {(stage, plan.keys[stage]) for stage in ("track", "publish")})
    run = recorded(plan, is_published=False)
    write_failures(plan.store, run, "g", [Failure(plan.video, plan.source.uri, "track", "it cannot be", False, plan.shard)])
    found = lineage(plan.store, run, plan.video)
    assert found.failure == "it cannot be"
    assert {step.stage: step.state for step in found.steps} == {
        **dict.fromkeys(WHOLE, "whole"), "track": "missing", "publish": "missing"
    }  # fmt: skip


def test_videos_that_are_not_there_are_named(plan: VideoPlan) -> None:
    run = recorded(plan)
    with pytest.raises(InputError, match=f"shows no rows of nobody.*{plan.video}"):
        lineage(plan.store, None, "nobody")
    with pytest.raises(InputError, match=f"run {run} .* planned no video nobody"):
        lineage(plan.store, run, "nobody")
    with pytest.raises(StoreError, match="holds no run"):
        lineage(plan.store, "20000101-000000-000000", plan.video)


@pytest.mark.slow
def test_the_command_prints_it(plan: VideoPlan) -> None:
    run = recorded(plan)
    said = tkm("lineage", f"{plan.store.root}@{run}", plan.source.name)
    assert said.returncode == 0, said.stderr
    for part in (run, plan.content_sha256, plan.keys["publish"][:12], "similarity=oks", "embedded movenet-thunder.safetensors"):
        assert part in said.stdout
    told = json.loads(tkm("lineage", plan.store.root, plan.video, "--json").stdout)
    assert [step["stage"] for step in told["steps"]][0::5] == ["index", "publish"]
    missing = tkm("lineage", plan.store.root, "nobody")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr
