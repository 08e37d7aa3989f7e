"""What a worker of the local cluster does as it starts: it builds the networks while the run is still being planned."""

from __future__ import annotations

from threading import Thread

from distributed import Worker

from flows import work  # noqa: F401 - what tasks run, imported before the first one comes
from tkm.networks import runtime


def dask_setup(worker: Worker) -> None:  # noqa: ARG001 - Dask's signature
    """Called by Dask; beside the worker, which offers itself at once."""
    Thread(target=_build_networks, name="warm", daemon=True).start()


def _build_networks() -> None:
    from tkm.networks.movenet import movenet_thunder
    from tkm.networks.nanodet import nanodet

    for network in (nanodet, movenet_thunder):
        runtime.on_device(network)
