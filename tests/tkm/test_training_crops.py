"""Augmented crops: truth and pixels move together, and a crop that is not augmented is the one that annotating takes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tkm.geometry import crops_around, cut_crops
from tkm.skeleton import COCO_17
from tkm.training.crops import Augmentation, Draw, cut, draw, flipped, placement, to_crop, to_picture
from tkm.types import Float

BOX = np.array([100, 60, 160, 220], np.float32)
SIZE_PX = (128, 96)
ASPECT = SIZE_PX[1] / SIZE_PX[0]


def dotted(xy_px: Float) -> np.ndarray:
    """A dark picture with a bright dot of 9 px around each point."""
    image = np.zeros((320, 320, 3), np.uint8)
    for x, y in xy_px:
        cv2.circle(image, (round(float(x) - 0.5), round(float(y) - 0.5)), 4, (255, 255, 255), -1)
    return image


@pytest.mark.parametrize(
    "drawn",
    [Draw(), Draw(1.3), Draw(0.7), Draw(1, 40), Draw(1.2, -75), Draw(1, 0, True), Draw(0.8, 30, True)],
)
def test_keypoints_stand_where_their_pixels_are(drawn: Draw) -> None:
    point = np.array([[120.5, 110.5]], np.float32)
    placed = placement(BOX, ASPECT, 1.25, drawn)
    crop = cut(dotted(point), placed, SIZE_PX, fill=0)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    found = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / SIZE_PX[::-1]
    np.testing.assert_allclose(to_crop(point, placed)[0] * SIZE_PX[::-1], found * SIZE_PX[::-1], atol=0.6)
    np.testing.assert_allclose(to_picture(to_crop(point, placed), placed), point, atol=1e-3)


@pytest.mark.parametrize("box", [BOX, np.array([-40, 200, 90, 330], np.float32), np.array([0, 0, 320, 320], np.float32)])
def test_a_crop_that_is_not_augmented_is_the_one_that_annotating_takes(box: Float) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (320, 320, 3), np.uint8), (0, 0), 3)
    crops = crops_around(box[None], ASPECT, 1.25)
    expected = cut_crops(image, crops, box[None], SIZE_PX, grey_margin=None, fill=0)[0]
    placed = placement(box, ASPECT, 1.25, Draw())
    difference = np.abs(cut(image, placed, SIZE_PX, fill=0).astype(int) - expected)
    assert (difference > 3).mean() < 0.02  # averages of 2 x 2 begin at another pixel
    np.testing.assert_allclose(to_crop(box.reshape(1, 2, 2), placed), crops.to_crop(box.reshape(1, 2, 2)), atol=1e-5)


def test_a_mirrored_left_wrist_is_a_right_one() -> None:
    xy_px = np.arange(34, dtype=np.float32).reshape(17, 2)
    left, right = COCO_17.keypoints.index("left_wrist"), COCO_17.keypoints.index("right_wrist")
    mirrored = flipped(xy_px, COCO_17.flip_order, Draw(is_flipped=True))
    np.testing.assert_array_equal(mirrored[[left, right, 0]], xy_px[[right, left, 0]])
    np.testing.assert_array_equal(flipped(xy_px, COCO_17.flip_order, Draw()), xy_px)


def test_a_box_beside_the_picture_gives_a_blank_crop() -> None:
    placed = placement(BOX + 1000, ASPECT, 1.25, Draw())
    assert (cut(dotted(np.zeros((0, 2), np.float32)), placed, SIZE_PX, fill=7) == 7).all()


def test_draws_keep_within_their_limits_and_vary() -> None:
    augmentation = Augmentation(scale=0.2, rotation_degrees=10, flip=0.25)
    draws = [draw(augmentation, np.random.default_rng(number)) for number in range(400)]
    scales, degrees = np.array([one.scale for one in draws]), np.array([one.rotation_degrees for one in draws])
    assert 0.8 <= scales.min() < 0.85
    assert 1.15 < scales.max() <= 1.2
    assert 10 < np.abs(degrees).max() <= 20
    assert 0.3 < (degrees == 0).mean() < 0.5
    assert 0.18 < np.mean([one.is_flipped for one in draws]) < 0.32
    assert draw(augmentation, np.random.default_rng(3)) == draws[3]
    with pytest.raises(ValueError, match="flip"):
        Augmentation(flip=1.5)
