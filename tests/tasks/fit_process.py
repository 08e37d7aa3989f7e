"""A small training as a process of its own, to be killed, or to be one of several that `torchrun` starts.

python -m tests.tasks.fit_process ROOT KIND [SECONDS A STEP]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from storage.store import Store
from storage.trainings import Training
from tasks.fit import Processes, TrainingRun, fit
from tkm.training.schedule import Schedule, sample_order

SCHEDULE = Schedule("adam", lr=0.01, epochs=4, milestones=(2, 3))
SAMPLES, BATCH, SEED, CHECKPOINT_STEPS = 40, 10, 3, 3
STEPS = SAMPLES // BATCH


class Regression:
    """A network that learns to add. `noisy` has dropout and batch norm: random numbers, and state that is no parameter."""

    def __init__(self, kind: str = "noisy", step_s: float = 0.0) -> None:
        torch.manual_seed(0)
        noise = [nn.BatchNorm1d(16), nn.Dropout()] if kind == "noisy" else []
        self.model: nn.Module = nn.Sequential(nn.Linear(4, 16), *noise, nn.ReLU(), nn.Linear(16, 1))
        self.x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(1))
        self.y = self.x.sum(dim=1, keepdim=True)
        self.step_s = step_s
        self.seen: list[int] = []

    def batches(self, epoch: int, rank: int, world: int, first: int) -> Iterator[dict[str, Tensor]]:
        for rows in sample_order(SAMPLES, BATCH, seed=SEED, epoch=epoch, rank=rank, world=world)[first:]:
            time.sleep(self.step_s)
            self.seen += rows.tolist()
            yield {"x": self.x[rows], "y": self.y[rows]}

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        error = model(batch["x"]).float() - batch["y"]
        return {"loss": error.square().mean(), "mae": error.abs().mean()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        return {"mse": float((model(self.x) - self.y).square().mean().detach())}


def training(root: str, what: str = "sum") -> Training:
    return Training.plan(Store(root), what, 1, {}, {}, {})


def main() -> None:
    root, kind, step_s = sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    torch.set_num_threads(1)
    run = TrainingRun(training(root), SEED, "cpu", CHECKPOINT_STEPS, Processes.of_environment())
    fit(Regression(kind, step_s), SCHEDULE, run)


if __name__ == "__main__":
    main()
