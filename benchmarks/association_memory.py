"""What memory of missed people gains on bonn's detections, with iou and oks: a table in Markdown.

python -m benchmarks.association_memory [--data FOLDER] [--record NAME]

Survivors of the default pNMS, no keypoint threshold, all sequences; nothing is tuned.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.association_sweep import (
    DEFAULT_GATE,
    NO_THRESHOLD,
    Video,
    default_setting,
    is_kept,
    prediction,
    read_videos,
    track_ids,
)
from benchmarks.association_why import MEASURES, identities, oracle_ids
from benchmarks.evaluate import DATA
from benchmarks.record import heading, record
from benchmarks.report import table
from tasks.track import MEMORY_SIMILARITY
from tkm.metrics.bootstrap import Difference, paired_bootstrap
from tkm.metrics.scores import VideoScores, pool, score_video
from tkm.similarity import Measure
from tkm.tracking import Memory
from tkm.types import Int, PoseSet

FRAMES = (0, 1, 2, 5, 10, 30)
SIMILARITIES = (0.01, 0.1, 0.2, 0.3, 0.5)
USUAL_FRAMES = 10  # while the similarity varies


def memories(measure: Measure) -> Iterator[Memory]:
    """What is compared: lengths at the default similarity, then similarities at one length."""
    default = MEMORY_SIMILARITY[measure]
    yield from (Memory(frames, default) for frames in FRAMES)
    yield from (Memory(USUAL_FRAMES, similarity) for similarity in SIMILARITIES if similarity != default)


def scored(videos: Sequence[Video], kept: Sequence[PoseSet], ids: Sequence[Int]) -> list[VideoScores]:
    """Each video's scores with these ids."""
    return [
        score_video(video.truth, prediction(poses, own, video.truth), "official", NO_THRESHOLD)
        for video, poses, own in zip(videos, kept, ids, strict=True)
    ]


def lines(videos: Sequence[Video], kept: Sequence[PoseSet]) -> Iterator[list[str]]:
    """Rows of the table."""
    for measure in MEASURES:
        without: list[VideoScores] | None = None
        for memory in memories(measure):
            ids = [track_ids(p, v, measure, DEFAULT_GATE, memory) for v, p in zip(videos, kept, strict=True)]
            found = scored(videos, kept, ids)
            without = without or found
            gains = ["", "", ""]
            if memory.frames and memory.similarity == MEMORY_SIMILARITY[measure]:
                gain = paired_bootstrap(found, without)
                gains = [_interval(one) for one in (gain.mota, gain.hota, gain.idf1)]
            yield [measure, str(memory.frames), f"{memory.similarity:g}" if memory.frames else "", *_values(found), *gains]
    who = [identities(video, poses) for video, poses in zip(videos, kept, strict=True)]
    for frames in FRAMES:
        of_truth = [oracle_ids(poses.frame, own, frames) for poses, own in zip(kept, who, strict=True)]
        yield ["truth", str(frames), "", *_values(scored(videos, kept, of_truth)), "", "", ""]


def _values(found: Sequence[VideoScores]) -> list[str]:
    one = pool(found)
    return [f"{one.mota[-1]:.2f}", f"{one.id_switches[-1]:.0f}", f"{one.hota[-1]:.2f}", f"{one.idf1[-1]:.2f}"]


def _interval(one: Difference) -> str:
    return f"{one.difference:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


HEAD = (
    "ids by", "memory_frames", "memory_similarity", "MOTA", "ID switches", "HOTA", "IDF1", "MOTA gained", "HOTA gained",
    "IDF1 gained",
)  # fmt: skip


def main() -> int:
    """Print the report; exit status 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with gt/ and detections/ (default: %(default)s)")
    parser.add_argument("--record", metavar="NAME", help="also write the report to benchmarks/results/NAME.md")
    options = parser.parse_args()
    if missing := [part for part in ("gt", "detections") if not list((options.data / part).glob("*.json"))]:
        print(f"nothing to measure: there are no JSON files in {', '.join(missing)} of {options.data}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    videos, setting = read_videos(options.data), default_setting("pnms", "oks")
    kept = [v.poses.take(is_kept(v.poses, setting.method, setting.nms, setting.floor)) for v in videos]
    report = "\n\n".join([
        heading("Memory of missed people on bonn's detections,"),
        f"{len(videos)} sequences, {sum(map(len, kept))} survivors of the default pNMS, no keypoint threshold. Gains over the "
        "same measure without memory, at the default memory_similarity, with 95% intervals by paired bootstrap over sequences.",
        table(HEAD, list(lines(videos, kept))),
        f"All of this took {time.perf_counter() - began:.0f} s.",
    ])  # fmt: skip
    print(report)
    record(report, options.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
