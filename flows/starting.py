"""How a command starts: its store, what is tried beforehand, the servers that a flow needs; and how it may end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from flows.settings import load_settings, use_s3
from storage.store import Store

USAGE, SOME_FAILED, INTERRUPTED = 2, 1, 130  # exit statuses: wrong usage or settings; some videos failed; Ctrl-C


def open_store(root: str) -> Store:
    """The store at an address, with the environment's settings of S3; StoreError where it cannot be reached."""
    use_s3(load_settings({}))
    store = Store(root)
    store.reach()
    return store


def check_start(store: Store, chosen: Any, *, networks: bool = True) -> None:
    """Raise ClusterError or StoreError where the cluster that is named does not answer, or the output cannot be written."""
    if chosen.engine.dask is not None:
        from flows.cluster import connect

        with connect(chosen.engine.dask, chosen.engine.workers, networks=networks):
            pass
    store.check()


def with_server(call: Callable[[], Any], chosen: Any, *, quiet: bool, networks: bool = True) -> Any:
    """What a flow returns. What takes seconds starts side by side: Prefect's server, the local cluster, imports."""
    from flows.cluster import start_early
    from flows.server import prefect_server

    if not quiet:
        Console(stderr=True).print("starting Prefect and Dask ...", style="dim")
    try:
        with prefect_server() as wait_ready:
            if chosen.engine.dask is None:
                start_early(chosen.engine.workers, networks=networks)
            import flows.annotate  # noqa: F401 - takes a second, meanwhile the server starts

            wait_ready()
            return call()
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped; what is finished is kept, and the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
