"""Whether the GPU waits: the share of a run that the GPU-labelled worker of a cluster of processes is inside forward passes.

python -m benchmarks.cluster [--clips N | --videos FOLDER] [--every N] [--workers N] [--threads N] [--record NAME]

Rendered clips (`tkm synthesize --split val`, or those of a folder), which differ in people, on this machine's cores: the "GPU"
is a label for a worker of two threads, one that runs networks and one that feeds it, and the CPU workers have what is left.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from distributed import Client

from benchmarks import busy
from benchmarks.commands import cluster_and_prefect, command
from benchmarks.record import heading, record
from storage.store import Store
from tasks.merge import read_results


def measure(videos: str, every: int, workers: int, threads: int, folder: Path) -> dict[str, Any]:
    """Annotate videos on a scheduler, a GPU-labelled worker and CPU workers of their own."""
    output = str(folder / "results")
    with cluster_and_prefect(folder) as cluster:
        cluster.start_worker("gpu", "GPU=1", threads, "benchmarks.busy")
        for number in range(workers):
            cluster.start_worker(f"cpu{number}", "CPU=1", 1)
        cluster.wait_for_workers(workers + 1)
        began = time.time()
        engine = ("--output", output, "--dask", cluster.address, "--quiet")
        found = command("annotate", videos, "--every", str(every), *engine)
        with Client(cluster.address, set_as_default=False) as client:
            workers_there = client.scheduler_info(n_workers=-1)["workers"]
            [gpu] = [address for address, worker in workers_there.items() if worker["name"] == "gpu"]
            spans = client.run(busy.passes, workers=[gpu])[gpu]
    store, stop = Store(output), began + found["seconds"]
    frames = read_results(store, None, "frames", columns=["persons"])
    return {
        "clips": read_results(store, None, "videos", columns=["video"]).num_rows,
        "frames": frames.num_rows,
        "every": every,
        "people": sum(frames["persons"].to_pylist()),
        "workers": workers,
        "threads": threads,
        "seconds": found["seconds"],
        "busy": busy.covered(spans, began, stop),
        "before": min(low for low, _ in spans) - began,
        "after": stop - max(high for _, high in spans),
    }


def report(found: dict[str, Any]) -> str:
    """The measurement as Markdown."""
    seconds, clips, threads = (found[name] for name in ("seconds", "clips", "threads"))
    options = f"--clips {clips} --every {found['every']} --workers {found['workers']} --threads {threads}"
    people = found["people"] / found["frames"]
    return "\n".join(
        [
            f"## {clips} clips, {found['frames']} frames, {people:.2f} people a frame",
            f"`python -m benchmarks.cluster {options}`\n",
            f"A scheduler, one GPU-labelled worker of {threads} threads and {found['workers']} CPU workers, all processes.\n",
            f"The command took {seconds:.1f} s, from the start of Python on; the worker was inside forward passes for "
            f"{found['busy']:.1f} s of these: **{found['busy'] / seconds:.1%}**. The first pass began {found['before']:.1f} s "
            f"after the command, the last ended {found['after']:.1f} s before it did.",
        ]
    )


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--videos", metavar="FOLDER", help="clips that are rendered already")
    parser.add_argument("--every", type=int, default=1, help="sample every Nth frame")
    parser.add_argument("--workers", type=int, default=1, help="CPU workers")
    parser.add_argument("--threads", type=int, default=2, help="threads of the GPU-labelled worker")
    parser.add_argument("--record", metavar="NAME")
    options = parser.parse_args()
    head = heading("Cluster,")
    with tempfile.TemporaryDirectory() as folder:
        videos = options.videos or f"{folder}/val/videos"
        if options.videos is None:
            command("synthesize", f"{folder}/val", "--split", "val", "--videos", str(options.clips), "--quiet")
        found = measure(videos, options.every, options.workers, options.threads, Path(folder))
    text = f"{head}\n\n{report(found)}"
    print(text)
    record(text, options.record)


if __name__ == "__main__":
    main()
