"""All people of a clip joined into one mesh, as the drawing loops want it.

Shape legend: P people, V vertices, F triangles and M materials of all people together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.mesh import Mesh
from tkm.synthetic.bodies.segments import SEGMENTS
from tkm.synthetic.drawing.shading import linear_of
from tkm.synthetic.drawing.skinning import rest_normals
from tkm.types import Bool, Float, Int, check


@dataclass(frozen=True)
class Crowd:
    """What does not change from frame to frame. Person p has the vertices first_vertex[p] to first_vertex[p + 1].

    first_vertex, first_face   (P + 1,) int64
    rest_m, rest_normal        (V, 3) float32
    segment, share             (V, 4) uint8 and float32, as in `Mesh`
    is_used                    (V,) bool, whether a triangle has the vertex
    faces                      (F, 3) int32
    face_segment               (F,) uint8, the segment that moves a triangle most
    is_thin                    (F,) bool, whether a triangle is drawn from both sides: those of parts, which may be open
    face_material              (F,) int32
    colour, second             (M, 3) float32, linear light
    pattern, period_m, direction, gloss   of the M materials, as in `Materials`
    """

    first_vertex: Int
    first_face: Int
    rest_m: Float
    rest_normal: Float
    segment: NDArray[np.uint8]
    share: Float
    is_used: Bool
    faces: NDArray[np.int32]
    face_segment: NDArray[np.uint8]
    is_thin: Bool
    face_material: NDArray[np.int32]
    colour: Float
    second: Float
    pattern: NDArray[np.uint8]
    period_m: Float
    direction: Float
    gloss: Float

    def __post_init__(self) -> None:
        V, F, M = len(self.rest_m), len(self.faces), len(self.colour)
        check(self, "first_vertex", (None,), np.int64)
        check(self, "first_face", self.first_vertex.shape, np.int64)
        check(self, "rest_m", (V, 3), np.float32)
        check(self, "rest_normal", (V, 3), np.float32)
        check(self, "segment", (V, 4), np.uint8)
        check(self, "share", (V, 4), np.float32)
        check(self, "is_used", (V,), np.bool_)
        check(self, "faces", (F, 3), np.int32)
        check(self, "face_segment", (F,), np.uint8)
        check(self, "is_thin", (F,), np.bool_)
        check(self, "face_material", (F,), np.int32)
        check(self, "second", (M, 3), np.float32)
        check(self, "pattern", (M,), np.uint8)
        check(self, "period_m", (M,), np.float32)
        check(self, "direction", (M, 3), np.float32)
        check(self, "gloss", (M,), np.float32)

    def __len__(self) -> int:
        return len(self.first_vertex) - 1


def join_meshes(meshes: Sequence[Mesh], body_vertices: int) -> Crowd:
    """The crowd of some people, whose meshes begin with body_vertices vertices of the body."""
    first_vertex = np.cumsum([0, *(len(mesh.rest_m) for mesh in meshes)])
    first_material = np.cumsum([0, *(len(mesh.materials.colour) for mesh in meshes)])
    faces = [mesh.faces + first for mesh, first in zip(meshes, first_vertex, strict=False)]
    face_material = [mesh.material + first for mesh, first in zip(meshes, first_material, strict=False)]
    materials = [mesh.materials for mesh in meshes]
    return Crowd(
        first_vertex=first_vertex,
        first_face=np.cumsum([0, *(len(mesh.faces) for mesh in meshes)]),
        rest_m=_joined([mesh.rest_m for mesh in meshes], 3, np.float32),
        rest_normal=_joined([rest_normals(mesh.rest_m, mesh.faces) for mesh in meshes], 3, np.float32),
        segment=_joined([mesh.segment for mesh in meshes], 4, np.uint8),
        share=_joined([mesh.share for mesh in meshes], 4, np.float32),
        is_used=_joined([np.bincount(mesh.faces.ravel(), minlength=len(mesh.rest_m)) > 0 for mesh in meshes], None, np.bool_),
        faces=_joined(faces, 3, np.int32),
        face_segment=_joined([_face_segments(mesh) for mesh in meshes], None, np.uint8),
        is_thin=_joined([(mesh.faces >= body_vertices).any(axis=1) for mesh in meshes], None, np.bool_),
        face_material=_joined(face_material, None, np.int32),
        colour=_joined([linear_of(each.colour) for each in materials], 3, np.float32),
        second=_joined([linear_of(each.second) for each in materials], 3, np.float32),
        pattern=_joined([each.pattern for each in materials], None, np.uint8),
        period_m=_joined([each.period_m for each in materials], None, np.float32),
        direction=_joined([each.direction for each in materials], 3, np.float32),
        gloss=_joined([each.gloss for each in materials], None, np.float32),
    )


def _joined(arrays: list[Any], width: int | None, dtype: type[np.generic]) -> Any:
    """One contiguous array, of no rows where there is none to join."""
    empty = np.empty((0,) if width is None else (0, width), dtype)
    return np.ascontiguousarray(np.concatenate([empty, *arrays]), dtype)


def _face_segments(mesh: Mesh) -> NDArray[np.uint8]:
    """(F,) uint8: the segment with the largest share in a triangle's three vertices together."""
    total = np.zeros((len(mesh.rest_m), len(SEGMENTS)), np.float32)
    rows = np.arange(len(mesh.rest_m))
    for k in range(mesh.segment.shape[1]):
        total[rows, mesh.segment[:, k]] += mesh.share[:, k]
    return total[mesh.faces].sum(axis=1).argmax(axis=1).astype(np.uint8)
