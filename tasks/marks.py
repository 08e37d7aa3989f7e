"""What the runs of a store refer to, and whether that is all: what garbage collection must leave.

A run writes its plan before it looks at what is there, so whatever it found there is in its plan. While a run is at work and has
not planned all of its videos, what it will look for is not known. What the tables show is referred to also where the plan that it
comes from is gone: `tkm verify` takes a damaged one away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow.compute as pc

from storage import runs, tables
from storage.artifacts import Artifact
from storage.runs import RunState
from storage.store import Store, StoreError
from tasks import publish

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Marks:
    """What runs refer to.

    runs      those that were looked at, the oldest first
    states    of those that have not ended, by run: how far they are
    keys      of artifacts in the plan of any of the runs, or that the tables' rows rest on, by stage
    at_work   of artifacts in the plans of runs at work, by stage
    sha256    digests in their parameters, and of content that stands for a video, such as of given poses and of weights
    planning  runs at work that have not planned all of their videos
    """

    runs: tuple[str, ...]
    states: Mapping[str, RunState | None]
    keys: Mapping[str, set[str]]
    at_work: Mapping[str, set[str]]
    sha256: set[str]
    planning: tuple[str, ...]

    def still_hold(self, store: Store) -> bool:
        """Whether no run has begun since, and none that had not ended has planned more."""
        if tuple(runs.all_runs(store)) != self.runs:
            return False
        return all(_planned(runs.run_state(store, run)) == _planned(state) for run, state in self.states.items())


def read_marks(store: Store, forgotten: Collection[str], now: datetime) -> Marks:
    """What the runs of a store refer to, but for those forgotten, whose records may be there or not."""
    found = tuple(run for run in runs.all_runs(store) if run not in forgotten)
    states = {run: state for run in found if (state := runs.run_state(store, run)) is None or not state.has_ended}
    going_on = {run: state for run, state in states.items() if state and state.is_going_on(now)}
    keys: dict[str, set[str]] = {}
    at_work: dict[str, set[str]] = {}
    sha256: set[str] = set()
    for run in found:
        plan = runs.read_plan(store, run)
        for stage in pc.unique(plan["stage"]).to_pylist():
            own = plan.filter(pc.equal(plan["stage"], stage))
            of_stage = pc.unique(own["key"]).to_pylist()
            keys.setdefault(stage, set()).update(of_stage)
            if run in going_on:
                at_work.setdefault(stage, set()).update(of_stage)
            sha256.update(digest for params in pc.unique(own["params"]).to_pylist() for digest in _SHA256.findall(params))
        sha256.update(pc.unique(plan["content_sha256"]).to_pylist())
    _add_shown(store, keys, sha256)
    planning = tuple(run for run, state in sorted(going_on.items()) if not state.has_planned_all)
    return Marks(found, states, keys, at_work, sha256, planning)


def _add_shown(store: Store, keys: dict[str, set[str]], sha256: set[str]) -> None:
    """Add what the tables' rows rest on and no plan tells, as far as manifests do."""
    shown = set(tables.read(store, "videos", columns=["publish_key"])["publish_key"].to_pylist()) - {""}
    waiting = [(publish.STAGE.name, key) for key in shown]
    while waiting:
        stage, key = waiting.pop()
        if key in keys.setdefault(stage, set()):
            continue  # and so are its inputs
        keys[stage].add(key)
        manifest = Artifact(store, stage, key).manifest()
        if manifest:
            sha256.update([*manifest.weights.values(), *_SHA256.findall(json.dumps(dict(manifest.params)))])
            sha256.update(digest for name, digest in manifest.inputs.items() if name == "content")
            waiting += [(name, own) for name, own in manifest.inputs.items() if name != "content"]


def planned_keys(store: Store, found: Collection[str]) -> Iterator[dict[str, str]]:
    """Keys by stage of every video of these runs."""
    for run in found:
        videos: dict[str, dict[str, str]] = {}
        for row in runs.read_plan(store, run).select(["video", "stage", "key"]).to_pylist():
            videos.setdefault(row["video"], {})[row["stage"]] = row["key"]
        yield from videos.values()


def _planned(state: RunState | None) -> int:
    return state.planned if state else 0


def forgettable(store: Store, now: datetime, wanted: Collection[str], newest: int | None) -> list[str]:
    """Runs to forget: those wanted, and of the others all but the `newest` so many, as far as they may be forgotten.

    Raises StoreError for one that is wanted and is not there, is shown by the tables, or may be at work.
    """
    found = runs.all_runs(store)
    for run in wanted:
        runs.find_run(store, run)
    old = () if newest is None else found[: max(len(found) - newest, 0)]
    shown = {run for name in ("videos", "failures") for run in tables.read(store, name, columns=["run"])["run"].to_pylist()}
    chosen = []
    for run in (run for run in found if run in wanted or run in old):
        state = runs.run_state(store, run)
        is_going_on = state is not None and state.is_going_on(now)
        if run in wanted and run in shown:
            raise StoreError(f"run {run}: the tables show rows of it; `tkm annotate` or `tkm rerun` its videos first")
        if run in wanted and is_going_on:
            minutes = runs.QUIET.seconds // 60
            raise StoreError(f"run {run} goes on, or was killed less than {minutes} minutes ago; wait for its end")
        if run not in shown and not is_going_on:
            chosen.append(run)
    return chosen
