"""Reports: on what their numbers were taken, printed, and kept under benchmarks/results where that is asked for."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.machine import machine, versions

_RESULTS = Path(__file__).parent / "results"


def heading(title: str) -> str:
    """The first lines of a report."""
    return f"# {title} {time.strftime('%Y-%m-%d')}\n\n- {machine()}\n- {versions()}"


def record(report: str, name: str | None) -> None:
    """Keep a report under a name, if one is given."""
    if name:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / f"{name}.md").write_text(f"{report}\n")
