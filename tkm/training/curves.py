"""A training's metrics by epoch, as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

_INCHES = 4.2, 3.2  # width and height of a panel
_COLUMNS = 3
_COLOURS = {"train": "tab:blue", "val": "tab:orange"}


class Value(Protocol):
    """One number of an epoch, counted from 0; `split` is `train` or `val`."""

    @property
    def epoch(self) -> int: ...

    @property
    def split(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> float: ...


def draw_curves(metrics: Sequence[Value], title: str) -> bytes:
    """A PNG picture: a panel a metric, training and validation together, `loss` first and the learning rate `lr` last.

    Dotted lines show where the learning rate falls. Raises ValueError without any metric.
    """
    if not metrics:
        raise ValueError("there is no metric to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: a second that others need not wait for
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = sorted({metric.name for metric in metrics} - {"seconds"}, key=lambda name: (name != "loss", name == "lr", name))
    rates = sorted((metric.epoch, metric.value) for metric in metrics if metric.name == "lr")
    steps = [epoch for (_, before), (epoch, after) in pairwise(rates) if after != before]
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(_INCHES[0] * columns, _INCHES[1] * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        for split in sorted({metric.split for metric in metrics if metric.name == name}):
            points = sorted((one.epoch + 1, one.value) for one in metrics if (one.name, one.split) == (name, split))
            _line(axes, points, split, is_rate=name == "lr")
        for epoch in steps:
            axes.axvline(epoch + 0.5, color="grey", linestyle=":", linewidth=1)
        axes.set_title("learning rate" if name == "lr" else name, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if name == "lr":
            axes.set_yscale("log")
        else:
            axes.legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _line(axes: Any, points: Sequence[tuple[int, float]], split: str, *, is_rate: bool) -> None:
    epochs, values = zip(*points, strict=True)
    # An epoch's number stands at its end; a rate holds for the whole of it.
    style = {"drawstyle": "steps-mid"} if is_rate else {"marker": ".", "markersize": 4}
    axes.plot(epochs, values, color=_COLOURS[split], label=split, linewidth=1.5, **style)
