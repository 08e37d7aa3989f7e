"""evaluate: results held against truth. The DAG:

    truth (a file a call), match by name, score (a video a call), pool -> tables `scores`, `scores_by_video`, `truth_*`

Calls are Dask futures on any CPU. What the store holds of the same truth, results and parameters is not computed again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows.calls import Call, run_all
from flows.cluster import connect
from flows.errors import EvaluationError, unless
from flows.scoreboard import Against, Evaluation, Scoring, evaluation_of, publish_scores, publish_truth
from flows.settings import load_settings, refuse_secrets, use_s3
from flows.sides import Side, is_files, side_of_files, side_of_store
from storage.documents import find_documents
from storage.runs import Failure, split_address
from storage.sources import InputError, Source, some
from storage.store import Store
from tasks.evaluation import Refused, Results, Scored, import_truth, read_predictions, score_video
from tasks.score import STAGE, ScoreParams
from tasks.truth import Truth
from tkm.metrics.bootstrap import Differences, paired_bootstrap

_RUNNER: Any = ThreadPoolTaskRunner(max_workers=4)
_STEP: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": unless(InputError),
}
_SHOWN = 5  # problems in a message


@flow(name="evaluate", task_runner=_RUNNER, validate_parameters=False)
def evaluate(
    address: str,
    output: str,
    truth: str,
    params: Mapping[str, Any],
    videos: Collection[str] = (),
    against: str | None = None,
    settings: Mapping[str, Any] | None = None,
    sampled_only: bool = False,
) -> Evaluation:
    """Evaluate the results at `address`, URI, URI@RUN or files of predictions, against annotation files.

    Scores are kept in the store `output`, that of the results or, for files, any. `params` are those of the stage score.
    `against` names other results, for a paired bootstrap over the same videos. With `sampled_only`, truth of frames that a run
    did not sample is left aside.

    Raises InputError, which names files and videos, where truth and results do not fit together.
    """
    refuse_secrets(settings or {})
    chosen = load_settings(settings or {})
    use_s3(chosen)
    store, wanted = Store(output), ScoreParams(**params)
    store.check()
    with connect(chosen.engine.dask, chosen.engine.workers, networks=False) as client:
        truths = read_truth.submit(client, store, truth).result()
        sides = [_side(client, one, videos) for one in (address, against) if one is not None]
        pairs = [matched(truths, side, truth, is_all=not videos) for side in sides]
        scorings = [score_videos.submit(client, store, own, wanted, sampled_only).result() for own in pairs]
    evaluation = evaluation_of(sides[0], scorings[0], truth, wanted)
    for other, scoring in zip(sides[1:], scorings[1:], strict=True):
        differences = _differences(scorings[0], scoring)
        evaluation = replace(evaluation, against=Against(other.address, other.run, other.detector, differences))
    if not is_files(address):
        publish_truth(store, pairs[0])
    publish_scores(store, evaluation)
    return evaluation


def _side(client: Client, address: str, videos: Collection[str]) -> Side:
    if not is_files(address):
        root, run = split_address(address)
        return side_of_store(Store(root), run, videos)
    uris = find_documents(address)
    calls = [Call(uri, Source(uri), "predictions", f"predictions-{uri}", read_predictions, (uri,)) for uri in uris]
    read = _each(client, calls)
    return side_of_files(address, [one for uri in uris for one in read[uri]], videos)


def _differences(one: Scoring, other: Scoring) -> Differences:
    if not one.posetrack:
        raise InputError("--against compares PoseTrack's metrics, which this truth has no head boxes and tracks for")
    try:
        return paired_bootstrap(one.posetrack, other.posetrack)
    except ValueError as error:
        raise InputError(f"--against: {error}") from None


@task(name="truth", **_STEP)
def read_truth(client: Client, store: Store, truth: str) -> list[Truth]:
    """Bring annotation files into the store; what each tells of which video."""
    uris = find_documents(truth, (".json",))
    calls = [Call(uri, Source(uri), "truth", f"truth-{uri}", import_truth, (store, uri)) for uri in uris]
    read = _each(client, calls)
    found: list[Truth] = [one for uri in uris for one in read[uri]]
    twice = [name for name, count in Counter(one.name for one in found).items() if count > 1]
    if twice:
        raise InputError(f"{truth} holds several videos of one name: {some(twice)}; give each once")
    return found


def matched(truths: Sequence[Truth], side: Side, truth: str, *, is_all: bool) -> list[tuple[Truth, Results]]:
    """Every video with its truth, by name, in the truth's order; a single one with a single one, whatever their names.

    Where the videos are not all but chosen ones, truth of others is left aside. Raises InputError, with their names, for videos
    without truth, truth without video, and several videos of one name.
    """
    if len(truths) == len(side.results) == 1:
        return [(truths[0], side.results[0])]
    by_name = {one.name: one for one in truths}
    owners: dict[str, Results] = {}
    problems = []
    surplus = []
    for results in side.results:
        name = next((name for name in results.names if name in by_name), None)
        if name is None:
            surplus.append(results.names[0])
        elif name in owners:
            problems.append(f"{owners[name].video} and {results.video} are both called {name}; choose one with --videos")
        else:
            owners[name] = results
    missing = [name for name in by_name if name not in owners] if is_all else []
    if missing:
        of = f"{len(missing)} of the {len(truths)} videos in {truth}"
        problems.append(f"{side.address} has no results for {of}: {some(missing)}")
    if surplus:
        problems.append(
            f"{truth} has no truth for {len(surplus)} videos of {side.address}: {some(surplus)}; choose others with --videos"
        )
    if problems:
        raise InputError("\n".join(problems))
    return [(one, owners[one.name]) for one in truths if one.name in owners]


@task(name="score", **_STEP)
def score_videos(
    client: Client, store: Store, pairs: Sequence[tuple[Truth, Results]], params: ScoreParams, sampled_only: bool = False
) -> Scoring:
    """Score every video of one side, and read what came of it."""
    calls = [
        Call(one.name, Source(one.uri), STAGE.name, f"score-{one.name}", score_video, (store, one, results, params, sampled_only))
        for one, results in pairs
    ]
    scored: Mapping[str, Scored] = _each(client, calls)
    return Scoring.read(store, [scored[one.name] for one, _ in pairs])


def _each(client: Client, calls: Sequence[Call]) -> dict[str, Any]:
    """Results of calls by name. InputError for what is wrong with files and videos, EvaluationError for what may pass."""
    found = run_all(client, uuid.uuid4().hex[:8], calls, STAGE.resources)
    refused = [one.message for one in found.values() if isinstance(one, Refused)]
    failed = [one.message for one in found.values() if isinstance(one, Failure)]
    for messages, error in ((refused, InputError), (failed, EvaluationError)):
        if messages:
            more = [f"and {len(messages) - _SHOWN} more"] if len(messages) > _SHOWN else []
            raise error("\n".join([*messages[:_SHOWN], *more]))
    return found
