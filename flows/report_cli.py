"""`tkm report`: one HTML file on what ran, what was found, and where to look first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.arguments import Address
from flows.starting import open_store
from flows.terminal import shown
from storage.runs import report_name, split_address

_File = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write (default URI/reports)")]
console = Console()


def report(uri: Address, output: _File = None) -> None:
    """Write one self-contained HTML file: what ran, what was found, and, with pictures, what is likely wrong.

    Of what the tables show, or of URI@RUN. Every annotate run writes one at its end, to URI/reports.
    """
    from flows.report import report as page

    root, run = split_address(uri)
    store = open_store(root)
    html = page(store, run).encode()
    if output is None:
        name = report_name(run or "latest")
        store.write(name, html)
        written = f"{store.root}/{name}"
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(html)
        written = str(output)
    console.print(shown(written), highlight=False, soft_wrap=True)
