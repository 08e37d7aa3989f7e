"""The published tables: Delta Lake under tables/, atomic and versioned, partitioned by shard, each holding every video's latest.

Videos are replaced within their shard, so that annotating two more merges them in. Each table is atomic, all
together are not, so a run claims its videos first: their rows in `videos` name the run and no artifact. Then the other
tables are written, then `videos` again, with the artifact that the rows come from. Whoever is killed in between leaves a
claim, which the next run sees. Of two runs at once the one that began later wins: a commit is tried again where another
one came between, and a run leaves alone what a later one has claimed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial, reduce
from operator import and_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.fs import SubTreeFileSystem
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from storage import s3
from storage.addresses import hidden
from storage.evaluation_schemas import EVALUATED
from storage.learning_schemas import TRAINED
from storage.schemas import PUBLISHED, describe, name_of, with_columns
from storage.store import Store, StoreError

_DATA = ("frames", "poses", "tracks", "suspects", "corrections")
_SORT = {
    "frames": ("video", "frame"), "poses": ("video", "frame", "track_id"), "tracks": ("video", "track_id"),
    "suspects": ("video", "suspect"), "corrections": ("video", "created", "correction", "edit"),
    "truth_frames": ("video", "frame"), "truth_poses": ("video", "frame", "person"),
    "scores": ("evaluation", "metric", "joint"), "scores_by_video": ("evaluation", "video", "metric", "joint"),
    "trainings": ("training", "epoch", "split", "metric"),
}  # fmt: skip
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_FILES_A_SHARD = 8  # more small files than this are compacted
_SECONDS = 120.0  # for commits that others keep coming between
# A query of one video reads whole row groups of its shard: of these few enough rows for that, and enough for those of everything.
_WRITER = WriterProperties(compression="ZSTD", max_row_group_size=32 * 1024)


def is_id(text: str) -> bool:
    """Whether a text is safe in SQL and as the name of a file, as are the ids of videos, runs, evaluations and trainings."""
    return _SAFE_ID.fullmatch(text) is not None


def table_uri(store: Store, name: str) -> str:
    """Address of a published table, for `DeltaTable` and any other reader. StoreError where it leads out of the store."""
    store.path(f"tables/{name}")
    return f"{store.root}/tables/{name}"


def storage_options(store: Store) -> dict[str, str] | None:
    """What delta-rs needs for a store, made anew for each use; secrets are in it. StoreError where S3 cannot be used."""
    if not s3.is_s3(store.root):
        return None
    try:
        return s3.delta_options()
    except s3.S3Error as error:
        raise StoreError(f"cannot use {store.root}: {error}") from None


@contextmanager
def _without_secrets() -> Iterator[None]:
    """What delta-rs raises, without the credentials in it: it repeats a server's answer, and that repeats what it was sent."""
    try:
        yield
    except (DeltaError, OSError) as error:
        if hidden(str(error)) == str(error):
            raise
        raise type(error)(hidden(str(error))) from None


def open_table(store: Store, name: str) -> DeltaTable | None:
    """A published table, None where nothing has been published."""
    try:
        return _opened(store, name)
    except TableNotFoundError:
        return None


def commits(store: Store, name: str) -> frozenset[str]:
    """Names of the commits that a published table has: others than before, where anybody has written to it."""
    return frozenset(store.list(f"tables/{name}/_delta_log"))


@_without_secrets()
def read(
    store: Store,
    name: str,
    *,
    videos: Collection[str] | None = None,
    frames: Collection[int] | None = None,
    shard: int | None = None,
    columns: list[str] | None = None,
) -> pa.Table:
    """Rows of a published table, of all videos and frames or of some, in order; an empty table where nothing was published.

    Where the videos' shard is known, as `videos` tells it, no other is looked at.
    """
    table = open_table(store, name)
    if table is None:
        empty = _schema(name).empty_table()
        return empty.select(columns) if columns else empty
    wanted = [] if videos is None else [_among(videos)]
    if frames is not None:
        wanted.append(pc.field("frame").isin(pa.array(sorted(frames), pa.int64())))
    if shard is not None:
        wanted.append(pc.field("shard") == shard)
    rows = table.to_pyarrow_table(filters=reduce(and_, wanted) if wanted else None, columns=columns)
    order = [(key, "ascending") for key in _SORT.get(name, ("video",)) if key in rows.column_names]
    return rows.sort_by(order) if order else rows


@_without_secrets()
def dataset(store: Store, name: str) -> ds.Dataset:
    """A published table as it is now, as an Arrow dataset: a scan reads the files, row groups and columns that it asks for.

    TableNotFoundError where nothing has been published.
    """
    # Arrow's own reader of S3 is three times as fast as delta-rs's, which in folders refuses files that lie outside.
    where = SubTreeFileSystem(store.path(f"tables/{name}"), store.arrow_filesystem()) if s3.is_s3(store.root) else None
    return _opened(store, name).to_pyarrow_dataset(filesystem=where)


@_without_secrets()
def count(store: Store, name: str) -> int:
    """Rows of a published table, by its log alone. TableNotFoundError as in `dataset`."""
    return int(_opened(store, name).count())


@_without_secrets()
def read_shard(store: Store, name: str, shard: int, *, columns: list[str] | None = None) -> pa.Table:
    """Rows of one shard of a published table."""
    return _opened(store, name).to_pyarrow_table(filters=pc.field("shard") == shard, columns=columns)


def as_written(name: str, rows: pa.Table) -> pa.Table:
    """Rows of a table with the types and in the order in which they are published; columns that they lack are null."""
    # Without comments: where their wording has changed since a table was made, Delta refuses to bring both together.
    rows = with_columns(rows, _schema(name)).cast(_plain(_schema(name))).replace_schema_metadata(None)
    rows = rows.cast(pa.schema([field.remove_metadata() for field in rows.schema]))
    return rows.sort_by([(key, "ascending") for key in _SORT.get(name, ("video",))])


def published_keys(store: Store, *, videos: Collection[str] | None = None) -> dict[str, str]:
    """Key of the artifact that the rows of each video come from; empty where a run replaces them, or an earlier version made
    them, which made fewer.
    """
    rows = read(store, "videos", videos=videos, columns=["video", "publish_key", "suspects"]).to_pylist()
    return {row["video"]: "" if row["suspects"] is None else row["publish_key"] for row in rows}


def create_tables(store: Store, schemas: Collection[pa.Schema] = PUBLISHED) -> None:
    """Make the tables that are not there yet, empty, so that every query works from the first run on.

    Tables of an earlier version, which have fewer columns, get the new ones, null in the rows that are there. StoreError where
    a later version has made them.
    """
    for schema in schemas:
        table = open_table(store, name_of(schema))
        if table is None:
            _create(store, schema)
        elif not _has_schema(table, schema):
            _until_committed(partial(_upgrade, store, schema))


def _has_schema(table: DeltaTable, schema: pa.Schema) -> bool:
    there = {field.name: field.nullable for field in table.schema().fields}
    return there == {field.name: field.nullable for field in schema}


@_without_secrets()
def _upgrade(store: Store, schema: pa.Schema) -> None:
    table = _opened(store, name_of(schema))
    if _has_schema(table, schema):
        return  # another run did it in this moment
    surplus = {field.name for field in table.schema().fields} - set(schema.names)
    if surplus:
        strange = ", ".join(sorted(surplus))
        raise StoreError(
            f"{table_uri(store, name_of(schema))} has columns that this version does not know ({strange}); use the version that "
            "wrote it, or another output"
        )
    _write(store, table, as_written(name_of(schema), table.to_pyarrow_table()), mode="overwrite", schema_mode="overwrite")


@_without_secrets()
def _create(store: Store, schema: pa.Schema) -> None:
    store.require_room(0)
    try:
        DeltaTable.create(
            table_uri(store, name_of(schema)),
            schema=_plain(schema),
            mode="ignore",
            partition_by=["shard"] if "shard" in schema.names else None,
            name=name_of(schema),
            description=describe(schema),
            storage_options=storage_options(store),
        )
    except DeltaError:
        if open_table(store, name_of(schema)) is None:
            raise
        # Another run made it in this moment.


def publish_videos(store: Store, run: str, shard: int, rows: Mapping[str, pa.Table]) -> set[str]:
    """Put a run's rows of some videos of one shard in place of all rows that the tables hold of these videos.

    `rows` holds the tables `videos`, `frames`, `poses`, `tracks`, `suspects`, `corrections` of the same videos, whose ids are
    letters, digits, _ and - (ValueError otherwise). Returns the ids that were published: those that no later run had claimed.
    """
    videos = rows["videos"]
    no_key = pa.array([""] * len(videos), pa.string())
    claim = videos.set_column(videos.schema.get_field_index("publish_key"), "publish_key", no_key)
    ids = set(videos["video"].to_pylist())
    mine = _replace(store, "videos", run, shard, ids, claim)
    for name in _DATA:
        mine = _replace(store, name, run, shard, mine, rows[name])
    mine = _replace(store, "videos", run, shard, mine, videos)
    lost = ids - mine
    if lost:  # what was written before the later run's claim was seen, and which that run did not meet
        for name in _DATA:
            _until_committed(partial(_delete, store, name, f"{_of(shard, lost)} AND run = {_quoted(run)}"))
    for name in (*_DATA, "videos"):
        _compact(store, name, shard)
    return mine


def replace_truth(store: Store, shard: int, videos: Collection[str], rows: Mapping[str, pa.Table]) -> None:
    """Put rows of `truth_frames` and `truth_poses` in place of all that they hold of these videos of one shard."""
    for name, own in rows.items():
        _until_committed(partial(_overwrite, store, name, None, own, _of(shard, videos)))
        _compact(store, name, shard)


def replace_scores(store: Store, evaluation: str, rows: Mapping[str, pa.Table]) -> None:
    """Put rows of `scores` and `scores_by_video` in place of all that they hold of one evaluation, a digest in hexadecimal."""
    for name, own in rows.items():
        _until_committed(partial(_overwrite, store, name, None, own, f"evaluation = {_quoted(evaluation)}"))


def replace_training(store: Store, training: str, rows: pa.Table) -> None:
    """Put rows of `trainings` in place of all that it holds of one training, a digest in hexadecimal."""
    _until_committed(partial(_overwrite, store, "trainings", None, rows, f"training = {_quoted(training)}"))


def replace_failures(store: Store, shard: int, videos: Collection[str], rows: pa.Table) -> None:
    """Put these rows in place of all that `failures` holds of these videos of one shard."""
    if videos:
        _until_committed(partial(_overwrite, store, "failures", None, rows, _of(shard, videos)))
        _compact(store, "failures", shard)


def rewrite_shard(store: Store, shard: int, batches: Iterable[Mapping[str, pa.Table]]) -> None:
    """Put these rows, tables as for `publish_videos`, in place of all that the tables hold of a shard.

    Nothing of it is read: its files may be damaged.
    """
    everything = f"shard = {int(shard)}"
    videos = [_schema("videos").empty_table()]
    for name in ("videos", *_DATA):
        _until_committed(partial(_overwrite, store, name, None, _schema(name).empty_table(), everything))
    for rows in batches:
        videos.append(rows["videos"])
        for name in _DATA:
            _until_committed(partial(_append, store, name, rows[name]))
    _until_committed(partial(_overwrite, store, "videos", None, pa.concat_tables(videos).unify_dictionaries(), everything))


def _replace(store: Store, name: str, run: str, shard: int, videos: Collection[str], rows: pa.Table) -> set[str]:
    """Replace the rows of those videos that no later run has claimed; their ids."""
    mine: set[str] = set()

    def replace() -> None:
        nonlocal mine
        # In this order: a claim that comes after the look at `videos` comes with a commit to this table after its opening,
        # or finds this one's rows there.
        table = _opened(store, name)
        mine = set(videos) - _claimed_later(table if name == "videos" else _opened(store, "videos"), run, videos)
        if mine:
            wanted = pc.is_in(rows["video"].cast(pa.string()), pa.array(sorted(mine), pa.string()))
            _overwrite(store, name, table, rows.filter(wanted), _of(shard, mine))

    if videos:
        _until_committed(replace)
    return mine


@_without_secrets()
def _claimed_later(videos_table: DeltaTable, run: str, videos: Collection[str]) -> set[str]:
    """Those of the videos that a run with a later id has published or claimed."""
    rows = videos_table.to_pyarrow_table(columns=["video", "run"], filters=_among(videos))
    return {row["video"] for row in rows.to_pylist() if row["run"] > run}


@_without_secrets()
def _opened(store: Store, name: str) -> DeltaTable:
    return DeltaTable(table_uri(store, name), storage_options=storage_options(store))


def _among(videos: Collection[str]) -> pc.Expression:
    return pc.field("video").isin(pa.array(sorted(videos), pa.string()))


def _of(shard: int, videos: Collection[str]) -> str:
    """Delta's predicate for some videos of a shard."""
    return f"shard = {int(shard)} AND video IN ({', '.join(map(_quoted, sorted(videos)))})"


def _quoted(one: str) -> str:
    """An id, or a digest, as a literal of SQL. ValueError for any other text: no input gets into a predicate."""
    if not is_id(one):
        raise ValueError(f"not an id: {one[:100]!r}")
    return f"'{one}'"


def _overwrite(store: Store, name: str, table: DeltaTable | None, rows: pa.Table, predicate: str) -> None:
    """Replace what a predicate tells by rows; with a table that was opened before, only if nothing has come between."""
    _write(store, table or _opened(store, name), as_written(name, rows), mode="overwrite", predicate=predicate)


def _append(store: Store, name: str, rows: pa.Table) -> None:
    _write(store, _opened(store, name), as_written(name, rows), mode="append")


@_without_secrets()
def _write(store: Store, table: DeltaTable, rows: pa.Table, **how: Any) -> None:
    store.require_room(rows.nbytes)  # where a disk fills up under it, delta-rs prints a panic beside its error
    write_deltalake(table, rows, writer_properties=_WRITER, storage_options=storage_options(store), **how)


@_without_secrets()
def _delete(store: Store, name: str, predicate: str) -> None:
    _opened(store, name).delete(predicate, writer_properties=_WRITER)


@_without_secrets()
def _compact(store: Store, name: str, shard: int) -> None:
    table = open_table(store, name)
    partition: list[Any] = [("shard", "=", str(shard))]
    if table is not None and len(table.file_uris(file_pruning_predicate=partition)) > _FILES_A_SHARD:
        with suppress(CommitFailedError):  # another writer was here, and compacts in its turn
            table.optimize.compact(partition_filters=partition, writer_properties=_WRITER)


@retry(
    retry=retry_if_exception_type(CommitFailedError),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    stop=stop_after_delay(_SECONDS),
    reraise=True,
)
def _until_committed(write: Callable[[], object]) -> None:
    """Try again from the start where another writer's commit came between: what it wrote must be looked at."""
    write()


def _schema(name: str) -> pa.Schema:
    return next(schema for schema in (*PUBLISHED, *EVALUATED, *TRAINED) if name_of(schema) == name)


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema as Delta knows it: plain strings for dictionaries, which are Parquet's business, and comments on columns."""
    fields = []
    for field in schema:
        type_ = pa.string() if pa.types.is_dictionary(field.type) else field.type
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        comment = facts["description"] + (f" [{facts['unit']}]" if "unit" in facts else "")
        fields.append(pa.field(field.name, type_, nullable=field.nullable, metadata={**facts, "comment": comment}))
    return pa.schema(fields)
