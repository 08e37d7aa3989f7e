"""What a run spends its threads' time on beside the networks' forward passes: processor seconds of each part, in place.

Every part is timed where it is called in a real run, by the calling thread's own processor time, so that waiting for
another thread or process does not count.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any
from unittest.mock import patch

from storage.artifacts import Artifact
from tasks import detect, estimate, execute, suppress, track
from tkm.networks.nanodet import NanoDet
from tkm.networks.pose import PoseNetwork

FORWARD = ("detector's forward passes", "pose network's forward passes")
# A part, and where the functions that do it are looked up when they are called.
_PARTS: tuple[tuple[str, Any, str], ...] = (
    (FORWARD[0], NanoDet, "forward"),
    (FORWARD[1], PoseNetwork, "forward"),
    ("decode video", execute, "decode"),
    ("letterbox frames", detect, "letterbox"),
    ("standardise canvases", NanoDet, "normalise"),
    ("cut crops", estimate, "cut_crops"),
    ("poses and candidates from heatmaps", estimate, "_decode"),
    ("box suppression", detect, "box_nms"),
    ("pose suppression", suppress, "pose_nms"),
    ("matching", track, "track"),
    ("Parquet, digests, writing", Artifact, "commit"),
)
REST = "all else: tables, Python, queues"


class _Clock:
    """Processor seconds by part, from any thread."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = Lock()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted; an iterator's work is counted item by item."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self._count(part):
                result = function(*args, **kwargs)
            return self._items(part, result) if isinstance(result, Iterator) else result

        return counted

    def _items(self, part: str, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self._count(part):
                item = next(items, None)
            if item is None:
                return
            yield item

    @contextmanager
    def _count(self, part: str) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[part] += time.thread_time() - began


def thread_seconds(run: Callable[[], object]) -> dict[str, float]:
    """Processor seconds of each part of a run, and of all that is none of them."""
    clock = _Clock()
    began = time.process_time()
    with ExitStack() as patches:
        for part, owner, name in _PARTS:
            patches.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        run()
    found = {part: clock.seconds[part] for part, _, _ in _PARTS}
    return {**found, REST: time.process_time() - began - sum(found.values())}
