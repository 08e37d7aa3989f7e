"""`tkm train`: one command a kind of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from flows.arguments import DryRun, Output, Quiet
from flows.options import with_params
from flows.settings import SettingsError
from flows.starting import open_store
from flows.terminal import plain
from storage.store import Store
from tasks.detector_trainee import DetectorTrainParams
from tasks.fit import Processes
from tasks.pose_trainee import PoseTrainParams
from tasks.training import Order, Outcome, TrainParams

INTERRUPTED = 130
Chosen = TypeVar("Chosen", bound=TrainParams)

train = typer.Typer(
    no_args_is_help=True,
    help="Train the paper's networks and heads; the same command again goes on where it stopped.\n\n"
    "On several GPUs: torchrun --nproc-per-node 4 -m flows.cli train ...",
)

TruthFiles = Annotated[str, typer.Option("--truth", metavar="PATH", help="COCO or PoseTrack JSON, a folder or a glob of it")]
Pictures = Annotated[
    str | None, typer.Option("--images", metavar="PATH", help="what the truth's pictures lie below (default: beside the truth)")
]
ValTruth = Annotated[str | None, typer.Option(metavar="PATH", help="truth to validate on, in place of a share of --truth")]
ValImages = Annotated[str | None, typer.Option(metavar="PATH", help="what its pictures lie below")]
Init = Annotated[str | None, typer.Option(metavar="FILE", help="ImageNet weights of the backbone, torchvision's or timm's")]
PoseWeights = Annotated[str | None, typer.Option(metavar="FILE", help="network that was trained for poses, to go on from")]
DetectorWeights = Annotated[
    str | None, typer.Option(metavar="FILE", help="trained Faster R-CNN to go on from, such as torchvision's for COCO")
]
Save = Annotated[str | None, typer.Option(metavar="FILE", help="copy the trained weights to this file, too")]
Device = Annotated[str | None, typer.Option(metavar="cpu|cuda", help="default: cuda where there is a device")]
CheckpointSteps = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="also keep a checkpoint every N steps of an epoch (default: at its end)")
]


@train.command()
@with_params(PoseTrainParams)
def pose(
    output: Output,
    truth: TruthFiles,
    images: Pictures = None,
    val_truth: ValTruth = None,
    val_images: ValImages = None,
    init: Init = None,
    pose_weights: PoseWeights = None,
    save: Save = None,
    device: Device = None,
    checkpoint_steps: CheckpointSteps = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Train a pose network's backbone and keypoint head, stage 1 of the paper: on COCO, then on PoseTrack from those weights."""
    files: dict[str, Any] = {"truth": truth, "images": images, "val_truth": val_truth, "val_images": val_images}
    files |= {"init": init, "pose_weights": pose_weights}
    params = checked(PoseTrainParams, options)

    def order(store: Store | None) -> Order:
        from tasks.train_pose import order

        return order(store, params, **files)

    def call(run: Any) -> Outcome | None:
        from flows.train import train_pose

        return run(train_pose)(output, params.model_dump(), files, manner)

    manner = {"device": device, "checkpoint_steps": checkpoint_steps, "save": save, "quiet": quiet}
    found = carry_out(output, order, call, manner, dry_run=dry_run)
    if found is not None and not quiet:
        use = f"tkm annotate VIDEOS --output OUT --estimate-network {params.network} --estimate-input-px {params.input_px}"
        tell(found, use, "--pose-weights")


@train.command()
@with_params(DetectorTrainParams)
def detector(
    output: Output,
    truth: TruthFiles,
    images: Pictures = None,
    val_truth: ValTruth = None,
    val_images: ValImages = None,
    init: Init = None,
    detector_weights: DetectorWeights = None,
    save: Save = None,
    device: Device = None,
    checkpoint_steps: CheckpointSteps = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Train a person detector, Faster R-CNN: on COCO, then on PoseTrack from those weights; validated by COCO's AP of boxes."""
    files: dict[str, Any] = {"truth": truth, "images": images, "val_truth": val_truth, "val_images": val_images}
    files |= {"init": init, "detector_weights": detector_weights}
    params = checked(DetectorTrainParams, options)

    def order(store: Store | None) -> Order:
        from tasks.train_detector import order

        return order(store, params, **files)

    def call(run: Any) -> Outcome | None:
        from flows.train import train_detector

        return run(train_detector)(output, params.model_dump(), files, manner)

    manner = {"device": device, "checkpoint_steps": checkpoint_steps, "save": save, "quiet": quiet}
    found = carry_out(output, order, call, manner, dry_run=dry_run)
    if found is not None and not quiet:
        deformable = " --detect-deformable" * params.deformable
        tell(found, f"tkm annotate VIDEOS --output OUT --detect-network {params.network}{deformable}", "--detector-weights")


def checked(kind: type[Chosen], options: Mapping[str, Any]) -> Chosen:
    """Parameters from options; SettingsError names those that are wrong."""
    try:
        return kind(**options.get("params", {}))
    except ValidationError as error:
        lines = [_sentence(problem) for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def carry_out(
    output: str,
    order: Callable[[Store | None], Order],
    call: Callable[[Callable[[Any], Any]], Outcome | None],
    manner: Mapping[str, Any],
    *,
    dry_run: bool,
) -> Outcome | None:
    """Run a training's flow, or say what it would do; None where this process has nothing to tell.

    Args: order, builds the order, and keeps its first weights in the store that it gets; call, calls the flow, by way of a
        function that makes of a flow what is to be called in this process.
    """
    store = open_store(output)
    processes = Processes.of_environment()
    if dry_run:
        from flows.train import state

        print(plain(state(store, order(None))))
        return None
    if processes.world > 1:
        return call(lambda flow: flow.fn)  # see flows.train
    from flows.server import prefect_server
    from flows.train import Manner, check_batch

    # What is mistyped, or does not fit, must not wait for Prefect to start.
    Manner(**manner).checked()
    check_batch(order(None), processes)
    store.check()
    say = Console(stderr=True, quiet=bool(manner["quiet"]))
    say.print("starting Prefect ...", style="dim")
    try:
        with prefect_server() as wait_ready:
            wait_ready()
            return call(lambda flow: flow)
    except KeyboardInterrupt:
        say.print("stopped; checkpoints are kept, and the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


def tell(found: Outcome, use: str, option: str) -> None:
    """Print where the weights lie, and the command that uses them."""
    root, folder = found.training.store.root, found.training.folder
    before = "all was done before; " if found.was_done else ""
    Console().print(
        f"{before}weights: {root}/{found.trained.name}\ncurves:  {root}/{folder}/curves.png   table: {root}/tables/trainings\n"
        f"next:    {use} {option} {root}/{found.trained.name}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _sentence(problem: Any) -> str:
    """One line on a wrong parameter, which names its option."""
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if not problem["loc"]:
        return message.replace("input_px", "--input-px").replace("caffe_style", "--caffe-style")
    return f"--{str(problem['loc'][0]).replace('_', '-')}: {message} (given: {plain(repr(problem['input']))})"
