"""A cluster of separate processes: stages run where their resources say, and whoever of them dies, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client

from flows.annotate import annotate
from storage.store import Store
from tests.cluster import Cluster, start_cluster
from tests.flows.commands import assert_same, committed_parts, kill_when, published, start, tkm, wait_for_group

pytestmark = [pytest.mark.usefixtures("prefect_server", "shared_prefect"), pytest.mark.slow]

OPTIONS = ("--chunk-frames", "1", "--frames", ":10")
CPU_WORKERS = ("cpu0", "cpu1")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, people_clip: Path) -> Path:
    """Four videos of three people; two of them have one content."""
    folder = tmp_path_factory.mktemp("videos")
    for name, differing in {"a.mp4": b"", "b.mp4": b"", "c.mp4": b"\0\0\0\x08free", "d.mp4": b"\0\0\0\x08skip"}.items():
        (folder / name).write_bytes(people_clip.read_bytes() + differing)  # boxes that no decoder looks at
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """What a run on a local cluster that nobody disturbs publishes."""
    output = str(tmp_path_factory.mktemp("undisturbed"))
    annotate(str(videos), output, {"index": {"frames": ":10"}}, quiet=True)
    return published(Store(output))


@pytest.fixture
def cluster(any_root: str, tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "dask"  # after any_root, whose credentials its processes inherit
    folder.mkdir()
    with start_cluster(folder) as cluster:
        start_workers(cluster)
        yield cluster


def start_workers(cluster: Cluster) -> None:
    cluster.start_worker("gpu", "GPU=1", 2)
    for name in CPU_WORKERS:
        cluster.start_worker(name, "CPU=1", 1)
    cluster.wait_for_workers(1 + len(CPU_WORKERS))


def test_stages_run_where_their_resources_say(
    cluster: Cluster, videos: Path, undisturbed: dict[str, pd.DataFrame], any_root: str
) -> None:
    with Client(cluster.address, set_as_default=False) as client:
        client.get_task_stream()  # it is recorded from the first time that somebody asks
        done = tkm("annotate", str(videos), "-o", any_root, "--dask", cluster.address, *OPTIONS)
        assert done.returncode == 0, done.stderr
        assert not any(client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks).values()), "it can hang"
        names = {address: worker["name"] for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()}
        ran = {name: set[str]() for name in names.values()}
        for record in client.get_task_stream():
            ran[names[record["worker"]]].add(str(record["key"]).split("-")[0])
    assert ran["gpu"] == {"run_segment"}, "networks and refinement, and nothing else"
    assert ran["cpu0"] | ran["cpu1"] == {"digest", "index_video", "run_track", "run_publish", "merge"}
    assert_same(published(Store(any_root)), undisturbed)


def test_whoever_dies_nothing_is_lost(
    cluster: Cluster, videos: Path, undisturbed: dict[str, pd.DataFrame], any_root: str, tmp_path: Path
) -> None:
    store, log = Store(any_root), tmp_path / "log"
    command = ["annotate", str(videos), "-o", any_root, "--dask", cluster.address, *OPTIONS]
    process = start(log, *command)
    kill_when(process, lambda: chunks(store, "detect") >= 2)
    wait_for_group(process)
    kept = committed_parts(store)

    process = start(log, *command)
    wait_until(lambda: is_in_the_middle(store, 2))
    cluster.kill("scheduler")
    assert process.wait(240) == 1
    assert "scheduler is gone" in log.read_text()
    kept |= committed_parts(store)
    for name in list(cluster.processes):
        cluster.kill(name)
    cluster.start_scheduler()
    start_workers(cluster)

    process = start(log, *command)
    wait_until(lambda: is_in_the_middle(store, 3))
    cluster.kill("gpu")
    cluster.start_worker("gpu", "GPU=1", 2)
    wait_until(lambda: chunks(store, "track") > 0)
    for name in CPU_WORKERS:
        cluster.kill(name)
        cluster.start_worker(name, "CPU=1", 1)
    assert process.wait(240) == 0, log.read_text()
    assert kept <= committed_parts(store)
    assert_same(published(store), undisturbed)
    assert tkm("verify", any_root).returncode == 0


def is_in_the_middle(store: Store, run: int) -> bool:
    """Whether the n-th run has its plan, and works on its n-th content: a worker goes on with what killed runs had begun."""
    planned = {name.split("/")[1] for name in store.list("runs") if name.endswith(".parquet")}
    return len(planned) == run and len(store.list("manifests/estimate")) >= run - 1 and chunks(store, "estimate") > 0


def chunks(store: Store, stage: str) -> int:
    return len([name for name in store.list(f"chunks/{stage}") if name.endswith(".json")])


def wait_until(is_time: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not is_time():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
