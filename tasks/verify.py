"""Verifying a store: every byte of every artifact is read, and the published tables are held against the artifacts.

Damaged chunks are withdrawn, so that the next run computes them again. Published rows that cannot be read, or are not those
of their artifact, are put right from the artifacts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from storage import runs, table_log, tables
from storage.artifacts import Artifact, DamagedArtifactError, all_keys
from storage.corrections import is_whole_correction
from storage.given import is_whole_given
from storage.schemas import FAILURES, SUSPECTS, VIDEOS, name_of
from storage.sealed import is_damaged
from storage.store import Store
from storage.weights import is_whole_weights
from tasks import publish
from tasks.merge import BATCH_ROWS, RESULTS, Finished, finished_of_run, joined, published_rows
from tasks.plan import SHARDS

_THREADS = 8  # artifacts that are read at a time
_TABLES = tuple(name_of(schema) for schema in RESULTS)
_FAILURES = "failures"
_UNREADABLE = (OSError, pa.ArrowException, DeltaError)
_Rows = Mapping[str, pa.Table]


@dataclass(frozen=True)
class StageVerified:
    """What was read of one stage, and a sentence on each damaged chunk."""

    stage: str
    artifacts: int
    chunks: int
    bytes: int
    damage: tuple[str, ...]


@dataclass(frozen=True)
class TablesVerified:
    """Published videos whose rows were compared, videos whose artifact is not there to compare with, and what was put right."""

    videos: int
    unknown: int
    damage: tuple[str, ...]


def verify_artifacts(store: Store, report: Callable[[str], object]) -> list[StageVerified]:
    """Read all artifacts, whole ones and begun ones, and withdraw what is damaged. `report` is told each stage as it begins."""
    found = []
    for stage, keys in sorted(all_keys(store).items()):
        report(stage)
        with ThreadPoolExecutor(_THREADS) as pool:
            read = list(pool.map(lambda key: _verify(Artifact(store, stage, key)), sorted(keys)))  # noqa: B023 - used at once
        found.append(
            StageVerified(
                stage=stage,
                artifacts=len(keys),
                chunks=sum(chunks for chunks, _, _ in read),
                bytes=sum(size for _, size, _ in read),
                damage=tuple(line for _, _, lines in read for line in lines),
            )
        )
    return found


def verify_given(store: Store) -> tuple[str, ...]:
    """Read all that users gave, and take away what is damaged, so that it can be given again; names of what was."""
    return tuple(name for name in store.list("given") if not is_whole_given(store, name))


def verify_weights(store: Store) -> tuple[str, ...]:
    """Read all weights files that users gave, and take away what is damaged, so that it can be given again; names of what was."""
    return tuple(name for name in store.list("weights") if not is_whole_weights(store, name))


def verify_corrections(store: Store) -> tuple[str, ...]:
    """Read all that people corrected, and take away what is damaged, so that it can be imported again; names of what was."""
    return tuple(name for name in store.list("corrections") if not is_whole_correction(store, name))


def verify_records(store: Store) -> tuple[str, ...]:
    """Read what runs have recorded, and what is remembered of videos, and take away what is damaged; a sentence on each.

    Digests of videos and failures are made anew by the next run. What a run has recorded of itself nobody else knows.
    """
    remembered = [name for name in (*store.list("digests"), *store.list("failures")) if is_damaged(store.read(name))]
    kept = (name for name in store.list("runs") if name.endswith((".json", ".parquet")))
    records = [name for name in kept if not runs.is_whole_record(store, name)]
    for name in (*remembered, *records):
        store.delete(name)
    return (
        *(f"{name}: removed; the next run makes it anew" for name in remembered),
        *(f"{name}: removed; what that run recorded there is not known any more" for name in records),
    )


def _verify(artifact: Artifact) -> tuple[int, int, list[str]]:
    """Chunks and bytes of an artifact, and what is damaged."""
    commits = artifact.damaged_commits()
    chunks = artifact.chunks()
    damage = {chunk: found for chunk in chunks if (found := artifact.damage(chunk))}
    if damage:
        artifact.withdraw_damaged(damage)
    size = sum(part.bytes for chunk in chunks for part in (chunk.part, chunk.state) if part)
    return len(chunks), size, [*commits, *damage.values()]


def verify_tables(store: Store) -> TablesVerified:
    """Compare the published tables with the artifacts, and write those shards anew that differ or cannot be read.

    A table whose log is damaged is made anew as a whole: which of its commits are to be believed nobody knows.
    """
    broken = {name: found for name in (*_TABLES, _FAILURES) if (found := _broken(store, name))}
    for name in broken:
        table_log.remove(store, name)
    tables.create_tables(store)  # also one that somebody removed is filled again
    if _FAILURES in broken:
        _tell_failures(store)
    videos, unknown, damage = 0, 0, list(broken.values())
    for shard in range(SHARDS):
        rows, trouble = _published(store, shard)
        kept = [row for row in rows if row["publish_key"]]  # the others are being replaced; the next run does it, if none goes on
        known = [video for row in kept if (video := _finished(store, row))]
        videos, unknown = videos + len(known), unknown + len(kept) - len(known)
        earlier = {row["video"] for row in kept if row["suspects"] is None}
        for is_earlier in (False, True):
            same = [one for one in known if (one[1].video in earlier) == is_earlier]
            for batch in _batches(same, {row["video"]: row["poses"] for row in kept}):
                trouble += _differences(store, batch, is_earlier=is_earlier)
        listed = {row["video"] for row in rows}
        trouble += _unlisted(store, shard, listed)
        if trouble or "videos" in broken:
            damage += [f"shard {shard}: {line}" for line in trouble]
            known += [(run, video) for run, video in _finished_of_runs(store, shard) if video.video not in listed]
            others = listed - {video.video for _, video in known}
            tables.rewrite_shard(store, shard, [*_saved(store, others), *_rebuilt(store, known)])
    return TablesVerified(videos, unknown, tuple(damage))


def _broken(store: Store, name: str) -> str | None:
    """Why a table must be made anew as a whole, if it must."""
    if found := table_log.damage(store, name):
        return found
    if name == _FAILURES:
        try:
            tables.read(store, name)
        except _UNREADABLE as error:
            return f"{name} cannot be read: {_confirmed(store, error)}"
    return None


def _confirmed(store: Store, error: Exception) -> Exception:
    """The error, if it tells of damage: StoreError where it is the store that does not answer."""
    store.reach()
    return error


def _tell_failures(store: Store) -> None:
    """Fill `failures` with what the runs recorded, of each video the latest, unless a later run has finished it."""
    latest: dict[str, dict[str, Any]] = {}
    for run in runs.all_runs(store):
        for video in finished_of_run(store, run):
            latest.pop(video.video, None)
        latest |= {failure.video: {**asdict(failure), "run": run} for failure in runs.read_failures(store, run)}
    for shard in {row["shard"] for row in latest.values()}:
        rows = [row for row in latest.values() if row["shard"] == shard]
        tables.replace_failures(store, shard, [row["video"] for row in rows], pa.Table.from_pylist(rows, schema=FAILURES))


def _published(store: Store, shard: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of `videos` of one shard, and what keeps them from being read."""
    try:
        return tables.read_shard(store, "videos", shard).to_pylist(), []
    except _UNREADABLE as error:
        return [], [f"videos cannot be read: {_confirmed(store, error)}"]


def _unlisted(store: Store, shard: int, listed: Collection[str]) -> list[str]:
    """What tells that `videos` lacks rows: a run claims its videos there before it writes anything else of them."""
    try:
        told = pc.unique(tables.read_shard(store, "frames", shard, columns=["video"])["video"]).to_pylist()
    except _UNREADABLE as error:
        return [f"frames cannot be read: {_confirmed(store, error)}"]
    lacking = sorted(set(told) - set(listed))
    return [f"videos lacks {', '.join(lacking[:5])}, which frames tells of"] if lacking else []


def _finished(store: Store, row: Mapping[str, Any]) -> tuple[str, Finished] | None:
    """Run and artifacts of a published video; None where its artifact is not whole."""
    manifest = Artifact(store, publish.STAGE.name, row["publish_key"]).manifest()
    if manifest is None:
        return None
    names = {name for name in Finished.__dataclass_fields__ if name in row}
    return row["run"], Finished(**{name: row[name] for name in names}, index_key=manifest.inputs["index"])


def _finished_of_runs(store: Store, shard: int) -> list[tuple[str, Finished]]:
    """What the runs finished, of each video the latest: what the tables hold, as far as it is known without them."""
    latest: dict[str, tuple[str, Finished]] = {}
    for run in runs.all_runs(store):
        for video in finished_of_run(store, run):
            if video.shard == shard:
                latest[video.video] = (run, video)
    return list(latest.values())


def _batches(videos: Sequence[tuple[str, Finished]], poses: Mapping[str, int]) -> Iterator[list[tuple[str, Finished]]]:
    """Videos, some at a time, so that a bounded number of rows is held."""
    batch: list[tuple[str, Finished]] = []
    for run, video in videos:
        batch.append((run, video))
        if sum(poses[finished.video] for _, finished in batch) >= BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _differences(store: Store, batch: Sequence[tuple[str, Finished]], *, is_earlier: bool) -> list[str]:
    """What of the published rows of some videos cannot be read, or is not what their artifacts hold.

    What an earlier version published has no suspects; the next run publishes them, and nothing is damaged.
    """
    try:
        expected = joined([published_rows(store, run, video) for run, video in batch])
    except DamagedArtifactError:
        return []  # withdrawn by now; the next run computes it and publishes it
    found = []
    for name in _TABLES:
        try:
            there = tables.read(store, name, videos=[video.video for _, video in batch])
        except _UNREADABLE as error:
            found.append(f"{name} cannot be read: {_confirmed(store, error)}")
            continue
        if is_earlier and name == name_of(SUSPECTS):
            continue
        told, made = (tables.as_written(name, rows) for rows in (there, expected[name]))
        if is_earlier and name == name_of(VIDEOS):
            told, made = (rows.drop_columns(["suspects"]) for rows in (told, made))
        if not told.equals(made):
            found.append(f"{name} is not what the artifacts hold of {len(batch)} videos")
    return found


def _saved(store: Store, videos: Collection[str]) -> Iterator[_Rows]:
    """Published rows of videos that no artifact tells of, as far as they can be read."""
    for video in sorted(videos):
        with suppress(*_UNREADABLE):
            yield {name: tables.read(store, name, videos=[video]) for name in _TABLES}


def _rebuilt(store: Store, videos: Sequence[tuple[str, Finished]]) -> Iterator[_Rows]:
    """Rows of videos from their artifacts. One whose artifact is damaged is left to the next run, which publishes it again."""
    for run, video in videos:
        with suppress(DamagedArtifactError):
            yield published_rows(store, run, video)
