"""Samples made ready in threads while the network is busy with those before: pictures are read and cut without Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_BATCHES = 2  # that are made ready beforehand
Key = TypeVar("Key")
Sample = TypeVar("Sample")


def loaded_ahead(load: Callable[[Key], Sample], batches: Iterable[Sequence[Key]], threads: int) -> Iterator[list[Sample]]:
    """The samples of each batch, in order; what `load` raises is raised where its batch is due."""
    pool = ThreadPoolExecutor(threads)
    pending: deque[list[Future[Sample]]] = deque()
    try:
        for batch in batches:
            pending.append([pool.submit(load, key) for key in batch])
            if len(pending) > _BATCHES:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)
