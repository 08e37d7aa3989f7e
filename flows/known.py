"""What a store, and the videos' own places, held when a run asked: listed once, as far as anyone asks, for all groups.

What changes meanwhile does no harm. Whoever runs a stage looks again at its artifact, so what another run has finished is not
computed twice; and what was there and is gone is met as damage, and computed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

from storage import tables
from storage.artifacts import closed_keys, open_keys
from storage.fingerprints import fingerprints
from storage.sources import Source
from storage.store import Store
from tasks.pipeline import PIPELINE


@dataclass(frozen=True)
class Published:
    """What the tables showed at a moment: of each video the key of the artifact that its rows come from, and what failed.

    `commits` are those that the tables had before.
    """

    keys: Mapping[str, str]
    failed: frozenset[str]
    commits: frozenset[str]
    looked: float


class Known:
    """Artifacts, remembered failures and published videos of a store, and how videos look; safe to be asked by many threads."""

    def __init__(self, store: Store, sources: Sequence[Source] = ()) -> None:
        self._store = store
        self._sources = sources
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

    def fingerprints(self) -> dict[str, str]:
        """Fingerprints, by address, of the videos that can be looked at cheaply."""
        found: dict[str, str] = self._once(("fingerprints", ""), lambda: fingerprints(self._sources))
        return found

    def published(self, since: float) -> Published:
        """What the tables showed at a moment that is not before `since`, a time of `time.monotonic()`.

        They are read again only where somebody has written to them.
        """
        with self._lock:
            if self._published is None or self._published.looked < since:
                looked = time.monotonic()
                commits = tables.commits(self._store, "videos") | tables.commits(self._store, "failures")
                if self._published is not None and self._published.commits == commits:
                    self._published = replace(self._published, looked=looked)
                else:
                    keys = tables.published_keys(self._store)
                    failed = tables.read(self._store, "failures", columns=["video"])["video"].to_pylist()
                    self._published = Published(keys, frozenset(failed), commits, looked)
            return self._published

    def _once(self, what: tuple[str, str], ask: Callable[[], Any]) -> Any:
        with self._lock:
            if what not in self._listed:
                self._listed[what] = ask()
            return self._listed[what]
