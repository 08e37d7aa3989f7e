"""Shoes: closed shells around the feet. What is above them, around the ankle, is cloth laid on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.people.palette import Cloth
from tkm.synthetic.people.surface import Part, Surface, grid_faces, skin_of
from tkm.types import Float

# A shoe's outline from heel to toe: place along the foot, half its width and height as shares of the greatest.
_ALONG = np.array([-0.01, 0.0, 0.04, 0.12, 0.24, 0.36, 0.5, 0.64, 0.76, 0.86, 0.94, 0.99, 1.01])
_WIDE = np.array([0.0, 0.42, 0.62, 0.72, 0.74, 0.76, 0.85, 0.98, 1.0, 0.92, 0.72, 0.42, 0.0])
_HIGH = np.array([0.25, 0.85, 0.98, 1.0, 1.0, 0.98, 0.82, 0.66, 0.58, 0.54, 0.5, 0.45, 0.3])
_LACED = (6, 7)  # between which of these the laces are


@dataclass(frozen=True)
class Shoe:
    """A kind of shoe.

    sole_m      how thick the sole looks
    height_m    of the upper at the ankle
    shaft_m     height on the mean body of its upper edge
    is_boot     whether that edge is level, and the shaft thick; else the edge is lower at the ankles
    cloth, sole_cloth, lace_cloth  what they are made of
    """

    sole_m: float
    height_m: float
    shaft_m: float
    is_boot: bool
    cloth: Cloth
    sole_cloth: Cloth
    lace_cloth: Cloth


def shoe_region(surface: Surface, shoe: Shoe) -> Float:
    """(V,) metres that feet are inside the upper edge of shoes, negative outside."""
    _, y, z = surface.place_m.T
    edge = np.full(len(z), shoe.shaft_m)
    if not shoe.is_boot:
        edge += np.interp(y, [-0.075, -0.045, -0.01, 0.03], [0.018, 0.012, -0.006, 0.008])  # tongue, ankle and heel
    return np.where(surface.arm > 0.5, -1.0, edge - z).astype(np.float32)


def above_shell(surface: Surface) -> Float:
    """(V,) metres that feet are above what a shoe's shell covers well, negative below."""
    _, y, z = surface.place_m.T
    return np.minimum(z + 0.775, 0.8 * (y + 0.085)).astype(np.float32)


def make_shoe(surface: Surface, side: str, shoe: Shoe, size: float, numbers: dict[Cloth, int]) -> Part:
    """The shoe of one foot. Its sole ends where the foot's did, for that is what stands on the ground."""
    share = surface.skin[:, SEGMENT[f"{side}_foot"]]
    foot = surface.rest_m[share > 0.5]
    floor = surface.rest_m[:, 2].min()
    low = foot[foot[:, 2] < floor + 0.05 * size, :2].astype(np.float64)
    heel, toe = (
        low[low[:, 1] > np.quantile(low[:, 1], 0.9)].mean(axis=0),
        low[low[:, 1] < np.quantile(low[:, 1], 0.1)].mean(axis=0),
    )
    forward = (toe - heel) / np.linalg.norm(toe - heel)
    across = np.array([-forward[1], forward[0]])
    along = low @ forward
    aside = low @ across
    start, length = along.min() - 0.006 * size, np.ptp(along) + 0.022 * size
    middle = (aside.min() + aside.max()) / 2
    half = np.ptp(aside) / 2 + 0.006 * size
    heel_shift = (heel @ across - middle) * np.clip(1 - _ALONG / 0.6, 0, 1)
    height = np.maximum(_HIGH * shoe.height_m * size, shoe.sole_m * size * 1.3)
    sole = shoe.sole_m * size
    turn = np.linspace(0, np.pi, 9)
    # (rows along the foot, points around): from the sole's edge on one side over the top to the other, and closed below
    side_x = np.concatenate([[1.0, 1.04], np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.7, [-1.04, -1.0]])
    up = np.abs(np.sin(turn)) ** 0.75
    rows = len(_ALONG)
    ground, edge = np.zeros((rows, 1)), np.full((rows, 1), sole)
    z = np.concatenate(
        [ground, edge, sole + (height - sole)[:, None] * up, edge, ground],
        axis=1,
    )  # fmt: skip
    narrow = np.clip((z - sole) / (0.08 * size), 0, 1) * 0.35 * np.clip(1.2 - _ALONG, 0, 1)[:, None]
    u = (middle + heel_shift)[:, None] + half * _WIDE[:, None] * side_x * (1 - narrow)
    xy = (start + length * _ALONG)[:, None, None] * forward + u[:, :, None] * across
    rest_m = np.concatenate([xy, (floor + z)[:, :, None]], axis=2).reshape(-1, 3).astype(np.float32)
    columns = len(side_x)
    faces = grid_faces(rows, columns, closed=True)
    column = np.tile(np.repeat(np.arange(columns), 2), rows - 1)
    on_sole = (column < 1) | (column >= columns - 2)
    material = np.where(on_sole, numbers[shoe.sole_cloth], numbers[shoe.cloth]).astype(np.uint8)
    row = np.repeat(np.arange(rows - 1), 2 * columns)
    material[(np.abs(column - (columns - 1) / 2) < 1.6) & np.isin(row, _LACED)] = numbers[shoe.lace_cloth]
    return Part(rest_m, _outwards(rest_m, faces), skin_of(len(rest_m), **{f"{side}_foot": 1.0}), material)


def _outwards(rest_m: Float, faces: np.ndarray) -> np.ndarray:
    """Triangles of a star-shaped shell, turned to face away from its middle."""
    corner = rest_m[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    inward = (normal * (corner.mean(axis=1) - rest_m.mean(axis=0))).sum() < 0
    return faces[:, ::-1].copy() if inward else faces
