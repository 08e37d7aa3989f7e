"""synthesize: rendered clips with all that is true of them. A Prefect task a group of clips, a Dask future a clip, on any CPU.

What is done is asked of the store alone: a clip that is there is not made again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows.calls import Call, run_all
from flows.clip_work import STAGE, draw, source_of
from flows.clips import lacking, wanted_clips
from flows.cluster import connect
from flows.errors import ClusterLostError, unless
from flows.progress import Progress
from flows.settings import Limits, load_settings, refuse_secrets, use_s3
from storage.runs import Failure
from storage.store import Store
from tasks.stage import Resources
from tasks.synthesize import ClipOrder, Form
from tkm.synthetic.series import Series

_RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)  # each waits for its clips
_STEP: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": unless(ClusterLostError),
}
_GROUP = 16  # clips a Prefect task


@dataclass(frozen=True)
class Synthesis:
    """What came of it: clips that were wanted, those of them that were made now, and those that could not be."""

    clips: int
    made: int
    failures: tuple[Failure, ...]
    seconds: float


@flow(name="synthesize", task_runner=_RUNNER, validate_parameters=False)
def synthesize(
    output: str,
    body: str,
    series: Mapping[str, Any],
    form: Form = "mp4",
    backgrounds: str | None = None,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Synthesis:
    """Make the clips of a series that `output` lacks.

    `body` names a model in the output, see `storage.bodies.stored_body`; `series` holds what a `Series` takes; `form` is of
    their pictures; `backgrounds` names photos to put people in front of, None for made scenes; `settings` is as for `annotate`.
    """
    refuse_secrets(settings or {})
    chosen = load_settings(settings or {})
    use_s3(chosen)
    began = time.perf_counter()
    store = Store(output)
    orders = wanted_clips(store, body, Series(**{**series, "presets": tuple(series["presets"])}), form, backgrounds)
    missing = lacking(store, orders)
    engine = chosen.engine
    limits = Limits(retries=engine.retries, timeout_s=None)
    groups = [missing[start : start + _GROUP] for start in range(0, len(missing), _GROUP)]
    with (
        connect(engine.dask, engine.workers, networks=False) as client,
        Progress(client, [order.name for order in missing], quiet=quiet) as progress,
    ):
        for order in missing:
            progress.expect(order.name, order.spec.frames, (STAGE,))
        named = (draw_clips.with_options(task_run_name=f"draw {group[0].name} ...") for group in groups)
        steps = [step.submit(client, group, limits, progress) for step, group in zip(named, groups, strict=True)]
        failures = tuple(failure for step in steps for failure in step.result())
    return Synthesis(len(orders), len(missing) - len(failures), failures, time.perf_counter() - began)


@task(name=STAGE, **_STEP)
def draw_clips(client: Client, orders: Sequence[ClipOrder], limits: Limits, progress: Progress) -> list[Failure]:
    """Make some clips; those that could not be made."""
    calls = [Call(order.name, source_of(order), STAGE, f"{STAGE}-{order.key}", draw, (order, limits)) for order in orders]
    found = run_all(client, uuid.uuid4().hex[:8], calls, Resources(cpus=1))
    for order in orders:
        progress.finished(order.name, (STAGE,))
    progress.published(len(orders))
    return [result for result in found.values() if isinstance(result, Failure)]
