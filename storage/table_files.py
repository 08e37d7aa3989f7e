"""Files of the published tables that no version within reach is made of: of replaced rows, and of writers who were killed."""

from __future__ import annotations

from storage import tables
from storage.evaluation_schemas import EVALUATED
from storage.learning_schemas import TRAINED
from storage.schemas import PUBLISHED, name_of
from storage.store import Store

TABLES = tuple(name_of(schema) for schema in (*PUBLISHED, *EVALUATED, *TRAINED))


def old_files(store: Store, name: str) -> dict[str, int]:
    """Files of a table, and their bytes, that were replaced, or written in vain, more than a week ago: Delta Lake's own limit,
    within which readers of earlier versions, and writers at work, may need them.
    """
    table = tables.open_table(store, name)
    if table is None:
        return {}
    prefix = f"tables/{name}/"
    names = {prefix + file.rpartition(prefix)[2] for file in table.vacuum(dry_run=True, full=True)}
    return {file: size for file, size in store.list(f"tables/{name}").items() if file in names}


def remove_old_files(store: Store, name: str) -> None:
    """Remove what `old_files` tells."""
    table = tables.open_table(store, name)
    if table is not None:
        table.vacuum(dry_run=False, full=True)
