"""Where on the ground people are seen by a camera, and how well a clip's people keep in view and apart.

Shape legend: N moments at which a plan is checked, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.motion.rotations import unit

_CHECK_S = 0.05
_HEIGHT_M = 1.75
NEAREST_M, FARTHEST_M = 2.8, 14.0  # people's distance from the camera
_ASIDE_M = 4.5


@dataclass(frozen=True)
class Stage:
    """The ground before a camera.

    camera      who looks
    checks_s    (N,) float64, moments at which a plan is checked, from the first frame to the last
    frame       (N,) int64, the camera's frame then
    eye_m       (2,) float64, where the camera stands in the middle of the clip
    ahead       (2,) float64, unit vector on the ground that it looks along then
    right       (2,) float64, unit vector to the picture's right
    spots_m     (M, 2) float64, places where people are seen from head to foot
    """

    camera: Camera
    checks_s: Double
    frame: NDArray[np.int64]
    eye_m: Double
    ahead: Double
    right: Double
    spots_m: Double

    def inside_m(self, path_m: Double) -> tuple[Double, Double, Double]:
        """How people on (N, 2) places are seen at `checks_s`, each (N,).

        Returns:
            metres from the picture's left or right edge, negative out of view; share of their height that is in view; metres
            from the camera.
        """
        return _inside_m(self.camera, self.frame, path_m)

    def edge_m(self, at_s: float, depth_m: float, side: int) -> Double:
        """(2,) place at a distance along the camera's axis that lies on the picture's right (1) or left (-1) edge at a moment."""
        frame = self.frame[int(np.abs(self.checks_s - at_s).argmin())]
        rotation = self.camera.rotation[frame]
        across_m = depth_m * self.camera.width_px / 2 / self.camera.focal_px[frame]
        ahead, right = unit(rotation[2, :2]), unit(rotation[0, :2])
        place: Double = self.camera.position_m[frame, :2] + ahead * depth_m + right * side * across_m
        return place


def _inside_m(camera: Camera, frame: NDArray[np.int64], path_m: Double) -> tuple[Double, Double, Double]:
    ends_m = np.stack([np.append(path_m, np.full((len(path_m), 1), z_m), axis=1) for z_m in (0.0, _HEIGHT_M)], axis=1)
    seen = np.einsum("nij,nkj->nki", camera.rotation[frame], ends_m - camera.position_m[frame, None])
    depth_m = np.maximum(seen[..., 2], 0.1)
    focal_px = camera.focal_px[frame]
    across_px = np.abs(seen[:, :, 0] / depth_m).max(axis=1) * focal_px
    edge_m = (camera.width_px / 2 - across_px) / focal_px * depth_m[:, 0]
    rows_px = seen[..., 1] / depth_m * focal_px[:, None] + camera.height_px / 2
    shown_px = np.clip(rows_px, 0, camera.height_px)
    share = (shown_px[:, 0] - shown_px[:, 1]) / np.maximum(rows_px[:, 0] - rows_px[:, 1], 1e-6)
    return edge_m, share, seen[:, 0, 2]


def see_stage(camera: Camera, duration_s: float, fps: float, middle_m: float, rng: np.random.Generator) -> Stage:
    """The ground before a camera, `middle_m` from the camera to the middle of the scene."""
    checks_s = np.linspace(0, duration_s, int(np.ceil(duration_s / _CHECK_S)) + 1) if duration_s > 0 else np.zeros(1)
    frame = np.minimum(np.round(checks_s * fps).astype(np.int64), len(camera) - 1)
    middle = int(frame[len(frame) // 2])
    rotation, eye_m = camera.rotation[middle], camera.position_m[middle, :2]
    ahead, right = unit(rotation[2, :2]), unit(rotation[0, :2])
    count = 1500
    depth_m = np.clip(middle_m * rng.uniform(0.7, 1.4, count), NEAREST_M, FARTHEST_M)
    aside_m = rng.uniform(-1, 1, count) * np.minimum(_ASIDE_M, 0.9 * depth_m * camera.width_px / 2 / camera.focal_px[middle])
    spots_m = eye_m + depth_m[:, None] * ahead + aside_m[:, None] * right
    edge_m, share, _ = _inside_m(camera, np.full(count, middle), spots_m)
    good = np.argsort(-(share + np.clip(edge_m, -1, 0.3)), kind="stable")
    whole = (share > 0.999) & (edge_m > 0.3)
    kept = whole if whole.sum() >= 50 else np.isin(np.arange(count), good[:200])
    return Stage(camera, checks_s, frame, eye_m, ahead, right, spots_m[kept])


def apart(one_m: Double, other_m: Double, wanted_m: float) -> float:
    """By what part of the distance wanted two people come too close, at worst and on average, on (N, 2) places."""
    lack = np.maximum(0, 1 - np.linalg.norm(one_m - other_m, axis=1) / wanted_m)
    return float(lack.max() + lack.mean())
