"""Things that stand about in scenes: furniture, posts, plants, cars, and what people sit on.

Each is made about its own origin on the ground, and its front faces -y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tkm.synthetic.motion.motion import Seat
from tkm.synthetic.scenery.paints import RGB, colour, green, wood
from tkm.synthetic.scenery.solids import Finish, Solids, box, extruded, foliage, joined, placed, post, sheet
from tkm.synthetic.scenery.textures import PICTURES_SIDE, Texture


@dataclass(frozen=True)
class Piece:
    """A thing and the box that it takes: half its width (x) and depth (y), and its height."""

    solids: Solids
    half_m: tuple[float, float]
    height_m: float


def pillar(rng: np.random.Generator) -> Piece:
    """A round or square pillar to above the picture."""
    r, high = rng.uniform(0.13, 0.26), rng.uniform(2.7, 3.6)
    finish = Finish(
        *((Texture.CONCRETE, colour(rng, 0.5)), (Texture.PLAIN, colour(rng)), (Texture.BRICK, (0.3, 0.14, 0.09)))[rng.integers(3)]
    )
    foot = Finish(Texture.PLAIN, (0.1, 0.1, 0.1))
    if rng.random() < 0.5:
        return Piece(joined([post(r, 0, high, finish), post(r + 0.05, 0, 0.12, foot)]), (r + 0.05, r + 0.05), high)
    return Piece(
        joined([box((-r, -r, 0), (r, r, high), finish), box((-r - 0.03, -r - 0.03, 0), (r + 0.03, r + 0.03, 0.1), foot)]),
        (r + 0.03, r + 0.03),
        high,
    )


def table(rng: np.random.Generator) -> Piece:
    """A table, often with things on it."""
    x, y, z = rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.45), rng.uniform(0.70, 0.78)
    top = Finish(Texture.WOOD, wood(rng) if rng.random() < 0.7 else colour(rng), gloss=0.08)
    leg = Finish(Texture.WOOD, top.tint) if rng.random() < 0.5 else Finish(tint=(0.08, 0.08, 0.09), gloss=0.2)
    parts = [box((-x, -y, z - 0.04), (x, y, z), top)]
    parts += [
        box((i * (x - 0.08) - 0.03, j * (y - 0.08) - 0.03, 0), (i * (x - 0.08) + 0.03, j * (y - 0.08) + 0.03, z - 0.04), leg)
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    if rng.random() < 0.4:
        parts.append(box((-x + 0.05, y - 0.06, 0.25), (x - 0.05, y - 0.04, z - 0.04), top))
    height = z
    for _ in range(int(rng.integers(0, 5))):
        w, d, h = rng.uniform(0.05, 0.18), rng.uniform(0.04, 0.12), rng.uniform(0.02, 0.30)
        thing = (
            box((-w, -d, 0), (w, d, h), Finish(Texture.PLAIN, colour(rng), gloss=0.05))
            if rng.random() < 0.6
            else post(d, 0, h, Finish(Texture.PLAIN, colour(rng), gloss=0.15))
        )
        parts.append(placed(thing, (rng.uniform(-x + 0.2, x - 0.2), rng.uniform(-y + 0.15, y - 0.15), z), rng.uniform(0, np.pi)))
        height = max(height, z + h)
    return Piece(joined(parts), (x, y), height)


def bench(rng: np.random.Generator) -> Piece:
    """A park bench with a back, or without."""
    x = rng.uniform(0.6, 0.9)
    slat, iron = Finish(Texture.WOOD, wood(rng)), Finish(tint=(0.05, 0.05, 0.05), gloss=0.15)
    parts = [box((-x, -0.22 + 0.15 * i, 0.42), (x, -0.10 + 0.15 * i, 0.45), slat, start=0.3 * i) for i in range(3)]
    parts += [box((s * (x - 0.15) - 0.03, -0.2, 0), (s * (x - 0.15) + 0.03, 0.2, 0.42), iron) for s in (-1, 1)]
    height = 0.45
    if rng.random() < 0.7:
        parts += [box((-x, 0.22, 0.52 + 0.16 * i), (x, 0.25, 0.64 + 0.16 * i), slat, start=0.2 * i) for i in range(2)]
        parts += [box((s * (x - 0.15) - 0.03, 0.2, 0), (s * (x - 0.15) + 0.03, 0.24, 0.80), iron) for s in (-1, 1)]
        height = 0.80
    return Piece(joined(parts), (x, 0.25), height)


def crates(rng: np.random.Generator) -> Piece:
    """One to three cardboard or wooden boxes on each other."""
    parts, z, w = [], 0.0, rng.uniform(0.25, 0.40)
    widest = w
    for _ in range(int(rng.integers(1, 4))):
        h = rng.uniform(0.25, 0.5)
        finish = Finish(Texture.PLAIN, (0.34, 0.22, 0.12)) if rng.random() < 0.6 else Finish(Texture.PLANKS, wood(rng))
        one = box((-w, -w * 0.8, 0), (w, w * 0.8, h), finish, start=rng.uniform(0, 2))
        tape = box((-0.03, -w * 0.8 - 0.003, 0), (0.03, w * 0.8 + 0.003, h + 0.003), Finish(tint=(0.45, 0.33, 0.18)))
        parts.append(placed(joined([one, tape]), (0, 0, z), rng.uniform(-0.2, 0.2)))
        z, w = z + h, w * rng.uniform(0.75, 0.95)
    return Piece(joined(parts), (widest * 1.15, widest * 1.0), z)


def plant(rng: np.random.Generator) -> Piece:
    """A pot with a bush or a small tree."""
    r, h = rng.uniform(0.16, 0.26), rng.uniform(0.28, 0.50)
    pot = Finish(Texture.CONCRETE, ((0.40, 0.16, 0.08), (0.5, 0.5, 0.48), (0.05, 0.05, 0.06))[rng.integers(3)], gloss=0.05)
    leaf, stem = rng.uniform(0.3, 0.45), rng.uniform(0.1, 0.7)
    up = rng.uniform(0.35, 0.6)
    parts = [post(r * 0.75, 0, h, pot, r), post(0.025, h, h + stem + 0.2, Finish(Texture.WOOD, (0.12, 0.08, 0.05)), sides=8)]
    parts.append(foliage((0, 0, h + stem + up * 0.8), (leaf, leaf, up), 1500, 0.03, green(rng), rng))
    return Piece(joined(parts), (leaf, leaf), h + stem + up * 1.8)


def bollard(rng: np.random.Generator) -> Piece:
    """A steel or stone bollard."""
    r, h = rng.uniform(0.07, 0.13), rng.uniform(0.7, 1.05)
    paint = Finish(tint=colour(rng, 0.3), gloss=0.15)
    ring = Finish(tint=(0.75, 0.75, 0.72))
    return Piece(
        joined([post(r, 0, h, paint), post(r + 0.004, h - 0.2, h - 0.1, ring), post(r * 1.5, 0, 0.06, paint)]),
        (r * 1.5, r * 1.5),
        h,
    )


def bin_(rng: np.random.Generator) -> Piece:
    """A litter bin."""
    r, h = rng.uniform(0.19, 0.28), rng.uniform(0.7, 1.0)
    body = Finish(Texture.CORRUGATED if rng.random() < 0.4 else Texture.PLAIN, colour(rng, 0.35), gloss=0.1)
    return Piece(
        joined([post(r * 0.9, 0, h, body, r), post(r * 1.05, h, h + 0.06, Finish(tint=(0.04, 0.04, 0.04), gloss=0.2))]),
        (r * 1.05, r * 1.05),
        h + 0.06,
    )


def fence(rng: np.random.Generator) -> Piece:
    """A piece of railing, picket fence or crowd barrier."""
    x, h = rng.uniform(0.8, 1.3), rng.uniform(0.8, 1.15)
    kind = rng.integers(3)
    finish = (
        Finish(Texture.WOOD, (0.7, 0.68, 0.64)),
        Finish(tint=(0.35, 0.36, 0.38), gloss=0.35),
        Finish(Texture.WOOD, wood(rng)),
    )[kind]
    thick, gap = ((0.045, 0.15), (0.010, 0.12), (0.06, 0.16))[kind]
    bars = [box((at - thick, -0.012, 0.08), (at + thick, 0.012, h), finish, start=7 * at) for at in np.arange(-x + thick, x, gap)]
    rails = [box((-x, -0.03, z), (x, 0.03, z + 0.05), finish) for z in (0.2, h - 0.15)]
    feet = [box((s * x - 0.03, -0.2, 0), (s * x + 0.03, 0.2, 0.06), finish) for s in (-0.9, 0.9)]
    posts = [box((s * x - 0.03, -0.03, 0), (s * x + 0.03, 0.03, h), finish) for s in (-0.97, 0.97)]
    return Piece(joined([*bars, *rails, *feet, *posts]), (x + 0.03, 0.2), h)


def planter(rng: np.random.Generator) -> Piece:
    """A trough with bushes."""
    x, y, h = rng.uniform(0.5, 0.9), rng.uniform(0.22, 0.32), rng.uniform(0.4, 0.6)
    trough = Finish(
        *((Texture.CONCRETE, (0.42, 0.41, 0.39)), (Texture.PLANKS, wood(rng)), (Texture.PLAIN, colour(rng, 0.2)))[rng.integers(3)]
    )
    parts = [
        box((-x, -y, 0), (x, y, h), trough),
        box((-x + 0.04, -y + 0.04, h), (x - 0.04, y - 0.04, h + 0.01), Finish(Texture.ASPHALT, (0.04, 0.03, 0.02))),
    ]
    tint, up = green(rng), rng.uniform(0.18, 0.4)
    parts += [foliage((at, 0, h + up * 0.7), (0.3, y, up), 700, 0.026, tint, rng) for at in np.linspace(-x + 0.25, x - 0.25, 3)]
    if rng.random() < 0.5:
        bloom: RGB = ((0.7, 0.08, 0.10), (0.75, 0.55, 0.08), (0.55, 0.2, 0.6), (0.8, 0.75, 0.75))[rng.integers(4)]
        parts += [
            foliage((at, 0, h + up * 0.9), (0.28, y, up), 80, 0.016, bloom, rng) for at in np.linspace(-x + 0.25, x - 0.25, 3)
        ]
    return Piece(joined(parts), (x, y), h + up * 1.7)


def lamp_post(rng: np.random.Generator) -> Piece:
    """A street lamp."""
    h, steel = rng.uniform(3.6, 5.0), Finish(tint=(0.06, 0.07, 0.07), gloss=0.2)
    parts = [
        post(0.09, 0, 0.9, steel),
        post(0.06, 0.9, h, steel, 0.04),
        post(0.1, h, h + 0.05, steel, 0.22),
        post(0.18, h + 0.05, h + 0.35, Finish(tint=(0.8, 0.8, 0.75), glow=0.4), 0.2),
    ]
    return Piece(joined(parts), (0.1, 0.1), h)


def signboard(rng: np.random.Generator) -> Piece:
    """A board on the pavement, or a roller banner, with a picture."""
    x, h = rng.uniform(0.28, 0.42), rng.uniform(0.9, 2.0)
    edge = Finish(tint=(0.08, 0.06, 0.05))
    parts = [box((-x - 0.03, -0.03, 0.04), (x + 0.03, 0.03, h), edge), box((-x, -0.18, 0), (x, 0.18, 0.05), edge)]
    parts.append(picture((-x, -0.032, 0.3 if h > 1.2 else 0.12), 2 * x, h - (0.35 if h > 1.2 else 0.17), rng))
    return Piece(joined(parts), (x + 0.03, 0.18), h)


def shelf(rng: np.random.Generator) -> Piece:
    """A book shelf."""
    x, h, board = rng.uniform(0.4, 0.8), rng.uniform(1.3, 2.1), Finish(Texture.WOOD, wood(rng))
    parts = [box((-x, -0.12, 0), (x, 0.15, h), board)]
    start = rng.uniform(0, 1.6)
    parts.append(
        sheet(
            [(-x + 0.03, -0.125, 0.06), (x - 0.03, -0.125, 0.06), (x - 0.03, -0.125, h - 0.04), (-x + 0.03, -0.125, h - 0.04)],
            Finish(Texture.BOOKS, (1, 1, 1)),
            start=start,
        )
    )
    return Piece(joined(parts), (x, 0.15), h)


def cabinet(rng: np.random.Generator) -> Piece:
    """A chest of drawers or a low cupboard."""
    x, h = rng.uniform(0.4, 0.9), rng.uniform(0.7, 1.2)
    front = Finish(Texture.WOOD, wood(rng)) if rng.random() < 0.6 else Finish(tint=colour(rng, 0.7), gloss=0.05)
    knob = Finish(tint=(0.3, 0.28, 0.24), gloss=0.4)
    parts = [
        box((-x, -0.2, 0.06), (x, 0.22, h), front),
        box((-x + 0.05, -0.15, 0), (x - 0.05, 0.2, 0.06), Finish(tint=(0.05, 0.04, 0.04))),
    ]
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    width, height = (2 * x - 0.04) / columns, (h - 0.12) / rows
    for i in range(rows):
        for j in range(columns):
            left, low = -x + 0.02 + j * width, 0.09 + i * height
            parts.append(
                box(
                    (left + 0.012, -0.215, low + 0.012),
                    (left + width - 0.012, -0.2, low + height - 0.012),
                    front,
                    start=0.31 * (i + 3 * j),
                )
            )
            parts.append(
                box(
                    (left + width / 2 - 0.05, -0.235, low + height * 0.8),
                    (left + width / 2 + 0.05, -0.215, low + height * 0.8 + 0.015),
                    knob,
                )
            )
    return Piece(joined(parts), (x, 0.235), h)


def sofa(rng: np.random.Generator) -> Piece:
    """A sofa or an armchair."""
    x = rng.choice([0.45, 0.8, 1.0])
    cloth = Finish(Texture.FABRIC, colour(rng, 0.4))
    parts = [
        box((-x, -0.4, 0.10), (x, 0.4, 0.32), cloth),
        box((-x, 0.22, 0.3), (x, 0.42, 0.82), cloth),
        box((-x, -0.4, 0.08), (-x + 0.16, 0.4, 0.58), cloth),
        box((x - 0.16, -0.4, 0.08), (x, 0.4, 0.58), cloth),
    ]
    edges = np.linspace(-x + 0.17, x - 0.17, 2 if x < 0.5 else 3)
    parts += [box((a + 0.01, -0.38, 0.32), (b - 0.01, 0.22, 0.45), cloth) for a, b in pairwise(edges)]
    cushion = Finish(Texture.FABRIC, colour(rng))
    parts.append(
        placed(box((-0.2, -0.06, 0), (0.2, 0.06, 0.36), cushion), (float(rng.uniform(-x + 0.4, x - 0.4)), 0.12, 0.45), 0.2)
    )
    parts += [
        box(
            (i * x - i * 0.1 - 0.03, j * 0.3 - 0.03, 0),
            (i * x - i * 0.1 + 0.03, j * 0.3 + 0.03, 0.1),
            Finish(Texture.WOOD, (0.1, 0.06, 0.03)),
        )
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return Piece(joined(parts), (x, 0.42), 0.82)


def floor_lamp(rng: np.random.Generator) -> Piece:
    """A lamp with a shade on a thin stand."""
    h, steel = rng.uniform(1.4, 1.7), Finish(tint=(0.1, 0.09, 0.08), gloss=0.3)
    shade = Finish(Texture.FABRIC, (0.75, 0.62, 0.42), glow=0.6)
    return Piece(
        joined([post(0.15, 0, 0.03, steel), post(0.015, 0.03, h, steel, sides=8), post(0.22, h - 0.05, h + 0.25, shade, 0.14)]),
        (0.22, 0.22),
        h + 0.25,
    )


def car(rng: np.random.Generator) -> Piece:
    """A parked car: hatchback, saloon or van."""
    paint = Finish(
        tint=(
            (0.02, 0.02, 0.025),
            (0.6, 0.6, 0.6),
            (0.28, 0.29, 0.31),
            (0.35, 0.02, 0.02),
            (0.03, 0.07, 0.25),
            (0.12, 0.16, 0.12),
        )[rng.integers(6)],
        gloss=0.45,
    )
    glass, rubber = Finish(tint=(0.02, 0.025, 0.03), gloss=0.9), Finish(tint=(0.02, 0.02, 0.02))
    tail = rng.choice([1.0, 1.55, 2.0])  # where the roof ends
    low = [(-2.05, 0.28), (2.05, 0.28), (2.1, 0.55), (2.02, 0.88), (-1.1, 0.92), (-2.0, 0.78), (-2.12, 0.5)]
    cabin = [(-1.15, 0.90), (min(tail + 0.45, 2.0), 0.88), (tail, 1.42), (-0.35, 1.45), (-0.55, 1.40)]
    panes = [(-1.02, 0.93), (min(tail + 0.3, 1.88), 0.92), (tail - 0.08, 1.36), (-0.36, 1.38)]
    parts = [extruded(low, 1.72, paint), extruded(cabin, 1.46, paint), extruded(panes, 1.475, glass)]
    parts += [box((x - 0.03, -0.742, 0.92), (x + 0.03, 0.742, 1.40), paint) for x in (0.15, tail - 0.2)]
    # The windscreen and the rear window lie on the cabin's slopes.
    screen = np.array([(-1.12, -0.66, 0.94), (-1.12, 0.66, 0.94), (-0.57, 0.62, 1.385), (-0.57, -0.62, 1.385)])[::-1]
    parts.append(sheet(screen + np.array([-0.012, 0, 0.012]), glass))
    for x in (-1.3, 1.3):
        wheel = post(0.32, -0.88, 0.88, rubber, sides=18)
        hub = joined([post(0.19, -0.885, 0.885, Finish(tint=(0.45, 0.45, 0.47), gloss=0.3), sides=12)])
        parts.append(_tipped(joined([wheel, hub]), x, 0.32))
    parts += [
        box(
            (s * 2.08 - 0.05, t * 0.62 - 0.15, 0.58),
            (s * 2.08 + 0.04, t * 0.62 + 0.15, 0.70),
            Finish(tint=(0.8, 0.8, 0.75) if s < 0 else (0.4, 0.01, 0.01), gloss=0.4),
        )
        for s in (-1, 1)
        for t in (-1, 1)
    ]
    parts.append(box((-2.1, -0.87, 0.28), (2.08, 0.87, 0.36), Finish(tint=(0.03, 0.03, 0.03))))
    return Piece(joined(parts), (2.15, 0.9), 1.46)


def tree(rng: np.random.Generator, leaves: int = 1000) -> Piece:
    """A tree of the street or the park. Only the trunk takes room on the ground."""
    r, trunk = rng.uniform(0.10, 0.2), rng.uniform(1.9, 2.8)
    bark = Finish(Texture.HEDGE, (0.10, 0.075, 0.055))
    tint, wide = green(rng), rng.uniform(1.0, 1.7)
    parts = [post(r * 1.2, 0, trunk + 1.0, bark, r * 0.7, sides=12)]
    for _ in range(int(rng.integers(4, 8))):
        at = (*rng.uniform(-0.7, 0.7, 2) * wide, trunk + rng.uniform(0.7, 2.3) * wide)
        size = rng.uniform(0.6, 1.0) * wide
        parts.append(foliage(at, (size, size, size * rng.uniform(0.6, 0.9)), leaves, 0.05 * np.sqrt(1000 / leaves), tint, rng))
    return Piece(joined(parts), (r * 1.2, r * 1.2), trunk + 3 * wide)


def bush(rng: np.random.Generator, size: float = 1.0, leaves: int = 2200) -> Piece:
    """A bush."""
    r, h = size * rng.uniform(0.35, 0.8), size * rng.uniform(0.35, 0.7)
    leaf_m = 0.032 * size * np.sqrt(2200 / leaves)
    return Piece(foliage((0, 0, h * 0.8), (r, r, h), leaves, leaf_m, green(rng), rng), (r, r), h * 1.8)


INDOOR: tuple[Callable[[np.random.Generator], Piece], ...] = (
    pillar,
    table,
    table,
    crates,
    plant,
    shelf,
    cabinet,
    sofa,
    floor_lamp,
    bin_,
    signboard,
)
HALL: tuple[Callable[[np.random.Generator], Piece], ...] = (pillar, pillar, table, crates, bench, signboard, fence, bin_, cabinet)
STREET: tuple[Callable[[np.random.Generator], Piece], ...] = (
    bollard,
    bollard,
    bin_,
    bench,
    lamp_post,
    pillar,
    planter,
    planter,
    fence,
    signboard,
    crates,
    car,
    tree,
)
ANYWHERE: tuple[Callable[[np.random.Generator], Piece], ...] = (
    table,
    crates,
    crates,
    bench,
    plant,
    bin_,
    signboard,
    planter,
    fence,
)
PARK: tuple[Callable[[np.random.Generator], Piece], ...] = (tree, tree, bush, bush, bench, bin_, fence, planter, table, lamp_post)


def picture(corner_m: tuple[float, float, float], width_m: float, height_m: float, rng: np.random.Generator) -> Solids:
    """One of the posters, upright and facing -y, with its lower left corner there."""
    x, y, z = corner_m
    one = sheet(
        [(x, y, z), (x + width_m, y, z), (x + width_m, y, z + height_m), (x, y, z + height_m)],
        Finish(Texture.PICTURES, (1, 1, 1)),
    )
    column, row = rng.integers(PICTURES_SIDE, size=2)
    # Of a texture of 4 m with 4 pictures a side, each takes a metre.
    one.across[:, 0] = [1 / width_m, 0, 0, column - x / width_m]
    one.across[:, 1] = [0, 0, 1 / height_m, row - z / height_m]
    return one


def seat_solids(seat: Seat, rng: np.random.Generator) -> Solids:
    """A chair, stool, bench or box whose top's middle is the seat, its front towards where the person looks."""
    h, x, y = seat.height_m, rng.uniform(0.20, 0.24), 0.20
    kind = rng.integers(4)
    if kind == 0:
        solids = box(
            (-x, -y, 0), (x, y, h), Finish(Texture.PLANKS, wood(rng)) if rng.random() < 0.5 else Finish(tint=colour(rng))
        )
    elif kind == 1:
        steel = Finish(tint=(0.1, 0.1, 0.1), gloss=0.3)
        solids = joined(
            [
                post(0.19, h - 0.06, h, Finish(Texture.FABRIC, colour(rng))),
                post(0.03, 0.03, h - 0.06, steel),
                post(0.17, 0, 0.03, steel),
            ]
        )
    else:
        wide = x if kind == 2 else rng.uniform(0.45, 0.8)
        frame = Finish(Texture.WOOD, wood(rng)) if rng.random() < 0.6 else Finish(tint=colour(rng, 0.3), gloss=0.1)
        parts = [box((-wide, -y, h - 0.04), (wide, y, h), frame)]
        parts += [
            box(
                (i * (wide - 0.04) - 0.02, j * (y - 0.03) - 0.02, 0),
                (i * (wide - 0.04) + 0.02, j * (y - 0.03) + 0.02, h - 0.04),
                frame,
            )
            for i in (-1, 1)
            for j in (-1, 1)
        ]
        parts += [
            box((i * (wide - 0.04) - 0.02, y + 0.03, h - 0.04), (i * (wide - 0.04) + 0.02, y + 0.06, h + 0.42), frame)
            for i in (-1, 1)
        ]
        parts += [box((-wide, y + 0.03, h + 0.14 * k), (wide, y + 0.05, h + 0.14 * k + 0.09), frame) for k in (1, 2, 3)]
        solids = joined(parts)
    # Its front is -y, which turns by `yaw` to where the person looks.
    yaw = float(np.arctan2(seat.facing[0], -seat.facing[1]))
    return placed(solids, (*seat.xy_m, 0.0), yaw)


def _tipped(upright: Solids, x: float, z: float) -> Solids:
    """Something made along z, laid along y, with its middle at (x, 0, z)."""
    turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)
    shift = np.array([x, 0.0, z])
    return replace(
        upright,
        corners_m=upright.corners_m @ turn.T + shift,
        centre_m=upright.centre_m @ turn.T + shift,
        axis=upright.axis @ turn.T,
    )
