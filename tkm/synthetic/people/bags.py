"""Things people carry: backpacks, shoulder bags and hand bags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Body
from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.people.surface import Part, Surface, grid_faces, hull_reach_m, skin_of
from tkm.types import Float

BAGS = ("none", "backpack", "shoulder", "hand")
_LIFT_M = 0.006  # straps lie this far above what they lie on
_NEAR = 8  # points of it that a place of a strap moves with
_TRUNK = [SEGMENT[name] for name in ("pelvis", "abdomen", "chest", "neck", "left_clavicle", "right_clavicle")]


@dataclass(frozen=True)
class Cloud:
    """Points of the outside of a dressed trunk, N of them.

    rest_m  (N, 3) float64
    skin    (N, S) float32, share of each segment in a point's motion
    """

    rest_m: NDArray[np.float64]
    skin: Float


def make_bag(body: Body, bag: str, size: float, number: int, strap: int, on: Cloud) -> list[Part]:
    """A bag of BAGS with its straps; `number` and `strap` are their materials, and `on` is what they lie on."""
    if bag == "backpack":
        return _backpack(body, size, number, strap, on)
    if bag == "shoulder":
        return _shoulder_bag(body, size, number, strap, on)
    if bag == "hand":
        return _hand_bag(body, size, number)
    return []


def _box(middle_m: NDArray[np.float64], half_m: NDArray[np.float64], number: int, power: float = 4.0, **shares: float) -> Part:
    """A rounded box: a superellipsoid."""
    rows, columns = 11, 16
    polar, angle = np.linspace(0.02, np.pi - 0.02, rows)[:, None], np.linspace(0, 2 * np.pi, columns, endpoint=False)

    def rounded(value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sign(value) * np.abs(value) ** (2 / power)

    unit = np.stack(
        np.broadcast_arrays(
            rounded(np.sin(polar)) * rounded(np.cos(angle)),
            rounded(np.sin(polar)) * rounded(np.sin(angle)),
            rounded(np.cos(polar)),
        ),
        axis=2,
    )
    rest_m = (middle_m + half_m * unit.reshape(-1, 3)).astype(np.float32)
    faces = grid_faces(rows, columns, closed=True)
    return Part(rest_m, faces, skin_of(len(rest_m), **shares), np.full(len(faces), number, np.uint8))


def dressed(surface: Surface, garments: Sequence[Part]) -> Cloud:
    """The outside of a dressed body that straps may lie on."""
    bare = (surface.place_m[:, 2] < 0.6) & (surface.place_m[:, 2] > -0.1)
    rest_m = np.concatenate([surface.rest_m[bare], *(part.rest_m for part in garments)])
    skin = np.concatenate([surface.skin[bare], *(part.skin for part in garments)])
    trunk = skin[:, _TRUNK].sum(axis=1) > 0.45
    return Cloud(rest_m[trunk].astype(np.float64), skin[trunk])


def _ribbon(edges_m: NDArray[np.float64], skin: Float, number: int) -> Part:
    """A strap between two edges of N points, (2, N, 3); `skin` is (N, S)."""
    faces = grid_faces(edges_m.shape[1], 2, closed=False)
    rest_m = edges_m.transpose(1, 0, 2).reshape(-1, 3).astype(np.float32)
    return Part(rest_m, faces, np.repeat(skin, 2, axis=0), np.full(len(faces), number, np.uint8))


def _strap(edges_m: NDArray[np.float64], on: Cloud, number: int) -> Part:
    """A strap that moves with what it lies on."""
    middle_m = edges_m.mean(axis=0)
    near = np.argpartition(((middle_m[:, None] - on.rest_m) ** 2).sum(axis=2), _NEAR, axis=1)[:, :_NEAR]
    skin = on.skin[near].mean(axis=1)
    for _ in range(2):  # neighbours move alike, that the strap stays smooth
        padded = np.concatenate([skin[:1], skin, skin[-1:]])
        skin = (padded[:-2] + 2 * skin + padded[2:]) / 4
    return _ribbon(edges_m, skin / skin.sum(axis=1, keepdims=True), number)


def _backpack(body: Body, size: float, number: int, strap: int, on: Cloud) -> list[Part]:
    joint = {name: body.joints_m[SEGMENT[name]] for name in ("chest", "left_upper_arm")}
    low, high = joint["chest"][2] - 0.04 * size, joint["left_upper_arm"][2] + 0.02 * size
    armpit_z = joint["left_upper_arm"][2] - 0.11 * size
    level = on.rest_m[(on.rest_m[:, 2] > low) & (on.rest_m[:, 2] < high)]
    back_y = float(level[np.abs(level[:, 0]) < 0.1 * size, 1].max())
    depth = 0.07 * size
    half = np.array([0.14 * size, depth, (high - low) / 2 + 0.05 * size])
    pocket = np.array([0.105, 0.03, 0.1]) * size
    middle_z = (low + high) / 2
    parts = [
        _box(np.array([0, back_y + depth * 0.85, middle_z]), half, number, chest=1.0),
        _box(np.array([0, back_y + depth * 1.8, middle_z - 0.08 * size]), pocket, strap, chest=1.0),
    ]
    for side in (-1, 1):
        parts += _pack_straps(side, armpit_z, back_y, size, strap, on)
    return parts


def _pack_straps(side: int, armpit_z: float, back_y: float, size: float, number: int, on: Cloud) -> list[Part]:
    """From the pack over the shoulder down to the chest, and from there under the arm back to the pack."""
    x = side * 0.1 * size
    middle = np.array([np.median(on.rest_m[:, 1]), armpit_z])
    turn = np.linspace(np.deg2rad(165), np.deg2rad(-20), 20)  # from behind over the top to the front
    edges = []
    for edge in (-1, 1):
        near = on.rest_m[
            (np.abs(on.rest_m[:, 0] - x - edge * 0.019 * size) < 0.022 * size) & (on.rest_m[:, 2] > armpit_z - 0.2 * size)
        ]
        direction = np.stack([-np.cos(turn), np.sin(turn)], axis=1)
        flat = middle + direction * (_reach_m(near[:, 1:] - middle, direction) + _LIFT_M)[:, None]
        edge_x = x * (1 + 0.22 * np.linspace(0, 1, len(turn)) ** 4) + edge * 0.019 * size  # outwards under the arm
        edges.append(np.concatenate([edge_x[:, None], flat], axis=1))
    over = np.stack(edges)
    end = over[:, -3:].mean(axis=(0, 1))
    around = np.linspace(0, 1, 12)
    ring = on.rest_m[np.abs(on.rest_m[:, 2] - end[2]) < 0.035 * size]
    start_rad = np.arctan2(end[1] - middle[0], end[0])
    stop_rad = np.arctan2(back_y - middle[0], side * 0.1 * size)
    if side < 0 and stop_rad > 0:
        stop_rad -= 2 * np.pi
    angle = start_rad + (stop_rad - start_rad) * around
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    flat = np.array([0, middle[0]]) + direction * (_reach_m(ring[:, :2] - np.array([0, middle[0]]), direction) + _LIFT_M)[:, None]
    z = end[2] - 0.07 * size * around
    under = np.stack([np.concatenate([flat, (z + edge * 0.008 * size)[:, None]], axis=1) for edge in (1, -1)])
    return [_strap(over, on, number), _strap(under, on, number)]


def _reach_m(flat_m: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) as `hull_reach_m`, of directions that may leave some out."""
    every = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    whole = np.concatenate([direction, np.stack([np.cos(every), np.sin(every)], axis=1)])
    return hull_reach_m(flat_m, whole)[: len(direction)]


def _slack_reach_m(flat_m: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of directions all around, between the convex hull of points and their outline: a strap that is not quite taut."""
    hull_m = hull_reach_m(flat_m, direction)
    aside_m = flat_m @ np.stack([-direction[:, 1], direction[:, 0]])
    outline_m = np.where(np.abs(aside_m) < 0.025, flat_m @ direction.T, 0).max(axis=0)
    for _ in range(6):  # never inside of the outline, but smooth
        mean_m = (np.roll(outline_m, 1) + outline_m + np.roll(outline_m, -1)) / 3
        outline_m = np.maximum(outline_m, mean_m)
    out: NDArray[np.float64] = np.maximum(outline_m, 0.15 * hull_m + 0.85 * outline_m)
    return out


def _shoulder_bag(body: Body, size: float, number: int, strap: int, on: Cloud) -> list[Part]:
    """A strap from the right shoulder across the trunk to a bag on the left hip."""
    hip = body.joints_m[SEGMENT["left_thigh"]]
    waist = on.rest_m[np.abs(on.rest_m[:, 2] - hip[2]) < 0.05 * size]
    half = np.array([0.045, 0.14, 0.1]) * size
    middle = np.array(
        [waist[:, 0].max() + half[0], (waist[:, 1].min() + waist[:, 1].max()) / 2 + 0.06 * size, hip[2] - 0.02 * size]
    )
    parts = [_box(middle, half, number, power=5.0, pelvis=1.0)]
    above = on.rest_m[np.abs(on.rest_m[:, 0] + 0.1 * size) < 0.03 * size]
    shoulder = np.array([-0.1 * size, float(np.median(above[:, 1])), above[:, 2].max()])
    hook = middle + np.array([0, 0, half[2] * 0.8])
    along = hook - shoulder
    # the strap lies in the plane that holds the y axis and the line from the shoulder to the bag: the outline of the trunk there
    length = float(np.hypot(along[0], along[2]))
    unit = np.array([along[0], 0, along[2]]) / length
    across = np.array([-unit[2], 0, unit[0]])
    turn = np.linspace(0, 2 * np.pi, 72)
    direction = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    edges = []
    for edge in (-1, 1):
        offset = edge * 0.015 * size
        near = on.rest_m[np.abs((on.rest_m - shoulder) @ across - offset) < 0.025 * size]
        flat = np.concatenate([np.stack([(near - shoulder) @ unit, near[:, 1]], axis=1), [[length, middle[1]]]])
        centre = np.array([length / 2, (flat[:, 1].min() + flat[:, 1].max()) / 2])
        outline = centre + direction * (_slack_reach_m(flat - centre, direction) + _LIFT_M)[:, None]
        edges.append(
            shoulder + outline[:, :1] * unit + across * offset + np.array([0.0, 1.0, 0.0]) * (outline[:, 1:] - shoulder[1])
        )
    return [*parts, _strap(np.stack(edges), on, strap)]


def _hand_bag(body: Body, size: float, number: int) -> list[Part]:
    """A small bag that is held in the right hand, as no bag that hangs from a hand could turn against it."""
    elbow, wrist = body.joints_m[SEGMENT["right_forearm"]], body.joints_m[SEGMENT["right_hand"]]
    down = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    side = np.cross(down, [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    axes = np.stack([np.cross(side, down), side, -down], axis=1)
    box = _box(np.zeros(3), np.array([0.022, 0.12, 0.08]) * size, number, power=6.0, right_hand=1.0)
    middle = wrist + down * 0.15 * size
    return [Part((middle + box.rest_m @ axes.T).astype(np.float32), box.faces, box.skin, box.material)]
