"""`--keep`: what goes when videos are published, and what somebody still needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.retention import Retention
from storage import runs
from storage.artifacts import Artifact, closed_keys
from storage.sources import Source
from storage.store import Store
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan
from tasks.retention import dropped_stages
from tests.tasks.stores import key, keys_there, make, record, video

STAGES = ("index", "estimate", "track", "publish")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def plan(store: Store, name: str, *shared: str) -> VideoPlan:
    """A video, some of whose stages' artifacts others have, too."""
    keys = video(*(f"shared:{stage}" if stage in shared else stage for stage in STAGES), of=name)
    return VideoPlan(store, Source(f"/videos/{name}.mp4"), "content", "", {}, keys)


def compute(store: Store, one: VideoPlan, *stages: str) -> None:
    for stage in stages or STAGES:
        make(store, stage, bytes.fromhex(one.keys[stage]).rstrip(b"\0").decode())


def beginning(store: Store, *plans: VideoPlan, groups: int = 1) -> Retention:
    return Retention(store, record(store, {one.video: one.keys for one in plans}, groups=groups, has_ended=False), "poses")


def there(store: Store, one: VideoPlan) -> list[str]:
    return [stage for stage in STAGES if one.keys[stage] in closed_keys(store, stage)]


def test_what_each_level_keeps() -> None:
    assert dropped_stages("all") == ()
    assert set(dropped_stages("features")) == {"boxes", "detect", "track", "paths", "refine"}
    assert {stage.name for stage in PIPELINE} - set(dropped_stages("poses")) == {"index", "correct", "publish"}


def test_a_finished_video_keeps_what_the_tables_are_made_of(store: Store) -> None:
    one = plan(store, "one")
    retention = beginning(store, one)
    retention.begin([one])
    compute(store, one, "index", "estimate", "track")
    retention.drop([one])
    assert there(store, one) == ["index", "estimate", "track"], "it is not finished"
    compute(store, one, "publish")
    retention.drop([one])
    assert there(store, one) == ["index", "publish"]


def test_what_another_video_of_the_run_shares_stays_until_that_is_finished_too(store: Store) -> None:
    one, other = plan(store, "one", "index", "estimate"), plan(store, "other", "index", "estimate")
    retention = beginning(store, one, other)
    retention.begin([one])
    retention.begin([other])
    compute(store, one)
    retention.drop([one])
    assert there(store, one) == ["index", "estimate", "publish"]
    compute(store, other)
    retention.drop([other])
    assert there(store, other) == there(store, one) == ["index", "publish"]


def test_what_an_unfinished_video_of_a_run_at_work_needs_stays(store: Store) -> None:
    one, other = plan(store, "one", "index", "estimate"), plan(store, "other", "index", "estimate")
    record(store, {other.video: other.keys}, has_ended=False)
    retention = beginning(store, one)
    retention.begin([one])
    compute(store, one)
    retention.drop([one])
    assert there(store, one) == ["index", "estimate", "publish"]
    compute(store, other, "track", "publish")
    retention.drop([one])
    assert there(store, one) == ["index", "publish"]
    assert there(store, other) == ["index", "track", "publish"], "that is for its own run to say"


def test_while_another_run_is_still_planning_all_stays_and_goes_at_the_end(store: Store) -> None:
    one = plan(store, "one")
    planning = record(store, {}, groups=2, has_ended=False)
    retention = beginning(store, one)
    retention.begin([one])
    compute(store, one)
    retention.drop([one])
    assert there(store, one) == list(STAGES)
    runs.end_run(store, planning, {})
    retention.end()
    assert there(store, one) == ["index", "publish"]


def test_the_next_run_removes_what_one_that_was_killed_has_left(store: Store) -> None:
    one = plan(store, "one")
    compute(store, one)
    store.write(f"artifacts/track/{key('rests')}/000000000-000000002-{'0' * 12}.parquet", b"rest")
    store.write("retired/0.json", f'[["track", "{key("rests")}"]]'.encode())
    Artifact(store, "estimate", one.keys["estimate"]).withdraw([])  # found damaged by `tkm verify`
    retention = beginning(store, one)
    retention.begin([one])
    assert not store.list("chunks/estimate"), "what is not kept is not computed again for being damaged"
    assert ("track", key("rests")) not in keys_there(store)
    assert there(store, one) == ["index", "publish"]
