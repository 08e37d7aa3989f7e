"""What makes a clip hard: the presets, and mixtures of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Scenario:
    """What clips of a kind have in common. Pairs are the ends of an interval that each clip draws from; shares are in [0, 1].

    people           how many people there are
    twins            share of them who have a twin: same clothes, similar build
    walk ... wave    weights of what people do
    encounters       share of walkers whose path is planned to cross, overtake, or meet and part from another's
    leaving          share of walkers who leave the picture and come back
    clutter          objects between the camera and people's paths, or beside them
    spacing_m        people keep at least this far apart, but in encounters
    distance_m       from the camera to the middle of the scene
    height           of a person in the middle of the scene, as a share of the picture's
    pan_deg          how far the camera turns from its middle over a clip
    zoom             by what share its focal length grows or shrinks
    shake_px         standard deviation of hand shake, in pixels
    shutter          share of the frame's time that the shutter is open: motion blur
    noise            standard deviation of the sensor's noise in mid grey, of 255
    crf              of H.264: 18 is nearly lossless, 34 is poor
    """

    people: tuple[int, int]
    twins: float
    walk: float
    run: float
    stand: float
    sit: float
    dance: float
    wave: float
    encounters: float
    leaving: float
    clutter: tuple[int, int]
    spacing_m: float
    distance_m: tuple[float, float]
    height: tuple[float, float]
    pan_deg: tuple[float, float]
    zoom: tuple[float, float]
    shake_px: tuple[float, float]
    shutter: tuple[float, float]
    noise: tuple[float, float]
    crf: tuple[int, int]


_EASY = Scenario(
    people=(2, 5), twins=0.0, walk=4, run=0.5, stand=2, sit=0, dance=0, wave=1, encounters=0.3, leaving=0.0, clutter=(0, 2),
    spacing_m=0.9, distance_m=(5.5, 8.0), height=(0.31, 0.41), pan_deg=(0, 0), zoom=(0, 0),
    shake_px=(0, 0), shutter=(0.1, 0.3), noise=(1, 3), crf=(18, 22),
)  # fmt: skip

_CHANGES: dict[str, dict[str, Any]] = {
    "easy": {},
    "crowd": {
        "people": (8, 15), "twins": 0.3, "run": 1, "sit": 0.7, "encounters": 0.7, "leaving": 0.2, "clutter": (2, 6),
        "spacing_m": 0.5, "distance_m": (6.5, 10.0), "height": (0.36, 0.52), "shutter": (0.2, 0.5),
        "noise": (2, 5), "crf": (20, 30),
    },
    "twins": {
        "people": (4, 8), "twins": 1.0, "encounters": 0.9, "leaving": 0.2, "clutter": (1, 4), "spacing_m": 0.6,
        "height": (0.36, 0.52), "shutter": (0.2, 0.5), "noise": (2, 5), "crf": (20, 28),
    },
    "dance": {
        "people": (3, 8), "walk": 0.5, "run": 0.2, "stand": 0.3, "dance": 6, "wave": 0.5, "encounters": 0.5, "clutter": (0, 3),
        "spacing_m": 0.7, "height": (0.36, 0.52), "shutter": (0.3, 0.7), "noise": (2, 5), "crf": (20, 28),
    },
    "camera": {
        "people": (3, 8), "run": 1.5, "sit": 0.5, "encounters": 0.5, "leaving": 0.2, "clutter": (1, 5), "spacing_m": 0.6,
        "height": (0.36, 0.52), "pan_deg": (4, 14), "zoom": (0.0, 0.35), "shake_px": (0.5, 3.0),
        "shutter": (0.3, 0.8), "noise": (2, 6), "crf": (22, 32),
    },
}  # fmt: skip
PRESETS = tuple(_CHANGES)


def scenario_of(preset: str) -> Scenario:
    """The scenario of a preset, or of presets joined by '+': "crowd+camera" is a crowd seen by a moving camera.

    Each preset changes some fields of `easy`; of several that change one field, the harder value holds: the smaller spacing, of
    all else the larger, of intervals both ends.
    Raises: ValueError naming what there is no preset of.
    """
    names = preset.split("+")
    if wrong := [name for name in names if name not in _CHANGES]:
        raise ValueError(f"there is no preset {wrong[0]!r}; choose from {', '.join(PRESETS)}, or join some with '+'")
    changes: dict[str, Any] = {}
    for name in names:
        for field, value in _CHANGES[name].items():
            changes[field] = _harder(field, value, changes[field]) if field in changes else value
    return replace(_EASY, **changes)


def _harder(field: str, one: Any, other: Any) -> Any:
    if field == "spacing_m":
        return min(one, other)
    return tuple(map(max, one, other)) if isinstance(one, tuple) else max(one, other)
