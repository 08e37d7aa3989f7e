"""What a person detector sees in training: pictures without people whom nobody annotated, mirrored or not.

Shape legend: P people.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tkm.datasets.sequence import Polygon
from tkm.geometry import Image
from tkm.types import Float

# The mean colour of ImageNet, which networks see as zero.
_BLANK = (124, 116, 104)


def blanked(image: Image, regions: Sequence[Polygon], box_xyxy_px: Float) -> Image:
    """The picture with these regions painted over, but for what lies in the boxes of annotated people.

    People may stand in a region that nobody annotated: seen, each would be taught as background. What is not to be seen needs no
    exception in the network's losses.

    Args: image (H, W, 3) uint8 RGB; regions, polygons (N, 2) float64, in pixels; box_xyxy_px (P, 4) float32.
    """
    if not regions:
        return image
    height_px, width_px = image.shape[:2]
    mask = np.zeros((height_px, width_px), np.uint8)
    for polygon in regions:
        cv2.fillPoly(mask, [np.floor(polygon).astype(np.int32)], color=(1,))
    low = np.floor(box_xyxy_px[:, :2]).clip(0).astype(int)
    high = np.ceil(box_xyxy_px[:, 2:]).clip(0).astype(int)
    for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist(), strict=True):
        mask[y0:y1, x0:x1] = 0
    return np.where(mask[..., None] > 0, np.array(_BLANK, np.uint8), image)


def outline(box_xyxy_px: Float) -> Polygon:
    """(4,) float32 box to its corners, (4, 2) float64."""
    x0, y0, x1, y1 = box_xyxy_px.astype(np.float64).tolist()
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def mirrored(image: Image, box_xyxy_px: Float) -> tuple[Image, Float]:
    """The picture's mirror image, and the boxes (P, 4) float32 in it."""
    width_px = np.float32(image.shape[1])
    x0, y0, x1, y1 = box_xyxy_px.T
    return np.ascontiguousarray(image[:, ::-1]), np.stack([width_px - x1, y0, width_px - x0, y1], axis=1)
