"""Crops cut in torch are those that OpenCV cuts, but for the rounding of positions."""

import cv2
import numpy as np
import pytest
import torch

from tests.builders import boxes_around
from tkm import cropping
from tkm.geometry import crops_around, cut_crops

DEVICES = ["cpu", "cuda"]


def on(device: str, image: np.ndarray) -> torch.Tensor:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    return torch.from_numpy(image).to(device)


def photo(height: int = 700, width: int = 900) -> np.ndarray:
    """Structure of every size, and edges as sharp as an encoder leaves them."""
    rng = np.random.default_rng(5)
    image = np.zeros((height, width, 3), np.float32)
    for size in (7, 30, 120):
        noise = rng.uniform(0, 255, (height // size + 2, width // size + 2, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / 3
    cv2.circle(image, (width // 2, height // 2), 90, (20, 200, 120), -1)
    return cv2.GaussianBlur(image.clip(0, 255).astype(np.uint8), (3, 3), 0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size_px", [(256, 256), (384, 288)])
@pytest.mark.parametrize("grey_margin", [None, 0.05])
@pytest.mark.parametrize("height_px", [60.0, 230.0, 500.0, 1300.0])
def test_torch_cuts_the_same_crops_as_opencv(device, size_px, grey_margin, height_px):
    """To within one grey level in one of 1,000 values. OpenCV before 5 rounds positions, too: half a level on average."""
    mean, highest = (0.001, 1) if int(cv2.__version__.split(".")[0]) >= 5 else (0.5, 6)
    image = photo()
    box = boxes_around(np.random.default_rng(int(height_px)).uniform(20, 720, (5, 2)), height_px / 2.2, height_px)
    crops = crops_around(box, size_px[1] / size_px[0])
    for fill in (128, 0):
        expected = cut_crops(image, crops, box, size_px, grey_margin, fill)
        found = cropping.cut_crops(on(device, image), crops, box, size_px, grey_margin, fill)
        assert found.dtype == torch.uint8
        assert found.shape == expected.shape
        difference = np.abs(found.cpu().numpy().astype(int) - expected)
        assert difference.mean() < mean
        assert difference.max() <= highest


def test_a_crop_of_exactly_its_size_copies_the_pixels():
    image = np.random.default_rng(2).integers(0, 255, (300, 400, 3), np.uint8)
    box = np.array([[70, 20, 262, 276]], np.float32)
    found = cropping.cut_crops(torch.from_numpy(image), crops_around(box, 0.75, scale=1), box, (256, 192))
    assert np.array_equal(found[0].numpy(), image[20:276, 70:262])


def test_averages_of_blocks_are_opencvs_to_the_bit():
    image = np.random.default_rng(3).integers(0, 255, (1024, 1024, 3), np.uint8)
    box = np.array([[0, 0, 1024, 1024]], np.float32)
    crops = crops_around(box, scale=1)
    assert np.array_equal(cropping.cut_crops(torch.from_numpy(image), crops, box).numpy(), cut_crops(image, crops, box))


def test_a_crop_does_not_depend_on_its_neighbours():
    image = torch.from_numpy(photo())
    box = np.concatenate([boxes_around(np.array([[300.0, 300.0]]), height, 2 * height) for height in (30.0, 90.0, 200.0, 400.0)])
    together = cropping.cut_crops(image, crops_around(box), box)
    alone = [cropping.cut_crops(image, crops_around(box[p : p + 1]), box[p : p + 1])[0] for p in range(4)]
    assert torch.equal(together, torch.stack(alone))


def test_boxes_outside_the_frame_and_no_boxes():
    image = torch.zeros(50, 50, 3, dtype=torch.uint8)
    box = np.array([[200, 200, 240, 260]], np.float32)
    assert (cropping.cut_crops(image, crops_around(box), box, fill=9) == 9).all()
    none = np.empty((0, 4), np.float32)
    assert cropping.cut_crops(image, crops_around(none), none).shape == (0, 256, 256, 3)


def test_wrong_images_and_boxes_are_refused_by_name():
    box = np.array([[0, 0, 5, 5]], np.float32)
    with pytest.raises(ValueError, match="image"):
        cropping.cut_crops(torch.zeros(9, 9, 3), crops_around(box), box)
    with pytest.raises(ValueError, match="box_xyxy_px"):
        cropping.cut_crops(torch.zeros(9, 9, 3, dtype=torch.uint8), crops_around(box), np.repeat(box, 2, axis=0))
