import cv2
import numpy as np
import pytest

from tests.builders import boxes_around
from tkm.geometry import GREY, Crops, clip_boxes, crops_around, cut_crops, letterbox


def crop_pixel_centres(crops: Crops, size_px: int) -> np.ndarray:
    """(size_px, size_px, 2): where in the frame the centre of every pixel of the first crop lies."""
    x, y = np.meshgrid(*[(np.arange(size_px) + 0.5) / size_px] * 2)
    return crops.to_image(np.stack([x, y], axis=-1)[None].astype(np.float32))[0]


def centre_of_light(image: np.ndarray) -> np.ndarray:
    """(x, y) in continuous coordinates: a lone bright pixel (3, 4) gives (3.5, 4.5)."""
    light = image[..., 0].astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


def test_crop_is_a_square_around_the_box_whose_side_is_its_longer_one_scaled():
    box = np.array([[10, 20, 50, 120], [0, 0, 80, 40]], np.float32)
    crops = crops_around(box, scale=1.25)
    assert crops.size_px.tolist() == [[125, 125], [100, 100]]
    centre = crops.left_top_px + crops.size_px / 2
    assert np.allclose(centre, [[30, 70], [40, 20]])


def test_a_box_is_padded_in_one_direction_to_the_aspect_of_the_input_and_then_scaled():
    box = np.array([[10, 20, 50, 120], [0, 0, 80, 40], [0, 0, 75, 100]], np.float32)
    crops = crops_around(box, aspect=288 / 384, scale=1.25)
    assert np.allclose(crops.size_px, [[0.75 * 125, 125], [100, 100 / 0.75], [0.75 * 125, 125]])
    assert np.allclose(crops.left_top_px + crops.size_px / 2, [[30, 70], [40, 20], [37.5, 50]])


def test_what_is_seen_in_a_crop_that_is_not_square_lies_where_geometry_says():
    image = np.zeros((1000, 1400, 3), np.uint8)
    image[498:503, 718:723] = 255
    for width, height in ((60.0, 190.0), (500.0, 610.0)):
        box = boxes_around(np.array([[707.0, 521.0]]), width, height)
        crops = crops_around(box, aspect=192 / 256)
        found = centre_of_light(cut_crops(image, crops, box, size_px=(256, 192), grey_margin=None)[0])
        expected = crops.to_crop(np.array([[720.5, 500.5]], np.float32))[0] * (192, 256)
        assert np.abs(found - expected).max() < 0.2


def test_what_is_blank_may_be_black():
    image = np.full((100, 100, 3), 7, np.uint8)
    box = np.array([[60, 0, 100, 100]], np.float32)
    crop = cut_crops(image, crops_around(box, aspect=0.75), box, size_px=(128, 96), grey_margin=None, fill=0)[0]
    assert set(np.unique(crop[:, -10:])) == {0}
    assert (crop[40:80, 20:40] == 7).all()


@pytest.mark.parametrize("shape", [(5, 2), (5, 17, 2), (5, 17, 16, 2)])
def test_image_and_crop_coordinates_undo_each_other(shape):
    rng = np.random.default_rng(0)
    crops = crops_around(boxes_around(rng.uniform(0, 2000, (5, 2)), 93.7, 211.3))
    xy = rng.uniform(-0.2, 1.2, shape).astype(np.float32)
    assert crops.to_image(xy).dtype == np.float32
    assert np.abs(crops.to_crop(crops.to_image(xy)) - xy).max() < 5e-6
    xy_px = rng.uniform(0, 4000, shape).astype(np.float32)
    assert np.abs(crops.to_image(crops.to_crop(xy_px)) - xy_px).max() < 2e-3


def test_crop_corners_are_zero_and_one():
    crops = Crops(np.array([[100, 50]], np.float32), np.array([[200, 100]], np.float32))
    corners = crops.to_image(np.array([[[0, 0], [1, 1], [0.5, 0.25]]], np.float32))
    assert corners.tolist() == [[[100, 50], [300, 150], [200, 75]]]


def test_unknown_coordinates_stay_unknown():
    crops = crops_around(np.array([[0, 0, 10, 10]], np.float32))
    assert np.isnan(crops.to_image(np.full((1, 3, 2), np.nan, np.float32))).all()


@pytest.mark.parametrize("side_px", [40, 100, 190, 256, 300, 420, 600, 1100])
@pytest.mark.parametrize("grey_margin", [None, 0.05])
def test_a_dot_is_found_in_the_crop_where_geometry_says(side_px, grey_margin):
    rng = np.random.default_rng(side_px)
    image = np.zeros((1500, 2000, 3), np.uint8)
    x, y = int(rng.integers(800, 1200)), int(rng.integers(700, 800))
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    left_top = np.array([[x, y]]) - rng.uniform(0.4, 0.6, (1, 2)) * side_px
    # The box fills its crop, so that greying hides nothing and black surrounds the dot.
    box = np.concatenate([left_top, left_top + side_px], axis=1).astype(np.float32)
    crops = crops_around(box, scale=1.0)
    found = centre_of_light(cut_crops(image, crops, box, grey_margin=grey_margin)[0])
    expected = crops.to_crop(np.array([[x + 0.5, y + 0.5]], np.float32))[0] * 256
    assert np.abs(found - expected).max() < 0.2
    back = crops.to_image((found / 256).astype(np.float32)[None])[0]
    assert np.abs(back - (x + 0.5, y + 0.5)).max() < 0.5


def test_a_crop_of_exactly_its_size_copies_the_pixels():
    image = np.random.default_rng(2).integers(0, 255, (300, 400, 3), np.uint8)
    crops = Crops(np.array([[70, 20]], np.float32), np.array([[256, 256]], np.float32))
    box = np.array([[70, 20, 326, 276]], np.float32)
    assert np.array_equal(cut_crops(image, crops, box)[0], image[20:276, 70:326])


def test_fine_stripes_average_out_when_a_large_box_shrinks():
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 200
    box = np.array([[88, 88, 1112, 1112]], np.float32)
    crop = cut_crops(image, crops_around(box, scale=1.0), box)[0]
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 100).max() <= 4


def test_outside_of_the_frame_is_grey():
    image = np.full((100, 100, 3), 7, np.uint8)
    box = np.array([[60, 0, 100, 100]], np.float32)
    crops = crops_around(box)
    crop = cut_crops(image, crops, box, size_px=(128, 128), grey_margin=None)[0]
    centres = crop_pixel_centres(crops, 128)
    inside = ((centres > 1) & (centres < 99)).all(axis=-1)
    outside = ((centres < -1) | (centres > 101)).any(axis=-1)
    assert inside.any()
    assert outside.any()
    assert (crop[inside] == 7).all()
    assert (crop[outside] == GREY).all()


@pytest.mark.parametrize("height", [100.0, 420.0])
def test_pixels_beyond_the_box_and_its_margin_are_grey_and_none_within(height):
    image = np.full((900, 900, 3), 7, np.uint8)
    box = boxes_around(np.array([[450.3, 449.6]]), height / 3, height)
    crops = crops_around(box)
    crop = cut_crops(image, crops, box, size_px=(96, 96), grey_margin=0.05)[0]
    centres = crop_pixel_centres(crops, 96)
    margin = 0.05 * (box[0, 2:] - box[0, :2])
    # How far a crop pixel's centre is beyond the enlarged box, in crop pixels: negative within.
    beyond = np.maximum(box[0, :2] - margin - centres, centres - box[0, 2:] - margin).max(axis=-1)
    beyond_crop_px = beyond / (float(crops.size_px[0, 0]) / 96)
    assert (crop[beyond_crop_px > 2] == GREY).all()
    assert (crop[beyond_crop_px < -2] == 7).all()
    assert (cut_crops(image, crops, box, size_px=(96, 96), grey_margin=None)[0] == 7).all()


def test_a_box_wholly_outside_the_frame_gives_a_grey_crop():
    image = np.zeros((50, 50, 3), np.uint8)
    box = np.array([[200, 200, 240, 260]], np.float32)
    assert (cut_crops(image, crops_around(box), box) == GREY).all()


def test_a_crop_does_not_depend_on_its_neighbours():
    image = np.random.default_rng(3).integers(0, 255, (400, 600, 3), np.uint8)
    box = boxes_around(np.random.default_rng(4).uniform(50, 350, (6, 2)), 77.0, 160.0)
    together = cut_crops(image, crops_around(box), box)
    alone = [cut_crops(image, crops_around(box[p : p + 1]), box[p : p + 1])[0] for p in range(6)]
    assert np.array_equal(together, np.stack(alone))


def test_no_boxes_no_crops():
    none = np.empty((0, 4), np.float32)
    assert cut_crops(np.zeros((50, 50, 3), np.uint8), crops_around(none), none).shape == (0, 256, 256, 3)


@pytest.mark.parametrize(
    "box",
    [[0, 0, 0, 10], [0, 10, 10, 5], [0, 0, np.nan, 10], [0, -np.inf, 10, 10]],
    ids=["flat", "upside down", "nan", "inf"],
)
def test_a_box_without_area_is_refused_by_name(box):
    with pytest.raises(ValueError, match=r"box_xyxy_px\[1\]"):
        crops_around(np.array([[0, 0, 5, 5], box], np.float32))


def test_wrong_images_and_shapes_are_refused_by_name():
    box = np.array([[0, 0, 5, 5]], np.float32)
    with pytest.raises(ValueError, match="image"):
        cut_crops(np.zeros((9, 9, 3), np.float32), crops_around(box), box)
    with pytest.raises(ValueError, match="image"):
        letterbox(np.zeros((0, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="box_xyxy_px"):
        cut_crops(np.zeros((9, 9, 3), np.uint8), crops_around(box), np.repeat(box, 2, axis=0))
    with pytest.raises(ValueError, match="grey_margin"):
        cut_crops(np.zeros((9, 9, 3), np.uint8), crops_around(box), box, grey_margin=-0.1)
    with pytest.raises(ValueError, match="xy"):
        crops_around(box).to_image(np.zeros((2, 17, 2), np.float32))


@pytest.mark.parametrize(
    ("height", "width"), [(1080, 1920), (1920, 1088), (333, 517), (416, 416), (90, 120), (2000, 3)]
)
def test_letterbox_shows_the_frame_whole_and_boxes_come_back(height, width):
    image = np.full((height, width, 3), 255, np.uint8)
    canvas, place = letterbox(image)
    assert max(canvas.shape[:2]) == 416
    assert canvas.shape[0] % 32 == canvas.shape[1] % 32 == 0
    y, x = np.nonzero(canvas[..., 0])
    shown = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
    assert max(shown[0, 2] - shown[0, 0], shown[0, 3] - shown[0, 1]) == 416
    assert np.allclose(place.to_image(shown), [[0, 0, width, height]], atol=1e-3)
    middle = np.array(canvas.shape[1::-1]) / 2
    assert np.abs((shown[0, :2] + shown[0, 2:]) / 2 - middle).max() <= 0.5
    assert (2 * middle - (shown[0, 2:] - shown[0, :2]) < 32).all(), "no larger than it must be"


def test_a_rectangle_is_found_on_the_canvas_where_letterbox_says():
    image = np.zeros((720, 1283, 3), np.uint8)
    cv2.rectangle(image, (401, 200), (600, 499), (255, 255, 255), -1)
    canvas, place = letterbox(image)
    y, x = np.nonzero(canvas[..., 0] > 127)
    found = place.to_image(np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32))
    assert np.abs(found - [[401, 200, 601, 500]]).max() < 1283 / 416 / 2 + 1e-3


def test_boxes_are_clipped_to_the_frame():
    box = np.array([[-5, 3, 20, 70], [200, 10, 300, 20]], np.float32)
    assert clip_boxes(box, width_px=100, height_px=50).tolist() == [[0, 3, 20, 50], [100, 10, 100, 20]]
