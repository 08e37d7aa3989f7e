"""Houses of a street, of which one sees the fronts.

Parts that a front repeats are made once and copied, as a street has hundreds.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tkm.synthetic.scenery.furniture import picture
from tkm.synthetic.scenery.openings import door, panel
from tkm.synthetic.scenery.paints import colour, facade_paint
from tkm.synthetic.scenery.solids import Finish, Solids, box, copies, joined, placed, sheet, sheets, unshadowing
from tkm.synthetic.scenery.textures import Texture

_GLASS = Finish(tint=(0.03, 0.035, 0.04), gloss=0.75)
_TRIM = Finish(Texture.CONCRETE, (0.55, 0.54, 0.5))
_WINDOW_HIGH_M, _SILL_M = 1.5, 0.95
_DOOR_M = 0.95


def house(wide: float, floors: int, rng: np.random.Generator) -> Solids:
    """A facade from x = 0 to `wide`, facing -y, with a shop, or a door and windows, on the ground."""
    storey = rng.uniform(2.9, 3.4)
    high = floors * storey + 0.8
    stone = (
        (Texture.BRICK, (0.33, 0.14, 0.09)),
        (Texture.BRICK, (0.45, 0.38, 0.30)),
        (Texture.PLAIN, facade_paint(rng)),
        (Texture.PLAIN, facade_paint(rng)),
        (Texture.CONCRETE, (0.42, 0.41, 0.39)),
    )
    parts = [
        box((0, 0, 0), (wide, 6, high), Finish(*stone[rng.integers(len(stone))]), start=rng.uniform(0, 2)),
        box((-0.05, -0.15, high - 0.3), (wide + 0.05, 0.1, high), _TRIM),
        box((0, -0.05, 0), (wide, 0, 0.45), Finish(Texture.CONCRETE, (0.25, 0.24, 0.23))),
    ]
    count = max(int(wide / rng.uniform(1.9, 2.8)), 1)
    size = rng.uniform(0.9, 1.3)
    left = (np.arange(count) + 0.5) * wide / count - size / 2
    below = np.zeros(0)
    if rng.random() < 0.55:
        parts += _shop(wide, rng)
    else:
        # The door takes a window's place.
        at = int(rng.integers(count))
        parts.append(placed(joined(door(0, rng)), (left[at] + (size - _DOOR_M) / 2, -0.03, 0)))
        below = np.delete(left, at)
    x = np.concatenate([below, np.tile(left, floors - 1)])
    sill = _SILL_M + np.repeat(np.arange(floors) * storey, [len(below), *[count] * (floors - 1)])
    parts.append(_windows(np.stack([x, np.zeros(len(x)), sill], axis=1), size, rng))
    return unshadowing(joined(parts))


def _windows(corners_m: np.ndarray, size: float, rng: np.random.Generator) -> Solids:
    """Equal windows with their lower left corners at some places, (N, 3)."""
    pane = Finish(tint=(0.7, 0.7, 0.68) if rng.random() < 0.6 else (0.08, 0.07, 0.06))
    high = _WINDOW_HIGH_M
    bars = (
        (-0.05, 0.02, 0, high),
        (size - 0.02, size + 0.05, 0, high),
        (size / 2 - 0.03, size / 2 + 0.03, 0, high),
        (0, size, 0.95, 1.0),
    )
    one = [
        panel(0, size, 0, high, -0.02, _GLASS),
        box((-0.1, -0.12, -0.1), (size + 0.1, 0, 0), _TRIM),
        box((-0.1, -0.06, high), (size + 0.1, 0, high + 0.15), _TRIM),
        *(box((a, -0.05, c), (b, 0, d), pane) for a, b, c, d in bars),
    ]
    blind = corners_m[rng.random(len(corners_m)) < 0.35]
    low = high * rng.uniform(0.3, 0.8, len(blind))
    outline = np.array([(0.03, -0.03, 0), (size - 0.03, -0.03, 0), (size - 0.03, -0.03, high - 0.02), (0.03, -0.03, high - 0.02)])
    outlines = blind[:, None] + outline
    outlines[:, :2, 2] += low[:, None]
    return joined([copies(joined(one), corners_m), sheets(outlines, Finish(Texture.CURTAIN, (0.5, 0.48, 0.44)))])


def _shop(wide: float, rng: np.random.Generator) -> list[Solids]:
    """Shop windows with a sign, pictures, and now and then an awning."""
    paint = Finish(tint=colour(rng, 0.45))
    parts = [box((0.3, -0.10, 0), (wide - 0.3, 0, 0.5), paint), box((0.3, -0.22, 2.5), (wide - 0.3, 0, 3.0), paint)]
    edges = np.linspace(0.35, wide - 0.35, max(int(wide / 2.2), 1) + 1)
    parts.append(panel(edges[0], edges[-1], 0.5, 2.5, -0.03, _GLASS))
    shift = np.stack([edges, np.zeros(len(edges)), np.zeros(len(edges))], axis=1)
    parts.append(copies(box((-0.05, -0.1, 0.5), (0.05, 0, 2.5), paint), shift))
    name = Finish(tint=(0.8, 0.78, 0.7) if np.mean(paint.tint) < 0.25 else (0.05, 0.05, 0.05))
    x = wide * 0.3
    while x < wide * 0.7:
        letter = rng.uniform(0.08, 0.2)
        parts.append(panel(x, x + letter, 2.64, rng.uniform(2.78, 2.88), -0.23, name))
        x += letter + 0.06
    parts += [picture((a + 0.3, -0.035, 0.8), (b - a) * 0.5, 1.0, rng) for a, b in pairwise(edges) if rng.random() < 0.5]
    if rng.random() < 0.5:
        cloth = Finish(Texture.FABRIC, colour(rng))
        parts.append(sheet([(0.3, -1.3, 2.2), (wide - 0.3, -1.3, 2.2), (wide - 0.3, -0.05, 2.75), (0.3, -0.05, 2.75)], cloth))
        parts.append(panel(0.3, wide - 0.3, 2.02, 2.2, -1.3, cloth))
    return parts
