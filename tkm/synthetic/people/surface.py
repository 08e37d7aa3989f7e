"""Pieces of a body's surface: cut along a line, laid outside the skin, and joined to one mesh.

Regions and cut lines are told by places on the mean body (`BodyModel.template_m`), which all bodies share vertex by vertex, so
that a line runs over the same places of a child and of a heavy man.
Shape legend: V vertices, F triangles, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Body, BodyModel
from tkm.synthetic.bodies.mesh import BONES, Materials, Mesh
from tkm.synthetic.bodies.segments import SEGMENT, SEGMENTS
from tkm.types import Bool, Float, check

Faces = NDArray[np.int32]
_ARM = [SEGMENT[f"{side}_{name}"] for side in ("left", "right") for name in ("upper_arm", "forearm", "hand")]


@dataclass(frozen=True)
class Surface:
    """A piece of a body's surface at rest.

    rest_m   (V, 3) float32
    normal   (V, 3) float32, unit vectors outwards
    place_m  (V, 3) float32, the same points on the mean body
    arm_m    (V,) float32, how far down the arm a point of the mean body lies from the shoulder; negative on the trunk
    arm      (V,) float32, share of the arm's segments in a vertex's motion
    skin     (V, S) float32
    faces    (F, 3) int32
    """

    rest_m: Float
    normal: Float
    place_m: Float
    arm_m: Float
    arm: Float
    skin: Float
    faces: Faces

    def __post_init__(self) -> None:
        V = len(self.rest_m)
        check(self, "rest_m", (V, 3), np.float32)
        check(self, "normal", (V, 3), np.float32)
        check(self, "place_m", (V, 3), np.float32)
        check(self, "arm_m", (V,), np.float32)
        check(self, "arm", (V,), np.float32)
        check(self, "skin", (V, len(SEGMENTS)), np.float32)
        check(self, "faces", (None, 3), np.int32)


@dataclass(frozen=True)
class Part:
    """A part of a person's mesh.

    rest_m    (V, 3) float32
    faces     (F, 3) int32
    skin      (V, S) float32, share of each segment in a vertex's motion; rows sum to 1
    material  (F,) uint8
    """

    rest_m: Float
    faces: Faces
    skin: Float
    material: NDArray[np.uint8]

    def __post_init__(self) -> None:
        V, F = len(self.rest_m), len(self.faces)
        check(self, "rest_m", (V, 3), np.float32)
        check(self, "faces", (F, 3), np.int32)
        check(self, "skin", (V, len(SEGMENTS)), np.float32)
        check(self, "material", (F,), np.uint8)


def body_surface(model: BodyModel, body: Body) -> Surface:
    """The whole surface of a body."""
    arm = model.skin[:, _ARM].sum(axis=1)
    return Surface(
        body.rest_m, normals(body.rest_m, model.faces), model.template_m, _arm_m(model, arm), arm, model.skin, model.faces
    )


def _arm_m(model: BodyModel, arm: Float) -> Float:
    """(V,) float32, lengths along upper arm and forearm of the mean body, blended as the arm's segments are."""
    along_m = np.zeros(len(arm), np.float32)
    for side in ("left", "right"):
        shoulder_m, elbow_m, wrist_m = (model.joints_m[SEGMENT[f"{side}_{name}"]] for name in ("upper_arm", "forearm", "hand"))
        start_m = 0.0
        for names, a_m, b_m in ((("upper_arm",), shoulder_m, elbow_m), (("forearm", "hand"), elbow_m, wrist_m)):
            length_m = float(np.linalg.norm(b_m - a_m))
            share = model.skin[:, [SEGMENT[f"{side}_{name}"] for name in names]].sum(axis=1)
            along_m += share * (start_m + (model.template_m - a_m) @ ((b_m - a_m) / length_m))
            start_m += length_m
    return (along_m - 0.1 * (1 - arm)).astype(np.float32)


def normals(rest_m: Float, faces: Faces) -> Float:
    """(V, 3) float32 unit normals of vertices, of triangles weighted by their area."""
    corner = rest_m[faces]
    across = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(rest_m)) for k in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12)).astype(np.float32)


def split(surface: Surface, inside: Float) -> tuple[Surface, Float]:
    """The same surface with each triangle split where `inside`, (V,) and linear along the edges, is 0; and `inside` there.

    The vertices of the surface come first, those on the line follow.
    """
    V, value = len(surface.rest_m), inside.astype(np.float64)
    ends = np.stack([surface.faces, np.roll(surface.faces, -1, axis=1)], axis=2).astype(np.int64)  # (F, 3, 2), by edge
    crosses = value[ends[:, :, 0]] * value[ends[:, :, 1]] < 0
    keys, number = np.unique(ends.min(axis=2)[crosses] * V + ends.max(axis=2)[crosses], return_inverse=True)
    low, high = np.divmod(keys, V)
    part = (value[low] / (value[low] - value[high])).astype(np.float32)
    middle = np.zeros(crosses.shape, np.int64)
    middle[crosses] = V + number.ravel()
    count = crosses.sum(axis=1)

    def turned(kept: Bool, first: NDArray[np.intp]) -> NDArray[np.int64]:
        """(3, 2, N): corners, and the points on the edges that begin there, with the given corner as the first."""
        order = (first[:, None] + np.arange(3)) % 3
        corners = np.take_along_axis(surface.faces[kept].astype(np.int64), order, axis=1)
        return np.stack([corners, np.take_along_axis(middle[kept], order, axis=1)], axis=1).transpose(2, 1, 0)

    once, twice = count == 1, count == 2
    (a, ab), (b, _), (c, _) = turned(once, crosses[once].argmax(axis=1))
    (d, de), (e, _), (f, fd) = turned(twice, (crosses[twice].argmin(axis=1) + 2) % 3)
    new = [(a, ab, c), (ab, b, c), (d, de, fd), (de, e, f), (de, f, fd)]
    faces = np.concatenate([surface.faces[count == 0], *(np.stack(corners, axis=1) for corners in new)]).astype(np.int32)

    def grown(values: Float) -> Float:
        weight = part[:, None] if values.ndim == 2 else part
        return np.concatenate([values, values[low] * (1 - weight) + values[high] * weight]).astype(np.float32)

    grown_surface = Surface(
        grown(surface.rest_m), grown(surface.normal), grown(surface.place_m), grown(surface.arm_m), grown(surface.arm),
        grown(surface.skin), faces,
    )  # fmt: skip
    return grown_surface, np.concatenate([inside, np.zeros(len(keys))]).astype(np.float32)


def cut(surface: Surface, inside: Float) -> Surface:
    """The piece where `inside`, (V,) and linear along the edges, is positive."""
    near, kept = _compact(surface, np.asarray((inside[surface.faces] > 0).any(axis=1)))
    piece, value = split(near, inside[kept])
    corners = value[piece.faces]
    return _compact(piece, np.asarray((corners >= 0).all(axis=1) & (corners > 0).any(axis=1)))[0]


def _compact(surface: Surface, keep: Bool) -> tuple[Surface, NDArray[np.intp]]:
    """The triangles to keep with the vertices that they need, and those vertices' numbers before."""
    used = np.zeros(len(surface.rest_m), bool)
    used[surface.faces[keep]] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    kept = np.flatnonzero(used)
    piece = Surface(
        surface.rest_m[kept], surface.normal[kept], surface.place_m[kept], surface.arm_m[kept], surface.arm[kept],
        surface.skin[kept], number[surface.faces[keep]],
    )  # fmt: skip
    return piece, kept


def lay(piece: Surface, thickness_m: Float, least_m: Float | float, smoothings: int) -> Surface:
    """A piece moved out along its normals by (V,) metres and made smoother, as cloth that bridges hollows,
    but nowhere less than `least_m`.
    """
    moved_m = piece.rest_m + piece.normal * thickness_m[:, None]
    V = len(moved_m)
    edges = np.concatenate([piece.faces[:, [0, 1]], piece.faces[:, [1, 2]], piece.faces[:, [2, 0]]])
    border = _border(edges, V)
    ends, starts = edges.T
    count = np.maximum(np.bincount(ends, minlength=V), 1)[:, None]
    for _ in range(smoothings):
        mean_m = np.stack([np.bincount(ends, moved_m[starts, k], V) for k in range(3)], axis=1) / count
        moved_m = np.where(border[:, None], moved_m, (moved_m + mean_m) / 2)
    depth_m = ((moved_m - piece.rest_m) * piece.normal).sum(axis=1)
    moved_m = moved_m + piece.normal * np.maximum(least_m - depth_m, 0)[:, None]
    return replace(piece, rest_m=moved_m.astype(np.float32))


def _border(edges: Faces, V: int) -> Bool:
    """(V,) bool: whether a vertex has an edge that only one triangle has."""
    forth, back = edges[:, 0].astype(np.int64) * V + edges[:, 1], edges[:, 1].astype(np.int64) * V + edges[:, 0]
    alone = ~np.isin(forth, back)
    on_border = np.zeros(V, bool)
    on_border[edges[alone]] = True
    return on_border


def waves(rest_m: Float, rng: np.random.Generator, length_m: float, count: int = 6) -> Float:
    """(V,) float32 smooth noise of about unit variance: a sum of waves around a length, of a place at rest."""
    direction = rng.normal(size=(count, 3))
    direction *= 2 * np.pi / length_m / np.linalg.norm(direction, axis=1, keepdims=True)
    phase = rng.uniform(0, 2 * np.pi, count)
    out: Float = (np.sin(rest_m @ direction.T.astype(np.float32) + phase.astype(np.float32)).sum(axis=1)) * np.sqrt(2 / count)
    return out.astype(np.float32)


def grid_faces(rows: int, columns: int, closed: bool) -> Faces:
    """(F, 3) int32 triangles of a grid of vertices, row by row; the last column joins the first where closed.

    They face outwards where rows run down and columns run to the right as seen from outside.
    """
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    quads = np.stack([a, a + columns, b + columns, a, b + columns, b], axis=-1)
    return quads.reshape(-1, 3).astype(np.int32)


def hull_reach_m(flat_m: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) how far the convex hull of (., 2) points, which holds the origin, reaches in N directions.

    It is as exact as the directions are close to each other.
    """
    reach_m = (flat_m @ direction.T).max(axis=0)
    between = direction @ direction.T
    out: NDArray[np.float64] = np.where(between > 0.15, reach_m / np.maximum(between, 0.15), np.inf).min(axis=1)
    return out


def part_of(surface: Surface, material: NDArray[np.uint8] | int) -> Part:
    """A surface as a part, of one material or one a triangle."""
    return Part(surface.rest_m, surface.faces, surface.skin, np.broadcast_to(np.uint8(material), len(surface.faces)).copy())


def skin_of(V: int, **shares: Float | NDArray[np.float64] | float) -> Float:
    """(V, S) float32 shares of segments given by name, made to sum to 1."""
    skin = np.zeros((V, len(SEGMENTS)), np.float32)
    for name, share in shares.items():
        skin[:, SEGMENT[name]] = share
    return skin / skin.sum(axis=1, keepdims=True)


def join(parts: Sequence[Part], materials: Materials) -> Mesh:
    """One mesh of parts, in their order, each vertex with the segments that move it most."""
    start = np.cumsum([0, *(len(part.rest_m) for part in parts)])
    skin = np.concatenate([part.skin for part in parts])
    segment = np.argsort(-skin, axis=1, kind="stable")[:, :BONES]
    share = np.take_along_axis(skin, segment, axis=1)
    return Mesh(
        np.concatenate([part.rest_m for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, start, strict=False)]).astype(np.int32),
        segment.astype(np.uint8),
        share / share.sum(axis=1, keepdims=True),
        np.concatenate([part.material for part in parts]),
        materials,
    )
