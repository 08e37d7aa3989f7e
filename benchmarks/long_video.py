"""A video of two hours: killed in the middle, it goes on from there, and memory stays flat.

python -m benchmarks.long_video [--hours H] [--record NAME]

The bundled clip, small, there and back again for so long at 5 frames/s, of which every tenth is sampled.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import psutil

from benchmarks.clips import DEMO
from benchmarks.record import heading, record
from benchmarks.report import table
from storage.store import Store
from tasks.merge import read_results

_ROOT = Path(__file__).resolve().parents[1]
_SIZE_PX = (272, 480)
_FPS, _EVERY, _CHUNK = 5, 10, 32
_MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the frames at which memory is told


def make(path: Path, frames: int) -> None:
    """The bundled clip, made small, there and back again until there are so many frames."""
    with av.open(str(DEMO)) as source:
        there = [frame.reformat(*_SIZE_PX, "yuv420p").to_ndarray() for frame in source.decode(video=0)]
    pictures = [*there, *reversed(there)]
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast", "crf": "23"})
        (stream.width, stream.height), stream.pix_fmt = _SIZE_PX, "yuv420p"
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(pictures[n % len(pictures)], format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, _FPS)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def run(video: Path, output: Path, sampled: int, until: float) -> dict[str, Any]:
    """Annotate until a share of the frames is through the networks, and kill all of it then; its memory on the way."""
    command = [sys.executable, "-m", "flows.cli", "annotate", str(video), "--output", str(output), "--quiet"]
    command += ["--every", str(_EVERY), "--chunk-frames", str(_CHUNK)]
    began, store = time.perf_counter(), Store(str(output))
    memory: dict[float, tuple[float, float]] = {}
    peak = (0.0, 0.0)
    process = subprocess.Popen(command, cwd=_ROOT, start_new_session=True)
    first = None
    while process.poll() is None:
        share = 1.0 if store.list("manifests/suppress") else len(store.list("chunks/suppress")) * _CHUNK / sampled
        first = share if first is None else first
        now = _megabytes(process.pid)
        peak = max(peak[0], now[0]), max(peak[1], now[1])
        memory |= {mark: now for mark in _MARKS if first < mark <= share and mark not in memory}
        if share >= until < 1.0:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.3)
    if until >= 1.0 and process.returncode:
        raise RuntimeError(f"tkm annotate ended with {process.returncode}")
    return {"seconds": time.perf_counter() - began, "memory": memory, "peak": peak, "from": first}


def _megabytes(pid: int) -> tuple[float, float]:
    """Resident memory of the flow, and of the worker, the largest of the processes that it started."""
    with suppress(psutil.NoSuchProcess):
        flow = psutil.Process(pid)
        others = [child.memory_info().rss for child in flow.children(recursive=True)]
        return flow.memory_info().rss / 1e6, max(others, default=0) / 1e6
    return 0.0, 0.0


def measure(hours: float, folder: Path) -> dict[str, Any]:
    """Kill a run in the middle, and let it go on."""
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    frames = int(hours * 3600 * _FPS)
    video, output, sampled = folder / "long.mp4", folder / "results", -(-frames // _EVERY)
    make(video, frames)
    killed = run(video, output, sampled, 0.5)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("artifacts/**/*.parquet")}
    again = run(video, output, sampled, 1.0)
    kept = sum(path.exists() and path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())
    shown = read_results(Store(str(output)), None, "frames", columns=["persons"])
    counts = {"parts": len(before), "kept": kept, "shown": shown.num_rows, "people": sum(shown["persons"].to_pylist())}
    return {"hours": hours, "frames": frames, "sampled": sampled, "killed": killed, "again": again, **counts}


def report(found: dict[str, Any]) -> str:
    """The measurement as Markdown."""
    rows: list[tuple[str, ...]] = []
    for words, part in (("until it was killed", found["killed"]), ("the same command again", found["again"])):
        told = {f"{mark:.0%}": megabytes for mark, megabytes in part["memory"].items()} | {"at most": part["peak"]}
        rows += [(words, mark, f"{flow:.0f}", f"{worker:.0f}") for mark, (flow, worker) in told.items()]
    return "\n".join(
        [
            f"## {found['hours']:g} hours: {found['frames']} frames of {_SIZE_PX[0]} x {_SIZE_PX[1]}, {found['sampled']} sampled",
            f"`python -m benchmarks.long_video --hours {found['hours']:g}`\n",
            table(("run", "frames through the networks", "MB of the flow", "MB of the worker"), rows),
            f"\nKilled after {found['killed']['seconds']:.0f} s, at half of the frames; the same command went on from "
            f"{found['again']['from']:.0%} and took {found['again']['seconds']:.0f} s. Of {found['parts']} files that the killed "
            f"run had written, {found['kept']} were left alone. {found['shown']} frames published, {found['people']} people.",
        ]
    )


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_video", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--record", metavar="NAME")
    options = parser.parse_args()
    head = heading("A long video,")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.hours, Path(folder))
    text = f"{head}\n\n{report(found)}"
    print(text)
    record(text, options.record)


if __name__ == "__main__":
    main()
