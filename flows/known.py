"""What a store held when a run asked: listed once, as far as anyone asks, and shared by all groups of the run.

What changes meanwhile does no harm. Whoever runs a stage looks again at its artifact, so what another run has finished is not
computed twice; and what was there and is gone is met as damage, and computed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

from storage import tables
from storage.artifacts import closed_keys, open_keys
from storage.store import Store
from tasks.pipeline import PIPELINE


@dataclass(frozen=True)
class Published:
    """What the tables showed at a moment: of each video the key of the artifact that its rows come from, and what failed."""

    keys: Mapping[str, str]
    failed: frozenset[str]
    looked: float


class Known:
    """Artifacts, remembered failures and published videos of a store; safe to be asked by many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = RLock()
        self._listed: dict[tuple[str, str], Any] = {}
        self._published: Published | None = None

    def begun(self, stage: str) -> set[str]:
        """Keys of the artifacts of a stage that are begun, or partly withdrawn, and not whole."""
        keys: dict[str, set[str]] = self._once(
            ("begun", ""), lambda: {stage.name: open_keys(self._store, stage.name) for stage in PIPELINE}
        )
        return keys[stage]

    def closed(self, stage: str) -> set[str]:
        """Keys of the whole artifacts of a stage."""
        self.begun(stage)  # first: what is closed in between is then in both
        keys: set[str] = self._once(("closed", stage), lambda: closed_keys(self._store, stage))
        return keys

    def failures(self) -> set[str]:
        """Names of the failures that are remembered."""
        names: set[str] = self._once(("failures", ""), lambda: set(self._store.list("failures")))
        return names

    def published(self, since: float) -> Published:
        """What the tables showed at a moment that is not before `since`, a time of `time.monotonic()`."""
        with self._lock:
            if self._published is None or self._published.looked < since:
                looked = time.monotonic()
                keys = tables.published_keys(self._store)
                failed = tables.read(self._store, "failures", columns=["video"])["video"].to_pylist()
                self._published = Published(keys, frozenset(failed), looked)
            return self._published

    def _once(self, what: tuple[str, str], ask: Callable[[], Any]) -> Any:
        with self._lock:
            if what not in self._listed:
                self._listed[what] = ask()
            return self._listed[what]
