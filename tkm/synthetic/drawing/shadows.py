"""Shadows: one map of what stands over each cell of the ground, seen along the light.

The map is laid on the ground, and every point of a person is pushed onto it along the light. It holds the height of the highest
point that fell into each cell: a point lower on the same ray is in its shadow. From it come the shadows of people on each other
and on themselves (`tkm.synthetic.shading.light_vertices`) and, softened, those on the ground.

Shape legend: V vertices, F triangles, R x C cells, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.compiled import compiled
from tkm.synthetic.drawing.plate import Light
from tkm.types import Float, check

_CELL_M = 0.03
_MAX_CELLS = 900  # a side: more people than that are far from each other, and get coarser cells
_LOWEST_SINE = 0.34  # shadows of a lower sun would leave the map
_REACH_M = 0.45  # from a joint to the skin, hair and bags around it, at most
_LOW_M = np.float32(0.22)  # what is lower than this keeps the light of the sky from the ground below


@dataclass(frozen=True)
class ShadowMap:
    """The ground's cells.

    lean       (2,) float64, how far a shadow reaches a metre of height, in x and y
    corner_m   (2,) float32, x and y of the first cell's corner
    cell_m     side of a cell
    height_m   (R, C) float32, of the highest point that lies over the cell along the light, 0 for none; rows go with y
    above_m    (R, C) float32, of the highest point that lies straight above, 0 for none
    low        (R, C) float32, 1 where something lies straight above and hardly higher than the ground
    """

    lean: Double
    corner_m: Float
    cell_m: float
    height_m: Float
    above_m: Float
    low: Float

    def __post_init__(self) -> None:
        check(self, "lean", (2,), np.float64)
        check(self, "corner_m", (2,), np.float32)
        check(self, "height_m", (None, None), np.float32)
        check(self, "above_m", self.height_m.shape, np.float32)
        check(self, "low", self.height_m.shape, np.float32)


def empty_map(light: Light, joints_m: Double) -> ShadowMap:
    """A map that holds the shadows of people whose joints these are, (N, 3)."""
    towards = light.towards.astype(np.float64)
    lean = -towards[:2] / max(float(towards[2]), _LOWEST_SINE)
    ends_m = np.concatenate([joints_m[:, :2], joints_m[:, :2] + joints_m[:, 2:] * lean])
    if not len(ends_m):
        ends_m = np.zeros((1, 2))
    reach_m = _REACH_M * (1 + float(np.abs(lean).max()))
    size_m = np.ptp(ends_m, axis=0) + 2 * reach_m
    cell_m = max(_CELL_M, float(size_m.max()) / _MAX_CELLS)
    columns, rows = np.ceil(size_m / cell_m).astype(int)
    cells = np.zeros((3, rows, columns), np.float32)
    return ShadowMap(lean, (ends_m.min(axis=0) - reach_m).astype(np.float32), cell_m, cells[0], cells[1], cells[2])


def ground_transform(camera: Camera, t: int, lean: Double) -> tuple[Float, Float]:
    """From the camera's axes in frame t to x and y of the ground and the height over it: along the light, and straight down.

    Returns: two (3, 4) float32.
    """
    down = np.concatenate([camera.rotation[t].T, camera.position_m[t][:, None]], axis=1)
    along = down.copy()
    along[:2] += lean[:, None] * down[2]
    return along.astype(np.float32), down.astype(np.float32)


@compiled
def cast(point_m, faces, start, stop, along, down, cell_m, corner_m, height_m, above_m, low):
    """Enter the middles of triangles start to stop in a map's height_m, above_m and low, (R, C).

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
        c = np.int64(np.floor((down[0, 0] * x + down[0, 1] * y + down[0, 2] * z + down[0, 3] - corner_m[0]) * scale))
        r = np.int64(np.floor((down[1, 0] * x + down[1, 1] * y + down[1, 2] * z + down[1, 3] - corner_m[1]) * scale))
        if 0 <= r < rows and 0 <= c < columns:
            above_m[r, c] = max(above_m[r, c], height)
            if height < _LOW_M:
                low[r, c] = np.float32(1)


def closed(shadow: ShadowMap) -> ShadowMap:
    """The map with each cell as high as the highest of its neighbours, as middles of triangles lie further apart than cells; what
    lies straight above, over which sky spreads around, as the mean of some.
    """
    kernel = np.ones((3, 3), np.uint8)
    height_m, above_m = (cv2.dilate(cells, kernel).astype(np.float32, copy=False) for cells in (shadow.height_m, shadow.above_m))
    return replace(shadow, height_m=height_m, above_m=_soften(above_m, 0.06 / shadow.cell_m))


def dimming(shadow: ShadowMap, light: Light) -> Float:
    """(R, C, 3) float32: the share of its light that the ground keeps, softer the higher up and the further off the caster is."""
    lamp, sky = light.colour.astype(np.float64) * max(float(light.towards[2]), 0.15), light.ambient.astype(np.float64)
    lamp_share = lamp / np.maximum(lamp + sky, 1e-9)
    is_dark = (shadow.height_m > 0).astype(np.float32)
    soft_cells = (0.015 + 0.12 * (1 - light.hardness)) / shadow.cell_m
    keeps = np.empty((*is_dark.shape, 3), np.float32)
    _mix(
        _soften(is_dark, soft_cells), _soften(is_dark, 2.5 * soft_cells), _soften(shadow.height_m, 0.1 / shadow.cell_m),
        _soften(shadow.low, 0.07 / shadow.cell_m), (lamp_share * (0.55 + 0.45 * light.hardness)).astype(np.float32),
        (0.6 * (1 - lamp_share)).astype(np.float32), keeps,
    )  # fmt: skip
    return keeps


def _soften(cells: Float, deviation: float) -> Float:
    """Two box filters, nearly a Gaussian of that deviation in cells, for a time that does not depend on it."""
    side = 2 * max(1, round(deviation * 1.2)) + 1
    once = cv2.blur(cells, (side, side), borderType=cv2.BORDER_REPLICATE)
    return cv2.blur(once, (side, side), borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)


@compiled
def _mix(sharp, wide, height_m, low, lamp_share, sky_share, keeps):
    """Fill keeps (R, C, 3): what is left by the shadows `sharp` and, of what is high, `wide`, and by the darkness below `low`."""
    zero, one = np.float32(0), np.float32(1)
    for r in range(keeps.shape[0]):
        for c in range(keeps.shape[1]):
            high = min(height_m[r, c] * np.float32(0.75), one)
            direct = sharp[r, c] + (wide[r, c] - sharp[r, c]) * high
            below = min(one, low[r, c] * np.float32(1.6))
            for k in range(3):
                keeps[r, c, k] = max(one - direct * lamp_share[k] - below * sky_share[k], zero)


@compiled
def darken(colour, ground_m, keeps, cell_m, corner_m):
    """Darken colour (H, W, 3) by the shadows keeps (R, C, 3) where ground_m (H, W, 2) lies in them."""
    half, zero, scale = np.float32(0.5), np.float32(0), np.float32(1) / cell_m
    last_row, last_column = np.float32(keeps.shape[0] - 1), np.float32(keeps.shape[1] - 1)
    for y in range(colour.shape[0]):
        for x in range(colour.shape[1]):
            column = (ground_m[y, x, 0] - corner_m[0]) * scale - half
            if not zero <= column < last_column:
                continue
            row = (ground_m[y, x, 1] - corner_m[1]) * scale - half
            if not zero <= row < last_row:
                continue
            i, j = np.int64(row), np.int64(column)
            fy, fx = row - np.float32(i), column - np.float32(j)
            for k in range(3):
                upper = keeps[i, j, k] + fx * (keeps[i, j + 1, k] - keeps[i, j, k])
                lower = keeps[i + 1, j, k] + fx * (keeps[i + 1, j + 1, k] - keeps[i + 1, j, k])
                colour[y, x, k] *= upper + fy * (lower - upper)
