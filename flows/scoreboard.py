"""What came of an evaluation: pooled scores, scores by video, their rows for the tables, and the printed page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from flows.sides import Side
from flows.terminal import shown
from storage import tables
from storage.artifacts import Artifact
from storage.evaluation_schemas import EVALUATED, SCORES, SCORES_BY_VIDEO, TRUTH_FRAMES, TRUTH_POSES
from storage.scores import oks_from_table, scores_from_table
from storage.sources import some
from storage.store import Store
from tasks import truth
from tasks.evaluation import Results, Scored
from tasks.score import OKS, STAGE, ScoreParams
from tasks.truth import Truth
from tkm.metrics.bootstrap import Differences
from tkm.metrics.oks import OksEvaluations, oks_average_precision
from tkm.metrics.scores import COLUMNS, GROUPS, Scores, VideoScores, pool

_PRINTED = {**{name: name for name in GROUPS}, "Total": "Total", "Total with truth": "Total*"}
METRICS = tuple(field.name for field in fields(Scores) if field.name not in ("videos", "has_truth"))
_LABELS = {
    "ap_before_threshold": "mAP, all",
    "ap_after_threshold": "mAP, kept",
    "mota": "MOTA",
    "motp": "MOTP",
    "precision": "precision",
    "recall": "recall",
    "hota": "HOTA",
    "deta": "DetA",
    "assa": "AssA",
    "loca": "LocA",
    "idf1": "IDF1",
    "id_switches": "ID switches",
}


@dataclass(frozen=True)
class Scoring:
    """What the scores of one side are computed from, video by video in the truth's order.

    `posetrack` is empty where the truth has no head boxes and tracks to count by, as COCO's has not.
    """

    scored: tuple[Scored, ...]
    posetrack: tuple[VideoScores, ...]
    oks: tuple[OksEvaluations, ...]

    @staticmethod
    def read(store: Store, scored: Sequence[Scored]) -> Scoring:
        """From the artifacts. DamagedArtifactError where one is damaged: it is withdrawn, and scoring again makes it anew."""
        with_posetrack = [one for one in scored if one.score_key]
        return Scoring(
            tuple(scored),
            tuple(scores_from_table(Artifact(store, STAGE.name, one.score_key).read()) for one in with_posetrack),
            tuple(oks_from_table(Artifact(store, OKS.name, one.oks_key).read()) for one in scored),
        )


@dataclass(frozen=True)
class Against:
    """Differences to other results, over the same videos."""

    address: str
    run: str
    detector: str
    differences: Differences


@dataclass(frozen=True)
class Evaluation:
    """Scores of results against truth: of all, and by id of the video, metric -> joint or column -> percent, None undefined."""

    evaluation: str
    address: str
    run: str
    truth: str
    protocol: str
    keypoint_threshold: float | None
    detector: str
    videos: int
    frames: int
    values: Mapping[str, Mapping[str, float | None]]
    by_video: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    frames_by_video: Mapping[str, int]
    notes: tuple[str, ...]
    against: Against | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return asdict(self)


def evaluation_of(side: Side, scoring: Scoring, truth_address: str, params: ScoreParams) -> Evaluation:
    """Pool the videos' scores, and score each by itself."""
    keys = sorted(key for one in scoring.scored for key in (one.score_key, one.oks_key))
    digest = hashlib.sha256("\n".join([side.address, truth_address, *keys]).encode()).hexdigest()[:16]
    names = [one.video for one in scoring.scored]
    by_video = {
        name: _values(tuple(scoring.posetrack[n : n + 1]) if scoring.posetrack else (), (scoring.oks[n],))
        for n, name in enumerate(names)
    }
    return Evaluation(
        evaluation=digest,
        address=side.address,
        run=side.run,
        truth=truth_address,
        protocol=params.protocol,
        keypoint_threshold=params.keypoint_threshold,
        detector=side.detector,
        videos=len(names),
        frames=sum(one.frames for one in scoring.scored),
        values=_values(scoring.posetrack, scoring.oks),
        by_video=by_video,
        frames_by_video={one.video: one.frames for one in scoring.scored},
        notes=tuple(_notes(scoring, params)),
    )


def _notes(scoring: Scoring, params: ScoreParams) -> Iterator[str]:
    """Sentences on scores that there are not, and why."""
    if not scoring.posetrack:
        yield "mAP and MOTA need truth in PoseTrack's 15 points with head boxes, and this is none: OKS only."
    if untracked := [one.name for one in scoring.posetrack if not one.is_tracked]:
        yield f"No track ids in truth or results of {some(untracked)}: tracking is not evaluated."
    elif scoring.posetrack and not sum(int(one.tracking.objects.sum()) for one in scoring.posetrack):
        why = "; official leaves out each video's last annotated frame, strict does not" if params.protocol == "official" else ""
        yield f"Nobody is left in the truth to count MOTA of{why}."


def _values(posetrack: Sequence[VideoScores], oks: Sequence[OksEvaluations]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    if posetrack:
        scores = pool(posetrack)
        for metric in METRICS:
            values = getattr(scores, metric).tolist()
            found[metric] = {joint: _number(value) for joint, value in zip(COLUMNS, values, strict=True)}
    for name, value in oks_average_precision(oks).items():
        found[f"oks_{name.lower()}"] = {"Total": _number(100 * value)}
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def publish_scores(store: Store, evaluation: Evaluation) -> None:
    """Put an evaluation's rows into `scores` and `scores_by_video`, in place of those of the same evaluation."""
    tables.create_tables(store, EVALUATED)
    facts = {
        "evaluation": evaluation.evaluation,
        "run": evaluation.run,
        "truth": evaluation.truth,
        "protocol": evaluation.protocol,
        "keypoint_threshold": evaluation.keypoint_threshold,
        "detector": evaluation.detector,
    }
    whole = {**facts, "videos": evaluation.videos, "frames": evaluation.frames}
    own = [
        {**facts, "video": video, "frames": evaluation.frames_by_video[video], **row}
        for video, values in evaluation.by_video.items()
        for row in _rows(values)
    ]
    rows = {
        "scores": pa.Table.from_pylist([{**whole, **row} for row in _rows(evaluation.values)], schema=SCORES),
        "scores_by_video": pa.Table.from_pylist(own, schema=SCORES_BY_VIDEO),
    }
    tables.replace_scores(store, evaluation.evaluation, rows)


def _rows(values: Mapping[str, Mapping[str, float | None]]) -> Iterator[dict[str, Any]]:
    for metric, by_joint in values.items():
        for joint, value in by_joint.items():
            yield {"metric": metric, "joint": joint, "value": value}


def publish_truth(store: Store, pairs: Sequence[tuple[Truth, Results]]) -> None:
    """Put the truth of a store's videos into `truth_frames` and `truth_poses`, in place of what they hold of these videos."""
    tables.create_tables(store, EVALUATED)
    for shard in sorted({results.shard for _, results in pairs}):
        mine = [(one, results) for one, results in pairs if results.shard == shard]
        rows = {
            "truth_frames": [_published(store, truth.FRAMES.name, one.frames_key, one, results) for one, results in mine],
            "truth_poses": [_published(store, truth.POSES.name, one.poses_key, one, results) for one, results in mine],
        }
        schemas = {"truth_frames": TRUTH_FRAMES, "truth_poses": TRUTH_POSES}
        whole = {name: pa.concat_tables(own).select(schemas[name].names) for name, own in rows.items()}
        tables.replace_truth(store, shard, [results.video for _, results in mine], whole)


def _published(store: Store, stage: str, key: str, one: Truth, results: Results) -> pa.Table:
    table = Artifact(store, stage, key).read()
    same: dict[str, Any] = {"video": results.video, "truth": one.uri}
    for name, value in same.items():
        table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
    return table.append_column("shard", pa.array([results.shard] * table.num_rows, pa.int32()))


def page(evaluation: Evaluation) -> Iterator[str | Table]:
    """The evaluation for a terminal: what was evaluated and how, then scores in the papers' order of columns."""
    threshold = "none" if evaluation.keypoint_threshold is None else f"{evaluation.keypoint_threshold:g}"
    yield shown(
        f"{evaluation.address} against {evaluation.truth}: {evaluation.videos} videos, {evaluation.frames} frames\n"
        f"detector: {evaluation.detector}\n"
        f"protocol: {evaluation.protocol}   keypoint threshold: {threshold}   run: {evaluation.run}"
    )
    if "mota" in evaluation.values:
        table = Table("", caption="Total*: over joints that have truth. all, kept: keypoints before and after the threshold.")
        for label in _PRINTED.values():
            table.add_column(label, justify="right", no_wrap=True)
        for metric, label in _LABELS.items():
            values = evaluation.values[metric]
            digits = 0 if metric == "id_switches" else 1
            table.add_row(label, *("-" if (value := values[joint]) is None else f"{value:.{digits}f}" for joint in _PRINTED))
        yield table
    if evaluation.values["oks_ap"]["Total"] is not None:
        table = Table(title="OKS")
        for name in (name for name in evaluation.values if name.startswith("oks_")):
            table.add_column(name.removeprefix("oks_").replace("_", " "), justify="right")
        totals = (by_joint["Total"] for name, by_joint in evaluation.values.items() if name.startswith("oks_"))
        table.add_row(*("-" if value is None else f"{value:.1f}" for value in totals))
        yield table
    yield from (shown(note) for note in evaluation.notes)
    if evaluation.against:
        yield from _comparison(evaluation.against)


def _comparison(against: Against) -> Iterator[str | Table]:
    yield shown(f"\nless {against.address} (detector: {against.detector}), Total*, paired bootstrap over videos")
    table = Table("", "difference", "95% interval")
    for label, name in (("mAP", "average_precision"), ("MOTA", "mota"), ("HOTA", "hota"), ("IDF1", "idf1")):
        one = getattr(against.differences, name)
        table.add_row(label, f"{one.difference:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}")
    yield table
