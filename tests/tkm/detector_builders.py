"""Faster R-CNNs by torchvision, with random weights that tell proposals apart, and layouts of checkpoints without their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn_v2

from tkm.geometry import clip_boxes
from tkm.suppression import box_nms

PUBLISHED: dict[str, Callable[..., FasterRCNN]] = {
    "faster-rcnn-resnet-50": fasterrcnn_resnet50_fpn,
    "faster-rcnn-resnet-50-v2": fasterrcnn_resnet50_fpn_v2,
}
SCORE, NMS_IOU = 0.2, 0.5


def reference(name: str, classes: int = 91, **sizes: Any) -> FasterRCNN:
    """torchvision's network in evaluation mode, that keeps people of at least SCORE however many others score higher."""
    torch.manual_seed(7)
    network = PUBLISHED[name](
        weights=None,
        weights_backbone=None,
        num_classes=classes,
        box_score_thresh=SCORE,
        box_nms_thresh=NMS_IOU,
        box_detections_per_img=10**6,
        **sizes,
    )
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
                module.momentum = None  # statistics are means over all batches seen
        # Activations of a random residual network double from block to block but for the statistics of its own batches.
        images, _ = network.transform(list(frames(2, 96, 96).permute(0, 3, 1, 2) / 255))
        levels = network.backbone.train()(images.tensors)
        corner = 64 * torch.rand(32, 2)
        boxes = torch.cat([corner, corner + 8 + 24 * torch.rand(32, 2)], dim=1)
        pooled = network.roi_heads.box_roi_pool(levels, [boxes[:16], boxes[16:]], images.image_sizes)
        pooled = network.roi_heads.box_head.train()(pooled)
        _spread(network.rpn.head.cls_logits, network.rpn.head.conv(levels["0"]), 3.0)
        _spread(network.rpn.head.bbox_pred, network.rpn.head.conv(levels["0"]), 0.2)
        _spread(network.roi_heads.box_predictor.cls_score, pooled, 1.5)
        _spread(network.roi_heads.box_predictor.bbox_pred, pooled, 1.0)
        network.roi_heads.box_predictor.cls_score.bias[1] += 5 if classes > 2 else 0
    return network.eval()


def _spread(layer: nn.Module, x: Tensor, spread: float) -> None:
    """Scale a layer so that its answers to x have this standard deviation, and the mean zero."""
    answers = layer(x)
    layer.bias -= answers.mean()
    layer.weight *= spread / answers.std()


def people_of(network: FasterRCNN, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (P,) and boxes (P, 4) that torchvision finds in a frame (H, W, 3) uint8, of its class person."""
    with torch.inference_mode():
        found = network([frame.permute(2, 0, 1) / 255])[0]
    is_person = found["labels"] == 1
    return found["scores"][is_person], found["boxes"][is_person]


def suppressed(score: Tensor, box_xyxy_px: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
    """What the plain steps after a detector leave of its proposals (R,) and (R, 4) in a frame."""
    boxes, scores = clip_boxes(box_xyxy_px.numpy(), frame.shape[1], frame.shape[0]), score.numpy()
    good = scores > SCORE
    boxes, scores = boxes[good], scores[good]
    keep = box_nms(boxes, scores, np.zeros(len(boxes), np.int64), np.arange(len(boxes)), NMS_IOU)
    return torch.from_numpy(scores[keep]), torch.from_numpy(boxes[keep])


def frames(count: int, height_px: int, width_px: int, seed: int = 3) -> Tensor:
    """(count, height, width, 3) uint8: coarse random patches, so that places differ after resizing too."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, -(-height_px // 8), -(-width_px // 8), 3), np.uint8)
    return torch.from_numpy(coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height_px, :width_px].copy())


def layout(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """A network's state dict in which every tensor is one number, another for each name, spread over its shape."""
    with torch.device("meta"):
        network = build()
    return {
        name: torch.tensor(1 + place % 13, dtype=tensor.dtype).expand(tensor.shape)
        for place, (name, tensor) in enumerate(network.state_dict().items())
    }
