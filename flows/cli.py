"""`tkm`: annotate videos, look at what is done, describe the stages, draw overlays, check the machine; and all other commands."""

from __future__ import annotations

import atexit
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.ablate_cli import ablate
from flows.arguments import (
    Address,
    AsJson,
    AsMarkdown,
    Change,
    Detections,
    DryRun,
    Folder,
    Format,
    Images,
    Input,
    Output,
    Prefix,
    Quiet,
    Reach,
    Rows,
    SettingsFile,
    StageName,
    SuspectsOnly,
    Target,
    Trail,
    Video,
    Videos,
)
from flows.corrections_cli import corrections, import_corrections
from flows.errors import ClusterError, ClusterLostError, EvaluationError, QueryError, ServerError, TooManyFailuresError
from flows.options import with_manner, with_settings
from flows.query_cli import query, tables
from flows.report_cli import report
from flows.settings import SettingsError, load_settings, manner, use_s3
from flows.starting import SOME_FAILED, USAGE, check_start, open_store, with_server
from flows.store_cli import diff, gc, lineage
from flows.summary import summarise
from flows.terminal import one_line, plain, shown
from flows.train_cli import train
from flows.train_heads_cli import body, temporal
from flows.truth_cli import evaluate, synthesize
from flows.view_cli import view
from storage.artifacts import DamagedArtifactError
from storage.reading import LimitError
from storage.runs import split_address
from storage.sources import InputError
from storage.store import Store, StoreError
from tasks.fit import TrainingError
from tkm.weights import WeightsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Annotate every person in videos with 2D poses and track ids, and keep the results as tables.",
)
app.add_typer(train, name="train")
train.command()(temporal)
train.command()(body)
console = Console()


def main() -> None:
    """Entry point: errors a user can mend are a sentence and exit status 2, never a traceback."""
    try:
        _main()
    except SystemExit as end:
        # Threads of Arrow that still read abort a process that goes on to take its interpreter apart (apache/arrow#34314): the
        # exit status would be lost.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


def _main() -> None:
    try:
        app()
    except (SettingsError, InputError, LimitError, StoreError, ClusterError, WeightsError, QueryError) as error:
        sys.exit(_say(error, USAGE))
    except (
        TooManyFailuresError, EvaluationError, TrainingError, ServerError, ClusterLostError, DamagedArtifactError, OSError
    ) as error:  # fmt: skip
        sys.exit(_say(error, SOME_FAILED))  # OSError: a full disk, a network that is down, rights
    except Exception as error:
        from aiohttp import ClientError
        from botocore.exceptions import BotoCoreError
        from botocore.parsers import ResponseParserError
        from deltalake.exceptions import DeltaError
        from pyarrow import ArrowException

        if not isinstance(error, ClientError | BotoCoreError | ResponseParserError | DeltaError | ArrowException):
            raise  # a bug of ours: all of it helps
        remedy = "what is finished is kept, so run again, or `tkm verify` where that does not help"
        sys.exit(_say(error, SOME_FAILED, f"the store, or what is read, failed; {remedy}: "))


def _say(error: Exception, status: int, before: str = "") -> int:
    message = before + str(error)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    # delta-rs paints its errors, and puts each cause on a line of its own.
    message = plain(re.sub(r"\n *↳ *", ": ", re.sub(r"\x1b\[[0-9;]*m", "", message)))
    Console(stderr=True).print(f"[bold red]tkm:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return status


@app.command()
@with_settings
def annotate(
    output: Output,
    input: Input = None,
    detections: Detections = None,
    images: Images = None,
    settings: SettingsFile = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Annotate every person in the videos of INPUT with poses and track ids; what the output holds is not computed again.

    With --detections, boxes or poses from files take the place of our detector or of our networks.
    """
    chosen = load_settings(options, settings)
    use_s3(chosen)
    if dry_run:
        from flows.preview import page, preview

        for part in page(preview(input, Store(output), chosen, detections, images)):
            console.print(part, highlight=False)
        return
    from flows.detections import wanted_videos
    from flows.weights import chosen_params

    # What is mistyped, or cannot be reached or written, must not wait for Prefect and Dask to start.
    store = Store(output)
    store.reach()
    chosen_params(store, wanted_videos(store, input, detections, images, chosen, write=False), chosen, write=False)
    check_start(store, chosen)

    def call() -> Any:
        from flows.annotate import annotate as flow

        own = chosen.model_dump(mode="json", exclude={"s3"}, exclude_unset=True)  # a default stays one in the flow
        return flow(input, output, own, detections, images, quiet=quiet)

    _run(call, chosen, quiet)


def _run(call: Callable[[], Any], chosen: Any, quiet: bool) -> None:
    """Call a flow that annotates, tell what came of it, and exit accordingly."""
    summary = with_server(call, chosen, quiet=quiet)
    if not quiet:
        summarise(console, summary)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)


@app.command()
@with_manner
def rerun(
    uri: Address,
    stage: StageName,
    set_: Change = None,
    videos: Videos = None,
    settings: SettingsFile = None,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Run one stage of the published videos (or of URI@RUN) again, and what rests on it, as a run of its own.

    With --set, or other weights, under other parameters: the dataset then shows the new results, URI@RUN the old ones. Without,
    the stage's results are computed anew. All other parameters are those that the videos had.
    """
    from flows.again import dependents, wanted_again
    from flows.weights import check_again, kept_weights

    root, run = split_address(uri)
    chosen = load_settings(options, settings)
    use_s3(chosen)
    store = open_store(root)
    wanted = wanted_again(store, run, stage, set_ or [], videos or [], kept_weights(None, chosen))
    check_again(store, wanted, chosen, () if set_ or chosen.weights.files() else dependents(stage))
    check_start(store, chosen)

    def call() -> Any:
        from flows.annotate import rerun as flow

        return flow(store.root, run, stage, set_ or [], videos or [], manner(chosen, weights=True), quiet=quiet)

    _run(call, chosen, quiet)


@app.command()
def verify(uri: Address) -> None:
    """Read every byte of the artifacts and tables; withdraw what is damaged, so that the next run computes it again."""
    from storage import runs
    from tasks.verify import (
        verify_artifacts,
        verify_corrections,
        verify_given,
        verify_records,
        verify_tables,
        verify_weights,
    )

    root, _ = split_address(uri)
    store = open_store(root)
    runs.find_run(store, None)
    stages = verify_artifacts(store, lambda stage: Console(stderr=True).print(f"reading {shown(stage)} ...", style="dim"))
    given, weights, records = verify_given(store), verify_weights(store), verify_records(store)
    corrected = verify_corrections(store)
    published = verify_tables(store)
    table = Table("stage", "artifacts", "chunks", "MB", "damaged chunks", title=shown(store.root))
    for stage in stages:
        counts = (stage.artifacts, stage.chunks, f"{stage.bytes / 1e6:.2f}", len(stage.damage))
        table.add_row(shown(stage.stage), *map(str, counts))
    console.print(table)
    without = f", {published.unknown} without artifacts to compare" if published.unknown else ""
    console.print(f"published tables: {published.videos} videos compared{without}", highlight=False)
    damage = [one for stage in stages for one in stage.damage]
    for one in damage:
        console.print(f"[red]damaged[/] {one_line(one)}: withdrawn; the next run computes it again", highlight=False)
    for name in given:
        again = "give it again with `tkm annotate --detections`"
        console.print(f"[red]damaged[/] {one_line(name)}: removed; {again}", highlight=False)
    for name in weights:
        again = "run again with the option that gave it, such as --pose-weights, and its file"
        console.print(f"[red]damaged[/] {one_line(name)}: removed; {again}", highlight=False)
    for name in corrected:
        again = "import it again with `tkm import-corrections`, or run again to do without"
        console.print(f"[red]damaged[/] {one_line(name)}: removed; {again}", highlight=False)
    for record in records:
        console.print(f"[red]damaged[/] {one_line(record)}", highlight=False)
    for one in published.damage:
        console.print(f"[red]damaged[/] tables: {one_line(one)}: written anew from the artifacts", highlight=False)
    if damage or given or weights or corrected or records or published.damage:
        raise typer.Exit(SOME_FAILED)


@app.command()
def status(uri: Address, as_json: AsJson = False) -> None:
    """Done, missing and failed videos of a run, stage by stage, with seconds and bytes."""
    from flows.status import run_status

    root, run = split_address(uri)
    found = run_status(open_store(root), run)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    title = f"{found.run}: {found.videos} videos, {found.state}"
    table = Table("stage", "done", "missing", "failed", "seconds", "MB", title=title)
    for stage in found.stages:
        counts = (str(count) for count in (stage.done, stage.missing, stage.failed))
        about = "about " if stage.is_estimate else ""
        table.add_row(stage.stage, *counts, f"{about}{stage.seconds:.1f}", f"{about}{stage.bytes / 1e6:.2f}")
    console.print(table)
    for failure in found.failures:
        console.print(f"[red]failed[/] at {shown(failure.stage)}: {one_line(failure.message)}", highlight=False, soft_wrap=True)


@app.command()
def describe(as_markdown: AsMarkdown = False) -> None:
    """The stages, their parameters, all other settings, and the tables with columns and units."""
    from flows.describe import stage_table, whole

    if as_markdown:
        print(stage_table())
        return
    for part in whole():
        console.print(part, highlight=False)


@app.command()
def render(uri: Address, output: Folder = None, video: Video = None, trail: Trail = 30) -> None:
    """Draw skeletons, track ids and trails over the videos."""
    from flows.render import render as draw

    root, run = split_address(uri)
    store = open_store(root)
    if output is None and not store.is_local:
        raise SettingsError("--output: give a local folder for the overlay videos, since the results are not on this machine")
    for path in draw(store, run, output or Path(store.root) / "renders", video=video, trail_frames=trail):
        console.print(shown(str(path)), highlight=False, soft_wrap=True)


@app.command()
def show(uri: Address, rows: Rows = 5) -> None:
    """The videos, the people that were found in them, and the first rows of `poses`."""
    from flows.show import first_poses, people, results_overview

    root, run = split_address(uri)
    store = open_store(root)
    console.print(results_overview(store, run))
    console.print(people(store, run))
    console.print(first_poses(store, run, rows))


@app.command()
def export(
    uri: Address, format_: Format, output: Target, videos: Videos = None, suspects: SuspectsOnly = False, images: Prefix = None
) -> None:
    """Write results as PoseTrack's or COCO's JSON, as plain Parquet files, or for CVAT or Label Studio to correct."""
    from flows.export import export as write

    root, run = split_address(uri)
    for path in write(open_store(root), run, format_, output, videos or [], suspects_only=suspects, images=images):
        console.print(shown(path), highlight=False, soft_wrap=True)


@app.command()
def doctor(output: Reach = None) -> None:
    """What this machine has: device, decoders, weights, store."""
    from flows.doctor import checks

    use_s3(load_settings({}))
    found = checks(output)
    table = Table("check", "", "found", "what to do")
    for check in found:
        mark, advice = ("[green]ok[/]", "") if check.ok else ("[red]no[/]", check.advice)
        table.add_row(check.name, mark, shown(check.detail), escape(advice))
    console.print(table)
    if not all(check.ok for check in found):
        raise typer.Exit(SOME_FAILED)


for command in (evaluate, synthesize, ablate, report, view, query, tables, lineage, diff, gc, corrections, import_corrections):
    app.command()(command)


if __name__ == "__main__":
    main()
