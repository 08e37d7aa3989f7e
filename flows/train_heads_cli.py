"""`tkm train temporal` and `tkm train body`: heads, on what `tkm annotate` made of videos and a truth says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.arguments import DryRun, Output, Quiet, SettingsFile, Videos
from flows.options import with_params
from flows.settings import SettingsError, load_settings, use_s3
from flows.settings import manner as engine_of
from flows.terminal import plain
from flows.train_cli import CheckpointSteps, Device, checked
from storage.store import Store
from tasks.estimate import EMBEDDED
from tasks.fit import Processes
from tasks.head_params import HeadTrainParams, MatchingTrainParams, TemporalTrainParams

if TYPE_CHECKING:
    from flows.train_heads import Learned

_Results = Annotated[
    list[str], typer.Argument(metavar="RESULTS", help="outputs of `tkm annotate`, or URI@RUN for one of their runs; several")
]
_Truth = Annotated[
    str,
    typer.Option("--truth", metavar="PATH", help="PoseTrack or COCO JSON, with track ids, of these videos; a folder or a glob"),
]
_Matching = Annotated[
    str | None,
    typer.Option("--matching-weights", metavar="FILE", help="matching head under which refinement is trained; else a new one"),
]
_Save = Annotated[str | None, typer.Option("--save", metavar="FOLDER", help="copy the trained heads to this folder, too")]


@with_params(TemporalTrainParams, cluster=True)
def temporal(
    results: _Results,
    truth: _Truth,
    output: Output,
    matching_weights: _Matching = None,
    videos: Videos = None,
    save: _Save = None,
    device: Device = None,
    checkpoint_steps: CheckpointSteps = None,
    settings: SettingsFile = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Train a keypoint matching head and, under it, a refinement head, stage 2 of the paper; with --tau 0 self-refinement alone.

    The pose network stays as RESULTS had it: what it sees of their people is computed once and kept beside them.
    """
    params = checked(TemporalTrainParams, options)
    if matching_weights is not None and not params.tau:
        raise SettingsError("--matching-weights: with --tau 0 nothing is matched; leave it out")
    chosen = _prepared(params, save, options, settings)
    manner = {"device": device, "checkpoint_steps": checkpoint_steps, "save": save, "quiet": quiet}

    def preview(store: Store) -> Iterator[str]:
        from flows.train_heads_preview import preview_temporal

        return preview_temporal(store, params, results, truth, videos or [], matching_weights)

    def call(run: Callable[[Any], Any]) -> Learned:
        from flows.train_heads import train_temporal

        given = params.model_dump(), matching_weights, videos or [], engine_of(chosen), manner
        learned: Learned = run(train_temporal)(results, truth, output, *given)
        return learned

    def check() -> None:
        from flows.train_heads_preview import check_data

        check_data(results, truth, videos or [], matching_weights)

    learned = _carry_out(output, chosen, manner, check, preview if dry_run else None, call)
    if learned is not None and not quiet:
        divisor = "" if params.divisor == "window" or not params.tau else f" --refine-divisor {params.divisor}"
        similarity = "--track-similarity tkm " if params.tau else ""
        tell(learned, f"{similarity}--refine --paths-tau {params.tau}{divisor}", matching_weights)


@with_params(MatchingTrainParams, cluster=True)
def body(
    results: _Results,
    truth: _Truth,
    output: Output,
    videos: Videos = None,
    save: _Save = None,
    device: Device = None,
    checkpoint_steps: CheckpointSteps = None,
    settings: SettingsFile = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Train a head that matches whole bodies (TBM), the paper's comparison; on the same samples as `tkm train temporal`."""
    params = checked(MatchingTrainParams, options)
    chosen = _prepared(params, save, options, settings)
    manner = {"device": device, "checkpoint_steps": checkpoint_steps, "save": save, "quiet": quiet}

    def preview(store: Store) -> Iterator[str]:
        from flows.train_heads_preview import preview_body

        return preview_body(store, params, results, truth, videos or [])

    def call(run: Callable[[Any], Any]) -> Learned:
        from flows.train_heads import train_body

        learned: Learned = run(train_body)(
            results, truth, output, params.model_dump(), videos or [], engine_of(chosen), manner
        )
        return learned

    def check() -> None:
        from flows.train_heads_preview import check_data

        check_data(results, truth, videos or [], None)

    learned = _carry_out(output, chosen, manner, check, preview if dry_run else None, call)
    if learned is not None and not quiet:
        tell(learned, "--track-similarity tbm", None)


def _prepared(params: HeadTrainParams, save: str | None, options: Mapping[str, Any], file: Path | None) -> Any:
    """Settings of engine and S3, in use. SettingsError, naming the option, for what does not go together."""
    chosen = load_settings({name: section for name, section in options.items() if name != "params"}, file)
    use_s3(chosen)
    world = Processes.of_environment().world
    if world > 1 and chosen.engine.dask is not None:
        raise SettingsError("--dask: processes that torchrun starts make the samples themselves; leave it out")
    if params.batch_size % world:
        size = params.batch_size
        raise SettingsError(f"--batch-size {size} cannot be shared out among {world} processes: give a multiple of {world}")
    if save is not None and not Path(save).is_dir() and (Path(save).exists() or not Path(save).parent.is_dir()):
        raise SettingsError(f"--save {save}: give a folder, or the name of a new one in a folder that is there")
    return chosen


def _carry_out(
    output: str,
    chosen: Any,
    manner: Mapping[str, Any],
    check: Callable[[], None],
    preview: Callable[[Store], Iterator[str]] | None,
    call: Callable[[Callable[[Any], Any]], Learned],
) -> Learned | None:
    """Run a flow, or say what it would do; None where this process has nothing to tell.

    Args: check, raises for what is mistyped; call, calls the flow, by way of a function that makes of a flow what is to be called
        in this process.
    """
    store = Store(output)
    store.reach()
    check()
    from flows.train import Manner

    Manner(**{**manner, "save": None}).checked()
    if preview is not None:
        for line in preview(store):
            print(plain(line))
        return None
    if Processes.of_environment().world > 1:
        learned = call(lambda flow: flow.fn)  # see flows.train
        return learned if learned.outcomes else None
    from flows.starting import check_start, with_server

    check_start(store, chosen)
    found: Learned = with_server(lambda: call(lambda flow: flow), chosen, quiet=bool(manner["quiet"]))
    return found


def tell(learned: Learned, use: str, matching_weights: str | None) -> None:
    """Print where the heads lie, and the command that uses them, with these options beside their files."""
    lines, files = [], [f"--matching-weights {matching_weights}"] if matching_weights else []
    for outcome in learned.outcomes:
        root, what = outcome.training.store.root, outcome.training.what
        before = "was done before; " if outcome.was_done else ""
        lines.append(f"{what}: {before}{root}/{outcome.trained.name}   curves: {root}/{outcome.training.folder}/curves.png")
        files.append(f"--{what.removeprefix('self-')}-weights {root}/{outcome.trained.name}")
    if learned.network != EMBEDDED:
        use = f"--estimate-network {learned.network} --pose-weights ITS_FILE {use}"
    lines.insert(0, f"samples: {learned.people} people   table: {root}/tables/trainings")
    lines.append(f"next: tkm annotate VIDEOS --output OUT {use} {' '.join(files)}")
    Console().print(plain("\n".join(lines)), highlight=False, soft_wrap=True, markup=False)
