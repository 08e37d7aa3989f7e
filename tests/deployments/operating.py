"""What an operator of the deployments has: a Prefect server, its command, a worker, and someone to alert, all of them real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.processes import START

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = ROOT / "deployments"
_SECONDS = 240  # for anything that is waited for, on a machine that is busy with others
_PREFECT = str(Path(sys.executable).with_name("prefect"))


@dataclass(frozen=True)
class Server:
    """A Prefect server, and the environment by which commands find it."""

    url: str
    environment: Mapping[str, str]

    def prefect(self, *arguments: str) -> str:
        """What Prefect's command says, called from the repository as the README has it."""
        done = subprocess.run(
            [_PREFECT, *arguments], cwd=ROOT, env=dict(self.environment), capture_output=True, text=True, timeout=_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, code: str, *arguments: str) -> str:
        """What a few lines of Python print that are a client of this server."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT, env=dict(self.environment), capture_output=True, text=True, timeout=_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, path: str, body: Any = None) -> Any:
        """The server's answer to a POST, or, without a body, to a GET."""
        return self._request("GET" if body is None else "POST", path, body).json()

    def _request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """An answer; asked again, as Prefect's own client does, where another process holds the server's database."""
        for pause in (0.5, 1, 2, 4, 8, 16, 0):
            answer = httpx.request(method, f"{self.url}/{path}", json=body, timeout=_SECONDS)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(pause)
        answer.raise_for_status()
        return answer

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """The runs of a deployment that a worker has taken, in order."""
        chosen = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [run for run in self.ask("flow_runs/filter", chosen) if run["state"]["type"] != "SCHEDULED"]

    @contextmanager
    def schedule(self, flow: str, seconds: int) -> Iterator[None]:
        """Have runs of a deployment begin every so many seconds, until the context ends."""
        path = f"deployments/{self.ask(f'deployments/name/{flow}/{flow}')['id']}/schedules"
        every = {"interval": seconds, "anchor_date": datetime.now(UTC).isoformat()}
        made = self.ask(path, [{"schedule": every, "active": True, "max_scheduled_runs": 1}])
        try:
            yield
        finally:
            self._request("DELETE", f"{path}/{made[0]['id']}")

    def start_run(self, flow: str, **parameters: Any) -> str:
        """Ask for a run of a deployment now; its id."""
        deployment = self.ask(f"deployments/name/{flow}/{flow}")["id"]
        return str(self.ask(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> dict[str, Any]:
        """The state that a run is in."""
        state: dict[str, Any] = self.ask(f"flow_runs/{run}")["state"]
        return state

    def ended(self, run: str) -> dict[str, Any]:
        """The state that a run ends in."""
        wait_until(lambda: self.state(run)["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))
        return self.state(run)


def wait_until(is_so: Callable[[], Any]) -> None:
    """Wait until something is so; an error tells if it takes too long."""
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, f"waited {_SECONDS} s in vain"
        time.sleep(0.2)


@contextmanager
def prefect_server(folder: Path) -> Iterator[Server]:
    """A server with a home and a database in a folder, until the context ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    ours = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PYTHONPATH": str(ROOT), "PREFECT_LOGGING_LEVEL": "INFO"}
    patient = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_SERVER_DATABASE_TIMEOUT": str(_SECONDS)}  # the disk may be busy too
    server = Server(url, {**os.environ, **ours, **patient})
    log = folder / "server.log"
    with _process(server, log, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui") as process:
        wait_until(lambda: _answers(url) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield server


@contextmanager
def prefect_worker(server: Server, folder: Path) -> Iterator[Path]:
    """A worker that takes the runs of the work pool `tkm`, until the context ends; the file that holds what it says."""
    log = folder / "worker.log"
    with _process(server, log, "worker", "start", "--pool", "tkm", "--type", "process"):
        yield log


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """Somebody who is alerted: an address, and all that is sent there."""
    heard: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", heard
        server.shutdown()


@contextmanager
def _process(server: Server, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", START, _PREFECT, *arguments],
            cwd=ROOT, env=dict(server.environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False
