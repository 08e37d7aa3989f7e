"""The Prefect server of a run, where no other is configured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.flows.commands import ROOT

_TWO_SERVERS = """
from prefect import flow, task
from flows.server import prefect_server

@task
def step() -> None:
    pass

@flow
def run() -> None:
    for _ in range(3):
        step()

for _ in range(2):
    with prefect_server() as wait_ready:
        wait_ready()
        run()
"""


def test_a_process_may_run_flows_under_one_server_after_another_and_ends(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(tmp_path), "PREFECT_LOGGING_LEVEL": "WARNING", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _TWO_SERVERS], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
