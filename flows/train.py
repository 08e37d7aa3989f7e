"""train: a network or head trained from beginning to end, each kind by a flow of its own.

What is done is asked of the store alone, as everywhere: the same flow again goes on where it stopped. Prefect records a training
by one process. Among several, which `torchrun` starts and ends together, no process has a flow: a server would have to be one's
alone, and would know nothing of the others; `flows.train_cli` calls the functions below the flows there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prefect import flow

from flows.settings import SettingsError
from storage.store import Store
from tasks.detector_trainee import DetectorTrainParams
from tasks.fit import Processes
from tasks.pose_trainee import PoseTrainParams
from tasks.train_detector import order as detector_order
from tasks.train_pose import order as pose_order
from tasks.training import Order, Outcome, carry_out


class Manner(NamedTuple):
    """How a training is carried out, which is no part of its key.

    device             `cpu` or `cuda`; None for the latter where there is one
    checkpoint_steps   steps after which a checkpoint is written within an epoch; None for those at its end alone
    save               local file that the weights are copied to; None for the store alone
    quiet              whether nothing is said
    """

    device: str | None = None
    checkpoint_steps: int | None = None
    save: str | None = None
    quiet: bool = False

    def checked(self) -> Manner:
        """The manner with its device chosen. Raises SettingsError, naming the option, where it cannot be had."""
        import torch

        has_cuda = torch.cuda.is_available()
        if self.device not in (None, "cpu", "cuda"):
            raise SettingsError(f"--device: give cpu or cuda, not {self.device}")
        if self.device == "cuda" and not has_cuda:
            raise SettingsError("--device cuda: there is no CUDA device here; leave it out, or give cpu")
        if self.save is not None and (not Path(self.save).resolve().parent.is_dir() or Path(self.save).is_dir()):
            raise SettingsError(f"--save {self.save}: give a file, in a folder that is there")
        return self._replace(device=self.device or ("cuda" if has_cuda else "cpu"))


@flow(name="train-pose", validate_parameters=False)
def train_pose(
    output: str, params: Mapping[str, Any], files: Mapping[str, Any], manner: Mapping[str, Any] | None = None
) -> Outcome | None:
    """Train a pose network, stage 1 of the paper, and keep it in `output`.

    `params` holds what PoseTrainParams takes, `files` what `tasks.train_pose.order` takes beside them (`truth`, `images`,
    `val_truth`, `val_images`, `init`, `pose_weights`), `manner` what Manner takes.
    """
    store = Store(output)
    return finish(store, pose_order(store, PoseTrainParams(**params), **files), Manner(**manner or {}))


@flow(name="train-detector", validate_parameters=False)
def train_detector(
    output: str, params: Mapping[str, Any], files: Mapping[str, Any], manner: Mapping[str, Any] | None = None
) -> Outcome | None:
    """Train a person detector, and keep it in `output`.

    `params` holds what DetectorTrainParams takes, `files` what `tasks.train_detector.order` takes beside them (`truth`, `images`,
    `val_truth`, `val_images`, `init`, `detector_weights`), `manner` what Manner takes.
    """
    store = Store(output)
    return finish(store, detector_order(store, DetectorTrainParams(**params), **files), Manner(**manner or {}))


def finish(store: Store, order: Order, manner: Manner) -> Outcome | None:
    """Train what is left of an order, by this process or its share of it; None for all processes but the first.

    Raises: SettingsError where manner, or the batch's size, does not go with this machine and number of processes.
    """
    manner, processes = manner.checked(), Processes.of_environment()
    check_batch(order, processes)
    outcome = carry_out(
        store,
        order,
        device=manner.device or "cpu",
        checkpoint_steps=manner.checkpoint_steps,
        processes=processes,
        say=_silent if manner.quiet or processes.rank else _say,
    )
    if outcome is not None and manner.save is not None:
        Path(manner.save).write_bytes(store.read(outcome.trained.name))
    return outcome


def check_batch(order: Order, processes: Processes) -> None:
    """Raise SettingsError unless a batch can be shared out evenly."""
    batch_size, world = order.params.batch_size, processes.world
    if batch_size % world:
        raise SettingsError(f"--batch-size {batch_size} cannot be shared out among {world} processes: give a multiple of {world}")


def state(store: Store, order: Order) -> str:
    """What there is of a training, and what would be done: for --dry-run."""
    training = order.training(store)
    epochs, where = order.params.schedule.epochs, f"training {training.key[:8]} of {order.what}"
    if training.finished() is not None:
        return f"{where} is done: nothing would be trained"
    newest, damaged = training.newest(withdraw=False)
    known = f"; {len(damaged)} damaged checkpoints would be removed" if damaged else ""
    if newest is None:
        return f"{where}: {epochs} epochs would be trained, from the beginning{known}"
    return f"{where}: would go on after {newest.epoch} of {epochs} epochs and {newest.step} steps{known}"


_silent: Callable[[str], None] = lambda line: None  # noqa: E731, ARG005


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
