"""The training loop: one process or several, on CPU or CUDA, resumed from checkpoints in the store.

What is trained comes as a `Trainee`; the loop knows nothing of poses. A training that is killed and started again goes on from
its newest checkpoint and ends, on a CPU with one thread, with the same bits: the order of samples and every random number are
drawn anew from (seed, epoch, step, rank), so that a checkpoint need not hold any generator's state.

Several processes are started by `torchrun`: each takes its share of every batch, gradients are averaged
(DistributedDataParallel), and the first process alone validates and writes.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from storage.trainings import Checkpoint, Metric, Training
from tkm.training.schedule import Schedule

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_PATIENCE = timedelta(hours=2)  # for the first process, which validates while the others wait


class TrainingError(RuntimeError):
    """A training cannot go on; the message says why and what to do."""


class Trainee(Protocol):
    """What is trained.

    model      its state dict is what checkpoints hold, its parameters with requires_grad are what is trained. Parts that stay
               frozen keep themselves in evaluation mode by overriding `train`
    batches    this process's share of each step's batch, from step `first` on: the same for the same arguments, and of the same
               number of steps for every rank (tkm.training.schedule.sample_order). Tensors in tuples, lists and dicts are moved
               to the device
    losses     scalars by name: `loss` is minimised, all are reported as means over an epoch. `model` is this one or a
               DistributedDataParallel around it, so that parameters must be used by way of `model(...)` alone. On CUDA it runs
               under autocast: losses are to be computed from outputs in float32
    validate   scalars by name, by the first process after each epoch, with the model in evaluation mode and without gradients;
               may be empty
    """

    @property
    def model(self) -> nn.Module: ...

    def batches(self, epoch: int, rank: int, world: int, first: int) -> Iterator[Any]: ...

    def losses(self, model: nn.Module, batch: Any) -> Mapping[str, Tensor]: ...

    def validate(self, model: nn.Module) -> Mapping[str, float]: ...


class Processes(NamedTuple):
    """Which of the processes that train together this one is: the rank-th of `world`, the local_rank-th of its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> Processes:
        """As `torchrun` tells each process that it starts; alone where none did."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return cls(*(int(os.environ[name]) for name in names)) if all(name in os.environ for name in names) else cls()


ALONE = Processes()


@dataclass(frozen=True)
class TrainingRun:
    """How a training is carried out.

    training           where its checkpoints and metrics are kept, and what it goes on from
    seed               of the order of samples, and of every random number that is drawn in a step
    device             `cpu` or `cuda`; of several processes on CUDA each takes the device of its local rank
    checkpoint_steps   steps after which a checkpoint is written within an epoch, beside that at its end; None for no such ones
    processes          which of several processes this is
    """

    training: Training
    seed: int
    device: str = "cpu"
    checkpoint_steps: int | None = None
    processes: Processes = ALONE


def fit(
    trainee: Trainee,
    schedule: Schedule,
    run: TrainingRun,
    *,
    report: Callable[[list[Metric]], None] = lambda metrics: None,  # noqa: ARG005
    say: Callable[[str], None] = print,
) -> nn.Module:
    """Train for the schedule's epochs, or for what is left of them; the trained model, in evaluation mode on the device.

    Args: report, called by the first process after every epoch with its metrics; say, with what a user should know of a resume.
    Raises: TrainingError where the loss is not finite any more, or the device is not there.
    """
    device = _device(run)
    with _together(run.processes, device):
        return _Loop(trainee, schedule, run, device).train(report, say)


class _Loop:
    """The state of a training between two steps."""

    def __init__(self, trainee: Trainee, schedule: Schedule, run: TrainingRun, device: torch.device) -> None:
        import torch

        self.trainee, self.schedule, self.run, self.device = trainee, schedule, run, device
        is_cuda = device.type == "cuda"
        layout = torch.channels_last if is_cuda else torch.preserve_format
        self.model: nn.Module = trainee.model.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.optimiser = schedule.optimiser_of([one for one in self.model.parameters() if one.requires_grad])
        self.scaler = torch.amp.GradScaler(device.type, enabled=is_cuda)
        self.sums: dict[str, Tensor] = {}
        self.metrics: list[Metric] = []

    def train(self, report: Callable[[list[Metric]], None], say: Callable[[str], None]) -> nn.Module:
        epoch, step = self._resume(say)
        parallel = self._parallel()
        for current in range(epoch, self.schedule.epochs):
            began = time.perf_counter()
            steps = self._epoch(parallel, current, step)
            step = 0
            found = self._metrics(current, steps, time.perf_counter() - began)
            self.metrics += found
            if self.run.processes.rank == 0:
                self._save(current + 1, 0)
                report(self.metrics)
        return self.model.eval()

    def _epoch(self, parallel: nn.Module, epoch: int, first: int) -> int:
        """Train an epoch from step `first` on; how many steps it has."""
        import torch

        run, processes = self.run, self.run.processes
        self.model.train()
        step = first
        for batch in self.trainee.batches(epoch, processes.rank, processes.world, first):
            torch.manual_seed(_seed(run.seed, epoch, step, processes.rank))
            for group in self.optimiser.param_groups:
                group["lr"] = self.schedule.lr_at(epoch, step)
            self.optimiser.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
                losses = self.trainee.losses(parallel, _moved(batch, self.device))
            self.scaler.scale(losses["loss"]).backward()  # type: ignore[no-untyped-call]
            self.scaler.step(self.optimiser)
            self.scaler.update()
            for name, loss in losses.items():
                self.sums[name] = self.sums.get(name, 0.0) + loss.detach().double()
            step += 1
            if run.checkpoint_steps and step % run.checkpoint_steps == 0:
                self._share_sums(epoch)
                if processes.rank == 0:
                    self._save(epoch, step)
        if not step:
            raise TrainingError(f"epoch {epoch + 1} has no batch to train on: give more data, or a smaller --batch-size")
        self._share_sums(epoch)
        return step

    def _share_sums(self, epoch: int) -> None:
        """Make every process's sums the mean over all of them, so that they may be added to, and shared, again."""
        import torch

        if self.run.processes.world > 1:
            for name in sorted(self.sums):
                torch.distributed.all_reduce(self.sums[name])
                self.sums[name] /= self.run.processes.world
        broken = [name for name, total in self.sums.items() if not torch.isfinite(total)]
        if broken:
            raise TrainingError(
                f"{', '.join(broken)} is not finite any more in epoch {epoch + 1}: the training diverged; give a lower --lr. "
                "What was kept before is still there"
            )

    def _metrics(self, epoch: int, steps: int, seconds: float) -> list[Metric]:
        """The epoch's metrics; only the first process has those of validation."""
        import torch

        losses = [Metric(epoch, "train", name, float(total) / steps) for name, total in self.sums.items()]
        self.sums = {}
        facts = [Metric(epoch, "train", "lr", self.schedule.lr_at(epoch)), Metric(epoch, "train", "seconds", seconds)]
        if self.run.processes.rank > 0:
            return [*losses, *facts]
        self.model.eval()
        with torch.no_grad():
            found = self.trainee.validate(self.model)
        return [*losses, *facts, *(Metric(epoch, "val", name, float(value)) for name, value in found.items())]

    def _resume(self, say: Callable[[str], None]) -> tuple[int, int]:
        """Take over the newest checkpoint, where there is one; the epoch and step to go on from."""
        found, damaged = self.run.training.newest()
        for address in damaged:
            say(f"{address} was damaged, and is removed: the training goes on from the checkpoint before it")
        if found is None:
            return 0, 0
        self.model.load_state_dict(found.model)
        self.optimiser.load_state_dict(found.optimiser)
        if found.scaler:  # empty where the checkpoint was written on a CPU
            self.scaler.load_state_dict(found.scaler)
        self.metrics = list(found.metrics)
        import torch

        self.sums = {name: torch.tensor(total, dtype=torch.float64, device=self.device) for name, total in found.sums.items()}
        return found.epoch, found.step

    def _save(self, epoch: int, step: int) -> None:
        sums = {name: float(total) for name, total in self.sums.items()}
        states = self.model.state_dict(), self.optimiser.state_dict(), self.scaler.state_dict()
        self.run.training.save(Checkpoint(epoch, step, *states, sums, self.metrics))

    def _parallel(self) -> nn.Module:
        """The model as it is called in a step: by itself, or such that gradients are averaged over all processes."""
        from torch.nn.parallel import DistributedDataParallel

        if self.run.processes.world == 1:
            return self.model
        return DistributedDataParallel(self.model, device_ids=[self.device.index] if self.device.type == "cuda" else None)


def _device(run: TrainingRun) -> torch.device:
    import torch

    if run.device == "cuda":
        there = torch.cuda.device_count()
        if run.processes.local_rank >= there:
            raise TrainingError(
                f"process {run.processes.local_rank + 1} of this machine has no CUDA device, since there are {there}: give "
                "--device cpu, or start fewer processes"
            )
        return torch.device("cuda", run.processes.local_rank)
    return torch.device(run.device)


_groups = itertools.count()  # of this process; all processes of a training join the same ones in turn


@contextmanager
def _together(processes: Processes, device: torch.device) -> Iterator[None]:
    """Join the process group, where there are several processes, and leave it at the end."""
    import torch

    torch.set_flush_denormal(True)
    torch.backends.cudnn.deterministic = True
    if processes.world == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Addresses of this group have names of their own: who begins another training sooner would find those of the last one.
    store, rank, world = next(torch.distributed.rendezvous("env://", timeout=_PATIENCE))
    own = torch.distributed.PrefixStore(f"training {next(_groups)}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _seed(*numbers: int) -> int:
    """A seed for torch's generators, from the numbers that it is to depend on."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on the device; tuples, named ones too, lists and dicts are gone through."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _moved(part, device) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [_moved(part, device) for part in batch]
        return getattr(type(batch), "_make", type(batch))(parts)
    return batch
