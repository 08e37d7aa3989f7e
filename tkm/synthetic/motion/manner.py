"""How one person moves differently from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Manner:
    """One person's ways of moving.

    stride, swing, bounce, sway   factors of the usual length of steps, of the arms' swing, of the pelvis' rise and fall, and of
                                  its move sideways; 1 is usual
    width                         of the stance, in distances between the hips
    toes_rad                      how far the toes point outwards
    lean_rad                      of the trunk, to the front
    nod_rad                       of the head, down
    elbow_rad                     bend of a hanging arm
    spread_rad                    how much farther than needed arms hang from the body
    handed                        1 or -1: the side of the arm that gestures
    rate                          factor of how fast gestures and weight shifts are
    gestures                      names of the gestures made when standing, in order of liking
    figures                       8 numbers in [0, 1] for each dance figure, see `tkm.synthetic.actions.dance`
    """

    stride: float
    swing: float
    bounce: float
    sway: float
    width: float
    toes_rad: float
    lean_rad: float
    nod_rad: float
    elbow_rad: float
    spread_rad: float
    handed: int
    rate: float
    gestures: tuple[str, ...]
    figures: tuple[tuple[float, ...], ...]


GESTURES = ("hang", "hips", "crossed", "phone", "talk", "behind")
_FIGURES = 6


def draw_manner(style: np.random.Generator) -> Manner:
    """A person's ways of moving, at random."""
    return Manner(
        stride=style.uniform(0.88, 1.12),
        swing=style.uniform(0.5, 1.4),
        bounce=style.uniform(0.6, 1.4),
        sway=style.uniform(0.6, 1.5),
        width=style.uniform(0.85, 1.25),
        toes_rad=style.uniform(0.0, 0.22),
        lean_rad=style.uniform(-0.03, 0.08),
        nod_rad=style.uniform(-0.05, 0.15),
        elbow_rad=style.uniform(0.15, 0.45),
        spread_rad=style.uniform(0.0, 0.12),
        handed=1 if style.random() < 0.5 else -1,
        rate=style.uniform(0.75, 1.3),
        gestures=tuple(GESTURES[number] for number in style.permutation(len(GESTURES))),
        figures=tuple(tuple(figure) for figure in style.random((_FIGURES, 8)).tolist()),
    )
