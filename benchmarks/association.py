"""cNMS against pNMS and IOU against OKS (rows M1 to M3 of the paper's Table 3) on bonn's detections: tables in Markdown.

python -m benchmarks.association [--data FOLDER] [--why] [--record NAME]

Thresholds are tuned for MOTA on half of the sequences, each combination by itself, and reported on the other half, then the
other way round. --why adds what the differences come from.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import association_why
from benchmarks.association_sweep import (
    COMBINATIONS,
    DEFAULT_FLOOR,
    NO_THRESHOLD,
    Method,
    Setting,
    Video,
    best,
    best_for_ap,
    default_setting,
    read_videos,
    scored,
    sweep,
)
from benchmarks.evaluate import DATA
from benchmarks.record import heading, record
from benchmarks.report import table
from tkm.metrics.bootstrap import Difference, Differences, paired_bootstrap
from tkm.metrics.scores import VideoScores, pool
from tkm.networks import runtime
from tkm.similarity import Measure

Combination = tuple[Method, Measure]
Half = tuple[int, ...]
BeforeAfter = tuple[list[VideoScores], list[VideoScores]]  # the keypoint threshold
ROWS: dict[Combination, str] = {("cnms", "iou"): "M1", ("pnms", "iou"): "M2", ("pnms", "oks"): "M3"}
DIFFERENCES = (("M2", "M1"), ("M3", "M2"), ("M3", "M1"))
FLOORS = {"fixed": f"min_pose_score left at {DEFAULT_FLOOR}", "tuned": "min_pose_score tuned too"}
Chosen = dict[tuple[str, int], tuple[Setting, Setting]]  # by floor and half: tuned for MOTA there, and for AP


def halves(videos: int) -> tuple[Half, Half]:
    """A, the first, third, fifth ... sequence by name, and B, the others."""
    return tuple(range(0, videos, 2)), tuple(range(1, videos, 2))


def choose(data: Path, combination: Combination) -> Chosen:
    """What tuning finds for a combination, with the floor for scores fixed and tuned, on either half."""
    videos = read_videos(data)
    trials = list(sweep(videos, *combination))
    of_floor = {"fixed": [trial for trial in trials if trial.setting.floor == DEFAULT_FLOOR], "tuned": trials}
    return {
        (floor, h): (best(some, half), best_for_ap(some, half))
        for floor, some in of_floor.items()
        for h, half in enumerate(halves(len(videos)))
    }


class Results:
    """Scores of a setting on some videos: after the keypoint threshold, and before it, where mAP is taken."""

    def __init__(self, videos: Sequence[Video], setting: Setting) -> None:
        self.setting = setting
        self.after = scored(videos, setting)
        self.before = scored(videos, replace(setting, keypoint=NO_THRESHOLD))
        self.strict = scored(videos, setting, "strict")

    def line(self, *more: str) -> list[str]:
        """A row of a table."""
        one, setting = pool(self.after), self.setting
        return [
            _name((setting.method, setting.measure)),
            f"{setting.nms:g}", f"{setting.floor:g}", f"{setting.gate:g}", _threshold(setting.keypoint),
            f"{pool(self.before).ap_before_threshold[-1]:.2f}", f"{one.mota[-1]:.2f}", f"{pool(self.strict).mota[-1]:.2f}",
            f"{one.id_switches[-1]:.0f}", f"{one.hota[-1]:.2f}", f"{one.idf1[-1]:.2f}", *more,
        ]  # fmt: skip


HEAD = (
    "NMS, similarity", "NMS threshold", "min_pose_score", "iou_gate", "keypoint threshold", "mAP", "MOTA", "strict MOTA",
    "ID switches", "HOTA", "IDF1",
)  # fmt: skip


def tuned_sections(videos: Sequence[Video], chosen: dict[Combination, Chosen], workers: Executor) -> Iterator[str]:
    """Either half with what was tuned on the other, and the differences."""
    both = halves(len(videos))
    for floor, told in FLOORS.items():
        yield f"## Tuned, {told}"
        found: dict[str, dict[Combination, Results]] = {}
        for tuned, reported in ((0, 1), (1, 0)):
            some = [videos[v] for v in both[reported]]
            results = {one: Results(some, chosen[one][floor, tuned][0]) for one in COMBINATIONS}
            own_ap = [_own_ap(some, chosen[one][floor, tuned][1]) for one in COMBINATIONS]
            yield f"Tuned on {'AB'[tuned]}, reported on {'AB'[reported]}:"
            lines = [one.line(more) for one, more in zip(results.values(), own_ap, strict=True)]
            yield table((*HEAD, "mAP tuned for itself (threshold)"), lines)
            found["AB"[reported]] = results
        yield "Differences with 95 % intervals, paired bootstrap over the sequences reported on:"
        parts = {half: {ROWS[one]: results for one, results in found[half].items() if one in ROWS} for half in "AB"}
        yield differences_table(
            {
                **{half: {row: (one.before, one.after) for row, one in rows.items()} for half, rows in parts.items()},
                "both": {row: _joined(parts["A"][row], parts["B"][row]) for row in ROWS.values()},
            },
            workers,
        )


def default_sections(videos: Sequence[Video], workers: Executor) -> Iterator[str]:
    """All sequences with the stages' own parameters."""
    yield "## The stages' defaults, nothing tuned, all sequences"
    results = {one: Results(videos, default_setting(*one)) for one in COMBINATIONS}
    yield table(HEAD, [one.line() for one in results.values()])
    yield differences_table({"all": {ROWS[one]: (r.before, r.after) for one, r in results.items() if one in ROWS}}, workers)


def differences_table(parts: dict[str, dict[str, BeforeAfter]], workers: Executor) -> str:
    """Rows of the paper's table against one another, by videos and row."""
    pairs = [(part, a, b, rows[a], rows[b]) for part, rows in parts.items() for a, b in DIFFERENCES]
    before, after = (
        workers.map(paired_bootstrap, [of_a[n] for *_, of_a, _ in pairs], [of_b[n] for *_, of_b in pairs]) for n in (0, 1)
    )
    lines = [[f"{a} - {b}", part, *_cells(*each)] for (part, a, b, *_), *each in zip(pairs, before, after, strict=True)]
    return table(("difference", "sequences", "mAP", "MOTA", "HOTA", "IDF1"), lines)


def _cells(before: Differences, after: Differences) -> Iterable[str]:
    return map(_interval, (before.average_precision, after.mota, after.hota, after.idf1))


def _interval(one: Difference) -> str:
    return f"{one.difference:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _joined(a: Results, b: Results) -> BeforeAfter:
    """All videos, each as it was scored with what was tuned without it."""
    # Each half has a keypoint threshold of its own. Nothing is computed from the label any more, and pooling wants one.
    after = [replace(one, keypoint_threshold=NO_THRESHOLD) for one in (*a.after, *b.after)]
    return [*a.before, *b.before], after


def _own_ap(videos: Sequence[Video], setting: Setting) -> str:
    found = pool(scored(videos, replace(setting, keypoint=NO_THRESHOLD))).ap_before_threshold[-1]
    return f"{found:.2f} ({setting.nms:g})"


def _name(combination: Combination) -> str:
    method, measure = combination
    row = ROWS.get(combination)
    return f"{method[0]}NMS, {measure}{f' ({row})' if row else ''}"


def _threshold(value: float) -> str:
    return "none" if value == NO_THRESHOLD else f"{value:g}"


def main() -> int:
    """Print the report; exit status 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with gt/, detections/ and pred/ (default: %(default)s)")
    parser.add_argument("--why", action="store_true", help="also measure what the differences come from")
    parser.add_argument("--record", metavar="NAME", help="also write the report to benchmarks/results/NAME.md")
    options = parser.parse_args()
    needed = ("gt", "detections", *(("pred",) if options.why else ()))
    if missing := [part for part in needed if not list((options.data / part).glob("*.json"))]:
        print(f"nothing to measure: there are no JSON files in {', '.join(missing)} of {options.data}", file=sys.stderr)
        return 2

    began = time.perf_counter()
    parts = [heading("Association on bonn's detections,")]
    videos = read_videos(options.data)
    names = ["A, " + ", ".join(videos[v].name for v in halves(len(videos))[0]), f"B, the other {len(videos) // 2}"]
    parts.append(f"Halves, every second sequence by name: {names[0]}; {names[1]}.")
    with ProcessPoolExecutor(min(runtime.cores(), len(COMBINATIONS))) as workers:
        found = workers.map(partial(choose, options.data), COMBINATIONS)
        parts += tuned_sections(videos, dict(zip(COMBINATIONS, found, strict=True)), workers)
        parts += default_sections(videos, workers)
    if options.why:
        parts += association_why.sections(videos, options.data)
    parts.append(f"All of this took {time.perf_counter() - began:.0f} s.")
    report = "\n\n".join(parts)
    print(report)
    record(report, options.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
