"""The log of a Delta table, looked at without delta-rs: is it what was written?

delta-rs takes an empty commit for one that changed nothing, and the rows that it added are silently missing.
"""

from __future__ import annotations

import json
import re

import pyarrow as pa
from deltalake.exceptions import DeltaError

from storage import tables
from storage.parquet import read_parquet
from storage.schemas import PUBLISHED, name_of
from storage.store import Store

_COMMIT = re.compile(r"([0-9]{20})\.json")


def damage(store: Store, name: str) -> str | None:
    """What is wrong with the log of a published table; None where nothing is, or there is no such table."""
    files = [file for file in store.list(_folder(name)) if "/_delta_log/" in file]
    for file in files:
        try:
            _read(store, file)
        except (ValueError, KeyError, pa.ArrowException) as error:
            return f"{file} is damaged: {error}"
    versions = [int(found[1]) for file in files if (found := _COMMIT.fullmatch(file.rsplit("/", 1)[1]))]
    if versions and versions != list(range(versions[0], versions[-1] + 1)):
        return f"{_folder(name)}/_delta_log lacks a commit"
    try:
        table = tables.open_table(store, name)
    except DeltaError as error:
        return f"{name} cannot be opened: {error}"  # the store answers: all of the log has just been read
    if table is None:
        return f"{_folder(name)}/_delta_log lacks its first commit" if files else None
    known = {field.name for schema in PUBLISHED if name_of(schema) == name for field in schema}
    there = {field.name for field in table.schema().fields}
    if there - known and known - there:  # earlier versions have fewer columns, and later ones more
        return f"{name} has columns {', '.join(sorted(there - known))} in place of {', '.join(sorted(known - there))}"
    return None


def remove(store: Store, name: str) -> None:
    """Take a table away; the log from its end, so that what is left of it at any moment is an earlier version or none."""
    files = list(store.list(_folder(name)))
    logs = sorted((file for file in files if "/_delta_log/" in file), reverse=True)
    for file in [*logs, *(file for file in files if file not in logs)]:
        store.delete(file)


def _read(store: Store, file: str) -> None:
    """Raise where a file of a log cannot be what was written."""
    data = store.read(file)
    if file.endswith(".parquet"):
        read_parquet(data)
    elif _COMMIT.fullmatch(file.rsplit("/", 1)[1]):
        actions = [json.loads(line) for line in data.splitlines()]
        if not actions:
            raise ValueError("it is empty")
        for action in actions:
            if "metaData" in action:
                json.loads(action["metaData"]["schemaString"])
    elif file.endswith("_last_checkpoint"):
        json.loads(data)


def _folder(name: str) -> str:
    return f"tables/{name}"
