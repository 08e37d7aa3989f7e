"""annotate: from videos to tables. The DAG, a group of videos at a time:

    index -> networks (detect, estimate, suppress in one pass) -> track -> publish

A Prefect task is a step of a group; inside it each video is a Dask future on a worker that offers the step's resources.
Groups overlap: while one is tracked, the networks work on the next. What is done is asked of the store alone.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from distributed import Client, Future
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows import work
from flows.cluster import connect
from flows.errors import TooManyFailuresError
from flows.groups import Group, make_groups, read_digests, sources_for, with_missing, write_digests
from flows.progress import Progress
from flows.settings import Engine, load_settings, refuse_secrets, stage_params, use_s3
from storage import runs, tables
from storage.runs import Failure
from storage.sources import video_id
from storage.store import Store
from tasks import index, track
from tasks.merge import merge
from tasks.pipeline import STEPS
from tasks.plan import VideoPlan, plan_video, shard_of
from tasks.stage import Params, Resources

_SEGMENT_CHUNKS = 16  # a long video's networks pass is cut into futures of this many chunks, which workers share
_Call = tuple[str, str, Callable[..., Any], tuple[Any, ...]]  # name, stage, function, arguments


@dataclass(frozen=True)
class Context:
    """What every step of a run needs. Stays in the flow's process."""

    client: Client
    store: Store
    run: str
    params: Mapping[str, Params]
    engine: Engine
    progress: Progress


@dataclass(frozen=True)
class Summary:
    """What came of a run: videos in all, those whose published rows changed, and those that failed."""

    run: str
    root: str
    videos: int
    changed: int
    frames: Mapping[str, int]
    failures: tuple[Failure, ...]
    seconds: float


_RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)  # most wait for the step before theirs


@flow(name="annotate", task_runner=_RUNNER, validate_parameters=False)
def annotate(
    input: str, output: str, settings: Mapping[str, Any] | None = None, quiet: bool = False
) -> Summary:
    """Annotate every person in the videos of `input` and publish to `output`, computing only what `output` lacks.

    `settings` maps sections (a stage's name, `engine`, or `s3` without its secrets) to values by name.
    """
    began = time.perf_counter()
    refuse_secrets(settings or {})
    chosen = load_settings(settings or {})
    use_s3(chosen)
    engine: Engine = chosen.engine
    store, run = Store(output), runs.new_run()
    sources = sources_for(input, store)
    store.check()
    runs.start_run(store, run, _facts(input, chosen))
    tables.create_tables(store)
    groups = make_groups(sources)
    videos = [source.video_id for source in sources]
    with connect(engine.dask, engine.workers) as client, Progress(client, videos, quiet=quiet) as progress:
        context = Context(client, store, run, stage_params(chosen), engine, progress)
        steps, published = [], []
        for group in groups:
            indexed = _submit(index_group, group.name, context, group)
            annotated = _submit(networks_group, group.name, context, indexed)
            tracked = _submit(track_group, group.name, context, annotated)
            published.append(_submit(publish_group, group.name, context, tracked))
            steps += [indexed, annotated, tracked, published[-1]]
        try:
            for step in steps:
                step.result()  # in order, so that what went wrong is raised, and not what could not start because of it
        except TooManyFailuresError as error:
            runs.end_run(store, run, {"stopped": str(error), "seconds": round(time.perf_counter() - began, 1)})
            raise
        finished: list[Group] = [future.result() for future in published]
    summary = Summary(
        run=run,
        root=store.root,
        videos=len(sources),
        changed=sum(group.changed for group in finished),
        frames=progress.computed,
        failures=tuple(failure for group in finished for failure in group.failures),
        seconds=time.perf_counter() - began,
    )
    runs.end_run(store, run, _outcome(summary))
    return summary


@task(name="index", cache_policy=NO_CACHE, persist_result=False)
def index_group(context: Context, group: Group) -> Group:
    """Digest every video, plan its keys, record the plan, and index what has no index."""
    known = read_digests(context.store, group)
    digests = _each(
        context,
        [
            (source.uri, "index", work.digest_video, (source, known.get(source.uri), context.engine.verify))
            for source in group.sources
        ],
        index.STAGE.resources,
    )
    plans, failures = [], []
    for source in group.sources:
        digest = digests[source.uri]
        if isinstance(digest, Failure):
            failures.append(digest)
        else:
            plans.append(plan_video(context.store, source, digest.content_sha256, context.params))
    found = {uri: digest for uri, digest in digests.items() if not isinstance(digest, Failure)}
    if found != known:
        write_digests(context.store, group, {**known, **found})
    group = with_missing(group, plans, context.store)
    runs.write_plan(context.store, context.run, group.name, group.plan_rows())
    remembered = context.store.list("failures").keys()
    for plan in plans:
        if context.engine.retry_failed:
            work.forget_failure(plan, remembered)
        elif group.missing[plan.video] and (failure := work.remembered_failure(plan, remembered)):
            failures.append(failure)
    group = _after(context, group, {failure.video: failure for failure in failures})
    failed = {failure.video for failure in group.failures}
    unfailed = [plan for plan in group.plans if group.missing[plan.video] and plan.video not in failed]
    counts = _each(
        context, [(plan.video, "index", work.index_video, (plan,)) for plan in unfailed], index.STAGE.resources
    )
    frames = {video: count for video, count in counts.items() if not isinstance(count, Failure)}
    for video, count in frames.items():
        context.progress.expect(video, count, group.missing[video])
    return replace(_after(context, group, counts), frames=frames)


@task(name="networks", cache_policy=NO_CACHE, persist_result=False)
def networks_group(context: Context, group: Group) -> Group:
    """Run what is missing of detect, estimate and suppress; the GPU's pass where pixels are looked at, else on CPUs."""
    segment = context.engine.chunk_frames * _SEGMENT_CHUNKS
    calls: dict[bool, list[Any]] = {True: [], False: []}
    for plan in group.lacking("networks"):
        stages = [stage for stage in STEPS["networks"] if stage.name in group.missing[plan.video]]
        names = [stage.name for stage in stages]
        for start in range(0, group.frames[plan.video], segment):
            stop = min(start + segment, group.frames[plan.video])
            arguments = (plan, names, start, stop, context.engine.chunk_frames)
            calls[any(stage.images for stage in stages)].append(
                (f"{plan.video}:{start}", names[0], work.run_networks, arguments)
            )
    done = _each(context, calls[True], Resources(gpus=1)) | _each(context, calls[False], Resources(cpus=1))
    for plan in group.lacking("networks"):
        context.progress.finished(plan.video, [stage.name for stage in STEPS["networks"]])
    return _after(context, group, done)


@task(name="track", cache_policy=NO_CACHE, persist_result=False)
def track_group(context: Context, group: Group) -> Group:
    """Track the videos that lack it."""
    return _step(context, group, "track", work.run_track, track.STAGE.resources)


@task(name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish_group(context: Context, group: Group) -> Group:
    """Join what lacks it, then merge the group's videos and failures into the published tables."""
    group = _step(context, group, "publish", work.run_publish, STEPS["publish"][0].resources)
    changed, damaged = merge(context.store, context.run, group.shard, group.finished(), group.failures)
    group = group.with_failures(damaged)
    runs.write_failures(context.store, context.run, group.name, group.failures)
    context.progress.published(len(group.sources))
    return replace(group, changed=changed)


def _submit(step: Any, name: str, context: Context, group: Group | PrefectFuture[Group]) -> PrefectFuture[Group]:
    future: PrefectFuture[Group] = step.with_options(task_run_name=f"{step.name} {name}").submit(context, group)
    return future


def _step(
    context: Context, group: Group, step: str, function: Callable[..., int | Failure], resources: Resources
) -> Group:
    plans = group.lacking(step)
    calls = [(plan.video, step, function, (plan, context.engine.chunk_frames)) for plan in plans]
    results = _each(context, calls, resources)
    for plan in plans:
        context.progress.finished(plan.video, [stage.name for stage in STEPS[step]])
    return _after(context, group, results)


def _each(context: Context, calls: Sequence[_Call], resources: Resources) -> dict[str, Any]:
    """Run calls on workers; results by name, a Failure where one could not be had."""
    futures: dict[str, Future[Any]] = {
        name: context.client.submit(
            function,
            *arguments,
            pure=False,
            retries=context.engine.retries,
            resources=resources.for_dask(),
            key=f"{stage}-{name}-{context.run}",
        )
        for name, stage, function, arguments in calls
    }
    results: dict[str, Any] = {}
    for name, stage, _, arguments in calls:
        try:
            results[name] = futures[name].result()
        except Exception as error:
            results[name] = _transient(arguments[0], stage, error)
    return results


def _transient(subject: Any, stage: str, error: Exception) -> Failure:
    """A failure that another run may not meet."""
    source = subject.source if isinstance(subject, VideoPlan) else subject
    video = video_id(source.uri)
    message = f"{source.uri}: {type(error).__name__}: {error}"
    return Failure(video, source.uri, stage, message, False, shard_of(video))


def _after(context: Context, group: Group, results: Mapping[str, Any]) -> Group:
    """The group after a step; stops the run where too many videos have failed."""
    failures = {result.video: result for result in results.values() if isinstance(result, Failure)}
    group = group.with_failures(list(failures.values()))
    limit = context.engine.max_failures
    if limit is not None and context.progress.failed(len(failures)) > limit:
        merge(context.store, context.run, group.shard, [], group.failures)
        runs.write_failures(context.store, context.run, group.name, group.failures)
        raise TooManyFailuresError(f"more than {limit} videos failed; the last: {group.failures[-1].message}")
    return group


def _facts(input_: str, chosen: Any) -> dict[str, Any]:
    return {
        "input": input_,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": chosen.model_dump(mode="json", exclude={"engine": {"dask"}, "s3": True}),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def _outcome(summary: Summary) -> dict[str, Any]:
    return {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "videos": summary.videos,
        "changed": summary.changed,
        "frames": dict(summary.frames),
        "failed": len(summary.failures),
        "seconds": round(summary.seconds, 1),
    }
