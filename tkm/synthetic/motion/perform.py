"""From what one person does, and where, to its motion.

Shape legend: T frames, D moments of the plan, evenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.motion import actions, gait
from tkm.synthetic.motion.actions import Drift, ease
from tkm.synthetic.motion.gait import Course
from tkm.synthetic.motion.limbs import Build
from tkm.synthetic.motion.manner import Manner
from tkm.synthetic.motion.motion import Motion, Seat
from tkm.synthetic.motion.posture import COLUMN, Feet, assemble, between, pelvis_height_m, pelvis_turn, pelvis_xy_m

_FADE_S = 0.55
_SIT_S = 1.1
_WINDOW_S = 0.06


@dataclass(frozen=True)
class Act:
    """Something that is done in one place, between two moments.

    name               "stand", "wave", "sit" or "dance"
    start_s, stop_s    infinite where it began before the clip, or goes on after it
    shift, gaze        how the weight and the gaze wander
    gesture            of who stands
    seat               of who sits
    tempo_hz, beat     of who dances: beats a second, and the beat at 0 s
    figures            of who dances
    """

    name: str
    start_s: float
    stop_s: float
    shift: Drift
    gaze: Drift
    gesture: str = "hang"
    seat: Seat | None = None
    tempo_hz: float = 2.0
    beat: float = 0.0
    figures: tuple[tuple[float, ...], ...] = ()

    def weight(self, seconds: Double) -> Double:
        """(D,) in [0, 1]: how much of it is done."""
        fade_s = _SIT_S if self.name == "sit" else _FADE_S
        return ease((seconds - self.start_s) / fade_s) * ease((self.stop_s - seconds) / fade_s)


def dance_course(build: Build, act: Act, course: Course) -> Course:
    """A course with the steps of a dance added, on whole beats within the act."""
    beat = course.seconds * act.tempo_hz + act.beat
    first = np.ceil(act.start_s * act.tempo_hz + act.beat) if np.isfinite(act.start_s) else -np.inf
    last = np.floor(act.stop_s * act.tempo_hz + act.beat) if np.isfinite(act.stop_s) else np.inf
    steps = actions.dance_steps(build, act.figures, np.clip(beat, first, last))
    on = (beat >= first) & (beat < last)
    fade = ease((beat - first) / 2) * ease((last - beat) / 2)
    ahead = np.stack([np.sin(course.heading_rad), -np.cos(course.heading_rad)], axis=-1)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    return replace(
        course,
        path_m=course.path_m + (fade * steps.left_m)[:, None] * aside,
        heading_rad=course.heading_rad + steps.turn_rad,
        steps_hz=np.where(on, steps.steps * act.tempo_hz, course.steps_hz),
        lift_m=np.where(on, steps.lift_m, course.lift_m),
        wide=course.wide * np.where(on, 1.15, 1.0),
    )


def perform(
    build: Build, manner: Manner, course: Course, acts: tuple[Act, ...], names: tuple[str, ...], times_s: Double
) -> Motion:
    """The motion of who follows a course and does some things on the way, at (T,) moments within the course's."""
    seconds = course.seconds
    feet, phase = gait.plan_feet(build, manner, course)
    running = course.running[:, None]
    rows = gait.walk(build, manner, course, phase)
    if course.running.any():
        rows = (1 - running) * rows + running * gait.run(build, manner, course, phase)
    for act in acts:
        weight = act.weight(seconds)[:, None]
        rows = rows + weight * (_postures(build, manner, seconds, act) - rows)
        if act.name == "sit":  # the trunk leans forward while the pelvis goes down or up
            rows[:, COLUMN["spine_pitch"]] += 0.55 * np.sin(np.pi * weight[:, 0]) ** 2
            rows[:, COLUMN["pelvis_pitch"]] += 0.25 * np.sin(np.pi * weight[:, 0]) ** 2
    turn = pelvis_turn(rows, course.heading_rad)
    xy_m = pelvis_xy_m(rows, course.heading_rad, course.path_m)
    window = max(1, round(_WINDOW_S / (seconds[1] - seconds[0])))
    up_m = pelvis_height_m(build, feet, turn, xy_m, rows[:, COLUMN["down_m"]], window)
    root_m = between(seconds, np.concatenate([xy_m, up_m[:, None]], axis=1), times_s)
    rows, heading = between(seconds, rows, times_s), np.interp(times_s, seconds, course.heading_rad)
    seen: Feet = feet.at(seconds, times_s)
    return Motion(root_m, assemble(build, rows, heading, root_m, seen), names)


def _postures(build: Build, manner: Manner, seconds: Double, act: Act) -> Double:
    if act.name == "sit" and act.seat is not None:
        return actions.sit(build, manner, seconds, act.seat, act.shift, act.gaze)
    if act.name == "dance":
        return actions.dance(build, manner, seconds * act.tempo_hz + act.beat, act.figures)
    if act.name == "wave":
        return actions.wave(build, manner, seconds, act.shift, act.gaze)
    return actions.stand(build, manner, seconds, act.gesture, act.shift, act.gaze)
