"""Things people carry: backpacks, shoulder bags and hand bags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Body
from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.people.surface import Part, Surface, grid_faces, skin_of
from tkm.types import Float

BAGS = ("none", "backpack", "shoulder", "hand")
CLOTH_M = 0.03  # straps lie this far from the skin, above all cloth


def make_bag(surface: Surface, body: Body, bag: str, size: float, number: int, strap: int) -> list[Part]:
    """A bag of BAGS with its straps; `number` and `strap` are their materials."""
    if bag == "backpack":
        return _backpack(surface, body, size, number, strap)
    if bag == "shoulder":
        return _shoulder_bag(surface, body, size, number, strap)
    if bag == "hand":
        return _hand_bag(body, size, number, strap)
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


def _ribbon(path_m: NDArray[np.float64], across_m: NDArray[np.float64], skin: Float, number: int) -> Part:
    """A strap along a path of N points, `across_m` (N, 3) from its middle to its edge."""
    rest_m = np.stack([path_m - across_m, path_m + across_m], axis=1).reshape(-1, 3).astype(np.float32)
    faces = grid_faces(len(path_m), 2, closed=False)
    return Part(rest_m, faces, np.repeat(skin, 2, axis=0), np.full(len(faces), number, np.uint8))


def _trunk(surface: Surface) -> Float:
    """Vertices of the trunk, without head and arms."""
    return surface.rest_m[(surface.arm < 0.35) & (surface.place_m[:, 2] < 0.6) & (surface.place_m[:, 2] > -0.1)]


def _trunk_outline(surface: Surface, x: float, z: NDArray[np.float64], front: bool) -> NDArray[np.float64]:
    """(N,) y of the trunk's surface at a distance from its middle, at heights."""
    trunk = _trunk(surface)
    trunk = trunk[np.abs(trunk[:, 0] - x) < 0.05]
    out = np.empty(len(z))
    for n, level in enumerate(z):
        near = trunk[np.abs(trunk[:, 2] - level) < 0.04, 1]
        out[n] = (near.min() if front else near.max()) if len(near) else 0.0
    return out


def _backpack(surface: Surface, body: Body, size: float, number: int, strap: int) -> list[Part]:
    low, high = body.joints_m[SEGMENT["chest"], 2] - 0.04 * size, body.joints_m[SEGMENT["left_upper_arm"], 2] + 0.02 * size
    middle_z = (low + high) / 2
    back_y = float(_trunk_outline(surface, 0.0, np.linspace(low, high, 5), front=False).max())
    depth = 0.075 * size
    trunk = _trunk(surface)
    half = np.array([0.145 * size, depth, (high - low) / 2 + 0.05 * size])
    pocket = np.array([0.105, 0.035, 0.1]) * size
    parts = [
        _box(np.array([0, back_y + depth * 0.9 + 0.01, middle_z]), half, number, chest=1.0),
        _box(np.array([0, back_y + depth * 1.9, middle_z - 0.08 * size]), pocket, strap, chest=1.0),
    ]
    for sign in (-1, 1):
        x = sign * 0.095 * size
        shoulder = float(trunk[np.abs(trunk[:, 0] - x) < 0.025 * size, 2].max())
        z_front = np.linspace(shoulder - 0.05 * size, low + 0.04 * size, 7)
        y_front = _trunk_outline(surface, x, z_front, front=True) - CLOTH_M * size
        top = np.array(
            [
                [x, back_y, shoulder - 0.03 * size],
                [x, -0.01, shoulder + CLOTH_M * size],
                [x, -0.06 * size, shoulder + 0.012 * size],
            ]
        )
        path = np.concatenate([top, np.stack([np.full(7, x) * np.linspace(1, 1.25, 7), y_front, z_front], axis=1)])
        across = np.tile([0.02 * size, 0.0, 0.0], (len(path), 1))
        parts.append(_ribbon(path, across, skin_of(len(path), chest=1.0), strap))
    return parts


def _shoulder_bag(surface: Surface, body: Body, size: float, number: int, strap: int) -> list[Part]:
    """A strap from the right shoulder across the trunk to a bag on the left hip."""
    hip = body.joints_m[SEGMENT["left_thigh"]]
    waist = surface.rest_m[(surface.arm < 0.2) & (np.abs(surface.rest_m[:, 2] - hip[2]) < 0.05 * size)]
    half = np.array([0.05, 0.15, 0.11]) * size
    middle = np.array(
        [
            waist[:, 0].max() + half[0] + 0.02 * size,
            (waist[:, 1].min() + waist[:, 1].max()) / 2 + 0.06 * size,
            hip[2] - 0.02 * size,
        ]
    )
    parts = [_box(middle, half, number, power=5.0, pelvis=1.0)]
    trunk = _trunk(surface).astype(np.float64)
    shoulder = np.array([-0.1 * size, -0.02, trunk[np.abs(trunk[:, 0] + 0.1 * size) < 0.03, 2].max()])
    hook = middle + np.array([0, 0, half[2] * 0.8])
    along = hook - shoulder
    turn = np.linspace(0, 2 * np.pi, 28)
    # the strap lies in the plane that holds the y axis and the line from the shoulder to the bag: the outline of the trunk there
    length = float(np.hypot(along[0], along[2]))
    unit = np.array([along[0], 0, along[2]]) / length
    across = np.array([-unit[2], 0, unit[0]])
    near = np.abs((trunk - shoulder) @ across) < 0.035 * size
    flat = np.stack([(trunk[near] - shoulder) @ unit, trunk[near, 1]], axis=1)
    flat = np.concatenate([flat, [[length, middle[1]]]])
    centre = np.array([length / 2, (flat[:, 1].min() + flat[:, 1].max()) / 2])
    direction = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    reach = ((flat - centre) @ direction.T).max(axis=0)
    between = direction @ direction.T
    radius = np.where(between > 0.1, reach / np.maximum(between, 0.1), np.inf).min(axis=1) + CLOTH_M * size
    outline = centre + direction * radius[:, None]
    path = shoulder + outline[:, :1] * unit
    path[:, 1] = outline[:, 1]
    low = np.clip(outline[:, 0] / length * 1.4 - 0.3, 0, 1)
    skin = skin_of(len(path), chest=(1 - low) ** 2, abdomen=2 * low * (1 - low), pelvis=low**2)
    parts.append(_ribbon(path, np.tile(across * 0.016 * size, (len(path), 1)), skin, strap))
    return parts


def _hand_bag(body: Body, size: float, number: int, strap: int) -> list[Part]:
    """A bag that hangs from the right hand: along the forearm's line at rest, for that is what points down when the arm hangs."""
    elbow, wrist = body.joints_m[SEGMENT["right_forearm"]], body.joints_m[SEGMENT["right_hand"]]
    down = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    grip = wrist + down * 0.09 * size
    side = np.cross(down, [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    axes = np.stack([np.cross(side, down), side, -down], axis=1)
    box = _box(np.zeros(3), np.array([0.05, 0.15, 0.12]) * size, number, power=5.0, right_hand=1.0)
    middle = grip + down * 0.24 * size
    turn = np.linspace(0.15, np.pi - 0.15, 9)
    arc = np.stack([0 * turn, 0.1 * size * np.cos(turn), 0.14 * size * np.sin(turn) + 0.1 * size], axis=1)
    handle = _ribbon(middle + arc @ axes.T, np.tile(axes[:, 0] * 0.008 * size, (9, 1)), skin_of(9, right_hand=1.0), strap)
    return [Part((middle + box.rest_m @ axes.T).astype(np.float32), box.faces, box.skin, box.material), handle]
