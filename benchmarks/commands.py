"""What measurements of whole commands share: running one, and a cluster and a Prefect server that it finds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from flows.server import prefect_server
from tests.cluster import Cluster, start_cluster

_ROOT = Path(__file__).resolve().parents[1]


def command(*arguments: str) -> dict[str, Any]:
    """Seconds, processor seconds and peak memory of a command."""
    began, peak_mb = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "flows.cli", *arguments], cwd=_ROOT, stdout=log, stderr=log)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                peak_mb, used = max(peak_mb, watched.memory_info().rss / 1e6), watched.cpu_times()
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"tkm {' '.join(arguments)} failed:\n{log.read().decode()}")
    return {"seconds": seconds, "peak_mb": peak_mb, "processor": used.user + used.system}


@contextmanager
def cluster_and_prefect(folder: Path) -> Iterator[Cluster]:
    """A scheduler without workers, and a Prefect server of its own, which commands that are run meanwhile report to."""
    (folder / "dask").mkdir()
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    with prefect_server() as ready, start_cluster(folder / "dask") as cluster:
        ready()
        from prefect.settings import PREFECT_API_URL

        os.environ["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
        yield cluster
