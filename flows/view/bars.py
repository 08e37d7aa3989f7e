"""Tracks as bars on a timeline. A screen has some thousand columns and some hundred rows: no more is sent than it can show.

Tracks that are never in view together share a lane, so that an hour with thousands of tracks takes as many lanes as people were
in view at once. Where a track is missed for less than a column its bar goes on, and of more bars than MAX_BARS the longest come.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from flows.view.results import PERSON, Looked
from tkm.types import Float, Int

MAX_BARS = 3000


@dataclass(frozen=True)
class Timeline:
    """The tracks of a video by place: R people in frames, sorted by track."""

    looked: Looked

    @cached_property
    def _order(self) -> Int:
        return np.lexsort((self.looked.people[:, 0], self.looked.track_id))

    @cached_property
    def _by_track(self) -> tuple[Int, Int, Float]:
        """Track id, place and pose score of everybody, by track and place."""
        people, order = self.looked.people, self._order
        return self.looked.track_id[order], people[order, 0].astype(np.int64), people[order, PERSON.index("pose_score")]

    @cached_property
    def lanes(self) -> dict[int, int]:
        """Lane of each track, from 0; those in view together have different ones."""
        track_id, place, _ = self._by_track
        edge = np.flatnonzero(np.diff(track_id, prepend=-1))
        last = place[np.append(edge[1:], len(place)) - 1] if len(edge) else place
        spans = sorted(zip(place[edge].tolist(), last.tolist(), track_id[edge].tolist(), strict=True))
        free: list[int] = []  # lanes that nobody is in
        busy: list[tuple[int, int]] = []  # last place of who is in a lane, and the lane
        lanes: dict[int, int] = {}
        for first, end, track in spans:
            while busy and busy[0][0] < first:
                heapq.heappush(free, heapq.heappop(busy)[1])
            lane = heapq.heappop(free) if free else len(busy)
            lanes[track] = lane
            heapq.heappush(busy, (end, lane))
        return lanes

    def bars(self, start: int, stop: int, columns: int, min_score: float, track: int | None) -> dict[str, Any]:
        """What a timeline of so many columns shows of the frames [start, stop).

        Counted are people whose pose scores at least `min_score`, of one track where it is given: `bars` [track id, lane, first
        place, last place], how many more there are (`left_out`), and `people`, the most in any frame of each column.
        """
        step = max(1.0, (stop - start) / columns)
        track_id, place, score = self._by_track
        wanted = (place >= start) & (place < stop) & (score >= min_score)
        if track is not None:
            wanted &= track_id == track
        track_id, place = track_id[wanted], place[wanted]
        begins = np.flatnonzero((np.diff(track_id, prepend=-1) != 0) | (np.diff(place, prepend=-1) > max(1, int(step))))
        last = place[np.append(begins[1:], len(place)) - 1] if len(begins) else place
        bars = np.stack([track_id[begins], place[begins], last], axis=1)
        left_out = max(0, len(bars) - MAX_BARS)
        if left_out:
            bars = bars[np.argsort(bars[:, 1] - bars[:, 2], kind="stable")[:MAX_BARS]]
        counts = np.bincount(place - start, minlength=stop - start)
        edges = np.unique((np.arange(columns) * step).astype(np.int64))
        people = np.maximum.reduceat(counts, edges[edges < len(counts)]) if len(counts) else counts
        return {
            "start": start,
            "stop": stop,
            "lanes": 1 + max(self.lanes.values(), default=-1),
            "bars": [[one, self.lanes[one], first, end] for one, first, end in bars.tolist()],
            "left_out": left_out,
            "people": people.tolist(),
        }
