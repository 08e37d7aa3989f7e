"""`tkm`: annotate videos, look at what is done, describe the stages, draw overlays, check the machine."""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows.settings import Engine, SettingsError, load_settings, stage_params
from storage.runs import split_address
from storage.schemas import PUBLISHED, describe, description_of, name_of, unit_of
from storage.sources import InputError, find_sources
from storage.store import Store, StoreError
from tasks.pipeline import PIPELINE, STEPS
from tasks.stage import Stage

USAGE, SOME_FAILED = 2, 1  # exit statuses: wrong usage or settings; some videos failed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Annotate every person in videos with 2D poses and track ids, and keep the results as tables.",
)
console = Console()

Address = Annotated[str, typer.Argument(metavar="URI", help="output of `tkm annotate`, or URI@RUN for one of its runs")]


def main() -> None:
    """Entry point: errors a user can mend are a sentence and exit status 2, never a traceback."""
    try:
        app()
    except (SettingsError, InputError, StoreError) as error:
        Console(stderr=True).print(f"[bold red]tkm:[/] {error}", highlight=False, markup=True)
        sys.exit(USAGE)


def option_name(stage: Stage, name: str) -> str:
    """Option of a stage's parameter: `--track-similarity`; those of index, the sampling, stand for themselves: `--fps`."""
    prefix = f"{stage.name}-" if stage.inputs else ""
    return f"--{prefix}{name.replace('_', '-')}"


def _parameter_options() -> Iterable[tuple[str, str, inspect.Parameter]]:
    """Section, name and typer parameter for every stage parameter and engine setting."""
    for stage in PIPELINE:
        for name, field in stage.Params.model_fields.items():
            yield stage.name, name, _option(f"{stage.name}__{name}", option_name(stage, name), field, f"stage {stage.name}")
    for name, field in Engine.model_fields.items():
        yield "engine", name, _option(f"engine__{name}", f"--{name.replace('_', '-')}", field, "engine")


def _option(variable: str, flag: str, field: Any, panel: str) -> inspect.Parameter:
    is_flag = field.annotation is bool
    default = "none" if field.default is None else field.default
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_flag else flag,
        help=f"{field.description} [default: {default}]",
        rich_help_panel=panel,
        metavar=None if is_flag else _metavar(field.annotation),
        show_default=False,
    )
    annotation = Annotated[bool | None, option] if is_flag else Annotated[str | None, option]
    return inspect.Parameter(variable, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _metavar(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return {int: "N", float: "X", str: "TEXT"}[annotation]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting; it gets them as `options`, section -> name -> value, those given only."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
    sections = {parameter.name: (section, name) for section, name, parameter in _parameter_options()}

    def wrapped(**values: Any) -> None:
        options: dict[str, dict[str, Any]] = {}
        for variable, (section, name) in sections.items():
            value = values.pop(variable)
            if value is not None:
                options.setdefault(section, {})[name] = value
        command(options=options, **values)

    parameters = [*own, *(parameter for _, _, parameter in _parameter_options())]
    wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped


@app.command()
@with_settings
def annotate(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="video, folder, glob, or list of addresses (.txt, .csv, .parquet)")],  # noqa: A002
    output: Annotated[str, typer.Option("--output", "-o", metavar="URI", help="folder or URL that holds all results")],
    settings: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with a section a stage, and `engine`")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and what is there already; write nothing")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress, no summary")] = False,
    options: Any = None,
) -> None:
    """Annotate every person in the videos of INPUT with poses and track ids; what the output already holds is not computed again."""
    chosen = load_settings(options, settings)
    if dry_run:
        _dry_run(input, output, chosen)
        return
    find_sources(input)  # a mistyped input must not wait for Prefect and Dask to start
    if not quiet:
        Console(stderr=True).print("starting Prefect and Dask ...", style="dim")
    from flows.annotate import annotate as flow  # Prefect takes seconds to import: only where it is needed

    summary = flow(input, output, chosen.model_dump(mode="json"), quiet=quiet)
    if not quiet:
        _summarise(summary)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)


def _summarise(summary: Any) -> None:
    computed = ", ".join(f"{stage} {count}" for stage, count in summary.frames.items() if count)
    console.print(
        f"\n{summary.videos} videos in {summary.seconds:.1f} s: {summary.changed} published, "
        f"{len(summary.failures)} failed. Frames computed: {computed or 'none, all was there'}.",
        highlight=False,
    )
    for failure in summary.failures:
        again = "; tried again with --retry-failed" if failure.is_permanent else "; run again to retry"
        console.print(f"  [red]failed[/] at {failure.stage}: {failure.message}{again}", highlight=False)
    console.print(
        f"tables: {summary.root}/tables   run: {summary.run}\n"
        f"next:   tkm show {summary.root}   tkm render {summary.root}   tkm status {summary.root}",
        highlight=False,
        soft_wrap=True,
    )


def _dry_run(input_: str, output: str, chosen: Any) -> None:
    from flows.groups import make_groups, read_digests, with_missing
    from flows.work import digest_video
    from tasks.plan import plan_video

    store, params = Store(output), stage_params(chosen)
    counts = {stage.name: 0 for stage in PIPELINE}
    videos, unreadable = 0, []
    for group in make_groups(find_sources(input_)):
        known = read_digests(store, group)
        plans = []
        for source in group.sources:
            videos += 1
            try:
                plans.append(plan_video(store, source, digest_video(source, known.get(source.uri)).content_sha256, params))
            except OSError as error:
                unreadable.append(f"{source.uri}: {error}")
        for missing in with_missing(group, plans, store).missing.values():
            for stage in missing:
                counts[stage] += 1
    table = Table("stage", "there already", "would run", title=f"{videos} videos, nothing written")
    for stage, count in counts.items():
        table.add_row(stage, str(videos - len(unreadable) - count), str(count))
    console.print(table)
    for line in unreadable:
        console.print(f"[red]cannot be read[/] {line}", highlight=False)


@app.command()
def status(
    uri: Address,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Done, missing and failed videos of a run, stage by stage, with seconds and bytes."""
    from flows.status import run_status

    root, run = split_address(uri)
    found = run_status(Store(root), run)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    table = Table("stage", "done", "missing", "failed", "seconds", "MB", title=f"{found.run}: {found.videos} videos, {found.state}")
    for stage in found.stages:
        table.add_row(
            stage.stage, str(stage.done), str(stage.missing), str(stage.failed), f"{stage.seconds:.1f}", f"{stage.bytes / 1e6:.2f}"
        )
    console.print(table)
    for failure in found.failures:
        console.print(f"[red]{failure['uri']}[/] failed at {failure['stage']}: {failure['message']}", highlight=False)


@app.command(name="describe")
def describe_(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="the README's stage table")] = False,
) -> None:
    """The stages, their parameters, and the tables with columns and units."""
    if as_markdown:
        print(stage_table())
        return
    for stage in PIPELINE:
        step = next(name for name, stages in STEPS.items() if stage in stages)
        takes = ", ".join(source.name for source in stage.inputs) or "the video"
        console.print(f"\n[bold]{stage.name}[/] (version {stage.version}, step {step}) takes {takes}; {(_doc(stage))}", highlight=False)
        for name, field in stage.Params.model_fields.items():
            console.print(f"  {option_name(stage, name)}  {field.description} [dim]default: {field.default}[/]", highlight=False)
        _columns(stage.output)
    console.print("\n[bold]Published tables[/]")
    for schema in PUBLISHED:
        _columns(schema)


def _columns(schema: Any) -> None:
    table = Table("column", "type", "unit", "what it holds", title=f"{name_of(schema)}: {describe(schema)}", title_justify="left")
    for field in schema:
        table.add_row(field.name, str(field.type).split("<")[0], unit_of(field), description_of(field))
    console.print(table)


def _doc(stage: Stage) -> str:
    text = inspect.getdoc(sys.modules[stage.run.__module__]) or ""
    return " ".join(text.split("\n\n")[0].split()).partition(": ")[2]


def stage_table() -> str:
    """The pipeline as a Markdown table, for the README."""
    lines = ["| stage | takes | makes | on | what it does |", "| --- | --- | --- | --- | --- |"]
    for stage in PIPELINE:
        takes = ", ".join(source.name for source in stage.inputs) or "the video"
        where = "GPU" if stage.resources.gpus else "CPU"
        lines.append(f"| {stage.name} | {takes} | `{name_of(stage.output)}` | {where} | {_doc(stage)} |")
    return "\n".join(lines)


@app.command()
def render(
    uri: Address,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="where the overlay videos go [default: URI/renders]")] = None,
    video: Annotated[str | None, typer.Option(metavar="ID", help="id, name or glob of the videos to draw [default: all]")] = None,
    trail: Annotated[int, typer.Option(metavar="FRAMES", min=0, help="length of the trails")] = 30,
) -> None:
    """Draw skeletons, track ids and trails over the videos."""
    from flows.render import render as draw

    root, run = split_address(uri)
    store = Store(root)
    if output is None and not store.is_local:
        raise SettingsError("--output: give a local folder for the overlay videos, since the results are not on this machine")
    for path in draw(store, run, output or Path(store.root) / "renders", video=video, trail_frames=trail):
        console.print(str(path), highlight=False, soft_wrap=True)


@app.command()
def show(
    uri: Address,
    rows: Annotated[int, typer.Option(min=1, help="rows of poses to print")] = 5,
) -> None:
    """The people that were found, and the first rows of `poses`."""
    from flows.show import first_poses, people

    root, run = split_address(uri)
    console.print(people(Store(root), run))
    console.print(first_poses(Store(root), run, rows))


@app.command()
def doctor(
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="URI", help="also check that results can be kept here")] = None,
) -> None:
    """What this machine has: device, decoders, weights, store."""
    from flows.doctor import checks

    found = checks(output)
    table = Table("check", "", "found", "what to do")
    for check in found:
        table.add_row(check.name, "[green]ok[/]" if check.ok else "[red]no[/]", check.detail, "" if check.ok else check.advice)
    console.print(table)
    if not all(check.ok for check in found):
        raise typer.Exit(SOME_FAILED)


if __name__ == "__main__":
    main()
