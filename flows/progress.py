"""What a person sees while a run goes on: videos, and frames of each stage with speed and time left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Any

from distributed import Client
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from flows.cluster import PROGRESS_TOPIC

_LINE_SECONDS = 10.0  # where there is no terminal, how often a line is printed


class Progress:
    """Counts what the workers report, and shows it: bars on a terminal, now and then a line elsewhere.

    computed   frames that this run computed, by stage
    """

    def __init__(self, client: Client, videos: Collection[str], *, quiet: bool) -> None:
        self.computed: Counter[str] = Counter()
        self._client = client
        self._lock = threading.Lock()
        self._failed: set[str] = set()
        self._expected: Counter[str] = Counter()
        self._frames: dict[str, int] = {}  # of a video
        self._reported: Counter[tuple[str, str]] = Counter()  # frames of a video and stage
        self._ours = frozenset(videos)  # other runs may work on the same cluster
        self._console = Console(stderr=True, quiet=quiet)
        self._bars = Bars(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._videos = self._bars.add_task("videos", total=len(videos), unit="videos", speed="")
        self._stages: dict[str, TaskID] = {}
        self._next_line = time.monotonic() + _LINE_SECONDS

    def __enter__(self) -> Progress:
        self._client.subscribe_topic(PROGRESS_TOPIC, self._on_event)
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._client.unsubscribe_topic(PROGRESS_TOPIC)

    def expect(self, video: str, frames: int, stages: Iterable[str]) -> None:
        """The length of a video is known: so many frames will go through these stages, which are shown in this order."""
        with self._lock:
            self._frames[video] = frames
            for stage in stages:
                if stage not in self._stages:
                    self._stages[stage] = self._bars.add_task(stage, total=0, unit="frames", speed="")
                self._expected[stage] += frames
                self._bars.update(self._stages[stage], total=self._expected[stage])

    def finished(self, video: str, stages: Collection[str]) -> None:
        """A video is through these stages: frames that were there already, or were given up, are left no longer."""
        with self._lock:
            for stage in (stage for stage in stages if stage in self._stages and video in self._frames):
                left = self._frames[video] - self._reported[video, stage]
                if left > 0:
                    self._bars.advance(self._stages[stage], left)
                    self._reported[video, stage] += left

    def published(self, videos: int) -> None:
        """A group of videos is through."""
        self._bars.advance(self._videos, videos)

    def failed(self, videos: Iterable[str]) -> int:
        """Some videos have failed; how many have by now."""
        with self._lock:
            self._failed.update(videos)
            return len(self._failed)

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        video, stage, frames = event[1]["video"], event[1]["stage"], event[1]["frames"]
        if video not in self._ours:
            return
        with self._lock:
            self.computed[stage] += frames
            self._reported[video, stage] += frames
            if stage in self._stages:
                bar = self._stages[stage]
                self._bars.advance(bar, frames)
                speed = next((task.speed for task in self._bars.tasks if task.id == bar), None)
                self._bars.update(bar, speed=f"{speed:.1f}/s" if speed else "")
            if not self._console.is_terminal and time.monotonic() > self._next_line:
                self._next_line = time.monotonic() + _LINE_SECONDS
                done = (f"{name} {self.computed[name]}/{self._expected[name]}" for name in self._stages)
                self._console.print(f"frames: {', '.join(done)}")
