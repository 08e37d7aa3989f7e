"""A clip from its specification: the plan, then frame after frame with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tkm.geometry import Image
from tkm.synthetic.body import BodyModel
from tkm.synthetic.truth import FrameTruth

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
