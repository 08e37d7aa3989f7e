"""Tracks: paths and acts of one person, or of two who meet, drawn at random on a stage.

Shape legend: D moments of the plan, evenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tkm.synthetic.bodies.body import Double
from tkm.synthetic.motion import actions
from tkm.synthetic.motion.actions import draw_drift, ease
from tkm.synthetic.motion.limbs import Build
from tkm.synthetic.motion.manner import Manner
from tkm.synthetic.motion.motion import Seat
from tkm.synthetic.motion.paths import path_through
from tkm.synthetic.motion.perform import Act
from tkm.synthetic.motion.rotations import facing, heading_of, unit
from tkm.synthetic.motion.stage import FARTHEST_M, Stage
from tkm.types import Bool

_LEG_S = (1.6, 3.2)  # of a path between corners


@dataclass(frozen=True)
class Track:
    """Where one person goes and what it does, D moments.

    path_m      (D, 2) float64
    facing_rad  (D,) float64, where it looks when it stands
    standing    (D,) bool
    acts        what it does in one place
    names       of all it does, in order
    room_m      how much farther than usual others must keep away
    seat        that it sits on
    leaves      whether it goes out of view and comes back
    """

    path_m: Double
    facing_rad: Double
    standing: Bool
    acts: tuple[Act, ...]
    names: tuple[str, ...]
    room_m: float = 0.0
    seat: Seat | None = None
    leaves: bool = False

    def body_m(self, seconds: Double) -> Double:
        """(D, 2) middle of the body: who sits is behind its feet."""
        if self.seat is None:
            return self.path_m
        weight = sum(act.weight(seconds) for act in self.acts if act.name == "sit")
        return self.path_m + np.asarray(weight)[:, None] * (self.seat.xy_m + 0.15 * self.seat.facing - self.path_m)


@dataclass(frozen=True)
class Cast:
    """What all tracks of a clip are drawn with.

    stage             the ground before the camera
    seconds           (D,) float64, moments of the plan; from before the first frame to after the last
    duration_s        of the clip
    tempo_hz, beat    of the music
    """

    stage: Stage
    seconds: Double
    duration_s: float
    tempo_hz: float
    beat: float


@dataclass(frozen=True)
class Player:
    """A body, its ways of moving, and the figures it dances."""

    build: Build
    manner: Manner
    figures: tuple[tuple[float, ...], ...]

    def speed_m_s(self, rng: np.random.Generator, slowest: float, fastest: float) -> float:
        """A speed at random, given for the legs of an average adult."""
        return float(rng.uniform(slowest, fastest) * np.sqrt(self.build.leg_m / 0.92))


def _turned(direction: Double, angle_rad: float) -> Double:
    return facing(np.asarray(heading_of(direction) + angle_rad))


def _spot(cast: Cast, rng: np.random.Generator) -> Double:
    spot: Double = cast.stage.spots_m[rng.integers(len(cast.stage.spots_m))]
    return spot


def _wander(cast: Cast, rng: np.random.Generator, known_s: list[float], known_m: list[Double], speed_m_s: float) -> Double:
    """(D, 2) path through known waypoints that goes on before and after them, a bit at random but rather within the picture."""
    times_s, places_m = list(known_s), list(known_m)
    for forward in (True, False):
        end_s = cast.seconds[-1] if forward else cast.seconds[0]
        while (times_s[-1] < end_s) if forward else (times_s[0] > end_s):
            here_m, before_m = (places_m[-1], places_m[-2]) if forward else (places_m[0], places_m[1])
            leg_s = rng.uniform(*_LEG_S)
            course = unit(here_m - before_m)
            ways = np.stack([_turned(course, angle) for angle in rng.normal(0, 0.5, 6)])
            there_m = here_m + ways * speed_m_s * leg_s
            away_m = there_m - cast.stage.eye_m
            depth_m, aside_m = away_m @ cast.stage.ahead, np.abs(away_m @ cast.stage.right)
            camera = cast.stage.camera
            out_m = np.maximum(0, aside_m - 0.8 * depth_m * camera.width_px / 2 / camera.focal_px[0])
            near_m = float(np.min((cast.stage.spots_m - cast.stage.eye_m) @ cast.stage.ahead))
            out_m += 2 * np.maximum(0, near_m - depth_m) + np.maximum(0, depth_m - FARTHEST_M)
            chosen = there_m[int(np.argmin(out_m))]
            if forward:
                times_s.append(times_s[-1] + leg_s)
                places_m.append(chosen)
            else:
                times_s.insert(0, times_s[0] - leg_s)
                places_m.insert(0, chosen)
    return path_through(np.array(times_s), np.array(places_m), cast.seconds)


def _moving(cast: Cast, path_m: Double, name: str) -> Track:
    zero = np.zeros(len(cast.seconds))
    return Track(path_m, zero, zero > 0, (), (name,))


def _act(cast: Cast, player: Player, rng: np.random.Generator, name: str, start_s: float, stop_s: float) -> Act:
    rate = player.manner.rate
    gesture = player.manner.gestures[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    return Act(
        name, start_s, stop_s, draw_drift(rng, 1.3 * rate), draw_drift(rng, rate), gesture, None, cast.tempo_hz, cast.beat,
        player.figures,
    )  # fmt: skip


def _to_camera(cast: Cast, rng: np.random.Generator, place_m: Double, spread_rad: float) -> float:
    """A heading roughly to the camera; now and then any."""
    if rng.random() < 0.12:
        return float(rng.uniform(-np.pi, np.pi))
    return float(heading_of(cast.stage.eye_m - place_m) + rng.normal(0, spread_rad))


def walk_about(cast: Cast, player: Player, rng: np.random.Generator, name: str, halt: bool) -> Track:
    """Somebody who walks or runs, and who may stop on the way to stand or to wave."""
    speed = player.speed_m_s(rng, 0.8, 1.7) if name == "walk" else player.speed_m_s(rng, 2.4, 3.8)
    at_s, place_m = rng.uniform(0.2, 0.8) * cast.duration_s, _spot(cast, rng)
    course = _turned(cast.stage.right * rng.choice((-1.0, 1.0)), rng.normal(0, 0.7))
    if not halt:
        return _moving(cast, _wander(cast, rng, [at_s, at_s + 0.8], [place_m, place_m + course * 0.8 * speed], speed), name)
    stays = rng.random() < 0.5
    at_s = rng.uniform(0.3, 0.6) * cast.duration_s
    first, second = (name, str(rng.choice(("stand", "wave")))) if stays or rng.random() < 0.5 else ("stand", name)
    beyond = float(cast.seconds[-1]) + 3
    look = _to_camera(cast, rng, place_m, 0.8)
    if second == name:  # stands first, then walks away
        start_s, stop_s = -beyond, at_s
        known_s, known_m = [start_s, stop_s, stop_s + 1], [place_m, place_m, place_m + course * speed]
    else:
        start_s, stop_s = at_s, beyond if stays or cast.duration_s < at_s + 3 else at_s + rng.uniform(1.8, 3.0)
        known_s, known_m = [at_s - 1, at_s, stop_s], [place_m - course * speed, place_m, place_m]
        if stop_s < beyond:
            known_s, known_m = [*known_s, stop_s + 1], [*known_m, place_m + _turned(course, rng.normal(0, 0.7)) * speed]
    path_m = _wander(cast, rng, known_s, known_m, speed)
    standing = (cast.seconds > start_s + 0.1) & (cast.seconds < stop_s - 0.3)
    act = _act(cast, player, rng, second if first == name else first, start_s - 0.1, stop_s + 0.2)
    names = (first, second) if first == "stand" or stop_s >= beyond else (first, second, name)
    return Track(path_m, np.full(len(cast.seconds), look), standing, (act,), names)


def stay(cast: Cast, player: Player, rng: np.random.Generator, name: str) -> Track:
    """Somebody who stands, waves or dances in one place; who waves stands before or after it."""
    place_m = _spot(cast, rng)
    seconds = cast.seconds
    look = _to_camera(cast, rng, place_m, 0.5 if name == "dance" else 0.9)
    acts: tuple[Act, ...] = (_act(cast, player, rng, name, -np.inf, np.inf),)
    names: tuple[str, ...] = (name,)
    if name != "dance" and cast.duration_s > 2 and rng.random() < 0.6:
        at_s = rng.uniform(0.25, 0.65) * cast.duration_s
        other = {"wave": "stand", "stand": "stand" if rng.random() < 0.6 else "wave"}[name]
        first, second = (name, other) if rng.random() < 0.5 else (other, name)
        acts = tuple(_act(cast, player, rng, what, -np.inf, np.inf) for what in (first, second))
        acts = (acts[0], replace(acts[1], start_s=at_s))  # the later one is laid over the first
        names = (first, second) if first != second else (first,)
    facing_rad = np.full(len(seconds), look)
    if cast.duration_s > 1.5 and name != "dance" and rng.random() < 0.35:  # turns to something
        facing_rad += rng.uniform(0.6, 1.6) * rng.choice((-1, 1)) * (seconds > rng.uniform(0.2, 0.7) * cast.duration_s)
    path_m, room_m = np.tile(place_m, (len(seconds), 1)), 0.3 if name == "dance" else 0.0
    return Track(path_m, facing_rad, np.ones(len(seconds), bool), acts, names, room_m)


def take_seat(cast: Cast, player: Player, rng: np.random.Generator) -> Track:
    """Somebody on a seat: all the time, or who gets up, or sits down, or comes walking to sit down."""
    build, seconds = player.build, cast.seconds
    middle_m = _spot(cast, rng)
    look = _to_camera(cast, rng, middle_m, 0.8)
    seat = Seat(middle_m, float(actions.seat_height_m(build) + rng.uniform(-0.02, 0.02)), facing(np.asarray(look)))
    place_m = actions.stand_before(build, seat)
    path_m = np.tile(place_m, (len(seconds), 1))
    standing = np.ones(len(seconds), bool)
    start_s, stop_s = -np.inf, np.inf
    names: tuple[str, ...] = ("sit",)
    story = rng.random()
    if cast.duration_s >= 2 and story < 0.35:
        stop_s, names = float(rng.uniform(0.5, 0.75) * cast.duration_s + 0.5), ("sit", "stand")
    elif cast.duration_s >= 3 and story < 0.6:
        speed = player.speed_m_s(rng, 0.9, 1.2)
        at_s = rng.uniform(0.2, 0.35) * cast.duration_s
        start_s, names = float(at_s + 0.35), ("walk", "sit")
        come = _turned(seat.facing, rng.uniform(-1.2, 1.2))
        path_m = _wander(cast, rng, [at_s - 1, at_s, seconds[-1] + 3], [place_m + come * speed, place_m, place_m], speed)
        standing = seconds > at_s - 0.15
    elif cast.duration_s >= 2 and story < 0.8:
        start_s, names = float(rng.uniform(0.05, 0.4) * cast.duration_s), ("stand", "sit")
    sitting = replace(_act(cast, player, rng, "sit", start_s, stop_s), seat=seat)
    acts = (sitting,) if "stand" not in names else (_act(cast, player, rng, "stand", -np.inf, np.inf), sitting)
    return Track(path_m, np.full(len(seconds), look), standing, acts, names, 0.15, seat)


def leave(cast: Cast, player: Player, rng: np.random.Generator) -> Track:
    """Somebody who walks out of the picture, turns round, and comes back."""
    stage = cast.stage
    turn_s = rng.uniform(0.42, 0.55) * cast.duration_s
    depth_m = float((_spot(cast, rng) - stage.eye_m) @ stage.ahead)
    side = int(rng.choice((-1, 1)))
    speed = max(player.speed_m_s(rng, 1.1, 1.6), 1.7 / max(turn_s - 0.2, 0.3))
    edge_m = stage.edge_m(turn_s, depth_m, side)
    out_m = edge_m + stage.right * side * rng.uniform(0.75, 0.95)
    back_m = out_m + stage.ahead * rng.choice((-1, 1)) * 0.45
    ways = [_turned(-stage.right * side, rng.normal(0, 0.25)) for _ in range(2)]
    leg_s = max(turn_s - 0.2, 0.5)
    known_s = [turn_s - 0.2 - leg_s, turn_s - 0.2, turn_s + 0.2, turn_s + 0.2 + leg_s]
    known_m = [out_m + ways[0] * speed * leg_s, out_m, back_m, back_m + ways[1] * speed * leg_s]
    fast = speed > 0.65 * np.sqrt(9.81 * player.build.leg_m)
    return replace(_moving(cast, _wander(cast, rng, known_s, known_m, speed), "run" if fast else "walk"), leaves=True)


def cross(cast: Cast, pair: tuple[Player, Player], rng: np.random.Generator) -> tuple[Track, Track]:
    """Two whose paths cross as the camera sees it: one passes closely before the other."""
    at_s, place_m = rng.uniform(0.3, 0.7) * cast.duration_s, _spot(cast, rng)
    ray = unit(place_m - cast.stage.eye_m) * rng.uniform(0.6, 1.0) / 2
    one = _turned(cast.stage.right * rng.choice((-1.0, 1.0)), rng.normal(0, 0.35))
    ways = (one, _turned(-one, rng.normal(0, 0.35)))
    tracks = []
    for player, way, middle_m in zip(pair, ways, (place_m - ray, place_m + ray), strict=True):
        speed = player.speed_m_s(rng, 0.9, 1.6)
        known_m = [middle_m - way * speed * 0.9, middle_m + way * speed * 0.9]
        tracks.append(_moving(cast, _wander(cast, rng, [at_s - 0.9, at_s + 0.9], known_m, speed), "walk"))
    return tracks[0], tracks[1]


def overtake(cast: Cast, pair: tuple[Player, Player], rng: np.random.Generator) -> tuple[Track, Track]:
    """Two on one way, the second faster than the first."""
    at_s, place_m = rng.uniform(0.35, 0.65) * cast.duration_s, _spot(cast, rng)
    way = _turned(cast.stage.right * rng.choice((-1.0, 1.0)), rng.normal(0, 0.6))
    aside = _turned(way, np.pi / 2) * rng.uniform(0.6, 0.9) / 2 * rng.choice((-1, 1))
    tracks = []
    for player, middle_m, speeds in zip(pair, (place_m - aside, place_m + aside), ((0.7, 1.0), (1.5, 1.75)), strict=True):
        speed = player.speed_m_s(rng, *speeds)
        known_m = [middle_m - way * speed * 1.2, middle_m + way * speed * 1.2]
        tracks.append(_moving(cast, _wander(cast, rng, [at_s - 1.2, at_s + 1.2], known_m, speed), "walk"))
    return tracks[0], tracks[1]


def meet(cast: Cast, pair: tuple[Player, Player], rng: np.random.Generator) -> tuple[Track, Track]:
    """Two who walk up to each other, stop, and part: past each other, or back."""
    place_m = _spot(cast, rng)
    stop_s = min(rng.uniform(0.8, 2.0), 0.4 * cast.duration_s)
    at_s = rng.uniform(0.25, 0.45) * cast.duration_s
    way = _turned(cast.stage.right, rng.normal(0, 0.8))
    past = rng.random() < 0.5
    angle = rng.uniform(0.7, 1.1) if past else rng.uniform(2.0, 2.8)
    half_m = rng.uniform(0.42, 0.55)
    tracks = []
    for player, sign in zip(pair, (-1, 1), strict=True):
        speed = player.speed_m_s(rng, 0.9, 1.4)
        here_m = place_m + way * sign * half_m
        away = _turned(-sign * way, angle)
        known_m = [here_m + sign * way * speed, here_m, here_m, here_m + away * speed]
        path_m = _wander(cast, rng, [at_s - 1, at_s, at_s + stop_s, at_s + stop_s + 1], known_m, speed)
        standing = (cast.seconds > at_s - 0.1) & (cast.seconds < at_s + stop_s - 0.2)
        act = replace(_act(cast, player, rng, "stand", at_s - 0.2, at_s + stop_s + 0.2), gesture="talk")
        look = np.full(len(cast.seconds), float(heading_of(-sign * way)))
        tracks.append(Track(path_m, look, standing, (act,), ("walk", "stand", "walk")))
    return tracks[0], tracks[1]


def swap(cast: Cast, pair: tuple[Player, Player], rng: np.random.Generator) -> tuple[Track, Track]:
    """Two who walk side by side and swap their sides, one cutting in before the other."""
    at_s, place_m = rng.uniform(0.35, 0.65) * cast.duration_s, _spot(cast, rng)
    speed = min(player.speed_m_s(rng, 0.9, 1.3) for player in pair)
    way = _turned(cast.stage.right * rng.choice((-1.0, 1.0)), rng.normal(0, 0.7))
    known_m = [place_m - way * speed, place_m + way * speed]
    middle_m = _wander(cast, rng, [at_s - 1, at_s + 1], known_m, speed)
    ahead = unit(np.gradient(middle_m, axis=0))
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    share = ease((cast.seconds - at_s) / rng.uniform(2.2, 2.8) + 0.5)[:, None]
    gap_m, lead_m = rng.uniform(0.62, 0.8), rng.uniform(0.55, 0.65)
    apart_m = aside * gap_m / 2 * (1 - 2 * share) + ahead * lead_m / 2 * np.sin(np.pi * share)
    return _moving(cast, middle_m + apart_m, "walk"), _moving(cast, middle_m - apart_m, "walk")
