"""Windows and doors of walls that run along x and face -y."""

from __future__ import annotations

import numpy as np

from tkm.synthetic.drawing.plate import Light
from tkm.synthetic.scenery.paints import accent_paint, colour, green, wall_paint, wood
from tkm.synthetic.scenery.solids import Finish, Solids, box, sheet
from tkm.synthetic.scenery.textures import Texture


def panel(x0: float, x1: float, z0: float, z1: float, y: float, finish: Finish, start: float = 0.0) -> Solids:
    """Upright, facing -y."""
    return sheet([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)], finish, start=start)


def window(x: float, low: float, wide: float, high: float, light: Light, rng: np.random.Generator) -> list[Solids]:
    """A window of a room with a bright outside, of sky over something green or grey."""
    frame = Finish(tint=(0.7, 0.7, 0.68))
    bright = 0.75 + 0.4 * light.hardness
    sky = Finish(tint=(0.75, 0.85, 0.95), glow=bright)
    below = Finish(*((Texture.HEDGE, green(rng)) if rng.random() < 0.6 else (Texture.CONCRETE, colour(rng, 0.4))), glow=bright)
    horizon = low + high * rng.uniform(0.1, 0.6)
    parts = [panel(x, x + wide, horizon, low + high, -0.01, sky), panel(x, x + wide, low, horizon, -0.01, below)]
    sides, top = (low - 0.06, low + high + 0.06), (low + high, low + high + 0.06)
    bars = [(x - 0.06, x, *sides), (x + wide, x + wide + 0.06, *sides), (x, x + wide, *top)]
    bars.append((x + wide / 2 - 0.025, x + wide / 2 + 0.025, low, low + high))
    parts += [box((a, -0.05, c), (b, 0, d), frame) for a, b, c, d in bars]
    parts.append(box((x - 0.1, -0.16, low - 0.08), (x + wide + 0.1, 0, low - 0.04), frame))
    if rng.random() < 0.4:
        cloth = Finish(Texture.CURTAIN, wall_paint(rng) if rng.random() < 0.6 else accent_paint(rng))
        parts += [panel(a, a + 0.4, 0.05, low + high + 0.15, -0.09, cloth, start=rng.uniform(0, 2)) for a in (x - 0.4, x + wide)]
    return parts


def door(x: float, rng: np.random.Generator) -> list[Solids]:
    leaf = Finish(Texture.WOOD, wood(rng)) if rng.random() < 0.6 else Finish(tint=colour(rng, 0.7))
    frame = Finish(tint=(0.6, 0.6, 0.58))
    return [
        box((x, -0.02, 0), (x + 0.95, 0, 2.05), leaf),
        box((x - 0.08, -0.04, 0), (x, 0, 2.13), frame),
        box((x + 0.95, -0.04, 0), (x + 1.03, 0, 2.13), frame),
        box((x, -0.04, 2.05), (x + 0.95, 0, 2.13), frame),
        box((x + 0.83, -0.07, 1.0), (x + 0.90, -0.02, 1.03), Finish(tint=(0.4, 0.4, 0.4), gloss=0.5)),
    ]
