"""Stage 1 of the paper's training: a pose network's backbone and keypoint head, on the people of labelled images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage import weights
from storage.labelled import data_digest
from storage.sources import InputError
from storage.store import Store
from tasks.pose_trainee import PoseTrainee, PoseTrainParams, people_of
from tasks.training import Order
from tasks.training_data import training_data
from tkm.networks import runtime
from tkm.weights import WeightsError, locate

if TYPE_CHECKING:
    from torch import nn

    from tkm.networks.pose import PoseNetwork
    from tkm.skeleton import Skeleton

VERSION = 1


def order(
    store: Store | None,
    params: PoseTrainParams,
    truth: str,
    images: str | None = None,
    *,
    val_truth: str | None = None,
    val_images: str | None = None,
    init: str | None = None,
    pose_weights: str | None = None,
    threads: int | None = None,
) -> Order:
    """The training of a pose network on the people of annotation files; with a store, its first weights are kept there.

    Args: truth and images, and those to validate on, as `storage.labelled.read_labelled` takes them; init, address of ImageNet
        weights of the backbone, or pose_weights, of a network that was trained for poses; threads that read pictures, as many as
        there are cores if None.
    Raises: InputError, WeightsError where something given cannot be used; each names the option.
    """
    if (init is None) == (pose_weights is None):
        raise InputError(
            "give one of --init FILE, ImageNet weights of the backbone (torchvision's of a ResNet, timm's of an HRNet), and "
            "--pose-weights FILE, a network trained for poses, to go on from"
        )
    if params.new_head and pose_weights is None:
        raise InputError("--new-head: a network that starts from --init has a new head anyway; leave it out")
    option, address = ("init", init) if init is not None else ("pose-weights", pose_weights)
    assert address is not None
    first = weights.keep(store, address, f"--{option}")
    train, val = training_data(truth, images, val_truth, val_images, params.val_share, params.seed)
    if val and val[0].skeleton is not train[0].skeleton:
        raise InputError(
            f"--val-truth: {val_truth} has the keypoints of {val[0].skeleton.name}, --truth those of {train[0].skeleton.name}"
        )
    people, judged = people_of(train), people_of(val)
    if not people:
        raise InputError(f"--truth: nobody in {truth} has a keypoint")
    skeleton = train[0].skeleton
    start(params, skeleton, option, locate(first))  # what does not fit is told before anything waits for it

    def build() -> PoseTrainee:
        return PoseTrainee(start(params, skeleton, option, locate(first)), people, judged, params, threads or runtime.cores())

    return Order(
        what="pose",
        version=VERSION,
        params=params,
        weights={option: first},
        data={"train": data_digest(train), "val": data_digest(val)},
        suffix=".pth",
        build=build,
        pack=pack,
        facts={"truth": truth, "val_truth": val_truth, "skeleton": skeleton.name, "people": [len(people), len(judged)]},
    )


def start(params: PoseTrainParams, skeleton: Skeleton, option: str, path: Path) -> PoseNetwork:
    """The network as training starts: a new head on an ImageNet backbone (`init`), or one that was trained (`pose-weights`).

    Raises WeightsError where the file does not fit.
    """
    import torch

    from tkm.networks import checkpoints
    from tkm.networks.pose import PoseNetwork

    torch.manual_seed(params.seed)
    try:
        if option == "pose-weights":
            return checkpoints.pose_network(
                path, params.network, skeleton, caffe_style=params.caffe_style, new_head=params.new_head
            )
        network = PoseNetwork(params.network, skeleton, caffe_style=params.caffe_style)
        checkpoints.start_backbone(network.keypoints.backbone, path)  # type: ignore[attr-defined]
        return network
    except WeightsError as error:
        raise WeightsError(f"--{option}: {error}") from None


def pack(model: nn.Module) -> bytes:
    """A pose network as a file that `tkm annotate --pose-weights` takes: flat names, as published files of its kind have them.

    A network that takes colours in another order than its published kind, as MMPose's ResNets do, gets MMPose's names.
    """
    import torch

    network: Any = model  # a PoseNetwork
    keypoints = network.keypoints
    tensors = {name: tensor.cpu().contiguous() for name, tensor in keypoints.state_dict().items()}
    if keypoints.colours == network.facts.colours:
        tensors = {name.removeprefix("backbone.").removeprefix("head."): tensor for name, tensor in tensors.items()}
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()
