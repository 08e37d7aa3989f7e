"""Colours that people and their clothes come in, sRGB in [0, 1], and what cloth of them is like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.mesh import Materials, Pattern

Colour = tuple[float, float, float]


def _hex(code: str) -> Colour:
    return (int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255)


def _all(codes: str) -> tuple[Colour, ...]:
    return tuple(_hex(code) for code in codes.split())


SKIN = _all("d6ae98 cfa389 c5967a b98a6c ab7a5c 9c6b4e 8a5a40 764a34 633f2d 513324 432a1e 37221a")  # from light to dark
HAIR = _all("17130f 241a14 3a281c 4e3524 6b4a2f 8a6239 b08a55 d0b27a 7a3a1e 9a4c28")
GREY_HAIR = _all("8c8a88 b5b2ae d8d5d0 6b6866")
DYED_HAIR = _all("a02c4a 3c5aa0 7a4ea0 2f7f6a")
IRIS = _all("2a1a12 3b2617 5a3d22 4a6a80 5f7f62")

DARK = _all("16171a 1f2024 24262e 1c2436 22304a 2d2a28 30363a 20302a")
NEUTRAL = _all("e2e2de d8d6d0 cfcdc8 a9aaab 85878a 65686c 4a4d52 c8b89a b09a78 8c7656 6a5a48 5b5f4a")
BLUE = _all("2c4a7c 3d6299 5b84b5 8fb0d0 b9d0e4 1f3566 27508f")
BRIGHT = _all("c8202c e2402c f0742a f4b92e f5dc4a 3f9b46 1f7a4a 17a2a2 2a86d8 6a3fa0 c83a8a f08aa8 8a1f2e d9e34a")
SOFT = _all("e6c9c4 d7b3c0 c4d3c0 b8c9d6 e8dcc0 9fb59a a58fb0 d49a86")
DENIM = _all("20304e 2c4268 3e5a86 5d7da6 8aa3bd 1b1f28 34383f")
TROUSERS = _all("15161a 1e2026 262b36 2f3846 4a4c50 6e6f70 8a7a60 a8946e c2b28c 4f5138 5a4636 e6e2d8 7a2a30")
LEATHER = _all("141312 2a1c14 4a2e1c 6e4526 8f6236")
SOLE = _all("e0dfd8 d8d4c8 1a1a1a 2c2620 b58a54")


@dataclass(frozen=True)
class Cloth:
    """One material; the fields are those of `tkm.synthetic.mesh.Materials`."""

    colour: Colour
    second: Colour = (0.0, 0.0, 0.0)
    pattern: Pattern = Pattern.PLAIN
    period_m: float = 1.0
    direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    gloss: float = 0.03


class Wardrobe:
    """Collects the materials of one mesh; each is kept once."""

    def __init__(self) -> None:
        self._cloths: list[Cloth] = []

    def number(self, cloth: Cloth) -> int:
        """Number of a cloth in `materials`."""
        if cloth not in self._cloths:
            self._cloths.append(cloth)
        return self._cloths.index(cloth)

    def materials(self) -> Materials:
        """All cloths so far."""
        return Materials(
            np.array([cloth.colour for cloth in self._cloths], np.float32),
            np.array([cloth.second for cloth in self._cloths], np.float32),
            np.array([cloth.pattern for cloth in self._cloths], np.uint8),
            np.array([cloth.period_m for cloth in self._cloths], np.float32),
            np.array([cloth.direction for cloth in self._cloths], np.float32),
            np.array([cloth.gloss for cloth in self._cloths], np.float32),
        )


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One colour, a little off, so that no two people wear exactly the same by chance."""
    colour = np.array(colours[int(rng.integers(len(colours)))])
    off = np.clip(colour * rng.uniform(0.9, 1.1) + rng.normal(0, 0.012, 3), 0, 1)
    return (float(off[0]), float(off[1]), float(off[2]))


def top_colour(rng: np.random.Generator) -> Colour:
    """A colour that a top may have: mostly dark, white, grey and blue."""
    families = (DARK, NEUTRAL, BLUE, BRIGHT, SOFT)
    return pick(rng, families[int(rng.choice(5, p=[0.25, 0.27, 0.16, 0.22, 0.10]))])


def patterned(rng: np.random.Generator, colour: Colour, share: float) -> Cloth:
    """Cloth of a colour; a share of cloths has a pattern of a second colour."""
    gloss = float(rng.uniform(0.01, 0.06))
    if rng.random() >= share:
        return Cloth(colour, gloss=gloss)
    pattern = (Pattern.STRIPES, Pattern.CHECKS, Pattern.DOTS, Pattern.CAMOUFLAGE)[int(rng.choice(4, p=[0.5, 0.25, 0.15, 0.1]))]
    second = top_colour(rng)
    if np.abs(np.subtract(second, colour)).max() < 0.2:
        second = SOLE[0] if sum(colour) < 1.5 else DARK[3]
    upright = (1.0, 0.0, 0.0) if rng.random() < 0.3 else (0.0, 0.0, 1.0)
    period_m = {Pattern.STRIPES: (0.03, 0.12), Pattern.CHECKS: (0.04, 0.14), Pattern.DOTS: (0.03, 0.07)}.get(
        pattern, (0.12, 0.25)
    )
    return Cloth(colour, second, pattern, float(rng.uniform(*period_m)), upright, gloss)
