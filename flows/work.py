"""What runs on Dask workers: the steps of a video, each idempotent, each committing its own artifacts.

Only plans and keys travel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

from distributed import get_worker

from flows.cluster import PROGRESS_TOPIC
from storage.artifacts import DamagedArtifactError
from storage.runs import Failure
from storage.sources import Source, content_digest, fingerprint
from storage.video import VideoError
from tasks.execute import Report, run_frames, run_in_order, run_index, run_whole, timeline
from tasks.pipeline import STEPS
from tasks.plan import VideoPlan, shard_of
from tasks.stage import Stage

_REPAIRS = 8  # damage found one after the other that one attempt repairs


@dataclass(frozen=True)
class Digest:
    """A video's content digest, with the cheap fingerprint that it stays valid for."""

    uri: str
    fingerprint: str
    content_sha256: str


def digest_video(source: Source, known: Digest | None, verify: bool) -> Digest | Failure:
    """Digest of a video's content; a known one stands while size and change time are the same, unless `verify`.

    A video that is not there, or not ours to read, is a Failure that another run may not meet: trying at once is no use.
    """
    try:
        current = fingerprint(source)
        if known is not None and known.fingerprint == current and not verify:
            return known
        return Digest(source.uri, current, content_digest(source))
    except FileNotFoundError:
        return _unread(source, "is not there")
    except PermissionError:
        return _unread(source, "may not be read; check its rights or the credentials")


def _unread(source: Source, why: str) -> Failure:
    return Failure(source.video_id, source.uri, "index", f"{source.uri} {why}", False, shard_of(source.video_id))


def index_video(plan: VideoPlan) -> int | Failure:
    """Index a video: number of its sampled frames, or why it cannot be."""
    return _guarded(plan, "index", lambda: run_index(plan, _reporter(plan)))


def run_networks(plan: VideoPlan, names: Sequence[str], start: int, stop: int, chunk_frames: int) -> int | Failure:
    """Detect, estimate and suppress, those of them named, on the sampled frames [start, stop)."""
    stages = [stage for stage in STEPS["networks"] if stage.name in names]

    def work() -> int:
        threads = max(1, get_worker().state.nthreads - 1)  # a worker keeps one thread for this pass itself
        run_frames(plan, stages, start, stop, chunk_frames=chunk_frames, threads=threads, report=_reporter(plan))
        return stop - start

    return _guarded(plan, stages[0].name, work, chunk_frames)


def run_track(plan: VideoPlan, chunk_frames: int) -> int | Failure:
    """Track a whole video, after finding its shots where they are asked for."""

    def run_stage(stage: Stage) -> int:
        _run_stage(plan, stage, len(timeline(plan).frames), chunk_frames)
        return 0

    for stage in (stage for stage in STEPS["track"] if stage.name in plan.keys):
        done = _guarded(plan, stage.name, partial(run_stage, stage), chunk_frames)
        if isinstance(done, Failure):
            return done
    return 0


def run_publish(plan: VideoPlan, chunk_frames: int) -> int | Failure:
    """Join a whole video's results into rows."""

    def work() -> int:
        stop = len(timeline(plan).frames)
        run_frames(plan, STEPS["publish"], 0, stop, chunk_frames=chunk_frames, threads=1, report=_reporter(plan))
        return 0

    return _guarded(plan, "publish", work, chunk_frames)


def failure_name(plan: VideoPlan, stage: str) -> str:
    """Where a permanent failure of a stage is remembered: by its key, so that other content or parameters are tried anew."""
    return f"failures/{stage}/{plan.keys[stage]}.json"


def remembered_failure(plan: VideoPlan, remembered: Collection[str]) -> Failure | None:
    """The permanent failure of an earlier run on the same content and parameters, if its name is among those `remembered`."""
    for stage in plan.stages:
        name = failure_name(plan, stage.name)
        if name not in remembered:
            continue
        facts: Mapping[str, str] = json.loads(plan.store.read(name))
        message = facts["message"].replace(facts["uri"], plan.source.uri)  # the same content may have had another name
        return Failure(plan.video, plan.source.uri, stage.name, message, True, plan.shard)
    return None


def forget_failure(plan: VideoPlan, remembered: Collection[str]) -> None:
    """Let a video that failed for good be tried again."""
    for name in {failure_name(plan, stage.name) for stage in plan.stages} & set(remembered):
        plan.store.delete(name)


def _guarded(plan: VideoPlan, stage: str, work: Callable[[], int], chunk_frames: int = 128) -> int | Failure:
    """Run, turning a video's own fault into a remembered Failure; a damaged input is computed again, then the work."""
    try:
        for _ in range(_REPAIRS):
            try:
                return work()
            except DamagedArtifactError:
                with suppress(DamagedArtifactError):  # what is repaired may rest on more damage: next time round
                    _repair(plan, stage, chunk_frames)
        return work()
    except VideoError as error:
        failure = Failure(plan.video, plan.source.uri, stage, str(error), True, plan.shard)
        plan.store.write(failure_name(plan, stage), json.dumps(asdict(failure), indent=1).encode())
        return failure


def _repair(plan: VideoPlan, before: str, chunk_frames: int) -> None:
    """Compute what is missing of the stages before one, wherever this happens to run: damage is rare."""
    run_index(plan, _reporter(plan))
    stop = len(timeline(plan).frames)
    for stage in plan.stages[1:]:
        if stage.name == before:
            return
        if plan.artifact(stage).manifest() is None:
            _run_stage(plan, stage, stop, chunk_frames)


def _run_stage(plan: VideoPlan, stage: Stage, stop: int, chunk_frames: int) -> None:
    report = _reporter(plan)
    if stage.in_order:
        run_in_order(plan, stage, chunk_frames=chunk_frames, report=report)
    elif stage.whole:
        run_whole(plan, stage, report=report)
    else:
        run_frames(plan, [stage], 0, stop, chunk_frames=chunk_frames, threads=1, report=report)


def _reporter(plan: VideoPlan) -> Report:
    """A callback that tells the flow how many frames of which stage are done."""
    worker = get_worker()
    return lambda stage, frames: worker.log_event(PROGRESS_TOPIC, {"video": plan.video, "stage": stage, "frames": frames})
