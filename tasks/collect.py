"""gc: what of a store nobody refers to, and removing it.

Referred to are the artifacts in the plan of any run (tasks.marks); scores and samples that were made of such; truth; weights
and given rows that a plan or a training names. Beside what is not, only what is known to be left behind goes: parts without a
commit, temporary files, uploads that never ended, old files of the tables. All else in the folder is left alone.

What a run may have begun to rely on is taken from its reach first: where one has begun meanwhile it is put back, and the rest
stays for another time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from storage import runs
from storage.artifacts import Artifact
from storage.removal import finish_retirements, retire, take_away
from storage.store import Object, Store
from storage.table_files import TABLES, old_files, remove_old_files
from storage.uploads import abort_uploads, stale_uploads
from tasks import score
from tasks.marks import Marks, forgettable, planned_keys, read_marks
from tasks.pipeline import PIPELINE
from tasks.retention import Keep, finished_keys, needless
from tasks.stray import stray_commits, stray_parts

Kind = Literal[
    "forgotten runs", "unreferenced artifacts", "artifacts not kept", "stray parts", "stray commits", "remembered failures",
    "weights", "given rows", "unfinished checkpoints", "temporary files", "stale uploads", "old table files", "rests of removals",
]  # fmt: skip
_AT_WORK = timedelta(hours=1)  # longer than anybody takes from writing a file to committing it
_BATCH = 256  # artifacts that are removed between two looks at whether a run has begun
_THREADS = 16  # it is the store that is waited for
_DERIVED = (score.STAGE.name, score.OKS.name, "samples")  # made of runs' artifacts, but planned by none
_PLANNED = tuple(stage.name for stage in PIPELINE)


@dataclass(frozen=True)
class Order:
    """What is to be collected.

    before        nothing that was written later goes, but for what `keep` does not keep; of what writers who may be at work have
                  not committed, nothing of the last hour either
    now           by which runs that are at work are told from those that were killed
    forget        runs whose records go
    keep_runs     of all other runs only so many, the newest, stay, and those that are shown or may be at work; None for all
    keep          what stays of finished videos
    is_removed    False only to look
    """

    before: datetime
    now: datetime
    forget: Sequence[str] = ()
    keep_runs: int | None = None
    keep: Keep = "all"
    is_removed: bool = False


@dataclass(frozen=True)
class Collected:
    """Objects of one kind that go, or are gone: of a stage, a table or a run where they belong to one."""

    kind: Kind
    of: str
    objects: int
    bytes: int


@dataclass(frozen=True)
class Outcome:
    """What was found, and removed where that was asked for; `held` are sentences on what stays for another time."""

    root: str
    is_removed: bool
    collected: tuple[Collected, ...]
    held: tuple[str, ...]


def collect(store: Store, order: Order, report: Callable[[str], object] = lambda _: None) -> Outcome:
    """Find, and remove where that is asked for, what nobody refers to. `report` is told of each stage as it begins.

    Raises StoreError for a run that cannot be forgotten.
    """
    forgotten = forgettable(store, order.now, order.forget, order.keep_runs)
    found = []
    for run in forgotten:
        records = store.list_objects(f"runs/{run}")
        if order.is_removed:
            runs.forget_run(store, run)
        found.append(_collected("forgotten runs", run, records))
    if order.is_removed and (rests := finish_retirements(store)).objects:
        found.append(Collected("rests of removals", "", rests.objects, rests.bytes))
    sweep = _Sweep(store, order, read_marks(store, forgotten, order.now))
    for step in sweep.steps(report):
        found += step
    return Outcome(store.root, order.is_removed, tuple(one for one in found if one.objects), tuple(sweep.held))


@dataclass
class _Sweep:
    """One pass over a store, stage by stage, so that only one stage's names are held at a time."""

    store: Store
    order: Order
    marks: Marks
    held: list[str] = field(default_factory=list)

    def steps(self, report: Callable[[str], object]) -> Iterator[list[Collected]]:
        if self.marks.planning:
            self.held.append(
                f"run {', '.join(self.marks.planning)} goes on, or was killed a few minutes ago, and has not planned all of its "
                "videos: what no run refers to, and what is not to be kept, stays until it has; run `tkm gc` again then"
            )
        not_kept = self._not_kept()
        for stage in sorted({*_PLANNED, *self.marks.keys}):
            report(stage)
            yield self._stage(stage, not_kept.get(stage, set()))
        report("all else")
        yield self._derived()
        yield self._by_name()
        yield self._left_behind()

    def _not_kept(self) -> dict[str, set[str]]:
        """Keys by stage of what is not to be kept of finished videos."""
        by_stage: dict[str, set[str]] = {}
        if self.order.keep != "all":
            videos = planned_keys(self.store, self.marks.runs)
            for stage, key in needless(videos, finished_keys(self.store), self.order.keep)[0]:
                by_stage.setdefault(stage, set()).add(key)
        return by_stage

    def _stage(self, stage: str, not_kept: Collection[str]) -> list[Collected]:
        parts = self.store.list_objects(f"artifacts/{stage}")
        chunks, manifests = self.store.list_objects(f"chunks/{stage}"), self.store.list_objects(f"manifests/{stage}")
        by_key = _by_key(chunks, manifests, parts)  # in the order in which they go
        planned = self.marks.keys.get(stage, set())
        dead = {key: names for key, names in by_key.items() if key not in planned and self._is_old(names)}
        going = {key: names for key, names in by_key.items() if key in not_kept}
        found = [
            _collected("unreferenced artifacts", stage, self._remove(stage, dead)),
            _collected("artifacts not kept", stage, self._remove(stage, going)),
        ]
        closed = {name.split("/")[2].removesuffix(".json") for name in manifests}
        resting = planned - self.marks.at_work.get(stage, set()) - set(not_kept)
        commits = {name: chunks[name] for name in stray_commits(chunks, closed & resting)}
        strays: dict[str, Object] = {}
        for key in by_key.keys() & resting:
            own = [name for name in by_key[key] if name.startswith("artifacts/")]
            strays |= {name: parts[name] for name in stray_parts(self.store, stage, key, own, is_closed=key in closed)}
        found.append(_collected("stray parts", stage, self._delete(strays)))
        found.append(_collected("stray commits", stage, self._delete(commits)))
        return found

    def _derived(self) -> list[Collected]:
        """What was made of artifacts that no run refers to any more."""
        found = []
        for stage in _DERIVED:
            by_key = _by_key(*(self.store.list_objects(f"{prefix}/{stage}") for prefix in ("chunks", "manifests", "artifacts")))
            old = [key for key, names in sorted(by_key.items()) if self._is_old(names)]
            with ThreadPoolExecutor(_THREADS) as pool:
                rests = pool.map(lambda key: self._rests_on_runs(stage, key), old)  # noqa: B023 - used at once
                dead = {key: by_key[key] for key, does_rest in zip(old, rests, strict=True) if not does_rest}
            found.append(_collected("unreferenced artifacts", stage, self._remove(stage, dead)))
        return found

    def _rests_on_runs(self, stage: str, key: str) -> bool:
        """Whether all artifacts of runs that one was made of are still referred to; True where it does not tell."""
        manifest = Artifact(self.store, stage, key).manifest()
        inputs = manifest.inputs if manifest else {}
        return all(key in self.marks.keys.get(name, ()) for name, key in inputs.items() if name in _PLANNED)

    def _by_name(self) -> list[Collected]:
        """Objects that are named by an artifact's key, or by the digest of their content."""
        failures = self.store.list_objects("failures")
        known = {f"failures/{stage}/{key}.json" for stage, keys in self.marks.keys.items() for key in keys}
        trainings = (name for name in self.store.list("training") if name.endswith("/training.json"))
        trained = "".join(self.store.read(name).decode() for name in trainings)

        def unnamed(prefix: str) -> dict[str, Object]:
            files = self.store.list_objects(prefix)
            digests = {name: name.rpartition("/")[2].partition(".")[0] for name in files}
            return {name: files[name] for name, of in digests.items() if of not in self.marks.sha256 and of not in trained}

        old_failures = {name: found for name, found in failures.items() if name not in known}
        return [
            _collected("remembered failures", "", self._delete(old_failures, is_guarded=True)),
            _collected("weights", "", self._delete(unnamed("weights"), is_guarded=True)),
            _collected("given rows", "", self._delete(unnamed("given"), is_guarded=True)),
        ]

    def _left_behind(self) -> list[Collected]:
        """What writers who were killed, and replaced rows of tables, have left."""
        training = self.store.list_objects("training")
        checkpoints = {
            name: found
            for name, found in training.items()
            if name.endswith(".pt") and name.removesuffix(".pt") + ".json" not in training
        }
        found = [
            _collected("unfinished checkpoints", "", self._delete(checkpoints)),
            _collected("temporary files", "", self._delete(self.store.leftovers())),
        ]
        uploads = stale_uploads(self.store, self._before_work)
        found.append(Collected("stale uploads", "", len(uploads), sum(upload.bytes for upload in uploads)))
        if self.order.is_removed:
            abort_uploads(self.store, uploads)
        for table in TABLES:
            files = old_files(self.store, table)
            found.append(Collected("old table files", table, len(files), sum(files.values())))
            if files and self.order.is_removed:
                remove_old_files(self.store, table)
        return found

    @property
    def _before_work(self) -> datetime:
        return min(self.order.before, self.order.now - _AT_WORK)

    def _is_old(self, names: Mapping[str, Object]) -> bool:
        return all(found.modified < self.order.before for found in names.values())

    def _remove(self, stage: str, artifacts: Mapping[str, Mapping[str, Object]]) -> dict[str, Object]:
        """Remove artifacts, by key the objects that they are made of; the objects that go."""
        if self.held or not artifacts:
            return {}
        gone: dict[str, Object] = {}
        for batch in _batches(sorted(artifacts)):
            objects = {name: found for key in batch for name, found in artifacts[key].items()}
            if self.order.is_removed:
                commits = [name for name in objects if not name.startswith("artifacts/")]
                if not self._take_away(commits):
                    break
                retire(self.store, {(stage, key) for key in batch})
            gone |= objects
        return gone

    def _delete(self, objects: Mapping[str, Object], *, is_guarded: bool = False) -> dict[str, Object]:
        """Remove those of the objects that are old; where they are guarded, only while no run may begin to rely on them."""
        before = self.order.before if is_guarded else self._before_work
        old = {name: found for name, found in objects.items() if found.modified < before}
        if is_guarded and self.held:
            return {}
        if self.order.is_removed and is_guarded:
            return {name: found for name, found in old.items() if self._take_away([name])}
        if self.order.is_removed:
            self.store.delete_all(list(old))
        return old

    def _take_away(self, names: Sequence[str]) -> bool:
        if not self.held and take_away(self.store, names, lambda: self.marks.still_hold(self.store)):
            return True
        if not self.held:
            self.held.append("a run has begun meanwhile: what else no run refers to stays for another time; run `tkm gc` again")
        return False


def _by_key(*listings: Mapping[str, Object]) -> dict[str, dict[str, Object]]:
    """Objects below chunks/<stage>, manifests/<stage> and artifacts/<stage> by the key of the artifact that they belong to."""
    by_key: dict[str, dict[str, Object]] = {}
    for listing in listings:
        for name, found in listing.items():
            by_key.setdefault(name.split("/")[2].removesuffix(".json"), {})[name] = found
    return by_key


def _batches(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))


def _collected(kind: Kind, of: str, objects: Mapping[str, Object]) -> Collected:
    return Collected(kind, of, len(objects), sum(found.bytes for found in objects.values()))
