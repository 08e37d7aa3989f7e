"""Smooth paths on the ground, and where who follows them looks.

Shape legend: D moments, evenly spaced, N waypoints.
"""

from __future__ import annotations

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.motion.gait import GRAVITY, Course, usual_steps_hz
from tkm.synthetic.motion.limbs import Build
from tkm.synthetic.motion.manner import Manner
from tkm.synthetic.motion.rotations import heading_of
from tkm.types import Bool

_CORNER_S = 0.45  # over which a corner is rounded, or a stop is made
_TURN_S = (1.0, 1.4, 1.9)  # over which a turn is made: the first that is not too fast
_FASTEST_TURN_RAD_S = 3.5


def smooth(values: Double, window: int) -> Double:
    """(D, C) values averaged over `window` moments, three times: what is constant for long stays so, and kinks are rounded."""
    kernel = np.ones(1)
    for _ in range(3):
        kernel = np.convolve(kernel, np.full(max(window // 3, 1), 1 / max(window // 3, 1)))
    before, after = len(kernel) // 2, len(kernel) - 1 - len(kernel) // 2
    padded = np.pad(values, ((before, after), (0, 0)), mode="reflect", reflect_type="odd")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=-1)


def path_through(waypoints_s: Double, waypoints_m: Double, seconds: Double) -> Double:
    """(D, 2) path through (N, 2) waypoints at (N,) moments, corners rounded; beyond the ends as at the ends."""
    straight = np.stack([np.interp(seconds, waypoints_s, column) for column in waypoints_m.T], axis=-1)
    return smooth(straight, round(2 * _CORNER_S / (seconds[1] - seconds[0])))


def follow(build: Build, manner: Manner, seconds: Double, path_m: Double, facing_rad: Double, standing: Bool) -> Course:
    """The course along a path: who moves looks ahead, and who stands (`standing`, (D,)) to `facing_rad`, (D,).

    Whoever is faster than legs walk runs.
    """
    step_s = seconds[1] - seconds[0]
    velocity = np.gradient(path_m, seconds, axis=0)
    speed = np.linalg.norm(velocity, axis=1)
    known = (speed > 0.2) & ~standing
    wanted = np.where(known, heading_of(velocity), facing_rad)
    fixed = np.flatnonzero(known | standing)
    if len(fixed) == 0:
        fixed = np.arange(len(seconds))
    wanted = np.interp(np.arange(len(seconds)), fixed, np.unwrap(wanted[fixed]))
    for window_s in _TURN_S:
        heading = smooth(wanted[:, None], round(window_s / step_s))[:, 0]
        turning = np.abs(np.gradient(heading, seconds))
        if turning.max() < _FASTEST_TURN_RAD_S:
            break
    turning[turning < 0.05] = 0
    fast = np.clip((speed / np.sqrt(GRAVITY * build.leg_m) - 0.6) / 0.12, 0, 1)
    running = np.clip(smooth(fast[:, None], round(0.4 / step_s))[:, 0], 0, 1)
    steps_hz = usual_steps_hz(build.leg_m, manner, speed, turning, running)
    zero, one = np.zeros(len(seconds)), np.ones(len(seconds))
    return Course(seconds, path_m, heading, steps_hz, running, zero, one)
