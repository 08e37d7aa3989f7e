"""Hair, hats and faces.

Places are those of the mean body: eyes at (+-0.031, -0.135, 0.731), ears at (+-0.074, -0.05, 0.71), the mouth at z = 0.66 m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.people.surface import Part, Surface, cut, grid_faces, lay, part_of, skin_of, waves
from tkm.types import Float

HAIR = ("bald", "buzz", "short", "quiff", "curly", "afro", "bob", "long", "ponytail", "bun")
HATS = ("none", "cap", "beanie", "scarf")
_LINE_Y = np.array([-0.16, -0.135, -0.11, -0.09, -0.078, -0.068, -0.056, -0.03, 0.0, 0.06])
_LINE_Z = np.array([0.805, 0.795, 0.785, 0.768, 0.74, 0.705, 0.70, 0.69, 0.645, 0.635])
# Least and greatest distance from the scalp, at the sides and on top.
_DEPTH_M = {
    "buzz": (0.002, 0.003), "short": (0.006, 0.016), "quiff": (0.004, 0.032), "curly": (0.018, 0.034), "afro": (0.045, 0.06),
    "bob": (0.013, 0.02), "long": (0.011, 0.018), "ponytail": (0.006, 0.01), "bun": (0.006, 0.01),
}  # fmt: skip


def scalp(surface: Surface) -> Float:
    """(V,) metres inside the hair line, negative outside; the ears are outside."""
    x, y, z = surface.place_m.T
    ear = (np.hypot((y + 0.05) / 0.019, (z - 0.708) / 0.033) - 1) * 0.02
    ear = np.where(np.abs(x) > 0.05, ear, 1.0)
    inside = np.minimum(z - np.interp(y, _LINE_Y, _LINE_Z), ear)
    inside = np.where(surface.skin[:, SEGMENT["head"]] + surface.skin[:, SEGMENT["neck"]] > 0.6, inside, -1.0)
    return inside.astype(np.float32)


def make_hair(surface: Surface, style: str, hat: str, size: float, number: int, rng: np.random.Generator) -> list[Part]:
    """The hair of a style of HAIR, as far as a hat of HATS leaves it in view."""
    if style == "bald" or hat == "scarf":
        return []
    inside = scalp(surface)
    if hat != "none":
        inside = np.minimum(inside, 0.012 - hat_region(surface, hat))
    piece = cut(surface, inside)
    side_m, top_m = _DEPTH_M[style]
    y, z = piece.place_m[:, 1:].T
    top = np.clip((z - 0.74) / 0.08, 0, 1)
    if style == "quiff":
        top = top * np.clip(0.55 - (y + 0.06) / 0.12, 0.3, 1)
    rough = {"curly": 0.35, "afro": 0.12, "buzz": 0.0}.get(style, 0.15)
    curl_m = (0.04 if style == "curly" else 0.09) * size
    depth_m = (side_m + (top_m - side_m) * top) * (1 + rough * waves(piece.rest_m, rng, curl_m))
    parts = [part_of(lay(piece, (depth_m * size).astype(np.float32), 0.0015, 1 if style == "afro" else 0), number)]
    covered_m = 0.0 if hat == "none" else 0.02 * size
    if style in ("bob", "long"):
        end_m = 0.635 if style == "bob" else float(rng.uniform(0.44, 0.56))
        parts.append(_curtain(surface, end_m, side_m * size - covered_m * 0.4, size, number, rng))
    elif style == "ponytail":
        parts.append(_tail(surface, size, number, float(rng.uniform(0.16, 0.34)) * size))
    elif style == "bun":
        parts.append(_ball(surface, np.array([0, 0.045, float(rng.uniform(0.77, 0.84))]), 0.036 * size, number))
    return parts


def _spot(surface: Surface, place_m: NDArray[np.float64]) -> Float:
    """(3,) where a place of the mean body is on this one, by the nearest vertices."""
    distance = ((surface.place_m - place_m) ** 2).sum(axis=1)
    near = np.argpartition(distance, 8)[:8]
    spot: Float = surface.rest_m[near].mean(axis=0) + (place_m - surface.place_m[near].mean(axis=0))
    return spot


def _curtain(surface: Surface, end_m: float, depth_m: float, size: float, number: int, rng: np.random.Generator) -> Part:
    """Hair that hangs from the crown over the sides and the back of the head, down to a height on the mean body.

    It ends unevenly.
    """
    rows, columns = (7, 8), 33  # on the head, and hanging
    head = surface.rest_m[surface.skin[:, SEGMENT["head"]] > 0.5]
    back = surface.rest_m[(surface.arm < 0.3) & (np.abs(surface.place_m[:, 0]) < 0.12)]
    temple, chin, end = (_spot(surface, np.array([0, 0.03, z]))[2] for z in (0.735, 0.62, end_m))
    middle_y = float(_spot(surface, np.array([0.07, -0.05, 0.71]))[1])
    angle = np.linspace(1, -1, columns)
    rise = np.concatenate([np.sin(np.linspace(np.pi / 2, 0, rows[0], endpoint=False)), np.zeros(rows[1])])
    on_head = temple + (head[:, 2].max() - 0.002 - temple) * rise
    half = []
    for z in on_head:
        near = head[np.abs(head[:, 2] - z) < 0.014 * size]
        half.append((np.abs(near[:, 0]).max(), near[:, 1].max() - middle_y))
    half_x, half_y = (np.maximum.accumulate(np.array(half)) * np.sqrt(1 - 0.8 * rise[:, None] ** 8)).T[:, :, None]
    out_m = depth_m + (0.007 + 0.006 * rise) * size
    level = on_head + out_m * rise
    level[rows[0] :] = np.linspace(temple, end, rows[1])
    flat_m = (out_m * np.sqrt(1 - rise**2))[:, None]
    below = np.clip((chin - level) / (0.12 * size), 0, 1)[:, None]  # below the chin the hair gathers on the back
    turn = angle * (np.deg2rad(112) * (1 - 0.33 * below))
    fall = np.clip((temple - level) / (temple - end), 0, 1)[:, None]
    strands = sum(np.sin(angle * count + rng.uniform(0, 2 * np.pi)) for count in (9, 15, 23))
    wide = 1 + (0.008 + 0.012 * fall) * strands * (1 - rise[:, None]) - 0.06 * fall
    x = (half_x + flat_m) * np.sin(turn) * wide
    y = middle_y + (half_y + flat_m) * np.cos(turn) * wide
    wall = np.array([back[np.abs(back[:, 2] - z) < 0.03 * size, 1].max(initial=-1.0) for z in level])[:, None]
    behind = np.clip(np.cos(turn) * 1.5, 0, 1)
    y = np.where(level[:, None] < chin, np.maximum(y, (wall + 0.012 * size) * behind + y * (1 - behind)), y)
    ragged = rng.normal(0, 0.004 * size, columns) + 0.004 * size * strands + 0.02 * size * np.abs(angle) ** 3
    z = level[:, None] + fall**2 * ragged
    rest_m = np.stack([x, y, z], axis=2).reshape(-1, 3).astype(np.float32)
    faces = grid_faces(sum(rows), columns, closed=False)
    chest = np.clip((chin - rest_m[:, 2]) / (0.14 * size), 0, 0.9)
    skin = skin_of(len(rest_m), head=1 - chest, chest=chest)
    return Part(rest_m, faces, skin, np.full(len(faces), number, np.uint8))


def _tail(surface: Surface, size: float, number: int, length_m: float) -> Part:
    """A pony tail: a tube from the back of the head down."""
    rows, columns = 9, 8
    start = _spot(surface, np.array([0, 0.04, 0.77]))
    t = np.linspace(0, 1, rows)
    back_m = (0.055 * np.sin(np.pi * np.minimum(t * 1.6, 0.75)) + 0.004) * size
    middle = start + np.stack([0 * t, back_m, 0.02 * size * (1 - t) - t * length_m], axis=1)
    radius = 0.026 * size * np.array([0.45, 0.75, 1.0, 1.05, 1.0, 0.9, 0.75, 0.5, 0.1])
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    rest_m = (middle[:, None] + radius[:, None, None] * ring).reshape(-1, 3).astype(np.float32)
    chest = np.repeat(np.clip((t - 0.35) * 0.8, 0, 0.5), columns)
    faces = grid_faces(rows, columns, closed=True)
    return Part(rest_m, faces, skin_of(len(rest_m), head=1 - chest, chest=chest), np.full(len(faces), number, np.uint8))


def _ball(surface: Surface, place_m: NDArray[np.float64], radius_m: float, number: int) -> Part:
    rows, columns = 7, 10
    polar, angle = np.linspace(0.05, np.pi - 0.05, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = np.stack(
        [np.outer(np.sin(polar), np.cos(angle)), np.outer(np.sin(polar), np.sin(angle)), np.outer(np.cos(polar), 1 + 0 * angle)],
        2,
    )
    rest_m = (_spot(surface, place_m) + radius_m * ring.reshape(-1, 3)).astype(np.float32)
    faces = grid_faces(rows, columns, closed=True)
    return Part(rest_m, faces, skin_of(len(rest_m), head=1.0), np.full(len(faces), number, np.uint8))


def hat_region(surface: Surface, hat: str) -> Float:
    """(V,) metres inside the edge of a cap, a beanie or a head scarf, negative outside."""
    x, y, z = surface.place_m.T
    head = surface.skin[:, SEGMENT["head"]]
    if hat == "scarf":
        face = (np.hypot(x / 0.062, (z - 0.705) / 0.085) - 1) * 0.06
        inside = np.minimum(np.where(y < -0.065, face, 1.0), z - 0.575 - 0.4 * np.maximum(np.abs(x) - 0.06, 0))
        return np.where(head + surface.skin[:, SEGMENT["neck"]] > 0.25, inside, -1.0).astype(np.float32)
    edge = (
        np.interp(y, [-0.15, 0.04], [0.775, 0.755]) if hat == "cap" else np.interp(y, [-0.15, -0.06, 0.04], [0.775, 0.74, 0.71])
    )
    return np.where(head > 0.6, z - edge, -1.0).astype(np.float32)


def make_hat(surface: Surface, hat: str, size: float, number: int) -> list[Part]:
    """A hat of HATS."""
    if hat == "none":
        return []
    piece = cut(surface, hat_region(surface, hat))
    z = piece.place_m[:, 2]
    if hat == "cap":
        return [part_of(lay(piece, np.full(len(z), 0.018 * size, np.float32), 0.01, 6), number), _visor(surface, size, number)]
    if hat == "beanie":
        depth_m = 0.016 + 0.025 * np.clip((z - 0.8) / 0.04, 0, 1) + 0.006 * (z < 0.765)
        return [part_of(lay(piece, (depth_m * size).astype(np.float32), 0.01, 2), number)]
    return [part_of(lay(piece, np.full(len(z), 0.02 * size, np.float32), 0.01, 10), number)]


def _visor(surface: Surface, size: float, number: int) -> Part:
    rows, columns = 4, 11
    front = _spot(surface, np.array([0, -0.152, 0.778]))
    t, angle = np.linspace(0, 1, rows)[:, None], np.linspace(-1.25, 1.25, columns)
    x = 0.074 * size * np.sin(angle) * (1 + 0.05 * t)
    y = 0.09 * size * (1 - np.cos(angle)) - t * 0.075 * size * np.cos(angle) ** 0.8 + 0.006 * size
    z = -0.02 * t * size - 0.018 * size * np.sin(angle) ** 2 + 0.009 * size
    rest_m = (front + np.stack(np.broadcast_arrays(x, y, z), axis=2)).reshape(-1, 3).astype(np.float32)
    faces = grid_faces(rows, columns, closed=False)
    return Part(rest_m, faces, skin_of(len(rest_m), head=1.0), np.full(len(faces), number, np.uint8))


def brows(surface: Surface, number: int) -> Part:
    """Both eyebrows, laid on the skin."""
    x, y, z = surface.place_m.T
    along = (np.abs(x) - 0.035) / 0.02
    arc = 0.7525 - 0.0045 * np.maximum(along, 0) ** 2 - 0.001 * np.minimum(along, 0) ** 2
    inside = np.minimum((1 - np.abs(along)) * 0.02, 0.0033 * (1 - 0.3 * along) - np.abs(z - arc))
    piece = cut(surface, np.where((y < -0.09) & (surface.skin[:, SEGMENT["head"]] > 0.9), inside, -1.0).astype(np.float32))
    return part_of(lay(piece, np.full(len(piece.arm), 0.002, np.float32), 0.0015, 0), number)


def glasses(surface: Surface, size: float, number: int) -> Part:
    """A frame around both eyes, and its temples."""
    points, faces = [], []
    for sign in (-1, 1):
        eye = _spot(surface, np.array([sign * 0.032, -0.141, 0.731]))
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        for radius in (1.0, 0.8):
            ring = np.stack([0.027 * np.cos(angle), np.full(14, -0.012), 0.021 * np.sin(angle)], axis=1) * [radius, 1, radius]
            points.append(eye + ring * size)
        band = grid_faces(2, 14, closed=True) + 28 * (sign > 0)
        faces.append(band)
    temple = []
    for sign in (-1, 1):
        hinge = _spot(surface, np.array([sign * 0.032, -0.141, 0.735])) + np.array([sign * 0.026, -0.012, 0.0]) * size
        ear = _spot(surface, np.array([sign * 0.078, -0.055, 0.733])) + np.array([sign * 0.004, 0, 0]) * size
        temple.append(np.stack([hinge, hinge - [0, 0, 0.005 * size], ear, ear - [0, 0, 0.005 * size]]))
        band = np.array([[0, 1, 3], [0, 3, 2]], np.int32) + 56 + 4 * (sign > 0)
        faces.append(band)
    rest_m = np.concatenate(points + temple).astype(np.float32)
    triangles = np.concatenate(faces).astype(np.int32)
    return Part(rest_m, triangles, skin_of(len(rest_m), head=1.0), np.full(len(triangles), number, np.uint8))


def lips(middles: Float) -> NDArray[np.bool_]:
    """(F,) bool: triangles of the lips, by their middles on the mean body."""
    x, y, z = middles.T
    upper = 0.672 - 0.0095 * (x / 0.026) ** 2
    lower = 0.6515 + 0.0085 * (x / 0.026) ** 2
    return (np.abs(x) < 0.026) & (y < -0.125) & (z < upper) & (z > lower)


def beard(middles: Float) -> NDArray[np.bool_]:
    """(F,) bool: triangles where a beard grows, by their middles on the mean body."""
    x, y, z = middles.T
    cheek = np.interp(np.abs(x), [0.0, 0.02, 0.03, 0.05, 0.07], [0.683, 0.68, 0.672, 0.672, 0.71])
    under = 0.618 + 0.25 * np.maximum(y + 0.12, 0)
    return (y < -0.055) & (z < cheek) & (z > under - 0.006) & (np.abs(x) < 0.075) & ~lips(middles)
