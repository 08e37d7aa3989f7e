"""The command line in processes of its own, and what it leaves in a store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from storage import tables
from storage.artifacts import Artifact, all_keys
from storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
BY_POSES = ("--track-similarity", "oks", "--no-refine")  # what takes no heads, and less time
_SECONDS = 240  # for one command, on a machine that is busy with others


def by_poses(**settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under which people are tracked by their poses alone and nothing is refined, and these."""
    return {**settings, "track": {"similarity": "oks", **settings.get("track", {})}, "refine": {"on": False}}


def tkm(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with a Prefect home of its own."""
    environment = {**os.environ, "COLUMNS": "160"} | ({"PREFECT_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=300)


def start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command, in a process group of its own, that writes what it says to a file."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    with log.open("wb") as said:
        return subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)


def kill_when(process: subprocess.Popen[bytes], is_time: Callable[[], bool], *, only_first: bool = False) -> None:
    """SIGKILL the whole group, or only its first process, at the moment that `is_time` tells; it must still run then."""
    end = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < end and not is_time():
        time.sleep(0.002)
    assert process.poll() is None, f"the command ended by itself, with {process.returncode}, before it could be killed"
    if only_first:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_group(process: subprocess.Popen[bytes]) -> None:
    """Wait until no process is left of a command's group."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("processes of a killed command stay behind")


def committed_parts(store: Store) -> set[str]:
    """Names of all files that the committed chunks of a store rest on."""
    artifacts = [Artifact(store, stage, key) for stage, keys in all_keys(store).items() for key in keys]
    return {part.name for one in artifacts for chunk in one.chunks() for part in (chunk.part, chunk.state) if part}


def published(store: Store) -> dict[str, pd.DataFrame]:
    """The published tables, in order, without the runs, which differ from one to the next, and the ids made of addresses."""
    found = {}
    for name in ("videos", "frames", "poses", "tracks"):
        rows = tables.read(store, name).to_pandas().drop(columns=["run", "shard", "video"])
        found[name] = rows.drop(columns=[column for column in ("uri", "name") if column in rows])
    return found


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    """Assert that published tables are equal, bit for bit."""
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True, obj=name)
