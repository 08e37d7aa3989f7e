"""The published tables: Delta Lake under tables/, atomic and versioned, partitioned by shard, each holding every video's latest.

Videos are replaced within their shard, so that annotating two more merges them in. `videos` is written last: a video
counts as published when its row there names the artifact that its rows come from.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from storage import s3
from storage.schemas import PUBLISHED, name_of
from storage.store import Store, StoreError

_ORDER = ("frames", "poses", "tracks", "failures", "videos")
_SORT = {"frames": ("video", "frame"), "poses": ("video", "frame", "track_id"), "tracks": ("video", "track_id")}
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]+")
_FILES_A_SHARD = 8  # more small files than this are compacted
_ATTEMPTS = 20
_WRITER = WriterProperties(compression="ZSTD", max_row_group_size=128 * 1024)


def table_uri(store: Store, name: str) -> str:
    """Address of a published table, for `DeltaTable` and any other reader."""
    return f"{store.root}/tables/{name}"


def storage_options(store: Store) -> dict[str, str] | None:
    """What delta-rs needs for a store, made anew for each use; secrets are in it. StoreError where S3 cannot be used."""
    if not s3.is_s3(store.root):
        return None
    try:
        return s3.delta_options()
    except s3.S3Error as error:
        raise StoreError(f"cannot use {store.root}: {error}") from None


def open_table(store: Store, name: str) -> DeltaTable | None:
    """A published table, None where nothing has been published."""
    try:
        return DeltaTable(table_uri(store, name), storage_options=storage_options(store))
    except TableNotFoundError:
        return None


def read(
    store: Store, name: str, *, videos: Collection[str] | None = None, columns: list[str] | None = None
) -> pa.Table:
    """Rows of a published table, of all videos or of some, in order; an empty table where nothing has been published."""
    schema = next(schema for schema in PUBLISHED if name_of(schema) == name)
    table = open_table(store, name)
    if table is None:
        empty = schema.empty_table()
        return empty.select(columns) if columns else empty
    filters = None if videos is None else pc.field("video").isin(pa.array(sorted(videos), pa.string()))
    rows = table.to_pyarrow_table(filters=filters, columns=columns)
    order = [(key, "ascending") for key in _SORT.get(name, ("video",)) if key in rows.column_names]
    return rows.sort_by(order) if order else rows


def create_tables(store: Store) -> None:
    """Make the tables that are not there yet, empty, so that every query works from the first run on."""
    for schema in PUBLISHED:
        if open_table(store, name_of(schema)) is None:
            DeltaTable.create(
                table_uri(store, name_of(schema)),
                schema=_plain(schema),
                mode="ignore",
                partition_by=["shard"],
                name=name_of(schema),
                description=schema.metadata[b"description"].decode(),
                storage_options=storage_options(store),
            )


def replace_videos(store: Store, shard: int, videos: Collection[str], rows: Mapping[str, pa.Table]) -> None:
    """Put these rows in place of all rows of these videos of one shard, table by table, `videos` last.

    `videos` are ids (letters, digits, _ and -; ValueError otherwise). Racing commits are tried again.
    """
    unsafe = [video for video in videos if not _SAFE_ID.fullmatch(video)]
    if unsafe:
        raise ValueError(f"not ids of videos: {unsafe}")
    listed = ", ".join(f"'{video}'" for video in sorted(videos))
    for name in _ORDER:
        if name not in rows:
            continue
        order = [(key, "ascending") for key in _SORT.get(name, ("video",))]
        data = _as_plain(rows[name]).sort_by(order)
        _overwrite(store, name, data, f"shard = {int(shard)} AND video IN ({listed})")
        _compact(store, name, shard)


def _overwrite(store: Store, name: str, data: pa.Table, predicate: str) -> None:
    _until_committed(
        lambda: write_deltalake(
            table_uri(store, name),
            data,
            mode="overwrite",
            predicate=predicate,
            writer_properties=_WRITER,
            storage_options=storage_options(store),
        )
    )


def _compact(store: Store, name: str, shard: int) -> None:
    table = open_table(store, name)
    partition: list[Any] = [("shard", "=", str(shard))]
    if table is not None and len(table.file_uris(file_pruning_predicate=partition)) > _FILES_A_SHARD:
        with suppress(CommitFailedError):  # another writer was here, and compacts in its turn
            table.optimize.compact(partition_filters=partition, writer_properties=_WRITER)


def _until_committed(write: Callable[[], object]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            write()
            return
        except CommitFailedError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.05 * (attempt + 1))


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema as Delta knows it: plain strings for dictionaries, which are Parquet's business, and comments on columns."""
    fields = []
    for field in schema:
        type_ = pa.string() if pa.types.is_dictionary(field.type) else field.type
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        comment = facts["description"] + (f" [{facts['unit']}]" if "unit" in facts else "")
        fields.append(pa.field(field.name, type_, nullable=field.nullable, metadata={**facts, "comment": comment}))
    return pa.schema(fields)


def _as_plain(table: pa.Table) -> pa.Table:
    return table.cast(_plain(table.schema))
