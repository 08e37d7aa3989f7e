"""The depth buffer: which triangle is nearest at each of 2 x 2 samples a pixel.

Shape legend: V vertices, F triangles, H x W pixels.
"""

from __future__ import annotations

import numpy as np

from tkm.synthetic.compiled import compiled


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

    Of screen (V, 3), as `skin` fills it; faces (F, 3), drawn only from outside unless thin (F,); face_segment (F,). Two triangles
    cut their common edge at the very same places, and a sample between them belongs to one, so there are no cracks.
    """
    rows, columns = depth_m.shape
    one, two, half = np.float32(1), np.float64(2), np.float64(0.5)
    for f in range(start, stop):
        i, j, k = np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])
        xi, yi, xj, yj, xk, yk = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1], screen[k, 0], screen[k, 1]
        area = (xk - xi) * (yj - yi) - (xj - xi) * (yk - yi)  # > 0 from outside: pixels count downwards
        if area == 0 or (area < 0 and not thin[f]):
            continue
        wi, wj, wk = screen[i, 2], screen[j, 2], screen[k, 2]
        if wi == 0 or wj == 0 or wk == 0:
            continue
        if yj < yi:
            xi, yi, wi, xj, yj, wj = xj, yj, wj, xi, yi, wi
        if yk < yj:
            xj, yj, wj, xk, yk, wk = xk, yk, wk, xj, yj, wj
            if yj < yi:
                xi, yi, wi, xj, yj, wj = xj, yj, wj, xi, yi, wi
        # From the highest corner to the lowest, in samples, whose middles have whole coordinates. In float64, as the slopes of a
        # sliver are quotients of small differences.
        x0, y0, w0 = two * xi - half, two * yi - half, np.float64(wi)
        x1, y1, w1 = two * xj - half, two * yj - half, np.float64(wj)
        x2, y2, w2 = two * xk - half, two * yk - half, np.float64(wk)
        top, middle, bottom = max(int(np.ceil(y0)), 0), int(np.ceil(y1)), min(int(np.ceil(y2)), rows)
        if top >= bottom:
            continue
        whole, upper, lower = (x2 - x0) / (y2 - y0), (x1 - x0) / (y1 - y0), (x2 - x1) / (y2 - y1)
        across = one / ((x2 - x0) * (y1 - y0) - (x1 - x0) * (y2 - y0))
        slope_x = ((w2 - w0) * (y1 - y0) - (w1 - w0) * (y2 - y0)) * across  # of 1 / depth, which is linear in the picture
        slope_y = ((w1 - w0) * (x2 - x0) - (w2 - w0) * (x1 - x0)) * across
        step = np.float32(slope_x)
        for y in range(top, bottom):
            one_side = x0 + (y - y0) * whole
            other = x0 + (y - y0) * upper if y < middle else x1 + (y - y1) * lower
            left, right = (other, one_side) if across > 0 else (one_side, other)
            first, last = max(int(np.ceil(left)), 0), min(int(np.ceil(right)), columns)
            near = np.float32(w0 + (first - x0) * slope_x + (y - y0) * slope_y)
            for x in range(first, last):
                if near * depth_m[y, x] > one:
                    depth_m[y, x] = one / near
                    person[y, x] = number
                    segment[y, x] = face_segment[f]
                    triangle[y, x] = f
                near += step
