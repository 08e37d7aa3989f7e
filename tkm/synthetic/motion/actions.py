"""Postures of what people do in one place: stand with a gesture, wave, sit, dance.

Shape legend: T moments, C = len(COLUMNS).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.motion.limbs import SIDES, Arm, Build
from tkm.synthetic.motion.manner import Manner
from tkm.synthetic.motion.motion import Seat
from tkm.synthetic.motion.posture import postures

BEATS = 8  # of a dance figure


def ease(u: Double) -> Double:
    """From 0 to 1 with no jump of speed or acceleration, for u from 0 to 1, and constant beyond."""
    u = np.clip(u, 0, 1)
    eased: Double = u**3 * (10 - 15 * u + 6 * u * u)
    return eased


@dataclass(frozen=True)
class Drift:
    """Slow, aperiodic moves to and fro: a sum of waves. `waves` is (W, 3): radians a second, phase, amplitude."""

    waves: tuple[tuple[float, float, float], ...]

    def at(self, seconds: Double) -> Double:
        """(T,) values, roughly within [-1, 1]."""
        return np.sum([size * np.sin(speed * seconds + phase) for speed, phase, size in self.waves], axis=0)


def draw_drift(rng: np.random.Generator, rate: float) -> Drift:
    """A drift at random; at rate 1 it takes some seconds from one side to the other."""
    return Drift(tuple((rate * rng.uniform(0.5, 1.6), rng.uniform(0, 2 * np.pi), 0.45) for _ in range(3)))


def _reached(arm: Arm, side: str, wrist_m: tuple[float, float, float], out: tuple[float, float, float]) -> dict[str, float]:
    """Columns that bring a wrist to a place against the pelvis' joint, given for the left side, with the trunk upright."""
    mirror = np.array([arm.side, 1.0, 1.0])
    angles = arm.reach(np.array(wrist_m) * mirror - arm.shoulder_m, np.array(out) * mirror)
    return {f"{side}_{name}": angle for name, angle in zip(("flex", "abduct", "twist", "elbow"), angles, strict=True)}


def _hanging(arm: Arm, side: str, manner: Manner) -> dict[str, float]:
    return {
        f"{side}_flex": 0.05, f"{side}_abduct": arm.hang_rad + manner.spread_rad, f"{side}_twist": 0.2,
        f"{side}_elbow": manner.elbow_rad,
    }  # fmt: skip


def stand(build: Build, manner: Manner, seconds: Double, gesture: str, shift: Drift, gaze: Drift) -> Double:
    """(T, C) postures of standing: the weight shifts from leg to leg, the gaze wanders, the arms make a gesture."""
    side, look = shift.at(seconds), gaze.at(seconds)
    rows = postures(
        len(seconds),
        left_m=0.035 * build.leg_m * side, down_m=build.leg_m * (0.004 + 0.003 * side**2),
        pelvis_roll=-0.06 * side, spine_roll=0.07 * side, pelvis_yaw=0.06 * look, spine_yaw=0.1 * look,
        head_yaw=0.45 * look, spine_pitch=manner.lean_rad + 0.02 * side, head_pitch=manner.nod_rad + 0.06 * side,
    )  # fmt: skip
    shoulder_m = build.arms[0].shoulder_m
    for arm, name in zip(build.arms, SIDES, strict=True):
        free = gesture == "hang" or (gesture == "phone" and arm.side != manner.handed)
        if free or gesture == "talk":
            rows += postures(len(seconds), **_hanging(arm, name, manner))
        if gesture == "talk":
            beat = np.sin(2.1 * manner.rate * seconds + arm.side) + 0.6 * np.sin(3.7 * manner.rate * seconds)
            rows += postures(len(seconds), **{
                f"{name}_elbow": 1.15 + 0.22 * beat, f"{name}_flex": 0.15 + 0.1 * beat, f"{name}_twist": 0.15 + 0.2 * beat,
            })  # fmt: skip
        elif gesture == "hips":
            waist_m = (build.girth_m + 0.03, -0.25 * build.front_m, 0.22 * shoulder_m[2])
            rows += postures(len(seconds), **_reached(arm, name, waist_m, (1.0, 0.45, 0.0)))
        elif gesture == "crossed":
            over_m = 0.03 if arm.side == manner.handed else 0.0
            place_m = (-0.15 * shoulder_m[0], -build.front_m - 0.05 - over_m, 0.56 * shoulder_m[2] + over_m)
            rows += postures(len(seconds), **_reached(arm, name, place_m, (1.0, 0.2, -0.6)))
        elif gesture == "behind":
            place_m = (0.3 * shoulder_m[0], build.back_m + 0.05, 0.12 * shoulder_m[2])
            rows += postures(len(seconds), **_reached(arm, name, place_m, (1.0, 0.6, 0.1)))
        elif gesture == "phone" and not free:
            place_m = (0.35 * shoulder_m[0], -build.front_m - 0.16, 0.72 * shoulder_m[2])
            held = _reached(arm, name, place_m, (0.7, 0.2, -1.0))
            rows += postures(len(seconds), head_pitch=0.35, head_yaw=-0.45 * look, **held)
    return rows


def wave(build: Build, manner: Manner, seconds: Double, shift: Drift, gaze: Drift) -> Double:
    """(T, C) postures of waving with one arm."""
    rows = stand(build, manner, seconds, "hang", shift, gaze)
    arm = build.arms[0 if manner.handed > 0 else 1]
    side = "left" if manner.handed > 0 else "right"
    beat = np.sin(2 * np.pi * 1.5 * manner.rate * seconds)
    height = 0.5 * (manner.swing - 0.5)
    hanging = _hanging(arm, side, manner)
    wanted = {
        "flex": 0.15 + 0 * beat, "abduct": 1.45 + 0.8 * height + 0.06 * beat, "twist": -1.3 + 0.2 * beat,
        "elbow": 1.15 - 0.7 * height + 0.4 * beat, "wrist": -0.1 + 0.15 * beat, "shrug": 0.12 + 0 * beat,
    }  # fmt: skip
    change = {f"{side}_{name}": value - hanging.get(f"{side}_{name}", 0.0) for name, value in wanted.items()}
    change["spine_roll"] = np.full(len(seconds), -0.04 * manner.handed)
    return rows + postures(len(seconds), **change)


def sit(build: Build, manner: Manner, seconds: Double, seat: Seat, shift: Drift, gaze: Drift) -> Double:
    """(T, C) postures of sitting on a seat, for who stands at `stand_before` of it, the hands on the thighs."""
    look, lean = gaze.at(seconds), 0.04 + manner.lean_rad
    thigh_m = build.legs[0].thigh_m
    rows = postures(
        len(seconds),
        front_m=-sitting_m(build), down_m=build.stand_m - seat.height_m - build.seat_m,
        pelvis_pitch=-0.12, spine_pitch=0.12 + lean,
        head_yaw=0.5 * look, spine_yaw=0.12 * look, spine_roll=0.04 * shift.at(seconds), head_pitch=manner.nod_rad,
    )  # fmt: skip
    for arm, side in zip(build.arms, SIDES, strict=True):
        place_m = (1.45 * build.hips_m, -thigh_m * (0.62 + 0.08 * manner.handed * arm.side), 0.09 + 0.3 * build.seat_m)
        rows += postures(len(seconds), **_reached(arm, side, place_m, (1.0, 0.5, -0.2)))
    return rows


def sitting_m(build: Build) -> float:
    """How far behind the feet the pelvis' joint of a seated person is."""
    return 0.93 * build.legs[0].thigh_m


def stand_before(build: Build, seat: Seat) -> Double:
    """(2,) where a person stands who sits down on a seat."""
    return seat.xy_m + seat.facing * (sitting_m(build) + 0.04)


def seat_height_m(build: Build) -> float:
    """Of a seat on which a person's thighs are level."""
    leg = build.legs[0]
    return 0.98 * leg.shin_m + leg.ankle_m - float(leg.hip_m[2]) - build.seat_m


@dataclass(frozen=True)
class DanceSteps:
    """What the legs do: (T,) float64 each: moves to the left, turns, steps a beat (0 or 1), lift of the feet."""

    left_m: Double
    turn_rad: Double
    steps: Double
    lift_m: Double


def _figure_weights(beat: Double, count: int) -> Double:
    """(T, F) weight of each figure; the next one fades in during a beat."""
    number = np.floor(beat / BEATS)
    fade = ease(beat - number * BEATS)[:, None]
    rows = np.eye(count)
    return (1 - fade) * rows[(number - 1).astype(int) % count] + fade * rows[number.astype(int) % count]


def dance_steps(build: Build, figures: tuple[tuple[float, ...], ...], beat: Double) -> DanceSteps:
    """The steps of a dance, (T,) beats: in each figure bounce, step to the side and back, march, or turn round."""
    kind = np.array([figure[0] for figure in figures])
    size = np.array([figure[1] for figure in figures])
    number = np.floor(beat / BEATS)
    now = number.astype(int) % len(figures)
    inside = beat - number * BEATS
    aside, march, turn = (kind >= 0.3) & (kind < 0.6), (kind >= 0.6) & (kind < 0.8), kind >= 0.8
    # A side step's move is 0 at both ends of its figure, and so is its speed.
    fade = ease(inside) * ease(BEATS - inside)
    left_m = np.where(aside[now], build.leg_m * (0.16 + 0.14 * size[now]) * np.sin(np.pi * inside / 2) * fade, 0)
    way = np.where(size[now] < 0.5, -1.0, 1.0)
    share = ease(inside / BEATS)
    turns = np.concatenate([[0.0], np.cumsum(np.where(turn, np.where(size < 0.5, -1.0, 1.0), 0.0))])
    whole = turns[-1] * np.floor(number / len(figures)) + turns[now]
    turn_rad = 2 * np.pi * (whole + np.where(turn[now], way * share, 0))
    lift_m = build.leg_m * np.where(march[now], 0.08 + 0.1 * size[now], 0.02)
    return DanceSteps(left_m, turn_rad, (aside | march | turn)[now].astype(float), lift_m)


def dance(build: Build, manner: Manner, beat: Double, figures: tuple[tuple[float, ...], ...]) -> Double:
    """(T, C) postures of a dance, (T,) beats.

    A figure's numbers, each in [0, 1]: what the legs do, how big; what the arms do, their height and size, how far one arm is
    behind the other, the hips' sway and twist.
    """
    weight = _figure_weights(beat, len(figures))
    rows = np.sum([weight[:, [n]] * _figure(build, manner, beat, figure) for n, figure in enumerate(figures)], axis=0)
    return np.asarray(rows)


def _figure(build: Build, manner: Manner, beat: Double, figure: tuple[float, ...]) -> Double:
    legs, _, arms, height, size, lag, sway, twist = figure
    half = np.sin(np.pi * beat + 0.6)  # to one side on a beat, to the other on the next
    deep = 0.055 if legs < 0.3 else 0.02
    rows = postures(
        len(beat),
        down_m=build.leg_m * (0.02 + deep * manner.bounce * (0.5 + 0.5 * np.cos(2 * np.pi * beat))),
        left_m=build.leg_m * (0.02 + 0.06 * sway) * half, pelvis_roll=-(0.04 + 0.12 * sway) * half,
        spine_roll=(0.05 + 0.16 * sway) * half, pelvis_yaw=0.22 * twist * half, spine_yaw=-0.3 * twist * half,
        spine_pitch=0.06 + 0.05 * np.cos(2 * np.pi * beat), head_pitch=manner.nod_rad + 0.08 * np.cos(2 * np.pi * beat + 0.6),
        head_roll=-0.08 * half,
    )  # fmt: skip
    for arm, side in zip(build.arms, SIDES, strict=True):
        one = np.sin(np.pi * beat + 0.6 + arm.side * np.pi / 2 * round(2 * lag) / 2)
        fast = np.sin(2 * np.pi * beat + 0.3 * arm.side)
        low = arm.hang_rad + 0.12
        flex, abduct, twisted, elbow = np.zeros((4, len(beat)))
        if arms < 0.2:  # both arms up
            flex, abduct = 2.35 + 0.4 * height + 0.2 * one, 0.2 + 0.25 * size + 0.2 * arm.side * half
            elbow = 0.55 + 0.35 * fast * size
        elif arms < 0.4:  # fists pump before the chest
            flex, abduct = 0.55 + 0.4 * height + (0.25 + 0.35 * size) * one, np.full(len(beat), low + 0.15)
            twisted, elbow = np.full(len(beat), 0.45), 1.5 + 0.4 * one
        elif arms < 0.55:  # arms spread, rising and falling
            abduct, flex = 1.15 + 0.35 * height + (0.15 + 0.3 * size) * one, np.full(len(beat), 0.2)
            elbow, twisted = 0.35 + 0.25 * fast, np.full(len(beat), -0.2)
        elif arms < 0.7:  # forearms up beside the head
            abduct, flex = 1.35 + 0.2 * height + 0.15 * one, np.full(len(beat), 0.25)
            twisted, elbow = -1.15 + 0.3 * half * arm.side, 1.35 + (0.2 + 0.3 * size) * one
        elif arms < 0.85 and arm.side == (1 if lag < 0.5 else -1):  # one arm up, the other at the hip
            flex, abduct = 2.5 + 0.2 * fast, 0.3 + 0.2 * half
            elbow = 0.4 + 0.3 * size * (1 + fast)
        else:  # loose arms swing
            flex, abduct = 0.25 + (0.35 + 0.5 * size) * one, low + 0.12 * (1 + fast)
            twisted, elbow = np.full(len(beat), 0.35), 0.9 + 0.5 * height + 0.35 * one
        shrug = 0.25 * np.clip(np.maximum(flex, abduct) - 1.2, 0, 1)
        rows += postures(len(beat), **{
            f"{side}_flex": flex, f"{side}_abduct": abduct, f"{side}_twist": twisted, f"{side}_elbow": elbow,
            f"{side}_shrug": shrug,
        })  # fmt: skip
    return rows
