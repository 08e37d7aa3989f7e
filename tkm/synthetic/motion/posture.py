"""Postures as rows of joint angles, which blend, and the motion that they and planned footholds make.

Shape legend: T moments, C = len(COLUMNS), S segments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.bodies.segments import SEGMENT, SEGMENTS
from tkm.synthetic.motion.limbs import SIDES, Build
from tkm.synthetic.motion.rotations import about_x, about_y, about_z, facing, pitch_roll_yaw, transpose

# Angles in radians. The spine's bend is shared by abdomen and chest, the head's by neck and head. Moves of the pelvis in metres:
# to the front, to the left, and down from where the legs are straight.
COLUMNS = (
    *(f"{part}_{angle}" for part in ("pelvis", "spine", "head") for angle in ("pitch", "roll", "yaw")),
    "front_m", "left_m", "down_m",
    *(f"{side}_{angle}" for side in SIDES for angle in ("flex", "abduct", "twist", "elbow", "wrist", "shrug")),
)  # fmt: skip
COLUMN = {name: number for number, name in enumerate(COLUMNS)}


def postures(moments: int, **values: ArrayLike) -> Double:
    """(T, C) postures, 0 but for the columns given: each a number or (T,)."""
    rows = np.zeros((moments, len(COLUMNS)))
    for name, value in values.items():
        rows[:, COLUMN[name]] = value
    return rows


def columns(part: str) -> slice:
    """The three columns of the pelvis, the spine or the head."""
    return slice(COLUMN[f"{part}_pitch"], COLUMN[f"{part}_yaw"] + 1)


@dataclass(frozen=True)
class Feet:
    """Both feet over T moments, left and right.

    xy_m       (2, T, 2) float64, the foothold: where the ankle would be over the flat foot
    up_m       (2, T) float64, of the lowest point of the foot above the ground
    yaw_rad    (2, T) float64, heading of the toes
    pitch_rad  (2, T) float64, toes up is positive; the foot rolls on its heel or its toes
    """

    xy_m: Double
    up_m: Double
    yaw_rad: Double
    pitch_rad: Double

    def ankles_m(self, build: Build) -> Double:
        """(2, T, 3) positions of the ankles."""
        places = []
        for leg, xy_m, up_m, yaw, pitch in zip(build.legs, self.xy_m, self.up_m, self.yaw_rad, self.pitch_rad, strict=True):
            rolled = leg.roll(pitch)
            places.append(np.concatenate([xy_m - rolled[:, :1] * facing(yaw), (rolled[:, 1] + up_m)[:, None]], axis=1))
        return np.stack(places)

    def at(self, seconds: Double, wanted_s: Double) -> Feet:
        """The feet at other moments, between those known at `seconds`."""
        return Feet(
            np.stack([between(seconds, xy_m, wanted_s) for xy_m in self.xy_m]),
            between(seconds, self.up_m.T, wanted_s).T,
            between(seconds, self.yaw_rad.T, wanted_s).T,
            between(seconds, self.pitch_rad.T, wanted_s).T,
        )


def between(seconds: Double, values: Double, wanted_s: Double) -> Double:
    """(W, C) of (T, C) values that are known at (T,) rising moments, linear between them."""
    return np.stack([np.interp(wanted_s, seconds, column) for column in values.T], axis=-1)


def pelvis_turn(rows: Double, heading_rad: Double) -> Double:
    """(T, 3, 3) rotations of the pelvis in the world."""
    return about_z(heading_rad) @ pitch_roll_yaw(rows[:, columns("pelvis")])


def pelvis_xy_m(rows: Double, heading_rad: Double, path_m: Double) -> Double:
    """(T, 2) ground positions of the pelvis of who follows a path."""
    ahead = facing(heading_rad)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    return path_m + rows[:, [COLUMN["front_m"]]] * ahead + rows[:, [COLUMN["left_m"]]] * aside


def pelvis_height_m(build: Build, feet: Feet, turn: Double, xy_m: Double, down_m: Double, window: int) -> Double:
    """(T,) heights at which both legs reach their footholds; `window` moments on either side smooth them."""
    height_m = build.stand_m - down_m
    for leg, ankle_m in zip(build.legs, feet.ankles_m(build), strict=True):
        hip_m = turn @ leg.hip_m
        apart_m = np.linalg.norm(ankle_m[:, :2] - xy_m - hip_m[:, :2], axis=-1)
        reach_m = np.sqrt(np.maximum(leg.reach_m**2 - apart_m**2, (0.3 * leg.reach_m) ** 2))
        height_m = np.minimum(height_m, ankle_m[:, 2] + reach_m - hip_m[:, 2])
    # The lowest of a window, averaged over the window, is smooth and nowhere above what the legs reach.
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(height_m, window, mode="edge"), 2 * window + 1)
    kernel = np.hanning(2 * window + 3)[1:-1]
    lowest_m = np.pad(windows.min(axis=1), window, mode="edge")
    return np.convolve(lowest_m, kernel / kernel.sum(), mode="valid")


def assemble(build: Build, rows: Double, heading_rad: Double, root_m: Double, feet: Feet) -> Double:
    """(T, S, 3, 3) rotations of a body, each segment against its parent, of its postures, pelvis and feet."""
    rotation = np.tile(np.eye(3), (len(rows), len(SEGMENTS), 1, 1))
    rotation[:, SEGMENT["pelvis"]] = turn = pelvis_turn(rows, heading_rad)
    for part, base, top in (("spine", "abdomen", "chest"), ("head", "neck", "head")):
        rotation[:, SEGMENT[base]] = rotation[:, SEGMENT[top]] = pitch_roll_yaw(rows[:, columns(part)] / 2)
    for arm, side in zip(build.arms, SIDES, strict=True):
        flex, abduct, twist, elbow, wrist, shrug = (
            rows[:, COLUMN[f"{side}_{angle}"]] for angle in ("flex", "abduct", "twist", "elbow", "wrist", "shrug")
        )
        clavicle = about_y(-arm.side * shrug)
        upper, fore = arm.solve(flex, abduct, twist, elbow)
        rotation[:, SEGMENT[f"{side}_clavicle"]] = clavicle
        rotation[:, SEGMENT[f"{side}_upper_arm"]] = transpose(clavicle) @ upper
        rotation[:, SEGMENT[f"{side}_forearm"]] = fore
        rotation[:, SEGMENT[f"{side}_hand"]] = about_x(-wrist)
    ankles_m = feet.ankles_m(build)
    for number, (leg, side) in enumerate(zip(build.legs, SIDES, strict=True)):
        hip_m = root_m + turn @ leg.hip_m
        yaw = feet.yaw_rad[number]
        # A knee points between the pelvis' and the foot's direction, and up where the leg points forward, as in sitting.
        apart = np.remainder(yaw - heading_rad + np.pi, 2 * np.pi) - np.pi
        forward = np.append(facing(heading_rad + np.clip(apart / 2, -0.7, 0.7)), np.full((len(rows), 1), 0.3), axis=1)
        thigh, shin = leg.solve(hip_m, ankles_m[number], forward)
        foot = about_z(yaw) @ about_x(-feet.pitch_rad[number]) @ about_z(-leg.foot_yaw_rad)
        rotation[:, SEGMENT[f"{side}_thigh"]] = transpose(turn) @ thigh
        rotation[:, SEGMENT[f"{side}_shin"]] = transpose(thigh) @ shin
        rotation[:, SEGMENT[f"{side}_foot"]] = transpose(shin) @ foot
    return rotation
