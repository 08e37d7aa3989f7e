"""A training from beginning to end: planned by what decides its result, carried out or found done, metrics and curves kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from storage import tables
from storage.learning_schemas import TRAINED, TRAININGS
from storage.store import Store
from storage.trainings import Metric, Trained, Training
from tasks.fit import ALONE, Processes, Trainee, TrainingRun, fit
from tasks.stage import Params
from tkm.training.curves import draw_curves
from tkm.training.schedule import Schedule

if TYPE_CHECKING:
    from torch import nn


class TrainParams(Params):
    """Parameters that every training has; `usual` is the schedule that they change."""

    usual: ClassVar[Schedule]

    seed: int = Field(0, ge=0, description="of new weights, the order of samples, augmentation and what is held out")
    epochs: int | None = Field(
        None, ge=1, description="passes over the data (default: the paper's); where the rate falls moves along"
    )
    lr: float | None = Field(None, gt=0, description="first learning rate (default: the paper's)")
    batch_size: int = Field(32, ge=1, description="samples a step, of all processes together")

    @property
    def schedule(self) -> Schedule:
        """The usual schedule, with what is asked for changed."""
        return self.usual.changed(epochs=self.epochs, lr=self.lr)


@dataclass(frozen=True)
class Order:
    """A training that is wanted.

    what      what is trained: `pose`, `matching`, ...; it names the weights file, too
    version   raised whenever the results of the same training change
    params    all parameters, which are part of its key
    weights   digests of the weights that it starts from, by what they are for
    data      digests of what it learns from and is validated on, by what they are for
    suffix    of the weights file: `.pth`, `.safetensors`
    build     makes the trainee; called where there is something to train
    pack      the bytes of the weights file of a trained model
    facts     what else people should find beside the weights, such as addresses; no part of the key
    """

    what: str
    version: int
    params: TrainParams
    weights: Mapping[str, str]
    data: Mapping[str, str]
    suffix: str
    build: Callable[[], Trainee]
    pack: Callable[[nn.Module], bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def training(self, store: Store) -> Training:
        """The training in a store, whatever there is of it."""
        params = self.params.model_dump(mode="json", exclude={"epochs", "lr"}) | {"schedule": asdict(self.params.schedule)}
        return Training.plan(store, self.what, self.version, params, self.weights, self.data)


@dataclass(frozen=True)
class Outcome:
    """What came of an order: where its weights lie, and its metrics, epoch by epoch. was_done: nothing was left to train."""

    training: Training
    trained: Trained
    metrics: tuple[Metric, ...]
    was_done: bool


def carry_out(
    store: Store,
    order: Order,
    *,
    device: str,
    checkpoint_steps: int | None = None,
    processes: Processes = ALONE,
    say: Callable[[str], None] = print,
) -> Outcome | None:
    """Train what is left of an order, and keep the weights in the store; None for all processes but the first.

    Raises: TrainingError where the training cannot go on.
    """
    training = order.training(store)
    schedule = order.params.schedule
    is_first = processes.rank == 0
    was_done = training.finished()
    if was_done is not None:
        return Outcome(training, was_done, tuple(_newest_metrics(training)), was_done=True) if is_first else None
    if is_first:
        tables.create_tables(store, TRAINED)
        params = order.params.model_dump(mode="json")
        own = {"params": params, "schedule": asdict(schedule), "weights": dict(order.weights), "data": dict(order.data)}
        training.begin({**own, "version": order.version, **order.facts})
    metrics: list[Metric] = []

    def report(found: list[Metric]) -> None:
        metrics[:] = found
        tables.replace_training(store, training.key, metrics_table(training, found))
        store.write(f"{training.folder}/curves.png", draw_curves(found, f"{order.what}, {training.key[:8]}"))
        say(epoch_line(found, schedule.epochs))

    run = TrainingRun(training, order.params.seed, device, checkpoint_steps, processes)
    model = fit(order.build(), schedule, run, report=report, say=say)
    if not is_first:
        return None
    if not metrics:  # stopped between the last checkpoint and what is told of it
        report(_newest_metrics(training))
    trained = training.finish(f"{order.what}{order.suffix}", order.pack(model))
    return Outcome(training, trained, tuple(metrics), was_done=False)


def metrics_table(training: Training, metrics: Sequence[Metric]) -> pa.Table:
    """Rows of the table `trainings`."""
    columns = {
        "training": [training.key] * len(metrics),
        "what": [training.what] * len(metrics),
        "epoch": [metric.epoch + 1 for metric in metrics],
        "split": [metric.split for metric in metrics],
        "metric": [metric.name for metric in metrics],
        "value": [metric.value for metric in metrics],
    }
    return pa.table(columns, schema=TRAININGS)


def epoch_line(metrics: Sequence[Metric], epochs: int) -> str:
    """One line on the last epoch."""
    last = max(metric.epoch for metric in metrics)
    found = {(metric.split, metric.name): metric.value for metric in metrics if metric.epoch == last}
    facts = [f"{'' if split == 'train' else 'val '}{name} {value:.4g}" for (split, name), value in found.items()]
    return f"epoch {last + 1} of {epochs}: {', '.join(facts)}"


def _newest_metrics(training: Training) -> list[Metric]:
    checkpoint, _ = training.newest()
    return checkpoint.metrics if checkpoint else []
