"""annotate: from videos to tables. The DAG, a group of videos at a time:

    index -> networks (detect, estimate, suppress, embed in one pass) -> track (shots, track, paths) -> refine -> publish

A Prefect task is a step of a group; inside it each video is a Dask future on a worker that offers the step's resources.
Groups overlap: while one is tracked, the networks work on the next. What is done is asked of the store alone.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console

from flows import work
from flows.again import Wanted, dependents, reopen, wanted_again
from flows.calls import Call, run_all, video_call
from flows.cluster import connect
from flows.detections import wanted_videos
from flows.errors import ClusterLostError, TooManyFailuresError, unless
from flows.groups import Group, make_groups, read_digests, with_missing, write_digests
from flows.progress import Progress
from flows.retention import Retention
from flows.settings import Engine, load_settings, refuse_secrets, stage_params, step_limits, use_s3
from flows.signs import signs_of_life
from flows.weights import check_again, chosen_params, kept_weights
from storage import runs, tables
from storage.artifacts import DamagedArtifactError
from storage.runs import Failure
from storage.sources import Source
from storage.store import Store
from tasks import index
from tasks.merge import merge, merge_failures
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Params, Resources, Stage

_SEGMENT_CHUNKS = 16  # a long video's networks pass is cut into futures of this many chunks, which workers share


@dataclass(frozen=True)
class Context:
    """What every step of a run needs. Stays in the flow's process."""

    client: Client
    store: Store
    run: str
    settings: Any
    params: Mapping[str, Params]
    wanted: Wanted
    progress: Progress
    retention: Retention

    @property
    def engine(self) -> Engine:
        """How the run is carried out."""
        engine: Engine = self.settings.engine
        return engine

    def plan(self, source: Source, digest: work.Digest) -> VideoPlan:
        """A video's keys: under the settings of this run and what is given for it, or under those of the run that is repeated."""
        params = self.wanted.params(source, self.params)
        return plan_video(self.store, source, digest.content_sha256, params, digest.fingerprint)


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
    input: str | None,
    output: str,
    settings: Mapping[str, Any] | None = None,
    detections: str | None = None,
    images: str | None = None,
    quiet: bool = False,
) -> Summary:
    """Annotate every person in the videos of `input` and publish to `output`, computing only what `output` lacks.

    `settings` maps sections (a stage's name, `engine`, or `s3` without its secrets) to values by name. `detections` names files
    of boxes or poses that take the place of our networks' results, and `images`, for results in COCO's form, files that tell
    which picture is which; poses need no `input`.
    """
    refuse_secrets(settings or {})
    store, chosen = Store(output), load_settings(settings or {})
    use_s3(chosen)
    recorded = chosen.model_dump(mode="json", exclude={"engine": {"dask"}, "s3": True})
    files = {name: address for name, address in (("detections", detections), ("images", images)) if address}
    facts = {"input": input, "settings": recorded, **files}
    wanted = wanted_videos(store, input, detections, images, chosen)
    params, notes = chosen_params(store, wanted, chosen)
    return run_videos(store, replace(wanted, notes=(*wanted.notes, *notes)), chosen, params, facts, quiet)


@flow(name="rerun", task_runner=_RUNNER, validate_parameters=False)
def rerun(
    output: str,
    run: str | None,
    stage: str,
    changes: Sequence[str] = (),
    videos: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Summary:
    """Run a stage of an earlier run, or of all that is published (None), and what rests on it, again, as a run of its own.

    With `changes` to its parameters, `name=value`, or other weights, what the store holds under the changed ones is not computed
    again; without any, all of it is computed anew. `videos` are ids, names or globs of either; none means all of that run. The
    videos themselves are needed only where pixels are looked at again. `settings` maps sections to values as for
    `annotate`; of stages, only their limits are taken from there. Weights that are not given are those that the videos had.
    """
    refuse_secrets(settings or {})
    store, chosen = Store(output), load_settings(settings or {})
    use_s3(chosen)
    files = chosen.weights.files()
    wanted = wanted_again(store, run, stage, changes, videos, kept_weights(store, chosen))
    anew = () if changes or files else dependents(stage)
    check_again(store, wanted, chosen, anew)
    facts = {"rerun": run, "stage": stage, "set": list(changes), "weights": files, "videos": list(videos)}
    return run_videos(store, wanted, chosen, stage_params(chosen), facts, quiet, anew)


def run_videos(
    store: Store,
    wanted: Wanted,
    chosen: Any,
    params: Mapping[str, Params],
    facts: Mapping[str, Any],
    quiet: bool,
    anew: Collection[str] = (),
    last: str = "publish",
) -> Summary:
    """Take the videos through all steps, or to the `last` one wanted, within a flow.

    `params` are by stage, with the digests of weights, which the store has; `facts` are recorded with the run. Artifacts of the
    stages named by `anew` are withdrawn first.
    """
    began = time.perf_counter()
    engine: Engine = chosen.engine
    for note in () if quiet else wanted.notes:
        Console(stderr=True).print(note, style="yellow", highlight=False, markup=False)
    with connect(engine.dask, engine.workers) as client:
        store.check()
        run, groups = runs.new_run(store), make_groups(wanted.sources)
        runs.start_run(store, run, {**facts, "groups": len(groups), **_environment()})
        tables.create_tables(store)
        if anew:
            reopen(store, wanted, anew)
        videos = [source.video_id for source in wanted.sources]
        with signs_of_life(store, run), Progress(client, videos, quiet=quiet) as progress:
            try:
                retention = Retention(store, run, engine.keep)
                context = Context(client, store, run, chosen, params, wanted, progress, retention)
                finished = _finish(context, groups, last)
                retention.end()
            except Exception as error:
                with suppress(Exception):  # what stopped the run may be that nothing can be written
                    runs.end_run(store, run, {"stopped": str(error), "seconds": round(time.perf_counter() - began, 1)})
                raise
    summary = Summary(
        run=run,
        root=store.root,
        videos=len(wanted.sources),
        changed=sum(group.changed for group in finished),
        frames=progress.computed,
        failures=tuple(failure for group in finished for failure in group.failures),
        seconds=time.perf_counter() - began,
    )
    runs.end_run(store, run, _outcome(summary))
    return summary


def _finish(context: Context, groups: Sequence[Group], last: str) -> list[Group]:
    """Take every group through all steps to the last; groups overlap. What stops one is raised when the others are through."""
    steps = (index_group, networks_group, track_group, refine_group, publish_group)
    wanted = steps[: [step.name for step in steps].index(last) + 1]
    chains = []
    for group in groups:
        chain: list[PrefectFuture[Group]] = []
        for step in wanted:
            chain.append(_submit(step, group.name, context, chain[-1] if chain else group))
        chains.append(chain)
    finished, troubles = [], []
    for chain in chains:
        try:
            finished.append([step.result() for step in chain][-1])  # in order: the first that failed tells why
        except (TooManyFailuresError, ClusterLostError):
            raise
        except Exception as error:
            troubles.append(error)
    if troubles:
        raise troubles[0]
    return finished


# Steps are idempotent. A single video's trouble is no reason to repeat one: it comes back as a Failure.
_STEP: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": [1, 5, 20],
    "retry_condition_fn": unless(TooManyFailuresError, ClusterLostError),
}


@task(name="index", **_STEP)
def index_group(context: Context, group: Group) -> Group:
    """Digest every video, plan its keys, record the plan, and index what has no index."""
    known = read_digests(context.store, group)
    limits = step_limits(context.settings, "index")
    known_by_poses = [source for source in group.sources if source.kind == "poses"]
    by_poses = {source.uri: work.Digest(source.uri, "", context.wanted.poses_sha256(source)) for source in known_by_poses}
    digests = by_poses | _each(
        context,
        [
            Call(
                source.uri,
                source,
                "index",
                f"digest-{source.uri}",
                work.digest_video,
                (source, known.get(source.uri), earlier.content_sha256 if earlier else None, context.engine.verify, limits),
            )
            for source in group.sources
            if source.uri not in by_poses
            for earlier in [context.wanted.earlier.get(source.uri)]
        ],
        index.STAGE.resources,
    )
    plans, failures = [], []
    for source in group.sources:
        digest = digests[source.uri]
        if isinstance(digest, Failure):
            failures.append(digest)
        else:
            plans.append(context.plan(source, digest))
    found = {uri: digest for uri, digest in digests.items() if isinstance(digest, work.Digest) and digest.fingerprint}
    if found != known:
        write_digests(context.store, group, {**known, **found})
    # Before the look at what is there: from then on nobody who cleans up takes it away.
    group = replace(group, plans=tuple(plans))
    runs.write_plan(context.store, context.run, group.name, group.plan_rows())
    context.retention.begin(plans)
    group = with_missing(group, plans, context.store)
    remembered = context.store.list("failures").keys()
    for plan in plans:
        if context.engine.retry_failed:
            work.forget_failure(plan, remembered)
        elif group.missing[plan.video] and (failure := work.remembered_failure(plan, remembered)):
            failures.append(failure)
    group = _after(context, group, {failure.video: failure for failure in failures})
    failed = {failure.video for failure in group.failures}
    unfailed = [plan for plan in group.plans if group.missing[plan.video] and plan.video not in failed]
    calls = [video_call(plan, _own(plan, "index"), 0, work.index_video, (plan, limits)) for plan in unfailed]
    counts = _each(context, calls, index.STAGE.resources)
    counted = {plan.video: counts[call.name] for plan, call in zip(unfailed, calls, strict=True)}
    frames = {video: count for video, count in counted.items() if not isinstance(count, Failure)}
    for video, count in frames.items():
        ahead = (stage.name for stage in PIPELINE if stage.name in group.missing[video] and stage.inputs)
        context.progress.expect(video, count, ahead)
    return replace(_after(context, group, counts), frames=frames)


@task(name="networks", **_STEP)
def networks_group(context: Context, group: Group) -> Group:
    """Run what is missing of detect, estimate, suppress and embed; the GPU's pass where pixels are looked at, else on CPUs."""
    return _segments(context, group, "networks", lambda stage: stage.images)


@task(name="track", **_STEP)
def track_group(context: Context, group: Group) -> Group:
    """Track the videos that lack it, and search the paths that their refinement looks along."""
    return _step(context, group, "track", group.lacking("track"))


@task(name="refine", **_STEP)
def refine_group(context: Context, group: Group) -> Group:
    """Refine the poses of the videos that are to be refined, and lack it, on the GPU."""
    return _segments(context, group, "refine", lambda stage: stage.resources.gpus > 0)


@task(name="publish", **_STEP)
def publish_group(context: Context, group: Group) -> Group:
    """Join what lacks it, then merge the group's videos and failures into the published tables."""
    group = _step(context, group, "publish", group.lacking("publish"))
    changed, damaged = merge(context.store, context.run, group.shard, group.finished())
    if damaged:
        group = _step(context, group, "publish", [plan for plan in group.plans if plan.video in damaged])
        more, damaged = merge(context.store, context.run, group.shard, group.finished())
        changed += more
        failed = [plan for plan in group.plans if plan.video in damaged]
        error = DamagedArtifactError("its artifacts are damaged as soon as they are written; check the store, and run again")
        group = group.with_failures([work.transient_failure(plan.source, "publish", error) for plan in failed])
    merge_failures(context.store, context.run, group.shard, group.failures)
    runs.write_failures(context.store, context.run, group.name, group.failures)
    context.retention.drop(group.plans)
    context.progress.published(len(group.sources))
    return replace(group, changed=changed)


def _submit(step: Any, name: str, context: Context, group: Group | PrefectFuture[Group]) -> PrefectFuture[Group]:
    future: PrefectFuture[Group] = step.with_options(task_run_name=f"{step.name} {name}").submit(context, group)
    return future


def _segments(context: Context, group: Group, step: str, needs_gpu: Callable[[Stage], bool]) -> Group:
    """Run a step that works on frames, on segments of long videos side by side; on the GPU where one of its stages needs that."""
    chunk_frames = context.engine.chunk_frames
    segment = chunk_frames * _SEGMENT_CHUNKS
    limits = step_limits(context.settings, step)
    calls: dict[bool, list[Call]] = {True: [], False: []}
    for plan in group.lacking(step):
        stages = [stage for stage in STEPS[step] if stage.name in group.missing[plan.video]]
        names = [stage.name for stage in stages]
        for start in range(0, group.frames[plan.video], segment):
            stop = min(start + segment, group.frames[plan.video])
            arguments = (plan, step, names, start, stop, chunk_frames, limits)
            call = video_call(plan, names, start, work.run_segment, arguments)
            calls[any(needs_gpu(stage) for stage in stages)].append(call)
    done = _each(context, calls[True], Resources(gpus=1)) | _each(context, calls[False], Resources(cpus=1))
    for plan in group.lacking(step):
        context.progress.finished(plan.video, [stage.name for stage in STEPS[step]])
    return _after(context, group, done)


_STEP_WORK = {"track": work.run_track, "publish": work.run_publish}


def _step(context: Context, group: Group, step: str, plans: Sequence[VideoPlan]) -> Group:
    """Run a CPU step of whole videos."""
    arguments = (context.engine.chunk_frames, step_limits(context.settings, step))
    calls = [video_call(plan, _own(plan, step), 0, _STEP_WORK[step], (plan, *arguments)) for plan in plans]
    results = _each(context, calls, Resources(cpus=1))
    for plan in plans:
        context.progress.finished(plan.video, [stage.name for stage in STEPS[step]])
    return _after(context, group, results)


def _own(plan: VideoPlan, step: str) -> list[str]:
    """Names of the stages of a step that a video goes through."""
    return [stage.name for stage in STEPS[step] if stage in plan.stages]


def _each(context: Context, calls: Sequence[Call], resources: Resources) -> dict[str, Any]:
    return run_all(context.client, context.run, calls, resources)


def _after(context: Context, group: Group, results: Mapping[str, Any]) -> Group:
    """The group after a step; stops the run where too many videos have failed."""
    failures = {result.video: result for result in results.values() if isinstance(result, Failure)}
    group = group.with_failures(list(failures.values()))
    limit = context.engine.max_failures
    if limit is not None and context.progress.failed(failures) > limit:
        merge_failures(context.store, context.run, group.shard, group.failures)
        runs.write_failures(context.store, context.run, group.name, group.failures)
        raise TooManyFailuresError(
            f"stopped, because more than {limit} video{'s' if limit != 1 else ''} failed (--max-failures); what is finished "
            f"stays. The last that failed: {group.failures[-1].message}"
        )
    return group


def _environment() -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version(), "torch": version("torch")},
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
