"""Who does what in a clip: paths that cross, people who leave and come back, and all that they do on the way.

Tracks are drawn at random and the best of some is kept: in view, and not through anybody planned before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Body, Double
from tkm.synthetic.camera import Camera
from tkm.synthetic.motion.limbs import measure
from tkm.synthetic.motion.manner import draw_manner
from tkm.synthetic.motion.motion import Motion, Seat
from tkm.synthetic.motion.paths import follow
from tkm.synthetic.motion.perform import dance_course, perform
from tkm.synthetic.motion.posture import between
from tkm.synthetic.motion.stage import FARTHEST_M, NEAREST_M, Stage, apart, see_stage
from tkm.synthetic.motion.tracks import Cast, Player, Track, cross, leave, meet, overtake, stay, swap, take_seat, walk_about
from tkm.synthetic.scenario import Scenario

_STEP_S = 0.01
_MARGIN_S = 2.0  # of the plan before the first frame and after the last
_TRIES = 40
_GOOD = 0.05
_CLOSEST_M = 0.52  # of two who meet
_SEAT_M = 0.6
_ACTIONS = ("walk", "run", "stand", "sit", "dance", "wave")


@dataclass(frozen=True)
class Choreography:
    """The motion of each of a clip's people, and what they sit on."""

    motions: tuple[Motion, ...]
    seats: tuple[Seat, ...]


@dataclass(frozen=True)
class _Planned:
    """Somebody, or a seat, that others must keep off: (N, 2) places at the stage's checks, and how far in metres."""

    places_m: Double
    girth_m: float
    room_m: float


@dataclass(frozen=True)
class _Unit:
    """One or two people who are planned together, and how a candidate of their tracks is drawn."""

    people: tuple[int, ...]
    draw: Callable[[np.random.Generator], tuple[Track, ...]]


def plan_motions(
    scenario: Scenario, camera: Camera, bodies: Sequence[Body], twin: Sequence[int | None], frames: int, fps: float,
    rng: np.random.Generator, style: np.random.Generator,
) -> Choreography:  # fmt: skip
    """How people move before a camera.

    Args:
        scenario: what they do, how they meet, and how far they keep apart.
        camera: of `frames` frames; where people are in view is its to say.
        bodies: of the people.
        twin: for each of them, the number of its twin, or None.
        frames: of the clip.
        fps: frames a second. Motion is a function of time: at twice the fps, every second frame is the same.
        rng: draws the plan.
        style: draws each person's ways of moving.

    Returns:
        One motion for each body, `frames` long, and the seats.
    """
    duration_s = (frames - 1) / fps
    middle_m = float(np.mean(scenario.distance_m))
    stage = see_stage(camera, duration_s, fps, middle_m, rng)
    first, last = -round(_MARGIN_S / _STEP_S), round((duration_s + _MARGIN_S) / _STEP_S) + 1
    seconds: Double = np.arange(first, last + 1, dtype=np.float64) * _STEP_S
    cast = Cast(stage, seconds, duration_s, float(rng.uniform(1.6, 2.3)), float(rng.uniform(0, 64)))
    together = tuple(tuple(figure) for figure in style.random((4, 8)).tolist())
    unison = rng.random() < 0.45
    players = []
    for body in bodies:
        manner = draw_manner(style)
        players.append(Player(measure(body), manner, together if unison else manner.figures))
    tracks: dict[int, Track] = {}
    planned: list[_Planned] = []
    for unit in _units(scenario, cast, players, twin, rng):
        best = _best(scenario, cast, players, unit, planned, rng)
        for person, track in zip(unit.people, best, strict=True):
            tracks[person] = track
            planned += _bodies(cast, players[person], track)
    times_s: Double = np.arange(frames, dtype=np.float64) / fps
    motions, seats = [], []
    for person, player in enumerate(players):
        track = tracks[person]
        course = follow(player.build, player.manner, seconds, track.path_m, track.facing_rad, track.standing)
        for act in track.acts:
            if act.name == "dance":
                course = dance_course(player.build, act, course)
        motions.append(perform(player.build, player.manner, course, track.acts, track.names, times_s))
        seats += [track.seat] if track.seat else []
    return Choreography(tuple(motions), tuple(seats))


def _some(count: float, rng: np.random.Generator) -> int:
    """A whole number with this mean, at most 1 away from it."""
    return int(np.floor(count + rng.random()))


def _units(
    scenario: Scenario, cast: Cast, players: Sequence[Player], twin: Sequence[int | None], rng: np.random.Generator
) -> list[_Unit]:
    """Who is planned with whom; whom fewer places suit comes first."""
    weights = np.array([getattr(scenario, name) for name in _ACTIONS], dtype=np.float64)
    drawn = [_ACTIONS[number] for number in rng.choice(len(_ACTIONS), len(players), p=weights / weights.sum())]
    leavers, pairs = [], []
    for person, other in enumerate(twin):
        if other is None or other < person or rng.random() > 0.9 or not weights[:2].any():
            continue
        if rng.random() < 1 - (1 - scenario.leaving) ** 2:
            leavers.append(person)
            drawn[person] = drawn[other] = "walk"
        else:
            pairs.append((person, other, swap if rng.random() < 0.6 else (cross, overtake, meet)[rng.integers(3)]))
    taken = {*leavers, *(person for pair in pairs for person in pair[:2])}
    movers = [int(p) for p in rng.permutation(len(players)) if drawn[p] in ("walk", "run") and p not in taken]
    leaving = _some(scenario.leaving * len(movers), rng)
    leavers += movers[:leaving]
    walkers = [person for person in movers[leaving:] if drawn[person] == "walk"]
    kinds = (cross, cross, overtake, meet, swap)
    meetings = min(_some(scenario.encounters * len(walkers) / 2, rng), len(walkers) // 2)
    pairs += [(walkers[2 * n], walkers[2 * n + 1], kinds[rng.integers(len(kinds))]) for n in range(meetings)]
    taken = {*leavers, *(person for pair in pairs for person in pair[:2])}
    alone = sorted((p for p in range(len(players)) if p not in taken), key=lambda p: ("sit", "dance").count(drawn[p]) == 0)
    units = [_unit_of_one(cast, players[person], person, "leave", False) for person in leavers]
    units += [_unit_of_two(cast, players, pair) for pair in pairs]
    return units + [_unit_of_one(cast, players[person], person, drawn[person], rng.random() < 0.25) for person in alone]


def _unit_of_one(cast: Cast, player: Player, person: int, name: str, halt: bool) -> _Unit:
    def draw(rng: np.random.Generator) -> tuple[Track, ...]:
        if name == "leave":
            return (leave(cast, player, rng),)
        if name == "sit":
            return (take_seat(cast, player, rng),)
        if name in ("walk", "run"):
            return (walk_about(cast, player, rng, name, halt and name == "walk" and cast.duration_s > 2),)
        return (stay(cast, player, rng, name),)

    return _Unit((person,), draw)


def _unit_of_two(cast: Cast, players: Sequence[Player], pair: tuple[int, int, Callable[..., tuple[Track, Track]]]) -> _Unit:
    one, other, kind = pair
    return _Unit((one, other), lambda rng: kind(cast, (players[one], players[other]), rng))


def _bodies(cast: Cast, player: Player, track: Track) -> list[_Planned]:
    places_m = between(cast.seconds, track.body_m(cast.seconds), cast.stage.checks_s)
    bodies = [_Planned(places_m, player.build.girth_m, track.room_m)]
    if track.seat:
        bodies.append(_Planned(np.tile(track.seat.xy_m, (len(places_m), 1)), 0.25, 0.0))
    return bodies


def _best(
    scenario: Scenario, cast: Cast, players: Sequence[Player], unit: _Unit, planned: Sequence[_Planned], rng: np.random.Generator
) -> tuple[Track, ...]:
    """The first candidate that is good, or the best of all."""
    best, lowest = None, np.inf
    for _ in range(_TRIES):
        tracks = unit.draw(rng)
        bodies = [_bodies(cast, players[person], track) for person, track in zip(unit.people, tracks, strict=True)]
        cost = sum(_awkward(cast.seconds, track) for track in tracks)
        cost += sum(_out_of_view(cast.stage, own[0].places_m, track.leaves) for own, track in zip(bodies, tracks, strict=True))
        for body in (body for own in bodies for body in own):
            cost += sum(8 * apart(body.places_m, one.places_m, _distance_m(scenario.spacing_m, body, one)) for one in planned)
        if len(bodies) == 2:
            cost += 8 * apart(bodies[0][0].places_m, bodies[1][0].places_m, _distance_m(_CLOSEST_M, bodies[0][0], bodies[1][0]))
        if cost < lowest:
            best, lowest = tracks, cost
        if lowest < _GOOD:
            break
    if best is None:
        raise AssertionError("a cost is a finite number")
    return best


def _awkward(seconds: Double, track: Track) -> float:
    """How sharply somebody turns while walking, who need not."""
    if track.leaves:
        return 0.0
    velocity = np.gradient(track.path_m[::5], seconds[::5], axis=0)
    moving = ~track.standing[::5] & (np.linalg.norm(velocity, axis=1) > 0.15)
    turn = np.abs(np.diff(np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0])))) / (seconds[5] - seconds[0])
    return float(np.mean(np.clip(turn[moving[1:] & moving[:-1]] - 2.0, 0, 5)) if moving.any() else 0.0)


def _distance_m(spacing_m: float, one: _Planned, other: _Planned) -> float:
    return max(spacing_m, 0.9 * (one.girth_m + other.girth_m) + 0.12) + max(one.room_m, other.room_m)


def _out_of_view(stage: Stage, places_m: Double, leaves: bool) -> float:
    """How badly a person on (N, 2) places is seen."""
    edge_m, share, depth_m = stage.inside_m(places_m)
    cost = 4 * float(np.mean(np.clip((NEAREST_M - depth_m) / 0.5, 0, 3)) + np.mean(np.clip((depth_m - FARTHEST_M) / 2, 0, 3)))
    cost += float(np.mean(1 - share))
    if not leaves:
        return cost + float(np.mean(np.clip((0.3 - edge_m) / 0.6, 0, 1))) + 4 * float(np.mean(edge_m < 0) > 0.5)
    out = np.flatnonzero(edge_m < -0.45)
    if len(out) == 0:
        return cost + 4 + float(np.clip(edge_m.min(), 0, 3))
    before, after = edge_m[: out[0]], edge_m[out[-1] :]
    for part in (before, after):
        seen_m = float(part.max()) if len(part) else -1.0
        cost += 2 * float(np.clip(0.35 - seen_m, 0, 2))
    return cost
