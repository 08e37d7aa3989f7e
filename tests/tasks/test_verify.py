"""Damage of every kind: found by verify, withdrawn or put right, and computed again where nothing else has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage import runs, tables
from storage.schemas import name_of
from storage.sealed import seal
from storage.store import Store
from tasks import detect, estimate, index, publish
from tasks.merge import RESULTS, merge, merge_failures
from tasks.plan import VideoPlan, missing
from tasks.verify import verify_artifacts, verify_records, verify_tables
from tests.conftest import plan_of, run_all
from tests.tasks.plans import finished, recorded_run

FRAMES = 4


@pytest.fixture
def plan(any_root: str, demo_clip: Path) -> VideoPlan:
    """A few frames of the bundled clip, in chunks of two, published by a run."""
    store = Store(any_root)
    plan = plan_of(store, demo_clip, {"index": index.IndexParams(frames=f":{FRAMES}")})
    run_all(plan, chunk_frames=2)
    run = recorded_run(plan)
    tables.create_tables(store)
    assert merge(store, run, plan.shard, [finished(plan)]) == (1, [])
    return plan


def damage_found(store: Store) -> list[str]:
    return [line for stage in verify_artifacts(store, lambda _: None) for line in stage.damage]


def lacking(plan: VideoPlan) -> set[str]:
    """Stages that a run would compute."""
    from storage.artifacts import closed_keys, open_keys

    return missing(plan, lambda stage: open_keys(plan.store, stage), lambda stage: closed_keys(plan.store, stage))


def rows_of(plan: VideoPlan) -> dict[str, list[dict[str, object]]]:
    return {name: tables.read(plan.store, name).to_pylist() for name in map(name_of, RESULTS)}


def test_a_sound_store_has_no_damage_and_is_read_whole(plan: VideoPlan) -> None:
    read = verify_artifacts(plan.store, lambda _: None)
    assert {stage.stage: (stage.artifacts, stage.chunks) for stage in read} == {
        stage.name: (1, 1 if stage is index.STAGE else FRAMES // 2) for stage in plan.stages
    }
    assert sum(stage.bytes for stage in read) == sum(plan.store.list("artifacts").values())
    assert [stage.damage for stage in read] == [()] * len(read)
    found = verify_tables(plan.store)
    assert (found.videos, found.unknown, found.damage) == (1, 0, ())


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_part_is_named_withdrawn_and_computed_again(plan: VideoPlan, how: str) -> None:
    before = rows_of(plan)
    part = plan.artifact(estimate.STAGE).chunks()[1].part
    data = bytearray(plan.store.read(part.name))
    data[len(data) // 2] ^= 1
    if how == "remove":
        plan.store.delete(part.name)
    else:
        plan.store.write(part.name, bytes(data) if how == "flip" else bytes(data[:-3]))
    (line,) = damage_found(plan.store)
    assert part.name in line
    assert damage_found(plan.store) == [], "what is withdrawn is not believed any more"
    assert lacking(plan) == {"estimate"}, "also where nothing that is missing needs it"
    assert run_all(plan)["estimate"] == FRAMES - 2
    assert lacking(plan) == set()
    assert rows_of(plan) == before


def test_a_stage_that_is_lost_whole_is_wanted_again(plan: VideoPlan) -> None:
    parts = [chunk.part for chunk in plan.artifact(detect.STAGE).chunks()]
    for part in parts:
        plan.store.delete(part.name)
    assert len(damage_found(plan.store)) == len(parts)
    assert lacking(plan) == {"detect"}
    assert run_all(plan)["detect"] == FRAMES


def test_a_damaged_last_stage_is_found_when_it_is_published(plan: VideoPlan) -> None:
    before = rows_of(plan)
    for chunk in plan.artifact(publish.STAGE).chunks():
        plan.store.delete(chunk.part.name)
    tables.rewrite_shard(plan.store, plan.shard, [])
    run = runs.new_run(plan.store)
    assert merge(plan.store, run, plan.shard, [finished(plan)]) == (0, [plan.video])
    assert lacking(plan) >= {"publish"}
    run_all(plan)
    assert merge(plan.store, run, plan.shard, [finished(plan)]) == (1, [])
    after = rows_of(plan)
    assert [{**row, "run": run} for row in before["poses"]] == after["poses"]


def test_commits_that_cannot_be_understood_are_withdrawn(plan: VideoPlan) -> None:
    name = f"manifests/detect/{plan.keys['detect']}.json"
    plan.store.write(name, plan.store.read(name)[:-20])
    assert plan.artifact(detect.STAGE).manifest() is None
    assert lacking(plan) == {"detect"}
    run_all(plan)
    facts = json.loads(plan.store.read(name))
    assert facts["rows"] == plan.artifact(detect.STAGE).read().num_rows
    assert damage_found(plan.store) == []


@pytest.mark.parametrize("name", ["poses", "frames", "tracks", "videos"])
def test_published_files_that_are_lost_are_written_anew(plan: VideoPlan, name: str) -> None:
    before = rows_of(plan)
    for file in plan.store.list(f"tables/{name}/shard={plan.shard}"):
        plan.store.delete(file)
    found = verify_tables(plan.store)
    assert any(name in line for line in found.damage)
    assert rows_of(plan) == before
    assert verify_tables(plan.store).damage == ()


def test_published_rows_that_are_not_their_artifacts_are_put_right(plan: VideoPlan) -> None:
    before = rows_of(plan)
    table = tables.open_table(plan.store, "poses")
    assert table is not None
    table.update(updates={"nose_x": "nose_x + 1"}, predicate="frame = 2")
    assert rows_of(plan) != before
    (line,) = verify_tables(plan.store).damage
    assert "poses" in line
    assert rows_of(plan) == before


@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
@pytest.mark.parametrize("name", ["poses", "videos", "failures"])
def test_a_table_whose_log_is_damaged_is_made_anew(plan: VideoPlan, name: str, how: str) -> None:
    before = rows_of(plan)
    log = sorted(plan.store.list(f"tables/{name}/_delta_log"))[-1 if how == "empty" else 0]
    data = plan.store.read(log)
    plan.store.write(log, {"flip": data.replace(b'"', b"#", 1), "cut": data[: len(data) // 2], "empty": b""}[how])
    (line, *_) = verify_tables(plan.store).damage
    assert log in line
    assert rows_of(plan) == before
    assert verify_tables(plan.store).damage == ()


def test_a_commit_that_a_log_lacks_is_noticed(plan: VideoPlan) -> None:
    before = rows_of(plan)
    plan.store.delete(sorted(plan.store.list("tables/poses/_delta_log"))[0])
    assert any("poses" in line for line in verify_tables(plan.store).damage)
    assert rows_of(plan) == before


def test_failures_that_cannot_be_read_are_told_again_as_the_runs_recorded_them(plan: VideoPlan) -> None:
    store, run = plan.store, runs.new_run(plan.store)
    runs.start_run(store, run, {})
    failed = runs.Failure("other-1", "/other.mp4", "index", "/other.mp4 is broken", True, 5)
    runs.write_failures(store, run, "05", [failed, runs.Failure(plan.video, "x", "track", "it passed", False, plan.shard)])
    merge_failures(store, run, 5, [failed])
    before = tables.read(store, "failures").to_pylist()
    for file in store.list("tables/failures/shard=5"):
        store.write(file, store.read(file)[:-9])
    recorded_run(plan)  # a later run, which finished the other video
    (line,) = verify_tables(store).damage
    assert line.startswith("failures cannot be read")
    assert tables.read(store, "failures").to_pylist() == before
    assert verify_tables(store).damage == ()


def test_records_that_are_damaged_are_taken_away_and_told(plan: VideoPlan) -> None:
    store, run = plan.store, runs.all_runs(plan.store)[0]
    assert verify_records(store) == ()
    store.write("digests/03-0000.json", seal({"videos": []})[:-1])
    names = ["digests/03-0000.json", f"runs/{run}/plan-group.parquet", f"runs/{run}/started.json"]
    for name in names[1:]:
        data = store.read(name)
        store.write(name, data[: len(data) // 2])
    assert sorted(line.partition(":")[0] for line in verify_records(store)) == names
    assert [name for name in store.list("") if name in names] == []
    assert verify_records(store) == ()


@pytest.mark.parametrize("stage", ["detect", "publish"])
def test_a_manifest_with_a_flipped_bit_is_named_and_not_believed(plan: VideoPlan, stage: str) -> None:
    name = f"manifests/{stage}/{plan.keys[stage]}.json"
    data = plan.store.read(name)
    assert b'"rows": ' in data
    at = data.index(b'"rows": ') + len(b'"rows": ')
    plan.store.write(name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    (line,) = damage_found(plan.store)
    assert line == f"{name} is not what was written"
    assert lacking(plan) == {stage}
    assert damage_found(plan.store) == []
