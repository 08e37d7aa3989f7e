"""query: one SQL statement over tables, by DuckDB, which reads these and nothing else, and its answer as text or in a file.

DuckDB is shut in: no files, no addresses, no extensions, no variables of Python, and no way to change that from SQL.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from flows.errors import QueryError
from flows.terminal import plain
from storage.addresses import refusal
from storage.store import Store

FORMATS = ("table", "csv", "json", "parquet")
_SHUT_IN: dict[str, Any] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "lock_configuration": True,
    "memory_limit": "50%",  # the rest is for what reads, and for others
}
_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_LISTS_TABLES = re.compile(r"\s*(show|describe|desc|show\s+(all\s+)?tables)\s*;?\s*", re.IGNORECASE)
_NO_TABLE = re.compile(r"Table with name (.+?) does not exist")
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_FILES = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json"}
_ROWS = 16_384  # of a batch of the answer
_UNREADABLE = re.compile(r"(?:exporting|reading)[\w ]* registered as '(\w+)' failed: (?:\w+: )?(.*)", re.DOTALL)


@contextmanager
def asked(sql: str, tables: Mapping[str, Callable[[], ds.Dataset]]) -> Iterator[duckdb.DuckDBPyRelation]:
    """The answer to one statement that reads, as a relation that is worked out when it is fetched, within the context.

    Args:
        sql: a SELECT, or one that begins with WITH, FROM, VALUES, DESCRIBE, SUMMARIZE or EXPLAIN.
        tables: opens a table, by its name; those alone are opened that the statement names.

    Raises QueryError, within the context too, for any other statement, a table that is not there, and whatever else DuckDB, or
    reading a table, finds wrong.
    """
    with (
        _one_sentence(tables),
        TemporaryDirectory(prefix="tkm-query-") as spill,
        duckdb.connect(":memory:", config={**_SHUT_IN, "temp_directory": spill}) as connection,
    ):
        statement = _one_that_reads(connection, sql)
        if _LISTS_TABLES.fullmatch(statement.query):
            raise QueryError(f"`tkm tables URI` lists the tables and their columns; there are {', '.join(tables)}")
        yield _bound(connection, statement, dict(tables))


def given_table(given: str, taken: Mapping[str, Any]) -> tuple[str, ds.Dataset]:
    """Name and rows of NAME=FILE: a user's own CSV, Parquet or JSON Lines, local or on S3. QueryError where it cannot be used."""
    name, _, address = given.partition("=")
    suffix = re.search(r"\.\w+$", address)
    kind = _FILES.get(suffix[0].lower()) if suffix else None
    if not _NAME.fullmatch(name) or not address:
        raise QueryError(f"--with {given}: give NAME=FILE, the name of small letters, digits and _, such as cameras=cameras.csv")
    if name in taken:
        raise QueryError(f"--with {given}: there is a table {name} already; give it another name")
    if kind is None:
        raise QueryError(f"--with {given}: give a file that ends in {', '.join(_FILES)}")
    if refused := refusal(address):
        raise QueryError(f"--with {name}: {refused}")
    folder, _, file = address.rpartition("/")
    store = Store(folder or ("/" if address.startswith("/") else "."))
    try:
        return name, ds.dataset(store.path(file), format=kind, filesystem=store.arrow_filesystem())
    except (OSError, pa.ArrowException) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else _first_line(error)
        raise QueryError(f"--with {name}: {address} cannot be read: {why}") from error


def as_text(relation: duckdb.DuckDBPyRelation, width: int, rows: int) -> str:
    """The answer as a table for a terminal, with its types: so wide, and of so many rows, of those in the middle none."""
    if relation.columns == ["explain_key", "explain_value"]:
        return plain("".join(value for _, value in relation.fetchall()))
    drawn = io.StringIO()
    with redirect_stdout(drawn):
        relation.show(max_width=width, max_rows=rows)
    return plain(drawn.getvalue())


def write(relation: duckdb.DuckDBPyRelation, format_: str, file: IO[bytes]) -> int:
    """Write the answer to a file as CSV, JSON (a list of objects, a row a line) or Parquet, a batch at a time; its rows.

    In CSV lists are JSON, and in both bytes are base64; what JSON has no number for (NaN) is null.
    """
    reader = relation.to_arrow_reader(_ROWS)
    rows = 0
    if format_ == "json":
        file.write(b"[")
        for batch in reader:
            lines = (json.dumps(_json(row), ensure_ascii=False, allow_nan=False, default=str) for row in batch.to_pylist())
            text = ",\n".join(lines)
            file.write((f"{',' if rows else ''}\n{text}").encode("utf-8", "backslashreplace") if text else b"")
            rows += batch.num_rows
        file.write(b"\n]\n")
        return rows
    schema = _flat(reader.schema) if format_ == "csv" else reader.schema
    with pacsv.CSVWriter(file, schema) if format_ == "csv" else pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(_flattened(batch, schema) if format_ == "csv" else batch)
            rows += batch.num_rows
    return rows


def _bound(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, unopened: dict[str, Callable[[], ds.Dataset]]
) -> duckdb.DuckDBPyRelation:
    """The statement's answer, not worked out yet. DuckDB says which table it lacks, one at a time, and that is opened."""
    while True:
        try:
            return connection.sql(statement.query)
        except duckdb.CatalogException as error:
            lacking = _NO_TABLE.search(str(error))
            if lacking is None or lacking[1].lower() not in unopened:
                raise
            name = lacking[1].lower()
            connection.register(name, unopened.pop(name)())


def _one_that_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READS:
        what = {0: "nothing", 1: statements[0].type.name if statements else ""}.get(len(statements), "several")
        raise QueryError(
            f"tables are only read: give one statement of SELECT, WITH, FROM, DESCRIBE, SUMMARIZE or EXPLAIN, not {what}"
        )
    return statements[0]


@contextmanager
def _one_sentence(tables: Mapping[str, Any]) -> Iterator[None]:
    """QueryErrors for DuckDB's: what is wrong, where, and what there is in place of it."""
    try:
        yield
    except duckdb.CatalogException as error:
        if lacking := _NO_TABLE.search(str(error)):
            raise QueryError(f"there is no table {lacking[1]}; there are {', '.join(tables)}") from error
        raise QueryError(_first_line(error)) from error
    except duckdb.OutOfMemoryException as error:
        raise QueryError(f"it takes more memory, or disk to spill to, than there is: {_first_line(error)}") from error
    except duckdb.Error as error:
        if found := _UNREADABLE.search(str(error)):
            raise QueryError(f"{found[1]} cannot be read: {' '.join(found[2].split())}") from error
        raise QueryError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    """What a library says, without the query that DuckDB repeats, or the lines of its own source that Arrow adds."""
    said = str(error).partition("\n\nLINE ")[0].partition(" Detail: ")[0]
    return " ".join(said.split())


def _flat(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(one.name, pa.string() if _is_deep(one.type) else one.type) for one in schema])


def _flattened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([None if value is None else _as_text(value) for value in column.to_pylist()], pa.string())
        if _is_deep(column.type) else column
        for column in batch.columns
    ]  # fmt: skip
    return pa.record_batch(columns, schema=schema)


def _is_deep(type_: pa.DataType) -> bool:
    return pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def _as_text(value: Any) -> str:
    plain_value = _json(value)
    return plain_value if isinstance(plain_value, str) else json.dumps(plain_value, default=str)


def _json(value: Any) -> Any:
    """A value with what JSON has a form for."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Decimal():  # as SQL sums up whole numbers
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {str(key): _json(one) for key, one in value.items()}
        case list() | tuple():
            return [_json(one) for one in value]
        case bytes():
            return base64.b64encode(value).decode()
    return value
