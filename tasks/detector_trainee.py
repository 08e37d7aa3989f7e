"""A person detector as the training loop sees it: labelled images in batches, torchvision's losses, and what it is judged by.

Everybody with a box is learnt from. Regions in which people stand that nobody annotated, PoseTrack's ignore regions and COCO's
crowds, are painted over but for the boxes of annotated people in them; pictures without anybody are left out of training, as in
torchvision's reference. Validation paints over ignore regions alone: how crowds count is COCO's rule.

Shape legend: N images, P people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from storage.labelled import LabelledImage, read_image
from tasks.ahead import loaded_ahead
from tasks.training import TrainParams
from tkm.geometry import Image, clip_boxes
from tkm.metrics.box_average_precision import MOST_BOXES, ImageBoxes, box_average_precision
from tkm.suppression import box_nms
from tkm.training.detection import blanked, mirrored, outline
from tkm.training.schedule import Schedule, sample_order
from tkm.types import Bool, Float

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tkm.networks.faster_rcnn import PersonDetector

_USUAL_BATCH = 16  # images that the usual learning rate is for
_LOWEST_SCORE, _NMS_IOU = 0.05, 0.5  # torchvision's, of boxes that are validated
_SMALLEST_PX = 1.0  # cut at the picture's edges, a smaller box is nobody to be found


class DetectorTrainParams(TrainParams):
    """Parameters of the training of a person detector."""

    # Detectron's schedule for COCO, "1x", which torchvision's reference follows too.
    usual = Schedule("sgd", lr=0.02, epochs=12, milestones=(8, 11), weight_decay=1e-4, warmup_steps=1000)

    network: Literal["faster-rcnn-resnet-50", "faster-rcnn-resnet-50-v2", "faster-rcnn-resnet-101", "faster-rcnn-resnext-101"] = (
        Field("faster-rcnn-resnet-50", description="the detector")
    )
    deformable: bool = Field(False, description="deformable convolutions (v2) in C3 to C5")
    batch_size: int = Field(_USUAL_BATCH, ge=1, description="images a step, of all processes together")
    lr: float | None = Field(None, gt=0, description="first learning rate (default: 0.02 for 16 images, scaled by batch_size)")
    flip: float = Field(0.5, ge=0, le=1, description="augmentation: share of the images that are mirrored")
    val_share: float = Field(
        0.05, ge=0, lt=1, description="share of the videos (of one video, of its pictures) that is held out to validate on"
    )

    @property
    def schedule(self) -> Schedule:
        """The usual schedule, its rate in proportion to the batch, with what is asked for changed."""
        usual = self.usual.changed(lr=self.usual.lr * self.batch_size / _USUAL_BATCH)
        return usual.changed(epochs=self.epochs, lr=self.lr)


class Batch(NamedTuple):
    """N images, (3, H, W) float32 RGB in [0, 1] each, and their targets as torchvision has them: `boxes`, `labels`."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]


class DetectorTrainee:
    """A Faster R-CNN that learns torchvision's four losses (tasks.fit.Trainee).

    Where `val` is not empty, validation gives COCO's `AP`, `AP50` and `AP75` of people's boxes.
    """

    def __init__(
        self,
        network: PersonDetector,
        train: Sequence[LabelledImage],
        val: Sequence[LabelledImage],
        params: DetectorTrainParams,
        threads: int,
    ) -> None:
        self.model: PersonDetector = network
        self.train, self.val, self.params, self.threads = train, val, params, threads

    def batches(self, epoch: int, rank: int, world: int, first: int) -> Iterator[Batch]:
        """Images, mirrored or not by a draw from (seed, epoch, image)."""
        params = self.params
        order = sample_order(len(self.train), params.batch_size, seed=params.seed, epoch=epoch, rank=rank, world=world)

        def load(number: int) -> _Sample:
            is_mirrored = np.random.default_rng([params.seed, epoch, number]).random() < params.flip
            return _sample(self.train[number], is_mirrored=is_mirrored)

        for samples in loaded_ahead(load, order[first:].tolist(), self.threads):
            yield _batch(samples)

    def losses(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """torchvision's: of the proposals' objectness and boxes, and of the boxes' class and place; `loss` is their sum."""
        parts: dict[str, Tensor] = model(batch.images, batch.targets)
        return {"loss": sum(parts.values(), parts["loss_objectness"].new_zeros(())), **parts}

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """COCO's measures over the images that are held out."""
        import torch

        from tkm.networks.faster_rcnn import ROWS, find_people

        if not self.val:
            return {}
        rows = ROWS[next(model.parameters()).device.type]
        found: list[ImageBoxes] = []
        parts = [self.val[start : start + rows] for start in range(0, len(self.val), rows)]
        for samples in loaded_ahead(_val_sample, parts, self.threads):
            for _, alike in groupby(samples, key=lambda sample: sample.image.shape):
                own = list(alike)
                people = find_people(self.model, torch.from_numpy(np.stack([sample.image for sample in own])))
                scores, boxes = people.person_score.numpy(), people.box_xyxy_px.numpy()
                found += [_found(*each) for each in zip(own, scores, boxes, strict=True)]
        return box_average_precision(found)


def images_of(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Those with somebody to find, but for crowds."""
    return [one for one in images if not one.is_crowd.all()]


class _Sample(NamedTuple):
    """An image (H, W, 3) and its people (P, 4), (P,)."""

    image: Image
    box_xyxy_px: Float
    is_crowd: Bool


def _sample(one: LabelledImage, *, is_mirrored: bool) -> _Sample:
    """An image to train on: what is not to be seen is painted over, and nobody of a crowd is left."""
    image = read_image(one)
    boxes = one.box_xyxy_px[~one.is_crowd]
    crowds = [outline(box) for box in one.box_xyxy_px[one.is_crowd]]
    boxes = clip_boxes(boxes, image.shape[1], image.shape[0])
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= _SMALLEST_PX).all(axis=1)]
    image = blanked(image, [*one.ignore_regions, *crowds], boxes)
    image, boxes = mirrored(image, boxes) if is_mirrored else (image, boxes)
    return _Sample(image, boxes, np.zeros(len(boxes), np.bool_))


def _val_sample(one: LabelledImage) -> _Sample:
    image = read_image(one)
    return _Sample(blanked(image, one.ignore_regions, one.box_xyxy_px), one.box_xyxy_px, one.is_crowd)


def _batch(samples: Sequence[_Sample]) -> Batch:
    import torch

    images = [torch.from_numpy(sample.image).permute(2, 0, 1).float() / 255 for sample in samples]
    boxes = [torch.from_numpy(sample.box_xyxy_px) for sample in samples]
    return Batch(images, [{"boxes": own, "labels": torch.ones(len(own), dtype=torch.int64)} for own in boxes])


def _found(sample: _Sample, score: Float, box_xyxy_px: Float) -> ImageBoxes:
    """The best boxes of an image's proposals, as `tasks.detect` finds them."""
    boxes = clip_boxes(box_xyxy_px, sample.image.shape[1], sample.image.shape[0])
    good = (score >= _LOWEST_SCORE) & (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    boxes, score = boxes[good], score[good]
    keep = box_nms(boxes, score, np.zeros(len(boxes), np.int64), np.arange(len(boxes)), _NMS_IOU)
    return ImageBoxes(boxes[keep][:MOST_BOXES], score[keep][:MOST_BOXES], sample.box_xyxy_px, sample.is_crowd)
