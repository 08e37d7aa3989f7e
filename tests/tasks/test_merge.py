"""Which run's results the dataset shows."""

from __future__ import annotations

from pathlib import Path

from deltalake import write_deltalake

from storage import runs, table_log, tables
from storage.store import Store
from tasks import index, track
from tasks.merge import merge
from tasks.verify import verify_tables
from tests.conftest import plan_of, run_all
from tests.tasks.plans import finished, recorded_run


def test_run_ids_rise_also_within_a_second_and_after_a_clock_that_is_ahead(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ahead = "29991231-235959-000000"
    first = runs.new_run(store)
    runs.start_run(store, first, {})
    second = runs.new_run(store)
    assert second[:15] > first[:15]
    runs.start_run(store, ahead, {})
    assert runs.new_run(store) > ahead


def test_what_an_earlier_version_published_without_suspects_is_no_damage_and_gets_them_by_the_next_run(
    demo_clip: Path, tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    plan = plan_of(store, demo_clip, {"index": index.IndexParams(frames=":2")})
    run_all(plan)
    tables.create_tables(store)
    assert merge(store, recorded_run(plan), plan.shard, [finished(plan)]) == (1, [])
    earlier = tables.read(store, "videos").drop_columns(["suspects"])
    for later in ("suspects", "corrections"):
        table_log.remove(store, later)
    assert tables.read(store, "corrections").num_rows == 0
    table_log.remove(store, "videos")
    write_deltalake(tables.table_uri(store, "videos"), earlier, partition_by=["shard"])
    assert verify_tables(store).damage == ()
    run = recorded_run(plan)
    tables.create_tables(store)
    assert merge(store, run, plan.shard, [finished(plan)]) == (1, [])
    (video,) = tables.read(store, "videos").to_pylist()
    assert video["suspects"] == tables.read(store, "suspects").num_rows
    assert merge(store, recorded_run(plan), plan.shard, [finished(plan)]) == (0, [])


def test_a_run_that_found_its_rows_published_still_counts_as_the_later_one(demo_clip: Path, tmp_path: Path) -> None:
    store, short = Store(str(tmp_path)), {"index": index.IndexParams(frames=":2")}
    one = plan_of(store, demo_clip, short)
    other = plan_of(store, demo_clip, short | {"track": track.TrackParams(similarity="iou")})
    for plan in (one, other):
        run_all(plan)
    tables.create_tables(store)
    first, slow, last = recorded_run(one), recorded_run(other), recorded_run(one)
    assert merge(store, first, one.shard, [finished(one)]) == (1, []), "the last one may be killed before it publishes"
    assert merge(store, last, one.shard, [finished(one)]) == (0, []), "its rows are there already"
    assert merge(store, slow, one.shard, [finished(other)]) == (0, []), "it began before the last one"
    (video,) = tables.read(store, "videos").to_pylist()
    assert (video["publish_key"], video["run"]) == (one.keys["publish"], first)
    newest = recorded_run(other)
    assert merge(store, newest, one.shard, [finished(other)]) == (1, [])
