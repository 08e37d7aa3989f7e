"""Static things as triangles: boxes, round posts, extruded outlines, foliage.

Triangles are listed with their corners, as few are shared and all are moved, joined and drawn as arrays.
Shape legend: F triangles, N corners of an outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.scenery.textures import Texture
from tkm.types import Bool, check


@dataclass(frozen=True)
class Solids:
    """Triangles of static things, F of them.

    corners_m   (F, 3, 3) float64, counter-clockwise from outside
    texture     (F,) uint8, a Texture
    tint        (F, 3) float64, linear, multiplies the texture
    across      (F, 2, 4) float64: the place on the texture, in metres, of the place (x, y, z, 1)
    centre_m    (F, 3) float64: a round surface's normal points away from it; NaN where the triangle is flat
    axis        (F, 3) float64: and is across this unit vector (a post) unless that is 0 (a ball)
    glow        (F,) float64, light that it sends out itself, as a share of its tint
    gloss       (F,) float64, share of light that it mirrors
    level       (F,) bool, lies flat on the ground and counts as ground
    casts       (F,) bool, throws shadows
    """

    corners_m: Double
    texture: NDArray[np.uint8]
    tint: Double
    across: Double
    centre_m: Double
    axis: Double
    glow: Double
    gloss: Double
    level: Bool
    casts: Bool

    def __post_init__(self) -> None:
        F = len(self.corners_m)
        check(self, "corners_m", (F, 3, 3), np.float64)
        check(self, "texture", (F,), np.uint8)
        check(self, "tint", (F, 3), np.float64)
        check(self, "across", (F, 2, 4), np.float64)
        check(self, "centre_m", (F, 3), np.float64)
        check(self, "axis", (F, 3), np.float64)
        check(self, "glow", (F,), np.float64)
        check(self, "gloss", (F,), np.float64)
        check(self, "level", (F,), np.bool_)
        check(self, "casts", (F,), np.bool_)


@dataclass(frozen=True)
class Finish:
    """What a surface is made of; see Solids."""

    texture: Texture = Texture.PLAIN
    tint: tuple[float, float, float] = (0.5, 0.5, 0.5)
    glow: float = 0.0
    gloss: float = 0.0


def joined(parts: Sequence[Solids]) -> Solids:
    """All triangles of some solids, in order."""
    if not parts:
        return _solids(np.zeros((0, 3, 3)), Finish(), np.zeros((0, 2, 4)))
    return Solids(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Solids)))


def placed(solids: Solids, xyz_m: Sequence[float] | Double, yaw: float = 0.0) -> Solids:
    """Turned about the z axis, counter-clockwise from above, then moved. Textures go along."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.asarray(xyz_m, np.float64)
    across = solids.across.copy()
    across[:, :, :3] = solids.across[:, :, :3] @ turn.T
    across[:, :, 3] -= across[:, :, :3] @ shift
    return replace(
        solids, corners_m=solids.corners_m @ turn.T + shift, across=across, centre_m=solids.centre_m @ turn.T + shift,
        axis=solids.axis @ turn.T,
    )  # fmt: skip


def unshadowing(solids: Solids) -> Solids:
    """The same, throwing no shadow: of things so large that all people would stand in it, who are lit as if it were not there."""
    return replace(solids, casts=np.zeros(len(solids.casts), np.bool_))


def copies(solids: Solids, shifts_m: Double) -> Solids:
    """The same thing at each of some places, (N, 3) float64, not turned. Textures go along."""
    N, F = len(shifts_m), len(solids.glow)
    every = Solids(
        *(np.tile(values, (N,) + (1,) * (values.ndim - 1)) for values in (getattr(solids, f.name) for f in fields(Solids)))
    )
    shift = np.repeat(np.asarray(shifts_m, np.float64).reshape(N, 3), F, axis=0)
    every.across[:, :, 3] -= np.einsum("fkj,fj->fk", every.across[:, :, :3], shift)
    return replace(every, corners_m=every.corners_m + shift[:, None], centre_m=every.centre_m + shift)


def sheets(
    outlines_m: Double | Sequence[Sequence[Sequence[float]]], finish: Finish, *, level: bool = False, start: Double | float = 0.0
) -> Solids:
    """N flat convex outlines of K corners, (N, K, 3), counter-clockwise from outside. The texture's u runs along the first side.

    Args: start, metres by which the texture is moved along both directions, of all or (N,), so that equal things do not look
        equal.
    """
    corners = np.asarray(outlines_m, np.float64)
    N, K = corners.shape[:2]
    u = _unit(corners[:, 1] - corners[:, 0])
    v = _cross(_unit(_cross(u, corners[:, -1] - corners[:, 0])), u)
    across = np.empty((N, 2, 4))
    across[:, 0, :3], across[:, 1, :3] = u, v
    across[:, :, 3] = np.reshape(start, (-1, 1)) - np.einsum("nkj,nj->nk", across[:, :, :3], corners[:, 0])
    fan = np.stack([np.zeros(K - 2, np.int64), np.arange(1, K - 1), np.arange(2, K)], axis=1)
    return _solids(corners[:, fan].reshape(-1, 3, 3), finish, np.repeat(across, K - 2, axis=0), level)


def sheet(outline_m: Double | Sequence[Sequence[float]], finish: Finish, *, level: bool = False, start: float = 0.0) -> Solids:
    """One of `sheets`, (K, 3)."""
    return sheets(np.asarray(outline_m, np.float64)[None], finish, level=level, start=start)


# The sides of a box whose edges are 1 long, (6, 4, 3), as two triangles each.
_SIDES = np.array([
    [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
    [(1, 1, 0), (0, 1, 0), (0, 1, 1), (1, 1, 1)],
    [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
    [(0, 1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1)],
    [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
    [(0, 1, 0), (1, 1, 0), (1, 0, 0), (0, 0, 0)],
], np.float64)  # fmt: skip
_BOX = _SIDES[:, [[0, 1, 2], [0, 2, 3]]].reshape(12, 3, 3)
_BOX_AXES = np.repeat(np.stack([_SIDES[:, 1] - _SIDES[:, 0], _SIDES[:, 3] - _SIDES[:, 0]], axis=1), 2, axis=0)
_BOX_START = np.repeat(0.37 * np.arange(6), 2)[:, None]


def box(low_m: Sequence[float], high_m: Sequence[float], finish: Finish, start: float = 0.0) -> Solids:
    """A box along the axes. Textures run along x (y on its sides) and up."""
    low = np.array(low_m, np.float64)
    corners = low + _BOX * (np.array(high_m, np.float64) - low)
    across = np.empty((12, 2, 4))
    across[:, :, :3] = _BOX_AXES
    across[:, :, 3] = start + _BOX_START - np.einsum("nkj,nj->nk", _BOX_AXES, corners[:, 0])
    return _solids(corners, finish, across)


def post(
    radius_m: float, low_m: float, high_m: float, finish: Finish, top_radius_m: float | None = None, sides: int = 20
) -> Solids:
    """A round post on the z axis with two lids, narrowing or widening to `top_radius_m`."""
    top_m = radius_m if top_radius_m is None else top_radius_m
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    low = np.column_stack([ring * radius_m, np.full(sides + 1, low_m)])
    high = np.column_stack([ring * top_m, np.full(sides + 1, high_m)])
    # The texture goes on around it.
    mantle = sheets(np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1), finish)
    mantle.across[:, 0, 3] += np.repeat(angle[:-1], 2) * radius_m
    mantle.centre_m[:] = 0
    mantle.axis[:] = (0.0, 0.0, 1.0)
    return joined([mantle, sheets(np.stack([high[:-1], low[-2::-1]]), finish)])


def extruded(outline_m: Sequence[tuple[float, float]], depth_m: float, finish: Finish) -> Solids:
    """An outline in x and z, convex, counter-clockwise seen from -y, drawn along y from -depth_m / 2 to depth_m / 2."""
    front, back = (np.insert(np.asarray(outline_m, np.float64), 1, y, axis=1) for y in (-depth_m / 2, depth_m / 2))
    rim = np.stack([np.roll(front, -1, axis=0), front, back, np.roll(back, -1, axis=0)], axis=1)
    return joined([sheets(np.stack([front, back[::-1]]), finish), sheets(rim, finish)])


def foliage(
    centre_m: Sequence[float],
    radii_m: Sequence[float],
    leaves: int,
    leaf_m: float,
    tint: tuple[float, float, float],
    rng: np.random.Generator,
) -> Solids:
    """Leaves in a ball or an egg: small triangles every way, darker inside and below."""
    direction = rng.normal(size=(leaves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    # Bumps of the outline, as of boughs, are those of a few sine waves over the directions.
    bumps = np.sin(direction @ rng.normal(0, 3.0, (3, 5)) + rng.uniform(0, 6, 5)).sum(axis=1) * 0.07
    reach = rng.uniform(0.35, 1.0, leaves) ** 0.5 * (0.95 + bumps)
    middle = direction * reach[:, None] * np.asarray(radii_m)
    corners = middle[:, None] + rng.normal(0, leaf_m, (leaves, 3, 3))
    shade = (0.30 + 0.75 * np.clip(reach, 0, 1) ** 3) * (0.85 + 0.25 * direction[:, 2]) * rng.uniform(0.7, 1.3, leaves)
    hue = 1 + rng.normal(0, 0.10, (leaves, 3)) * [1.4, 0.6, 1.0]
    solids = _solids(corners + np.asarray(centre_m), Finish(), np.zeros((leaves, 2, 4)))
    middle_of_all = np.asarray(centre_m) - [0, 0, 0.3 * radii_m[2]]
    return replace(
        solids, tint=np.clip(np.asarray(tint) * shade[:, None] * hue, 0.005, 0.9), centre_m=np.tile(middle_of_all, (leaves, 1))
    )


def _unit(vectors: Double) -> Double:
    return np.asarray(vectors / np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True)))


def _cross(one: Double, other: Double) -> Double:
    """Of (N, 3) each; numpy's own takes many times as long for few."""
    (a, b, c), (d, e, f) = one.T, other.T
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=-1)


def _solids(corners_m: Double, finish: Finish, across: Double, level: bool = False) -> Solids:
    F = len(corners_m)
    tint = np.empty((F, 3))
    tint[:] = finish.tint
    return Solids(
        corners_m, np.full(F, finish.texture, np.uint8), tint, across, np.full((F, 3), np.nan), np.zeros((F, 3)),
        np.full(F, finish.glow), np.full(F, finish.gloss), np.full(F, level), np.full(F, not level),
    )  # fmt: skip
