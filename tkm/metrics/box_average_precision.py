"""Average precision of boxes of people, as COCO counts it: pycocotools does the counting.

Shape legend: P boxes found, Q true boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.cocoeval import COCOeval

from tkm.metrics.oks import coco_dataset, silence
from tkm.types import Bool, Float, check

MOST_BOXES = 100  # of an image that COCO counts, the best ones


@dataclass(frozen=True)
class ImageBoxes:
    """What was found in an image, and what is true of it.

    box_xyxy_px, score      (P, 4) and (P,) float32
    true_box_xyxy_px        (Q, 4) float32
    is_crowd                (Q,) bool; what is found within a crowd is neither right nor wrong
    """

    box_xyxy_px: Float
    score: Float
    true_box_xyxy_px: Float
    is_crowd: Bool

    def __post_init__(self) -> None:
        check(self, "score", (None,), np.float32)
        check(self, "box_xyxy_px", (len(self.score), 4), np.float32)
        check(self, "is_crowd", (None,), np.bool_)
        check(self, "true_box_xyxy_px", (len(self.is_crowd), 4), np.float32)


def box_average_precision(images: Sequence[ImageBoxes]) -> dict[str, float]:
    """`AP` (mean over IOU 0.5 to 0.95), `AP50` and `AP75`, in [0, 1]; NaN where no image has a true person."""
    numbers = range(len(images))
    with silence():
        true, found = coco_dataset(numbers, _true_people(images)), coco_dataset(numbers, _found_people(images))
        evaluation = COCOeval(true, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    named = zip(("AP", "AP50", "AP75"), evaluation.stats, strict=False)
    return {name: float(value) if value >= 0 else np.nan for name, value in named}


def _true_people(images: Sequence[ImageBoxes]) -> Iterator[dict[str, object]]:
    for number, image in enumerate(images):
        for box, is_crowd in zip(image.true_box_xyxy_px, image.is_crowd, strict=True):
            yield {**_box(number, box), "iscrowd": int(is_crowd)}


def _found_people(images: Sequence[ImageBoxes]) -> Iterator[dict[str, object]]:
    for number, image in enumerate(images):
        for box, score in zip(image.box_xyxy_px, image.score, strict=True):
            yield {**_box(number, box), "score": float(score)}


def _box(number: int, box_xyxy_px: Float) -> dict[str, object]:
    x0, y0, x1, y1 = box_xyxy_px.astype(np.float64).tolist()
    return {"image_id": number, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
