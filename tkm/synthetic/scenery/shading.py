"""What colour the surfaces of a scene have, at each pixel of a picture of it.

Shape legend: F triangles, S side of a map in pixels, K textures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.compiled import compiled
from tkm.synthetic.drawing.plate import Light
from tkm.synthetic.scenery.raster import fill
from tkm.synthetic.scenery.solids import Solids
from tkm.synthetic.scenery.textures import PERIOD_M, Grain, Texture, texture_images
from tkm.types import Float

SKY, GROUND = -1, -2  # instead of a triangle's number
_SIDE_PX = 512  # of a texture; `compiled` wants it in this file
_LEVELS = int(np.log2(_SIDE_PX)) + 1
_LEVEL_START = np.concatenate([[0], np.cumsum(4 ** np.arange(_LEVELS - 1, -1, -1))]).astype(np.int64)
_MACRO_M = 9.0  # period of the stains that make repeating textures look less alike
_SHADOW_PX, _SHADOW_REACH_M = 1024, 13.0
_AO_PX, _AO_REACH_M = 512, 16.0


@dataclass(frozen=True)
class Air:
    """What is above and between things, linear: colours of the sky, clouds, haze.

    zenith, horizon   (3,) float64
    cloud             share of the sky that is covered
    haze_m            distance after which about two thirds of a colour is the horizon's; infinite indoors
    """

    zenith: Double
    horizon: Double
    cloud: float
    haze_m: float


def mip_maps(kinds: tuple[Texture, ...], grain: Grain, rng: np.random.Generator) -> Float:
    """(K, texels of all levels, 3): each texture at full size, then halved and halved again."""
    images = texture_images(kinds, grain, rng)
    if images.shape[1:3] != (_SIDE_PX, _SIDE_PX):
        raise ValueError(f"textures must be {_SIDE_PX} pixels wide and high, not {images.shape[1:3]}")
    mips = np.empty((len(kinds), int(_LEVEL_START[-1]) + 1, 3), np.float32)
    for number, image in enumerate(images):
        level = image
        for start in _LEVEL_START:
            mips[number, start : start + len(level) ** 2] = level.reshape(-1, 3)
            level = cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if len(level) > 1 else level
    return mips


def shadow_map(solids: Solids, light: Light) -> tuple[Double, Float]:
    """How high towards the lamp the highest surface is.

    Returns: (3, 3) axes of the map, the last of them towards the lamp, and (S, S) metres along it, -inf where there is nothing.
    """
    towards = light.towards.astype(np.float64)
    side = np.cross(towards, [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(towards, side), towards])
    return axes, _map(solids.corners_m[solids.casts] @ axes.T, _SHADOW_PX, _SHADOW_REACH_M)


def occlusion_map(solids: Solids) -> Float:
    """(S, S) share of the sky that things standing on the ground hide from the ground around them."""
    low = ~solids.level & (solids.corners_m[:, :, 2].min(axis=1) < 0.4)
    stands = (_map(solids.corners_m[low] * [1, 1, -1], _AO_PX, _AO_REACH_M) > -np.inf).astype(np.float32)
    metre = _AO_PX / (2 * _AO_REACH_M)
    near, wide = (cv2.GaussianBlur(stands, (0, 0), sigma_m * metre) for sigma_m in (0.12, 0.45))
    return np.minimum(0.55 * near + 0.45 * wide, 1.0)


def _map(corners: Double, side_px: int, reach_m: float) -> Float:
    triangles = np.ascontiguousarray(corners)
    triangles[:, :, :2] = (triangles[:, :, :2] + reach_m) * (side_px / (2 * reach_m))
    highest = np.full((side_px, side_px), -np.inf, np.float32)
    fill(triangles, np.arange(len(triangles), dtype=np.int32), highest, np.empty((side_px, side_px), np.int32))
    return highest


def surfaces(solids: Solids, kinds: tuple[Texture, ...]) -> tuple[Float, NDArray[np.int32]]:
    """Triangles as the shading reads them: (F, 24) float32 and (F,) the number of each texture among `kinds`.

    Columns: normal 0:3, tint 3:6, u 6:10 and v 10:14 in periods of the texture, centre 14:17, axis 17:20, glow 20, gloss 21,
    level 22, round 23.
    """
    c = solids.corners_m
    normal = np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    place = np.zeros(max(Texture) + 1, np.int32)
    period = np.ones(max(Texture) + 1)
    for number, kind in enumerate(kinds):
        place[kind], period[kind] = number, PERIOD_M[kind]
    across = (solids.across / period[solids.texture][:, None, None]).reshape(-1, 8)
    is_round = ~np.isnan(solids.centre_m[:, :1])
    rows = [normal, solids.tint, across, np.nan_to_num(solids.centre_m), solids.axis, solids.glow[:, None], solids.gloss[:, None],
            solids.level[:, None], is_round]  # fmt: skip
    return np.concatenate(rows, axis=1).astype(np.float32), place[solids.texture]


def air_values(air: Air, light: Light, position_m: Double, shadow_axes: Double, softness_m: float) -> Float:
    """All numbers of the surroundings as one array, in the order that `shade` reads them."""
    rows: list[Any] = [
        light.towards,
        light.colour,
        light.ambient,
        air.zenith,
        air.horizon,
        position_m,
        shadow_axes.ravel(),
        [air.cloud, 1 / air.haze_m, softness_m],
    ]
    return np.concatenate(rows).astype(np.float32)


@compiled
def _bilinear(image, start, side, u, v):
    """Place (u, v) in periods, of a square image that repeats, within a flat list of texels."""
    x, y = u * side - 0.5, v * side - 0.5
    floor_x, floor_y = np.floor(x), np.floor(y)
    fx, fy = np.float32(x - floor_x), np.float32(y - floor_y)
    mask = side - 1
    x0, y0 = int(floor_x) & mask, int(floor_y) & mask
    x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
    a, b, c, d = (
        image[start + y0 * side + x0],
        image[start + y0 * side + x1],
        image[start + y1 * side + x0],
        image[start + y1 * side + x1],
    )
    wa, wb, wc, wd = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    return (
        a[0] * wa + b[0] * wb + c[0] * wc + d[0] * wd,
        a[1] * wa + b[1] * wb + c[1] * wc + d[1] * wd,
        a[2] * wa + b[2] * wb + c[2] * wc + d[2] * wd,
    )


@compiled
def _texture(mips, u, v, du, dv, minor, major, jitter):
    """The mean of a texture over a footprint: (du, dv) is its longer half, in periods, minor and major its widths.

    Between two sizes of the texture, `jitter` in [-0.5, 0.5] chooses: half the work of mixing them, and no seam either.
    """
    taps = min(max(int(np.ceil(major / minor)), 1), 5)
    lod = np.log2(max(major / taps, minor) * _SIDE_PX) + jitter
    level = int(min(max(lod + 0.5, 0.0), _LEVELS - 1.0))
    r = g = b = np.float32(0)
    for tap in range(taps):
        at = (2 * tap + 1) / taps - 1
        p, q, s = _bilinear(mips, _LEVEL_START[level], _SIDE_PX >> level, u + du * at, v + dv * at)
        r += p
        g += q
        b += s
    return r / taps, g / taps, b / taps


@compiled
def _hidden(shadow, a, b, height, step, jitter, stride):
    """How many of the places around (a, b) in a shadow map something lies over: of 5 x 5, or of their 4 corners."""
    hidden = 0
    aside = jitter * 7.3 - np.floor(jitter * 7.3) - 0.5
    for i in range(-2, 3, stride):
        for j in range(-2, 3, stride):
            column, row = int(np.floor(a + (i + jitter) * step)), int(np.floor(b + (j + aside) * step))
            if 0 <= column < _SHADOW_PX and 0 <= row < _SHADOW_PX and shadow[row, column] > height:
                hidden += 1
    return hidden


@compiled
def _lit(shadow, air, x, y, z, jitter):
    """Share of a place's view of the lamp that nothing hides."""
    scale = _SHADOW_PX / (2 * _SHADOW_REACH_M)
    a = (air[18] * x + air[19] * y + air[20] * z + _SHADOW_REACH_M) * scale
    b = (air[21] * x + air[22] * y + air[23] * z + _SHADOW_REACH_M) * scale
    height = air[24] * x + air[25] * y + air[26] * z
    step = air[29] * scale * 0.5
    hidden = _hidden(shadow, a, b, height, step, jitter, 4)
    if 0 < hidden < 4:  # the corners of the lamp's spot disagree: a penumbra
        return np.float32(1 - _hidden(shadow, a, b, height, step, jitter, 1) / 25)
    return np.float32(1 - hidden / 4)


@compiled
def _sky(air, grain, dx, dy, dz):
    """The sky in a direction of the world, unit length; below the horizon it goes on as the horizon's haze."""
    up = max(dz, 0.0)
    t = np.float32(1 - (1 - up) ** 4.0)
    towards_lamp = max(dx * air[0] + dy * air[1] + dz * air[2], 0.0)
    glow = np.float32(0.25 * towards_lamp**6)
    scale = 0.22 / (up + 0.13)
    c0, _, _ = _bilinear(grain, 0, _SIDE_PX, dx * scale * 0.5, dy * scale * 0.5)
    c1, _, _ = _bilinear(grain, 0, _SIDE_PX, dx * scale * 1.7 + 0.31, dy * scale * 1.7)
    cover = (c0 + 0.45 * c1) * 0.5 + (air[27] - 0.5) * 2.6
    cover = min(max(cover * 0.9 + 0.5, 0.0), 1.0) * min(up * 9, 1.0)
    cover = np.float32(cover * cover * (3 - 2 * cover) * 0.85)
    shade = 1.02 - 0.18 * min(max(c0 * 0.5 + air[27] - 0.3, 0.0), 1.0)
    r = (air[9] * t + air[12] * (1 - t)) + glow * air[3]
    g = (air[10] * t + air[13] * (1 - t)) + glow * air[4]
    b = (air[11] * t + air[14] * (1 - t)) + glow * air[5]
    white = np.float32(shade * 0.5)
    r += (white * (air[3] * 0.7 + air[6]) - r) * cover
    g += (white * (air[4] * 0.7 + air[7]) - g) * cover
    b += (white * (air[5] * 0.7 + air[8]) - b) * cover
    return r, g, b


@compiled
def _colour(row, mips, shadow, occlusion, grain, air, x, y, z, dx, dy, dz, distance, pixel_m, jitter):
    """The light from a place of a surface (a row of `surfaces`) towards the camera. (dx, dy, dz) is the view's direction."""
    nx, ny, nz = row[0], row[1], row[2]
    if row[23] > 0:
        nx, ny, nz = x - row[14], y - row[15], z - row[16]
        along = nx * row[17] + ny * row[18] + nz * row[19]
        nx, ny, nz = nx - along * row[17], ny - along * row[18], nz - along * row[19]
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
        nx, ny, nz = nx / length, ny / length, nz / length
    facing = -(nx * dx + ny * dy + nz * dz)
    if facing < 0 and row[23] == 0:
        nx, ny, nz, facing = -nx, -ny, -nz, -facing
    facing = max(facing, 0.03)

    u = row[6] * x + row[7] * y + row[8] * z + row[9]
    v = row[10] * x + row[11] * y + row[12] * z + row[13]
    density = np.sqrt(row[6] * row[6] + row[7] * row[7] + row[8] * row[8])
    tx, ty, tz = dx + facing * nx, dy + facing * ny, dz + facing * nz
    stretch = 0.5 * pixel_m / (facing * (np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6))
    du = (row[6] * tx + row[7] * ty + row[8] * tz) * stretch
    dv = (row[10] * tx + row[11] * ty + row[12] * tz) * stretch
    r, g, b = _texture(mips, u, v, du, dv, max(pixel_m * density, 1e-5), max(pixel_m * density / facing, 1e-5), jitter)
    stain, _, _ = _bilinear(grain, 0, _SIDE_PX, (x + 0.6 * z) / _MACRO_M, (y + 0.8 * z) / _MACRO_M)
    stain = np.float32(1 + 0.07 * stain * np.exp(-distance / 25))  # far off, one would see it repeat
    r, g, b = r * row[3] * stain, g * row[4] * stain, b * row[5] * stain

    direct = max(nx * air[0] + ny * air[1] + nz * air[2], 0.0)
    bias = 0.03 + 0.05 * (1 - direct)
    if direct > 0:
        direct *= _lit(shadow, air, x + nx * bias, y + ny * bias, z + nz * bias, jitter)
    column, line = int((x + _AO_REACH_M) * (_AO_PX / (2 * _AO_REACH_M))), int((y + _AO_REACH_M) * (_AO_PX / (2 * _AO_REACH_M)))
    sky = np.float32(0.75 + 0.25 * nz)
    if nz > 0.9 and z < 0.3:
        if 0 <= column < _AO_PX and 0 <= line < _AO_PX:
            sky *= 1 - occlusion[line, column]
    else:
        sky *= 1 - 0.40 * np.exp(-max(z, 0.0) / 0.22)
    # Bounced light from the ground reaches what faces down or stands upright.
    bounce = np.float32(0.16 * (1 - nz))
    glow = row[20]
    lr = air[3] * (direct + bounce) + air[6] * sky
    lg = air[4] * (direct + bounce) + air[7] * sky
    lb = air[5] * (direct + bounce) + air[8] * sky
    r, g, b = r * (lr + glow), g * (lg + glow), b * (lb + glow)

    if row[21] > 0:
        rx, ry, rz = dx + 2 * facing * nx, dy + 2 * facing * ny, dz + 2 * facing * nz
        mirrored = np.float32(row[21] * (0.25 + 0.75 * (1 - facing) ** 5))
        mr, mg, mb = _sky(air, grain, rx, ry, rz) if rz > -0.05 else (air[6] * 0.3, air[7] * 0.3, air[8] * 0.3)
        glint = row[21] * max(rx * air[0] + ry * air[1] + rz * air[2], 0.0) ** 60 * min(direct * 3, 1.0)
        r += (mr - r) * mirrored + glint * air[3]
        g += (mg - g) * mirrored + glint * air[4]
        b += (mb - b) * mirrored + glint * air[5]
    haze = np.float32(1 - np.exp(-distance * air[28]))
    return r + (air[12] - r) * haze, g + (air[13] - g) * haze, b + (air[14] - b) * haze


@compiled
def shade(nearest, nearness, rays, faces, texture, mips, shadow, occlusion, grain, air, focal_px, photo, out):
    """Colour of each pixel from 2 x 2 samples of the nearest triangle.

    Args: nearest (2H, 2W) int32, triangle, SKY or GROUND; the last row of `faces` is the ground's. nearness, (2H, 2W) float32.
        rays, (3, 3): of pixel (x, y) is rays @ (x, y, 1), 1 long along the camera's axis. faces, texture, from `surfaces`. mips,
        (K, texels, 3). shadow, occlusion, maps. grain, (texels, 3) smooth noise. air, from `air_values`. photo, (H, W, 3), or
        (0, 0, 3) where there is none.
        out, (H, W, 4) float32, filled in: colour, and depth in metres, 0 for ground, infinite for sky.
    """
    H, W = out.shape[:2]
    shaded = np.empty((4, 3), np.float32)
    for i in range(H):
        for j in range(W):
            red = green = blue = np.float32(0)
            whole = nearest[2 * i, 2 * j]
            same = (
                nearest[2 * i, 2 * j + 1] == whole
                and nearest[2 * i + 1, 2 * j] == whole
                and nearest[2 * i + 1, 2 * j + 1] == whole
            )
            samples = 1 if same else 4
            jitter = 0.06711056 * j + 0.00583715 * i
            jitter = 52.9829189 * (jitter - np.floor(jitter))
            jitter -= np.floor(jitter) + 0.5
            depth = np.float32(np.inf)
            second = np.float32(np.inf)
            ground = 0
            for s in range(samples):
                si, sj = 2 * i + s // 2, 2 * j + s % 2
                px = j + 0.5 if same else (sj + 0.5) / 2
                py = i + 0.5 if same else (si + 0.5) / 2
                dx = rays[0, 0] * px + rays[0, 1] * py + rays[0, 2]
                dy = rays[1, 0] * px + rays[1, 1] * py + rays[1, 2]
                dz = rays[2, 0] * px + rays[2, 1] * py + rays[2, 2]
                length = np.sqrt(dx * dx + dy * dy + dz * dz)
                ux, uy, uz = dx / length, dy / length, dz / length
                face = nearest[si, sj]
                # Within a pixel, a triangle has one colour.
                known = s
                for earlier in range(s):
                    if nearest[2 * i + earlier // 2, 2 * j + earlier % 2] == face:
                        known = earlier
                if known < s:
                    r, g, b = shaded[known, 0], shaded[known, 1], shaded[known, 2]
                    here = np.float32(np.inf) if face == SKY else 1 / nearness[si, sj]
                    ground += face == GROUND or (face >= 0 and faces[face, 22] > 0)
                elif face == SKY:
                    if photo.shape[0]:
                        r, g, b = photo[i, j, 0], photo[i, j, 1], photo[i, j, 2]
                    else:
                        r, g, b = _sky(air, grain, ux, uy, uz)
                    here = np.float32(np.inf)
                else:
                    # The mean of the four samples' nearness is the pixel's, as it is linear.
                    w = nearness[si, sj]
                    if same:
                        w = (w + nearness[si, sj + 1] + nearness[si + 1, sj] + nearness[si + 1, sj + 1]) / 4
                    here = 1 / w
                    x, y, z = air[15] + here * dx, air[16] + here * dy, air[17] + here * dz
                    level = face == GROUND or faces[face, 22] > 0
                    ground += level
                    row = faces[face] if face >= 0 else faces[-1]
                    kind = texture[face] if face >= 0 else texture[-1]
                    if photo.shape[0] and face == GROUND:
                        lit = _lit(shadow, air, x, y, z + 0.03, jitter)
                        column, line = (
                            int((x + _AO_REACH_M) * (_AO_PX / (2 * _AO_REACH_M))),
                            int((y + _AO_REACH_M) * (_AO_PX / (2 * _AO_REACH_M))),
                        )
                        open_sky = np.float32(1)
                        if 0 <= column < _AO_PX and 0 <= line < _AO_PX:
                            open_sky -= occlusion[line, column]
                        share = np.float32(air[4] * air[2])
                        dark = (share * lit + air[7] * open_sky) / (share + air[7])
                        r, g, b = photo[i, j, 0] * dark, photo[i, j, 1] * dark, photo[i, j, 2] * dark
                    else:
                        r, g, b = _colour(
                            row,
                            mips[kind],
                            shadow,
                            occlusion,
                            grain,
                            air,
                            x,
                            y,
                            z,
                            ux,
                            uy,
                            uz,
                            here * length,
                            here / focal_px,
                            jitter,
                        )
                shaded[s, 0], shaded[s, 1], shaded[s, 2] = r, g, b
                red += r
                green += g
                blue += b
                # The second nearest of the samples: one sample of a thin leaf shall not make the pixel near.
                if here < depth:
                    second = depth
                    depth = here
                elif here < second:
                    second = here
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = red / samples, green / samples, blue / samples
            out[i, j, 3] = depth if same else second
            if ground * 2 > samples:
                out[i, j, 3] = 0
