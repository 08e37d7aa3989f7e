"""Shadows: one map of what stands over each cell of the ground, seen along the light.

The map is laid on the ground, and every point of a person is pushed onto it along the light. It holds the height of the highest
point that fell into each cell: a point lower on the same ray is in its shadow. From it come the shadows of people on each other
and on themselves (`tkm.synthetic.shading.light_vertices`) and, softened, those on the ground.

Shape legend: V vertices, F triangles, R x C cells, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tkm.synthetic.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.compiled import compiled
from tkm.synthetic.plate import Light
from tkm.types import Float, check

_CELL_M = 0.025
_MAX_CELLS = 900  # a side: more people than that are far from each other, and get coarser cells
_LOWEST_SINE = 0.34  # shadows of a lower sun would leave the map
_REACH_M = 0.45  # from a joint to the skin, hair and bags around it, at most
LOW_M = 0.22  # what is lower than this keeps the light of the sky from the ground below


@dataclass(frozen=True)
class ShadowMap:
    """The ground's cells.

    lean       (2,) float64, how far a shadow reaches a metre of height, in x and y
    corner_m   (2,) float32, x and y of the first cell's corner
    cell_m     side of a cell
    height_m   (R, C) float32, of the highest point over the cell along the light, -1 for none; rows go with y
    low        (R, C) float32, 1 where something low stands right above
    """

    lean: Double
    corner_m: Float
    cell_m: float
    height_m: Float
    low: Float

    def __post_init__(self) -> None:
        check(self, "lean", (2,), np.float64)
        check(self, "corner_m", (2,), np.float32)
        check(self, "height_m", (None, None), np.float32)
        check(self, "low", self.height_m.shape, np.float32)


def empty_map(light: Light, joints_m: Double) -> ShadowMap:
    """A map that holds the shadows of people whose joints these are, (N, 3)."""
    towards = light.towards.astype(np.float64)
    lean = -towards[:2] / max(float(towards[2]), _LOWEST_SINE)
    if not len(joints_m):
        return ShadowMap(lean, np.zeros(2, np.float32), _CELL_M, np.full((1, 1), -1, np.float32), np.zeros((1, 1), np.float32))
    ends_m = np.concatenate([joints_m[:, :2], joints_m[:, :2] + joints_m[:, 2:] * lean])
    reach_m = _REACH_M * (1 + float(np.abs(lean).max()))
    low_m, size_m = ends_m.min(axis=0) - reach_m, np.ptp(ends_m, axis=0) + 2 * reach_m
    cell_m = max(_CELL_M, float(size_m.max()) / _MAX_CELLS)
    columns, rows = np.ceil(size_m / cell_m).astype(int)
    return ShadowMap(
        lean, low_m.astype(np.float32), cell_m, np.full((rows, columns), -1, np.float32), np.zeros((rows, columns), np.float32)
    )


def ground_transform(camera: Camera, t: int, lean: Double) -> tuple[Float, Float]:
    """From the camera's axes in frame t to x and y of the ground and the height over it: along the light, and straight down.

    Returns: two (3, 4) float32.
    """
    down = np.concatenate([camera.rotation[t].T, camera.position_m[t][:, None]], axis=1)
    along = down.copy()
    along[:2] += lean[:, None] * down[2]
    return along.astype(np.float32), down.astype(np.float32)


@compiled
def cast(point_m, faces, start, stop, along, down, cell_m, corner_m, low_m, height_m, low):  # type: ignore[no-untyped-def]
    """Enter the middles of triangles start to stop in a map's height_m and low, (R, C).

    Args: point_m (V, 3) in the camera's axes; faces (F, 3); along, down, of `ground_transform`.
    """
    rows, columns = height_m.shape
    third, scale = np.float32(1 / 3), np.float32(1) / cell_m
    for f in range(start, stop):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x = (point_m[i, 0] + point_m[j, 0] + point_m[k, 0]) * third
        y = (point_m[i, 1] + point_m[j, 1] + point_m[k, 1]) * third
        z = (point_m[i, 2] + point_m[j, 2] + point_m[k, 2]) * third
        height = along[2, 0] * x + along[2, 1] * y + along[2, 2] * z + along[2, 3]
        c = np.int64(np.floor((along[0, 0] * x + along[0, 1] * y + along[0, 2] * z + along[0, 3] - corner_m[0]) * scale))
        r = np.int64(np.floor((along[1, 0] * x + along[1, 1] * y + along[1, 2] * z + along[1, 3] - corner_m[1]) * scale))
        if 0 <= r < rows and 0 <= c < columns:
            height_m[r, c] = max(height_m[r, c], height)
        if height < low_m:
            c = np.int64(np.floor((down[0, 0] * x + down[0, 1] * y + down[0, 2] * z + down[0, 3] - corner_m[0]) * scale))
            r = np.int64(np.floor((down[1, 0] * x + down[1, 1] * y + down[1, 2] * z + down[1, 3] - corner_m[1]) * scale))
            if 0 <= r < rows and 0 <= c < columns:
                low[r, c] = np.float32(1)


def closed(shadow: ShadowMap) -> ShadowMap:
    """The map with each cell as high as the highest of its neighbours: middles of triangles lie further apart than cells."""
    kernel = np.ones((3, 3), np.uint8)
    return ShadowMap(
        shadow.lean, shadow.corner_m, shadow.cell_m, cv2.dilate(shadow.height_m, kernel), cv2.dilate(shadow.low, kernel)
    )


def dimming(shadow: ShadowMap, light: Light) -> Float:
    """(R, C, 3) float32: the share of its light that the ground keeps, softer the higher up and the further off the caster is."""
    up = max(float(light.towards[2]), 0.15)
    lamp, sky = light.colour.astype(np.float64) * up, light.ambient.astype(np.float64)
    lamp_share = lamp / np.maximum(lamp + sky, 1e-9)
    is_dark = (shadow.height_m >= 0).astype(np.float32)
    soft_m = 0.015 + 0.12 * (1 - light.hardness)
    sharp, wide = (_soften(is_dark, soft_m * factor / shadow.cell_m) for factor in (1.0, 2.5))
    tall = np.clip(_soften(np.maximum(shadow.height_m, 0), 0.1 / shadow.cell_m) / 1.3, 0, 1)
    direct = sharp + (wide - sharp) * tall
    below = _soften(shadow.low, 0.07 / shadow.cell_m)
    dark: Float = direct[:, :, None] * (lamp_share * (0.55 + 0.45 * light.hardness)).astype(np.float32)
    dark += np.minimum(1, 1.6 * below)[:, :, None] * (0.6 * (1 - lamp_share)).astype(np.float32)
    return np.maximum(1 - dark, np.float32(0.05))


def _soften(values: Float, cells: float) -> Float:
    """Two box filters, nearly a Gaussian of that deviation, for a time that does not depend on it."""
    side = 2 * max(1, round(cells * 1.2)) + 1
    once: Float = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    twice: Float = cv2.blur(once, (side, side), borderType=cv2.BORDER_REPLICATE)
    return twice


@compiled
def darken(colour, ground_m, dimmed, cell_m, corner_m, out):  # type: ignore[no-untyped-def]
    """Fill out (H, W, 3) with colour (H, W, 3) under the shadows `dimmed` (R, C, 3) where ground_m (H, W, 2) lies in them."""
    rows, columns = dimmed.shape[0], dimmed.shape[1]
    half, one, scale = np.float32(0.5), np.float32(1), np.float32(1) / cell_m
    for y in range(colour.shape[0]):
        for x in range(colour.shape[1]):
            for k in range(3):
                out[y, x, k] = colour[y, x, k]
            column = (ground_m[y, x, 0] - corner_m[0]) * scale - half
            row = (ground_m[y, x, 1] - corner_m[1]) * scale - half
            if not (0 <= column < columns - 1 and 0 <= row < rows - 1):
                continue
            i, j = np.int64(row), np.int64(column)
            fy, fx = row - np.float32(i), column - np.float32(j)
            for k in range(3):
                upper = dimmed[i, j, k] + fx * (dimmed[i, j + 1, k] - dimmed[i, j, k])
                lower = dimmed[i + 1, j, k] + fx * (dimmed[i + 1, j + 1, k] - dimmed[i + 1, j, k])
                out[y, x, k] *= upper + fy * (lower - upper)
    return one
