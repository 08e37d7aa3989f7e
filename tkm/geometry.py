"""The one place where image, canvas and crop coordinates meet.

One convention holds everywhere, for boxes and keypoints alike: coordinates are continuous, pixel i covers [i, i + 1)
and its centre is i + 0.5. A frame of W pixels spans [0, W], a crop spans [0, 1] of normalised coordinates, cell i of a
heatmap of W cells covers [i / W, (i + 1) / W] (where in it a keypoint stands is the network's affair: tkm/heatmaps.py). Two
neighbours count otherwise: OpenCV's functions put pixel centres at
whole numbers (subtract 0.5 before drawing with sub-pixel precision; truncating to int is right as it is), and so do
COCO's keypoint annotations, though COCO's boxes do not. Annotation files are nevertheless read and written as they are
(docs/datasets.md): what is in the tables is what is in the file, and scores equal those of the official tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from tkm.types import Float

Image = NDArray[np.uint8]

GREY = 128  # what stands outside a frame, and outside a box, in crops for the embedded pose network
CANVAS_FILL = 0  # what stands beside a letterboxed frame


def _check_image(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image must be (H, W, 3) uint8 with at least one pixel, not {image.shape} {image.dtype}")


def _check_boxes(box_xyxy_px: Float) -> None:
    if box_xyxy_px.ndim != 2 or box_xyxy_px.shape[1] != 4:
        raise ValueError(f"box_xyxy_px must have shape (P, 4), not {box_xyxy_px.shape}")
    good = np.isfinite(box_xyxy_px).all(axis=1) & (box_xyxy_px[:, 2:] > box_xyxy_px[:, :2]).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"box_xyxy_px[{row}] is {box_xyxy_px[row].tolist()}: a box needs finite corners, x0 < x1 and y0 < y1; "
            "drop such detections first"
        )


def clip_boxes(box_xyxy_px: Float, width_px: int, height_px: int) -> Float:
    """Cut boxes at the frame's edges: (P, 4) float32 in, the same out; a box wholly outside gets no area."""
    return np.clip(box_xyxy_px, 0, np.array([width_px, height_px, width_px, height_px], np.float32)).astype(np.float32)


@dataclass(frozen=True)
class Letterbox:
    """Where a frame lies on a square canvas: canvas = image * scale + (left_px, top_px).

    The two scales differ by less than half a canvas pixel in the frame's length, since the frame is shown at a whole
    number of pixels.
    """

    scale_x: float
    scale_y: float
    left_px: int
    top_px: int

    def to_image(self, box_xyxy_px: Float) -> Float:
        """Boxes on the canvas, (P, 4) float32, to boxes in the frame, (P, 4) float32, not clipped."""
        offset = np.array([self.left_px, self.top_px] * 2, np.float64)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float64)
        return ((box_xyxy_px - offset) / scale).astype(np.float32)


def letterbox(image: Image, size_px: int = 416, multiple_px: int = 32) -> tuple[Image, Letterbox]:
    """Show a frame whole, undistorted and centred on a canvas that is no larger than it must be.

    Args: image (H, W, 3) uint8; size_px, the canvas's longer side, a multiple of multiple_px; its shorter side is the
        frame's, rounded up to such a multiple: what a convolutional detector of that stride needs.
    Returns: the canvas (height, width, 3) uint8, and where the frame lies on it.
    Raises: ValueError for an image that is empty or not (H, W, 3) uint8.
    """
    _check_image(image)
    height_px, width_px = image.shape[:2]
    scale = size_px / max(height_px, width_px)
    shown_width, shown_height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    canvas_width, canvas_height = (-(-shown // multiple_px) * multiple_px for shown in (shown_width, shown_height))
    left_px, top_px = (canvas_width - shown_width) // 2, (canvas_height - shown_height) // 2
    canvas = np.full((canvas_height, canvas_width, 3), CANVAS_FILL, np.uint8)
    # Averaging areas keeps a small person's detail, which sampling every few pixels would alias.
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top_px : top_px + shown_height, left_px : left_px + shown_width] = cv2.resize(
        _halved(image, scale), (shown_width, shown_height), interpolation=interpolation
    )
    return canvas, Letterbox(shown_width / width_px, shown_height / height_px, left_px, top_px)


def _halved(image: Image, scale: float) -> Image:
    """The image, averaged over 2 x 2 pixels again and again while both sides are even and stay above the scaled size.

    Averaging whole blocks is many times faster than one area average to an arbitrary size, and what is then left to
    shrink is small.
    """
    while scale <= 0.5 and image.shape[0] % 2 == image.shape[1] % 2 == 0:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
        scale *= 2
    return image


@dataclass(frozen=True)
class Crops:
    """Crops of a frame, which may reach beyond it.

    left_top_px   (P, 2) float32, the crop's corner in pixels of the frame
    size_px       (P, 2) float32, its width and height in pixels of the frame
    """

    left_top_px: Float
    size_px: Float

    def __post_init__(self) -> None:
        P = len(self.size_px)
        if self.size_px.shape != (P, 2) or self.left_top_px.shape != (P, 2):
            shapes = f"{self.left_top_px.shape} and {self.size_px.shape}"
            raise ValueError(f"Crops.left_top_px and size_px must both have shape (P, 2), not {shapes}")
        if not (self.size_px > 0).all():
            raise ValueError("Crops.size_px must be positive")

    def __len__(self) -> int:
        return len(self.size_px)

    def to_image(self, xy: Float) -> Float:
        """Normalised crop coordinates (P, ..., 2) to pixels of the frame, (P, ..., 2) float32."""
        left_top_px, size_px = self._beside(xy)
        return (left_top_px + xy * size_px).astype(np.float32)

    def to_crop(self, xy_px: Float) -> Float:
        """Pixels of the frame (P, ..., 2) to normalised crop coordinates, (P, ..., 2) float32: `to_image` undone."""
        left_top_px, size_px = self._beside(xy_px)
        return ((xy_px - left_top_px) / size_px).astype(np.float32)

    def _beside(self, xy: Float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if xy.ndim < 2 or xy.shape[0] != len(self) or xy.shape[-1] != 2:
            raise ValueError(f"xy must have shape ({len(self)}, ..., 2), one row a crop, not {xy.shape}")
        between = (1,) * (xy.ndim - 2)
        return (
            self.left_top_px.astype(np.float64).reshape(-1, *between, 2),
            self.size_px.astype(np.float64).reshape(-1, *between, 2),
        )


def crops_around(box_xyxy_px: Float, aspect: float = 1.0, scale: float = 1.25) -> Crops:
    """Crops of one aspect around the boxes' centres: the box, padded to the aspect in one direction, times `scale`.

    Args: box_xyxy_px (P, 4) float32; aspect, width over height: that of the network's input.
    Raises: ValueError for a box without area or with a coordinate that is not finite, or an aspect that is not positive.
    """
    _check_boxes(box_xyxy_px)
    if not aspect > 0:
        raise ValueError(f"aspect must be above 0, not {aspect}")
    low, high = box_xyxy_px[:, :2].astype(np.float64), box_xyxy_px[:, 2:].astype(np.float64)
    width_px, height_px = (high - low).T
    height_px = scale * np.maximum(height_px, width_px / aspect)
    size_px = np.stack([height_px * aspect, height_px], axis=1)
    left_top_px = (low + high - size_px) / 2
    return Crops(left_top_px.astype(np.float32), size_px.astype(np.float32))


class CropWindows(NamedTuple):
    """What part of a frame each crop is drawn from, and how.

    low, high     (P, 2) int64, corners (x, y) of the pixels that may be seen; none where high <= low
    step          (P, 2) float64, pixels of the frame between neighbouring pixels of the crop
    halvings      (P,) int64, how often those pixels are averaged over 2 x 2 before they are sampled

    The window is a whole number of blocks of 2**halvings pixels.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    step: NDArray[np.float64]
    halvings: NDArray[np.int64]


def crop_windows(
    frame_px: tuple[int, int], crops: Crops, box_xyxy_px: Float, size_px: tuple[int, int], grey_margin: float | None
) -> CropWindows:
    """Windows of a frame of this height and width; the other arguments, and errors, are those of `cut_crops`."""
    _check_boxes(box_xyxy_px)
    if len(crops) != len(box_xyxy_px):
        raise ValueError(f"box_xyxy_px has {len(box_xyxy_px)} rows for {len(crops)} crops: one box a crop is needed")
    if grey_margin is not None and grey_margin < 0:
        raise ValueError(f"grey_margin must be None or at least 0, not {grey_margin}")
    step = crops.size_px / np.array(size_px[::-1], np.float32)
    # Bilinear sampling more than two pixels apart would alias. Averaging 2 x 2 pixels is many times faster than one
    # area average to the exact size.
    halvings = np.maximum(0, np.floor(np.log2(step[:, 1]))).astype(np.int64)
    block = 2 ** halvings[:, None]
    # Bilinear sampling looks half a crop pixel beyond the edge; trimming to whole blocks takes less than a block.
    low = np.floor(crops.left_top_px - block)
    high = np.ceil(crops.left_top_px + crops.size_px + 2 * block)
    if grey_margin is not None:
        margin_px = grey_margin * (box_xyxy_px[:, 2:] - box_xyxy_px[:, :2])
        low = np.maximum(low, np.floor(box_xyxy_px[:, :2] - margin_px))
        high = np.minimum(high, np.ceil(box_xyxy_px[:, 2:] + margin_px))
    edge = np.array(frame_px[::-1])
    low, high = np.clip(low, 0, edge).astype(np.int64), np.clip(high, 0, edge).astype(np.int64)
    return CropWindows(low, low + np.maximum(0, high - low) // block * block, step.astype(np.float64), halvings)


def cut_crops(
    image: Image,
    crops: Crops,
    box_xyxy_px: Float,
    size_px: tuple[int, int] = (256, 256),
    grey_margin: float | None = 0.05,
    fill: int = GREY,
) -> NDArray[np.uint8]:
    """Resample crops of a frame to one size; what is outside the frame, or not the person's, is blank.

    Blanking pixels outside the box keeps the pose from landing on a neighbour who shares the crop. tkm.cropping does the same on
    a GPU.

    Args:
        image: (H, W, 3) uint8.
        crops: P crops, of the aspect of size_px.
        box_xyxy_px: (P, 4) float32, the boxes the crops were made from.
        size_px: height and width of a resampled crop.
        grey_margin: pixels farther from the box than this share of its width (left and right) or height (above and
            below) become blank, to within a pixel of the crop; None keeps them all.
        fill: what blank pixels hold, 0..255.
    Returns: (P, height, width, 3) uint8.
    Raises: ValueError for a bad image or box, or where crops and boxes differ in number.
    """
    _check_image(image)
    windows = crop_windows((image.shape[0], image.shape[1]), crops, box_xyxy_px, size_px, grey_margin)
    resampled = np.full((len(crops), *size_px, 3), fill, np.uint8)
    for p, ((x0, y0), (x1, y1)) in enumerate(zip(windows.low.tolist(), windows.high.tolist(), strict=True)):
        if x0 < x1 and y0 < y1:
            left_top_px = crops.left_top_px[p].astype(np.float64) - (x0, y0)
            _resample(image[y0:y1, x0:x1], left_top_px, windows.step[p], int(windows.halvings[p]), fill, resampled[p])
    return resampled


def _resample(
    visible: Image, left_top_px: NDArray[np.float64], step_px: NDArray[np.float64], halvings: int, fill: int, crop: Image
) -> None:
    """Draw `visible` into `crop`, whose corner is at left_top_px of it, a crop pixel every step_px (x, y); `fill` elsewhere."""
    source: MatLike = visible
    for _ in range(halvings):
        source = cv2.resize(source, (source.shape[1] // 2, source.shape[0] // 2), interpolation=cv2.INTER_AREA)
    step = step_px / 2**halvings
    # The centre of crop pixel u lies at corner + (u + 0.5) * step; warpAffine counts pixel centres as whole numbers.
    x, y = left_top_px / 2**halvings + 0.5 * step - 0.5
    cv2.warpAffine(
        source, np.array([[step[0], 0, x], [0, step[1], y]]), crop.shape[1::-1], dst=crop,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT, borderValue=(fill, fill, fill),
    )  # fmt: skip
