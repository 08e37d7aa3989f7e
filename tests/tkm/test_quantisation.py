import numpy as np
import pytest

from tkm.quantisation import dequantise, quantise


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_what_comes_back_lies_within_half_a_step(scale):
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(50, 17, 64)) * rng.lognormal(size=(50, 17, 1)) * scale).astype(np.float32)
    counted, step = quantise(vectors)
    assert counted.dtype == np.int8
    assert step.dtype == np.float32
    assert step.shape == (50, 17)
    error = np.abs(dequantise(counted, step).astype(np.float64) - vectors)
    assert (error <= step[..., None] * (0.5 + 1e-4)).all()
    assert (error > step[..., None] * 0.49).any()


def test_the_largest_magnitude_comes_back_and_takes_the_whole_range():
    vectors = np.array([[3.0, -1.5, 0.0], [-0.2, 0.1, 0.05]], np.float32)
    counted, step = quantise(vectors)
    assert counted.tolist() == [[127, -64, 0], [-127, 64, 32]]
    assert step.tolist() == pytest.approx([3 / 127, 0.2 / 127])
    assert dequantise(counted, step)[[0, 1], [0, 0]].tolist() == pytest.approx([3.0, -0.2])


def test_a_vector_of_zeros_stays_one_and_a_tiny_one_becomes_one():
    counted, step = quantise(np.array([[0, 0], [1e-40, -1e-41], [1e-30, 0]], np.float32))
    assert step[:2].tolist() == [0, 0]
    assert not counted[:2].any()
    assert dequantise(counted, step)[2, 0] == pytest.approx(1e-30)


def test_no_vectors_are_no_vectors():
    counted, step = quantise(np.empty((0, 17, 64), np.float32))
    assert counted.shape == (0, 17, 64)
    assert dequantise(counted, step).shape == (0, 17, 64)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        quantise(np.array([[1, bad]], np.float32))
