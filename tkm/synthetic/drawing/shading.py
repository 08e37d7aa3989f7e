"""Light on people: how much of it each vertex gets, and the colour of each pixel from its samples' triangles and materials.

Shape legend: V vertices, F triangles, M materials, H x W pixels, N pixels that show people.
"""

from __future__ import annotations

import numpy as np

from tkm.synthetic.compiled import compiled
from tkm.types import Float


def linear_of(srgb: Float) -> Float:
    """From sRGB in [0, 1] to linear light, float32 of the same shape (IEC 61966-2-1)."""
    values = srgb.astype(np.float64)
    linear: Float = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return linear


@compiled
def light_vertices(point_m, normal, is_used, towards, up, lamp, ambient, along, down, cell_m, corner_m, height_m, above_m, light):
    """Fill light (V, 4) where is_used (V,): what a white surface gets, in three colours, and what a mirror shows of the lamp.

    Args: point_m, normal, (V, 3), and towards, up, (3,), in the camera's axes; lamp, ambient, (3,); along, down, of
    `ground_transform`; cell_m, corner_m, height_m and above_m of the shadow map. Light wraps a little around edges, as it does in
    skin and cloth; what is over a surface keeps some light of the sky from it.
    """
    rows, columns = height_m.shape
    half, one, wrap = np.float32(0.5), np.float32(1), np.float32(0.12)
    for v in range(len(point_m)):
        if not is_used[v]:
            continue
        nx, ny, nz = normal[v, 0], normal[v, 1], normal[v, 2]
        x, y, z = point_m[v, 0], point_m[v, 1], point_m[v, 2]
        facing = nx * towards[0] + ny * towards[1] + nz * towards[2]
        lit = max(np.float32(0), (facing + wrap) / (one + wrap))
        if lit > 0:
            # Looked up a little outside of the surface, which would else shade itself.
            a, b, c = x + nx * np.float32(0.02), y + ny * np.float32(0.02), z + nz * np.float32(0.02)
            column = (along[0, 0] * a + along[0, 1] * b + along[0, 2] * c + along[0, 3] - corner_m[0]) / cell_m - half
            row = (along[1, 0] * a + along[1, 1] * b + along[1, 2] * c + along[1, 3] - corner_m[1]) / cell_m - half
            height = along[2, 0] * a + along[2, 1] * b + along[2, 2] * c + along[2, 3] + np.float32(0.05)
            i, j = np.int64(np.floor(row)), np.int64(np.floor(column))
            if 0 <= i < rows - 1 and 0 <= j < columns - 1:
                fy, fx = row - np.float32(i), column - np.float32(j)
                hidden = np.float32(0)
                if height_m[i, j] > height:
                    hidden += (one - fy) * (one - fx)
                if height_m[i, j + 1] > height:
                    hidden += (one - fy) * fx
                if height_m[i + 1, j] > height:
                    hidden += fy * (one - fx)
                if height_m[i + 1, j + 1] > height:
                    hidden += fy * fx
                lit *= one - hidden
        sky = np.float32(0.75) + np.float32(0.25) * (nx * up[0] + ny * up[1] + nz * up[2])
        a, b, c = x + nx * np.float32(0.05), y + ny * np.float32(0.05), z + nz * np.float32(0.05)
        j = np.int64(np.floor((down[0, 0] * a + down[0, 1] * b + down[0, 2] * c + down[0, 3] - corner_m[0]) / cell_m))
        i = np.int64(np.floor((down[1, 0] * a + down[1, 1] * b + down[1, 2] * c + down[1, 3] - corner_m[1]) / cell_m))
        if 0 <= i < rows and 0 <= j < columns:
            height = down[2, 0] * a + down[2, 1] * b + down[2, 2] * c + down[2, 3]
            sky *= one - np.float32(0.45) * min(max((above_m[i, j] - height) * np.float32(1.4), np.float32(0)), one)
        for k in range(3):
            light[v, k] = lamp[k] * lit + ambient[k] * sky
        far = one / np.sqrt(x * x + y * y + z * z)
        hx, hy, hz = towards[0] - x * far, towards[1] - y * far, towards[2] - z * far
        shine = max(np.float32(0), (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-9)))
        shine *= shine
        shine *= shine
        shine *= shine
        shine *= shine
        light[v, 3] = shine * min(one, lit * np.float32(4))


@compiled
def _lattice(i, j, k):
    """A number in [0, 1) for a place of whole coordinates, that has no visible order."""
    h = np.uint32(i) * np.uint32(73856093) ^ np.uint32(j) * np.uint32(19349663) ^ np.uint32(k) * np.uint32(83492791)
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(1274126177))
    return np.float32((h >> np.uint32(8)) & np.uint32(0xFFFF)) * np.float32(1 / 65536)


@compiled
def _noise(x, y, z):
    """Smooth noise in [0, 1) with one bump a unit."""
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    total = np.float32(0)
    for a in range(2):
        wa = fx if a else np.float32(1) - fx
        for b in range(2):
            wb = fy if b else np.float32(1) - fy
            for c in range(2):
                wc = fz if c else np.float32(1) - fz
                total += wa * wb * wc * _lattice(i + a, j + b, k + c)
    return total


@compiled
def _second_share(pattern, period_m, direction, x, y, z):
    """Share of a material's second colour at a place of the body at rest; patterns are numbered as in `Pattern`.

    Around the body, x and y count together, so that checks and dots neither smear on its front nor on its sides.
    """
    if pattern == 1:
        along = (x * direction[0] + y * direction[1] + z * direction[2]) / period_m
        return np.float32(1) if along - np.floor(along) < 0.5 else np.float32(0)
    u, v = (x + np.float32(0.7) * y) / period_m, z / period_m
    if pattern == 2:
        u, v = u - np.floor(u), v - np.floor(v)
        return (np.float32(0.5) if u < 0.5 else np.float32(0)) + (np.float32(0.5) if v < 0.5 else np.float32(0))
    if pattern == 3:
        row = np.floor(v)
        u, v = u + np.float32(0.5) * row, v - row - np.float32(0.5)
        u -= np.floor(u) + np.float32(0.5)
        return np.float32(1) if u * u + v * v < 0.08 else np.float32(0)
    blotch = np.float32(0.7) * _noise(x / period_m, y / period_m, z / period_m)
    blotch += np.float32(0.3) * _noise(
        np.float32(2.3) * x / period_m, np.float32(2.3) * y / period_m, np.float32(2.3) * z / period_m
    )
    if blotch < 0.43:
        return np.float32(0)
    return np.float32(0.5) if blotch < 0.54 else np.float32(1)


@compiled
def _is_one_surface(person, depth_m, y, x):
    """Whether the four samples from (y, x) on show one person, about as far away."""
    p, d = person[y, x], depth_m[y, x]
    if person[y, x + 1] != p or person[y + 1, x] != p or person[y + 1, x + 1] != p:
        return False
    low = min(d, depth_m[y, x + 1], depth_m[y + 1, x], depth_m[y + 1, x + 1])
    high = max(d, depth_m[y, x + 1], depth_m[y + 1, x], depth_m[y + 1, x + 1])
    return high - low < np.float32(0.05)


@compiled
def shade(
    person, triangle, depth_m, top, bottom, left, right,
    screen, velocity_px, light, rest_m, faces, material, colour, second, pattern, period_m, direction, gloss, lamp,
    where, at, rgba, moved_px, near_m, entry,
):  # fmt: skip
    """Shade the pixels of a rectangle that show people; returns their number N.

    Args: person, triangle, depth_m, (2H, 2W), of `rasterise`; the rectangle; screen (V, 3), velocity_px (V, 2), light (V, 4) and
    rest_m (V, 3); faces (F, 3) and material (F,); colour and second (M, 3), linear, and the other properties of the M materials.
    Fills the first N rows of `at` (., 2), row and column; rgba (., 4), colour times covered share, and that share; moved_px
    (., 2), pixels a frame; near_m (.); and entry (H, W) with the row of a pixel in these, while pixels that show nobody keep
    their -1. `where` is (4,) int64 scratch.
    """
    count = 0
    half, one, quarter = np.float32(0.5), np.float32(1), np.float32(0.25)
    for row in range(top, bottom):
        for col in range(left, right):
            y0, x0 = 2 * row, 2 * col
            if person[y0, x0] & person[y0, x0 + 1] & person[y0 + 1, x0] & person[y0 + 1, x0 + 1] < 0:  # -1 in all four
                continue
            covered = 0
            for s in range(4):
                if person[y0 + s // 2, x0 + s % 2] >= 0:
                    where[covered] = s
                    covered += 1
            covered_share = np.float32(covered) * quarter
            red = green = blue = np.float32(0)
            nearest = np.float32(np.inf)
            front = 0
            if covered == 4 and _is_one_surface(person, depth_m, y0, x0):
                where[1], covered = 3, 2  # across the pixel: enough for patterns and creases
            weight_each = covered_share / np.float32(covered)
            for n in range(covered):
                s = where[n]
                y, x = y0 + s // 2, x0 + s % 2
                f = triangle[y, x]
                if depth_m[y, x] < nearest:
                    nearest, front = depth_m[y, x], f
                px, py = (np.float32(x) + half) * half, (np.float32(y) + half) * half
                m = material[f]
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                xi, yi, xj, yj, xk, yk = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1], screen[k, 0], screen[k, 1]
                area = (xk - xi) * (yj - yi) - (xj - xi) * (yk - yi)
                bi = ((xk - px) * (yj - py) - (xj - px) * (yk - py)) * screen[i, 2]
                bj = ((xi - px) * (yk - py) - (xk - px) * (yi - py)) * screen[j, 2]
                bk = ((xj - px) * (yi - py) - (xi - px) * (yj - py)) * screen[k, 2]
                total = one / (bi + bj + bk)
                bi, bj, bk = bi * total, bj * total, bk * total
                share = np.float32(0)
                if pattern[m] != 0:
                    share = _second_share(
                        pattern[m], period_m[m], direction[m],
                        bi * rest_m[i, 0] + bj * rest_m[j, 0] + bk * rest_m[k, 0],
                        bi * rest_m[i, 1] + bj * rest_m[j, 1] + bk * rest_m[k, 1],
                        bi * rest_m[i, 2] + bj * rest_m[j, 2] + bk * rest_m[k, 2],
                    )  # fmt: skip
                weight = weight_each
                if area < 0:  # the inside of a thin part gets less light than its outside
                    weight *= half
                mirror = gloss[m] * (bi * light[i, 3] + bj * light[j, 3] + bk * light[k, 3])
                matt = one - gloss[m]
                lit = bi * light[i, 0] + bj * light[j, 0] + bk * light[k, 0]
                red += weight * ((colour[m, 0] + share * (second[m, 0] - colour[m, 0])) * matt * lit + mirror * lamp[0])
                lit = bi * light[i, 1] + bj * light[j, 1] + bk * light[k, 1]
                green += weight * ((colour[m, 1] + share * (second[m, 1] - colour[m, 1])) * matt * lit + mirror * lamp[1])
                lit = bi * light[i, 2] + bj * light[j, 2] + bk * light[k, 2]
                blue += weight * ((colour[m, 2] + share * (second[m, 2] - colour[m, 2])) * matt * lit + mirror * lamp[2])
            at[count, 0], at[count, 1] = row, col
            rgba[count, 0], rgba[count, 1], rgba[count, 2], rgba[count, 3] = red, green, blue, covered_share
            i = faces[front, 0]
            moved_px[count, 0], moved_px[count, 1] = velocity_px[i, 0], velocity_px[i, 1]
            near_m[count] = nearest
            entry[row, col] = count
            count += 1
    return count
