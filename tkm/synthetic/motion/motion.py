"""How one person moves through a clip.

Shape legend: T frames, S segments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.bodies.segments import SEGMENTS
from tkm.types import check


@dataclass(frozen=True)
class Motion:
    """A person's motion, T frames.

    root_m     (T, 3) float64, position of the pelvis' joint in the world
    rotation   (T, S, 3, 3) float64, of each segment against its parent, in the parent's axes; of the pelvis against the world.
               The identity everywhere is the body at rest: an A-pose facing -y
    actions    what the person does, in order: "walk", "sit", ...
    """

    root_m: Double
    rotation: Double
    actions: tuple[str, ...]

    def __post_init__(self) -> None:
        T = len(self.root_m)
        check(self, "root_m", (T, 3), np.float64)
        check(self, "rotation", (T, len(SEGMENTS), 3, 3), np.float64)


@dataclass(frozen=True)
class Seat:
    """Something to sit on: the middle of its top's surface, its height, and where a person on it looks.

    xy_m       (2,) float64, on the ground
    height_m   of the top
    facing     (2,) float64, unit vector on the ground
    """

    xy_m: Double
    height_m: float
    facing: Double

    def __post_init__(self) -> None:
        check(self, "xy_m", (2,), np.float64)
        check(self, "facing", (2,), np.float64)
