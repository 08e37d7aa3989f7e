from __future__ import annotations

import numpy as np
import pytest

from tkm.synthetic.drawing.sensor import Sensor
from tkm.types import Float

H, W = 120, 160


def _flat(level: float) -> Float:
    return np.full((H, W, 3), level, np.float32)


def _developed(colour: Float, noise: float, seed: int = 0, frame: int = 0) -> np.ndarray:
    return Sensor.of(noise, H, W, np.random.default_rng(seed)).develop(colour, np.random.default_rng(frame))


@pytest.mark.parametrize(("linear", "srgb"), [(0.0, 0), (0.2140, 127.5), (0.0100, 25.4), (1.0, 255), (3.0, 255), (-0.1, 0)])
def test_light_is_encoded_as_srgb(linear: float, srgb: float) -> None:
    assert _developed(_flat(linear), 0.0) == pytest.approx(srgb, abs=1)


@pytest.mark.parametrize("noise", [1.0, 3.0, 6.0])
def test_noise_has_the_asked_deviation_at_mid_grey_and_no_bias(noise: float) -> None:
    values = _developed(_flat(0.2140), noise).astype(float)
    assert values.std() == pytest.approx(np.hypot(noise, 0.29), rel=0.05)  # and that of rounding
    assert values.mean() == pytest.approx(127.5, abs=0.7)


def test_noise_grows_with_the_light() -> None:
    dark, bright = (_developed(_flat(level), 4.0).astype(float).std() for level in (0.03, 0.7))
    assert dark < bright


def test_noise_of_the_three_colours_is_alike_but_not_equal() -> None:
    values = _developed(_flat(0.2140), 5.0).reshape(-1, 3).astype(float)
    assert 0.2 < np.corrcoef(values.T)[0, 1] < 0.6


def test_noise_follows_from_the_seed_of_the_clip_and_of_the_frame() -> None:
    first = _developed(_flat(0.2), 3.0, seed=1, frame=1)
    assert np.array_equal(first, _developed(_flat(0.2), 3.0, seed=1, frame=1))
    assert not np.array_equal(first, _developed(_flat(0.2), 3.0, seed=1, frame=2))
    assert not np.array_equal(first, _developed(_flat(0.2), 3.0, seed=2, frame=1))


def test_the_lens_softens_an_edge_by_a_pixel_and_no_more() -> None:
    colour = _flat(0.0)
    colour[:, W // 2 :] = 1
    row = _developed(colour, 0.0)[H // 2, :, 0]
    assert (row[: W // 2 - 1] == 0).all()
    assert (row[W // 2 + 1 :] == 255).all()
    assert 0 < row[W // 2 - 1] < row[W // 2] < 255
