"""The light of a clip: times of day, weather and lamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.drawing.plate import Light


@dataclass(frozen=True)
class _Weather:
    """Intervals that a kind of light draws from: height of the lamp over the horizon, strengths, warmth, hardness.

    Warmth is the lamp's: 0 is neutral, positive is redder, negative bluer. Shade is the same of the ambient light.
    """

    elevation_deg: tuple[float, float]
    strength: tuple[float, float]
    ambient: tuple[float, float]
    warmth: tuple[float, float]
    shade: tuple[float, float]
    hardness: tuple[float, float]


# Strengths are such that level ground of albedo 1 gets about 1 to 1.3 in all: exposure is part of the light.
_WEATHERS = (
    _Weather((35, 60), (1.00, 1.25), (0.36, 0.46), (0.03, 0.12), (-0.12, -0.04), (0.75, 0.95)),  # sun
    _Weather((16, 30), (1.05, 1.30), (0.40, 0.52), (0.15, 0.30), (-0.10, 0.00), (0.65, 0.85)),  # low sun
    _Weather((40, 70), (0.40, 0.60), (0.66, 0.80), (-0.03, 0.05), (-0.08, 0.00), (0.15, 0.30)),  # overcast
    _Weather((55, 80), (0.50, 0.70), (0.58, 0.75), (-0.04, 0.06), (-0.05, 0.05), (0.25, 0.45)),  # hall lamps
    _Weather((45, 75), (0.50, 0.75), (0.48, 0.65), (0.10, 0.25), (0.05, 0.15), (0.25, 0.50)),  # warm lamps
    _Weather((25, 45), (0.70, 0.95), (0.42, 0.54), (-0.05, 0.08), (-0.08, 0.04), (0.35, 0.60)),  # a large window, haze
)


def plan_light(rng: np.random.Generator) -> Light:
    """A light for a clip. It comes from the camera's side or from beside, so that faces are seen, or steeply from above."""
    weather = _WEATHERS[rng.integers(len(_WEATHERS))]
    elevation = np.radians(rng.uniform(*weather.elevation_deg))
    azimuth = np.radians(rng.uniform(-110, 110))
    towards = [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    return Light(
        np.array(towards, np.float32),
        (rng.uniform(*weather.strength) * _tone(rng.uniform(*weather.warmth))).astype(np.float32),
        (rng.uniform(*weather.ambient) * _tone(rng.uniform(*weather.shade))).astype(np.float32),
        float(rng.uniform(*weather.hardness)),
    )


def _tone(warmth: float) -> np.ndarray:
    """(3,) a white of about luminance 1."""
    return np.array([1 + warmth, 1 - 0.1 * warmth, 1 - 1.5 * warmth])
