"""The training of the paper's person detector, Faster R-CNN, on the people of labelled images (choice 16 of docs/method.md)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from storage import weights
from storage.labelled import data_digest
from storage.sources import InputError
from storage.store import Store
from tasks.detector_trainee import DetectorTrainee, DetectorTrainParams, images_of
from tasks.training import Order
from tasks.training_data import training_data
from tkm.networks import runtime
from tkm.weights import WeightsError, locate

if TYPE_CHECKING:
    from torch import nn

    from tkm.networks.faster_rcnn import PersonDetector

VERSION = 1


def order(
    store: Store | None,
    params: DetectorTrainParams,
    truth: str,
    images: str | None = None,
    *,
    val_truth: str | None = None,
    val_images: str | None = None,
    init: str | None = None,
    detector_weights: str | None = None,
    threads: int | None = None,
) -> Order:
    """The training of a detector on the people of annotation files; with a store, its first weights are kept there.

    Args: truth and images, and those to validate on, as `storage.labelled.read_labelled` takes them; init, address of
        torchvision's ImageNet weights of the backbone, or detector_weights, of a trained detector, such as torchvision's;
        threads that read pictures, as many as there are cores if None.
    Raises: InputError, WeightsError where something given cannot be used; each names the option.
    """
    if (init is None) == (detector_weights is None):
        raise InputError(
            "give one of --init FILE, torchvision's ImageNet weights of the backbone, and --detector-weights FILE, a trained "
            "Faster R-CNN, to go on from"
        )
    option, address = ("init", init) if init is not None else ("detector-weights", detector_weights)
    assert address is not None
    first = weights.keep(store, address, f"--{option}")
    train, val = training_data(truth, images, val_truth, val_images, params.val_share, params.seed)
    with_people = images_of(train)
    if not with_people:
        raise InputError(f"--truth: there are only crowds in {truth}")
    start(params, option, locate(first))  # what does not fit is told before anything waits for it

    def build() -> DetectorTrainee:
        return DetectorTrainee(start(params, option, locate(first)), with_people, val, params, threads or runtime.cores())

    return Order(
        what="detector",
        version=VERSION,
        params=params,
        weights={option: first},
        data={"train": data_digest(with_people), "val": data_digest(val)},
        suffix=".pth",
        build=build,
        pack=pack,
        facts={"truth": truth, "val_truth": val_truth, "images": [len(with_people), len(val)]},
    )


def start(params: DetectorTrainParams, option: str, path: Path) -> PersonDetector:
    """The network as training starts: over ImageNet's weights (`init`), or a trained detector (`detector-weights`).

    Raises WeightsError where the file does not fit.
    """
    from tkm.networks.faster_rcnn_start import from_detector, from_imagenet

    try:
        if option == "init":
            return from_imagenet(params.network, path, deformable=params.deformable, seed=params.seed)
        return from_detector(params.network, path, deformable=params.deformable)
    except WeightsError as error:
        raise WeightsError(f"--{option}: {error}") from None


def pack(model: nn.Module) -> bytes:
    """A detector as a file that `tkm annotate --detector-weights` takes, in torchvision's parameter names."""
    import torch

    file = io.BytesIO()
    torch.save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}, file)
    return file.getvalue()
