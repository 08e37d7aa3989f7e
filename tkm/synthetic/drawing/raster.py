"""The depth buffer: which triangle is nearest at each of 2 x 2 samples a pixel.

Shape legend: V vertices, F triangles, H x W pixels.
"""

from __future__ import annotations

import numpy as np

from tkm.synthetic.drawing.compiled import compiled


@compiled
def double(depth_m, doubled):
    """Fill doubled (2H, 2W) with each of depth_m (H, W) four times."""
    for y in range(depth_m.shape[0]):
        for x in range(depth_m.shape[1]):
            value = depth_m[y, x]
            doubled[2 * y, 2 * x] = value
            doubled[2 * y, 2 * x + 1] = value
            doubled[2 * y + 1, 2 * x] = value
            doubled[2 * y + 1, 2 * x + 1] = value


@compiled
def rasterise(screen, faces, start, stop, thin, face_segment, number, depth_m, person, segment, triangle):
    """Draw triangles start to stop of one person into the buffers, (2H, 2W) each, where they are nearest.

    Of screen (V, 3), as `skin` fills it; faces (F, 3), drawn only from outside unless thin (F,); face_segment (F,). A sample
    on the edge of two triangles belongs to both, so there are no cracks.
    """
    rows, columns = depth_m.shape
    half, two, zero, slack = np.float32(0.5), np.float32(2), np.float32(0), np.float32(-1e-5)
    last_row, last_column = np.float32(rows - 1), np.float32(columns - 1)
    for f in range(start, stop):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        wi, wj, wk = screen[i, 2], screen[j, 2], screen[k, 2]
        if wi == 0 or wj == 0 or wk == 0:
            continue
        xi, yi = screen[i, 0] * two, screen[i, 1] * two
        xj, yj = screen[j, 0] * two, screen[j, 1] * two
        xk, yk = screen[k, 0] * two, screen[k, 1] * two
        area = (xk - xi) * (yj - yi) - (xj - xi) * (yk - yi)  # > 0 from outside: pixels count downwards
        if area == 0 or (area < 0 and not thin[f]):
            continue
        left = np.int64(max(np.ceil(min(xi, xj, xk) - half), zero))
        right = np.int64(min(np.floor(max(xi, xj, xk) - half), last_column))
        top = np.int64(max(np.ceil(min(yi, yj, yk) - half), zero))
        bottom = np.int64(min(np.floor(max(yi, yj, yk) - half), last_row))
        if left > right or top > bottom:
            continue
        scale = np.float32(1) / area
        for y in range(top, bottom + 1):
            py = np.float32(y) + half
            for x in range(left, right + 1):
                px = np.float32(x) + half
                bi = ((xk - px) * (yj - py) - (xj - px) * (yk - py)) * scale
                bj = ((xi - px) * (yk - py) - (xk - px) * (yi - py)) * scale
                bk = np.float32(1) - bi - bj
                if bi < slack or bj < slack or bk < slack:
                    continue
                depth = np.float32(1) / (bi * wi + bj * wj + bk * wk)
                if depth < depth_m[y, x]:
                    depth_m[y, x] = depth
                    person[y, x] = number
                    segment[y, x] = face_segment[f]
                    triangle[y, x] = f
