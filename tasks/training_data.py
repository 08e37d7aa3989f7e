"""The labelled images that a training is of, and those that it is validated on."""

from __future__ import annotations

from functools import cache

from storage.labelled import LabelledImage, hold_out, read_labelled
from storage.sources import InputError

_labelled = cache(read_labelled)  # a command reads them before it starts Prefect, its flow again in the same process


def training_data(
    truth: str, images: str | None, val_truth: str | None, val_images: str | None, val_share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Images to train on and to validate on: those of `val_truth` or else a share of `truth`, which may be 0.

    Raises: InputError, which names the option, where a share leaves nobody on either side; and as `read_labelled` does.
    """
    train = _labelled(truth, images)
    if val_truth is not None:
        return train, _labelled(val_truth, val_images)
    if not val_share:
        return train, []
    try:
        return hold_out(train, val_share, seed)
    except ValueError as error:
        raise InputError(f"--val-share: {error}") from None
