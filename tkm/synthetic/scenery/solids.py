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


def sheet(outline_m: Double | Sequence[Sequence[float]], finish: Finish, *, level: bool = False, start: float = 0.0) -> Solids:
    """A flat convex outline, (N, 3), counter-clockwise from outside. The texture's u runs along its first side.

    Args: start, metres by which the texture is moved along both directions, so that equal things do not look equal.
    """
    corners = np.asarray(outline_m, np.float64)
    u = corners[1] - corners[0]
    u /= np.linalg.norm(u)
    normal = np.cross(u, corners[-1] - corners[0])
    v = np.cross(normal / np.linalg.norm(normal), u)
    fan = np.stack([np.stack([corners[0], corners[i], corners[i + 1]]) for i in range(1, len(corners) - 1)])
    across = np.stack([np.append(axis, start - axis @ corners[0]) for axis in (u, v)])
    solids = _solids(fan, finish, np.tile(across, (len(fan), 1, 1)))
    return replace(solids, level=np.full(len(fan), level), casts=np.full(len(fan), not level))


def box(low_m: Sequence[float], high_m: Sequence[float], finish: Finish, start: float = 0.0) -> Solids:
    """A box along the axes. Textures run along x (y on its sides) and up."""
    (x0, y0, z0), (x1, y1, z1) = low_m, high_m
    sides = (
        [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
        [(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)],
        [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
        [(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)],
        [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
        [(x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)],
    )
    return joined([sheet(side, finish, start=start + 0.37 * number) for number, side in enumerate(sides)])


def post(
    radius_m: float, low_m: float, high_m: float, finish: Finish, top_radius_m: float | None = None, sides: int = 20
) -> Solids:
    """A round post on the z axis with two lids, narrowing or widening to `top_radius_m`."""
    top_m = radius_m if top_radius_m is None else top_radius_m
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    low = np.column_stack([ring * radius_m, np.full(sides + 1, low_m)])
    high = np.column_stack([ring * top_m, np.full(sides + 1, high_m)])
    mantle = joined([sheet([low[i], low[i + 1], high[i + 1], high[i]], finish) for i in range(sides)])
    mantle.across[:, 0, 3] += np.repeat(angle[:-1], 2) * radius_m  # the texture goes on around it
    F = len(mantle.glow)
    mantle = replace(mantle, centre_m=np.zeros((F, 3)), axis=np.tile([0.0, 0.0, 1.0], (F, 1)))
    return joined([mantle, sheet(high[:-1], finish), sheet(low[-2::-1], finish)])


def extruded(outline_m: Sequence[tuple[float, float]], depth_m: float, finish: Finish) -> Solids:
    """An outline in x and z, convex, counter-clockwise seen from -y, drawn along y from -depth_m / 2 to depth_m / 2."""
    xz = np.asarray(outline_m, np.float64)
    front, back = (np.insert(xz, 1, y, axis=1) for y in (-depth_m / 2, depth_m / 2))
    N = len(xz)
    rim = [sheet([front[(i + 1) % N], front[i], back[i], back[(i + 1) % N]], finish) for i in range(N)]
    return joined([sheet(front, finish), sheet(back[::-1], finish), *rim])


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


def _solids(corners_m: Double, finish: Finish, across: Double) -> Solids:
    F = len(corners_m)
    return Solids(
        corners_m, np.full(F, finish.texture, np.uint8), np.tile(np.asarray(finish.tint, np.float64), (F, 1)), across,
        np.full((F, 3), np.nan), np.zeros((F, 3)), np.full(F, finish.glow), np.full(F, finish.gloss),
        np.zeros(F, np.bool_), np.ones(F, np.bool_),
    )  # fmt: skip
