"""The steps that a run takes its groups of videos through: functions from a group to the group, one step further.

Inside a step each video is a Dask future on a worker that offers the step's resources.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from distributed import Client

from flows import work
from flows.again import Wanted
from flows.calls import Call, run_all, run_one, video_call
from flows.errors import TooManyFailuresError
from flows.groups import Group, read_digests, with_missing, write_digests
from flows.known import Known, Published
from flows.progress import Progress
from flows.retention import Retention
from flows.settings import Engine, step_limits
from storage import runs
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


class Context:
    """What every step of a run needs. Stays in the flow's process.

    groups   by name, as far as they have come
    scribe   the one thread that writes plans: Arrow keeps what it has freed by thread, 15 MB of each that writes

    No dataclass: Prefect would look through all of it, every video's address, at each task.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        run: str,
        settings: Any,
        params: Mapping[str, Params],
        wanted: Wanted,
        progress: Progress,
        retention: Retention,
    ) -> None:
        self.client, self.store, self.run, self.settings = client, store, run, settings
        self.params, self.wanted, self.progress, self.retention = params, wanted, progress, retention
        self.known = Known(store, wanted.sources)
        self.groups: dict[str, Group] = {}
        self.scribe = ThreadPoolExecutor(1, thread_name_prefix="scribe")

    @property
    def engine(self) -> Engine:
        """How the run is carried out."""
        engine: Engine = self.settings.engine
        return engine

    def plan(self, source: Source, digest: work.Digest) -> VideoPlan:
        """A video's keys: under the settings of this run and what is given for it, or under those of the run that is repeated."""
        params = self.wanted.params(source, self.params)
        return plan_video(self.store, source, digest.content_sha256, params, digest.fingerprint)


def index_group(context: Context, group: Group) -> Group:
    """Digest every video, plan its keys, record the plan, and index what has no index."""
    known = read_digests(context.store, group)
    limits = step_limits(context.settings, "index")
    known_by_poses = [source for source in group.sources if source.kind == "poses"]
    by_poses = {source.uri: work.Digest(source.uri, "", context.wanted.poses_sha256(source)) for source in known_by_poses}
    looked_at = {} if context.engine.verify or not known else context.known.fingerprints()
    unchanged = {uri: one for uri, one in known.items() if uri in looked_at and looked_at[uri] == one.fingerprint}
    there = by_poses | unchanged
    digests = there | _each(
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
            if source.uri not in there
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
    context.scribe.submit(lambda: runs.write_plan(context.store, context.run, group.name, group.plan_rows())).result()
    context.retention.begin(plans)
    group = with_missing(group, plans, context.known)
    planned = time.monotonic()  # from now on runs that began earlier leave alone what this one finds published
    remembered = context.known.failures()
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
    group = replace(_after(context, group, counts), frames=frames)
    return replace(group, unpublished=_unpublished(group, context.known.published(planned)))


def _unpublished(group: Group, shown: Published) -> frozenset[str]:
    """Videos of which the tables show other rows than those that are wanted, or that they failed."""
    finished = group.finished()
    return frozenset(one.video for one in finished if shown.keys.get(one.video) != one.publish_key or one.video in shown.failed)


def networks_group(context: Context, group: Group) -> Group:
    """Run what is missing of detect, estimate, suppress and embed; the GPU's pass where pixels are looked at, else on CPUs."""
    return _segments(context, group, "networks", lambda stage: stage.images)


def track_group(context: Context, group: Group) -> Group:
    """Track the videos that lack it, and search the paths that their refinement looks along."""
    return _step(context, group, "track", group.lacking("track"))


def refine_group(context: Context, group: Group) -> Group:
    """Refine the poses of the videos that are to be refined, and lack it, on the GPU."""
    return _segments(context, group, "refine", lambda stage: stage.resources.gpus > 0)


def publish_group(context: Context, group: Group) -> Group:
    """Join what lacks it, then merge the group's videos and failures into the published tables."""
    group = _step(context, group, "publish", group.lacking("publish"))
    changed, damaged = _merge(context, group, "merge")
    if damaged:
        group = _step(context, group, "publish", [plan for plan in group.plans if plan.video in damaged])
        more, damaged = _merge(context, group, "merge-again")
        changed += more
        failed = [plan for plan in group.plans if plan.video in damaged]
        error = DamagedArtifactError("its artifacts are damaged as soon as they are written; check the store, and run again")
        group = group.with_failures([work.transient_failure(plan.source, "publish", error) for plan in failed])
    merge_failures(context.store, context.run, group.shard, group.failures)
    runs.write_failures(context.store, context.run, group.name, group.failures)
    context.retention.drop(group.plans)
    context.progress.published(len(group.sources))
    return replace(group, changed=changed)


def _merge(context: Context, group: Group, name: str) -> tuple[int, list[str]]:
    """Merge what is finished and not shown yet, on a worker: rows do not pass through the flow's process."""
    finished = [one for one in group.finished() if one.video in group.unpublished]
    arguments = (context.store, context.run, group.shard, finished)
    merged: tuple[int, list[str]] = run_one(
        context.client, context.run, f"{name}-{group.name}", merge, arguments, Resources(cpus=1)
    )
    return merged


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


GROUP_STEPS: dict[str, Callable[[Context, Group], Group]] = {
    "index": index_group,
    "networks": networks_group,
    "track": track_group,
    "refine": refine_group,
    "publish": publish_group,
}
