"""From linear light to a camera's picture: a slightly soft lens, sRGB's curve, and noise.

Shape legend: H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tkm.geometry import Image
from tkm.synthetic.compiled import compiled
from tkm.types import Float

_LEVELS = 4096  # of linear light that the curve tells apart; in the darkest, less than one step of 8 bits each
_MOVE_PX = 61  # how far the noise's pattern is moved about, so that no two frames have the same
_UNIT = 32  # steps of the stored noise to one deviation
_COMMON = 0.35  # share of the variance that the three colours have in common


@dataclass(frozen=True)
class Sensor:
    """A sensor of one clip.

    encoded     (4096,) uint8, sRGB of each level of linear light
    amplitude   deviation of the noise at mid grey, in 32nds of a step
    bank        (H + 61, W + 61, 3) int8, the noise
    """

    encoded: NDArray[np.uint8]
    amplitude: float
    bank: NDArray[np.int8]

    @staticmethod
    def of(noise: float, height_px: int, width_px: int, rng: np.random.Generator) -> Sensor:
        """A sensor whose noise has a deviation of `noise` 8-bit steps at mid grey; somewhat more where it is brighter."""
        linear = np.arange(_LEVELS) / (_LEVELS - 1)
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        shape = (height_px + _MOVE_PX, width_px + _MOVE_PX)
        own = rng.standard_normal((*shape, 3), dtype=np.float32)
        common = rng.standard_normal((*shape, 1), dtype=np.float32)
        mixed = own * np.float32(np.sqrt(1 - _COMMON)) + common * np.float32(np.sqrt(_COMMON))
        bank = np.clip(np.rint(mixed * np.float32(_UNIT)), -127, 127).astype(np.int8)
        return Sensor(np.rint(srgb * 255).astype(np.uint8), noise / _UNIT, bank)

    def develop(self, colour: Float, rng: np.random.Generator) -> Image:
        """The picture, (H, W, 3) uint8 sRGB, of colour (H, W, 3) float32, linear light in which 1 is white.

        Its noise follows from the sensor and `rng` alone.
        """
        clean = np.empty(colour.shape, np.uint8)
        _encode(colour, self.encoded, clean)
        soft = cv2.GaussianBlur(clean, (3, 3), 0.45)
        row, column = rng.integers(0, _MOVE_PX + 1, 2)
        sign = 1 - 2 * int(rng.integers(0, 2))
        picture = np.empty(colour.shape, np.uint8)
        _add_noise(soft, self.bank, row, column, np.float32(self.amplitude * sign), picture)
        return picture


# Rows are flat, as machines do many steps of a plain loop at once.


@compiled
def _encode(colour, encoded, out):
    height, values = colour.shape[0], 3 * colour.shape[1]
    levels, half, zero = np.float32(4095), np.float32(0.5), np.float32(0)
    level = np.empty(values, np.int32)
    for y in range(height):
        linear, srgb = colour[y].reshape(values), out[y].reshape(values)
        for n in range(values):
            level[n] = np.int32(min(max(linear[n] * levels + half, zero), levels))
        for n in range(values):
            srgb[n] = encoded[level[n]]


@compiled
def _add_noise(picture, bank, row, column, amplitude, out):
    height, values = picture.shape[0], 3 * picture.shape[1]
    dark, rise = np.float32(0.6), np.float32(0.4 / 128)
    half, zero, white = np.float32(0.5), np.float32(0), np.float32(255)
    for y in range(height):
        clean, noisy = picture[y].reshape(values), out[y].reshape(values)
        noise = bank[row + y].reshape(3 * bank.shape[1])[3 * column : 3 * column + values]
        for n in range(values):
            value = np.float32(clean[n])
            deviation = amplitude * np.sqrt(dark + rise * value)
            noisy[n] = np.uint8(np.int32(min(max(value + deviation * np.float32(noise[n]) + half, zero), white)))
