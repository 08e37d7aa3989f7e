"""How fast one process annotates a clip, all stages one after the other, and how much memory it takes.

A process of its own for each measurement: peak memory is the process's. The same warm-up first. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import clips
from benchmarks.forward import forward_seconds, network_rows
from benchmarks.parts import thread_seconds
from storage.sources import Source, content_digest
from storage.store import Store
from tasks import estimate, given, paths, publish, refine, track
from tasks.execute import run_frames, run_given, run_in_order, run_index
from tasks.heads import with_weights
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Params, Stage
from tkm.networks import runtime

CHUNK_FRAMES = 128  # the command's default
WARM_UP_FRAMES = 8


def plan_of(clip: Path, store: Path, chosen: Mapping[str, Params] | None = None) -> VideoPlan:
    """A clip under the default parameters, or under those chosen, of all stages."""
    source = Source(str(clip))
    params = dict(chosen) if chosen else with_weights({stage.name: stage.Params() for stage in PIPELINE}, {})
    return plan_video(Store(str(store)), source, content_digest(source), params)


def no_report(stage: str, frames: int) -> None:
    """Nobody looks."""


def annotate(plan: VideoPlan) -> dict[str, float]:
    """Run all active stages; wall seconds of each, but of the step `networks`, whose stages share a pass, together."""
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def done(step: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[step], began = now - began, now

    def run(stages: Sequence[Stage], threads: int) -> None:
        run_frames(plan, stages, 0, frames, chunk_frames=CHUNK_FRAMES, threads=threads, report=no_report)

    frames = run_index(plan, no_report)
    done("index")
    if given.BOXES in plan.stages:
        run_given(plan, given.BOXES, report=no_report)
        done("boxes")
    run([stage for stage in STEPS["networks"] if stage in plan.stages], runtime.cores())
    done("networks")
    run_in_order(plan, track.STAGE, chunk_frames=CHUNK_FRAMES, report=no_report)
    done("track")
    for stage, threads in ((paths.STAGE, 1), (refine.STAGE, runtime.cores()), (publish.STAGE, 1)):
        if stage in plan.stages:
            run([stage], threads)
            done(stage.name)
    return seconds


def peak_mb() -> float:
    """The process's highest memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(clip: Path, frames: int, folder: Path, with_networks: bool) -> dict[str, Any]:
    """Annotate a clip repeated to so many frames; the networks alone and the parts of the pass only where asked for."""
    short, long = folder / "short.mp4", folder / "long.mp4"
    clips.repeat(clip, short, WARM_UP_FRAMES)
    clips.repeat(clip, long, frames)
    annotate(plan_of(short, folder / "warm-up"))
    warm_mb = peak_mb()
    plan = plan_of(long, folder / "store")
    seconds = annotate(plan)
    found: dict[str, Any] = {"frames": frames, "threads": runtime.cores(), "seconds": seconds}
    found |= {"warm_mb": warm_mb, "peak_mb": peak_mb()}
    manifests = {stage.name: manifest for stage in plan.stages if (manifest := plan.artifact(stage).manifest())}
    found["stage_seconds"] = {name: manifest.seconds for name, manifest in manifests.items()}
    found["bytes"] = {name: manifest.bytes for name, manifest in manifests.items()}
    found["crops"], found["people"] = manifests["estimate"].rows, manifests["publish"].rows
    if with_networks:
        params = estimate.EstimateParams()
        found["forward"] = forward_seconds(params, *network_rows(plan, params))
        found["parts"] = thread_seconds(lambda: annotate(plan_of(long, folder / "timed")))
    return found


def main() -> None:
    """Measure in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=clips.DEMO, help="the clip to repeat (default: the demo clip)")
    parser.add_argument("--frames", type=int, default=300, help="length to repeat it to (default: 300)")
    parser.add_argument("--networks", action="store_true", help="also run the networks alone, and time the parts of the pass")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.clip, options.frames, Path(folder), options.networks)))


if __name__ == "__main__":
    main()
