"""What people changed in a video's tracks and poses: told as edits, and made again on any later result of the same video.

An edit does not name a person by track id or number of detection, which another run gives anew, but by an anchor: a frame, and
the person's box and keypoints there when they were corrected. Where the anchor's frame has nobody like it, or two people alike,
the edit does not apply, and its outcome says why.

Shape legend: P people of a video in all its frames, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from tkm.similarity import iou
from tkm.types import Bool, Float, Int, check

LEAST_IOU = 0.5  # of an anchor's box with that of whom it names
LEAST_LEAD = 0.1  # in IOU before the next one of the frame, unless box and keypoints are the very same
MOVED_PX = 0.5  # formats round to less than that
DELETED = -1

Kind = Literal["delete", "split", "merge", "move", "hide"]
# What is deleted stands in no merge's way, and belongs to the track that it was of, before that is split or merged.
_ORDER: tuple[Kind, ...] = ("delete", "split", "merge", "move", "hide")


@dataclass(frozen=True)
class Tracked:
    """The people of a video, by frame and track id.

    frame        (P,) int64
    track_id     (P,) int64, at least 0, at most once a frame
    box_xyxy_px  (P, 4) float32
    xy_px        (P, K, 2) float32, NaN where a keypoint is absent
    score        (P, K) float32, NaN where a keypoint is absent
    """

    frame: Int
    track_id: Int
    box_xyxy_px: Float
    xy_px: Float
    score: Float

    def __post_init__(self) -> None:
        P, K = self.score.shape
        check(self, "frame", (P,), np.int64)
        check(self, "track_id", (P,), np.int64)
        check(self, "box_xyxy_px", (P, 4), np.float32)
        check(self, "xy_px", (P, K, 2), np.float32)
        check(self, "score", (P, K), np.float32)

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, chosen: Bool | Int) -> Tracked:
        """Some of the rows."""
        return Tracked(
            self.frame[chosen], self.track_id[chosen], self.box_xyxy_px[chosen], self.xy_px[chosen], self.score[chosen]
        )


@dataclass(frozen=True)
class Anchor:
    """A person in a frame as they were when they were corrected; keypoints K times (x, y), None where absent."""

    frame: int
    box_xyxy_px: tuple[float, float, float, float]
    xy_px: tuple[tuple[float, float] | None, ...]


@dataclass(frozen=True)
class Edit:
    """One change that a person made.

    kind    split    from the anchor's frame on the anchor's track is another one
            merge    the tracks of anchor and other are one
            delete   the anchor's track is not there in the frames [anchor.frame, last_frame]; other is who is deleted last
            move     a keypoint of the anchor lies at xy_px; its score is 1, for a person put it there
            hide     a keypoint of the anchor is absent
    other   of merge, and of delete over several frames
    """

    kind: Kind
    anchor: Anchor
    other: Anchor | None = None
    last_frame: int | None = None
    joint: int | None = None
    xy_px: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an edit: the track that it was made on, -1 where it does not apply, for which `why` is then the reason."""

    edit: Edit
    is_applied: bool
    track_id: int
    why: str


def derive(before: Tracked, label: Int, xy_px: Float, moved_px: float = MOVED_PX) -> tuple[Edit, ...]:
    """The edits that make of `before` what people left of it, in the order in which they are made.

    Within a track, a segment is a longest run of its rows with one label. Where a segment ends and another begins the track is
    split, segments with one label are merged, and what has the label DELETED is deleted. Nothing changed is no edit.

    Args:
        before: the video's people as they were exported.
        label: (P,) int64, the track that each row of `before` belongs to now, by any numbers; DELETED where it is gone.
        xy_px: (P, K, 2) float32, its keypoints now, NaN where absent.
        moved_px: a keypoint that is no farther from its place than this was not moved.

    Raises: ValueError for two rows of a frame with one label.
    """
    kept = np.flatnonzero(label != DELETED)
    pairs = np.stack([before.frame[kept], label[kept]], axis=1)
    places, counts = np.unique(pairs, axis=0, return_counts=True)
    if (counts > 1).any():
        frame, twice = places[int(np.argmax(counts > 1))].tolist()
        raise ValueError(f"frame {frame} has two people of track {twice}; a track has one in a frame")
    splits, deletes, ends = [], [], []
    for rows in _by_track(before):
        alive = rows[label[rows] != DELETED]
        for a, b in pairwise(alive.tolist()):
            if label[a] != label[b]:
                splits.append(Edit("split", _anchor(before, b)))
        ends += [(int(alive[run[0]]), int(alive[run[-1]])) for run in _runs(label[alive])]
        for run in _runs((label[rows] == DELETED).astype(np.int64)):
            if label[rows[run[0]]] == DELETED:
                first, last = int(rows[run[0]]), int(rows[run[-1]])
                other = None if first == last else _anchor(before, last)
                deletes.append(Edit("delete", _anchor(before, first), other=other, last_frame=int(before.frame[last])))
    merges = []
    ends.sort(key=lambda end: (int(label[end[0]]), int(before.frame[end[0]])))
    for (low, end), (high, _) in pairwise(ends):
        if label[low] == label[high]:
            merges.append(Edit("merge", _anchor(before, end), other=_anchor(before, high)))
    return (*deletes, *splits, *merges, *_moves(before, kept, xy_px, moved_px))


def _moves(before: Tracked, kept: Int, xy_px: Float, moved_px: float) -> list[Edit]:
    was, now = ~np.isnan(before.xy_px[kept]).any(axis=2), ~np.isnan(xy_px[kept]).any(axis=2)
    distance_px = np.linalg.norm(np.nan_to_num(xy_px[kept] - before.xy_px[kept]), axis=2)
    edits = []
    for n, joint in np.argwhere(now & (~was | (distance_px > moved_px))).tolist():
        x, y = xy_px[kept[n], joint].tolist()
        edits.append(Edit("move", _anchor(before, int(kept[n])), joint=joint, xy_px=(x, y)))
    hidden = np.argwhere(was & ~now).tolist()
    return edits + [Edit("hide", _anchor(before, int(kept[n])), joint=joint) for n, joint in hidden]


def correct(people: Tracked, edits: Sequence[Edit]) -> tuple[Tracked, Int, tuple[Outcome, ...]]:
    """The people as edits leave them, the row of `people` (by frame) that each is, (P',) int64, and what became of every edit.

    Frames are deleted, then tracks split, then merged, and last keypoints are set, whatever order the edits come in, so those
    of one import belong in one call and those of the next in another. A track that is split off has a number above all others;
    merged ones have the lower of theirs, and the result is by frame and track id.
    """
    track_id, xy_px, score = people.track_id.copy(), people.xy_px.copy(), people.score.copy()
    is_kept = np.ones(len(people), np.bool_)
    now = replace(people, track_id=track_id, xy_px=xy_px, score=score)
    told: dict[int, Outcome] = {}
    unsplit: list[int] = []  # frames in which tracks were to be split, and are not
    for n in sorted(range(len(edits)), key=lambda n: _ORDER.index(edits[n].kind)):
        edit = edits[n]
        row = find(people, edit.anchor)
        other = row if edit.other is None else find(people, edit.other)
        why = row if isinstance(row, str) else other if isinstance(other, str) else ""
        own = -1
        if isinstance(row, int) and isinstance(other, int):
            own = int(track_id[row])
            why = _make(now, is_kept, edit, row, other, unsplit)
        if why and edit.kind == "split":
            unsplit.append(edit.anchor.frame)
        told[n] = Outcome(edit, not why, -1 if why else own, why)
    rows = np.flatnonzero(is_kept)
    rows = rows[np.lexsort((track_id[rows], people.frame[rows]))]
    return now.rows(rows), rows, tuple(told[n] for n in range(len(edits)))


def _make(now: Tracked, is_kept: Bool, edit: Edit, row: int, other: int, unsplit: Sequence[int]) -> str:
    """Make an edit on a person in place; the reason where that cannot be, else nothing.

    A track that goes on over a frame in which one was to be split, and is not, may still be two people: it is not merged.
    """

    def track_of(row: int) -> Bool:
        mine: Bool = is_kept & (now.track_id == now.track_id[row])
        return mine

    if edit.kind == "delete":
        if now.track_id[row] != now.track_id[other]:
            return f"who is deleted is of another track in frame {now.frame[other]}"
        last = now.frame[row] if edit.last_frame is None else edit.last_frame
        is_kept[track_of(row) & (now.frame >= now.frame[row]) & (now.frame <= last)] = False
    elif not (is_kept[row] and is_kept[other]):
        return "the person is deleted in this frame"
    elif edit.kind == "split":
        own = track_of(row)
        later = own & (now.frame >= now.frame[row])
        if later.sum() < own.sum():
            now.track_id[later] = now.track_id.max() + 1
    elif edit.kind == "merge":
        own, others = track_of(row), track_of(other)
        if now.track_id[row] != now.track_id[other]:
            both = np.intersect1d(now.frame[own], now.frame[others])
            if len(both):
                return f"both tracks are in frame {both[0]}: they are two people"
            for frames in (now.frame[own], now.frame[others]):
                if over := [frame for frame in unsplit if frames.min() < frame <= frames.max()]:
                    return f"a track of it goes on over frame {over[0]}, where a split does not apply"
            now.track_id[own | others] = min(now.track_id[row], now.track_id[other])
    elif edit.joint is None or edit.joint >= now.score.shape[1]:
        return "the poses have no such keypoint"
    else:
        place = edit.xy_px if edit.kind == "move" else None
        now.xy_px[row, edit.joint] = np.nan if place is None else place
        now.score[row, edit.joint] = np.nan if place is None else 1
    return ""


def find(people: Tracked, anchor: Anchor) -> int | str:
    """The row of the person that an anchor names, of people by frame, or the reason why there is none."""
    rows = np.arange(*np.searchsorted(people.frame, [anchor.frame, anchor.frame + 1]))
    if not len(rows):
        return f"nobody is in frame {anchor.frame}"
    box = np.array([anchor.box_xyxy_px], np.float32)
    xy_px = np.array([place or (np.nan, np.nan) for place in anchor.xy_px], np.float32)
    if xy_px.shape == people.xy_px.shape[1:]:
        same = (people.box_xyxy_px[rows] == box).all(axis=1)
        same &= ((people.xy_px[rows] == xy_px) | (np.isnan(people.xy_px[rows]) & np.isnan(xy_px))).all(axis=(1, 2))
        if same.sum() == 1:
            return int(rows[np.argmax(same)])
    overlap = iou(box, people.box_xyxy_px[rows])[0]
    best = int(overlap.argmax())
    if overlap[best] < LEAST_IOU:
        found = f"IOU {overlap[best]:.2f}, at least {LEAST_IOU} is asked for"
        return f"nobody in frame {anchor.frame} is where the person was: {found}"
    if len(rows) > 1 and overlap[best] - np.sort(overlap)[-2] < LEAST_LEAD:
        return f"two people in frame {anchor.frame} are where the person was"
    return int(rows[best])


def _anchor(people: Tracked, row: int) -> Anchor:
    x1, y1, x2, y2 = people.box_xyxy_px[row].tolist()
    places = [None if np.isnan([x, y]).any() else (x, y) for x, y in people.xy_px[row].tolist()]
    return Anchor(int(people.frame[row]), (x1, y1, x2, y2), tuple(places))


def _by_track(people: Tracked) -> list[Int]:
    """Rows of each track, by frame."""
    order = np.lexsort((people.frame, people.track_id))
    _, first = np.unique(people.track_id[order], return_index=True)
    return [rows for rows in np.split(order, first[1:]) if len(rows)]


def _runs(values: Int) -> list[Int]:
    """Places of the longest runs of one value."""
    return [run for run in np.split(np.arange(len(values)), np.flatnonzero(np.diff(values)) + 1) if len(run)]
