"""What the renderer draws people on, and the light it draws them in. Colours are linear light unless they are called sRGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tkm.types import Float, check


@dataclass(frozen=True)
class Light:
    """One lamp far away, and light from all around.

    towards     (3,) float32, unit vector to the lamp
    colour      (3,) float32, linear, what a white surface that faces the lamp gets from it
    ambient     (3,) float32, linear, from above; surfaces that face down get half
    hardness    in [0, 1]: how sharp and dark the shadows on the ground are
    """

    towards: Float
    colour: Float
    ambient: Float
    hardness: float

    def __post_init__(self) -> None:
        check(self, "towards", (3,), np.float32)
        check(self, "colour", (3,), np.float32)
        check(self, "ambient", (3,), np.float32)


@dataclass(frozen=True)
class Plate:
    """One frame without people.

    colour     (H, W, 3) float32, linear light
    depth_m    (H, W) float32, along the camera's axis; infinite where nothing is near (sky, a photo)
    ground_m   (H, W, 2) float32, x and y of the ground that is seen there; NaN elsewhere
    """

    colour: Float
    depth_m: Float
    ground_m: Float

    def __post_init__(self) -> None:
        H, W = self.depth_m.shape
        check(self, "colour", (H, W, 3), np.float32)
        check(self, "depth_m", (H, W), np.float32)
        check(self, "ground_m", (H, W, 2), np.float32)


@dataclass(frozen=True)
class Drawn:
    """One frame with people, before the sensor. Buffers have 2 x 2 samples a pixel and are of the exposure's middle; P people.

    colour        (H, W, 3) float32, linear light, blurred by motion
    depth_m       (2H, 2W) float32, of the nearest surface, the plate's included
    person        (2H, 2W) int16, number of the person nearest there, -1 for none
    segment       (2H, 2W) uint8, the segment that moves that surface most; 255 where no person is
    full_xyxy_px  (P, 4) float64, box of the whole person, hidden parts and parts out of view included; NaN for who is
                  (in part) behind the camera
    head_xyxy_px  (P, 4) float64, the same of the head without hair
    """

    colour: Float
    depth_m: Float
    person: NDArray[np.int16]
    segment: NDArray[np.uint8]
    full_xyxy_px: NDArray[np.float64]
    head_xyxy_px: NDArray[np.float64]
