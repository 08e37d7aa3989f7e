"""How a network is trained: the optimiser, its learning rate by epoch, and which samples each step of an epoch sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

Optimiser = Literal["adam", "sgd"]
_MOMENTUM = 0.9  # of SGD (choice 13 of docs/method.md)


@dataclass(frozen=True)
class Schedule:
    """An optimiser and its learning rate, which is multiplied by gamma at each milestone.

    optimiser      `adam`, or `sgd` with momentum 0.9
    lr             learning rate of the first epoch
    epochs         passes over the data
    milestones     epochs, counted from 0, from which on the rate is lower, rising
    weight_decay   as the optimiser takes it
    warmup_steps   steps of the first epoch over which the rate rises evenly to `lr`

    Raises ValueError where these make no schedule.
    """

    optimiser: Optimiser
    lr: float
    epochs: int
    milestones: tuple[int, ...]
    gamma: float = 0.1
    weight_decay: float = 0.0
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if not self.lr > 0 or not self.gamma > 0:
            raise ValueError(f"Schedule.lr and gamma must be above 0, not {self.lr} and {self.gamma}")
        if self.weight_decay < 0 or self.warmup_steps < 0:
            raise ValueError(
                f"Schedule.weight_decay and warmup_steps must be at least 0, not {self.weight_decay} and {self.warmup_steps}"
            )
        if self.epochs < 1:
            raise ValueError(f"Schedule.epochs must be at least 1, not {self.epochs}")
        if list(self.milestones) != sorted(self.milestones) or any(epoch < 0 for epoch in self.milestones):
            raise ValueError(f"Schedule.milestones must be epochs in rising order, not {self.milestones}")

    def lr_at(self, epoch: int, step: int | None = None) -> float:
        """Learning rate of an epoch and a step in it, both counted from 0; without a step, that after warming up."""
        rate = self.lr * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        is_warming = epoch == 0 and step is not None and step < self.warmup_steps
        return rate * (step + 1) / self.warmup_steps if is_warming and step is not None else rate

    def changed(self, *, epochs: int | None = None, lr: float | None = None) -> Schedule:
        """The schedule with another length, whose milestones keep their share of it, or another first learning rate."""
        epochs = self.epochs if epochs is None else epochs
        milestones = tuple(round(epochs * milestone / self.epochs) for milestone in self.milestones)
        return replace(self, epochs=epochs, lr=self.lr if lr is None else lr, milestones=milestones)

    def optimiser_of(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimiser of these parameters, at the first epoch's learning rate."""
        import torch  # here: see tkm.networks.runtime

        if self.optimiser == "adam":
            return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=_MOMENTUM, weight_decay=self.weight_decay)


# The paper's two stages (section 4.1; choice 13 of docs/method.md): backbone and keypoint head, then the heads on top of them.
STAGE_ONE = Schedule("adam", lr=1e-3, epochs=20, milestones=(10, 15))
STAGE_TWO = Schedule("sgd", lr=1e-4, epochs=9, milestones=(7,))


def sample_order(samples: int, batch_size: int, *, seed: int, epoch: int, rank: int, world: int) -> NDArray[np.int64]:
    """Which samples each step of an epoch sees: every sample once, in an order drawn from (seed, epoch).

    A step's batch is shared out among the processes, so that their number does not change which samples make it. The last batch
    is filled up with the epoch's first samples.

    Args: samples, at least 1; batch_size, samples a step of all `world` processes together; rank, whose share.
    Returns: (steps, batch_size / world) int64, the same number of steps for every rank.
    Raises ValueError where there are no samples, or a batch cannot be shared out evenly.
    """
    if samples < 1:
        raise ValueError("there are no samples to train on")
    if batch_size < 1 or batch_size % world:
        raise ValueError(f"a batch of {batch_size} cannot be shared out among {world} processes: give a multiple of {world}")
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    steps = -(-samples // batch_size)
    return np.resize(order, (steps, batch_size))[:, rank::world].astype(np.int64)
