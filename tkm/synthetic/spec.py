"""What decides a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tkm.synthetic.scenario import Scenario, scenario_of

DOMAINS = ("open", "train", "val")  # no two have a person or a way of moving in common


@dataclass(frozen=True)
class ClipSpec:
    """Everything that decides a clip, but the body model and the user's photo.

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

    def scenario(self) -> Scenario:
        """The preset's, with what is chosen here instead."""
        scenario = scenario_of(self.preset)
        people = scenario.people if self.people is None else (self.people, self.people)
        return replace(scenario, people=people, twins=scenario.twins if self.twins is None else self.twins)
