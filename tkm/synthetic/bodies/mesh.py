"""A dressed person as one mesh: skin, garments, hair, shoes and bag, with the materials they are made of.

Shape legend: V vertices, F triangles, M materials.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tkm.types import Float, check

BONES = 4  # segments that may move a vertex


class Pattern(IntEnum):
    """How the second colour of a material lies over the first, at a place of the body at rest."""

    PLAIN = 0
    STRIPES = 1  # across `direction`
    CHECKS = 2
    DOTS = 3
    CAMOUFLAGE = 4


@dataclass(frozen=True)
class Materials:
    """What surfaces look like, M of them.

    colour      (M, 3) float32, sRGB in [0, 1]
    second      (M, 3) float32, sRGB, of the pattern
    pattern     (M,) uint8, a Pattern
    period_m    (M,) float32, length after which the pattern repeats
    direction   (M, 3) float32, unit vector at rest that stripes are crossed along
    gloss       (M,) float32, share of light that is mirrored, in [0, 1]
    """

    colour: Float
    second: Float
    pattern: NDArray[np.uint8]
    period_m: Float
    direction: Float
    gloss: Float

    def __post_init__(self) -> None:
        M = len(self.colour)
        check(self, "colour", (M, 3), np.float32)
        check(self, "second", (M, 3), np.float32)
        check(self, "pattern", (M,), np.uint8)
        check(self, "period_m", (M,), np.float32)
        check(self, "direction", (M, 3), np.float32)
        check(self, "gloss", (M,), np.float32)


@dataclass(frozen=True)
class Mesh:
    """A dressed person at rest: the body's skin, and parts outside it that have vertices of their own.

    The first vertices are all of the body's, in its order, whether or not a triangle has them. Of the body's triangles those
    that clothes, shoes or hair hide are left out.

    rest_m     (V, 3) float32
    faces      (F, 3) int32, counter-clockwise from outside
    segment    (V, 4) uint8, segments that move a vertex, by falling share
    share      (V, 4) float32, rows sum to 1
    material   (F,) uint8, number in `materials`
    materials  what the triangles are made of
    """

    rest_m: Float
    faces: NDArray[np.int32]
    segment: NDArray[np.uint8]
    share: Float
    material: NDArray[np.uint8]
    materials: Materials

    def __post_init__(self) -> None:
        V, F = len(self.rest_m), len(self.faces)
        check(self, "rest_m", (V, 3), np.float32)
        check(self, "faces", (F, 3), np.int32)
        check(self, "segment", (V, BONES), np.uint8)
        check(self, "share", (V, BONES), np.float32)
        check(self, "material", (F,), np.uint8)
        if F and not (self.faces.min() >= 0 and self.faces.max() < V and self.material.max() < len(self.materials.colour)):
            raise ValueError("Mesh.faces and Mesh.material must hold numbers of vertices and of materials")
