"""Samples of many videos as trainees read them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence

from tasks.samples import SampleSet
from tkm.networks import runtime
from tkm.networks.heads import REDUCED_NETWORKS
from tkm.training.samples import Samples


class Reader:
    """Samples by number, the last ones that were read kept in half of this machine's memory, or this process's share of that."""

    def __init__(self, sets: Sequence[SampleSet]) -> None:
        self.sets = sets
        self._kept: OrderedDict[int, Samples] = OrderedDict()

    def __len__(self) -> int:
        return len(self.sets)

    def read(self, number: int) -> Samples:
        """The samples of a video."""
        if number not in self._kept:
            self._kept[number] = self.sets[number].read()
            while len(self._kept) > 1 and sum(one.inputs.nbytes + one.body.nbytes for one in self._kept.values()) > _most_bytes():
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    @property
    def is_reduced(self) -> bool:
        """Whether the samples are inputs of reduced heads, and not maps of a backbone."""
        return self.sets[0].network in REDUCED_NETWORKS

    @property
    def columns(self) -> int:
        """Of the heatmaps."""
        return self.sets[0].columns


def _most_bytes() -> int:
    """Half of this machine's memory, shared with the other processes that `torchrun` started here."""
    return runtime.memory_bytes() // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
