"""A clip from its specification: the plan, then frame after frame with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tkm.geometry import Image
from tkm.synthetic.body import BodyModel, Double
from tkm.types import Int

DOMAINS = ("open", "train", "val")  # no two have a person or a way of moving in common


@dataclass(frozen=True)
class ClipSpec:
    """Everything that decides a clip, but the body model and the user's photos.

    seed, number   of the run, and of the clip in it: clip n does not depend on how many there are
    preset         see `scenario_of`
    domain         one of DOMAINS, which people and motions are drawn from
    frames, fps    its length, and how fast it is shown
    people         how many, or None for the preset's range
    twins          share who have a twin, or None for the preset's
    """

    seed: int
    number: int
    preset: str
    domain: str = "open"
    frames: int = 60
    fps: float = 20.0
    width_px: int = 960
    height_px: int = 540
    people: int | None = None
    twins: float | None = None


@dataclass(frozen=True)
class FrameTruth:
    """The P people of a frame who can be seen, K = 19 keypoints (`tkm.synthetic.body.KEYPOINTS`).

    track_id          (P,) int64, number of the person in the clip
    xy_px             (P, K, 2) float64, also of points that are hidden or out of view
    visibility        (P, K) int8: 2 seen, 1 hidden, 0 out of view
    full_xyxy_px      (P, 4) float64, box of the whole person, hidden parts included, cut at the picture's edge
    visible_xyxy_px   (P, 4) float64, box of what can be seen
    head_xyxy_px      (P, 4) float64, box of the head, not cut
    area_px2          (P,) float64, of what can be seen
    """

    track_id: Int
    xy_px: Double
    visibility: NDArray[np.int8]
    full_xyxy_px: Double
    visible_xyxy_px: Double
    head_xyxy_px: Double
    area_px2: Double


@dataclass(frozen=True)
class Role:
    """A person of a clip, as its description tells: number, who plays it, whose twin, what it does."""

    track_id: int
    person: int
    twin: int | None
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Clip:
    """A planned clip. `crf` is the compression that the preset drew for it."""

    spec: ClipSpec
    roles: tuple[Role, ...]
    crf: int

    def frames(self) -> Iterator[tuple[Image, FrameTruth]]:
        """Pictures, (H, W, 3) uint8 RGB, with their truth, in order."""
        raise NotImplementedError


def plan_clip(spec: ClipSpec, model: BodyModel, photos: tuple[Image, ...] = ()) -> Clip:
    """Plan a clip: equal arguments give equal pixels. Photos, where given, are its possible backgrounds."""
    raise NotImplementedError
