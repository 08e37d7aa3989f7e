"""Legs that reach a foothold, and arms from the angles of their joints, on a body of any build.

Shape legend: T moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Body, Double
from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.motion.rotations import about_x, about_y, about_z, limb_frame, transpose, unit

SIDES = ("left", "right")
_PITCH_RAD = np.radians(np.arange(-100.0, 61.0, 2.0))  # of a foot: toes up is positive
_STRETCH = 0.994  # of a leg's length: a knee is never quite straight
_LEFT = np.array([1.0, 0.0, 0.0])


@dataclass(frozen=True)
class Leg:
    """One leg: joints against the pelvis' joint, lengths, and how the foot rolls on the ground.

    hip_m            (3,) float64, the hip against the pelvis' joint
    thigh_m, shin_m  lengths
    thigh, shin      (3, 3) float64, from a limb that hangs down, hinged about x, to the segment at rest
    foot_yaw_rad     how far the foot points to the left at rest
    roll_m           (A, 2) float64, for each of the table's pitches: how far the ankle of a foot that rolls on heel or toes
                     moves back from where it is over a flat foot, and how high it is above the ground
    """

    hip_m: Double
    thigh_m: float
    shin_m: float
    thigh: Double
    shin: Double
    foot_yaw_rad: float
    roll_m: Double

    @property
    def reach_m(self) -> float:
        """The farthest that the ankle gets from the hip."""
        return _STRETCH * (self.thigh_m + self.shin_m)

    @property
    def ankle_m(self) -> float:
        """Height of the ankle over a flat foot's sole."""
        return float(self.roll(np.zeros(1))[0, 1])

    def roll(self, pitch_rad: Double) -> Double:
        """(T, 2) of `roll_m` at (T,) pitches."""
        return np.stack([np.interp(pitch_rad, _PITCH_RAD, column) for column in self.roll_m.T], axis=-1)

    def solve(self, hip_m: Double, ankle_m: Double, forward: Double) -> tuple[Double, Double]:
        """Rotations of thigh and shin in the world, both (T, 3, 3), the knee bent towards `forward`, (T, 3)."""
        span = ankle_m - hip_m
        length = np.clip(np.linalg.norm(span, axis=-1), abs(self.thigh_m - self.shin_m) + 0.02, self.reach_m)
        frame = limb_frame(span, np.cross(forward, span))
        at_hip = np.arccos(np.clip((self.thigh_m**2 + length**2 - self.shin_m**2) / (2 * self.thigh_m * length), -1, 1))
        at_ankle = np.arccos(np.clip((self.shin_m**2 + length**2 - self.thigh_m**2) / (2 * self.shin_m * length), -1, 1))
        return frame @ about_x(-at_hip) @ transpose(self.thigh), frame @ about_x(at_ankle) @ transpose(self.shin)


@dataclass(frozen=True)
class Arm:
    """One arm: how its bent rest differs from an arm that hangs straight down with the elbow's hinge about x.

    shoulder_m       (3,) float64, against the pelvis' joint
    upper_m, fore_m  lengths
    upper, fore      (3, 3) float64, from the hanging limb to the segment at rest
    side             1 for the left arm, -1 for the right
    hang_rad         how far it must be lifted sideways to hang clear of the hips
    """

    shoulder_m: Double
    upper_m: float
    fore_m: float
    upper: Double
    fore: Double
    side: int
    hang_rad: float

    def turn(self, flex_rad: Double, abduct_rad: Double, twist_rad: Double) -> Double:
        """(T, 3, 3) turn of the upper arm against the chest: lifted forward, sideways, and turned inwards."""
        return about_x(-flex_rad) @ about_y(-self.side * abduct_rad) @ about_z(-self.side * twist_rad)

    def solve(self, flex_rad: Double, abduct_rad: Double, twist_rad: Double, elbow_rad: Double) -> tuple[Double, Double]:
        """(T, 3, 3) rotations of the upper arm against the chest and of the forearm against the upper arm."""
        upper = self.turn(flex_rad, abduct_rad, twist_rad) @ transpose(self.upper)
        return upper, self.upper @ about_x(-elbow_rad) @ transpose(self.fore)

    def reach(self, wrist_m: Double, out: Double) -> tuple[float, float, float, float]:
        """Flex, abduct, twist and elbow, radians, that bring the wrist to a place, the elbow `out`; (3,) against the shoulder."""
        farthest_m = 0.99 * (self.upper_m + self.fore_m)
        length = float(np.clip(np.linalg.norm(wrist_m), abs(self.upper_m - self.fore_m) + 0.02, farthest_m))
        bend = np.arccos(np.clip((self.upper_m**2 + length**2 - self.fore_m**2) / (2 * self.upper_m * length), -1, 1))
        inside = np.arccos(np.clip((self.upper_m**2 + self.fore_m**2 - length**2) / (2 * self.upper_m * self.fore_m), -1, 1))
        frame = limb_frame(wrist_m, np.cross(-out, wrist_m)) @ about_x(bend)
        abduct = np.arcsin(np.clip(frame[0, 2], -1, 1))  # of Rx(-flex) Ry(-side abduct) Rz(-side twist)
        flex, twist = np.arctan2(frame[1, 2], frame[2, 2]), np.arctan2(frame[0, 1], frame[0, 0])
        return float(flex), float(-self.side * abduct), float(self.side * twist), float(np.pi - inside)


@dataclass(frozen=True)
class Build:
    """What motion must know of a body.

    leg_m         from the hip to the sole
    stand_m       height of the pelvis' joint when the legs are nearly straight under the hips
    hips_m        from the middle to a hip
    girth_m       from the middle to the skin at the side of the hips
    front_m       from the pelvis' joint to the skin in front of the belly or the chest
    back_m        the same behind
    seat_m        from a seat's top to the pelvis' joint of who sits on it
    legs, arms    left and right
    """

    body: Body
    leg_m: float
    stand_m: float
    hips_m: float
    girth_m: float
    front_m: float
    back_m: float
    seat_m: float
    legs: tuple[Leg, Leg]
    arms: tuple[Arm, Arm]


def measure(body: Body) -> Build:
    """Measure a body at rest."""
    joint = {name: body.joints_m[number] - body.joints_m[0] for name, number in SEGMENT.items()}
    rest_m = body.rest_m - body.joints_m[0]
    hip = joint["left_thigh"]
    legs = (_leg(body, joint, "left"), _leg(body, joint, "right"))
    beside = np.abs(rest_m[:, 0]) < 0.75 * joint["left_hand"][0]
    girth_m = float(np.abs(rest_m[beside & (np.abs(rest_m[:, 2] - hip[2]) < 0.1 * body.sole_m), 0]).max())
    between = (hip + joint["left_shin"]) / 2
    around = (np.abs(rest_m[:, 2] - between[2]) < 0.03) & (rest_m[:, 0] > 0) & beside
    thick_m = max(float(rest_m[around, 1].max() - between[1]), 0.045 * body.height_m)
    trunk_m = rest_m[(np.abs(rest_m[:, 0]) < abs(hip[0])) & (rest_m[:, 2] > hip[2]) & (rest_m[:, 2] < joint["left_upper_arm"][2])]
    front_m, back_m = -float(trunk_m[:, 1].min()), float(trunk_m[:, 1].max())
    arms = (_arm(joint, "left", girth_m), _arm(joint, "right", girth_m))
    stand_m = 0.998 * min(leg.reach_m + leg.ankle_m - leg.hip_m[2] for leg in legs)
    leg_m = body.sole_m + float(hip[2])
    return Build(body, leg_m, stand_m, float(abs(hip[0])), girth_m, front_m, back_m, thick_m, legs, arms)


def _leg(body: Body, joint: dict[str, Double], side: str) -> Leg:
    hip, knee, ankle = (joint[f"{side}_{name}"] for name in ("thigh", "shin", "foot"))
    foot_m = body.rest_m.astype(np.float64) - body.joints_m[0] - ankle
    # At rest nothing but a foot comes as low as its ankle, and the other foot lies on the other side of the middle.
    foot_m = foot_m[(foot_m[:, 2] < 0) & (np.sign(foot_m[:, 0] + ankle[0]) == np.sign(ankle[0]))]
    toes = foot_m[foot_m[:, 1] < 0.6 * foot_m[:, 1].min()].mean(axis=0)
    heel = foot_m[foot_m[:, 1] > 0.6 * foot_m[:, 1].max()].mean(axis=0)
    yaw_rad = float(np.arctan2(toes[0] - heel[0], heel[1] - toes[1]))
    flat_m = foot_m @ about_z(yaw_rad)  # rows times the inverse
    up_m = -(about_x(-_PITCH_RAD)[:, 2, :] @ flat_m.T).min(axis=1)
    height_m = float(np.interp(0, _PITCH_RAD, up_m))
    low = flat_m[flat_m[:, 2] < 0.012 - height_m, 1]
    pivot_m = np.where(_PITCH_RAD > 0, low.max(), low.min())  # on the heel, or on the toes
    turned = about_x(-_PITCH_RAD)
    back_m = pivot_m - turned[:, 1, 1] * pivot_m + turned[:, 1, 2] * height_m
    return Leg(
        hip, float(np.linalg.norm(knee - hip)), float(np.linalg.norm(ankle - knee)), limb_frame(knee - hip, _LEFT),
        limb_frame(ankle - knee, _LEFT), yaw_rad, np.stack([back_m, up_m], axis=-1),
    )  # fmt: skip


def _arm(joint: dict[str, Double], side: str, girth_m: float) -> Arm:
    shoulder, elbow, wrist = (joint[f"{side}_{name}"] for name in ("upper_arm", "forearm", "hand"))
    upper, fore = elbow - shoulder, wrist - elbow
    hinge = unit(np.cross(fore, upper))  # at rest the elbow is bent, which shows its hinge
    upper_m, fore_m = float(np.linalg.norm(upper)), float(np.linalg.norm(fore))
    hang = np.arcsin(np.clip((girth_m + 0.05 - abs(shoulder[0])) / (upper_m + fore_m), np.sin(0.09), 0.5))
    sign = 1 if side == "left" else -1
    return Arm(shoulder, upper_m, fore_m, limb_frame(upper, hinge), limb_frame(fore, hinge), sign, float(hang))
