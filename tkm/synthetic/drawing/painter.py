"""Drawing the people of a clip onto its plates: pose, shadows, depth buffer, light, motion blur.

Shape legend: T frames, P people, S segments, B vertices of the naked body, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.bodies.mesh import Mesh
from tkm.synthetic.bodies.segments import SEGMENTS
from tkm.synthetic.camera import Camera
from tkm.synthetic.drawing import blur, raster, shading, shadows, skinning
from tkm.synthetic.drawing.crowd import join_meshes
from tkm.synthetic.drawing.plate import Drawn, Light, Plate
from tkm.types import Bool, Float

_SHARP_PX = 0.3  # motion shorter than this in the exposure is not drawn
_BESIDE = 0.5  # people so many picture sizes outside of the picture still cast shadows into it

Rectangle = tuple[int, int, int, int]  # top, bottom, left, right, in pixels


class Painter:
    """Draws frame after frame of one clip. Equal arguments give equal pixels, in whatever order frames are drawn."""

    def __init__(
        self,
        meshes: Sequence[Mesh],
        turned: Double,
        joint_m: Double,
        rest_joints_m: Double,
        head: Bool,
        camera: Camera,
        light: Light,
        shutter: float,
    ) -> None:
        """Take the stage.

        Args:
            meshes: of P people, who may share one.
            turned: (P, T, S, 3, 3), as `pose_segments` gives it for each person.
            joint_m: (P, T, S, 3), likewise.
            rest_joints_m: (P, S, 3), `Body.joints_m` of each.
            head: (B,) which of a body's vertices, the first ones of each mesh, the head's box is drawn around.
            camera: over the same T frames.
            light: in which people stand.
            shutter: share of the frame's time that the shutter is open.
        """
        P, T, S = len(meshes), len(camera), len(SEGMENTS)
        if (turned.shape, joint_m.shape, rest_joints_m.shape) != ((P, T, S, 3, 3), (P, T, S, 3), (P, S, 3)):
            raise ValueError(
                f"{P} meshes and {T} frames do not fit poses of {turned.shape}, {joint_m.shape}, {rest_joints_m.shape}"
            )
        self._turned, self._joint_m, self._rest_joints_m = turned, joint_m, rest_joints_m
        self._head, self._camera, self._light, self._shutter = np.flatnonzero(head), camera, light, shutter
        self._crowd = join_meshes(meshes, len(head))
        self._is_needed = self._crowd.is_used.copy()
        for p in range(P):
            self._is_needed[self._range(p)][self._head] = True

        # What each frame fills anew. Kept, as fresh memory of this size costs as much time as filling it.
        V, (H, W) = len(self._crowd.rest_m), (camera.height_px, camera.width_px)
        self._point_m, self._normal, self._screen = (np.zeros((V, 3), np.float32) for _ in range(3))
        self._velocity_px, self._light_at = np.zeros((V, 2), np.float32), np.zeros((V, 4), np.float32)
        self._triangle = np.empty((2 * H, 2 * W), np.int32)
        self._at, self._rgba = np.empty((H * W, 2), np.int32), np.empty((H * W, 4), np.float32)
        self._moved_px, self._near_m = np.empty((H * W, 2), np.float32), np.empty(H * W, np.float32)
        self._entry, self._smeared = np.empty((H, W), np.int32), np.empty((H, W, 4), np.float32)
        margin_px = 2 * blur.MARGIN_PX
        self._padded = np.empty((H + margin_px, W + margin_px, 3), np.float32)

    def draw(self, plate: Plate, t: int) -> Drawn:
        """Frame t on its plate. The colour is blurred by motion; the other buffers are those of the exposure's middle.

        Raises: ValueError where the plate has another size than the camera's pictures.
        """
        H, W = self._camera.height_px, self._camera.width_px
        if plate.depth_m.shape != (H, W):
            raise ValueError(f"the plate must have {H} x {W} pixels, not {plate.depth_m.shape}")
        self._pose(t)
        boxes = [self._box(self._range(p)) for p in range(len(self._crowd))]
        shadow, keeps = self._cast(t, [p for p, box in enumerate(boxes) if _overlaps(box, H, W, _BESIDE)])
        shown = [p for p, box in enumerate(boxes) if _overlaps(box, H, W, 0)]
        self._illuminate(t, shown, shadow)

        plate_m = np.ascontiguousarray(plate.depth_m)
        depth_m = np.empty((2 * H, 2 * W), np.float32)
        raster.double(plate_m, depth_m)
        person, segment = np.full(depth_m.shape, -1, np.int16), np.full(depth_m.shape, 255, np.uint8)
        crowd = self._crowd
        for p in shown:
            start, stop = crowd.first_face[p : p + 2]
            raster.rasterise(
                self._screen, crowd.faces, start, stop, crowd.is_thin, crowd.face_segment, p, depth_m, person, segment,
                self._triangle,
            )  # fmt: skip
        colour = self._paint_plate(plate, t, shadow, keeps)
        around = _around([boxes[p] for p in shown], H, W)
        self._paint_people(colour, plate_m, person, depth_m, around)
        truth = np.array([self._boxes(p) for p in range(len(crowd))]).reshape(len(crowd), 2, 4)
        return Drawn(colour, depth_m, person, segment, truth[:, 0].copy(), truth[:, 1].copy())

    def _range(self, p: int) -> slice:
        return slice(*self._crowd.first_vertex[p : p + 2])

    def _pose(self, t: int) -> None:
        """All vertices and normals before the camera of frame t, and in its picture."""
        crowd, camera = self._crowd, self._camera
        before, after, rate = blur.frame_rate(t, len(camera))
        zoom = (camera.focal_px[after] - camera.focal_px[before]) * rate
        lens = np.array([camera.focal_px[t], zoom, camera.width_px / 2, camera.height_px / 2], np.float32)
        for p in range(len(crowd)):
            now, earlier, later = (
                skinning.segment_transforms(camera, n, self._turned[p, n], self._joint_m[p, n], self._rest_joints_m[p])
                for n in (t, before, after)
            )
            own = self._range(p)
            skinning.skin(
                crowd.rest_m[own], crowd.rest_normal[own], crowd.segment[own], crowd.share[own], self._is_needed[own],
                now.astype(np.float32), ((later - earlier) * rate).astype(np.float32), lens, self._point_m[own],
                self._normal[own], self._screen[own], self._velocity_px[own],
            )  # fmt: skip

    def _box(self, vertices: slice) -> Float:
        """(4,) around those vertices that are before the camera; NaN where none is."""
        return skinning.box(self._screen[vertices], self._crowd.is_used[vertices])[:4]

    def _boxes(self, p: int) -> list[Float]:
        """Boxes of person p and of the head, (4,) each; NaN where the person is in part behind the camera."""
        own = self._range(p)
        full = skinning.box(self._screen[own], self._crowd.is_used[own])
        if full[4]:
            return [np.full(4, np.nan)] * 2
        return [full[:4], skinning.box(self._screen[own][self._head], np.ones(len(self._head), np.bool_))[:4]]

    def _cast(self, t: int, people: list[int]) -> tuple[shadows.ShadowMap, Float]:
        """The shadows of some people, and the light that the ground keeps in them."""
        shadow = shadows.empty_map(self._light, self._joint_m[people, t].reshape(-1, 3))
        along, down = shadows.ground_transform(self._camera, t, shadow.lean)
        for p in people:
            start, stop = self._crowd.first_face[p : p + 2]
            shadows.cast(
                self._point_m, self._crowd.faces, start, stop, along, down, np.float32(shadow.cell_m), shadow.corner_m,
                shadow.height_m, shadow.above_m, shadow.low,
            )  # fmt: skip
        shadow = shadows.closed(shadow)
        return shadow, shadows.dimming(shadow, self._light)

    def _illuminate(self, t: int, people: list[int], shadow: shadows.ShadowMap) -> None:
        turn, light = self._camera.rotation[t], self._light
        towards, up = (turn @ light.towards.astype(np.float64)).astype(np.float32), turn[:, 2].astype(np.float32)
        along, down = shadows.ground_transform(self._camera, t, shadow.lean)
        for p in people:
            own = self._range(p)
            shading.light_vertices(
                self._point_m[own], self._normal[own], self._crowd.is_used[own], towards, up, light.colour, light.ambient,
                along, down, np.float32(shadow.cell_m), shadow.corner_m, shadow.height_m, shadow.above_m, self._light_at[own],
            )  # fmt: skip

    def _paint_plate(self, plate: Plate, t: int, shadow: shadows.ShadowMap, keeps: Float) -> Float:
        """The plate with shadows, blurred as the camera moves: a new (H, W, 3)."""
        H, W = plate.depth_m.shape
        moved_px = blur.camera_motion(self._camera, t, plate.depth_m) * np.float32(self._shutter)
        is_sharp = float(np.abs(moved_px).max()) < _SHARP_PX
        edge = blur.MARGIN_PX
        colour = np.empty((H, W, 3), np.float32)
        shaded = colour if is_sharp else self._padded[edge : edge + H, edge : edge + W]
        shaded[:] = plate.colour
        shadows.darken(shaded, np.ascontiguousarray(plate.ground_m), keeps, np.float32(shadow.cell_m), shadow.corner_m)
        if not is_sharp:
            blur.extend(self._padded)
            blur.smear_plate(self._padded, moved_px, colour)
        return colour

    def _paint_people(self, colour: Float, plate_m: Float, person: NDArray[np.int16], depth_m: Float, around: Rectangle) -> None:
        """Lay the people that the buffers show within a rectangle, smeared as they move, over `colour`."""
        crowd, (H, W) = self._crowd, plate_m.shape
        self._entry.fill(-1)
        count = shading.shade(
            person, self._triangle, depth_m, *around, self._screen, self._velocity_px, self._light_at, crowd.rest_m, crowd.faces,
            crowd.face_material, crowd.colour, crowd.second, crowd.pattern, crowd.period_m, crowd.direction, crowd.gloss,
            self._light.colour, np.empty(4, np.int64), self._at, self._rgba, self._moved_px, self._near_m, self._entry,
        )  # fmt: skip
        moved_px = self._moved_px[:count]
        moved_px *= np.float32(self._shutter)
        reach = min(int(np.abs(moved_px).max(initial=0) / 2) + 2, blur.REACH_PX)
        top, bottom, left, right = around
        top, bottom, left, right = max(top - reach, 0), min(bottom + reach, H), max(left - reach, 0), min(right + reach, W)
        self._smeared[top:bottom, left:right] = 0
        blur.smear_people(count, self._at, self._rgba, self._moved_px, self._near_m, self._entry, plate_m, self._smeared)
        blur.lay_over(self._smeared, top, bottom, left, right, colour)


def _overlaps(box_xyxy_px: Double | Float, height_px: int, width_px: int, beside: float) -> bool:
    """Whether a box meets the picture, grown by so many of its sizes on each side."""
    left, top, right, bottom = box_xyxy_px
    x, y = beside * width_px, beside * height_px
    return bool(left < width_px + x and right > -x and top < height_px + y and bottom > -y)


def _around(boxes_xyxy_px: list[Float], height_px: int, width_px: int) -> Rectangle:
    """The smallest rectangle of pixels around what some boxes have in the picture."""
    if not boxes_xyxy_px:
        return 0, 0, 0, 0
    boxes = np.clip(np.array(boxes_xyxy_px), 0, [width_px, height_px, width_px, height_px])
    left, top = np.floor(boxes[:, :2].min(axis=0)).astype(int)
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0)).astype(int)
    return int(top), int(bottom), int(left), int(right)
