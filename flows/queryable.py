"""tables: what `tkm query` can be asked of: tables, how much of them there is, and their columns as SQL knows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import duckdb
from rich.markup import escape
from rich.table import Table

from storage.schemas import describe, description_of, unit_of
from tasks.catalog import Catalog, plain


def listed(catalog: Catalog, *, is_counted: bool) -> Iterator[dict[str, Any]]:
    """The tables that hold something, or may, in plain values: name, description, stages, rows, videos, and columns with units.

    A stage that no video here was made with has none. Rows of stages are None unless they are to be counted.
    """
    with duckdb.connect(":memory:") as sql:
        for name, entry in catalog.entries.items():
            extent = catalog.extent(name, is_counted=is_counted)
            if extent.planned == 0:
                continue
            types = sql.from_arrow(plain(entry.schema).empty_table()).types
            columns = [
                {"name": field.name, "type": str(type_), "unit": unit_of(field), "description": description_of(field)}
                for field, type_ in zip(entry.schema, types, strict=True)
            ]
            facts = {"name": name, "description": describe(entry.schema), "stages": list(entry.stages), **asdict(extent)}
            yield {**facts, "columns": columns}


def page(found: dict[str, Any]) -> Table:
    """One of them, for a terminal."""
    made = f" of {' or '.join(found['stages'])}, {found['videos']} of {found['planned']} videos" if found["stages"] else ""
    rows = "" if found["rows"] is None else f", {found['rows']} rows"
    title = f"{found['name']}{made}{rows}: {escape(found['description'])}"
    table = Table("column", "type", "unit", "what it holds", title=title, title_justify="left")
    for column in found["columns"]:
        table.add_row(column["name"], escape(column["type"]), column["unit"], escape(column["description"]))
    return table
