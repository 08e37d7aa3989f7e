"""The embedded detector answers as the published graph does, from the repository's own files."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tkm import weights
from tkm.networks.nanodet import STRIDES_PX, NanoDet, nanodet

GOLDEN = Path(__file__).parent / "golden" / "networks.npz"


@pytest.fixture(scope="module")
def network() -> NanoDet:
    return nanodet()


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def detect(network, images):
    with torch.inference_mode():
        return network(network.normalise(torch.from_numpy(images)))


def anchors() -> tuple[np.ndarray, np.ndarray]:
    """(A, 2) centres in pixels and (A, 1) strides, worked out apart from the network."""
    centres, strides = [], []
    for stride in STRIDES_PX:
        y, x = np.mgrid[: 416 // stride, : 416 // stride]
        centres.append((np.stack([x.ravel(), y.ravel()], 1) + 0.5) * stride)
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(centres), np.concatenate(strides)


@pytest.mark.parametrize("batch", [[0], [1], [0, 1, 1, 0]])
def test_agrees_with_the_published_graph(network, golden, batch):
    scores, boxes = detect(network, golden["detector_images"][batch])
    assert np.abs(scores.numpy() - golden["person_score"][batch]).max() <= 1e-3
    centre, stride = (array[::5] for array in anchors())
    left_top, right_bottom = np.split(golden["side_distance"][batch] * stride, 2, axis=-1)
    expected = np.concatenate([centre - left_top, centre + right_bottom], axis=-1)
    assert np.abs(boxes[:, ::5].numpy() - expected).max() <= 0.5  # px
    assert np.abs(boxes[:, ::5].numpy() - expected).max() <= 1e-3 * max(STRIDES_PX)  # 1e-3 in the graph's unit


def test_finds_the_two_drawn_people_where_they_stand(network, golden):
    scores, boxes = detect(network, golden["detector_images"][:1])
    x_middle = boxes[0, :, [0, 2]].mean(-1)
    for x_px in (140, 300):
        near = (x_middle - x_px).abs() < 60
        best = boxes[0, near][scores[0, near].argmax()]
        assert scores[0, near].max() > 0.3
        assert torch.allclose(best, torch.tensor([x_px - 55.0, 75, x_px + 55, 360]), atol=25)


def test_red_and_blue_are_not_swapped(network, golden):
    swapped = golden["detector_images"][:1, ..., ::-1].copy()
    assert np.abs(detect(network, swapped).person_score.numpy() - golden["person_score"][:1]).max() > 0.01


def test_an_image_gets_the_same_bits_in_any_company(network, golden):
    people, noise = golden["detector_images"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = detect(network, np.stack([people, noise, noise]))
        other = detect(network, np.stack([noise, noise * 0, people]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.person_score[0], other.person_score[2])
    assert torch.equal(one.box_xyxy_px[0], other.box_xyxy_px[2])


def test_an_image_that_was_not_letterboxed_is_refused(network):
    with pytest.raises(ValueError, match="letterbox"):
        network.normalise(torch.zeros(1, 480, 630, 3, dtype=torch.uint8))


@pytest.mark.parametrize("name", list(weights.WEIGHTS))
def test_embedded_weights_are_what_the_digest_says(name):
    parameters = weights.load(name)
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in parameters.values())
    assert re.fullmatch("[0-9a-f]{64}", weights.digest(name))


def test_damaged_or_missing_weights_are_named(tmp_path, monkeypatch):
    file = weights.WEIGHTS["nanodet"].file
    content = bytearray((weights.FOLDER / file).read_bytes())
    content[-1] ^= 1
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=rf"{file} is missing"):
        nanodet()
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file} is damaged"):
        nanodet()
