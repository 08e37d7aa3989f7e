"""A Dask cluster of separate processes on loopback, as an operator starts one: a scheduler, workers that offer GPU or CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

from tests.processes import START

_SECONDS = 120  # a busy machine takes long to import what workers run
_ROOT = Path(__file__).resolve().parents[1]
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
_SCHEDULERS = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}  # workers turn it off themselves


@dataclass
class Cluster:
    """Processes by name: `scheduler`, and those of `start_worker`. Each writes what it says into a file of the folder."""

    folder: Path
    address: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_scheduler(self) -> None:
        """Start the scheduler, also anew at the same address."""
        host, port = self.address.removeprefix("tcp://").split(":")
        self._start("scheduler", "scheduler", "--host", host, "--port", port, "--no-dashboard")

    def start_worker(self, name: str, resources: str, threads: int, *preloads: str) -> None:
        """Start a worker that offers resources such as `GPU=1`."""
        options = ["--resources", resources, "--nthreads", str(threads), "--memory-limit", "0", "--no-nanny", "--no-dashboard"]
        options += [option for preload in ("flows.warm", *preloads) for option in ("--preload", preload)]
        local = ["--local-directory", str(self.folder), "--host", "127.0.0.1"]
        self._start(name, "worker", self.address, "--name", name, *options, *local)

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers have joined."""
        with Client(self.address, timeout=f"{_SECONDS}s", set_as_default=False) as client:
            client.wait_for_workers(count, timeout=_SECONDS)

    def kill(self, name: str) -> None:
        """SIGKILL a process."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def said(self, name: str) -> str:
        """What a process has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", START, sys.executable, "-m", "dask", *command],
                env={**os.environ, **_ENVIRONMENT, **(_SCHEDULERS if name == "scheduler" else {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


@contextmanager
def start_cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler without workers, ended with the context and all that was started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        cluster = Cluster(folder, f"tcp://127.0.0.1:{free.getsockname()[1]}")
    cluster.start_scheduler()
    try:
        _wait(cluster)
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.kill(name)


def _wait(cluster: Cluster) -> None:
    host, port = cluster.address.removeprefix("tcp://").split(":")
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and cluster.processes["scheduler"].poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the scheduler did not start within {_SECONDS} s; it said:\n{cluster.said('scheduler')}")
