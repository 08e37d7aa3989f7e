"""`tkm import-corrections` and `tkm corrections`: what people changed in results comes back, and can be listed and revoked."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table

from flows.arguments import Address, AsJson, Quiet, SettingsFile
from flows.options import with_cluster
from flows.settings import SettingsError, load_settings, manner, use_s3
from flows.starting import SOME_FAILED, check_start, with_server
from flows.summary import summarise
from flows.terminal import one_line, shown
from storage.runs import split_address
from storage.store import Store

_File = Annotated[str, typer.Argument(metavar="PATH", help="file or folder that was exported, and changed")]
_Format = Annotated[
    str, typer.Option("--format", metavar="NAME", help="cvat, labelstudio, coco or posetrack18 (default: by what is in it)")
]
_Author = Annotated[str | None, typer.Option(metavar="NAME", help="who made the changes (default: the login name)")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="tell what would be changed; keep and publish nothing")]
_Video = Annotated[str | None, typer.Option("--video", metavar="VIDEO", help="id or name of a video: of it alone, edit by edit")]
_Revoke = Annotated[list[str] | None, typer.Option(metavar="ID", help="take a correction back, and publish; may be repeated")]
_LINES = 20  # on a terminal; --json has all
console = Console()


@with_cluster
def import_corrections(
    uri: Address,
    path: _File,
    format_: _Format = "auto",
    author: _Author = None,
    dry_run: _DryRun = False,
    settings: SettingsFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    options: Any = None,
) -> None:
    """Bring back what people changed in exported results: tracks merged, split, deleted, keypoints moved; and publish it at once.

    docs/corrections.md tells how. Later runs keep what still applies, and tell what does not.
    """
    from flows.corrections import keep_changes, read_changes, to_publish
    from storage.annotated import Format
    from storage.corrections import id_of

    if format_ != "auto" and format_ not in get_args(Format):
        raise SettingsError(f"--format {format_}: there is no such format; choose one of auto, {', '.join(get_args(Format))}")
    store, chosen = _opened(uri, options, settings)
    changes = read_changes(store, path, None if format_ == "auto" else format_)  # type: ignore[arg-type]
    told = {
        "videos": [{"video": one.video, "run": one.run, "edits": one.counts} for one in changes.videos],
        "known": changes.known,
        "ignored": list(changes.ignored),
    }
    if not as_json:
        _tell(told)
    if dry_run:
        _end(told, as_json, "nothing was kept" if changes.videos else "nothing changed")
        return
    check_start(store, chosen)
    who = _name(author)
    names = keep_changes(store, changes, who)
    told["corrections"] = [id_of(name) for name in names]
    # Also what an import that was killed has kept and not published.
    facts = {"corrections": changes.source, "author": who}
    videos = to_publish(store, sorted(set(changes.seen)))
    _publish(store, chosen, videos, facts, told, quiet=quiet, as_json=as_json)


@with_cluster
def corrections(
    uri: Address,
    video: _Video = None,
    revoke: _Revoke = None,
    author: _Author = None,
    settings: SettingsFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    options: Any = None,
) -> None:
    """What people corrected, by whom and when, and whether results have it; --revoke takes it back."""
    from flows.corrections import listed, revoke_all, to_publish

    store, chosen = _opened(uri, options, settings)
    if revoke:
        check_start(store, chosen)
        who = _name(author)
        videos = revoke_all(store, revoke, who)
        facts = {"revoked": list(revoke), "author": who}
        _publish(store, chosen, to_publish(store, videos), facts, {"revoked": list(revoke)}, quiet=quiet, as_json=as_json)
        return
    found = listed(store, video)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    if not found:
        console.print(f"{shown(store.root)} has no corrections; docs/corrections.md tells how to make some", highlight=False)
    else:
        for table in _page(found, is_whole=video is not None):
            console.print(table)


def _name(author: str | None) -> str:
    if author is not None:
        return author
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in containers
        raise SettingsError("--author: give a name, for this machine tells none of yours") from None


def _opened(uri: str, options: Any, settings: Path | None) -> tuple[Store, Any]:
    root, run = split_address(uri)
    if run is not None:
        raise SettingsError(f"{uri}: corrections are of all results; give the output itself, {root}")
    chosen = load_settings(options, settings)
    use_s3(chosen)
    store = Store(root)
    store.reach()
    return store, chosen


def _publish(
    store: Store,
    chosen: Any,
    videos: Sequence[str],
    facts: Mapping[str, Any],
    told: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Publish videos with the corrections in force, tell it, and exit accordingly."""
    if not videos:
        _end(told, as_json, "nothing changed: the tables have it already" if told.get("known") else "nothing changed")
        return

    def call() -> Any:
        from flows.annotate import correct as flow

        return flow(store.root, list(videos), dict(facts), manner(chosen), quiet=quiet or as_json)

    summary = with_server(call, chosen, quiet=quiet or as_json)
    if as_json:
        outcome = {"run": summary.run, "applied": summary.applied, "not_applied": list(summary.unapplied)}
        print(json.dumps({**told, **outcome, "failures": [asdict(one) for one in summary.failures]}, indent=1))
    elif not quiet:
        summarise(console, summary)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)


def _tell(told: Mapping[str, Any]) -> None:
    """What an import changes, and what of it cannot be brought back."""
    for one in told["videos"][:_LINES]:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(one["edits"].items()))
        console.print(f"{one_line(one['video'])}: {counts}", highlight=False, soft_wrap=True)
    if len(told["videos"]) > _LINES:
        console.print(f"and {len(told['videos']) - _LINES} more videos", highlight=False)
    if told["known"]:
        console.print(f"{told['known']} edits were imported before", highlight=False)
    for line in told["ignored"][:_LINES]:
        console.print(f"[yellow]left aside[/]: {one_line(line)}", highlight=False, soft_wrap=True)
    if len(told["ignored"]) > _LINES:
        console.print(f"and {len(told['ignored']) - _LINES} more left aside; --json has all", highlight=False)


def _end(told: Mapping[str, Any], as_json: bool, sentence: str) -> None:
    if as_json:
        print(json.dumps({**told, "run": None}, indent=1))
    else:
        console.print(sentence, highlight=False)


def _page(found: Sequence[Any], *, is_whole: bool) -> list[Table]:
    table = Table()
    table.add_column("correction", no_wrap=True)  # which --revoke takes
    for name in ("video", "when (UTC)", "who", "from", "edits", "not applied", ""):
        table.add_column(name)
    for one in found:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(one.kinds.items()))
        state = (counts, str(one.not_applied or ""), one.state)
        table.add_row(one.correction, one_line(one.video), one.created, one_line(one.author), one_line(one.source), *state)
    if not is_whole:
        return [table]
    edits = Table("correction", "frame", "track", "what", "applied")
    for row in (row for one in found for row in one.edits):
        track = "" if row["track_id"] is None else str(row["track_id"])
        applied = "yes" if row["is_applied"] else f"no: {one_line(row['why'])}"
        edits.add_row(row["correction"], str(row["frame"]), track, one_line(row["what"]), applied)
    return [table, edits]
