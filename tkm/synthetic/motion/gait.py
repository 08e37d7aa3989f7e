"""Footholds of who follows a path, and the postures of walking and running.

A foot that stands stays where it is: steps are planned first, in whole numbers, and the legs then reach for the footholds.
Lengths and times scale with the leg by Froude's number (Alexander, "Optimization and gaits in the locomotion of vertebrates",
1989).
Shape legend: T moments, evenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.motion.limbs import Build
from tkm.synthetic.motion.manner import Manner
from tkm.synthetic.motion.posture import Feet, postures
from tkm.synthetic.motion.rotations import facing

GRAVITY = 9.81
_DUTY = (0.62, 0.36)  # share of a stride that a foot is on the ground: walking, running
_SLOWEST = 0.36  # steps in sqrt(leg / gravity): nobody takes steps slower than this

_STEP_TURN_RAD = 0.9  # at most, in one step


@dataclass(frozen=True)
class Course:
    """Where somebody goes, T moments.

    seconds      (T,) float64, evenly spaced
    path_m       (T, 2) float64
    heading_rad  (T,) float64, without jumps of 2 pi
    steps_hz     (T,) float64, steps a second; 0 while both feet stand
    running      (T,) float64, 0 for a walk, 1 for a run
    lift_m       (T,) float64, how high the feet are lifted beyond what the gait does
    wide         (T,) float64, factor of the stance's width
    """

    seconds: Double
    path_m: Double
    heading_rad: Double
    steps_hz: Double
    running: Double
    lift_m: Double
    wide: Double

    @property
    def speed_m_s(self) -> Double:
        """(T,) speed on the path."""
        speed: Double = np.linalg.norm(np.gradient(self.path_m, self.seconds, axis=0), axis=1)
        return speed


def usual_steps_hz(leg_m: float, manner: Manner, speed_m_s: Double, turn_rad_s: Double, running: Double) -> Double:
    """(T,) steps a second at a speed on the path and of turning; 0 where both are 0."""
    unit_m_s = np.sqrt(GRAVITY * leg_m)
    speed = (speed_m_s + 0.2 * leg_m * np.abs(turn_rad_s)) / unit_m_s
    walk = np.maximum(speed**0.58 / (1.13 * manner.stride), _SLOWEST)
    run = (0.8 + 0.06 * speed) / np.sqrt(manner.stride)
    steps = np.where(speed > 2e-3, (walk + running * (run - walk)) * unit_m_s / leg_m, 0.0)
    turning: Double = np.maximum(steps, np.abs(turn_rad_s) / _STEP_TURN_RAD * (speed > 2e-3))
    return turning


@dataclass(frozen=True)
class _Swing:
    """A foot's step: when it lifts and lands, and when the path is where the foothold belongs that it goes to."""

    lift_s: float
    land_s: float
    home_s: float


def plan_feet(build: Build, manner: Manner, course: Course) -> tuple[Feet, Double]:
    """The feet of who follows a course, and the phase of the gait: (T,) strides, whole where the left foot lands."""
    swings, phase = _plan_swings(course)
    seconds, T = course.seconds, len(course.seconds)
    feet = Feet(np.empty((2, T, 2)), np.zeros((2, T)), np.empty((2, T)), np.zeros((2, T)))
    for foot, sign in enumerate((1, -1)):
        homes_s = [seconds[0] if not swings[foot] else min(seconds[0], swings[foot][0].lift_s)]
        homes_s += [swing.home_s for swing in swings[foot]]
        xy_m, yaw = _footholds(build, manner, course, np.array(homes_s), sign)
        feet.xy_m[foot], feet.yaw_rad[foot] = xy_m[0], yaw[0]
        landed = 0
        for number, swing in enumerate(swings[foot]):
            lift, land = (int(np.searchsorted(seconds, at_s)) for at_s in (swing.lift_s, swing.land_s))
            running, extra_m = (float(np.interp(swing.land_s, seconds, values)) for values in (course.running, course.lift_m))
            u = np.clip((seconds[lift:land] - swing.lift_s) / (swing.land_s - swing.lift_s), 0, 1)
            ease = u * u * (3 - 2 * u)
            step_m = xy_m[number + 1] - xy_m[number]
            feet.xy_m[foot, lift:land] = xy_m[number] + ease[:, None] * step_m
            feet.yaw_rad[foot, lift:land] = yaw[number] + ease * (yaw[number + 1] - yaw[number])
            feet.xy_m[foot, land:], feet.yaw_rad[foot, land:] = xy_m[number + 1], yaw[number + 1]
            ahead = float(np.clip(step_m @ facing(np.array(yaw[number])) / (1.2 * build.leg_m), 0, 1))
            far = min(float(np.linalg.norm(step_m)) / build.leg_m, 1.0)
            height_m = build.leg_m * (0.02 + 0.03 * manner.bounce * far + 0.16 * running * ahead) + extra_m
            feet.up_m[foot, lift:land] = height_m * np.maximum(np.sin(np.pi * u ** (0.85 - 0.15 * running)), 0) ** 1.3
            _roll_foot(feet.pitch_rad[foot], seconds, (landed, lift, land), swing, ahead, running)
            landed = land
    return feet, phase


def _footholds(build: Build, manner: Manner, course: Course, home_s: Double, sign: int) -> tuple[Double, Double]:
    """(N, 2) places and (N,) headings of a foot when the path is at the given moments: beside it, closer together when fast."""
    seconds = course.seconds
    fast = np.clip(course.speed_m_s / (0.4 * np.sqrt(GRAVITY * build.leg_m)), 0, 1)
    half_m = build.hips_m * manner.width * course.wide * (1.0 - 0.45 * fast - 0.25 * fast * course.running)
    heading = np.interp(home_s, seconds, course.heading_rad)
    ahead = facing(heading)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    xy_m = np.stack([np.interp(home_s, seconds, column) for column in course.path_m.T], axis=-1)
    toes = manner.toes_rad * (1 - 0.5 * np.interp(home_s, seconds, fast))
    return xy_m + sign * np.interp(home_s, seconds, half_m)[:, None] * left, heading + sign * toes


def _plan_swings(course: Course) -> tuple[tuple[list[_Swing], list[_Swing]], Double]:
    swings: tuple[list[_Swing], list[_Swing]] = ([], [])
    phase = np.zeros(len(course.seconds))
    moving = np.flatnonzero(np.diff(np.concatenate([[0], course.steps_hz > 0, [0]]).astype(int)))
    for number, (start, stop) in enumerate(moving.reshape(-1, 2)):
        span = slice(max(start - 1, 0), stop)
        seconds = course.seconds[span]
        done = np.concatenate([[0.0], np.cumsum(course.steps_hz[span][1:] * np.diff(seconds))])
        if done[-1] <= 0:
            continue
        count = max(2, round(float(done[-1])))
        done *= count / done[-1]
        first = _first_foot(course, span, done, number)
        phase[span] = (done + (1 - first)) / 2  # the first foot lands at 1 step, the left one at whole strides
        phase[stop:] = phase[stop - 1]
        for step in range(1, count + 1):
            land_s = float(np.interp(step, done, seconds))
            duty = np.interp(np.interp(land_s, seconds, course.running[span]), (0, 1), _DUTY)
            early = np.interp(duty, _DUTY[::-1], (1.0, 0.8))  # a walker's hips pass the foothold before half of the stance
            lift_s = float(np.interp(max(step - 2 * (1 - duty), 0), done, seconds))
            home = step + early * duty if step + 2 <= count else count
            swings[(first + step - 1) % 2].append(_Swing(lift_s, land_s, float(np.interp(home, done, seconds))))
    return swings, phase


def _first_foot(course: Course, span: slice, done: Double, number: int) -> int:
    """0 to step off with the left foot, 1 for the right: the one on the side that the first step goes or turns to."""
    one = int(np.searchsorted(done, 1.0))
    heading, path_m = course.heading_rad[span], course.path_m[span]
    ahead = facing(heading[0])
    move_m = path_m[min(one, len(path_m) - 1)] - path_m[0]
    aside = -ahead[1] * move_m[0] + ahead[0] * move_m[1] + 0.3 * (heading[min(one, len(heading) - 1)] - heading[0])
    if abs(aside) < 0.08:
        return number % 2
    return 0 if aside > 0 else 1


def _roll_foot(pitch: Double, seconds: Double, index: tuple[int, int, int], swing: _Swing, ahead: float, running: float) -> None:
    """Write a step's pitch: up on the toes before the foot lifts, through the air, and down on the heel after it lands."""
    landed, lift, land = index
    off = -(0.15 + 0.75 * ahead)
    strike = (0.3 - 0.25 * running) * ahead
    rise_s = min(0.3, 0.45 * (swing.lift_s - seconds[landed])) if lift > landed else 0.0
    if rise_s > 0:
        part = slice(int(np.searchsorted(seconds, swing.lift_s - rise_s)), lift)
        pitch[part] = off * ((seconds[part] - swing.lift_s + rise_s) / rise_s) ** 2
    else:
        off = 0.0
    air_s = swing.land_s - swing.lift_s
    u = np.clip((seconds[lift:land] - swing.lift_s) / air_s, 0, 1)
    speed = max(2 * off * air_s / rise_s, -2.5) if rise_s > 0 else 0.0
    pitch[lift:land] = (1 + 2 * u) * (1 - u) ** 2 * off + u * (1 - u) ** 2 * speed + u * u * (3 - 2 * u) * strike
    pitch[lift:land] -= 0.5 * running * ahead * np.sin(np.pi * u**0.8) ** 2
    drop_s = 0.25 * air_s
    after = slice(land, int(np.searchsorted(seconds, swing.land_s + drop_s)))
    u = (seconds[after] - swing.land_s) / drop_s
    pitch[after] = strike * (1 - u) ** 2 * (1 + 2 * u)


def walk(build: Build, manner: Manner, course: Course, phase: Double) -> Double:
    """(T, C) postures of walking; of standing with hanging arms where the speed is 0."""
    effort = np.clip(course.speed_m_s / (0.42 * np.sqrt(GRAVITY * build.leg_m)), 0, 1.15)
    angle = 2 * np.pi * phase
    swing = np.cos(angle + 0.25) * effort
    rows = postures(
        len(phase),
        pelvis_pitch=0.02 + 0.03 * effort, pelvis_yaw=-0.09 * np.cos(angle) * effort,
        pelvis_roll=-0.05 * manner.sway * np.cos(angle - 1.2) * effort,
        spine_pitch=manner.lean_rad + 0.03 * effort, spine_yaw=0.19 * np.cos(angle) * effort,
        spine_roll=0.05 * manner.sway * np.cos(angle - 1.2) * effort,
        head_pitch=manner.nod_rad - 0.05 * effort, head_yaw=-0.10 * np.cos(angle) * effort,
        left_m=0.022 * manner.sway * np.cos(angle - 1.95) * effort * build.leg_m,
        down_m=build.leg_m * (0.004 + 0.013 * manner.bounce * (1 + np.cos(2 * angle - 0.8)) * effort),
    )  # fmt: skip
    for arm, side in zip(build.arms, ("left", "right"), strict=True):
        ahead = -arm.side * swing
        rows += postures(len(phase), **{
            f"{side}_flex": 0.04 + manner.swing * (0.3 * ahead + 0.02 * effort),
            f"{side}_abduct": arm.hang_rad + 0.03 + manner.spread_rad,
            f"{side}_twist": 0.05,
            f"{side}_elbow": manner.elbow_rad + 0.1 * manner.swing * (ahead + effort),
        })  # fmt: skip
    return rows


def run(build: Build, manner: Manner, course: Course, phase: Double) -> Double:
    """(T, C) postures of running."""
    effort = np.clip(course.speed_m_s / (0.9 * np.sqrt(GRAVITY * build.leg_m)), 0, 1.2)
    angle = 2 * np.pi * phase
    swing = np.cos(angle + 0.5) * effort
    rows = postures(
        len(phase),
        pelvis_pitch=0.05 + 0.08 * effort, pelvis_yaw=-0.14 * np.cos(angle) * effort,
        pelvis_roll=-0.05 * manner.sway * np.cos(angle - 1.1) * effort,
        spine_pitch=0.06 + manner.lean_rad + 0.08 * effort, spine_yaw=0.3 * np.cos(angle) * effort,
        spine_roll=0.05 * manner.sway * np.cos(angle - 1.1) * effort,
        head_pitch=manner.nod_rad - 0.12 * effort, head_yaw=-0.16 * np.cos(angle) * effort,
        down_m=build.leg_m * (0.005 + 0.05 * effort + 0.035 * manner.bounce * effort * np.cos(2 * (angle - 1.16))),
    )  # fmt: skip
    for arm, side in zip(build.arms, ("left", "right"), strict=True):
        ahead = -arm.side * swing
        rows += postures(len(phase), **{
            f"{side}_flex": -0.05 + (0.75 + 0.15 * manner.swing) * ahead,
            f"{side}_abduct": arm.hang_rad + 0.1 + manner.spread_rad,
            f"{side}_twist": 0.2,
            f"{side}_elbow": 1.55 + 0.3 * ahead,
            f"{side}_shrug": 0.05,
        })  # fmt: skip
    return rows
