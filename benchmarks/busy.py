"""When a worker was inside forward passes: `dask worker --preload benchmarks.busy` notes each, and who measures asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from distributed import Worker

from tkm.networks.nanodet import NanoDet
from tkm.networks.pose import PoseNetwork

_passes: list[tuple[float, float]] = []  # from when to when, by the machine's clock; lists take appends from many threads


def dask_setup(worker: Worker) -> None:  # noqa: ARG001 - Dask's signature
    """Called by Dask as the worker starts."""
    for network in (NanoDet, PoseNetwork):
        network.forward = _noted(network.forward)  # type: ignore[method-assign]
    PoseNetwork.embed = _noted(PoseNetwork.embed)  # type: ignore[method-assign]


def _noted(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def noted(*args: Any, **kwargs: Any) -> Any:
        began = time.time()
        try:
            return forward(*args, **kwargs)
        finally:
            _passes.append((began, time.time()))

    return noted


def passes() -> list[tuple[float, float]]:
    """All that were noted in this process."""
    return list(_passes)


def covered(spans: list[tuple[float, float]], start: float, stop: float) -> float:
    """Seconds of [start, stop) that at least one of the spans covers."""
    total, reached = 0.0, start
    for low, high in sorted(spans):
        low, high = max(low, reached), min(high, stop)
        if high > low:
            total, reached = total + high - low, high
    return total
