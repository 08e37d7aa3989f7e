"""Calls on workers that die: who dies with them by chance gets another go, who kills them is told of."""

from __future__ import annotations

import os
import signal
import time

import pytest
from dask import config
from distributed import Client, LocalCluster

from flows.calls import Call, run_all
from storage.runs import Failure
from storage.sources import Source
from tasks.stage import Resources


def kill_the_worker() -> None:
    time.sleep(0.3)  # the others are at work by then
    os.kill(os.getpid(), signal.SIGKILL)


def think(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def call(name: str, function: object, *arguments: float) -> Call:
    return Call(name, Source(f"/videos/{name}.mp4"), "detect", name, function, arguments)  # type: ignore[arg-type]


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
