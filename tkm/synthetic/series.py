"""Series of clips that differ by their numbers, and the fixed ones that results are compared on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tkm.synthetic.scenario import PRESETS, scenario_of
from tkm.synthetic.spec import ClipSpec

MAX_CLIPS, MAX_FRAMES = 1_000_000, 10_000  # of a series, of a clip: there are numbers for so many pictures
_LIMITS: dict[str, tuple[float, float]] = {
    "videos": (1, MAX_CLIPS), "seed": (0, 2**63 - 1), "frames": (1, MAX_FRAMES), "fps": (1, 240),
    "width_px": (64, 4096), "height_px": (64, 4096), "people": (1, 40), "twins": (0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Clips 0, 1, 2, ... that take the presets in turn. All else is what `ClipSpec` says; ValueError for what is out of range."""

    videos: int
    seed: int = 0
    presets: tuple[str, ...] = PRESETS
    domain: str = "open"
    frames: int = 60
    fps: float = 20.0
    width_px: int = 960
    height_px: int = 540
    people: int | None = None
    twins: float | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name.removesuffix('_px')} must be {low:,} to {high:,}, not {value}")
        if not self.presets:
            raise ValueError(f"there must be a preset: {', '.join(PRESETS)}, or some joined by '+'")
        for preset in self.presets:
            scenario_of(preset)

    def specs(self) -> Iterator[ClipSpec]:
        """What each clip is made from: clip n is the same whatever the number of clips."""
        for number in range(self.videos):
            yield ClipSpec(
                seed=self.seed,
                number=number,
                preset=self.presets[number % len(self.presets)],
                domain=self.domain,
                frames=self.frames,
                fps=float(self.fps),
                width_px=self.width_px,
                height_px=self.height_px,
                people=self.people,
                twins=None if self.twins is None else float(self.twins),
            )


# Scores are compared on these: another seed, length or order of presets would make another data set of the same name.
SPLITS = {"val": Series(60, seed=1, domain="val"), "train": Series(400, seed=2, domain="train")}
