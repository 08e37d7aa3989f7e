"""detect: person boxes in every sampled frame. A loose threshold and loose NMS only: duplicates are suppress's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.codecs import detections_to_table
from storage.schemas import DETECTIONS
from tasks import index
from tasks.stage import Block, Params, Resources, Stage
from tkm import weights
from tkm.geometry import Letterbox, clip_boxes, letterbox
from tkm.networks import runtime
from tkm.suppression import box_nms
from tkm.types import DetectionSet

if TYPE_CHECKING:
    from torch import Tensor

    from tkm.networks.nanodet import NanoDetOutput


class DetectParams(Params):
    """Parameters of detect."""

    score_threshold: float = Field(0.25, gt=0, lt=1, description="lowest box score that is kept")
    nms_iou: float = Field(0.5, gt=0, le=1, description="boxes of a frame that overlap more are one detection")


class _Found(NamedTuple):
    """The best anchors of each row: score (N, A) and box (N, A, 4), falling by score."""

    score: Tensor
    box_xyxy_px: Tensor


_ANCHORS = 300  # more than any frame keeps; the tail of the few thousand anchors is background


def _best_anchors(output: NanoDetOutput) -> _Found:
    score, order = output.person_score.sort(dim=1, descending=True, stable=True)
    order = order[:, :_ANCHORS]
    box = output.box_xyxy_px.gather(1, order[..., None].expand(-1, -1, 4))
    return _Found(score[:, :_ANCHORS], box)


def run(block: Block, params: DetectParams) -> pa.Table:
    """Detections of a block of frames, numbered in each frame by falling score."""
    import torch  # here: see tkm.networks.runtime

    from tkm.networks.nanodet import INPUT_SIZE_PX, nanodet

    canvases, letterboxes = zip(*(letterbox(image, INPUT_SIZE_PX) for image in block.images), strict=True)
    network = runtime.on_device(nanodet)
    found = runtime.forward(network, torch.from_numpy(np.stack(canvases)), network.normalise, _best_anchors)
    score = found.score.numpy()
    row, anchor = np.nonzero(score >= params.score_threshold)
    box = _to_frames(found.box_xyxy_px.numpy()[row, anchor], row, letterboxes, block)
    score = score[row, anchor]
    solid = (box[:, 2:] - box[:, :2] >= 1).all(axis=1)  # a box clipped to nothing has no crop
    row, box, score = row[solid], box[solid], score[solid]
    keep = box_nms(box, score, row, _rank(row), params.nms_iou)
    row, box, score = row[keep], box[keep], score[keep]
    return detections_to_table(
        DetectionSet(frame=block.frames[row], detection=_rank(row), box_xyxy_px=box, score=score)
    )


def _rank(row: np.ndarray) -> np.ndarray:
    """(P,) int64, place of each detection in its frame; rows come frame by frame, by falling score."""
    return np.arange(len(row)) - np.searchsorted(row, row)


def _to_frames(
    box_xyxy_px: np.ndarray, row: np.ndarray, letterboxes: tuple[Letterbox, ...], block: Block
) -> np.ndarray:
    """Boxes of network pixels in pixels of their frames, cut off at the frames' edges."""
    boxes = np.empty_like(box_xyxy_px)
    for i, image in enumerate(block.images):
        mine = row == i
        boxes[mine] = clip_boxes(letterboxes[i].to_image(box_xyxy_px[mine]), image.shape[1], image.shape[0])
    return boxes


STAGE = Stage(
    "detect",
    run,
    DetectParams,
    inputs=(index.STAGE,),
    output=DETECTIONS,
    resources=Resources(gpus=1),
    version=1,
    images=True,
    weights=lambda params: {"nanodet": weights.digest("nanodet")},  # noqa: ARG005
    is_active=lambda params: params["boxes"].sha256 is None and params["poses"].sha256 is None,
)
