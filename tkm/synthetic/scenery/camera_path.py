"""How the camera of a clip is placed and how it turns, zooms and shakes.

All motion is a function of the time in seconds; frames only sample it. The camera turns about its own place and never leaves
it, so what does not move in the world goes from one frame to another by a homography, which `scenery.py` relies on.
Shape legend: T frames, B sine waves.
"""

from __future__ import annotations

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.scenario import Scenario

_PERSON_M = 1.7
_TARGET_M = (0.5, 0.85)  # height that the camera looks at over the world's origin
_HEIGHT_M = (1.2, 2.6)
_AZIMUTH_DEG = 12.0  # the camera stands at most this far to the side of the -y axis
_LEAST_SHARE = 0.30  # of the picture's height, that a person at the origin takes, however many people need room
_WIDE_M = (2.6, 0.25)  # of the ground across the origin that the camera sees at least: for nobody, and more a person
_LONGEST = 1.6  # focal length in picture lengths
_PAN_DEG_S = 14.0  # faster pans blur everything
_SHAKE_HZ = (0.4, 6.0)
_WAVES = 12


def plan_camera(scenario: Scenario, frames: int, fps: float, width_px: int, height_px: int, rng: np.random.Generator) -> Camera:
    """A camera on the -y side of the origin that looks about at it.

    Args: scenario, whose distance_m, height, pan_deg, zoom and shake_px count. frames >= 1. fps, frames a second.
    """
    distance_m = rng.uniform(*scenario.distance_m)
    azimuth = np.radians(rng.uniform(-_AZIMUTH_DEG, _AZIMUTH_DEG))
    height_m = rng.uniform(*_HEIGHT_M)
    position_m = np.array([distance_m * np.sin(azimuth), -distance_m * np.cos(azimuth), height_m])
    longer_px = max(width_px, height_px)
    focal_px = _focal_px(rng.uniform(*scenario.height), distance_m, scenario.people[1], width_px, height_px)

    time_s, duration_s = np.arange(frames) / fps, frames / fps
    pan_rad = np.radians(rng.uniform(*scenario.pan_deg))
    zoom = rng.uniform(*scenario.zoom)
    shake_px = rng.uniform(*scenario.shake_px)
    yaw = azimuth + _pan(time_s, duration_s, pan_rad, rng)
    drop_m = rng.uniform(*_TARGET_M) - height_m
    pitch = np.full(frames, np.arctan2(drop_m, distance_m))
    # Half of the zoom lies on either side of the focal length, so that people keep about their size.
    focal = focal_px * (1 + zoom) ** (_swing(time_s, duration_s, rng) / 2)
    shake = np.stack([_shake(time_s, rng) for _ in range(3)])
    yaw += shake[0] * shake_px / focal_px
    pitch += shake[1] * shake_px / focal_px
    roll = shake[2] * shake_px / longer_px  # moves the picture's edges by half as much as the shake itself
    return Camera(width_px, height_px, focal, _rotations(yaw, pitch, roll), np.tile(position_m, (frames, 1)))


def _focal_px(share: float, distance_m: float, people: int, width_px: int, height_px: int) -> float:
    """At which a person at the origin takes about that share of the picture's height, and all people find room beside each other.

    Room makes people smaller, as does the lens, but not by any amount: in a narrow picture they stand behind each other.
    """
    wide_m = _WIDE_M[0] + _WIDE_M[1] * people
    whole_px = height_px * distance_m / _PERSON_M
    focal_px = min(share * whole_px, width_px * distance_m / wide_m, _LONGEST * max(width_px, height_px))
    return max(focal_px, _LEAST_SHARE * whole_px)


def _rotations(yaw: Double, pitch: Double, roll: Double) -> Double:
    """(T, 3, 3) from the world's axes to the camera's. Yaw 0 looks along +y, positive turns left; positive pitch looks up."""
    cos_y, sin_y, cos_p, sin_p = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    right = np.stack([cos_y, sin_y, np.zeros_like(yaw)], axis=-1)
    forward = np.stack([-sin_y * cos_p, cos_y * cos_p, sin_p], axis=-1)
    down = np.cross(forward, right)
    cos_r, sin_r = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cos_r * right + sin_r * down, cos_r * down - sin_r * right, forward], axis=1)


def _swing(time_s: Double, duration_s: float, rng: np.random.Generator) -> Double:
    """(T,) in [-1, 1], smooth: from one end to the other once, or to and fro."""
    sign, period_s, phase, once = rng.choice([-1.0, 1.0]), rng.uniform(3.5, 8.0), rng.uniform(0, 2 * np.pi), rng.random() < 0.5
    x = np.clip(time_s / duration_s, 0, 1)
    return sign * (2 * x * x * (3 - 2 * x) - 1 if once else np.sin(2 * np.pi * time_s / period_s + phase))


def _pan(time_s: Double, duration_s: float, most_rad: float, rng: np.random.Generator) -> Double:
    """(T,) radians that the camera is turned from its middle, at most `most_rad` either way."""
    return min(most_rad, np.radians(_PAN_DEG_S) * duration_s / 2) * _swing(time_s, duration_s, rng)


def _shake(time_s: Double, rng: np.random.Generator) -> Double:
    """(T,) noise within _SHAKE_HZ of standard deviation 1: slow drift is stronger than tremor, as in a hand."""
    frequency_hz = np.geomspace(*_SHAKE_HZ, _WAVES) * rng.uniform(0.9, 1.1, _WAVES)
    amplitude = frequency_hz**-0.7
    amplitude *= np.sqrt(2 / (amplitude**2).sum())
    phase = rng.uniform(0, 2 * np.pi, _WAVES)
    return np.asarray(amplitude @ np.sin(2 * np.pi * frequency_hz[:, None] * time_s + phase[:, None]))
