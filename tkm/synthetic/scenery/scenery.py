"""What is around people, frame after frame.

The scene is drawn once, as the camera sees it from its place, a little wider than any frame (the wall picture). Each frame is
that picture under a homography, which is exact, as cameras only turn and zoom. So a scene may be rich and its edges smooth,
while a frame costs a few milliseconds.
Shape legend: T frames, P people, H and W of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tkm.geometry import Image
from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.compiled import compiled
from tkm.synthetic.drawing.plate import Light, Plate
from tkm.synthetic.motion.motion import Seat
from tkm.synthetic.scenario import Scenario
from tkm.synthetic.scenery import shading as scene_shading
from tkm.synthetic.scenery.clutter import Obstacle, place_clutter
from tkm.synthetic.scenery.furniture import seat_solids
from tkm.synthetic.scenery.places import Place, no_place, plan_place
from tkm.synthetic.scenery.raster import fill, project_triangles
from tkm.synthetic.scenery.solids import Solids, joined, sheet
from tkm.synthetic.scenery.textures import Grain, Texture
from tkm.types import Float

_MARGIN_PX = 2  # of the wall picture around all frames
_LEVELS = (0.40, 0.60)  # mean of a scene in gamma 2, between which nothing is changed: 95 to 150 of 255
_BEFORE, _SELDOM_BEFORE = 0.85, 0.35  # share of things that stand before people, where there always are some, and where not
_PHOTO_ZOOM = 1.35  # a photo is enlarged at most this much to reach where a camera turns; the rest is mirrored


@dataclass(frozen=True)
class View:
    """The pinhole that the wall picture is drawn with: `intrinsic` (3, 3) float64, `rotation` (3, 3) float64, world to camera."""

    width_px: int
    height_px: int
    intrinsic: Double
    rotation: Double


@dataclass(frozen=True)
class Scenery:
    """A scene seen by a camera. `obstacles` are the clutter, not what stands along walls.

    wall       (H', W', 4) float32: linear colour, and metres along the view's axis, 0 for ground, infinite for sky
    is_photo   whether the ground is that of a photo, whose depth is infinite
    still      the plate of all frames, where the camera keeps still
    """

    camera: Camera
    view: View
    wall: Float
    is_photo: bool
    obstacles: tuple[Obstacle, ...]
    still: Plate | None

    def plate(self, t: int) -> Plate:
        """Frame t without people. Of a camera that keeps still it is the same object for all t."""
        return self.still or _plate(self.camera, t, self.view, self.wall, self.is_photo)


def plan_scenery(
    scenario: Scenario,
    camera: Camera,
    ground_m: Double,
    seats: Sequence[Seat],
    light: Light,
    photo: Image | None,
    rng: np.random.Generator,
) -> Scenery:
    """A scene for a clip.

    Args:
        scenario: its clutter counts.
        camera: at one place throughout; it may turn and zoom.
        ground_m: (P, T, 2) float64, where people's feet are, which nothing comes near; NaN where there is nobody.
        seats: what people sit on.
        light: shades the place, but not the photo.
        photo: (H', W', 3) uint8 sRGB, taken for everything but clutter and seats, or None.
        rng: decides all else.
    Raises: ValueError if the camera leaves its place.
    """
    if not (camera.position_m == camera.position_m[0]).all():
        raise ValueError("the camera of a scenery may turn and zoom but not leave its place")
    taken = np.concatenate([ground_m.reshape(-1, 2), camera.position_m[:1, :2]])
    place = no_place() if photo is not None else plan_place(taken[np.isfinite(taken).all(axis=1)], light, rng)
    count = int(rng.integers(scenario.clutter[0], scenario.clutter[1] + 1))
    before = _BEFORE if scenario.clutter[0] else _SELDOM_BEFORE
    clutter, obstacles = place_clutter(count, before, place.pieces, place.free_m, place.yaw, camera, ground_m, seats, rng)
    solids = joined([place.solids, clutter, *(seat_solids(seat, rng) for seat in seats)])
    view = _view(camera)
    wall = _draw(solids, place, light, view, camera.position_m[0], photo, (camera.width_px, camera.height_px), rng)
    is_photo = photo is not None
    moves = (camera.rotation != camera.rotation[0]).any() or (camera.focal_px != camera.focal_px[0]).any()
    return Scenery(camera, view, wall, is_photo, obstacles, None if moves else _plate(camera, 0, view, wall, is_photo))


def _intrinsic(focal_px: float, x_px: float, y_px: float) -> Double:
    return np.array([[focal_px, 0, x_px], [0, focal_px, y_px], [0, 0, 1.0]])


def _view(camera: Camera) -> View:
    """The pinhole in the middle of all frames, of their mean focal length, that sees all that they see."""
    focal_px = float(np.exp(np.log(camera.focal_px).mean()))
    u, _, v = np.linalg.svd(camera.rotation.mean(axis=0))
    rotation = u @ v
    W, H = camera.width_px, camera.height_px
    if (camera.rotation == camera.rotation[0]).all() and (camera.focal_px == camera.focal_px[0]).all():
        return View(W, H, _intrinsic(camera.focal_px[0], W / 2, H / 2), camera.rotation[0])
    corners = np.array([[-W / 2, -H / 2, 1], [W / 2, -H / 2, 1], [-W / 2, H / 2, 1], [W / 2, H / 2, 1.0]])
    rays = corners / np.stack([camera.focal_px, camera.focal_px, np.ones(len(camera))], axis=-1)[:, None]
    seen = rays @ camera.rotation @ rotation.T
    xy_px = (seen[..., :2] / seen[..., 2:] * focal_px).reshape(-1, 2)
    low, high = np.floor(xy_px.min(axis=0)) - _MARGIN_PX, np.ceil(xy_px.max(axis=0)) + _MARGIN_PX
    width_px, height_px = (int(size) for size in high - low)
    return View(width_px, height_px, _intrinsic(focal_px, -low[0], -low[1]), rotation)


def _draw(
    solids: Solids,
    place: Place,
    light: Light,
    view: View,
    position_m: Double,
    photo: Image | None,
    frame_px: tuple[int, int],
    rng: np.random.Generator,
) -> Float:
    """The wall picture; see Scenery."""
    H, W = view.height_px, view.width_px
    grain = Grain(rng)
    ground = sheet([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], place.ground, level=True)
    every = joined([solids, ground])  # the shading takes the last triangle for the ground
    kinds = tuple(Texture(kind) for kind in np.unique(every.texture))
    faces, texture = scene_shading.surfaces(every, kinds)
    mips = scene_shading.mip_maps(kinds, grain, rng)
    axes, shadow = scene_shading.shadow_map(solids, light)
    occlusion = scene_shading.occlusion_map(solids)
    air = scene_shading.air_values(place.air, light, position_m, axes, 0.03 + 0.20 * (1 - light.hardness) ** 1.5)

    rays = view.rotation.T @ np.linalg.inv(view.intrinsic)
    nearness, nearest = _empty(rays, position_m[2], H, W, scene_shading.SKY, scene_shading.GROUND)
    seen = (solids.corners_m - position_m) @ view.rotation.T
    triangles, face = project_triangles(seen, view.intrinsic[0, 0], view.intrinsic[:2, 2])
    triangles[:, :, :2] *= 2
    fill(triangles, face, nearness, nearest)
    wall = np.empty((H, W, 4), np.float32)
    clouds = np.repeat(grain.of(1.6).reshape(-1, 1), 3, axis=1)
    back = np.zeros((0, 0, 3), np.float32) if photo is None else _photo(photo, view, frame_px)
    scene_shading.shade(
        nearest, nearness, rays, faces, texture, mips, shadow, occlusion, clouds, air, view.intrinsic[0, 0], back, wall
    )
    if photo is None:
        wall[..., :3] *= _exposure(wall[::4, ::4, :3])
    return wall


def _exposure(colour: Float) -> np.float32:
    """By what a scene is made lighter or darker, so that people of its light are readable before it."""
    level = float(np.sqrt(np.clip(colour, 0, 1)).mean())
    return np.float32(np.clip((np.clip(level, *_LEVELS) / level) ** 2, 0.5, 2.0))


@compiled
def _empty(rays, height_m, H, W, sky, ground):
    """Nearness and nearest, 2 x 2 samples a pixel, of nothing but ground and sky, which have those numbers."""
    nearness = np.zeros((2 * H, 2 * W), np.float32)
    nearest = np.full((2 * H, 2 * W), sky, np.int32)
    for i in range(2 * H):
        for j in range(2 * W):
            down = -(rays[2, 0] * (j + 0.5) / 2 + rays[2, 1] * (i + 0.5) / 2 + rays[2, 2])
            if down > 1e-4:
                nearness[i, j] = down / height_m
                nearest[i, j] = ground
    return nearness, nearest


def _photo(photo: Image, view: View, frame_px: tuple[int, int]) -> Float:
    """The photo as the wall picture, linear: it covers the frame in the middle and what it can of the rest, then is mirrored."""
    W, H = frame_px
    enlarge = min(max(view.width_px / W, view.height_px / H), _PHOTO_ZOOM)
    scale = enlarge * max(W / photo.shape[1], H / photo.shape[0])
    size = int(np.ceil(photo.shape[1] * scale)), int(np.ceil(photo.shape[0] * scale))
    scaled = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    # The photo's middle lies where the view's axis meets the wall.
    left, top = (round(view.intrinsic[axis, 2] - size[axis] / 2) for axis in (0, 1))
    right, bottom = view.width_px - left - size[0], view.height_px - top - size[1]
    scaled = scaled[max(-top, 0) : size[1] - max(-bottom, 0), max(-left, 0) : size[0] - max(-right, 0)]
    whole = cv2.copyMakeBorder(scaled, max(top, 0), max(bottom, 0), max(left, 0), max(right, 0), cv2.BORDER_REFLECT)
    value = np.arange(256, dtype=np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)[whole]


def _plate(camera: Camera, t: int, view: View, wall: Float, is_photo: bool) -> Plate:
    frame = _intrinsic(camera.focal_px[t], camera.width_px / 2, camera.height_px / 2)
    rays = camera.rotation[t].T @ np.linalg.inv(frame)
    to_wall = view.intrinsic @ view.rotation @ rays
    H, W = camera.height_px, camera.width_px
    plate = Plate(np.empty((H, W, 3), np.float32), np.empty((H, W), np.float32), np.empty((H, W, 2), np.float32))
    _look(wall, to_wall, rays, camera.position_m[t], is_photo, plate.colour, plate.depth_m, plate.ground_m)
    return plate


@compiled
def _look(wall, to_wall, rays, position_m, is_photo, colour, depth_m, ground_m):
    """Fill in a plate from the wall picture, row by row.

    Args: to_wall, (3, 3) homography from pixels to the wall picture's. rays, (3, 3): of pixel (x, y) is rays @ (x, y, 1).
    """
    H, W = depth_m.shape
    rows, columns = wall.shape[:2]
    texels = wall.reshape(rows * columns, 4)
    half, one, far, nowhere = np.float32(0.5), np.float32(1), np.float32(np.inf), np.float32(np.nan)
    corner, (beside, below, stretch) = np.empty(W, np.int64), np.empty((3, W), np.float32)
    turn, place = rays.astype(np.float32), position_m.astype(np.float32)
    for i in range(H):
        y = i + 0.5
        aside = (rays[:, 1] * y + rays[:, 2]).astype(np.float32)
        for j in range(W):
            x = j + 0.5
            scale = 1 / (to_wall[2, 0] * x + to_wall[2, 1] * y + to_wall[2, 2])
            u = (to_wall[0, 0] * x + to_wall[0, 1] * y + to_wall[0, 2]) * scale - 0.5
            v = (to_wall[1, 0] * x + to_wall[1, 1] * y + to_wall[1, 2]) * scale - 0.5
            u, v = min(max(u, 0.0), columns - 1.001), min(max(v, 0.0), rows - 1.001)
            left, top = int(u), int(v)
            corner[j], beside[j], below[j], stretch[j] = top * columns + left, u - left, v - top, scale
        for j in range(W):
            fu, fv, n = beside[j], below[j], corner[j]
            a, b, c, d = (one - fu) * (one - fv), fu * (one - fv), (one - fu) * fv, fu * fv
            for k in range(3):
                upper = texels[n, k] * a + texels[n + 1, k] * b
                colour[i, j, k] = upper + texels[n + columns, k] * c + texels[n + columns + 1, k] * d
            # Depths are not mixed: between a near and a far thing there is nothing.
            depth_m[i, j] = texels[n + (columns if fv > half else 0) + (1 if fu > half else 0), 3]
        for j in range(W):
            across = np.float32(j) + half
            depth, down = depth_m[i, j], -(turn[2, 0] * across + aside[2])
            is_ground, away = depth == 0 and down > np.float32(1e-4), place[2] / down
            ahead = far if is_photo else away
            stands = depth * stretch[j] if depth > 0 else far
            depth_m[i, j] = ahead if is_ground else stands
            ground_x = place[0] + away * (turn[0, 0] * across + aside[0])
            ground_y = place[1] + away * (turn[1, 0] * across + aside[1])
            ground_m[i, j, 0] = ground_x if is_ground else nowhere
            ground_m[i, j, 1] = ground_y if is_ground else nowhere
