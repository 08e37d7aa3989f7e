"""Queries as the command asks them, over results of the bundled clip."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flows.query import asked
from storage.store import Store
from tasks.catalog import Catalog

COOKBOOK = Path(__file__).resolve().parents[2] / "docs" / "cookbook.md"


def rows(catalog: Catalog, sql: str, own: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What a query answers."""
    tables = {name: partial(catalog.open, name) for name in catalog.entries}
    tables |= {name: (lambda table=table: table) for name, table in (own or {}).items()}
    with asked(sql, tables) as relation:
        return relation.to_arrow_table().to_pylist()


def on_s3(local: Store, root: str) -> Store:
    """The same results in a bucket."""
    there = Store(root)
    for name in local.list(""):
        there.write(name, local.read(name))
    for name in (path for path in Path(local.root).rglob("_delta_log/*")):  # listed with the others, but for hidden ones
        there.write(str(name.relative_to(local.root)), name.read_bytes())
    return there
