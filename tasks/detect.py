"""detect: person boxes in every sampled frame. A loose threshold and loose NMS only: duplicates are suppress's work."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from storage.codecs import detections_to_table
from storage.schemas import DETECTIONS
from tasks import index
from tasks.stage import Block, Params, Resources, Stage, digest_field
from tkm import weights
from tkm.geometry import clip_boxes, letterbox
from tkm.networks import runtime
from tkm.suppression import box_nms
from tkm.types import DetectionSet, Float

if TYPE_CHECKING:
    from torch import Tensor

    from tkm.networks.faster_rcnn import PersonDetector
    from tkm.networks.nanodet import NanoDet, NanoDetOutput

EMBEDDED = "nanodet"  # the network whose weights are part of the package


class DetectParams(Params):
    """Parameters of detect."""

    network: Literal[
        "nanodet",
        "faster-rcnn-resnet-50",
        "faster-rcnn-resnet-50-v2",
        "faster-rcnn-resnet-101",
        "faster-rcnn-resnext-101",
    ] = Field("nanodet", description="the detector; all but nanodet need --detector-weights, in torchvision's layout")
    deformable: bool = Field(False, description="Faster R-CNN with deformable convolutions (v2) in C3 to C5")
    weights: str | None = digest_field("the file that --detector-weights gives")
    score_threshold: float = Field(0.25, gt=0, lt=1, description="lowest box score that is kept")
    nms_iou: float = Field(0.5, gt=0, le=1, description="boxes of a frame that overlap more are one detection")

    @model_validator(mode="after")
    def _nanodet_is_as_embedded(self) -> DetectParams:
        if self.network == EMBEDDED and (self.deformable or self.weights):
            given = "deformable convolutions" if self.deformable else "weights of its own (--detector-weights)"
            raise ValueError(f"network {EMBEDDED} takes no {given}: choose a Faster R-CNN as network, or leave them out")
        return self


class _Found(NamedTuple):
    """What may be people in T frames, before any threshold: score (T, A) and box (T, A, 4), in each frame falling by score."""

    score: Float
    box_xyxy_px: Float


class _BestAnchors(NamedTuple):
    """Of each canvas: score (N, A) and box (N, A, 4), falling by score."""

    score: Tensor
    box_xyxy_px: Tensor


def detector(params: DetectParams) -> NanoDet | PersonDetector:
    """The network of these parameters with its weights, on the device, in evaluation mode; built once a process.

    Raises WeightsError where the file is not given or does not fit, FileNotFoundError where it is not on this machine.
    """
    # Threads that start together would each build a network of their own.
    with _building:
        return _detector(params.network, params.deformable, _digest(params))


_building = Lock()


@cache
def _detector(network: str, deformable: bool, sha256: str) -> NanoDet | PersonDetector:
    import torch

    from tkm.networks.faster_rcnn_files import load
    from tkm.networks.nanodet import nanodet

    if network == EMBEDDED:
        embedded: NanoDet = runtime.on_device(nanodet)
        return embedded
    # On a CPU channels-last takes a tenth less time than the default layout.
    faster_rcnn = load(network, weights.locate(sha256), deformable=deformable)
    on_device: PersonDetector = faster_rcnn.to(runtime.device(), memory_format=torch.channels_last)
    return on_device


def _digest(params: DetectParams) -> str:
    """Of the weights file that these parameters use; WeightsError where they need one that is not given."""
    if params.network == EMBEDDED:
        return weights.digest(EMBEDDED)
    if params.weights is None:
        raise weights.WeightsError(
            f"--detect-network {params.network} needs a weights file, and none is embedded: give --detector-weights FILE; "
            "torchvision publishes fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth for faster-rcnn-resnet-50-v2"
        )
    return params.weights


def run(block: Block, params: DetectParams) -> pa.Table:
    """Detections of a block of frames, numbered in each frame by falling score."""
    from tkm.networks.nanodet import NanoDet  # imports torch: see tkm.networks.runtime

    network = detector(params)
    found = _by_nanodet(network, block) if isinstance(network, NanoDet) else _by_faster_rcnn(network, block)
    height_px, width_px = block.images[0].shape[:2]
    row, place = np.nonzero(found.score >= params.score_threshold)
    box, score = clip_boxes(found.box_xyxy_px[row, place], width_px, height_px), found.score[row, place]
    solid = (box[:, 2:] - box[:, :2] >= 1).all(axis=1)  # a box clipped to nothing has no crop
    row, box, score = row[solid], box[solid], score[solid]
    keep = box_nms(box, score, row, _rank(row), params.nms_iou)
    row, box, score = row[keep], box[keep], score[keep]
    return detections_to_table(DetectionSet(frame=block.frames[row], detection=_rank(row), box_xyxy_px=box, score=score))


def _rank(row: np.ndarray) -> np.ndarray:
    """(P,) int64, place of each detection in its frame; rows come frame by frame, by falling score."""
    return np.arange(len(row)) - np.searchsorted(row, row)


def _by_nanodet(network: NanoDet, block: Block) -> _Found:
    import torch

    from tkm.networks.nanodet import INPUT_SIZE_PX

    canvases, letterboxes = zip(*(letterbox(image, INPUT_SIZE_PX) for image in block.images), strict=True)
    best = runtime.forward(network, torch.from_numpy(np.stack(canvases)), network.normalise, _best_anchors)
    boxes = [own.to_image(box) for own, box in zip(letterboxes, best.box_xyxy_px.numpy(), strict=True)]
    return _Found(best.score.numpy(), np.stack(boxes))


_ANCHORS = 300  # more than any frame keeps; the tail of the few thousand anchors is background


def _best_anchors(output: NanoDetOutput) -> _BestAnchors:
    score, order = output.person_score.sort(dim=1, descending=True, stable=True)
    order = order[:, :_ANCHORS]
    box = output.box_xyxy_px.gather(1, order[..., None].expand(-1, -1, 4))
    return _BestAnchors(score[:, :_ANCHORS], box)


def _by_faster_rcnn(network: PersonDetector, block: Block) -> _Found:
    import torch

    from tkm.networks.faster_rcnn import find_people

    people = find_people(network, torch.from_numpy(np.stack(block.images)))
    return _Found(people.person_score.numpy(), people.box_xyxy_px.numpy())


def _weights(params: Mapping[str, Any]) -> dict[str, str]:
    own: DetectParams = params["detect"]
    return {EMBEDDED if own.network == EMBEDDED else "detector": _digest(own)}


STAGE = Stage(
    "detect",
    run,
    DetectParams,
    inputs=(index.STAGE,),
    output=DETECTIONS,
    resources=Resources(gpus=1),
    version=1,
    images=True,
    weights=_weights,
    is_active=lambda params: params["boxes"].sha256 is None and params["poses"].sha256 is None,
)
