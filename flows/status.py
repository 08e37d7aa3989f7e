"""What of a run is done, missing or failed, and what each stage took: asked of the store, never of Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.taken import taken
from storage import runs
from storage.artifacts import closed_keys, open_keys
from storage.store import Store
from tasks.pipeline import PIPELINE


@dataclass(frozen=True)
class StageStatus:
    """A stage over all videos of a run; one that failed counts at the stage where it did, and is missing nowhere.

    Seconds and bytes are those of finished artifacts, whichever run made them; estimates where these are many.
    """

    stage: str
    done: int
    missing: int
    failed: int
    seconds: float
    bytes: int
    is_estimate: bool


@dataclass(frozen=True)
class RunStatus:
    """One run: its stages, and whether it `ended`, was `stopped` by --max-failures, or recorded no end: `running or killed`."""

    root: str
    run: str
    state: str
    started: dict[str, Any]
    ended: dict[str, Any] | None
    videos: int
    stages: tuple[StageStatus, ...]
    failures: tuple[runs.Failure, ...]


def run_status(store: Store, run: str | None) -> RunStatus:
    """Status of a run, or of the latest; StoreError where there is none.

    A stage that a finished later stage makes needless counts as done, also where its artifact has been deleted.
    """
    run = runs.find_run(store, run)
    started, ended = runs.read_facts(store, run)
    plan = runs.read_plan(store, run).to_pandas()
    failures = runs.read_failures(store, run)
    failed = {failure.video: failure.stage for failure in failures}
    videos = sorted(set(plan["video"]) | set(failed))
    stages = []
    past: set[str] = set()  # videos that a later stage has finished
    planned = set(plan["stage"])
    defaults = {stage.name: stage.Params() for stage in PIPELINE}
    for stage in reversed(PIPELINE):
        if stage.name not in planned if planned else not stage.is_active(defaults):
            continue  # not a stage of this run
        rows = plan[plan["stage"] == stage.name]
        begun, closed = open_keys(store, stage.name), closed_keys(store, stage.name)
        whole = rows[rows["key"].isin(closed)]
        took = taken(store, stage.name, set(whole["key"]))
        past |= set(whole["video"])
        # What was begun, or withdrawn because it is damaged, is computed by the next run, whatever later stages hold.
        done = past - set(rows[rows["key"].isin(begun - closed)]["video"])
        broken = {video for video, at in failed.items() if at == stage.name}
        stages.append(
            StageStatus(
                stage=stage.name,
                done=len(done),
                missing=len(set(videos) - done - set(failed)),
                failed=len(broken),
                seconds=round(took.seconds, 2),
                bytes=round(took.bytes),
                is_estimate=took.is_estimate,
            )
        )
    state = "running or killed" if ended is None else "stopped" if "stopped" in ended else "ended"
    return RunStatus(store.root, run, state, started, ended, len(videos), tuple(reversed(stages)), tuple(failures))
