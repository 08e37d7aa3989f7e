"""What runs on Dask workers: the steps of a video, each idempotent, each committing its own artifacts.

Only plans, limits and keys travel. What goes wrong comes back as a Failure: one that the same content meets again is
remembered in the store; one that may pass is tried again here, after a pause, before it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import Any

from distributed import get_worker
from distributed.scheduler import KilledWorker
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_random_exponential

from flows.attempts import within
from flows.cluster import PROGRESS_TOPIC
from flows.settings import Limits, StepLimits
from storage.addresses import hidden
from storage.artifacts import DamagedArtifactError
from storage.reading import LimitError
from storage.runs import Failure
from storage.sealed import DocumentError, seal, unseal
from storage.sources import Source, content_digest, fingerprint
from storage.store import StoreError
from storage.video import VideoError
from tasks.execute import Opened, Report, open_video, run_corrections, run_frames, run_given, run_in_order, run_index, run_whole
from tasks.pipeline import STEPS
from tasks.plan import ReplacedError, VideoPlan, check_unchanged, shard_of
from tasks.stage import Stage
from tkm.weights import WeightsError

_REPAIRS = 8  # damage found one after the other that one attempt repairs
_PAUSE_S = 20.0  # the longest pause between attempts
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Digest:
    """A video's content digest, with the cheap fingerprint that it stays valid for."""

    uri: str
    fingerprint: str
    content_sha256: str


def digest_video(
    source: Source, known: Digest | None, recorded: str | None, verify: bool, limits: StepLimits
) -> Digest | Failure:
    """Digest of a video's content; a known one stands while size and change time are the same, unless `verify`.

    A video that is not there has the content that an earlier run `recorded`, if one did: its artifacts may be all that is
    wanted. Otherwise, or if it is not ours to read, it is a Failure that another run may not meet: trying at once is no use.
    """

    def digest() -> Digest:
        before = fingerprint(source)
        if known is not None and known.fingerprint == before and not verify:
            return known
        content_sha256 = content_digest(source, int(limits.max_video_gb * 1e9))
        if fingerprint(source) != before:
            raise ReplacedError(f"{source.uri} changed while it was read; run again when it is complete")
        return Digest(source.uri, before, content_sha256)

    try:
        attempt = partial(within, limits.timeout_s, "--index-timeout-s", lambda _: digest())
        found: Digest = patiently(limits, attempt, (FileNotFoundError, PermissionError, LimitError))
        return found
    except FileNotFoundError as error:
        if recorded is not None:
            return Digest(source.uri, "", recorded)
        return transient_failure(source, "index", error)
    except Exception as error:
        return transient_failure(source, "index", error)


def index_video(plan: VideoPlan, limits: Limits) -> int | Failure:
    """Index a video and take what is given for it: number of its sampled frames, or why it cannot be."""
    frames = _guarded(plan, ["index"], limits, lambda report: run_index(plan, report))

    def take(stage: Stage, report: Report) -> int:
        run_given(plan, stage, report=report)
        return 0

    for stage in (stage for stage in plan.stages if stage.given):
        if not isinstance(frames, Failure):
            taken = _guarded(plan, [stage.name], limits, partial(take, stage))
            frames = taken if isinstance(taken, Failure) else frames
    return frames


def run_segment(
    plan: VideoPlan, step: str, names: Sequence[str], start: int, stop: int, chunk_frames: int, limits: Limits
) -> int | Failure:
    """Run the named stages of a step, in one pass, on the sampled frames [start, stop)."""
    stages = [stage for stage in STEPS[step] if stage.name in names]
    threads = max(1, get_worker().state.nthreads - 1)  # a worker keeps one thread for this pass itself

    def work(report: Report) -> int:
        run_frames(plan, stages, start, stop, chunk_frames=chunk_frames, threads=threads, report=report)
        return stop - start

    return _guarded(plan, names, limits, work, chunk_frames)


def run_track(plan: VideoPlan, chunk_frames: int, limits: Limits) -> int | Failure:
    """Track a whole video, after finding its shots where they are asked for, and search paths where poses are to be refined."""
    held: list[Opened] = []

    def run_stage(stage: Stage, report: Report) -> int:
        opened = held.pop() if held else open_video(plan)  # an attempt that fails leaves none to the next
        _run_stage(plan, stage, report, chunk_frames, opened)
        held.append(opened)
        return 0

    for stage in (stage for stage in STEPS["track"] if stage.name in plan.keys):
        done = _guarded(plan, [stage.name], limits, partial(run_stage, stage), chunk_frames)
        if isinstance(done, Failure):
            return done
    return 0


def run_publish(plan: VideoPlan, chunk_frames: int, limits: Limits) -> int | Failure:
    """Join a whole video's results into rows, with what people corrected."""

    def run_stage(stage: Stage, report: Report) -> int:
        _run_stage(plan, stage, report, chunk_frames)
        return 0

    for stage in (stage for stage in STEPS["publish"] if stage.name in plan.keys):
        done = _guarded(plan, [stage.name], limits, partial(run_stage, stage), chunk_frames)
        if isinstance(done, Failure):
            return done
    return 0


def transient_failure(source: Source, stage: str, error: BaseException) -> Failure:
    """A failure that another run may not meet, in a sentence."""
    message = hidden(f"{source.uri} {_reason(source, error)}")  # servers and libraries repeat what they were sent
    return Failure(source.video_id, source.uri, stage, message, False, shard_of(source.video_id))


def _reason(source: Source, error: BaseException) -> str:
    """What happened, as the end of a sentence that begins with the video."""
    if isinstance(error, LimitError):
        return str(error).removeprefix(f"{source.uri} ")
    if isinstance(error, FileNotFoundError):
        missing = str(error.filename or error)
        is_ours = missing in source.uri or source.uri in missing  # a folder's image, or a path without its scheme
        return "is not there" if is_ours else f"could not be finished: {missing} is not there; was the output removed?"
    if isinstance(error, PermissionError):
        return f"could not be finished: permission denied ({error.filename or error}); check the rights or the credentials"
    if isinstance(error, ReplacedError):
        return "was replaced or changed while it was read; run again when it is complete"
    if isinstance(error, KilledWorker):
        return "ended its worker process again and again: not enough memory, or a fault in a decoder"
    if isinstance(error, OSError) and error.strerror:
        return f"could not be finished: {error.strerror}" + (f" ({error.filename})" if error.filename else "")
    if isinstance(error, OSError | DamagedArtifactError | StoreError | WeightsError):
        return f"could not be finished: {error}"
    own = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(_ROOT)]
    place = f" (at {Path(own[-1].filename).relative_to(_ROOT)}:{own[-1].lineno})" if own else ""
    return f"could not be finished: {type(error).__name__}: {error}{place}"


def failure_name(plan: VideoPlan, stage: str) -> str:
    """Where a permanent failure of a stage is remembered: by its key, so that other content or parameters are tried anew."""
    return f"failures/{stage}/{plan.keys[stage]}.json"


def remembered_failure(plan: VideoPlan, remembered: Collection[str]) -> Failure | None:
    """The permanent failure of an earlier run on the same content and parameters, if its name is among those `remembered`."""
    for stage in plan.stages:
        name = failure_name(plan, stage.name)
        if name not in remembered:
            continue
        try:
            known = unseal(plan.store.read(name), lambda facts: Failure(**facts))
        except (FileNotFoundError, DocumentError):
            continue  # the video is tried again
        message = known.message.replace(known.uri, plan.source.uri)  # the same content may have had another name
        return Failure(plan.video, plan.source.uri, stage.name, message, True, plan.shard)
    return None


def forget_failure(plan: VideoPlan, remembered: Collection[str]) -> None:
    """Let a video that failed for good be tried again."""
    for name in {failure_name(plan, stage.name) for stage in plan.stages} & set(remembered):
        plan.store.delete(name)


def patiently(limits: Limits, attempt: Callable[[], Any], hopeless: tuple[type[Exception], ...] = ()) -> Any:
    """Try, pause, and try again, as often as the limits say; errors that waiting does not mend are raised at once."""
    retrying = Retrying(
        stop=stop_after_attempt(1 + (limits.retries or 0)),
        wait=wait_random_exponential(multiplier=1, max=_PAUSE_S),
        retry=retry_if_not_exception_type((VideoError, ReplacedError, StoreError, WeightsError, *hopeless)),
        reraise=True,
    )
    return retrying(attempt)


def _guarded(
    plan: VideoPlan, names: Sequence[str], limits: Limits, work: Callable[[Report], int], chunk_frames: int = 128
) -> int | Failure:
    """Run the named stages until they succeed or the limits are reached; a video's own fault becomes a remembered Failure."""
    tell, stage = _reporter(plan), names[0]

    def attempt(go_on: Callable[[], None]) -> int:
        def report(stage: str, frames: int) -> None:
            go_on()
            tell(stage, frames)

        return _mending(plan, names, work, report, chunk_frames)

    try:
        result: int = patiently(limits, lambda: within(limits.timeout_s, f"--{stage}-timeout-s", attempt))
        return result
    except VideoError as error:
        return _remembered(plan, stage, error)
    except Exception as error:
        return transient_failure(plan.source, stage, error)


def _remembered(plan: VideoPlan, stage: str, error: VideoError) -> Failure:
    """The failure of a video that can never be read, noted in the store, unless it is not the one that was planned any more."""
    try:
        check_unchanged(plan)
        failure = Failure(plan.video, plan.source.uri, stage, str(error), True, plan.shard)
        plan.store.write(failure_name(plan, stage), seal(asdict(failure)))
        return failure
    except Exception as trouble:
        return transient_failure(plan.source, stage, trouble)


def _mending(
    plan: VideoPlan, names: Sequence[str], work: Callable[[Report], int], report: Report, chunk_frames: int
) -> int:
    """Work; where an input turns out to be damaged, compute it again first."""
    for _ in range(_REPAIRS):
        try:
            return work(report)
        except DamagedArtifactError:
            with suppress(DamagedArtifactError):  # what is repaired may rest on more damage: next time round
                _repair(plan, names, report, chunk_frames)
    return work(report)


def _repair(plan: VideoPlan, names: Sequence[str], report: Report, chunk_frames: int) -> None:
    """Compute what is missing of the stages that these take from, wherever this happens to run: damage is rare."""
    run_index(plan, report)
    before = plan.stages[1 : [stage.name for stage in plan.stages].index(names[-1])]
    lacking = [stage for stage in before if plan.artifact(stage).manifest() is None]
    last = max((n for n, stage in enumerate(lacking) if stage.name not in names), default=-1)
    for stage in lacking[: last + 1]:  # what is damaged may take from stages that are still to come in this pass
        _run_stage(plan, stage, report, chunk_frames)


def _run_stage(plan: VideoPlan, stage: Stage, report: Report, chunk_frames: int, opened: Opened | None = None) -> None:
    if stage.in_order:
        run_in_order(plan, stage, chunk_frames=chunk_frames, report=report, opened=opened)
    elif stage.whole:
        run_whole(plan, stage, report=report, opened=opened)
    elif stage.given:
        run_given(plan, stage, report=report)
    elif stage.corrects:
        run_corrections(plan, stage, report=report, opened=opened)
    else:
        run_frames(plan, [stage], 0, None, chunk_frames=chunk_frames, threads=1, report=report, opened=opened)


def _reporter(plan: VideoPlan) -> Report:
    """A callback that tells the flow how many frames of which stage are done."""
    worker = get_worker()
    return lambda stage, frames: worker.log_event(PROGRESS_TOPIC, {"video": plan.video, "stage": stage, "frames": frames})
