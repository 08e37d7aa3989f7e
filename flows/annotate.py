"""annotate: from videos to tables. The DAG, a group of videos at a time:

    index -> networks (detect, estimate, suppress, embed in one pass) -> track (shots, track, paths) -> refine -> publish

A Prefect task is a step of a group; inside it each video is a Dask future on a worker that offers the step's resources.
Groups overlap: while one is tracked, the networks work on the next. What is done is asked of the store alone.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console

from flows.again import Wanted, dependents, reopen, wanted_again
from flows.cluster import connect
from flows.corrections import told_of
from flows.detections import wanted_videos
from flows.errors import ClusterLostError, TooManyFailuresError, unless
from flows.groups import Group, make_groups
from flows.progress import Progress
from flows.retention import Retention
from flows.settings import Engine, load_settings, refuse_secrets, stage_params, use_s3
from flows.signs import signs_of_life
from flows.steps import GROUP_STEPS, Context
from flows.terminal import one_line, shown
from flows.weights import check_again, chosen_params, kept_weights
from storage import runs, tables
from storage.addresses import hidden
from storage.corrections import in_force
from storage.runs import Failure, is_report
from storage.store import Store
from tasks.pipeline import STEPS
from tasks.stage import Params


@dataclass(frozen=True)
class Summary:
    """What came of a run: videos, those whose published rows changed, those that failed; and the report, if one was written.

    `applied` counts the edits of people's corrections that the videos' rows have, `unapplied` are sentences on those that they
    have not.
    """

    run: str
    root: str
    videos: int
    changed: int
    frames: Mapping[str, int]
    failures: tuple[Failure, ...]
    seconds: float
    report: str = ""
    applied: int = 0
    unapplied: tuple[str, ...] = ()


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
    summary = run_videos(store, replace(wanted, notes=(*wanted.notes, *notes)), chosen, params, facts, quiet)
    return ended(_reported(store, summary, chosen))


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
    return ended(_reported(store, run_videos(store, wanted, chosen, stage_params(chosen), facts, quiet, anew), chosen))


@flow(name="correct", task_runner=_RUNNER, validate_parameters=False)
def correct(
    output: str,
    videos: Sequence[str],
    facts: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Summary:
    """Publish the videos of these ids again with the corrections in force, as a run of its own that records `facts`.

    `settings` as for `rerun`.
    """
    refuse_secrets(settings or {})
    store, chosen = Store(output), load_settings(settings or {})
    use_s3(chosen)
    wanted = wanted_again(store, None, "correct", (), videos)
    return ended(_reported(store, run_videos(store, wanted, chosen, stage_params(chosen), facts, quiet), chosen))


def run_videos(
    store: Store,
    wanted: Wanted,
    chosen: Any,
    params: Mapping[str, Params],
    facts: Mapping[str, Any],
    quiet: bool,
    anew: Collection[str] = (),
    last: str = "publish",
    corrected: bool = True,
) -> Summary:
    """Take the videos through all steps, or to the `last` one wanted, within a flow.

    `params` are by stage, with the digests of weights, which the store has; `facts` are recorded with the run. Artifacts of the
    stages named by `anew` are withdrawn first. What people corrected holds unless the run is not to be `corrected`.
    """
    began = time.perf_counter()
    engine: Engine = chosen.engine
    for note in () if quiet else wanted.notes:
        Console(stderr=True).print(one_line(note), style="yellow", highlight=False)
    with connect(engine.dask, engine.workers) as client:
        store.check()
        run, groups = runs.new_run(store), make_groups(wanted.sources)
        runs.start_run(store, run, {**facts, "groups": len(groups), **_environment()})
        tables.create_tables(store)
        # After the run is recorded: who keeps a correction later begins the later run, and shows it.
        wanted = replace(wanted, corrections=in_force(store) if corrected else {})
        if anew:
            reopen(store, wanted, anew)
        videos = [source.video_id for source in wanted.sources]
        with signs_of_life(store, run), Progress(client, videos, quiet=quiet) as progress:
            try:
                retention = Retention(store, run, engine.keep)
                context = Context(client, store, run, chosen, params, wanted, progress, retention)
                finished = _finish(context, groups, last)
                retention.end()
                applied, unapplied = told_of(store, wanted)
            except Exception as error:
                with suppress(Exception):  # what stopped the run may be that nothing can be written
                    runs.end_run(store, run, {"stopped": hidden(str(error)), "seconds": round(time.perf_counter() - began, 1)})
                raise
    summary = Summary(
        run=run,
        root=store.root,
        videos=len(wanted.sources),
        changed=sum(group.changed for group in finished),
        frames=progress.computed,
        failures=tuple(failure for group in finished for failure in group.failures),
        seconds=time.perf_counter() - began,
        applied=applied,
        unapplied=unapplied,
    )
    runs.end_run(store, run, _outcome(summary))
    return summary


def _reported(store: Store, summary: Summary, chosen: Any) -> Summary:
    """The summary with a report's address. Results are none the worse for want of one, so it is only said where it fails."""
    if not chosen.engine.report:
        return summary
    earlier = sorted(name for name in store.list("reports") if is_report(name))
    if earlier and not summary.changed and not summary.failures:  # a look at all videos, to tell what has been told
        return replace(summary, report=f"{store.root}/{earlier[-1]}")
    try:
        return replace(summary, report=tell(store, summary.run))
    except Exception as error:
        why = f"no report: {one_line(str(error))}; `tkm report {shown(store.root)}@{summary.run}` writes it"
        Console(stderr=True).print(why, style="yellow", highlight=False)
        return summary


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def tell(store: Store, run: str) -> str:
    """Write the report of a run; its address."""
    from flows.report import write_report

    return write_report(store, run)


def _finish(context: Context, groups: Sequence[Group], last: str) -> list[Group]:
    """Take every group through all steps to the last that have something to do; groups overlap.

    What stops one is raised when the others are through.
    """
    context.groups |= {group.name: group for group in groups}
    indexed = [_submit("index", context, group.name) for group in groups]
    chains: list[list[PrefectFuture[str]]] = []
    troubles: list[Exception] = []
    for future in as_completed(indexed):
        with _kept(troubles):
            name = future.result()
            chain = [future]
            for step in _steps_to(last, context.groups[name]):
                chain.append(_submit(step, context, name, after=chain[-1]))
            if len(chain) == 1:
                context.progress.published(len(context.groups[name].sources))
            chains.append(chain)
    finished = []
    for chain in chains:
        with _kept(troubles):
            finished += [step.result() for step in chain][-1:]  # in order: the first that failed tells why
    if troubles:
        raise troubles[0]
    return [context.groups[name] for name in finished]


def _steps_to(last: str, group: Group) -> list[str]:
    """The steps that an indexed group has yet to take."""
    names = list(STEPS)
    return [step for step in group.steps() if names.index(step) <= names.index(last)]


# Steps are idempotent. A single video's trouble is no reason to repeat one: it comes back as a Failure.
_TASK: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": [1, 5, 20],
    "retry_condition_fn": unless(TooManyFailuresError, ClusterLostError),
}


@task(**_TASK)
def take(step: str, context: Context, group: str) -> str:
    """Take a group a step further. Groups go by name, for Prefect looks through all that it passes on, value by value."""
    context.groups[group] = GROUP_STEPS[step](context, context.groups[group])
    return group


def _submit(step: str, context: Context, group: str, after: PrefectFuture[str] | None = None) -> PrefectFuture[str]:
    named: Any = take.with_options(name=step, task_run_name=f"{step} {group}")
    future: PrefectFuture[str] = named.submit(step, context, after or group)
    return future


@contextmanager
def _kept(troubles: list[Exception]) -> Iterator[None]:
    """Keep what a group meets for when the others are through, but for what is the end of all."""
    try:
        yield
    except (TooManyFailuresError, ClusterLostError):
        raise
    except Exception as error:
        troubles.append(error)


def ended(summary: Summary) -> Any:
    """The state a flow ends in. Its caller gets the summary; Prefect a sentence and, where videos failed, a name to alert by."""
    failed, why = len(summary.failures), "".join(f": {failure.message}" for failure in summary.failures[:1])
    message = f"run {summary.run}: {summary.videos} videos, {summary.changed} published, {failed} failed{why}"
    return Completed(name="VideosFailed" if failed else "Completed", message=message, data=summary)


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
        "edits": {"applied": summary.applied, "not_applied": len(summary.unapplied)},
        "seconds": round(summary.seconds, 1),
    }
