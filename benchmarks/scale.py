"""What a run costs beside decoding and networks: many tiny videos on a cluster of processes and an S3 server.

python -m benchmarks.scale [--videos N] [--given | --ready] [--workers N] [--threads N] [--record NAME]

With --given the entries are poses that a user gives, without pictures: stages that do next to nothing, and no networks. With
--ready all stages are computed beforehand, and the first command only reads the videos' content and publishes.

All of it on this machine: the S3 server, Prefect's server, the scheduler, one GPU-labelled worker, CPU workers and the flow.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.commands import cluster_and_prefect, command
from benchmarks.entries import FRAMES, entries, given_poses
from benchmarks.ready import send, write_ready
from benchmarks.record import heading, record
from benchmarks.report import table
from storage import runs
from storage.parquet import parquet_bytes
from storage.store import Store
from tests.cluster import Cluster
from tests.s3_server import BUCKET, S3Server, serve

_OUTPUT = f"s3://{BUCKET}/results"
_PROCESSES = {"dask worker": "workers", "dask scheduler": "scheduler", "weed": "S3 server", "prefect.server": "Prefect's server"}


@contextmanager
def counted(server: S3Server) -> Iterator[Counter[str]]:
    """Requests by kind that the S3 server answers within the context; known when it ends."""
    before, during = server.requests(), Counter[str]()
    yield during
    during.update(server.requests() - before)


def measure(videos: int, kind: str, workers: int, threads: int, folder: Path) -> dict[str, Any]:
    """Annotate so many videos, then run the same command again, and plan it without running it."""
    (folder / "s3").mkdir()
    with serve(folder / "s3") as server:
        os.environ |= server.environment()
        with cluster_and_prefect(folder) as cluster:
            inputs = _put_inputs(videos, kind, folder, server)
            _start_workers(cluster, workers, threads)
            run = ["annotate", *inputs, "--output", _OUTPUT, "--dask", cluster.address, "--quiet"]
            found: dict[str, Any] = {}
            for name, arguments in (("first", run), ("again", run), ("plan", [*run, "--dry-run"])):
                before = _processor_seconds()
                with counted(server) as requests:
                    found[name] = command(*arguments)
                found[name]["requests"] = dict(requests)
                found[name]["beside"] = {who: used - before.get(who, 0) for who, used in _processor_seconds().items()}
        store = Store(_OUTPUT)
        keys = runs.read_plan(store, runs.find_run(store, None)).num_rows
        objects = _by_folder(store.list(""))
    facts = {"videos": videos, "kind": kind, "workers": workers, "threads": threads}
    return {**found, **facts, "stages": keys // videos, "objects": objects}


def _put_inputs(videos: int, kind: str, folder: Path, server: S3Server) -> list[str]:
    """What is annotated, put into the bucket; as arguments of the command."""
    inputs = Store(f"s3://{BUCKET}/videos")
    if kind == "ready":
        write_ready(folder / "ready", videos)
        send(folder / "ready", server)
    elif kind == "given":
        inputs.write("poses.parquet", parquet_bytes(given_poses(videos)))
        return ["--detections", f"{inputs.root}/poses.parquet"]
    else:
        inputs._fs.pipe({inputs.path(f"{n:06d}.mp4"): data for n, data in enumerate(entries(videos))})
    return [inputs.root]


def _start_workers(cluster: Cluster, workers: int, threads: int) -> None:
    cluster.start_worker("gpu", "GPU=1", 2)
    for number in range(workers):
        cluster.start_worker(f"cpu{number}", f"CPU={threads}", threads)
    cluster.wait_for_workers(workers + 1)


def _processor_seconds() -> dict[str, float]:
    """Of the processes that serve a command, by what they are."""
    used: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        words = " ".join(process.cmdline())
        who = next((who for mark, who in _PROCESSES.items() if mark in words), None)
        if who:
            times = process.cpu_times()
            used[who] += times.user + times.system
    return dict(used)


def _by_folder(objects: dict[str, int]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, size in objects.items():
        top = name.split("/")[0]
        count, total = found.get(top, (0, 0))
        found[top] = (count + 1, total + size)
    return found


def report(found: dict[str, Any]) -> str:
    """The measurement as Markdown."""
    videos = found["videos"]
    commands = {"annotate": "first", "the same again: nothing to do": "again", "--dry-run": "plan"}
    rows = [(words, *_row(found[name], videos)) for words, name in commands.items()]
    stored = [
        (name, str(count), f"{count / videos:.2f}", f"{size / videos:.0f}") for name, (count, size) in found["objects"].items()
    ]
    stages, kind = found["stages"], found["kind"]
    each = 1000 * found["first"]["seconds"] / videos / stages
    busy = {"the flow": found["first"]["processor"], **found["first"]["beside"]}
    who = ", ".join(f"{name} {seconds:.1f}" for name, seconds in busy.items())
    core = 1000 * sum(busy.values()) / videos / stages
    passes = {"given": "", "ready": ", of which publishing alone was to do"}.get(kind, ", forward passes of 2 frames included")
    what = f"{FRAMES} frames of " + ("given poses" if kind == "given" else "128 x 16")
    what += ", whose artifacts are there" if kind == "ready" else ""
    option = f" --{kind}" if kind != "videos" else ""
    return "\n".join(
        [
            f"## {videos} videos of {what}",
            f"`python -m benchmarks.scale --videos {videos}{option} --workers {found['workers']} "
            f"--threads {found['threads']}`\n",
            f"One GPU-labelled worker, {found['workers']} CPU workers with CPU={found['threads']}, on the same cores as the S3 "
            "server, Prefect, the scheduler and the flow.\n",
            table(("command", "seconds", "ms a video", "processor s of the flow", "MB at most", "S3 requests"), rows),
            f"\n**{each:.1f} ms a video and stage** ({stages} stages{passes}), {core:.1f} ms of one core: processor seconds of "
            f"{who}.\n",
            table(("below the root", "objects", "objects a video", "bytes a video"), stored),
        ]
    )


def _row(part: dict[str, Any], videos: int) -> tuple[str, ...]:
    requests = ", ".join(f"{kind} {count}" for kind, count in sorted(part["requests"].items()))
    times = f"{part['seconds']:.1f}", f"{1000 * part['seconds'] / videos:.1f}", f"{part['processor']:.1f}"
    return (*times, f"{part['peak_mb']:.0f}", requests)


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--videos", type=int, default=1000)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--given", dest="kind", action="store_const", const="given", help="poses, in place of videos")
    kinds.add_argument("--ready", dest="kind", action="store_const", const="ready", help="every artifact is there beforehand")
    parser.add_argument("--workers", type=int, default=1, help="CPU workers")
    parser.add_argument("--threads", type=int, default=4, help="threads, and CPUs offered, of each")
    parser.add_argument("--record", metavar="NAME")
    options = parser.parse_args()
    head = heading("Scale,")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.videos, options.kind or "videos", options.workers, options.threads, Path(folder))
    print(json.dumps(found), file=sys.stderr)
    text = f"{head}\n\n{report(found)}"
    print(text)
    record(text, options.record)


if __name__ == "__main__":
    main()
