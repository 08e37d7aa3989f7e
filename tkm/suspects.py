"""Places in a video where results are likely wrong: identities that switch, joints that are somewhere else.

Judged by motion and proportion alone, which need neither pixels nor truth. Every measure is compared with a bound that people
and cameras rarely pass; how often the first suspects are right is measured in docs/suspects.md.

    joint_speed   a joint leaves its body faster than limbs move, or jumps away and comes back
    limb_length   a limb is several times as long as it is in most frames of the same track
    switch        a whole body jumps; a track ends where another begins; or, after two people met, their ways fit better crossed

Shape legend: P poses, K keypoints, L limbs, S suspects, E pairs of poses.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tkm.similarity import aligned_iou
from tkm.skeleton import Skeleton
from tkm.types import Bool, Float, Int

Kind = Literal["switch", "joint_speed", "limb_length"]
KINDS: tuple[Kind, ...] = ("switch", "joint_speed", "limb_length")

MIN_SCORE = 0.3  # keypoints under it are guesses, which are expected to jump
JOINT_SPEED = 6.0  # body heights a second, relative to the body: hands and feet that neither throw nor strike stay below
BODY_SPEED = 6.0  # body heights a second: sprinters stay below
MIN_STEP = 0.15  # body heights: a shorter way is jitter, however little time it takes
MIN_STEP_S = 1 / 120  # frames that lie closer have times that tell nothing
MAX_STEP_S = 0.5  # over a longer absence a body may do anything
MIN_JOINTS = 5  # so many move with the body, or it is not known where it goes
LIMB_RATIO = 2.0  # of a limb's median: foreshortening makes limbs shorter than they are, and nothing makes them longer
MIN_LIMB = 0.3  # body heights: no limb is longer, and shorter ones double by turning to the camera
MIN_LIMB_POSES = 10  # fewer tell no median
LOST_S = 1.0  # between the end of a track and the begin of the one that goes on
LOST_IOU = 0.3  # of the box where it would be, had it gone on, and the one that begins
MIN_TRACK_POSES = 3  # shorter tracks are stray detections
MEET_IOU = 0.3  # boxes that overlap more hide each other
FIT_S = 0.5  # before and after a meeting: long enough for a direction, short enough for a straight way
MIN_FIT_POSES = 4
CROSS_RATIO = 2.0  # the ways that the tracks go fit so many times worse than the crossed ones
FIT_NOISE = 0.1  # body heights: ways that fit better fit by chance
APART_S = 0.5  # suspects of one kind and place that are nearer in time are one
_DIGITS = 3  # of what is told: the last bits differ from machine to machine
MOST = 200  # suspects of a video: nobody looks at more


@dataclass(frozen=True)
class TrackedPoses:
    """The people of one video, in any order.

    frame, pts_ns, track_id   (P,) int64
    box_xyxy_px               (P, 4) float32
    xy_px                     (P, K, 2) float32, NaN where a keypoint is not given
    score                     (P, K) float32, NaN likewise
    """

    frame: Int
    pts_ns: Int
    track_id: Int
    box_xyxy_px: Float
    xy_px: Float
    score: Float

    def take(self, rows: NDArray[np.generic]) -> TrackedPoses:
        """Rows by an integer or boolean index."""
        return TrackedPoses(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Suspects:
    """Suspicious places of one video.

    kind             (S,) str, one of KINDS
    frame, pts_ns    (S,) int64, the frame to look at
    track_id         (S,) int64
    other_track_id   (S,) int64, the other track of a switch between two; -1 for none
    joint            (S,) int64, number of the keypoint; -1 where it is the whole body
    value, limit     (S,) float64, what was measured and the bound that it exceeds: body heights a second for speeds, times the
                     track's own median for limbs, IOU for a track that ends where another begins, times the crossed ways'
                     misfit for two that met
    xy_px            (S, 2) float64, where to look
    """

    kind: NDArray[np.str_]
    frame: Int
    pts_ns: Int
    track_id: Int
    other_track_id: Int
    joint: Int
    value: NDArray[np.float64]
    limit: NDArray[np.float64]
    xy_px: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def severity(self) -> NDArray[np.float64]:
        """(S,) float64, above 1: how many times the bound is exceeded, comparable across kinds."""
        severity: NDArray[np.float64] = np.round(self.value / self.limit, _DIGITS)
        return severity

    def take(self, rows: NDArray[np.generic]) -> Suspects:
        """Rows by an integer or boolean index."""
        return Suspects(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def find_suspects(poses: TrackedPoses, skeleton: Skeleton, most: int = MOST) -> Suspects:
    """The most suspicious places of a video, the worst first; of those that are near in time and place the worst alone."""
    if not len(poses.frame):
        return _nothing()
    poses = poses.take(np.lexsort((poses.frame, poses.track_id)))
    speeds = _steps(poses)
    found = _joined(
        [_joint_speeds(poses, speeds), _limb_lengths(poses, skeleton), _jumps(poses, speeds), _lost(poses), _crossed(poses)]
    )
    return _worst_of_each(found, most)


@dataclass(frozen=True)
class _Steps:
    """From a pose to the next of its track, E pairs of rows: median speed of the body, and speed of each joint relative to it."""

    before: Int
    after: Int
    body: NDArray[np.floating]
    body_step: NDArray[np.floating]
    joint: NDArray[np.floating]
    joint_step: NDArray[np.floating]


def _steps(poses: TrackedPoses) -> _Steps:
    before = np.flatnonzero(poses.track_id[1:] == poses.track_id[:-1])
    after = before + 1
    seconds = (poses.pts_ns[after] - poses.pts_ns[before]) / 1e9
    near = seconds <= MAX_STEP_S
    before, after, seconds = before[near], after[near], np.maximum(seconds[near], MIN_STEP_S)
    is_known = poses.score >= MIN_SCORE
    moved = poses.xy_px[after] - poses.xy_px[before]
    moved[~(is_known[after] & is_known[before])] = np.nan
    height_px = np.maximum(_height_px(poses)[after], _height_px(poses)[before])
    moved /= height_px[:, None, None].astype(np.float32)
    is_body = (~np.isnan(moved[..., 0])).sum(axis=1) >= MIN_JOINTS
    body = np.full((len(moved), 2), np.nan, np.float32)
    body[is_body] = np.nanmedian(moved[is_body], axis=1)
    body_step = np.linalg.norm(body, axis=1)
    joint_step = np.linalg.norm(moved - body[:, None], axis=2)
    return _Steps(before, after, body_step / seconds, body_step, joint_step / seconds[:, None], joint_step)


def _joint_speeds(poses: TrackedPoses, steps: _Steps) -> Suspects:
    """Joints that leave their body too fast. Of a jump away and back the pose between is told, of any other the less sure one."""
    is_fast = (steps.joint > JOINT_SPEED) & (steps.joint_step > MIN_STEP) & ~_is_jump(steps)[:, None]
    e, joint = np.nonzero(is_fast)
    before, after = steps.before[e], steps.after[e]
    row = np.where(poses.score[before, joint] < poses.score[after, joint], before, after)
    goes_on = np.append(is_fast, np.zeros((1, is_fast.shape[1]), np.bool_), axis=0)[e + 1, joint]
    goes_on &= np.append(steps.before, -1)[e + 1] == after
    row = np.where(goes_on, after, row)
    return _of_joints(poses, "joint_speed", row, joint, steps.joint[e, joint], JOINT_SPEED)


def _is_jump(steps: _Steps) -> Bool:
    """(E,) whether the whole body moves faster than people do."""
    is_jump: Bool = (steps.body > BODY_SPEED) & (steps.body_step > MIN_STEP)
    return is_jump


def _jumps(poses: TrackedPoses, steps: _Steps) -> Suspects:
    """Bodies that jump: the track goes on with somebody else."""
    e = np.flatnonzero(_is_jump(steps))
    return _of_bodies(poses, steps.after[e], np.full(len(e), -1), steps.body[e], BODY_SPEED)


def _limb_lengths(poses: TrackedPoses, skeleton: Skeleton) -> Suspects:
    """Limbs that are too long for their track. Of its ends the less sure one is told."""
    a, b = np.array(skeleton.limbs, np.int64).reshape(-1, 2).T
    length = np.linalg.norm(poses.xy_px[:, a] - poses.xy_px[:, b], axis=2) / _height_px(poses)[:, None].astype(np.float32)
    length[~((poses.score[:, a] >= MIN_SCORE) & (poses.score[:, b] >= MIN_SCORE))] = np.nan
    median = np.full_like(length, np.nan)
    for rows in _tracks(poses):
        is_told = (~np.isnan(length[rows])).sum(axis=0) >= MIN_LIMB_POSES
        median[rows, is_told] = np.nanmedian(length[rows][:, is_told], axis=0)
    row, limb = np.nonzero((length > LIMB_RATIO * median) & (length > MIN_LIMB))
    ends = np.stack([a[limb], b[limb]])
    joint = np.where(poses.score[row, ends[0]] < poses.score[row, ends[1]], ends[0], ends[1])
    ratio = length[row, limb] / np.maximum(median[row, limb], MIN_LIMB / LIMB_RATIO)
    return _of_joints(poses, "limb_length", row, joint, ratio, LIMB_RATIO)


def _lost(poses: TrackedPoses) -> Suspects:
    """Tracks that end where another begins soon after: one person, two ids. The begin is what to look at."""
    tracks = [rows for rows in _tracks(poses) if rows.stop - rows.start >= MIN_TRACK_POSES]
    if len(tracks) < 2:
        return _nothing()
    ends = np.array([rows.stop - 1 for rows in tracks])
    begins = np.array([rows.start for rows in tracks])
    by_begin = np.argsort(poses.pts_ns[begins], kind="stable")
    begin_ns = poses.pts_ns[begins[by_begin]]
    low = np.searchsorted(begin_ns, poses.pts_ns[ends], side="right")
    high = np.searchsorted(begin_ns, poses.pts_ns[ends] + int(LOST_S * 1e9), side="right")
    one = np.repeat(np.arange(len(tracks)), high - low)
    other = by_begin[np.concatenate([np.arange(*pair) for pair in zip(low, high, strict=True)]).astype(np.int64)]
    seconds = (poses.pts_ns[begins[other]] - poses.pts_ns[ends[one]]) / 1e9
    speed = np.stack([_speed(poses, slice(max(rows.start, rows.stop - MIN_FIT_POSES), rows.stop)) for rows in tracks])
    boxes = poses.box_xyxy_px.astype(np.float64)
    reached = boxes[ends[one]] + np.tile(speed[one] * seconds[:, None], 2)
    begun = boxes[begins[other]]
    # A track that has stopped fits where it was, one that has gone on where it would be.
    overlap = np.maximum(_iou(reached, begun), _iou(boxes[ends[one]], begun))
    is_lost = overlap > LOST_IOU
    row, ended = begins[other][is_lost], ends[one][is_lost]
    return _of_bodies(poses, row, poses.track_id[ended], overlap[is_lost], LOST_IOU)


def _crossed(poses: TrackedPoses) -> Suspects:
    """Pairs of tracks that met and whose ways, before and after, fit better if each went on as the other."""
    found: list[tuple[int, int]] = []
    ratios: list[float] = []
    spans = {int(poses.track_id[rows.start]): rows for rows in _tracks(poses)}
    centre_px = _centre_px(poses)
    for one, other, start_ns, stop_ns in _meetings(poses):
        pair = [spans[one], spans[other]]
        before = [_fit(poses, centre_px, rows, start_ns - int(FIT_S * 1e9), start_ns - 1) for rows in pair]
        after = [_fit(poses, centre_px, rows, stop_ns + 1, stop_ns + int(FIT_S * 1e9)) for rows in pair]
        ways = [way for way in (*before, *after) if way is not None]
        if len(ways) < 4:
            continue
        height_px = float(np.mean([np.median(_height_px(poses)[rows]) for rows in pair]))
        middle_ns = (start_ns + stop_ns) // 2
        straight_px = _misfit(ways[0], ways[2], middle_ns) + _misfit(ways[1], ways[3], middle_ns)
        crossed_px = _misfit(ways[0], ways[3], middle_ns) + _misfit(ways[1], ways[2], middle_ns)
        ratio = straight_px / (crossed_px + 2 * FIT_NOISE * height_px)
        if ratio > CROSS_RATIO:
            inside = np.arange(pair[0].start, pair[0].stop)
            row = inside[np.argmin(np.abs(poses.pts_ns[inside] - middle_ns))]
            found.append((int(row), other))
            ratios.append(ratio)
    rows, others = np.array(found, np.int64).reshape(-1, 2).T
    return _of_bodies(poses, rows, others, np.array(ratios, np.float64), CROSS_RATIO)


@dataclass(frozen=True)
class _Way:
    """A straight way: where it is at a time, and how fast it goes."""

    at_ns: int
    xy_px: NDArray[np.float64]
    px_s: NDArray[np.float64]


def _fit(poses: TrackedPoses, centre_px: NDArray[np.float64], rows: slice, start_ns: int, stop_ns: int) -> _Way | None:
    """The way of a track within a time, by least squares; None where it is there too seldom."""
    times = poses.pts_ns[rows]
    chosen = slice(int(np.searchsorted(times, start_ns)), int(np.searchsorted(times, stop_ns, side="right")))
    if chosen.stop - chosen.start < MIN_FIT_POSES:
        return None
    at_ns = int(times[chosen].mean())
    seconds = (times[chosen] - at_ns) / 1e9
    xy_px = centre_px[rows][chosen]
    middle = xy_px.mean(axis=0)
    px_s = seconds @ (xy_px - middle) / max(float(seconds @ seconds), 1e-9)
    return _Way(at_ns, middle, px_s)


def _misfit(before: _Way, after: _Way, middle_ns: int) -> float:
    """How far one way is from going on as another, in px: where both are in the middle, and how differently they go on."""
    reached, came = (way.xy_px + way.px_s * (middle_ns - way.at_ns) / 1e9 for way in (before, after))
    return float(np.linalg.norm(reached - came) + FIT_S * np.linalg.norm(before.px_s - after.px_s))


def _meetings(poses: TrackedPoses) -> list[tuple[int, int, int, int]]:
    """Two tracks, the lower id first, and the first and last time at which their boxes overlap, without pauses of APART_S."""
    order = np.lexsort((poses.track_id, poses.frame))
    frame, boxes = poses.frame[order], poses.box_xyxy_px[order]
    pairs = []
    for apart in range(1, int(np.unique(frame, return_counts=True)[1].max(initial=0))):
        here = np.flatnonzero(frame[apart:] == frame[:-apart])
        here = here[aligned_iou(boxes[here], boxes[here + apart]) > MEET_IOU]
        pairs.append(np.stack([order[here], order[here + apart]]))
    if not sum(pair.size for pair in pairs):
        return []
    one, other = np.concatenate(pairs, axis=1)
    first, second, at_ns = poses.track_id[one], poses.track_id[other], poses.pts_ns[one]
    order = np.lexsort((at_ns, second, first))
    first, second, at_ns = first[order], second[order], at_ns[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0) | (np.diff(at_ns) > APART_S * 1e9)
    starts = np.flatnonzero(is_new)
    stops = np.append(starts[1:], len(order)) - 1
    return [(int(first[a]), int(second[a]), int(at_ns[a]), int(at_ns[b])) for a, b in zip(starts, stops, strict=True)]


def _speed(poses: TrackedPoses, rows: slice) -> NDArray[np.float64]:
    """(2,) px a second from the first of these rows to the last."""
    centre_px, times = _centre_px(poses.take(np.arange(rows.start, rows.stop))), poses.pts_ns[rows]
    speed: NDArray[np.float64] = (centre_px[-1] - centre_px[0]) / max((times[-1] - times[0]) / 1e9, MIN_STEP_S)
    return speed


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return aligned_iou(a.astype(np.float32), b.astype(np.float32)).astype(np.float64)


def _height_px(poses: TrackedPoses) -> NDArray[np.float64]:
    return np.maximum(poses.box_xyxy_px[:, 3] - poses.box_xyxy_px[:, 1], 1).astype(np.float64)


def _centre_px(poses: TrackedPoses) -> NDArray[np.float64]:
    boxes = poses.box_xyxy_px.astype(np.float64)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _tracks(poses: TrackedPoses) -> list[slice]:
    """Rows of each track, of poses that are sorted by track."""
    starts = np.flatnonzero(np.diff(poses.track_id, prepend=poses.track_id[:1] - 1))
    return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], len(poses.track_id)], strict=True)]


def _of_joints(poses: TrackedPoses, kind: Kind, row: Int, joint: Int, value: NDArray[np.floating], limit: float) -> Suspects:
    nobody = np.full(len(row), -1)
    return _suspects(poses, kind, row, nobody, joint.astype(np.int64), value, limit, poses.xy_px[row, joint])


def _of_bodies(poses: TrackedPoses, row: Int, other: Int, value: NDArray[np.floating], limit: float) -> Suspects:
    return _suspects(poses, "switch", row, other, np.full(len(row), -1), value, limit, _centre_px(poses)[row])


def _suspects(
    poses: TrackedPoses, kind: Kind, row: Int, other: Int, joint: Int, value: NDArray[np.floating], limit: float,
    xy_px: NDArray[np.floating],
) -> Suspects:  # fmt: skip
    return Suspects(
        kind=np.full(len(row), kind, "U11"),
        frame=poses.frame[row],
        pts_ns=poses.pts_ns[row],
        track_id=poses.track_id[row],
        other_track_id=other,
        joint=joint,
        value=np.round(value.astype(np.float64), _DIGITS).astype(np.float64),
        limit=np.full(len(row), limit),
        xy_px=xy_px.astype(np.float64),
    )


def _nothing() -> Suspects:
    no, none = np.zeros(0, np.int64), np.zeros(0)
    return Suspects(np.zeros(0, "U11"), no, no, no, no, no, none, none, np.zeros((0, 2)))


def _joined(parts: list[Suspects]) -> Suspects:
    return Suspects(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Suspects)})


def _worst_of_each(found: Suspects, most: int) -> Suspects:
    """By falling severity; of the joints of a track, and of its body, the worst alone within APART_S."""
    order = np.lexsort((found.joint, found.track_id, found.frame, -found.severity))
    found = found.take(order)
    kept: list[int] = []
    seen: dict[tuple[int, bool], list[int]] = {}
    for n, place in enumerate(zip(found.track_id.tolist(), (found.joint < 0).tolist(), strict=True)):
        times = seen.setdefault(place, [])
        at_ns = int(found.pts_ns[n])
        if all(abs(at_ns - other) > APART_S * 1e9 for other in times):
            times.append(at_ns)
            kept.append(n)
        if len(kept) == most:
            break
    return found.take(np.array(kept, np.int64))
