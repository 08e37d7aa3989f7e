"""`tkm lineage`, `tkm diff` and `tkm gc`: what made results, what changed, and what of a store nobody needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows.arguments import Address, AsJson
from flows.settings import SettingsError
from flows.starting import open_store
from flows.terminal import one_line
from storage.runs import split_address

DIFFERENT = 1  # exit status of `tkm diff --exit-code` where there is a difference
_Video = Annotated[str, typer.Argument(metavar="VIDEO", help="id or name of a video")]
_Second = Annotated[str, typer.Argument(metavar="URI", help="as the first: another run, or another output")]
_ExitCode = Annotated[bool, typer.Option("--exit-code", help="exit with 1 where the tables differ, as `git diff` does")]
_Delete = Annotated[bool, typer.Option("--delete", help="remove it; without this it is only told what would go")]
_Days = Annotated[
    float,
    typer.Option("--older-than", metavar="DAYS", min=0, help="leave what was written later"),
]
_Forget = Annotated[list[str] | None, typer.Option("--forget", metavar="RUN", help="a run that is not shown; may be repeated")]
_KeepRuns = Annotated[int | None, typer.Option(metavar="N", min=0, help="forget all runs but the newest N and those shown")]
_Keep = Annotated[str, typer.Option(metavar="all|features|poses", help="artifacts of finished videos that stay, as for annotate")]
console = Console()


def lineage(uri: Address, video: _Video, as_json: AsJson = False) -> None:
    """What made a video's rows: artifacts, parameters, weights, devices, from the video's content on.

    A row of `poses` tells its video and its run: `tkm lineage URI@RUN VIDEO`. URI alone takes the run that the tables show.
    """
    from flows.lineage import lineage as trace
    from flows.lineage import page

    root, run = split_address(uri)
    found = trace(open_store(root), run, video)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    for part in page(found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))


def diff(uri: Address, other: _Second, as_json: AsJson = False, exit_code: _ExitCode = False) -> None:
    """What changed in the tables from one run, or output, to another: parameters, rows, people, keypoints."""
    from flows.diff import Side
    from flows.diff import diff as compare
    from flows.diff_page import as_json as plain
    from flows.diff_page import page

    sides = [Side(open_store(root), run) for root, run in (split_address(uri), split_address(other))]
    found = compare(*sides)
    if as_json:
        print(json.dumps(plain(found), indent=1))
    else:
        for part in page(found):
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))
    if exit_code and found.is_any:
        raise typer.Exit(DIFFERENT)


def gc(
    uri: Address,
    delete: _Delete = False,
    older_than: _Days = 1.0,
    forget: _Forget = None,
    keep_runs: _KeepRuns = None,
    keep: _Keep = "all",
    as_json: AsJson = False,
) -> None:
    """What of an output nobody refers to, and its bytes; --delete removes it.

    Never what a run refers to, or one at work plans to use. To free more, forget runs, or keep less of finished videos.
    """
    from typing import get_args

    from tasks.collect import Order, collect
    from tasks.retention import Keep

    root, run = split_address(uri)
    if run is not None:
        raise SettingsError(f"{uri}: give the output itself; --forget {run} removes what only this run refers to")
    if keep not in get_args(Keep):
        raise SettingsError(f"--keep {keep}: give {', '.join(get_args(Keep))}")
    now = datetime.now(UTC)
    order = Order(now - timedelta(days=older_than), now, forget or [], keep_runs, keep, is_removed=delete)  # type: ignore[arg-type]
    tell = Console(stderr=True, quiet=as_json)
    found = collect(open_store(root), order, lambda stage: tell.print(f"looking at {stage} ...", style="dim"))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    for part in _page(found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))


def _page(found: Any) -> list[Table | str]:
    going = "removed" if found.is_removed else "would go"
    if not found.collected:
        parts: list[Table | str] = [f"{one_line(found.root)}: nothing {'was to be removed' if found.is_removed else 'would go'}"]
    else:
        total = sum(one.bytes for one in found.collected) / 1e6
        table = Table(title=f"{one_line(found.root)}: {going}", show_footer=True)
        table.add_column("what")
        table.add_column("of", footer="in all")
        table.add_column("objects", footer=str(sum(one.objects for one in found.collected)), justify="right")
        table.add_column("MB", footer=f"{total:.2f}", justify="right")
        for one in found.collected:
            table.add_row(one.kind, one.of, str(one.objects), f"{one.bytes / 1e6:.2f}")
        parts = [table]
    parts += [f"[yellow]left[/]: {one_line(line)}" for line in found.held]
    return parts if found.is_removed or not found.collected else [*parts, "nothing was removed; `--delete` does"]
