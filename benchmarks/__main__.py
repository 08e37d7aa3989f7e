"""`make bench`: every measurement, each in a process of its own, as one Markdown report.

python -m benchmarks [--frames N] [--long-frames N] [--only NAME ...] [--record NAME]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import clips, evaluate, report
from benchmarks.record import heading, record

MEASUREMENTS = ("speed", "memory", "start", "plain", "evaluate", "synthetic", "networks")
# Storage and GMAC of the embedded and of the paper's heads: a ResNet's depth and its crops' size change neither bytes nor G_k.
NETWORKS = (("--network", "movenet-thunder"), ("--network", "resnet-50", "--input-px", "256x192"))
NETWORKS_FRAMES = 8


def measured(module: str, *options: object) -> dict[str, Any]:
    """The JSON that a measurement's own process prints last."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, options)]
    print(f"measuring: {module} {' '.join(map(str, options))}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def sections(frames: int, long_frames: int, only: set[str]) -> Iterator[str]:
    """The report's sections, as they are measured."""
    if "evaluate" in only:
        if evaluate.has_data(evaluate.DATA):
            yield report.evaluate(measured("evaluate"))
        else:
            print(f"not measured: evaluate, for want of annotated sequences in {evaluate.DATA}", file=sys.stderr)
    if "synthetic" in only:
        yield report.synthetic(measured("synthetic"))
    if "networks" in only:
        for setting in NETWORKS:
            yield report.networks(measured("networks", "--json", "--frames", NETWORKS_FRAMES, *setting))
    if only <= {"evaluate", "synthetic", "networks"}:
        return
    with tempfile.TemporaryDirectory() as folder:
        ours = measured("annotate", "--frames", frames, "--networks")
        if "speed" in only:
            yield report.speed(ours)
            yield report.parts(ours)
        if "plain" in only:
            crowded = Path(folder) / "crowded.mp4"
            clips.crowd(crowded)
            both = (clips.DEMO, crowded)
            plain = [measured("plain", "--clip", clip, "--frames", frames) for clip in both]
            yield report.against_plain([ours, measured("annotate", "--clip", crowded, "--frames", frames)], plain)
        if "memory" in only:
            yield report.memory(ours, measured("annotate", "--frames", long_frames))
        command = measured("command", "--frames", frames) if "start" in only else None
        yield report.size(ours, command)
        if command:
            yield report.start(command)


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--frames", type=int, default=300, help="frames of the repeated clips (default: 300)")
    parser.add_argument("--long-frames", type=int, default=3000, help="frames of the long clip for memory (default: 3000)")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=MEASUREMENTS, help="leave the others out")
    parser.add_argument("--record", metavar="NAME", help="also write the report to benchmarks/results/NAME.md")
    options = parser.parse_args()
    parts = [heading("Benchmark of")]
    print(parts[0], flush=True)
    for section in sections(options.frames, options.long_frames, set(options.only)):
        print(f"\n{section}", flush=True)
        parts.append(section)
    record("\n\n".join(parts), options.record)


if __name__ == "__main__":
    main()
