"""What a detector sees in training: nobody whom nobody annotated, and boxes that stay on their people."""

from __future__ import annotations

import numpy as np

from tests.storage.clips import picture
from tkm.training.detection import blanked, mirrored, outline

BOXES = np.array([[4, 6, 20, 30], [50, 10, 64, 40]], np.float32)


def test_regions_are_painted_over_but_for_annotated_people() -> None:
    image = picture(3)
    region = outline(np.array([10, 10, 40, 40], np.float32))

    seen = blanked(image, [region], BOXES)

    assert (seen[31:39, 21:39] == seen[35, 30]).all()
    assert (image[31:39, 21:39] != image[35, 30]).any()
    np.testing.assert_array_equal(seen[6:30, 4:20], image[6:30, 4:20])
    np.testing.assert_array_equal(seen[:, 42:], image[:, 42:])


def test_a_region_that_reaches_beyond_the_picture_is_painted_within() -> None:
    image = picture(3)

    seen = blanked(image, [outline(np.array([-30, -30, 500, 500], np.float32))], BOXES[:0])

    assert (seen == seen[0, 0]).all()


def test_without_regions_the_picture_is_as_it_was() -> None:
    np.testing.assert_array_equal(blanked(picture(3), [], BOXES), picture(3))


def test_boxes_stay_on_their_people_in_a_mirror_image() -> None:
    image = picture(3)

    other, boxes = mirrored(image, BOXES)

    for (x0, y0, x1, y1), (u0, v0, u1, v1) in zip(BOXES.astype(int).tolist(), boxes.astype(int).tolist(), strict=True):
        np.testing.assert_array_equal(other[v0:v1, u0:u1], image[y0:y1, x0:x1][:, ::-1])
