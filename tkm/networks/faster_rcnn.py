"""Faster R-CNN with a feature pyramid, the paper's detector, of torchvision's parts and parameter names; it answers with people.

Networks: torchvision's two published designs over ResNet-50, `fasterrcnn_resnet50_fpn` and its successor `..._v2` (batch norm in
pyramid and heads, two proposal and four box convolutions), and the first design over ResNet-101 and ResNeXt-101 32x8d, of which
torchvision publishes ImageNet weights alone (choice 16 of docs/method.md).

Boxes are continuous, as in tkm.geometry: torchvision's pixel i spans [i, i + 1) too, so that a resized image's boxes are resized
by the ratio of the sides, and nothing is shifted.

Shape legend: N images of H x W pixels, R region proposals, L classes with the background (0) and person (1).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops.misc import FrozenBatchNorm2d

from tkm.networks.deformable import make_deformable

# torchvision's: an image is resized until its shorter side has 800 pixels, but its longer side at most 1333.
MIN_SIDE_PX, MAX_SIDE_PX = 800, 1333
PROPOSALS = 1000  # a frame, and as many of each pyramid level before suppression
PERSON = 1  # label, in COCO's 91 classes as in a checkpoint of background and person
# Frames a forward pass: one has hundreds of times a crop's pixels, and a thousand proposals.
ROWS = {"cpu": 1, "cuda": 4}
_PYRAMID_CHANNELS = 256
_ANCHORS = 3  # a cell: the aspects 1:2, 1:1 and 2:1, of one size a level


class Design(NamedTuple):
    """What a network is made of: torchvision's name of its ResNet, and which of torchvision's two designs stands on it."""

    backbone: str
    is_v2: bool = False


DESIGNS = {
    "faster-rcnn-resnet-50": Design("resnet50"),
    "faster-rcnn-resnet-50-v2": Design("resnet50", is_v2=True),
    "faster-rcnn-resnet-101": Design("resnet101"),
    "faster-rcnn-resnext-101": Design("resnext101_32x8d"),
}


class People(NamedTuple):
    """What every proposal would be as a person, before any threshold or suppression, by falling score.

    person_score   (N, R) float32, probability among all classes; 0 where a frame had fewer proposals
    box_xyxy_px    (N, R, 4) float32, in pixels of the images given; not clipped to them
    """

    person_score: Tensor
    box_xyxy_px: Tensor


class Float32Proposals(RPNHead):
    """torchvision's proposal head, answering in float32 also where autocast runs its convolutions in float16.

    torchvision decodes boxes in the answers' type, and float16 tells no two pixels apart beyond 2048, nor halves beyond 1024.
    """

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels, (N, 256, H, W) each, to objectness (N, 3, H, W) and box shifts (N, 12, H, W) of each."""
        objectness, shifts = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in shifts]


class PersonDetector(FasterRCNN):
    """torchvision's Faster R-CNN of one of DESIGNS, with `people` in place of its own answer over all classes.

    Trained as torchvision's is: in training mode `network(images, targets)` gives the losses.

    name           one of DESIGNS
    classes        L, with the background: 91 of COCO's checkpoints, 2 of those trained for people alone
    deformable     whether the 3 x 3 convolutions of C3 to C5 are deformable
    min_side_px, max_side_px, proposals   as torchvision's; smaller ones are for tests
    """

    def __init__(
        self,
        name: str,
        classes: int,
        *,
        deformable: bool = False,
        min_side_px: int = MIN_SIDE_PX,
        max_side_px: int = MAX_SIDE_PX,
        proposals: int = PROPOSALS,
    ) -> None:
        design = DESIGNS[name]
        # The first design's batch norm is frozen at its ImageNet statistics, of which a batch of two images would give none.
        body = getattr(resnet, design.backbone)(norm_layer=nn.BatchNorm2d if design.is_v2 else FrozenBatchNorm2d)
        if deformable:
            make_deformable(body)
        norm = nn.BatchNorm2d if design.is_v2 else None
        pyramid = BackboneWithFPN(
            body,
            {f"layer{level + 1}": str(level) for level in range(4)},
            [256, 512, 1024, 2048],
            _PYRAMID_CHANNELS,
            norm_layer=norm,
        )
        box_head = FastRCNNConvFCHead((_PYRAMID_CHANNELS, 7, 7), [256] * 4, [1024], norm_layer=norm) if design.is_v2 else None
        super().__init__(
            pyramid,
            classes,
            min_size=min_side_px,
            max_size=max_side_px,
            rpn_head=Float32Proposals(_PYRAMID_CHANNELS, _ANCHORS, conv_depth=2 if design.is_v2 else 1),
            rpn_pre_nms_top_n_test=proposals,
            rpn_post_nms_top_n_test=proposals,
            box_head=box_head,
        )

    def people(self, frames: Tensor) -> People:
        """frames: (N, H, W, 3) uint8 RGB. The network has to be in evaluation mode."""
        # As torchvision's own transform: standardised first, resized then, and padded on the right and below.
        images, _ = self.transform(list(frames.permute(0, 3, 1, 2).float() / 255))
        levels = {name: level.float() for name, level in self.backbone(images.tensors).items()}
        found, _ = self.rpn(images, levels)
        proposals, is_there = _padded(found, self.rpn.post_nms_top_n())
        heads = self.roi_heads
        # Asked with the padded sizes, the pooling infers a level's stride exactly, from however narrow an image.
        pooled = heads.box_roi_pool(levels, list(proposals), [tuple(images.tensors.shape[-2:])] * len(frames))
        logits, shifts = (answer.float() for answer in heads.box_predictor(heads.box_head(pooled)))
        boxes = heads.box_coder.decode(shifts, list(proposals))[:, PERSON].unflatten(0, is_there.shape)
        score = logits.softmax(dim=-1)[:, PERSON].unflatten(0, is_there.shape) * is_there
        score, order = score.sort(dim=1, descending=True, stable=True)
        (height, width), (frame_height, frame_width) = images.image_sizes[0], frames.shape[1:3]
        scale = boxes.new_tensor([frame_width / width, frame_height / height] * 2)
        return People(score, boxes.gather(1, order[..., None].expand(-1, -1, 4)) * scale)


def _padded(proposals: list[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """N lists of proposals (at most `count`, 4) as (N, count, 4), empty boxes behind them; and which are no padding, (N, count).

    With a fixed number for each image, a pass has one shape and an image's answer no bits from its company.
    """
    boxes = torch.stack([functional.pad(own, (0, 0, 0, count - len(own))) for own in proposals])
    lengths = torch.tensor([len(own) for own in proposals], device=boxes.device)
    return boxes, torch.arange(count, device=boxes.device) < lengths[:, None]


def find_people(network: PersonDetector, frames: Tensor) -> People:
    """People of (N, H, W, 3) uint8 frames, N >= 1, in passes of one fixed shape on the network's device; answers on the CPU."""
    device = cast(nn.Parameter, network.roi_heads.box_predictor.cls_score.weight).device
    step = ROWS[device.type]
    parts = []
    with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=device.type == "cuda"):
        for start in range(0, len(frames), step):
            part = frames[start : start + step].to(device)
            missing = step - len(part)
            parts.append(network.people(functional.pad(part, (0, 0) * 3 + (0, missing)) if missing else part))
    return People(*(torch.cat(fields)[: len(frames)].cpu() for fields in zip(*parts, strict=True)))
