"""How often each measure of association finds the same person again, on clips with perfect truth: tables in Markdown.

python -m benchmarks.identity VIDEOS --truth ANNOTATIONS_COCO --output RESULTS [--matching-weights FILE] [--body-weights FILE]
                              [--every N] [--clips N] [--record NAME]

The clips are annotated as far as `embed`, into RESULTS, where `tkm annotate` finds it again. All survivors of two frames, 1 to 16
sampled frames apart, are matched by each measure for the highest total, without a gate. A link is a person who is among the
survivors of both; it is right where the matching says so.

Shape legend: P people of a clip, L links, C clips.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.identity_people import People, read_people
from benchmarks.record import heading, record
from benchmarks.report import table
from storage.sources import content_digest, find_sources
from storage.store import Store
from storage.weights import keep
from tasks import embed, index
from tasks.heads import option
from tasks.pipeline import PIPELINE
from tasks.plan import plan_video
from tasks.stage import Params
from tkm.networks.matching import Classifiers
from tkm.similarity import box_area, iou, keypoint_similarity, oks
from tkm.skeleton import COCO_17
from tkm.tracking import match
from tkm.types import Bool, Float, Int

GAPS = (1, 2, 4, 8, 16)
HARD_GAP = 4
_RESAMPLES = 2000
Similarity = Callable[[People, Int, Int], Float]  # of rows of the later frame with rows of the earlier one


@dataclass(frozen=True)
class Links:
    """All links of a clip at all gaps.

    gap        (L,) int64, sampled frames between the two
    is_clear   (L,) bool, both poses are the person's own
    is_hard    (L,) bool, four frames apart or more, and close to somebody in one of them
    is_twin    (L,) bool, the person has a twin, who is among the survivors of one of the frames
    right      by measure (L,) bool
    """

    gap: Int
    is_clear: Bool
    is_hard: Bool
    is_twin: Bool
    right: Mapping[str, Bool]


def by_iou(people: People, later: Int, earlier: Int) -> Float:
    """IOU of the boxes."""
    box = people.poses.box_xyxy_px
    return iou(box[later], box[earlier])


def by_oks(people: People, later: Int, earlier: Int) -> Float:
    """OKS of the poses."""
    poses, area = people.poses, box_area(people.poses.box_xyxy_px)
    return oks(poses.xy_px[later], poses.xy_px[earlier], area[later], area[earlier], COCO_17.oks_sigmas)


def by_histogram(people: People, later: Int, earlier: Int) -> Float:
    """Bhattacharyya's coefficient of the bodies' colours."""
    return np.maximum(people.histogram[later] @ people.histogram[earlier].T, 0)


def by_cosine(people: People, later: Int, earlier: Int) -> Float:
    """Mean over keypoints of the raw features' cosine, in [0, 1]."""
    of_later, of_earlier = (
        raw / np.maximum(np.linalg.norm(raw, axis=-1, keepdims=True), 1e-6) for raw in (people.raw[later], people.raw[earlier])
    )
    cosine = np.einsum("pkd,qkd->pq", of_later, of_earlier) / people.raw.shape[1]
    similarity: Float = np.maximum(1 + cosine, np.float32(0)) / np.float32(2)
    return similarity


def learned(features: Callable[[People], tuple[Float, Classifiers] | None]) -> Similarity:
    """Mean over keypoints of G_k, or the body's probability, as a measure."""

    def similarity(people: People, later: Int, earlier: Int) -> Float:
        own = features(people)
        assert own is not None
        feature, classifiers = own
        everywhere = np.ones((len(later), len(earlier)), np.bool_)
        return keypoint_similarity(classifiers, feature[later], feature[earlier], everywhere) / feature.shape[1]

    return similarity


def measures(*, has_matching: bool, has_body: bool) -> dict[str, Similarity]:
    """What is compared, by name."""
    found: dict[str, Similarity] = {"IOU": by_iou, "OKS": by_oks, "colour histogram": by_histogram, "cosine": by_cosine}
    if has_body:
        found["tbm"] = learned(lambda people: people.body)
    if has_matching:
        tkm = learned(lambda people: people.keypoint)
        found["tkm"] = tkm
        found["IOU + G"] = lambda people, later, earlier: by_iou(people, later, earlier) + tkm(people, later, earlier)
    return found


def links(people: People, compared: Mapping[str, Similarity], gaps: Sequence[int] = GAPS) -> Links:
    """All links of a clip, and which of them each measure finds."""
    rows = [np.flatnonzero(people.poses.frame == frame) for frame in people.frames]
    gap_of: list[int] = []
    clear: list[bool] = []
    hard: list[bool] = []
    twin: list[bool] = []
    right: dict[str, list[bool]] = {name: [] for name in compared}
    for gap in gaps:
        for earlier, later in zip(rows, rows[gap:], strict=False):
            now, before = people.who[later], people.who[earlier]
            p, q = np.nonzero((now[:, None] == before) & (now >= 0)[:, None])
            if not len(p):
                continue
            seen = {*now.tolist(), *before.tolist()}
            gap_of += [gap] * len(p)
            clear += (people.is_right[later[p]] & people.is_right[earlier[q]]).tolist()
            hard += ((people.is_close[later[p]] | people.is_close[earlier[q]]) & (gap >= HARD_GAP)).tolist()
            twin += [people.twin.get(who, -1) in seen - {-1} for who in now[p].tolist()]
            for name, similarity in compared.items():
                partner = np.full(len(later), -1)
                matched, matched_before = match(similarity(people, later, earlier))
                partner[matched] = matched_before
                right[name] += (partner[p] == q).tolist()
    is_clear, is_hard, is_twin = (np.array(values, np.bool_) for values in (clear, hard, twin))
    found = {name: np.array(values, np.bool_) for name, values in right.items()}
    return Links(np.array(gap_of, np.int64), is_clear, is_hard, is_twin, found)


def subsets(one: Links, gaps: Sequence[int] = GAPS) -> dict[str, Bool]:
    """Columns of the tables: (L,) bool by name."""
    everything = np.ones(len(one.gap), np.bool_)
    return {**{f"gap {gap}": one.gap == gap for gap in gaps}, "all": everything, "hard": one.is_hard, "twins": one.is_twin}


def report(clips: Sequence[Links], *, clear_only: bool) -> str:
    """Share of right links by measure and subset, in percent, and the differences to tkm, each with its 95% interval."""
    parts = [{name: own & (one.is_clear | (not clear_only)) for name, own in subsets(one).items()} for one in clips]
    names = list(parts[0])
    number = np.array([[part[name].sum() for name in names] for part in parts])  # (C, subsets)
    weights = np.random.default_rng(0).multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=_RESAMPLES)
    weights = np.concatenate([np.ones((1, len(clips)), np.int64), weights])
    drawn = weights @ number
    share: dict[str, NDArray[np.float64]] = {}
    for measure in clips[0].right:
        right = np.array(
            [[one.right[measure][part[name]].sum() for name in names] for one, part in zip(clips, parts, strict=True)]
        )
        undefined = np.full(drawn.shape, np.nan)
        share[measure] = np.divide(100.0 * (weights @ right), drawn, out=undefined, where=drawn > 0)
    lines = [["links", *map(str, number.sum(axis=0).tolist())]]
    lines += [[measure, *_cells(values, "{:.1f}")] for measure, values in share.items()]
    lines += [
        [f"tkm less {measure}", *_cells(share["tkm"] - values, "{:+.1f}")]
        for measure, values in share.items()
        if "tkm" in share and measure != "tkm"
    ]
    return table(("", *names), lines)


def _cells(values: NDArray[np.float64], form: str) -> Iterator[str]:
    """Of values (resamples, subsets), the first of which is that of all clips: it and its interval."""
    for column in values.T:
        resampled = column[1:][np.isfinite(column[1:])]
        if not len(resampled):
            yield "none"
            continue
        low, high = np.percentile(resampled, [2.5, 97.5])
        yield f"{form.format(column[0])} [{form.format(low)}, {form.format(high)}]"


def measured(options: Any) -> Iterator[Links]:
    """Links of each clip, as they are found."""
    store = Store(options.output)
    files = {"matching": options.matching_weights, "body": options.body_weights}
    digests = {kind: keep(store, str(file), option(kind)) for kind, file in files.items() if file}  # type: ignore[arg-type]
    params: dict[str, Params] = {stage.name: stage.Params() for stage in PIPELINE}
    params |= {"index": index.IndexParams(every=options.every), "embed": embed.EmbedParams(**digests)}
    compared = measures(has_matching="matching" in digests, has_body="body" in digests)
    sources = find_sources(str(options.videos))[: options.clips]
    for n, source in enumerate(sources):
        stem = Path(source.uri).stem
        plan = plan_video(store, source, content_digest(source), params)
        yield links(read_people(plan, options.truth / f"{stem}.json"), compared)
        print(f"{n + 1} of {len(sources)} clips: {stem}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", help="clips, as for tkm annotate")
    parser.add_argument("--truth", type=Path, required=True, help="folder with a JSON file of COCO's points a clip, by its name")
    parser.add_argument("--output", required=True, help="where artifacts are kept, as for tkm annotate")
    parser.add_argument("--matching-weights", type=Path, metavar="FILE", help="for tkm and IOU + G")
    parser.add_argument("--body-weights", type=Path, metavar="FILE", help="for tbm")
    parser.add_argument("--every", type=int, default=1, help="sample every n-th frame (default: %(default)s)")
    parser.add_argument("--clips", type=int, help="take so many clips only")
    parser.add_argument("--record", metavar="NAME", help="also write the report to benchmarks/results/NAME.md")
    options = parser.parse_args()
    began = time.perf_counter()
    parts = [heading("Who is who over gaps,")]
    found = list(measured(options))
    parts.append(
        f"{len(found)} clips of {options.videos}, every {options.every} frames. Percent of links that are right, 95% intervals "
        f"by bootstrap over clips. Hard: {HARD_GAP} frames apart or more, and IOU above 0.3 with another person. Twins: in the "
        "same clothes, and both in view."
    )
    parts += ["## All people", report(found, clear_only=False)]
    parts += ["## Both poses on the right person (OKS of 0.5 or more)", report(found, clear_only=True)]
    parts.append(f"All of this took {time.perf_counter() - began:.0f} s.")
    text = "\n\n".join(parts)
    print(text)
    record(text, options.record)


if __name__ == "__main__":
    main()
