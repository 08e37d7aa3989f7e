"""Runs: what each wanted, which artifacts it relies on, and how it ended. Kept under runs/<run>/ of a store.

started.json         settings, input, versions and number of groups, written before anything else
plan-<group>.parquet the keys a group of videos relies on, written before the run looks which of them are there
failures-<group>.json the videos of a group that failed in this run
alive                written again and again while the run goes on
ended.json           what came of it; missing while the run goes on, and after it was killed

Each holds a digest of what it says; StoreError where one is read that is damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.parquet import parquet_bytes, read_parquet
from storage.schemas import PLAN
from storage.sealed import DocumentError, Understood, seal, unseal
from storage.store import Store, StoreError

_STAMP = "%Y%m%d-%H%M%S"
_ROWS_SHA256 = b"rows_sha256"
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
_SHARD = re.compile(r"/plan-(\d\d)-\d{4,}\.parquet$")
BEAT_S = 30.0  # between two signs of life
QUIET = timedelta(minutes=10)  # a run that has not ended and gives no sign for so long was killed


@dataclass(frozen=True)
class Failure:
    """A video that could not be finished: which, at which stage, why, and whether the same content fails again."""

    video: str
    uri: str
    stage: str
    message: str
    is_permanent: bool
    shard: int


@dataclass(frozen=True)
class RunState:
    """How far a run is, by its records: how many groups it has, None where it does not tell, and how many of them are planned.

    has_ended is also True of a run whose process is known to have been killed, because it ran on this machine.
    """

    run: str
    groups: int | None
    planned: int
    has_ended: bool
    last_sign: datetime

    def is_going_on(self, now: datetime) -> bool:
        """Whether it may be at work. One that was killed elsewhere counts as at work until it has been quiet for long enough."""
        return not self.has_ended and now - self.last_sign < QUIET

    @property
    def has_planned_all(self) -> bool:
        """Whether it will look for no artifact that its plan does not name."""
        return self.has_ended or self.planned == self.groups


def new_run(store: Store) -> str:
    """A run's id: its start in UTC and six random digits. Ids sort by time, also where clocks disagree or a second is short."""
    start = datetime.now(UTC).replace(microsecond=0)
    for latest in all_runs(store)[-1:]:
        start = max(start, datetime.strptime(latest[:15], _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1))
    return f"{start:{_STAMP}}-{uuid.uuid4().hex[:6]}"


def split_address(address: str) -> tuple[str, str | None]:
    """Root and run of `URI` or `URI@RUN`. An @ inside a folder's name stays part of the root."""
    root, _, run = address.rpartition("@")
    return (root, run) if root and _RUN.fullmatch(run) else (address, None)


def start_run(store: Store, run: str, facts: Mapping[str, Any]) -> None:
    """Record what a run is about to do, and which process does it."""
    process = {"machine": _machine(), "pid": os.getpid()}
    store.write(f"runs/{run}/started.json", seal({**facts, "process": process}))


def write_plan(store: Store, run: str, group: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record the artifacts that a group of videos relies on (columns of schemas.PLAN)."""
    table = pa.Table.from_pylist(list(rows), schema=PLAN)
    table = table.replace_schema_metadata({**(PLAN.metadata or {}), _ROWS_SHA256: _rows_sha256(table)})
    store.write(f"runs/{run}/plan-{group}.parquet", parquet_bytes(table))


def write_failures(store: Store, run: str, group: str, failures: Sequence[Failure]) -> None:
    """Record the videos of a group that failed, if any did."""
    if failures:
        store.write(f"runs/{run}/failures-{group}.json", seal({"failures": [asdict(failure) for failure in failures]}))


def read_failures(store: Store, run: str) -> list[Failure]:
    """The videos that failed in a run."""
    names = [name for name in store.list(f"runs/{run}") if name.split("/")[-1].startswith("failures-")]
    return [failure for name in names for failure in _read(store, name, _failures)]


def end_run(store: Store, run: str, facts: Mapping[str, Any]) -> None:
    """Record what came of a run."""
    store.write(f"runs/{run}/ended.json", seal(facts))
    store.delete(f"runs/{run}/alive")


def give_sign(store: Store, run: str) -> None:
    """Tell that a run goes on: at least every BEAT_S seconds, or it is taken for one that was killed."""
    store.write(f"runs/{run}/alive", b"")


def run_state(store: Store, run: str) -> RunState | None:
    """How far a run is; None where its record is gone."""
    objects = store.list_objects(f"runs/{run}")
    names = {name.rsplit("/", 1)[1] for name in objects}
    if "started.json" not in names:
        return None
    facts, _ = read_facts(store, run)
    return RunState(
        run=run,
        groups=facts.get("groups"),
        planned=sum(name.startswith("plan-") for name in names),
        has_ended="ended.json" in names or _was_killed(facts.get("process")),
        last_sign=max(found.modified for found in objects.values()),
    )


def _machine() -> str:
    """Names a machine, and a container on it, from one start to the next: process ids mean something there only."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text().strip() if boot.exists() else ''}"


def _was_killed(process: Mapping[str, Any] | None) -> bool:
    """Whether a process ran on this machine and does not any more."""
    if process is None or process["machine"] != _machine():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's
        return False
    return False


def report_name(run: str) -> str:
    """Name below the root of a run's report."""
    return f"reports/{run}.html"


def is_report(name: str) -> bool:
    """Whether a name below the root is that of a run's report."""
    return name == report_name(name.rpartition("/")[2].removesuffix(".html")) and _RUN.search(name) is not None


def forget_run(store: Store, run: str) -> int:
    """Remove a run's report and records, how it started last, so that one who is killed here can do it again; their bytes."""
    store.delete(report_name(run))
    objects = store.list_objects(f"runs/{run}")
    started = f"runs/{run}/started.json"
    store.delete_all([name for name in objects if name != started])
    store.delete_folder(f"runs/{run}")
    return sum(found.bytes for found in objects.values())


def all_runs(store: Store) -> list[str]:
    """Ids of all runs, oldest first."""
    return sorted(name for name in store.folders("runs") if _RUN.fullmatch(name))


def find_run(store: Store, run: str | None) -> str:
    """The run of that id, or the latest; StoreError, naming the runs there are, where there is none."""
    runs = all_runs(store)
    if not runs:
        raise StoreError(f"{store.root} holds no run; make one with `tkm annotate INPUT --output {store.root}`")
    if run is None:
        return runs[-1]
    if run not in runs:
        raise StoreError(f"{store.root} holds no run {run}; its runs are {', '.join(runs[-10:])}")
    return run


def read_plan(store: Store, run: str, shard: int | None = None) -> pa.Table:
    """Planned artifacts of a run (schemas.PLAN), all or those of the videos of one shard."""
    names = [name for name in store.list(f"runs/{run}") if name.endswith(".parquet")]
    if shard is not None:  # the names of groups tell their shards, so most files need not be read
        names = [name for name in names if (told := _SHARD.search(name)) is None or int(told[1]) == shard]
    tables = [_plan(store, name) for name in names]
    plan = pa.concat_tables(tables) if tables else PLAN.empty_table()
    return plan if shard is None else plan.filter(pc.equal(plan["shard"], shard))


def read_facts(store: Store, run: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a run recorded at its start, nothing where that is gone, and at its end; None for one that goes on or was killed."""
    started, ended = (_facts(store, f"runs/{run}/{name}.json") for name in ("started", "ended"))
    return started or {}, ended


def is_whole_record(store: Store, name: str) -> bool:
    """Whether an object under runs/ is what was written."""
    try:
        if name.endswith(".parquet"):
            _plan(store, name)
        else:
            _read(store, name, _failures if name.split("/")[-1].startswith("failures-") else dict)
    except StoreError:
        return False
    return True


def _facts(store: Store, name: str) -> dict[str, Any] | None:
    try:
        return _read(store, name, dict)
    except FileNotFoundError:
        return None


def _failures(value: Any) -> list[Failure]:
    rows = value if isinstance(value, list) else value["failures"]  # a list by itself is of an earlier version
    return [Failure(**row) for row in rows]


def _read(store: Store, name: str, understand: Callable[[Any], Understood]) -> Understood:
    try:
        return unseal(store.read(name), understand)
    except DocumentError as error:
        raise _damaged(store, name, str(error)) from error


def _plan(store: Store, name: str) -> pa.Table:
    data = store.read(name)
    try:
        table = read_parquet(data)
        sha256 = (table.schema.metadata or {}).get(_ROWS_SHA256)  # earlier versions wrote none
        if sha256 is not None and sha256.decode() != _rows_sha256(table):
            raise _damaged(store, name, "has other rows than were written")
        return table.cast(PLAN)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(store, name, f"cannot be read: {error}") from error


def _rows_sha256(table: pa.Table) -> str:
    columns = [table[name].to_pylist() for name in PLAN.names]
    return hashlib.sha256(json.dumps(columns).encode()).hexdigest()


def _damaged(store: Store, name: str, why: str) -> StoreError:
    why = " ".join(why.split())  # what Thrift says ends a line
    return StoreError(f"{store.root}/{name} {why}: it is damaged; `tkm verify {store.root}` puts right what can be")
