"""Garments of cloth that hangs on a body: tops, trousers, skirts and shoes.

Places are those of the mean body (`Surface.place_m`): soles at -0.82, ankles -0.73, knees -0.38, crotch -0.05, waist 0.25,
shoulders 0.53, chin 0.62, crown 0.85 m.
Shape legend: V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.people.palette import Cloth
from tkm.synthetic.people.surface import Part, Surface, cut, grid_faces, hull_reach_m, lay, part_of, split, waves
from tkm.types import Float

ELBOW_M, WRIST_M = 0.23, 0.46  # down the arm of the mean body
_FAR_M = 1.0
_HIDDEN_M = 0.05  # cloth so far inside the edges of other cloth is never seen
_FOLDS = 0.34  # depth of folds by the cloth's distance from the skin
_THIGHS, _SHINS = ([SEGMENT[f"{side}_{name}"] for side in ("left", "right")] for name in ("thigh", "shin"))
_Piece = Callable[[Surface], list[Float]]
_LEG_Z = [-0.745, -0.369, 0.049]  # ankle, knee and hip, for the middle of the leg


@dataclass(frozen=True)
class Top:
    """Cloth on the trunk and the arms.

    hem_m        height of its lower edge
    sleeve_m     length of its sleeves from the shoulder; negative for none
    neck_m       how far below the throat its neckline lies at the front; negative for a collar that rises
    vee          how much deeper the neckline is in the middle, 0 for a round one
    open_m       half the width by which its front stands open; 0 for closed
    thickness_m  distance from the skin
    flare_m      how much more at the hem
    cloth, sleeve_cloth, trim_cloth  of the trunk, the sleeves, and of a band that `trim` names
    trim         "none", "block" (across the shoulders), "band" (across the chest), "placket"
    """

    hem_m: float
    sleeve_m: float
    neck_m: float
    vee: float
    open_m: float
    thickness_m: float
    flare_m: float
    cloth: Cloth
    sleeve_cloth: Cloth
    trim_cloth: Cloth
    trim: str


@dataclass(frozen=True)
class Bottom:
    """Trousers, shorts or leggings.

    waist_m, hem_m  heights of its edges
    thickness_m     distance from the skin
    flare_m         how much more at the hem
    cloth, stripe   of the legs, and of their outer sides where it is not None
    """

    waist_m: float
    hem_m: float
    thickness_m: float
    flare_m: float
    cloth: Cloth
    stripe: Cloth | None


@dataclass(frozen=True)
class Skirt:
    """A skirt, or the part of a dress or a coat below the waist.

    waist_m, hem_m  heights of its edges on the mean body
    thickness_m     distance from the skin
    flare           how much wider it gets on its way down, in metres a metre
    folds_m         depth of its folds at the hem
    cloth
    """

    waist_m: float
    hem_m: float
    thickness_m: float
    flare: float
    folds_m: float
    cloth: Cloth


def top_region(surface: Surface, top: Top) -> Float:
    """(V,) metres inside a top's edges, negative outside."""
    x, y, z = surface.place_m.T
    on_arm = surface.arm > 0.5
    hem = np.where(on_arm, _FAR_M, z - top.hem_m)
    sleeve = (0.4 - surface.arm) * 0.12 if top.sleeve_m < 0 else top.sleeve_m - surface.arm_m
    # throat and nape end at (0, -0.07, 0.6) and (0, 0.03, 0.63): the neckline is a plane through both, lowered at the front
    front = np.clip((0.02 - y) / 0.12, 0, 1)
    width = np.maximum(np.abs(x) - 0.055, 0)
    line = 0.622 - 0.03 * front - top.neck_m * (0.25 + 0.75 * front) - top.vee * front * np.maximum(1 - np.abs(x) / 0.07, 0)
    if top.neck_m > 0.05:  # wide, with straps on the shoulders
        width = np.maximum(np.abs(x) - 0.085, 0)
    neck = line - z + 1.2 * width
    inside = np.minimum(np.minimum(hem, sleeve), neck)
    if top.open_m > 0:
        gap = top.open_m * (0.75 + 0.5 * np.clip((z - 0.2) / 0.35, 0, 1))
        inside = np.minimum(inside, np.where((y < -0.03) & ~on_arm, np.abs(surface.rest_m[:, 0]) - gap, _FAR_M))
    return inside.astype(np.float32)


def bottom_region(surface: Surface, waist_m: float, hem_m: float) -> Float:
    """(V,) metres inside the edges of trousers, negative outside."""
    z = surface.place_m[:, 2]
    return np.where(surface.arm > 0.5, -_FAR_M, np.minimum(waist_m - z, z - hem_m)).astype(np.float32)


def skirt_region(surface: Surface, skirt: Skirt) -> Float:
    """(V,) metres that the legs and hips are inside a skirt's edges, negative outside."""
    return bottom_region(surface, skirt.waist_m, skirt.hem_m)


def sew_top(
    surface: Surface, top: Top, under_m: tuple[float, float], size: float, numbers: Mapping[Cloth, int], rng: np.random.Generator,
    covered_m: Float | None = None,
) -> Part:  # fmt: skip
    """A top.

    Args:
        surface: the body.
        top: what it is like.
        under_m: how thick what it covers may be, on the trunk and below the waist.
        size: the body's height by that of the mean body.
        numbers: of its materials.
        rng: draws its folds.
        covered_m: (V,) how far a place is inside the edges of what is worn over it; deep inside, nothing is made.
    """
    piece = cut(surface, in_view(top_region(surface, top), covered_m))
    z = piece.place_m[:, 2]
    low = np.clip((0.35 - z) / (0.35 - top.hem_m), 0, 1) * (piece.arm < 0.5)
    cuff = np.clip(piece.arm_m / max(top.sleeve_m, 0.05), 0, 1) if top.sleeve_m > 0 else np.float32(0)
    loose = top.thickness_m * (0.55 + 0.45 * np.clip((0.56 - z) / 0.15, 0, 1)) + top.flare_m * np.maximum(low, cuff * 0.7)
    folds = 1 + _FOLDS * waves(piece.rest_m, rng, 0.15 * size)
    least_m = np.where((z < 0.22) & (piece.arm < 0.5), max(under_m), max(under_m[0], 0.35 * top.thickness_m)) * size
    cloth = lay(piece, (loose * size * folds).astype(np.float32), least_m.astype(np.float32), 4)
    seams: list[tuple[_Piece, Cloth]] = [(_sleeves, top.sleeve_cloth)] if top.sleeve_cloth != top.cloth else []
    if top.trim != "none":
        seams.append((_TRIMS[top.trim], top.trim_cloth))
    return _of_pieces(cloth, top.cloth, seams, numbers)


def in_view(inside_m: Float, covered_m: Float | None) -> Float:
    """Metres inside a garment's edges where it is at most _HIDDEN_M inside those of another over it; negative elsewhere."""
    return inside_m if covered_m is None else np.minimum(inside_m, _HIDDEN_M - covered_m)


def _of_pieces(cloth: Surface, ground: Cloth, seams: Sequence[tuple[_Piece, Cloth]], numbers: Mapping[Cloth, int]) -> Part:
    """Cloth with pieces of other cloth in it."""
    for piece, _ in seams:
        for side in range(len(piece(cloth))):
            cloth = split(cloth, piece(cloth)[side].astype(np.float32))[0]
    material = np.full(len(cloth.faces), numbers[ground], np.uint8)
    for piece, other in seams:
        inside = np.stack([side[cloth.faces].sum(axis=1) > 0 for side in piece(cloth)]).all(axis=0)
        material[inside] = numbers[other]
    return part_of(cloth, material)


# A piece in cloth is where all of some fields, each of them linear over a triangle, are positive.


def _sleeves(cloth: Surface) -> list[Float]:
    return [cloth.arm - 0.5]


def _block(cloth: Surface) -> list[Float]:
    return [cloth.place_m[:, 2] - 0.43, 0.5 - cloth.arm]


def _band(cloth: Surface) -> list[Float]:
    z = cloth.place_m[:, 2]
    return [z - 0.315, 0.405 - z, 0.5 - cloth.arm]


def _placket(cloth: Surface) -> list[Float]:
    x = cloth.rest_m[:, 0]  # on the mean body, lines in the middle of the chest are nearer to each other than above it
    return [0.012 - x, 0.012 + x, -cloth.place_m[:, 1], 0.3 - cloth.arm]


def _stripe(cloth: Surface) -> list[Float]:
    """Along the outer sides of both legs."""
    x, y, z = cloth.place_m.T
    middle_x, middle_y = np.interp(z, _LEG_Z, [0.22, 0.158, 0.11]), np.interp(z, _LEG_Z, [0.001, -0.032, -0.012])
    return [0.015 - (y - middle_y), 0.015 + (y - middle_y), np.abs(x) - middle_x]


_TRIMS: dict[str, _Piece] = {"block": _block, "band": _band, "placket": _placket}


def sew_bottom(
    surface: Surface, bottom: Bottom, size: float, numbers: Mapping[Cloth, int], rng: np.random.Generator,
    covered_m: Float | None = None,
) -> Part:  # fmt: skip
    """Trousers; the arguments are those of `sew_top`."""
    piece = cut(surface, in_view(bottom_region(surface, bottom.waist_m, bottom.hem_m), covered_m))
    z = piece.place_m[:, 2]
    low = np.clip((-0.05 - z) / (-0.05 - bottom.hem_m), 0, 1)
    tight = np.clip(z / 0.1, 0, 1)  # at the waist, where a belt holds it
    loose = bottom.thickness_m * (1 - 0.6 * tight) + bottom.flare_m * low
    folds = 1 + _FOLDS * (1 - tight) * waves(piece.rest_m, rng, 0.14 * size)
    cloth = lay(piece, (loose * size * folds).astype(np.float32), 0.003 + 0.3 * bottom.thickness_m * size, 3)
    seams: list[tuple[_Piece, Cloth]] = [(_stripe, bottom.stripe)] if bottom.stripe is not None else []
    return _of_pieces(cloth, bottom.cloth, seams, numbers)


def sew_skirt(surface: Surface, skirt: Skirt, size: float, number: int, rng: np.random.Generator) -> Part:
    """A skirt: a tube around the hips and both legs, which the thighs carry with them."""
    z_of = _heights(surface)
    rows, columns = 4 + round((skirt.waist_m - skirt.hem_m) / 0.045), 40
    place_z = np.linspace(skirt.waist_m, skirt.hem_m, rows)
    z_m = np.interp(place_z, *z_of)
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    body = surface.rest_m[surface.arm < 0.2]
    near = body[np.abs(body[:, 2] - z_m[0]) < 0.05 * size, 1]
    middle_y = float(near.min() + near.max()) / 2
    levels = [body[np.abs(body[:, 2] - z) < 0.03 * size, :2] - np.array([0, middle_y]) for z in z_m]
    radius = np.stack([hull_reach_m(level, direction) for level in levels])
    radius = np.maximum.accumulate(radius, axis=0)
    down = np.clip((z_m[0] - z_m) / (z_m[0] - z_m[-1]), 0, 1)[:, None]
    folds = np.zeros(columns)
    for count in (5, 8, 11):
        folds += np.sin(count * angle + rng.uniform(0, 2 * np.pi)) * rng.uniform(0.5, 1.0)
    flare_m = skirt.flare * np.maximum(z_m[0] - z_m, 0)[:, None]
    radius = radius + skirt.thickness_m * size * (0.8 + 0.2 * down) + flare_m + skirt.folds_m * size * folds * down**1.5 * 0.5
    x = (radius * np.cos(angle)).ravel()
    y = (middle_y + radius * np.sin(angle)).ravel()
    rest_m = np.stack([x, y, np.repeat(z_m, columns)], axis=1).astype(np.float32)
    return Part(rest_m, grid_faces(rows, columns, closed=True), _skirt_skin(surface, rest_m, np.repeat(place_z, columns), size),
                np.full((rows - 1) * columns * 2, number, np.uint8))  # fmt: skip


def _heights(surface: Surface) -> tuple[Float, Float]:
    """Heights on the mean body, rising, and on this one, of trunk and legs."""
    trunk = surface.arm < 0.2
    place_z, rest_z = surface.place_m[trunk, 2], surface.rest_m[trunk, 2]
    levels = np.linspace(-0.8, 0.55, 28)
    heights = [rest_z[np.abs(place_z - level) < 0.04].mean() for level in levels]
    return levels.astype(np.float32), np.array(heights, np.float32)


def _skirt_skin(surface: Surface, rest_m: Float, place_z: Float, size: float) -> Float:
    """(V, S) shares of a skirt's vertices: those of the body's next to it, but both legs' blended in the middle.

    Below the knee the skirt follows the shin only in part.
    """
    legs = surface.arm < 0.2
    legs &= (surface.place_m[:, 2] < 0.3) & (surface.place_m[:, 2] > -0.3)
    body_m, body_skin = surface.rest_m[legs], surface.skin[legs]
    distance = (rest_m**2).sum(axis=1)[:, None] - 2 * rest_m @ body_m.T + (body_m**2).sum(axis=1)
    near = np.argpartition(distance, 6, axis=1)[:, :6]
    skin = body_skin[near].mean(axis=1)
    thighs = skin[:, _THIGHS].sum(axis=1)
    left = np.clip(rest_m[:, 0] / (0.2 * size) + 0.5, 0, 1)
    left = left * left * (3 - 2 * left)
    shin = 0.55 * np.clip((-0.36 - place_z) / 0.2, 0, 1)
    skin[:, _THIGHS] = np.stack([left, 1 - left], axis=1) * (thighs * (1 - shin))[:, None]
    skin[:, _SHINS] = np.stack([left, 1 - left], axis=1) * (thighs * shin)[:, None]
    out: Float = (skin / skin.sum(axis=1, keepdims=True)).astype(np.float32)
    return out
