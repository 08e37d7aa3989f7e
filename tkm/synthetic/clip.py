"""A clip from its specification: the plan, then frame after frame with its truth.

Shape legend: T frames, P people, S segments, K keypoints.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tkm.geometry import Image
from tkm.synthetic.bodies.body import BodyModel, Double, keypoints_m, pose_segments
from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.camera import Camera
from tkm.synthetic.drawing.painter import Painter
from tkm.synthetic.drawing.plate import Light
from tkm.synthetic.drawing.sensor import Sensor
from tkm.synthetic.motion.choreography import plan_motions
from tkm.synthetic.motion.motion import Motion
from tkm.synthetic.people.people import Person, cast
from tkm.synthetic.scenery.camera_path import plan_camera
from tkm.synthetic.scenery.lights import plan_light
from tkm.synthetic.scenery.scenery import Scenery, plan_scenery
from tkm.synthetic.spec import DOMAINS, ClipSpec
from tkm.synthetic.truth import FrameTruth, frame_truth, thickness_m


@dataclass(frozen=True)
class Role:
    """A person of a clip, as its description tells: number, who plays it, whose twin, what it does.

    `person` is `Person.number`: of a twin, that of whom it looks like plus `tkm.synthetic.people.people.PEOPLE`; `twin` is the
    track id of the other.
    """

    track_id: int
    person: int
    twin: int | None
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Clip:
    """A planned clip of P people over T frames; a person's place in `people` is its track id.

    people                    who plays
    twin                      by person, the place of its twin, or None
    motions                   by person, how it moves, T frames
    camera, light, scenery    what they are seen by, and in
    shutter, noise, crf       what `Scenario` says of them, as drawn for this clip
    """

    spec: ClipSpec
    people: tuple[Person, ...]
    twin: tuple[int | None, ...]
    motions: tuple[Motion, ...]
    camera: Camera
    light: Light
    scenery: Scenery
    shutter: float
    noise: float
    crf: int

    @property
    def roles(self) -> tuple[Role, ...]:
        """Who does what, by track id."""
        cast_ = zip(self.people, self.twin, self.motions, strict=True)
        return tuple(Role(p, person.number, twin, motion.actions) for p, (person, twin, motion) in enumerate(cast_))

    def frames(self) -> Iterator[tuple[Image, FrameTruth]]:
        """Pictures, (H, W, 3) uint8 RGB, with their truth, in order."""
        turned, joint_m = _posed(self.people, self.motions)
        points_m = [keypoints_m(person.body, *at) for person, *at in zip(self.people, turned, joint_m, strict=True)]
        within_m = np.stack([thickness_m(person.body, person.mesh) for person in self.people])
        bodies = [person.body for person in self.people]
        painter = Painter(
            [person.mesh for person in self.people],
            turned,
            joint_m,
            np.stack([body.joints_m for body in bodies]),
            self.people[0].mesh.segment[: len(bodies[0].rest_m), 0] == SEGMENT["head"],
            self.camera,
            self.light,
            self.shutter,
        )
        sensor = Sensor.of(self.noise, self.spec.height_px, self.spec.width_px, _random(self.spec, "sensor"))
        for t in range(self.spec.frames):
            drawn = painter.draw(self.scenery.plate(t), t)
            picture = sensor.develop(drawn.colour, _random(self.spec, "noise", t))
            yield picture, frame_truth(drawn, np.stack([of_person[t] for of_person in points_m]), within_m, self.camera, t)


def plan_clip(spec: ClipSpec, model: BodyModel, photo: Image | None = None) -> Clip:
    """Plan a clip: equal arguments give equal pixels. A photo, where given, is its background.

    Raises: ValueError for a preset or domain that there is none of.
    """
    scenario = spec.scenario()
    rng = _random(spec, "plan")
    count = int(rng.integers(scenario.people[0], scenario.people[1] + 1))
    people, twin = cast(model, count, scenario.twins, spec.domain, _random(spec, "cast"))
    camera = plan_camera(scenario, spec.frames, spec.fps, spec.width_px, spec.height_px, _random(spec, "camera"))
    bodies = [person.body for person in people]
    moves = plan_motions(scenario, camera, bodies, twin, spec.frames, spec.fps, _random(spec, "motion"), _random(spec, "style"))
    feet_m = np.stack([motion.root_m[:, :2] for motion in moves.motions])
    light = plan_light(_random(spec, "light"))
    scenery = plan_scenery(scenario, camera, feet_m, moves.seats, light, photo, _random(spec, "scenery"))
    return Clip(
        spec=spec,
        people=people,
        twin=twin,
        motions=moves.motions,
        camera=camera,
        light=light,
        scenery=scenery,
        shutter=float(rng.uniform(*scenario.shutter)),
        noise=float(rng.uniform(*scenario.noise)),
        crf=int(rng.integers(scenario.crf[0], scenario.crf[1] + 1)),
    )


# What is drawn at random has a stream of its own, so that a change of one part leaves the others as they are.
_STREAMS = ("plan", "cast", "camera", "motion", "style", "light", "scenery", "sensor", "noise")


def _random(spec: ClipSpec, stream: str, t: int = 0) -> np.random.Generator:
    preset = zlib.crc32(spec.preset.encode())
    return np.random.default_rng([DOMAINS.index(spec.domain), spec.seed, spec.number, preset, _STREAMS.index(stream), t])


def _posed(people: Sequence[Person], motions: Sequence[Motion]) -> tuple[Double, Double]:
    """Rotations (P, T, S, 3, 3) and joints (P, T, S, 3) of all segments, in the world."""
    posed = [pose_segments(p.body, motion.rotation, motion.root_m) for p, motion in zip(people, motions, strict=True)]
    turned, joint_m = zip(*posed, strict=True)
    return np.stack(turned), np.stack(joint_m)
