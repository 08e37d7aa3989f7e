"""Tables as Parquet in memory: the bytes that are digested are the bytes that are stored and read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 128 * 1024


class GroupedWriter:
    """A Parquet file that is written table by table, in row groups of at most 128k rows; little more than one is in memory.

    The schema's metadata, descriptions and units among them, is kept in the file. It is whole when the `with` block ends.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._pending = [schema.empty_table()]
        self._rows = 0

    def __enter__(self) -> GroupedWriter:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            self._write(self._rows)
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Put the rows of a table of the schema after those that were added before."""
        self._pending.append(table)
        self._rows += table.num_rows
        self._write(self._rows - self._rows % GROUP_ROWS)

    def _write(self, rows: int) -> None:
        if rows:
            every = pa.concat_tables(self._pending).unify_dictionaries()
            self._writer.write_table(every.slice(0, rows), row_group_size=GROUP_ROWS)
            self._pending, self._rows = [every.slice(rows)], self._rows - rows


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet: floats byte-stream split, dictionaries for dictionary columns only, zstd."""
    floats, dictionaries = [], []
    for field in table.schema:
        if pa.types.is_dictionary(field.type):
            dictionaries.append(field.name)
        elif pa.types.is_floating(field.type):
            floats.append(field.name)
        elif pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type):
            floats.append(f"{field.name}.list.element")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=dictionaries or False, use_byte_stream_split=floats or False)
    return bytes(sink.getvalue().to_pybytes())


def read_parquet(data: bytes) -> pa.Table:
    """The table in Parquet bytes.

    In this thread alone: for the sizes of our parts others cost more than they bring, and one of Arrow's that lets go of Python's
    memory only while the interpreter ends aborts the process (apache/arrow#34314).
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
