"""Cameras: pinholes that may pan, zoom and shake.

Camera axes: x right, y down, z forward. Pixels are continuous: pixel 0 spans [0, 1).
Shape legend: T frames, N points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.types import check


@dataclass(frozen=True)
class Camera:
    """A camera over T frames.

    width_px, height_px   of the picture
    focal_px              (T,) float64
    rotation              (T, 3, 3) float64, from the world's axes to the camera's
    position_m            (T, 3) float64
    """

    width_px: int
    height_px: int
    focal_px: Double
    rotation: Double
    position_m: Double

    def __post_init__(self) -> None:
        T = len(self.focal_px)
        check(self, "focal_px", (T,), np.float64)
        check(self, "rotation", (T, 3, 3), np.float64)
        check(self, "position_m", (T, 3), np.float64)

    def __len__(self) -> int:
        return len(self.focal_px)

    def project(self, t: int, points_m: Double) -> tuple[Double, Double]:
        """Points of the world in frame t.

        Args: points_m, (..., 3).
        Returns: (..., 2) pixels and (...) metres along the camera's axis; pixels of points that are not before the camera mean
        nothing.
        """
        seen = (points_m - self.position_m[t]) @ self.rotation[t].T
        depth_m = seen[..., 2]
        centre_px = np.array([self.width_px, self.height_px]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            xy_px = seen[..., :2] / depth_m[..., None] * self.focal_px[t] + centre_px
        return xy_px, depth_m
