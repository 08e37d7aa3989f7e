"""`--keep` in a run: as groups are published, what is not kept of their videos goes, unless somebody still needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from threading import Lock

from storage import runs
from storage.removal import finish_retirements
from storage.store import Store
from tasks.marks import planned_keys
from tasks.plan import VideoPlan
from tasks.retention import Keep, finished_keys, needless, remove

_Key = tuple[str, str]  # stage and key of an artifact


class Retention:
    """Which artifacts the unfinished videos of a run, and of runs at work beside it, need, and the removal of the others.

    Groups tell it their plans before they look at what is there, so that what one has found there no other removes.
    """

    def __init__(self, store: Store, run: str, keep: Keep) -> None:
        self._store, self._run, self._keep = store, run, keep
        self._lock = Lock()
        self._open: dict[str, VideoPlan] = {}  # by video, those that are not finished
        self._needed: Counter[_Key] = Counter()
        self._held: list[VideoPlan] = []  # finished ones whose artifacts another run may need
        self._ended: set[str] = set()  # runs that need not be looked at again
        if keep != "all":
            finish_retirements(store)

    def begin(self, plans: Sequence[VideoPlan]) -> None:
        """Know what a group's videos need, and remove what an earlier run has left of those that are finished."""
        if self._keep == "all":
            return
        with self._lock:
            for plan in plans:
                if plan.video not in self._open:
                    self._open[plan.video] = plan
                    self._needed.update(plan.keys.items())
        self.drop(plans)

    def drop(self, plans: Sequence[VideoPlan]) -> None:
        """Remove what is not kept of those of the videos that are finished; the others still need all of it."""
        if self._keep == "all":
            return
        with self._lock:
            finished = finished_keys(self._store)
            for plan in plans:
                if plan.keys["publish"] in finished and plan.video in self._open:
                    self._needed.subtract(self._open.pop(plan.video).keys.items())
            self._needed += Counter()  # what nobody needs any more is no longer held
            going, _ = needless((plan.keys for plan in plans), finished, self._keep)
            needed_elsewhere = self._needed_elsewhere(finished) if going else set()
            if needed_elsewhere is None:
                self._held += plans
            else:
                remove(self._store, going - self._needed.keys() - needed_elsewhere)

    def end(self) -> None:
        """Remove what had to wait for another run to plan, if that has."""
        held, self._held = self._held, []
        self.drop(held)

    def _needed_elsewhere(self, finished: Collection[str]) -> set[_Key] | None:
        """Artifacts that unfinished videos of other runs at work need; None where one has not planned all of its videos."""
        needed: set[_Key] = set()
        for run in runs.all_runs(self._store):
            if run == self._run or run in self._ended:
                continue
            state = runs.run_state(self._store, run)
            if state is None or not state.is_going_on(datetime.now(UTC)):
                self._ended.add(run)
                continue
            if not state.has_planned_all:
                return None
            needed |= needless(planned_keys(self._store, [run]), finished, self._keep)[1]
        return needed
