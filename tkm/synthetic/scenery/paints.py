"""Colours that things in scenes are painted in, linear: mostly muted, as most of the world is, and few bright ones."""

from __future__ import annotations

import numpy as np

from tkm.synthetic.drawing.shading import linear_of

RGB = tuple[float, float, float]

# sRGB of usual paints.
_WALLS = (
    (0.92, 0.90, 0.86), (0.90, 0.85, 0.75), (0.82, 0.76, 0.66), (0.79, 0.79, 0.77), (0.72, 0.76, 0.69), (0.73, 0.78, 0.82),
    (0.89, 0.82, 0.63), (0.84, 0.73, 0.66), (0.66, 0.65, 0.63),
)  # fmt: skip
_ACCENTS = (
    (0.22, 0.28, 0.38), (0.27, 0.37, 0.31), (0.30, 0.30, 0.32), (0.48, 0.25, 0.22), (0.70, 0.54, 0.30), (0.60, 0.41, 0.31),
    (0.37, 0.46, 0.52), (0.54, 0.57, 0.46),
)  # fmt: skip
_FACADES = (
    (0.88, 0.84, 0.75), (0.80, 0.70, 0.53), (0.69, 0.55, 0.47), (0.80, 0.68, 0.62), (0.66, 0.72, 0.74), (0.90, 0.89, 0.86),
    (0.62, 0.60, 0.57), (0.70, 0.71, 0.60), (0.48, 0.44, 0.41),
)  # fmt: skip
_BRIGHT = (
    (0.72, 0.17, 0.14), (0.16, 0.34, 0.60), (0.17, 0.44, 0.28), (0.85, 0.66, 0.18), (0.80, 0.42, 0.16), (0.20, 0.45, 0.48),
)  # fmt: skip


def colour(rng: np.random.Generator, most: float = 0.6) -> RGB:
    """Paint of a thing: a warm or cool grey, of which the lightest is `most`; one in eight is bright."""
    if rng.random() < 0.125:
        return _one_of(_BRIGHT, rng)
    grey = rng.uniform(0.03, most)
    warmth, tint = rng.normal(0.08, 0.16), rng.normal(0, 0.04)
    red, green_, blue = np.clip(grey * np.exp([warmth, 0.15 * warmth + tint, -1.1 * warmth]), 0.01, 0.8)
    return float(red), float(green_), float(blue)


def wall_paint(rng: np.random.Generator) -> RGB:
    """Paint of a room's walls."""
    return _one_of(_WALLS, rng)


def accent_paint(rng: np.random.Generator) -> RGB:
    """Paint of the one wall of a room that is darker."""
    return _one_of(_ACCENTS, rng)


def facade_paint(rng: np.random.Generator) -> RGB:
    """Plaster of a house."""
    return _one_of(_FACADES, rng)


def wood(rng: np.random.Generator) -> RGB:
    """From dark walnut to light pine."""
    light = rng.uniform(0.06, 0.42)
    return light, light * rng.uniform(0.58, 0.72), light * rng.uniform(0.3, 0.45)


def green(rng: np.random.Generator) -> RGB:
    """Leaves."""
    light = rng.uniform(0.10, 0.22)
    return light * rng.uniform(0.45, 0.85), light, light * rng.uniform(0.12, 0.35)


def _one_of(paints: tuple[RGB, ...], rng: np.random.Generator) -> RGB:
    srgb = np.array(paints[int(rng.integers(len(paints)))]) * rng.uniform(0.92, 1.04) + rng.normal(0, 0.012, 3)
    red, green_, blue = linear_of(np.clip(srgb, 0.05, 0.95).astype(np.float32)).tolist()
    return red, green_, blue
