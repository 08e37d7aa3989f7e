"""Motion blur: the plate by the camera's motion, people by their own, along straight lines with the frame's time in the middle.

Shape legend: H x W pixels, R x C tiles, N pixels that show people.
"""

from __future__ import annotations

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.compiled import compiled
from tkm.types import Float

REACH_PX = 40  # longest line on either side of a pixel
MARGIN_PX = REACH_PX + 1  # around a picture that is smeared
_TILE_PX = 64
_TOLERANCE_M = np.float32(0.25)  # what is nearer by less does not hide what moves past it
_STEP_M = np.float32(0.05)  # from one pixel to the next, more than that is another surface


def frame_rate(t: int, frames: int) -> tuple[int, int, float]:
    """Frames whose difference, times the last value, is the change a frame at t: its neighbours, or one at either end."""
    before, after = max(t - 1, 0), min(t + 1, frames - 1)
    return before, after, 1 / max(after - before, 1)


def camera_motion(camera: Camera, t: int, depth_m: Float) -> Float:
    """(R, C, 2) float32: pixels a frame by which the middle of each tile of the picture moves as the camera does.

    Things are taken to be as far as most of depth_m (H, W) is; a camera that only turns and zooms moves all alike.
    """
    height_px, width_px = depth_m.shape
    middles = np.meshgrid(np.arange(0, width_px, _TILE_PX) + _TILE_PX / 2, np.arange(0, height_px, _TILE_PX) + _TILE_PX / 2)
    rays = (np.stack(middles, axis=2) - np.array([width_px, height_px]) / 2) / camera.focal_px[t]
    some_m = depth_m[:: _TILE_PX // 4, :: _TILE_PX // 4].astype(np.float64)
    points = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=2) / max(float(np.median(1 / some_m)), 1e-3)
    before, after, rate = frame_rate(t, len(camera))
    world_m = points @ camera.rotation[t] + camera.position_m[t]
    moved: Double = (camera.project(after, world_m)[0] - camera.project(before, world_m)[0]) * rate
    return moved.astype(np.float32)


def extend(padded: Float) -> None:
    """Fill the margin of padded (H + 2 MARGIN_PX, W + 2 MARGIN_PX, 3) with the nearest colours of the picture in it."""
    edge = MARGIN_PX
    rows = padded[edge:-edge]
    rows[:, :edge], rows[:, -edge:] = rows[:, edge, None], rows[:, -edge - 1, None]
    padded[:edge], padded[-edge:] = padded[edge], padded[-edge - 1]


@compiled
def smear_plate(padded, moved_px, out):
    """Fill out (H, W, 3) with the mean of a picture along a line through each pixel, one direction and length a tile.

    Args: padded, (H + 2 MARGIN_PX, W + 2 MARGIN_PX, 3); moved_px, (R, C, 2), the lines. A line is a box
    filter along its longer axis; across it, what falls between two pixels is shared by them.
    """
    height, width = out.shape[0], out.shape[1]
    reach, tile, margin = REACH_PX, _TILE_PX, MARGIN_PX
    one = np.float32(1)
    dx = np.empty(4 * reach + 4, np.int64)
    dy = np.empty(4 * reach + 4, np.int64)
    weight = np.empty(4 * reach + 4, np.float32)
    for r in range(moved_px.shape[0]):
        for c in range(moved_px.shape[1]):
            vx, vy = moved_px[r, c, 0], moved_px[r, c, 1]
            flat = abs(vx) >= abs(vy)
            long, short = (vx, vy) if flat else (vy, vx)
            half = min(max(abs(long) * np.float32(0.5), np.float32(0.5)), np.float32(reach) - one)
            slope = short / long if abs(long) > np.float32(1e-6) else np.float32(0)
            taps = 0
            steps = np.int64(np.ceil(half - np.float32(0.5)))
            for k in range(-steps, steps + 1):
                share = (min(np.float32(k) + np.float32(0.5), half) - max(np.float32(k) - np.float32(0.5), -half)) / (half + half)
                beside = np.float32(k) * slope
                whole = np.int64(np.floor(beside))
                rest = beside - np.float32(whole)
                for more in range(2):
                    w = share * (rest if more else one - rest)
                    if w > np.float32(1e-4):
                        dx[taps] = k if flat else whole + more
                        dy[taps] = whole + more if flat else k
                        weight[taps] = w
                        taps += 1
            left, right = 3 * tile * c, 3 * min(tile * (c + 1), width)
            for y in range(tile * r, min(tile * (r + 1), height)):
                target = out[y].reshape(3 * width)[left:right]
                target[:] = np.float32(0)
                for n in range(taps):
                    start = left + 3 * (margin + dx[n])
                    source = padded[y + margin + dy[n]].reshape(3 * (width + 2 * margin))[start : start + right - left]
                    w = weight[n]
                    for x in range(len(target)):
                        target[x] += w * source[x]


@compiled
def smear_people(count, at, rgba, moved_px, near_m, entry, depth_m, smeared):
    """Add the pixels that show people to smeared (H, W, 4), each spread evenly over its line.

    Args: count, N; at, rgba, near_m and entry as `shade` fills them; moved_px, (., 2), the lines; depth_m (H, W), of the plate.
    What is hidden where it moves past is left out. What a moving surface uncovers shows what is next to it along the line, the
    nearer of both sides, since nothing is known of people behind people.
    """
    height, width = entry.shape
    limit, half, one = np.float32(2 * REACH_PX - 1), np.float32(0.5), np.float32(1)
    for n in range(count):
        row, column = at[n, 0], at[n, 1]
        vx, vy = moved_px[n, 0], moved_px[n, 1]
        flat = abs(vx) >= abs(vy)
        long, short = (vx, vy) if flat else (vy, vx)
        if abs(long) <= one:  # stays in its pixel
            for c in range(4):
                smeared[row, column, c] += rgba[n, c]
            continue
        slope = short / long
        reach = min(abs(long), limit) * half
        share = half / reach
        steps = np.int64(np.ceil(reach - half))
        behind = near_m[n] - _TOLERANCE_M
        red, green, blue, covered = rgba[n, 0], rgba[n, 1], rgba[n, 2], rgba[n, 3]
        for k in range(-steps, steps + 1):
            part = share * (min(np.float32(k) + half, reach) - max(np.float32(k) - half, -reach))
            beside = np.float32(k) * slope
            whole = np.int64(np.floor(beside))
            rest = beside - np.float32(whole)
            for more in range(2):
                weight = part * (rest if more else one - rest)
                y, x = (row + whole + more, column + k) if flat else (row + k, column + whole + more)
                if weight < np.float32(1e-4) or not (0 <= y < height and 0 <= x < width):
                    continue
                other = entry[y, x]
                if (near_m[other] if other >= 0 else depth_m[y, x]) < behind:
                    continue
                smeared[y, x, 0] += weight * red
                smeared[y, x, 1] += weight * green
                smeared[y, x, 2] += weight * blue
                smeared[y, x, 3] += weight * covered
    for n in range(count):
        row, column = at[n, 0], at[n, 1]
        missing = rgba[n, 3] - smeared[row, column, 3]
        if missing < np.float32(0.02):
            continue
        vx, vy = moved_px[n, 0], moved_px[n, 1]
        longer = max(abs(vx), abs(vy))
        if longer == 0:
            continue
        behind = n  # the surface goes on beyond both ends: its own colour
        steps = np.int64(min(longer, limit) * half + one)
        for side in range(2):
            sx, sy = (vx / longer, vy / longer) if side else (-vx / longer, -vy / longer)
            depth = near_m[n]
            for k in range(1, steps + 1):
                y, x = row + np.int64(np.floor(k * sy + half)), column + np.int64(np.floor(k * sx + half))
                if not (0 <= y < height and 0 <= x < width):
                    break
                other = entry[y, x]
                if other < 0:
                    if depth_m[y, x] > depth:
                        behind, steps = -1, np.int64(k - 1)
                    break
                if near_m[other] > depth + _STEP_M:
                    behind, steps = other, np.int64(k - 1)
                    break
                depth = near_m[other]
        if behind >= 0:
            for c in range(4):
                smeared[row, column, c] += missing * rgba[behind, c]


@compiled
def lay_over(smeared, top, bottom, left, right, out):
    """Lay people, smeared (H, W, 4), over out (H, W, 3) within a rectangle."""
    one = np.float32(1)
    for y in range(top, bottom):
        for x in range(left, right):
            share = smeared[y, x, 3]
            if share > 0:
                scale = one if share <= one else one / share
                rest = one - min(share, one)
                for k in range(3):
                    out[y, x, k] = out[y, x, k] * rest + smeared[y, x, k] * scale
