"""The places where clips play: rooms, halls, streets, parks, with all that stands where nobody walks.

A place is made in its own axes, of which the back wall is along x, and turned about the world's origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.drawing.plate import Light
from tkm.synthetic.scenery import furniture as f
from tkm.synthetic.scenery.furniture import Piece, picture
from tkm.synthetic.scenery.houses import house
from tkm.synthetic.scenery.openings import door, panel, window
from tkm.synthetic.scenery.paints import accent_paint, colour, green, wall_paint, wood
from tkm.synthetic.scenery.shading import Air
from tkm.synthetic.scenery.solids import Finish, Solids, box, joined, placed, post, sheet, sheets, unshadowing
from tkm.synthetic.scenery.textures import Texture


@dataclass(frozen=True)
class Place:
    """Where a clip plays.

    solids     its walls and what stands along them, in the world
    ground     what the ground is made of
    air        sky and haze
    pieces     what clutter is found here
    yaw        by which the place is turned, counter-clockwise from above
    free_m     (2, 2) float64, in the place's axes: lowest and highest x and y between which clutter may stand
    """

    solids: Solids
    ground: Finish
    air: Air
    pieces: tuple[Callable[[np.random.Generator], Piece], ...]
    yaw: float
    free_m: Double


def plan_place(taken_m: Double, light: Light, rng: np.random.Generator) -> Place:
    """A place that suits the light and leaves room for all that is taken.

    Args: taken_m, (N, 2) float64 places on the ground that walls must keep behind or beside: people's paths and the camera.
    """
    sunny = light.hardness >= 0.6
    kinds = (_room, _hall, _street, _park)
    kind = kinds[int(rng.choice(4, p=(0, 0, 0.6, 0.4) if sunny else (0.35, 0.3, 0.2, 0.15)))]
    yaw = float(np.radians(rng.uniform(-25, 25) if kind in (_room, _hall) else rng.uniform(-14, 14)))
    cos, sin = np.cos(yaw), np.sin(yaw)
    own = taken_m @ np.array([[cos, -sin], [sin, cos]])
    low, high = own.min(axis=0), own.max(axis=0)
    return kind(low, high, light, yaw, rng)


def no_place() -> Place:
    """Nothing but the ground, for a photo's sake."""
    return Place(
        joined([]),
        Finish(),
        Air(np.ones(3), np.ones(3), 0.0, np.inf),
        f.ANYWHERE,
        0.0,
        np.array([[-6.0, -12.0], [6.0, 6.0]]),
    )


def _indoor_air(light: Light) -> Air:
    white = light.ambient.astype(np.float64) * 0.9
    return Air(white, white * 0.8, 0.0, np.inf)


def _outdoor_air(light: Light, rng: np.random.Generator) -> Air:
    """Blue where the sun is, grey where it is not; paler at the horizon."""
    total = light.ambient.astype(np.float64) + 0.3 * light.colour
    clear = np.clip((light.hardness - 0.15) / 0.5, 0, 1)
    zenith = total * (clear * np.array([0.30, 0.52, 1.0]) + (1 - clear) * np.array([1.10, 1.18, 1.28]))
    horizon = total * (clear * np.array([0.98, 1.12, 1.28]) + (1 - clear) * np.array([1.30, 1.32, 1.34]))
    return Air(
        zenith, horizon, float(rng.uniform(0.15, 0.6) if clear > 0.5 else rng.uniform(0.5, 0.95)), float(rng.uniform(700, 2500))
    )


def _turned(parts: list[Solids], yaw: float) -> Solids:
    return placed(joined(parts), (0.0, 0.0, 0.0), yaw)


def _patch(x0: float, y0: float, x1: float, y1: float, finish: Finish, lift: float = 0.004, start: float = 0.0) -> Solids:
    """A part of the ground of another make."""
    return sheet([(x0, y0, lift), (x1, y0, lift), (x1, y1, lift), (x0, y1, lift)], finish, level=True, start=start)


def _walls(
    low: Double, high: Double, rng: np.random.Generator, side_m: tuple[float, float], back_m: tuple[float, float]
) -> Double:
    """(2, 2): lowest and highest x and y of the inside of a building around all that is taken."""
    left = min(low[0] - 1.0, -rng.uniform(*side_m))
    right = max(high[0] + 1.0, rng.uniform(*side_m))
    return np.array([[left, low[1] - 1.2], [right, max(high[1] + 1.0, rng.uniform(*back_m))]])


def _around(walls: Double, build: Callable[[float, int], list[Solids]]) -> list[Solids]:
    """The four walls, each built from x = 0 to its length, facing -y, and put where it belongs; number 0 is the back."""
    (left, front), (right, back) = walls
    wide, deep = right - left, back - front
    corners = ((left, back, 0.0), (right, back, -np.pi / 2), (right, front, np.pi), (left, front, np.pi / 2))
    lengths = (wide, deep, wide, deep)
    return [
        placed(joined(build(length, number)), (x, y, 0.0), yaw)
        for number, (length, (x, y, yaw)) in enumerate(zip(lengths, corners, strict=True))
    ]


def _room(low: Double, high: Double, light: Light, yaw: float, rng: np.random.Generator) -> Place:
    """A living room, an office or a shop."""
    walls = _walls(low, high, rng, (3.5, 6.0), (3.0, 6.0))
    height = rng.uniform(2.75, 3.5)
    paint = Finish(Texture.PLAIN, wall_paint(rng))
    accent = (
        Finish(Texture.PLAIN, accent_paint(rng)),
        Finish(Texture.PLAIN, accent_paint(rng)),
        Finish(Texture.BRICK, (0.32, 0.15, 0.10)),
        Finish(Texture.BRICK, (0.6, 0.58, 0.55)),
        Finish(Texture.PLANKS, wood(rng)),
        paint,
        paint,
    )
    back = accent[rng.integers(len(accent))]
    skirting = Finish(tint=(0.65, 0.65, 0.62)) if rng.random() < 0.6 else Finish(Texture.WOOD, wood(rng))
    dado = rng.random() < 0.3

    def build(length: float, number: int) -> list[Solids]:
        parts = [
            unshadowing(panel(0, length, 0, height, 0, back if number == 0 else paint)),
            box((0, -0.02, 0), (length, 0, 0.1), skirting),
        ]
        if dado:
            parts.append(box((0, -0.012, 0.1), (length, 0, 1.0), Finish(Texture.PLANKS, skirting.tint)))
        x, doors = rng.uniform(0.2, 1.0), 0
        while number != 2 and x < length - 1.6:
            step = rng.uniform(0.9, 1.9)
            match int(rng.integers(8)):
                case 0 | 1:
                    step = max(step, 1.4)
                    parts += window(x, 0.9, min(step * 0.75, 1.9), height - 1.35, light, rng)
                case 2 if not doors:
                    parts += door(x, rng)
                    step, doors = max(step, 1.4), 1
                case 3 | 4:
                    for _ in range(int(rng.integers(1, 3))):
                        wide = rng.uniform(0.35, 0.8)
                        parts.append(picture((x, -0.015, rng.uniform(1.2, 1.5)), wide, wide * rng.uniform(0.8, 1.4), rng))
                        x += wide + 0.15
                case _:
                    piece = (f.shelf, f.cabinet, f.plant, f.sofa, f.cabinet, f.floor_lamp)[rng.integers(6)](rng)
                    parts.append(placed(piece.solids, (x + piece.half_m[0], -piece.half_m[1] - 0.04, 0)))
                    if piece.height_m < 1.0 and rng.random() < 0.7:
                        parts.append(picture((x + piece.half_m[0] - 0.35, -0.015, 1.35), 0.7, 0.6, rng))
                    step = max(step, 2 * piece.half_m[0] + 0.3)
            x += step
        return parts

    (left, front), (right, rear) = walls
    parts = _around(walls, build)
    ceiling = Finish(Texture.TILES if rng.random() < 0.4 else Texture.PLAIN, (0.68, 0.68, 0.66))
    parts.append(
        unshadowing(sheet([(left, rear, height), (right, rear, height), (right, front, height), (left, front, height)], ceiling))
    )
    lamp = Finish(tint=(0.9, 0.88, 0.82), glow=1.3)
    for x in np.arange(left + 1.2, right - 1, 2.4):
        parts += [
            unshadowing(box((x - 0.3, y - 0.3, height - 0.04), (x + 0.3, y + 0.3, height), lamp))
            for y in np.arange(rear - 1.5, front, -2.6)
        ]
    floors = (
        Finish(Texture.PLANKS, wood(rng), gloss=0.10),
        Finish(Texture.PLANKS, wood(rng), gloss=0.06),
        Finish(Texture.TILES, colour(rng, 0.6), gloss=0.12),
        Finish(Texture.CARPET, colour(rng, 0.35)),
    )
    if rng.random() < 0.6:
        x, y, wide, deep = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.9, 1.8), rng.uniform(0.7, 1.3)
        parts.append(_patch(x - wide, y - deep, x + wide, y + deep, Finish(Texture.CARPET, accent_paint(rng))))
    free = walls + np.array([[0.9, 0.9], [-0.9, -1.2]])
    return Place(_turned(parts, yaw), floors[rng.integers(len(floors))], _indoor_air(light), f.INDOOR, yaw, free)


def _hall(low: Double, high: Double, light: Light, yaw: float, rng: np.random.Generator) -> Place:
    """A gym, or a stage with curtains."""
    walls = _walls(low, high, rng, (6.0, 9.0), (4.0, 8.5))
    (left, front), (right, rear) = walls
    height = rng.uniform(4.8, 7.0)
    upper = Finish(
        *((Texture.CONCRETE, (0.5, 0.5, 0.48)), (Texture.BRICK, (0.55, 0.5, 0.45)), (Texture.PLAIN, (0.55, 0.53, 0.48)))[
            rng.integers(3)
        ]
    )
    lower = Finish(
        *((Texture.PLANKS, wood(rng)), (Texture.FABRIC, colour(rng, 0.3)), (Texture.CONCRETE, colour(rng, 0.4)))[rng.integers(3)]
    )
    stage = rng.random() < 0.3
    velvet = Finish(
        Texture.CURTAIN, ((0.28, 0.03, 0.03), (0.05, 0.08, 0.20), (0.14, 0.14, 0.15), (0.30, 0.23, 0.12))[rng.integers(4)]
    )

    def build(length: float, number: int) -> list[Solids]:
        if stage:
            return [unshadowing(panel(0, length, 0, height, 0, velvet))]
        parts = [
            unshadowing(panel(0, length, 2.1, height, 0, upper)),
            unshadowing(panel(0, length, 0, 2.1, -0.06, lower)),
            box((0, -0.08, 2.08), (length, 0, 2.16), Finish(Texture.WOOD, wood(rng))),
        ]
        for x in np.arange(0.8, length - 2, rng.uniform(2.2, 3.4)):
            parts += [
                panel(x, x + 1.7, 3.1, 4.3, -0.01, Finish(tint=(0.8, 0.88, 0.95), glow=0.9)),
                box((x + 0.83, -0.04, 3.1), (x + 0.87, 0, 4.3), Finish(tint=(0.3, 0.3, 0.3))),
                box((x, -0.08, 3.03), (x + 1.7, 0, 3.1), Finish(tint=(0.5, 0.5, 0.5))),
            ]
        x, doors = rng.uniform(0.5, 2.0), 0
        bar = Finish(Texture.WOOD, (0.40, 0.26, 0.14))
        while number != 2 and x < length - 2.2:
            match int(rng.integers(5)):
                case 0:
                    parts += [box((x, -0.18, 0.15 + 0.14 * k), (x + 1.8, -0.14, 0.18 + 0.14 * k), bar) for k in range(17)]
                    parts += [box((x + s - 0.03, -0.2, 0), (x + s + 0.03, -0.06, 2.55), bar) for s in (0.0, 0.9, 1.8)]
                case 1:
                    piece = f.bench(rng)
                    parts.append(placed(piece.solids, (x + piece.half_m[0], -0.4, 0)))
                case 2:
                    wide = rng.uniform(1.0, 1.8)
                    parts.append(picture((x, -0.075, 0.95), wide, rng.uniform(0.6, 1.0), rng))
                case 3:
                    mat = Finish(Texture.FABRIC, colour(rng, 0.4))
                    parts += [
                        box((x, -0.5, 0.22 * k), (x + 1.6, -0.07, 0.22 * k + 0.20), mat) for k in range(int(rng.integers(1, 4)))
                    ]
                case _ if not doors:
                    doors = 2
                    parts += [placed(joined(door(0, rng)), (x + 1.1 * n, -0.06, 0)) for n in range(doors)]
            x += rng.uniform(2.3, 4.0)
        return parts

    parts = _around(walls, build)
    dark = Finish(Texture.CORRUGATED, (0.10, 0.10, 0.11) if stage else (0.35, 0.35, 0.36))
    parts.append(
        unshadowing(sheet([(left, rear, height), (right, rear, height), (right, front, height), (left, front, height)], dark))
    )
    parts += [
        unshadowing(box((left, y - 0.12, height - 0.5), (right, y + 0.12, height - 0.1), Finish(tint=(0.25, 0.25, 0.26))))
        for y in np.arange(rear - 1, front, -3.0)
    ]
    lines = [(x, wide) for x, wide in ((rng.uniform(-3, -1), 0.05), (rng.uniform(0, 3), 0.05))]
    if stage:
        return Place(
            _turned(parts, yaw),
            Finish(Texture.PLANKS, (0.24, 0.16, 0.10) if rng.random() < 0.5 else wood(rng), gloss=0.12),
            _indoor_air(light),
            f.HALL,
            yaw,
            walls + np.array([[0.8, 0.8], [-0.8, -0.8]]),
        )
    parts += [
        unshadowing(
            box((x - 0.15, y - 0.9, height - 0.6), (x + 0.15, y + 0.9, height - 0.52), Finish(tint=(0.95, 0.95, 0.9), glow=1.4))
        )
        for x in np.arange(left + 2, right, 3.2)
        for y in np.arange(rear - 2.5, front, -4.0)
    ]
    paints = [colour(rng, 0.6) for _ in range(2)] + [(0.75, 0.75, 0.72)]
    for x, wide in lines:
        parts.append(_patch(x - wide / 2, front, x + wide / 2, rear - 0.8, Finish(tint=paints[rng.integers(3)])))
    for y in (rear - rng.uniform(0.8, 2.0), rng.uniform(-2, 2)):
        parts.append(_patch(left + 0.5, y - 0.025, right - 0.5, y + 0.025, Finish(tint=paints[rng.integers(3)]), lift=0.006))
    angle, ring = np.linspace(0, 2 * np.pi, 41), rng.uniform(1.2, 2.0)
    circle = np.stack([ring * np.cos(angle), ring * np.sin(angle), np.full(41, 0.005)], axis=-1)
    line = Finish(tint=paints[2])
    inner = circle * [(ring - 0.05) / ring, (ring - 0.05) / ring, 1]
    parts.append(sheets(np.stack([inner[:-1], inner[1:], circle[1:], circle[:-1]], axis=1)[:, ::-1], line, level=True))
    floors = (
        Finish(Texture.PLANKS, (0.42, 0.26, 0.12), gloss=0.16),
        Finish(Texture.PLAIN, colour(rng, 0.35), gloss=0.08),
        Finish(Texture.PLANKS, wood(rng), gloss=0.12),
    )
    return Place(
        _turned(parts, yaw),
        floors[rng.integers(3)],
        _indoor_air(light),
        f.HALL,
        yaw,
        walls + np.array([[0.9, 0.9], [-0.9, -1.0]]),
    )


def _street(low: Double, high: Double, light: Light, yaw: float, rng: np.random.Generator) -> Place:
    """A street or a square before a row of houses."""
    square = rng.random() < 0.5
    kerb = high[1] + 0.9
    back = max(kerb + rng.uniform(3.2, 4.5), rng.uniform(7, 13 if square else 9))
    parts: list[Solids] = []
    reach = 3.0 * back + 8
    x = -reach
    while x < reach:
        wide = rng.uniform(5, 11)
        if rng.random() < 0.88:
            parts.append(placed(house(wide, int(rng.integers(1, 5)), rng), (x, back + rng.choice([0.0, 0.0, 0.6]), 0.0)))
        else:
            parts.append(placed(f.tree(rng).solids, (x + wide / 2, back + 3, 0)))
        x += wide
    # Through gaps one sees other walls, not the horizon.
    tall = Finish(Texture.BRICK, (0.40, 0.33, 0.26))
    parts += [unshadowing(box((x, back + 16, 0), (x + 12, back + 20, rng.uniform(6, 13)), tall)) for x in range(-48, 48, 12)]
    slabs = Finish(Texture.PAVING, tuple(rng.uniform(0.25, 0.42) * np.array([1.0, 0.97, 0.92])))
    ground = slabs if square else Finish(Texture.ASPHALT, tuple(rng.uniform(0.08, 0.18) * np.array([1.0, 1.0, 1.02])))
    if square:
        band = Finish(Texture.PAVING, tuple(np.array(slabs.tint) * rng.uniform(0.5, 0.8)))
        parts += [_patch(-40, y, 40, y + 0.5, band) for y in np.arange(back - 1.5, low[1], -rng.uniform(2.5, 4))]
    else:
        parts += [
            _patch(-60, kerb, 60, back + 8, slabs),
            _patch(-60, kerb - 0.12, 60, kerb, Finish(Texture.CONCRETE, (0.4, 0.4, 0.38)), lift=0.005),
        ]
        paint = Finish(Texture.ASPHALT, (0.6, 0.6, 0.57))
        y = rng.uniform(-2.5, 1.0)
        parts += [_patch(a, y, a + 2.0, y + 0.13, paint) for a in np.arange(-40, 40, 4.0)]
    x = -20 + rng.uniform(0, 4)
    while x < 20:
        piece = (f.car, f.car, f.tree, f.lamp_post, f.bin_, f.bench, f.planter, f.tree, f.signboard)[rng.integers(9)](rng)
        parts.append(
            placed(
                piece.solids,
                (x, kerb + max(piece.half_m[1], 0.25) + 0.05, 0),
                0.0 if piece.height_m > 1.5 or rng.random() < 0.5 else np.pi,
            )
        )
        x += piece.half_m[0] * 2 + rng.uniform(0.8, 4.0)
    free = np.array([[-9.0, -12.0], [9.0, kerb - 1.0]])
    return Place(_turned(parts, yaw), ground, _outdoor_air(light, rng), f.STREET, yaw, free)


def _park(_low: Double, high: Double, light: Light, yaw: float, rng: np.random.Generator) -> Place:
    """A lawn with paths, trees, hedges, and hills behind."""
    back = max(high[1] + 1.5, rng.uniform(4, 8))
    parts: list[Solids] = []
    gravel = Finish(Texture.ASPHALT, (0.40, 0.33, 0.24)) if rng.random() < 0.6 else Finish(Texture.PAVING, (0.38, 0.36, 0.32))
    y = rng.uniform(-2.0, 2.0)
    wide = rng.uniform(1.2, 3.0)
    path = _patch(-40, y - wide / 2, 40, y + wide / 2, gravel)
    parts.append(placed(path, (0, 0, 0), float(rng.uniform(-0.5, 0.5))))
    if rng.random() < 0.4:
        parts.append(placed(path, (0, 0, 0.002), float(rng.uniform(0.9, 2.2))))
    # Trees near by are full of leaves, those far behind need few.
    for distance, count, leaves in ((back + 1.0, 5, 900), (back + 8, 9, 260), (back + 22, 16, 110), (back + 45, 26, 60)):
        spread = distance * 1.3 + 5
        for x in np.linspace(-spread, spread, count) + rng.uniform(-1.5, 1.5, count):
            if rng.random() < 0.75:
                size = 1.0 if leaves == 900 else rng.uniform(1.2, 3.0)
                piece = f.bush(rng, size, 6 * leaves) if rng.random() < 0.4 else f.tree(rng, leaves)
                parts.append(placed(piece.solids, (x, distance + rng.uniform(0, 0.12 * distance), 0), float(rng.uniform(0, 6))))
    if rng.random() < 0.5:
        h = rng.uniform(0.7, 1.6)
        gap = rng.uniform(-3, 3)
        hedge = Finish(Texture.HEDGE, green(rng))
        parts += [box((a, back, 0), (b, back + 0.7, h), hedge) for a, b in ((-30, gap - 1.2), (gap + 1.2, 30))]
    elif rng.random() < 0.6:
        slat = Finish(Texture.WOOD, wood(rng))
        parts += [box((-25, back + 0.2, z), (25, back + 0.25, z + 0.12), slat) for z in (0.35, 0.8)]
        parts += [box((x - 0.06, back + 0.15, 0), (x + 0.06, back + 0.3, 1.1), slat) for x in np.arange(-25, 25, 1.8)]
    for distance, height in ((70, 2.5), (110, 6)):
        x = np.linspace(-150, 150, 41)
        ridge = height * (1 + 0.35 * np.sin(x * 0.05 + rng.uniform(0, 6)) + 0.15 * np.sin(x * 0.17 + rng.uniform(0, 6)))
        wooded = Finish(tint=green(rng))  # leaves would show as dots
        foot, crest = (np.stack([x, np.full(41, float(distance)), z], axis=-1) for z in (np.zeros(41), ridge))
        parts.append(unshadowing(sheets(np.stack([foot[:-1], foot[1:], crest[1:], crest[:-1]], axis=1), wooded)))
    for _ in range(int(rng.integers(0, 3))):
        piece = (f.bench, f.bin_, f.lamp_post)[rng.integers(3)](rng)
        parts.append(placed(piece.solids, (rng.uniform(-5, 5), back - 0.4, 0)))
    post_ = Finish(tint=(0.1, 0.1, 0.1))
    parts.append(placed(post(0.05, 0, 3.2, post_), (rng.uniform(-9, 9), back + 4, 0)))
    ground = Finish(Texture.GRASS, tuple(np.array([0.13, 0.20, 0.05]) * rng.uniform(0.75, 1.3) * np.exp(rng.normal(0, 0.08, 3))))
    return Place(_turned(parts, yaw), ground, _outdoor_air(light, rng), f.PARK, yaw, np.array([[-9.0, -12.0], [9.0, back - 0.8]]))
