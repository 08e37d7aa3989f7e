"""Rotation matrices from angles and directions, for arrays of them.

A body faces -y with its left at +x: a positive angle about x bends forward, about y leans to the left, about z turns to the left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tkm.synthetic.bodies.body import Double


def about_x(angle_rad: ArrayLike) -> Double:
    """(..., 3, 3) rotations about the x axis."""
    return _about(angle_rad, 0)


def about_y(angle_rad: ArrayLike) -> Double:
    """(..., 3, 3) rotations about the y axis."""
    return _about(angle_rad, 1)


def about_z(angle_rad: ArrayLike) -> Double:
    """(..., 3, 3) rotations about the z axis."""
    return _about(angle_rad, 2)


def _about(angle_rad: ArrayLike, axis: int) -> Double:
    angle = np.asarray(angle_rad, dtype=np.float64)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -matrix[..., second, first]
    return matrix


def pitch_roll_yaw(angle_rad: Double) -> Double:
    """(..., 3, 3) rotations of (..., 3) angles: first the pitch about x, then the roll about y, then the yaw about z."""
    return about_z(angle_rad[..., 2]) @ about_y(angle_rad[..., 1]) @ about_x(angle_rad[..., 0])


def transpose(rotation: Double) -> Double:
    """The inverse of (..., 3, 3) rotations."""
    return np.swapaxes(rotation, -1, -2)


def unit(vector: Double) -> Double:
    """Vectors (..., n) scaled to length 1."""
    length: Double = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.maximum(length, 1e-12)


def limb_frame(along: Double, hinge: Double) -> Double:
    """(..., 3, 3) rotations that turn the axes of a limb that hangs down, hinged about x, to a direction and a hinge.

    Args:
        along: (..., 3), which way the limb points; -z is turned to it.
        hinge: (..., 3), roughly the axis that it bends about; x is turned to its part across `along`.
    """
    up = -unit(along)
    across = unit(hinge - np.sum(hinge * up, axis=-1, keepdims=True) * up)
    return np.stack([across, np.cross(up, across), up], axis=-1)


def facing(heading_rad: Double) -> Double:
    """(..., 2) unit vectors on the ground that somebody looks along who is turned by a heading; -y for none."""
    return np.stack([np.sin(heading_rad), -np.cos(heading_rad)], axis=-1)


def heading_of(direction: Double) -> Double:
    """(...) headings of (..., 2) directions on the ground, radians in (-pi, pi]."""
    heading: Double = np.arctan2(direction[..., 0], -direction[..., 1])
    return heading
