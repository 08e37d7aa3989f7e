"""Samples of many videos as trainees read them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from tasks.samples import SampleSet
from tkm.networks import runtime
from tkm.networks.heads import REDUCED_NETWORKS
from tkm.training.samples import Samples


class Reader:
    """Samples by number, the last ones that were read kept in half of this machine's memory."""

    def __init__(self, sets: Sequence[SampleSet]) -> None:
        self.sets = sets
        self._kept: OrderedDict[int, Samples] = OrderedDict()

    def __len__(self) -> int:
        return len(self.sets)

    def read(self, number: int) -> Samples:
        """The samples of a video."""
        if number not in self._kept:
            self._kept[number] = self.sets[number].read()
            while sum(one.inputs.nbytes + one.body.nbytes for one in self._kept.values()) > runtime.memory_bytes() // 2:
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
