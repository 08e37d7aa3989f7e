"""Calls of functions on Dask workers, and what becomes of them where a worker dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from flows.errors import ClusterLostError
from flows.work import transient_failure
from storage.runs import Failure
from storage.sources import Source
from tasks.plan import VideoPlan, shard_of
from tasks.stage import Resources

_LOST = "the Dask scheduler is gone; finished chunks are kept, run again"


@dataclass(frozen=True)
class Call:
    """A function for a worker: on which video and stage it works, and a key that equal work shares."""

    name: str
    source: Source
    stage: str
    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def video_call(
    plan: VideoPlan, stages: Sequence[str], start: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Call:
    """A call that makes (parts of) these stages' artifacts: videos of one content share its key, so that they are made once."""
    keys = "-".join(plan.keys[stage][:16] for stage in stages)
    return Call(f"{plan.video}:{start}", plan.source, stages[-1], f"{function.__name__}-{keys}-{start}", function, arguments)


def run_all(client: Client, run: str, calls: Sequence[Call], resources: Resources) -> dict[str, Any]:
    """Run calls on workers; results by name, a Failure where one could not be had.

    A call whose worker died again and again may only have kept bad company: such calls have another go one by one.
    """
    futures = {call.name: _start(client, run, call, resources) for call in calls}
    results: dict[str, Any] = {}
    suspects = []
    for call in calls:
        try:
            results[call.name] = _told_of(call, futures[call.name].result())
        except KilledWorker:
            suspects.append(call)
        except CancelledError as error:
            raise ClusterLostError(_LOST) from error
        except Exception as error:
            results[call.name] = transient_failure(call.source, call.stage, error)
    futures.clear()
    for call in suspects:
        try:
            again = replace(call, key=f"{call.key}-again")  # under its old key Dask may still hold the old answer
            results[call.name] = _told_of(call, _start(client, run, again, resources).result())
        except KilledWorker as error:
            results[call.name] = transient_failure(call.source, call.stage, error)
    return results


def run_one(
    client: Client, run: str, key: str, function: Callable[..., Any], arguments: tuple[Any, ...], resources: Resources
) -> Any:
    """What one function returns or raises on a worker, for work that is no single video's."""
    try:
        future = client.submit(function, *arguments, pure=False, resources=resources.for_dask(), key=f"{key}-{run}")
        return future.result()
    except CancelledError as error:
        raise ClusterLostError(_LOST) from error


def _start(client: Client, run: str, call: Call, resources: Resources) -> Future[Any]:
    future: Future[Any] = client.submit(
        call.function, *call.arguments, pure=False, resources=resources.for_dask(), key=f"{call.key}-{run}"
    )
    return future


def _told_of(call: Call, result: Any) -> Any:
    """A result as one of this call's video: a failure may have been met on another video of the same content."""
    if not isinstance(result, Failure) or result.uri == call.source.uri:
        return result
    video = call.source.video_id
    message = result.message.replace(result.uri, call.source.uri)
    return replace(result, video=video, uri=call.source.uri, message=message, shard=shard_of(video))
