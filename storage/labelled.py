"""Labelled images to train and validate networks on: pictures, or frames of videos, with the people that annotation files tell.

Shape legend: P people in an image, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.addresses import open_address
from storage.sources import InputError
from storage.video import picture_of
from tkm.datasets.sequence import Polygon
from tkm.geometry import Image
from tkm.skeleton import Skeleton
from tkm.types import Bool, Float, Int, check


@dataclass(frozen=True)
class LabelledImage:
    """A picture and the people in it. Coordinates as everywhere in tkm: pixel 0 spans [0, 1).

    image_uri        its picture, or the video that it is a frame of: a path or URL
    frame            number of the frame in that video; None for a picture
    truth            address of the annotation file that tells of it
    video            the sequence that it is of, as that file calls it
    name             what that file calls the picture
    skeleton         names and order of the K keypoints
    box_xyxy_px      (P, 4) float32, each with an area; not cut at the picture's edges
    xy_px            (P, K, 2) float32; NaN where a keypoint is not annotated
    visibility       (P, K) int8: 0 not annotated, 1 hidden, 2 seen
    track_id         (P,) int64, the same person in the same video; -1 where the file gives none
    is_crowd         (P,) bool, a group of people whom COCO does not tell apart
    ignore_regions   polygons (N, 2) float64 in which people may stand that nobody annotated
    """

    image_uri: str
    frame: int | None
    truth: str
    video: str
    name: str
    skeleton: Skeleton
    box_xyxy_px: Float
    xy_px: Float
    visibility: NDArray[np.int8]
    track_id: Int
    is_crowd: Bool
    ignore_regions: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        P, K = len(self.box_xyxy_px), len(self.skeleton.keypoints)
        check(self, "box_xyxy_px", (P, 4), np.float32)
        check(self, "xy_px", (P, K, 2), np.float32)
        check(self, "visibility", (P, K), np.int8)
        check(self, "track_id", (P,), np.int64)
        check(self, "is_crowd", (P,), np.bool_)
        if not (self.box_xyxy_px[:, 2:] > self.box_xyxy_px[:, :2]).all():
            raise ValueError("LabelledImage.box_xyxy_px must hold boxes with an area, x0 < x1 and y0 < y1")
        if (np.isnan(self.xy_px).any(axis=2) != (self.visibility == 0)).any():
            raise ValueError("LabelledImage.xy_px must be NaN where visibility is 0, and nowhere else")

    def __len__(self) -> int:
        return len(self.box_xyxy_px)


def read_image(one: LabelledImage) -> Image:
    """(H, W, 3) uint8 RGB, upright. InputError, which names picture and annotation file, where it is not there."""
    fs, path = open_address(one.image_uri)
    try:
        return picture_of(fs.cat_file(path), one.image_uri)
    except FileNotFoundError:
        raise InputError(f"{one.image_uri}: no such picture, which {one.truth} tells of") from None
