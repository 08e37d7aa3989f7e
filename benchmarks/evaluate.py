"""How fast PoseTrack's metrics are, on bonn's 15 sequences: one JSON.

python -m benchmarks.evaluate [--data FOLDER] [--repeats N]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tkm.datasets import posetrack18
from tkm.datasets.files import parse_json
from tkm.datasets.sequence import Sequence
from tkm.metrics.average_precision import average_precision, point_detections
from tkm.metrics.cleaning import annotated_frames, labeled_frames
from tkm.metrics.hota import hota_sums
from tkm.metrics.identity import identity_counts
from tkm.metrics.mota import mota_counts
from tkm.metrics.oks import oks_average_precision, oks_evaluations
from tkm.metrics.scores import pool, score_video

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bonn"
Videos = list[tuple[Sequence, Sequence]]


def has_data(folder: Path) -> bool:
    """Whether a folder holds annotated sequences."""
    return any((folder / "gt").glob("*.json"))


def read(folder: Path) -> Videos:
    """Truth and prediction of every video of a folder with gt/ and pred/, by name."""
    return [(_sequence(path), _sequence(folder / "pred" / path.name)) for path in sorted((folder / "gt").glob("*.json"))]


def _sequence(path: Path) -> Sequence:
    return posetrack18.read(parse_json(path.read_bytes(), path.name), path.stem)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of some times that work takes."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    """Measure, and print one JSON; exit status 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with gt/ and pred/ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not has_data(options.data):
        print(f"nothing to measure: there are no JSON files in {options.data / 'gt'}", file=sys.stderr)
        return 2

    videos = read(options.data)
    annotated = [annotated_frames(*video) for video in videos]

    def ap_and_mota() -> None:
        frames = [annotated_frames(*video) for video in videos]
        average_precision([point_detections(each) for each in frames])
        for each in frames:
            mota_counts(each, "official")

    work: dict[str, Callable[[], object]] = {
        "reading": lambda: read(options.data),
        "clean-up, AP and MOTA": ap_and_mota,
        "clean-up": lambda: [annotated_frames(*video) for video in videos],
        "AP": lambda: average_precision([point_detections(frames) for frames in annotated]),
        "MOTA": lambda: [mota_counts(frames, "official") for frames in annotated],
        "HOTA with its own clean-up": lambda: [hota_sums(labeled_frames(*video)) for video in videos],
        "IDF1": lambda: [identity_counts(frames) for frames in annotated],
        "all but OKS": lambda: pool(score_video(*video, "official", 0.3) for video in videos),
        "OKS": lambda: oks_average_precision([oks_evaluations(*video) for video in videos]),
    }
    taken = {name: seconds(each, options.repeats) for name, each in work.items()}
    frames = sum(len(truth) for truth, _ in videos)
    print(json.dumps({
        "frames": frames,
        "seconds": {name: round(value, 4) for name, value in taken.items()},
        "frames_per_second": {
            "AP and MOTA": round(frames / taken["clean-up, AP and MOTA"]),
            "reading, AP and MOTA": round(frames / (taken["reading"] + taken["clean-up, AP and MOTA"])),
            "all but OKS": round(frames / taken["all but OKS"]),
        },
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
