"""A Prefect server for one run, where no other is configured: Prefect's own, started early and ended for certain.

Prefect would start one by itself, but only when the flow is called and after importing the whole server into this process; and
when this process is killed, it would stay behind.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flows.errors import ServerError

_SECONDS = 120  # a busy machine takes long to start one
_EVENTS_SECONDS = 10
# On Linux the kernel is asked to end the server with the process that started it, however that one ends. This is the command by
# which Prefect starts a server for a flow: without the user interface, and without importing its command line first.
_START = """
import ctypes, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
import uvicorn
uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
_ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@contextmanager
def prefect_server() -> Iterator[Callable[[], None]]:
    """Flows called in this context report to the configured Prefect server, or to one that starts now and ends with it.

    Yields at once a function that waits until flows may be called; it raises ServerError where the server does not start.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        yield lambda: _check(named)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryFile() as log, _server(port, log) as process:
        # Importing Prefect takes this process a second, in which the server starts on another core.
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

        configured = PREFECT_API_URL.value()  # by a profile
        if configured:
            process.kill()
            yield lambda: _check(configured)
            return
        home = PREFECT_HOME.value()
        with temporary_settings({PREFECT_API_URL: url}), _errors_of(home):
            try:
                yield lambda: _wait(process, url, log, home)
            finally:
                _tell_events()


@contextmanager
def _server(port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A Prefect server that starts at a port, ended with the context."""
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(port)],
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C must reach the flow, which still reports to this server, and not the server
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _tell_events() -> None:
    """Send what is left to be sent, and let go of the connection.

    Prefect keeps one a process, whatever server flows report to: later flows would tell a server that is gone of each event for
    half a minute, and the process would wait for that as it ends.
    """
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=_EVENTS_SECONDS, at_exit=False)  # of logs too: Prefect has one list of what it keeps


@contextmanager
def _errors_of(home: Path) -> Iterator[None]:
    """What a server answers that cannot do its work, in a sentence: most often it has no room for its database."""
    import httpx  # which Prefect's client raises the errors of

    try:
        yield
    except httpx.HTTPError as error:
        said = str(error).partition(" - ")[0]
        raise ServerError(f"Prefect's server failed: {said}; {_remedy(home)}") from error


def _check(url: str) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        trouble = client.api_healthcheck()
    if trouble is not None:
        raise ServerError(f"no Prefect server answers at {url}, which PREFECT_API_URL or your Prefect profile names: {trouble}")


def _wait(process: subprocess.Popen[bytes], url: str, log: IO[bytes], home: Path) -> None:
    end = time.monotonic() + _SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and process.poll() is None:
        try:
            with direct.open(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
    log.seek(0)
    said = log.read().decode(errors="replace").strip()[-2000:]
    what = "ended as it started" if process.poll() is not None else f"did not start within {_SECONDS} s"
    raise ServerError(f"Prefect's server {what}; {_remedy(home)}" + (f". It said:\n{said}" if said else ""))


def _remedy(home: Path) -> str:
    return (
        f"check that its folder {home} (PREFECT_HOME) can be written and its disk is not full, or set PREFECT_API_URL to use "
        "another server"
    )
