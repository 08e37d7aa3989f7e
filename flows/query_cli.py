"""`tkm query` and `tkm tables`: SQL over results, and which tables there are to ask."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.arguments import Address, AsJson
from flows.errors import QueryError
from flows.starting import open_store
from flows.terminal import one_line
from storage.runs import split_address
from storage.store import Store

if TYPE_CHECKING:
    from tasks.catalog import Catalog

_Sql = Annotated[str | None, typer.Argument(metavar="SQL", help="one statement that reads; - for standard input")]
_File = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="a file with the statement, in place of SQL")]
_Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="table, csv, json or parquet (default: by FILE's name, else table)"),
]
_Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="file or URL for the answer")]
_With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME=FILE", help="a CSV, Parquet or JSON Lines file of your own as a table; may be repeated"),
]
_Rows = Annotated[int, typer.Option(min=2, help="rows that a table on the terminal has at most; files have all")]
_Count = Annotated[bool, typer.Option("--count", help="count the rows of stages too: a request a video and stage")]
_PIPED_WIDTH = 10_000  # columns of text where nobody looks at it on a terminal: none is left out
console = Console()


def query(
    uri: Address,
    sql: _Sql = None,
    file: _File = None,
    format_: _Format = None,
    output: _Output = None,
    with_: _With = None,
    rows: _Rows = 40,
) -> None:
    """Ask one SQL statement of the published tables, or of URI@RUN's, and of the artifacts of any stage. Nothing is changed.

    `tkm tables URI` lists them. docs/cookbook.md has questions and their answers.
    """
    from flows.query import FORMATS, as_text, asked, given_table, write

    statement = _statement(sql, file)
    suffix = Path(output).suffix.lower().removeprefix(".") if output else ""
    chosen = format_ or (suffix if suffix in FORMATS else "table")
    if chosen not in FORMATS:
        raise QueryError(f"--format {chosen}: there is no such format; choose one of {', '.join(FORMATS)}")
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise QueryError("--output: Parquet is nothing for a terminal; name a file")
    catalog = _catalog(uri)
    tables: dict[str, Any] = {name: partial(catalog.open, name) for name in catalog.entries}
    for given in with_ or []:
        name, rows_of_file = given_table(given, tables)
        tables[name] = partial(_same, rows_of_file)
    with _written(output) as target:

        def answer() -> None:
            with asked(statement, tables) as relation:
                if chosen == "table":
                    width = shutil.get_terminal_size().columns if output is None and sys.stdout.isatty() else _PIPED_WIDTH
                    target.write(as_text(relation, width, rows).encode())
                else:
                    write(relation, chosen, target)

        _stoppable(answer)
    for name, (missing, planned) in catalog.missing.items():
        why = "were removed (`--keep`, `tkm gc`), or are not there yet"
        _note(f"{name}: the rows of {missing} of {planned} videos {why}; they are left out")


def tables(uri: Address, count: _Count = False, as_json: AsJson = False) -> None:
    """The tables that `tkm query` knows: rows, columns, types, units, and which stage made them."""
    from flows.queryable import listed, page

    found = listed(_catalog(uri), is_counted=count)
    if as_json:
        print(json.dumps(list(found), indent=1))
        return
    for one in found:
        console.print(page(one), highlight=False)


def _stoppable(work: Callable[[], None]) -> None:
    """Do it in a thread that nobody waits for on Ctrl-C, of which DuckDB does not always take notice; raise what it raises."""
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _statement(sql: str | None, file: Path | None) -> str:
    if (sql is None) == (file is None):
        raise QueryError("give one statement of SQL, in quotes; or - and it on standard input; or --file FILE")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise QueryError(f"--file {file}: it is no text in UTF-8") from None
        except OSError as error:
            raise QueryError(f"--file {file}: {error.strerror}") from None
    return sys.stdin.read() if sql == "-" else str(sql)


@contextmanager
def _written(output: str | None) -> Iterator[IO[bytes]]:
    """Where the answer goes: standard output, or a file that is there when all of it is."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    folder, _, name = output.rpartition("/")
    store = Store(folder or ("/" if output.startswith("/") else "."))
    store.reach()
    with store.new_file(name) as path, path.open("wb") as target:
        yield target


def _catalog(uri: str) -> Catalog:
    """Tables of the output, or of one of its runs; StoreError where there are none."""
    from storage import runs
    from tasks.catalog import Catalog

    root, run = split_address(uri)
    store = open_store(root)
    if run is not None or not store.folders("tables"):
        runs.find_run(store, run)
    return Catalog(store, run)


def _same(rows: Any) -> Any:
    return rows


def _note(text: str) -> None:
    Console(stderr=True).print(f"[yellow]note[/]: {one_line(text)}", highlight=False, soft_wrap=True)
