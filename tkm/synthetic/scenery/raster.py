"""Which triangle of a scene is nearest at each sample of a picture, or of a lamp's view.

Nearness is any quantity that is linear over a triangle in the picture and larger for what is nearer: 1 / depth for a pinhole,
height towards the lamp for parallel light. Shape legend: F triangles, N triangles in the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.compiled import compiled
from tkm.types import Float

_NEAR_M = 0.05


@compiled
def project_triangles(corners_m: Double, focal_px: float, centre_px: Double) -> tuple[Double, NDArray[np.int32]]:
    """Triangles in a camera's axes as triangles in its picture, cut at 5 cm before it.

    Args: corners_m, (F, 3, 3).
    Returns: (N, 3, 3) x and y in pixels and 1 / depth, and (N,) the triangle that each is (a part) of.
    """
    seen = np.empty((2 * len(corners_m), 3, 3))
    face = np.empty(2 * len(corners_m), np.int32)
    kept = np.empty((4, 3))
    n = 0
    for f in range(len(corners_m)):
        k = 0
        for i in range(3):
            a, b = corners_m[f, i], corners_m[f, (i + 1) % 3]
            if a[2] >= _NEAR_M:
                kept[k] = a
                k += 1
            if (a[2] >= _NEAR_M) != (b[2] >= _NEAR_M):
                kept[k] = a + (b - a) * ((_NEAR_M - a[2]) / (b[2] - a[2]))
                k += 1
        for i in range(1, k - 1):
            for corner, j in enumerate((0, i, i + 1)):
                seen[n, corner, 0] = kept[j, 0] / kept[j, 2] * focal_px + centre_px[0]
                seen[n, corner, 1] = kept[j, 1] / kept[j, 2] * focal_px + centre_px[1]
                seen[n, corner, 2] = 1 / kept[j, 2]
            face[n] = f
            n += 1
    return seen[:n], face[:n]


@compiled
def fill(triangles: Double, face: NDArray[np.int32], nearness: Float, nearest: NDArray[np.int32]) -> None:
    """Draw triangles into a picture of nearness and of the nearest triangle's number, (H, W) each, changed in place.

    Args: triangles, (N, 3, 3) x and y in samples (sample 0 spans [0, 1)), and nearness. Both sides of a triangle are drawn.
    """
    H, W = nearness.shape
    for n in range(len(triangles)):
        x0, y0, w0 = triangles[n, 0]
        x1, y1, w1 = triangles[n, 1]
        x2, y2, w2 = triangles[n, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        slope_x = ((w1 - w0) * (y2 - y0) - (w2 - w0) * (y1 - y0)) / area
        slope_y = ((w2 - w0) * (x1 - x0) - (w1 - w0) * (x2 - x0)) / area
        top = min(max(np.ceil(min(y0, y1, y2) - 0.5), 0), H)
        bottom = min(max(np.ceil(max(y0, y1, y2) - 0.5), 0), H)
        for row in range(int(top), int(bottom)):
            y = row + 0.5
            left, right = np.inf, -np.inf
            for i in range(3):
                ax, ay = triangles[n, i, 0], triangles[n, i, 1]
                bx, by = triangles[n, (i + 1) % 3, 0], triangles[n, (i + 1) % 3, 1]
                if (ay <= y) != (by <= y):
                    # From the upper end, so that the two triangles of an edge cut it at the very same place.
                    x = ax + (bx - ax) * ((y - ay) / (by - ay)) if ay < by else bx + (ax - bx) * ((y - by) / (ay - by))
                    left, right = min(left, x), max(right, x)
            if left >= right:
                continue
            start = int(min(max(np.ceil(left - 0.5), 0), W))
            stop = int(min(max(np.ceil(right - 0.5), 0), W))
            w = w0 + (start + 0.5 - x0) * slope_x + (y - y0) * slope_y
            for column in range(start, stop):
                if w > nearness[row, column]:
                    nearness[row, column] = w
                    nearest[row, column] = face[n]
                w += slope_x
