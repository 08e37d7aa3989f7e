"""Vectors as int8, each with a step of its own: a quarter of float32's storage.

Shape legend: D channels of a vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.types import Float

LEVELS = 127  # on either side of zero
# A smaller step is no normal float32 number, and could not be divided by exactly enough.
_SMALLEST_STEP = np.finfo(np.float32).tiny


def quantise(vectors: Float) -> tuple[NDArray[np.int8], Float]:
    """Vectors (..., D) float32 as (..., D) int8 and the steps (...) float32 that they count in.

    Symmetric about zero: the step is the vector's largest magnitude / 127. What `dequantise` gives back lies within half a step
    of each number (and float32's own rounding, a millionth of the largest). A vector of zeros, or one below 1e-36, has step 0.

    Raises: ValueError for a number that is not finite.
    """
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite to be quantised")
    step = np.abs(vectors).max(axis=-1, initial=0).astype(np.float32) / np.float32(LEVELS)
    step = np.where(step < _SMALLEST_STEP, np.float32(0), step)
    counted = np.divide(vectors, step[..., None], out=np.zeros(vectors.shape, np.float32), where=step[..., None] > 0)
    return np.rint(counted).astype(np.int8), step


def dequantise(counted: NDArray[np.int8], step: Float) -> Float:
    """Inverse of `quantise`, within half a step: (..., D) float32 of (..., D) int8 and steps (...) float32."""
    vectors: Float = counted.astype(np.float32) * step[..., None]
    return vectors
