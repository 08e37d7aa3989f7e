"""Multiple object tracking accuracy (MOTA) of single points: PoseTrack's evaluator on py-motmetrics' rules.

Shape legend: F frames, P predicted people, Q true people, J joints, M pairs of points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tkm.datasets.sequence import Double
from tkm.metrics.cleaning import JOINTS, PCKH_THRESHOLD, Frames
from tkm.metrics.matching import PointPairs, best_assignment, point_pairs, require_tracks
from tkm.types import Bool, Int, check

Protocol = Literal["official", "strict"]
_MAX_TRACK_ID = 10000  # the evaluator numbers the tracks of all sequences in steps of this


@dataclass(frozen=True)
class MotaCounts:
    """What happened to the points of one video, or of several: counts add up. All (J,).

    objects           int64, true points
    misses            int64, true points without a match
    false_positives   int64, predicted points without a match
    switches          int64, matches of a true track with another predicted one than at its match before
    matches           int64, matches that are no switches
    distance          float64, of all matches and switches in sum, in head sizes
    """

    objects: Int
    misses: Int
    false_positives: Int
    switches: Int
    matches: Int
    distance: Double

    def __post_init__(self) -> None:
        for field in ("objects", "misses", "false_positives", "switches", "matches"):
            check(self, field, (JOINTS,), np.int64)
        check(self, "distance", (JOINTS,), np.float64)


@dataclass(frozen=True)
class MotaScores:
    """In percent, (J,) float64 each."""

    mota: Double
    motp: Double
    precision: Double
    recall: Double


def mota_counts(frames: Frames, protocol: Protocol) -> MotaCounts:
    """What happened to the points of one video, frames being those of `annotated_frames`.

    "official" counts as the evaluator does: the last frame is left out, and a frame without predicted people, or without true
    people after the clean-up, counts one miss and one false positive a joint whatever stands in it. People without points
    keep a frame from that where the evaluator does not drop them (`annotated_frames`). "strict" counts what is there.

    Raises: ValueError where people have no track ids, or, official, an id of 10000 or more.
    """
    require_tracks(frames)
    is_fake = np.zeros(len(frames), np.bool_)
    if protocol == "official":
        _check_track_ids(frames)
        frames = frames.first(max(len(frames) - 1, 0))
        is_fake = ~(frames.has_pred & frames.has_true)
    pairs = point_pairs(frames, PCKH_THRESHOLD)
    matched = np.flatnonzero(_matched(pairs))
    found = np.bincount(pairs.joint[matched], minlength=JOINTS)
    fakes = int(is_fake.sum())
    objects = fakes + frames.true_given[~is_fake[frames.true_frame]].sum(axis=0)
    predictions = fakes + frames.pred_given[~is_fake[frames.pred_frame]].sum(axis=0)
    switches = _switches(pairs, matched)
    distance = np.bincount(pairs.joint[matched], pairs.distance[matched], minlength=JOINTS).astype(np.float64)
    return MotaCounts(objects, objects - found, predictions - found, switches, found - switches, distance)


def mota(objects: Int, misses: Int, false_positives: Int, switches: Int, matches: Int, distance: Double) -> MotaScores:
    """Scores from the counts that MotaCounts has, of any leading axes before the joints: (..., J).

    MOTA is 1 - (misses + switches + false positives) / objects, MOTP 1 - the mean distance of matches and switches. Undefined
    ones are NaN, but the MOTP of a joint without matches is 0, as in the evaluator.
    """
    found = matches + switches
    detections = found + false_positives
    motp = np.where(found > 0, 1 - _share(distance, found), 0.0)
    mota = 1 - _share(misses + switches + false_positives, objects)
    return MotaScores(100 * mota, 100 * motp, 100 * _share(found, detections), 100 * _share(found, objects))


def _share(part: Int | Double, whole: Int) -> Double:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _check_track_ids(frames: Frames) -> None:
    for which, track_id, frame in (
        ("true", frames.true_track_id, frames.true_frame), ("predicted", frames.pred_track_id, frames.pred_frame)
    ):  # fmt: skip
        if (track_id >= _MAX_TRACK_ID).any():
            first = int(np.argmax(track_id >= _MAX_TRACK_ID))
            raise ValueError(
                f"{frames.name}, frame {frames.frame[frame[first]]}: the {which} track id {track_id[first]} is not below "
                f"{_MAX_TRACK_ID}, as the official protocol demands"
            )


def _matched(pairs: PointPairs) -> Bool:
    """Which pairs (M,) are matched, frame after frame for each joint.

    A true track first keeps the predicted one that it was matched with last, gaps included, where the two may be matched; of
    several true tracks that want the same the first row gets it. The rest is matched so that as many pairs as possible come
    about, and of these with the least distance in sum.
    """
    matched = np.repeat(~pairs.is_open, np.diff(pairs.start))
    last = np.full(int(pairs.object_.max(initial=-1)) + 1, -1)
    joint, seen = -1, 0
    for group in pairs.open_groups():
        start, stop = pairs.start[group : group + 2].tolist()
        if pairs.joint[start] != joint:
            joint = int(pairs.joint[start])
            last[:] = -1
            seen = int(np.searchsorted(pairs.joint, joint))
        before = seen + np.flatnonzero(matched[seen:start])
        last[pairs.object_[before]] = pairs.hypothesis[before]  # of several the last one stays
        seen = start
        matched[start:stop] = _matched_in_frame(pairs, group, start, stop, last)
    return matched


def _matched_in_frame(pairs: PointPairs, group: int, start: int, stop: int, last: Int) -> Bool:
    row, column = pairs.row[start:stop].tolist(), pairs.column[start:stop].tolist()
    was_last = (last[pairs.object_[start:stop]] == pairs.hypothesis[start:stop]).tolist()
    taken: dict[int, int] = {}
    for place in sorted((place for place, was in enumerate(was_last) if was), key=row.__getitem__):
        taken.setdefault(column[place], place)
    kept = set(taken.values())
    kept_rows = {row[place] for place in kept}
    free = [place for place in range(stop - start) if row[place] not in kept_rows and column[place] not in taken]
    matched = np.zeros(stop - start, np.bool_)
    matched[list(kept)] = True
    if len({row[place] for place in free}) == len(free) == len({column[place] for place in free}):
        matched[free] = True
        return matched
    rows, columns = int(pairs.rows[group]), int(pairs.columns[group])
    # A pair that must not be matched costs more than all possible ones together.
    impossible = min(rows, columns) + 1.0
    of_frame = [start + place for place in free]
    matched[free] = best_assignment(
        rows, columns, pairs.row[of_frame], pairs.column[of_frame], pairs.distance[of_frame], impossible
    )
    return matched


def _switches(pairs: PointPairs, matched: Int) -> Int:
    """(J,) int64, matches of a true track with another predicted one than at the match before, of matched rows of pairs."""
    # A sort that keeps frames rising within each track of each joint.
    order = matched[np.lexsort((matched, pairs.object_[matched], pairs.joint[matched]))]
    joint, object_, hypothesis = pairs.joint[order], pairs.object_[order], pairs.hypothesis[order]
    is_switch = (np.diff(joint) == 0) & (np.diff(object_) == 0) & (np.diff(hypothesis) != 0)
    return np.bincount(joint[1:][is_switch], minlength=JOINTS)
