"""Posing a mesh: its vertices and normals before the camera, where they fall in the picture, and how fast they move there.

Shape legend: V vertices, F triangles, S segments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.compiled import compiled
from tkm.types import Float

NEAR_M = np.float32(0.1)  # what is nearer to the camera is not drawn


def rest_normals(rest_m: Float, faces: NDArray[np.int32]) -> Float:
    """(V, 3) float32 unit normals: the mean of the triangles around a vertex by their area; zero for a vertex of none."""
    corners = rest_m.astype(np.float64)[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(rest_m)) for k in range(3)], axis=1)
    normals: Float = (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return normals


def segment_transforms(camera: Camera, t: int, turned: Double, joint_m: Double, rest_joints_m: Double) -> Double:
    """From a body at rest to the camera's axes in frame t.

    Args: turned, (S, 3, 3) and joint_m, (S, 3), of `pose_segments`; rest_joints_m, (S, 3).
    Returns: (S, 3, 4): each segment's rotation and, in the last column, its shift.
    """
    shift_m = joint_m - np.einsum("sij,sj->si", turned, rest_joints_m) - camera.position_m[t]
    return np.concatenate([camera.rotation[t] @ turned, (shift_m @ camera.rotation[t].T)[:, :, None]], axis=2)


@compiled
def skin(rest_m, normal, segment, share, is_needed, transform, rate, lens, point_m, turned, screen, velocity_px):
    """Fill point_m (V, 3) and turned (V, 3), vertices and unit normals in the camera's axes; screen (V, 3), x and y in pixels and
    1 / depth, 0 where nearer than NEAR_M; velocity_px (V, 2), pixels a frame.

    Of rest_m, normal (V, 3); segment, share (V, 4); is_needed (V,), for no others are filled; transform, rate (S, 3, 4), `rate`
    the transform's change a frame; lens (4,): focal length, its change a frame, the picture's middle. All are float32 but
    `segment` and `is_needed`.
    """
    focal, focal_rate, middle_x, middle_y = lens[0], lens[1], lens[2], lens[3]
    for v in range(len(rest_m)):
        if not is_needed[v]:
            continue
        a, b, c = rest_m[v, 0], rest_m[v, 1], rest_m[v, 2]
        d, e, f = normal[v, 0], normal[v, 1], normal[v, 2]
        x = y = z = nx = ny = nz = dx = dy = dz = np.float32(0)
        for k in range(4):
            w = share[v, k]
            if w == 0:
                break
            m = transform[segment[v, k]]
            r = rate[segment[v, k]]
            x += w * (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3])
            y += w * (m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3])
            z += w * (m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3])
            nx += w * (m[0, 0] * d + m[0, 1] * e + m[0, 2] * f)
            ny += w * (m[1, 0] * d + m[1, 1] * e + m[1, 2] * f)
            nz += w * (m[2, 0] * d + m[2, 1] * e + m[2, 2] * f)
            dx += w * (r[0, 0] * a + r[0, 1] * b + r[0, 2] * c + r[0, 3])
            dy += w * (r[1, 0] * a + r[1, 1] * b + r[1, 2] * c + r[1, 3])
            dz += w * (r[2, 0] * a + r[2, 1] * b + r[2, 2] * c + r[2, 3])
        point_m[v, 0], point_m[v, 1], point_m[v, 2] = x, y, z
        length = np.float32(1) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
        turned[v, 0], turned[v, 1], turned[v, 2] = nx * length, ny * length, nz * length
        if z < NEAR_M:
            screen[v, 0] = screen[v, 1] = screen[v, 2] = velocity_px[v, 0] = velocity_px[v, 1] = np.float32(0)
            continue
        near = np.float32(1) / z
        screen[v, 0] = focal * x * near + middle_x
        screen[v, 1] = focal * y * near + middle_y
        screen[v, 2] = near
        velocity_px[v, 0] = (focal * (dx - x * near * dz) + focal_rate * x) * near
        velocity_px[v, 1] = (focal * (dy - y * near * dz) + focal_rate * y) * near


@compiled
def box(screen, is_used):
    """(5,) float64: the box, x1 y1 x2 y2, of those used vertices of screen (V, 3) that are before the camera, NaN where none is;
    and how many are not.
    """
    found = np.array([np.inf, np.inf, -np.inf, -np.inf, 0.0])
    for v in range(len(screen)):
        if not is_used[v]:
            continue
        if screen[v, 2] == 0:
            found[4] += 1
            continue
        x, y = np.float64(screen[v, 0]), np.float64(screen[v, 1])
        found[0], found[1] = min(found[0], x), min(found[1], y)
        found[2], found[3] = max(found[2], x), max(found[3], y)
    if found[0] > found[2]:
        found[:4] = np.nan
    return found
