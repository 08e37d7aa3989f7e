"""The Dask cluster that a run computes on: a local one sized to the machine, or one whose scheduler is given."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.resource_tracker import ensure_running

from dask import config
from distributed import Client, LocalCluster, Worker, WorkerPlugin
from distributed.comm import get_address_host_port

from flows.errors import ClusterError
from storage import s3
from tkm.networks import runtime

PROGRESS_TOPIC = "tkm-progress"


_early: dict[tuple[int, bool], Future[LocalCluster]] = {}  # by number of workers, and whether they run networks


def start_early(workers: int, *, networks: bool = True) -> None:
    """Begin to start the local cluster that `connect` will ask for, while the caller waits for something else."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="cluster")
    _early[workers, networks] = pool.submit(_local, workers, networks)
    pool.shutdown(wait=False)


@contextmanager
def connect(address: str | None, workers: int, *, networks: bool = True) -> Iterator[Client]:
    """A client of the cluster at an address, or of a local cluster of so many worker processes, ended with the context.

    Local workers build the networks before they take tasks, unless told that none will run.

    Workers must offer the resource CPU, and where networks run GPU (one a process that may run them; on a machine without GPU
    that is a label): ClusterError where they do not.
    """
    if address is None:
        early = _early.pop((workers, networks), None)
        with early.result() if early else _local(workers, networks) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    with _client(address) as client:
        offered = [worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
        for resource in ("CPU", "GPU") if networks else ("CPU",):
            if not any(resource in resources for resources in offered):
                raise ClusterError(
                    f"no worker of {address} offers {resource}; start some with "
                    f"`dask worker {address} --resources {resource}=1 --preload flows.warm`"
                )
        with _s3_settings(client):
            yield client


class S3Settings(WorkerPlugin):
    """Lends a run's settings of S3 to workers that others started: they read their own environment, not ours.

    It travels as the cluster's other messages do, encrypted only where the scheduler's address begins with tls://.
    """

    name = "tkm-s3"

    def __init__(self, changes: Mapping[str, str | None]) -> None:
        self._changes = changes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(sorted(self._changes))}>"  # names only, for the values are secrets

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - distributed's signature
        """Change the environment of the worker's process."""
        self._before = s3.change_environment(self._changes)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Put back what was there."""
        s3.change_environment(self._before)


@contextmanager
def _s3_settings(client: Client) -> Iterator[None]:
    """What this run's settings say of S3 holds on all workers, also later ones, until the context ends."""
    if not s3.applied():
        yield
        return
    client.register_plugin(S3Settings(s3.applied()))
    try:
        yield
    finally:
        with suppress(OSError):  # a scheduler that is gone has forgotten them
            client.unregister_worker_plugin(S3Settings.name)


def _client(address: str) -> Client:
    """A client of the scheduler at an address; ClusterError, at once where nothing listens there, if none answers."""
    try:
        # Dask itself keeps trying for as long as its time-out where a port is closed or a host unknown.
        socket.create_connection(get_address_host_port(address, strict=True), timeout=5).close()
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ClusterError(
            f"--dask {address}: no Dask scheduler answers there ({why}); give tcp://host:port of one, or leave --dask out"
        ) from error


def _local(workers: int, networks: bool) -> LocalCluster:
    cpus = max(1, runtime.cores() // workers)
    workers_environment = {
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
        "DASK_LOGGING__DISTRIBUTED": "critical",  # what went wrong is said by the run, once, and not by every worker
    }
    config.set(
        {
            "distributed.nanny.pre-spawn-environ": workers_environment,
            "distributed.scheduler.allowed-failures": 3,
            "distributed.worker.profile.enabled": False,  # see flows.warm; neither has the scheduler, which runs in this process
        }
    )
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with _no_interrupts():
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=cpus + 1,  # one for the networks' pass, the rest for CPU stages
            resources={"CPU": cpus, "GPU": 1},
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            preload=["flows.warm"] if networks else [],
        )


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Threads and processes that start meanwhile, and those that they start, never meet Ctrl-C.

    A terminal sends it to workers too, each of which would print a traceback; they are ended by the process that started them.
    """
    ensure_running()  # multiprocessing starts it with the first worker, and then lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
