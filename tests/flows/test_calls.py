"""Calls on workers: equal work is done once, and who dies by another's fault gets another go."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
from dask import config
from distributed import Client, LocalCluster

from flows.calls import Call, run_all, video_call
from flows.cluster import connect
from storage.runs import Failure
from storage.sources import Source
from storage.store import Store
from tasks.stage import Resources
from tests.conftest import plan_of


def kill_the_worker() -> None:
    time.sleep(0.3)  # the others are at work by then
    os.kill(os.getpid(), signal.SIGKILL)


def think(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def call(name: str, function: object, *arguments: float) -> Call:
    return Call(name, Source(f"/videos/{name}.mp4"), "detect", name, function, arguments)  # type: ignore[arg-type]


def fail_and_leave_a_mark(folder: str, uri: str) -> Failure:
    tempfile.mkstemp(dir=folder)
    time.sleep(0.5)
    return Failure(Source(uri).video_id, uri, "detect", f"{uri} is damaged", True, 0)


def test_videos_of_one_content_are_worked_on_once_and_each_is_told_of_by_its_name(demo_clip: Path, tmp_path: Path) -> None:
    copy, marks, store = tmp_path / "copy.mp4", tmp_path / "marks", Store(str(tmp_path / "out"))
    shutil.copy(demo_clip, copy)
    marks.mkdir()
    plans = [plan_of(store, clip) for clip in (demo_clip, copy)]
    calls = [video_call(p, ["detect"], 0, fail_and_leave_a_mark, (str(marks), p.source.uri)) for p in plans]
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, resources={"CPU": 2}, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        results = run_all(client, "run", calls, Resources(cpus=1))
    assert len(list(marks.iterdir())) == 1
    told = [results[call.name] for call in calls]
    assert [failure.message for failure in told] == [f"{plan.source.uri} is damaged" for plan in plans]
    assert [(failure.video, failure.shard) for failure in told][1] == (plans[1].video, plans[1].shard)


def test_local_workers_do_without_the_profiler_that_hangs_on_python_3_11() -> None:
    with config.set({"distributed.worker.profile.enabled": True}), connect(None, 1, networks=False) as client:
        assert client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks, on_error="return") == dict.fromkeys(
            client.scheduler_info()["workers"], False
        )


@pytest.mark.slow
def test_bad_company_costs_nobody_else_the_result() -> None:
    calls = [call("killer", kill_the_worker), *(call(f"good{n}", think, 1.0) for n in range(3))]
    with (
        config.set({"distributed.scheduler.allowed-failures": 0}),  # one death is too many for all that were there
        LocalCluster(n_workers=1, threads_per_worker=4, resources={"CPU": 4}, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        results = run_all(client, "run", calls, Resources(cpus=1))
    failure = results.pop("killer")
    assert results == {"good0": 1.0, "good1": 1.0, "good2": 1.0}
    assert isinstance(failure, Failure)
    assert failure.message.startswith("/videos/killer.mp4 ended its worker process again and again")
    assert not failure.is_permanent
