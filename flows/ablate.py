"""ablate: the rows of the paper's ablation on annotated clips, each tuned by itself on others. The DAG:

    tuning clips: index -> networks;  a row: tune -> annotate the clips (flows.annotate) -> score;  rows against one another

All rows compute into one store, so that what they have in common, detections and poses above all, is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from distributed import Client
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console

from flows.ablation_rows import HeadRole, Row, head_option, needs, row_params, rows_named
from flows.again import Wanted
from flows.annotate import Summary, run_videos
from flows.cluster import connect
from flows.errors import EvaluationError
from flows.evaluate import matched, read_truth, score_videos
from flows.groups import sources_for
from flows.scoreboard import Evaluation, Scoring, evaluation_of, publish_scores, publish_truth
from flows.settings import SettingsError, load_settings, refuse_secrets, stage_params, use_s3
from flows.sides import Side, side_of_store
from flows.tuning import Tuned, tuned
from flows.weights import kept_weights
from storage import runs
from storage.sources import Source
from storage.store import Store
from storage.weights import fetch, keep
from tasks.evaluation import Results
from tasks.heads import HeadsError, check_weights, has_embedded_heads, option
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan, plan_video
from tasks.score import ScoreParams
from tasks.stage import Params
from tasks.truth import Truth
from tasks.tuning import LOOSE, Clip, Setting
from tkm import weights
from tkm.metrics.bootstrap import Differences, paired_bootstrap
from tkm.networks.heads import read_facts
from tkm.weights import WeightsError

_RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)  # most wait for the step before theirs
_LOOSE_SETTING = Setting(LOOSE.cnms_iou, LOOSE.min_pose_score)
_HEADS: tuple[HeadRole, ...] = get_args(HeadRole)


@dataclass(frozen=True)
class Data:
    """Annotated clips, as a user names them: videos, and files that tell what is true of them."""

    videos: str
    truth: str


@dataclass(frozen=True)
class Measured:
    """What came of a row: what was tuned, and the scores of its run, whose id is in the evaluation."""

    row: Row
    tuned: Tuned
    evaluation: Evaluation


@dataclass(frozen=True)
class Compared:
    """A row less another that it is held against, paired by clip; mAP is that of all keypoints."""

    row: Row
    against: Row
    differences: Differences | None  # None of a single clip


@dataclass(frozen=True)
class Ablation:
    """All of an ablation: rows that ran, in the table's order, their differences, and what other rows lack to run, by name."""

    measured: tuple[Measured, ...]
    compared: tuple[Compared, ...]
    lacking: Mapping[str, str]
    data: Data
    tuning: Data
    sampling: str


@dataclass(frozen=True)
class Prepared:
    """What is known before anything is computed: rows that can run, what others lack, parameters, and digests of all weights."""

    rows: tuple[Row, ...]
    lacking: Mapping[str, str]
    params: Mapping[str, Params]
    digests: Mapping[str, str]


def prepare(store: Store, chosen: Any, names: Sequence[str], self_refinement: str | None, *, write: bool = True) -> Prepared:
    """Find out which of the rows named can run under these settings, and try all weights that they take.

    Weights are put into the store, unless not to `write`. Raises SettingsError where no row can run or settings do not go with
    an ablation, InputError where a file cannot be read, WeightsError where one does not fit.
    """
    rows, params = rows_named(names), stage_params(chosen)
    if params["shots"].split:  # type: ignore[attr-defined]
        raise SettingsError("shots.split: the clips of an ablation have no cuts; leave it out")
    into, files = store if write else None, chosen.weights.files()
    digests: dict[str, str] = {role: weights.digest(role) for role in _HEADS} if has_embedded_heads(params, files) else {}
    digests |= {str(role): digest for role, digest in kept_weights(into, chosen).items()}
    if self_refinement is not None:
        digests["self-refinement"] = keep(into, self_refinement, head_option("self-refinement"))
    heads = [role for role in _HEADS if role in digests]
    lacking = {row.name: lack for row in rows if (lack := needs(row, params, heads))}
    able = [row for row in rows if row.name not in lacking]
    if not able:
        raise SettingsError("\n".join(f"row {name} needs {lack}" for name, lack in lacking.items()))
    used_roles = {"pose", "detector", *(role for row in able for role in row.heads)}
    digests = {role: digest for role, digest in digests.items() if role in used_roles}
    if "refinement" in digests:
        params = _as_trained(params, fetch(store, digests["refinement"]), files)
    for row in able:
        try:
            used = row_params(params, row, _LOOSE_SETTING, digests)
        except HeadsError as error:
            raise SettingsError(str(error)) from error
        given = {**files, "refinement": self_refinement} if row.refinement == "self" and self_refinement else files
        try:
            check_weights(used, partial(fetch, store), given)
        except WeightsError as error:
            own = head_option("self-refinement") if row.refinement == "self" else option("refinement")
            raise WeightsError(str(error).replace(option("refinement"), own)) from error
    return Prepared(tuple(able), lacking, params, digests)


def _as_trained(params: Mapping[str, Params], head: Path, files: Mapping[Any, str]) -> dict[str, Params]:
    """Parameters in which Eq. 6 is divided as it was in the training of the refinement head with context."""
    try:
        divisor = read_facts(head).divisor
    except WeightsError as error:
        named = f"{option('refinement')} {files.get('refinement', '')}".strip()
        raise WeightsError(str(error).replace(str(head), named)) from error
    own = params["refine"]
    return {**params, "refine": type(own)(**{**own.model_dump(), "divisor": divisor})}


@flow(name="ablate", task_runner=_RUNNER, validate_parameters=False)
def ablate(
    data: Data,
    tuning: Data,
    output: str,
    rows: Sequence[str],
    settings: Mapping[str, Any] | None = None,
    self_refinement: str | None = None,
    quiet: bool = False,
) -> Ablation:
    """Tune each row named on the clips of `tuning`, run it on those of `data` into `output`, and hold rows against one another.

    `settings` are as for `annotate`; what makes a row, and what is tuned, is not taken from there. `self_refinement` names the
    file of a refinement head of single frames. What `output` holds is not computed again.

    Raises: SettingsError, InputError and WeightsError as `prepare`; EvaluationError where clips cannot be annotated or scored.
    """
    refuse_secrets(settings or {})
    store, chosen = Store(output), load_settings(settings or {})
    use_s3(chosen)
    prepared = prepare(store, chosen, rows, self_refinement)
    say = Console(stderr=True, quiet=quiet, highlight=False).print
    for name, lack in prepared.lacking.items():
        say(f"row {name} is left out: it needs {lack}", style="yellow", markup=False)
    sources, others = sources_for(data.videos, store), sources_for(tuning.videos, store)
    with connect(chosen.engine.dask, chosen.engine.workers) as client:
        # One cluster for all runs, each of which starts from what those before it have kept.
        engine = chosen.engine.model_copy(update={"dask": client.scheduler_info()["address"], "keep": "all"})
        work = _Work(client, store, chosen.model_copy(update={"engine": engine}), prepared, quiet)
        say(f"networks on {len(others)} tuning clips", style="bold")
        clips = work.clips(others, tuning.truth)
        truths = read_truth.submit(client, store, data.truth).result()
        done: dict[str, tuple[Measured, Scoring]] = {}
        # The richest first: its networks' pass embeds too, while the crops go through the backbone, and others find that done.
        for row in sorted(prepared.rows, key=_richness, reverse=True):
            say(f"row {row.name}: tuning", style="bold")
            found = tuned(client, store, row, prepared.params, prepared.digests, clips)
            say(f"row {row.name}: annotating {len(sources)} clips", style="bold")
            done[row.name] = work.measure(row, found, sources, truths, data.truth)
    compared = [
        Compared(row, done[other][0].row, _differences(done[row.name][1], done[other][1]))
        for row in prepared.rows
        for other in row.against
        if other in done
    ]
    measured = tuple(done[row.name][0] for row in prepared.rows)
    return Ablation(measured, tuple(compared), prepared.lacking, data, tuning, _sampling(prepared.params))


@dataclass(frozen=True)
class _Work:
    """What every step of an ablation needs. Stays in the flow's process."""

    client: Client
    store: Store
    chosen: Any
    prepared: Prepared
    quiet: bool

    def clips(self, sources: Sequence[Source], truth: str) -> list[Clip]:
        """The tuning clips with their truth, after the networks have run on them for all rows."""
        rows = self.prepared.rows
        richest = max(rows, key=_richness)
        plans = self._networks(sources, self._loose(richest))
        by_themselves: dict[str, VideoPlan] = {}
        if richest.refinement == "self":
            by_themselves = plans
        elif alone := [row for row in rows if row.refinement == "self"]:
            # Its own scalars and no more: all else that the row looks at, the others' pass has.
            by_themselves = self._networks(sources, self._loose(replace(alone[0], similarity="iou")))
        truths = read_truth.submit(self.client, self.store, truth).result()
        results = tuple(
            Results(plan.video, _names(plan), "tuning", root=self.store.root, index_key=plan.keys["index"])
            for plan in plans.values()
        )
        pairs = matched(truths, Side("the tuning clips", "tuning", "", results), truth, is_all=False)
        return [Clip(plans[one.video], by_themselves.get(one.video), true) for true, one in pairs]

    def _loose(self, row: Row) -> dict[str, Params]:
        params = row_params(self.prepared.params, row, _LOOSE_SETTING, self.prepared.digests)
        return {**params, "suppress": LOOSE}

    def _networks(self, sources: Sequence[Source], params: Mapping[str, Params]) -> dict[str, VideoPlan]:
        """Run the networks, and nothing after them, on clips; their plans by video."""
        summary = self._run(sources, params, {"purpose": "the networks, for tuning"}, last="networks")
        rows = runs.read_plan(self.store, summary.run).to_pylist()
        content = {row["uri"]: row["content_sha256"] for row in rows}
        plans = (plan_video(self.store, source, content[source.uri], params) for source in sources)
        return {plan.video: plan for plan in plans}

    def measure(
        self, row: Row, found: Tuned, sources: Sequence[Source], truths: Sequence[Truth], truth: str
    ) -> tuple[Measured, Scoring]:
        """Annotate the clips by a row as it was tuned, and score that run."""
        params = row_params(self.prepared.params, row, found.setting, self.prepared.digests)
        run = self._run(sources, params, {"row": row.name}, last="publish").run
        side = side_of_store(self.store, run, ())
        pairs = matched(truths, side, truth, is_all=False)
        wanted = ScoreParams(keypoint_threshold=found.setting.keypoint_threshold)
        is_sampled = bool(_sampling(params))
        scoring: Scoring = score_videos.submit(self.client, self.store, pairs, wanted, is_sampled).result()
        if not scoring.posetrack:
            raise EvaluationError(f"{truth} has no head boxes and track ids, without which there is no MOTA")
        evaluation = evaluation_of(side, scoring, truth, wanted)
        publish_truth(self.store, pairs)
        publish_scores(self.store, evaluation)
        return Measured(row, found, evaluation), scoring

    def _run(self, sources: Sequence[Source], params: Mapping[str, Params], facts: Mapping[str, Any], last: str) -> Summary:
        recorded = self.chosen.model_dump(mode="json", exclude={"engine": {"dask"}, "s3": True})
        told = {"input": f"{len(sources)} clips of an ablation", "settings": recorded, **facts}
        summary = run_videos(self.store, Wanted(sources), self.chosen, params, told, self.quiet, last=last, corrected=False)
        if summary.failures:
            raise EvaluationError("\n".join(failure.message for failure in summary.failures[:5]))
        return summary


def _richness(row: Row) -> tuple[bool, bool, bool]:
    """How much a row asks of the heads."""
    return row.refinement == "context", row.similarity == "tkm", row.similarity == "tbm"


def _names(plan: VideoPlan) -> tuple[str, ...]:
    """What files of truth may call a video: its name without suffix, its name, its id."""
    name = plan.source.name
    return tuple(dict.fromkeys((name.rpartition(".")[0] or name, name, plan.video)))


def _sampling(params: Mapping[str, Params]) -> str:
    """Options of sampling that are set, as a user gives them; empty for all frames."""
    default = PIPELINE[0].Params().model_dump()
    given = {name: value for name, value in params["index"].model_dump().items() if value != default[name]}
    return " ".join(f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}" for name, value in given.items())


def _differences(one: Scoring, other: Scoring) -> Differences | None:
    """Of rows over the same clips; mAP is that of all keypoints, which the thresholds of tracking do not touch."""
    if len(one.posetrack) < 2:
        return None
    a, b = ([replace(video, points=video.all_points) for video in side.posetrack] for side in (one, other))
    return paired_bootstrap(a, b)
