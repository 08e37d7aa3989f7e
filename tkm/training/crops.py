"""Crops to train pose networks on: a person's box, scaled, turned and mirrored at random, cut out of the picture.

A crop stands in its picture by a placement, a matrix (2, 3) float64 from the crop's normalised coordinates (x, y, 1), each in
[0, 1], to pixels of the picture. The draws are those of microsoft/human-pose-estimation.pytorch (lib/dataset/JointsDataset.py).

Shape legend: K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from tkm.geometry import Image, crops_around
from tkm.types import Float

_TURNED_SHARE = 0.6  # of the crops: the others stay upright
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Augmentation:
    """How crops vary.

    scale              spread of the crop's size: its factor is a normal draw around 1, of this deviation and at most this far
    rotation_degrees   spread of the angle of those that are turned: a normal draw of this deviation, at most twice this far
    flip               share of the crops that are mirrored

    Raises ValueError for a spread or share that is out of range.
    """

    scale: float = 0.35
    rotation_degrees: float = 45.0
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1 or not 0 <= self.rotation_degrees <= 90 or not 0 <= self.flip <= 1:
            raise ValueError(f"{self}: scale must be in [0, 1), rotation_degrees in [0, 90], flip in [0, 1]")


class Draw(NamedTuple):
    """What is drawn for one crop: factor of its size, angle in degrees, and whether it is mirrored."""

    scale: float = 1.0
    rotation_degrees: float = 0.0
    is_flipped: bool = False


def draw(augmentation: Augmentation, rng: np.random.Generator) -> Draw:
    """One crop's draw."""
    size, angle = rng.standard_normal(2)
    is_turned, is_flipped = rng.random(2) < (_TURNED_SHARE, augmentation.flip)
    spread, degrees = augmentation.scale, augmentation.rotation_degrees
    turned = float(np.clip(angle * degrees, -2 * degrees, 2 * degrees)) if is_turned else 0.0
    return Draw(float(np.clip(1 + size * spread, 1 - spread, 1 + spread)), turned, bool(is_flipped))


def placement(box_xyxy_px: Float, aspect: float, crop_scale: float, drawn: Draw) -> Matrix:
    """Where a crop stands: around the box (4,) float32, padded to the aspect (width over height), times crop_scale, as drawn.

    Raises ValueError for a box without area.
    """
    crops = crops_around(box_xyxy_px[None], aspect, crop_scale)
    width_px, height_px = crops.size_px[0].astype(np.float64) * drawn.scale
    centre = crops.left_top_px[0] + crops.size_px[0].astype(np.float64) / 2
    angle = np.deg2rad(drawn.rotation_degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([-width_px if drawn.is_flipped else width_px, height_px])
    return np.concatenate([linear, (centre - linear @ (0.5, 0.5))[:, None]], axis=1)


def to_crop(xy_px: Float, placed: Matrix) -> Float:
    """Pixels of the picture (..., 2) to normalised coordinates of the crop, (..., 2) float32."""
    return ((xy_px - placed[:, 2]) @ np.linalg.inv(placed[:, :2]).T).astype(np.float32)


def to_picture(xy: Float, placed: Matrix) -> Float:
    """Normalised coordinates of the crop (..., 2) to pixels of the picture, (..., 2) float32: `to_crop` undone."""
    return (xy @ placed[:, :2].T + placed[:, 2]).astype(np.float32)


def flipped(xy_px: Float, flip_order: tuple[int, ...], drawn: Draw) -> Float:
    """A person's keypoints (K, 2) by what they are in the crop: mirrored, a left wrist is a right one."""
    return xy_px[list(flip_order)] if drawn.is_flipped else xy_px


def cut(image: Image, placed: Matrix, size_px: tuple[int, int], fill: int) -> Image:
    """The crop, (height, width, 3) uint8, with `fill` where it reaches beyond the picture.

    As in `tkm.geometry.cut_crops`, what is shrunk by more than two is averaged over 2 x 2 pixels before it is sampled.

    Args: image (H, W, 3) uint8; size_px, height and width of the crop.
    """
    height, width = size_px
    step = placed[:, :2] / (width, height)  # pixels of the picture from one pixel of the crop to the next
    halvings = max(0, int(np.floor(np.log2(np.sqrt(abs(np.linalg.det(step)))))))
    block = 2**halvings
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) @ placed[:, :2].T + placed[:, 2]
    edge = np.array(image.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)) - 2 * block, 0, edge).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2 * block, 0, edge).astype(int)
    size = (high - low) // block * block  # whole blocks
    if not (size > 0).all():
        return np.full((height, width, 3), fill, np.uint8)
    source: MatLike = image[low[1] : low[1] + size[1], low[0] : low[0] + size[0]]
    for _ in range(halvings):
        source = cv2.resize(source, (source.shape[1] // 2, source.shape[0] // 2), interpolation=cv2.INTER_AREA)
    # The centre of crop pixel (u, v) stands at (u + 0.5, v + 0.5); warpAffine counts pixel centres as whole numbers.
    linear = step / block
    offset = (placed[:, 2] - low) / block + linear @ (0.5, 0.5) - 0.5
    crop = cv2.warpAffine(
        source, np.concatenate([linear, offset[:, None]], axis=1), (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT, borderValue=(fill, fill, fill),
    )  # fmt: skip
    return np.asarray(crop, np.uint8)
