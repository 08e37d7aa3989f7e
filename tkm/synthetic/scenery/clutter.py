"""Where things stand between the camera and people's paths, and beside them, without being in anybody's way.

Shape legend: P people, T frames, N places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.motion.motion import Seat
from tkm.synthetic.scenery.furniture import Piece
from tkm.synthetic.scenery.solids import Solids, joined, placed
from tkm.types import Bool, check

CLEARANCE_M = 0.45  # between a thing and people's feet
_TRIES = 40
_HEAD_M, _HIPS_M, _HALF_PERSON_M = 1.75, 0.9, 0.15
_MOST_HIDDEN = 0.25  # share of a person's frames that things may hide the whole person in
_MOST_HALF_HIDDEN = 0.5  # and the legs
_WIDEST = 0.4  # share of the picture's width that a thing before people may take
_FROM_CAMERA_M = 1.8


@dataclass(frozen=True)
class Obstacle:
    """The box that a thing takes: its middle on the ground, turned counter-clockwise from above by `yaw`.

    xy_m       (2,) float64
    half_m     (2,) float64, half its width and depth
    """

    xy_m: Double
    yaw: float
    half_m: Double
    height_m: float

    def __post_init__(self) -> None:
        check(self, "xy_m", (2,), np.float64)
        check(self, "half_m", (2,), np.float64)

    def distance_m(self, points_m: Double) -> Double:
        """(N,) from places on the ground, (N, 2), to its box; 0 inside."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        own = (points_m - self.xy_m) @ np.array([[cos, -sin], [sin, cos]])
        return np.asarray(np.linalg.norm(np.maximum(np.abs(own) - self.half_m, 0), axis=-1))

    def hides(self, camera_m: Double, points_m: Double, height_m: float) -> Bool:
        """(N,) whether it hides, to its whole width, a person over each place, (N, 2), at a height over the ground.

        Args: camera_m, (3,) where the camera is.
        """
        bearing, away_m = _bearing(camera_m, points_m)
        low, high, near_m = self.span(camera_m)
        half = np.arctan2(_HALF_PERSON_M, away_m)
        with np.errstate(invalid="ignore"):
            before = (near_m < away_m) & (bearing - half >= low) & (bearing + half <= high)
            sight_m = camera_m[2] + (height_m - camera_m[2]) * near_m / away_m
            return np.asarray(before & (sight_m < self.height_m))

    def span(self, camera_m: Double) -> tuple[float, float, float]:
        """The bearings, in radians, between which the camera sees it, and how far its middle is."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * self.half_m @ np.array([[cos, sin], [-sin, cos]]) + self.xy_m
        bearings, _ = _bearing(camera_m, corners)
        return float(bearings.min()), float(bearings.max()), float(np.hypot(*(self.xy_m - camera_m[:2])))


def _bearing(camera_m: Double, points_m: Double) -> tuple[Double, Double]:
    """(N,) radians clockwise from where the origin is seen, and (N,) metres over the ground."""
    way = points_m - camera_m[:2]
    ahead = np.arctan2(-camera_m[1], -camera_m[0])
    turn = ahead - np.arctan2(way[..., 1], way[..., 0])
    return (turn + np.pi) % (2 * np.pi) - np.pi, np.hypot(way[..., 0], way[..., 1])


def place_clutter(
    count: int,
    before: float,
    pieces: Sequence[Callable[[np.random.Generator], Piece]],
    free_m: Double,
    yaw: float,
    camera: Camera,
    ground_m: Double,
    seats: Sequence[Seat],
    rng: np.random.Generator,
) -> tuple[Solids, tuple[Obstacle, ...]]:
    """Things about people's paths.

    Args: before, share of things that stand between the camera and somebody's path. pieces, what there may be. free_m, (2, 2),
        lowest and highest x and y that things may stand at, in axes turned by `yaw`. ground_m, (P, T, 2) where people's feet
        are; NaN where there is nobody.
    Returns: the things, and the box of each; fewer than `count` where there is no room.
    """
    camera_m = camera.position_m[0]
    half_view = np.arctan2(camera.width_px / 2, camera.focal_px.min())
    taken = np.concatenate([ground_m.reshape(-1, 2), *(seat.xy_m[None] for seat in seats)])
    taken = taken[np.isfinite(taken).all(axis=1)]
    obstacles: list[Obstacle] = []
    solids: list[Solids] = []
    for _ in range(count):
        is_before = rng.random() < before and len(taken) > 0
        piece = pieces[int(rng.integers(len(pieces)))](rng)
        for attempt in range(_TRIES):
            if attempt % 10 == 9:
                piece = pieces[int(rng.integers(len(pieces)))](rng)
            if is_before and attempt < _TRIES * 3 // 4:
                whose = taken[rng.integers(len(taken))]
                xy_m = camera_m[:2] + (whose - camera_m[:2]) * rng.uniform(0.3, 0.85) + rng.normal(0, 0.1, 2)
            else:
                bearing, away_m = rng.uniform(-1, 1) * half_view, rng.uniform(0.5, 1.7) * np.hypot(*camera_m[:2])
                ahead = np.arctan2(-camera_m[1], -camera_m[0]) - bearing
                xy_m = camera_m[:2] + away_m * np.array([np.cos(ahead), np.sin(ahead)])
            turn = yaw + rng.choice([0.0, 0.0, 0.5, -0.5, 1.0]) * np.pi + rng.normal(0, 0.1)
            obstacle = Obstacle(xy_m, float(turn), np.array(piece.half_m), piece.height_m)
            if _fits(obstacle, obstacles, free_m, yaw, half_view, camera_m, taken, ground_m):
                obstacles.append(obstacle)
                solids.append(placed(piece.solids, (*xy_m, 0.0), float(turn)))
                break
    return joined(solids), tuple(obstacles)


def _fits(
    new: Obstacle,
    others: list[Obstacle],
    free_m: Double,
    yaw: float,
    half_view: float,
    camera_m: Double,
    taken: Double,
    ground_m: Double,
) -> bool:
    """Whether a thing may stand there: in nobody's way, not into others, not before so much that people are lost to sight."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    own = new.xy_m @ np.array([[cos, -sin], [sin, cos]])
    radius = float(np.hypot(*new.half_m))
    if (own < free_m[0]).any() or (own > free_m[1]).any() or new.distance_m(camera_m[None, :2])[0] < _FROM_CAMERA_M:
        return False
    if len(taken) and new.distance_m(taken).min() < CLEARANCE_M:
        return False
    if any(new.distance_m(other.xy_m[None])[0] < np.hypot(*other.half_m) + 0.1 for other in others):
        return False
    low, high, near_m = new.span(camera_m)
    middle_m = np.hypot(*camera_m[:2])
    if near_m < middle_m and high - low > _WIDEST * 2 * half_view * (0.5 if new.height_m > 1.3 and radius > 0.3 else 1.0):
        return False
    hidden, half_hidden = (_share_hidden([*others, new], camera_m, ground_m, height_m) for height_m in (_HEAD_M, _HIPS_M))
    return bool((hidden <= _MOST_HIDDEN).all() and (half_hidden <= _MOST_HALF_HIDDEN).all())


def _share_hidden(obstacles: Sequence[Obstacle], camera_m: Double, ground_m: Double, height_m: float) -> NDArray[np.float64]:
    """(P,) share of frames in which each person is hidden up to a height."""
    hidden = np.zeros(ground_m.shape[:2], np.bool_)
    for obstacle in obstacles:
        hidden |= obstacle.hides(camera_m, ground_m, height_m)
    return hidden.mean(axis=1)
