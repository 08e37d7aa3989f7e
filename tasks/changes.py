"""What people changed in results that they were given, as edits: what comes back, held against the rows that it was made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from storage.annotated import AnnotatedVideo
from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from tkm.corrections import DELETED, MOVED_PX, Edit, Tracked, derive
from tkm.types import Int


def edits_of(poses: pa.Table, annotated: AnnotatedVideo) -> tuple[Edit, ...]:
    """The edits that make what people left of a video out of its rows of `poses`, all of them, of the run that they were given.

    Outside the frames that were given, where nobody could change anything, people follow the track that they were of before.
    ValueError where the annotations tell of people who are not in the rows, or put two into one place of a track.
    """
    skeleton = skeleton_of_table(poses)
    poses = poses.sort_by([("frame", "ascending"), ("track_id", "ascending")])
    xy_px, score = keypoints_from_columns(poses, skeleton)
    boxes = [column(poses, f"box_{side}", np.float32) for side in ("x1", "y1", "x2", "y2")]
    frame, track_id = column(poses, "frame", np.int64), column(poses, "track_id", np.int64)
    before = Tracked(frame, track_id, np.stack(boxes, axis=1), xy_px, score)
    rows = _rows(frame, column(poses, "detection", np.int64), annotated)
    if annotated.xy_px.shape[1] != xy_px.shape[1]:
        given, own = annotated.xy_px.shape[1], xy_px.shape[1]
        raise ValueError(f"people have {given} keypoints, and those of run {annotated.run} have {own}")
    is_given = np.isin(frame, annotated.frames)
    label = np.where(is_given, DELETED, track_id)
    label[rows] = _labels(annotated.label, track_id, track_id[is_given])
    xy_px = xy_px.copy()
    xy_px[rows] = annotated.xy_px
    return derive(before, _followed(before, label, is_given), xy_px, max(MOVED_PX, annotated.rounding_px))


def _labels(label: Int, track_id: Int, given: Int) -> Int:
    """Labels, those of no track in the frames that were given as numbers that no track has: who saw only these made a new one."""
    made = ~np.isin(label, given)
    _, number = np.unique(label[made], return_inverse=True)
    label = label.copy()
    label[made] = track_id.max(initial=0) + 1 + number
    return label


def _rows(frame: Int, detection: Int, annotated: AnnotatedVideo) -> Int:
    """(P,) rows of the annotated people."""
    places = {place: row for row, place in enumerate(zip(frame.tolist(), detection.tolist(), strict=True))}
    rows = []
    for place in zip(annotated.frame.tolist(), annotated.detection.tolist(), strict=True):
        if place not in places:
            raise ValueError(f"detection {place[1]} of frame {place[0]} was not exported from run {annotated.run}")
        rows.append(places[place])
    return np.array(rows, np.int64)


def _followed(before: Tracked, label: Int, is_given: np.ndarray) -> Int:
    """Labels, those in frames that were not given of the last person of their track who was left in a frame that was.

    Where two would be of one track in a frame, who follows to another one is, from there on, a track of their own.
    """
    label = label.copy()
    new = int(max(label.max(initial=0), before.track_id.max(initial=0))) + 1
    taken: set[tuple[int, int]] = set()
    spans = sorted(_spans(before, label, is_given), key=lambda span: span[1] != before.track_id[span[0][0]])
    for rows, own in spans:  # who stays what they were come first
        for row in rows.tolist():
            if (int(before.frame[row]), own) in taken:
                own, new = new, new + 1
            taken.add((int(before.frame[row]), own))
            label[row] = own
    return label


def _spans(before: Tracked, label: Int, is_given: np.ndarray) -> Iterator[tuple[Int, int]]:
    """Rows of a track between two that were given, in order, and the label that they follow to."""
    order = np.lexsort((before.frame, before.track_id))
    tracks, first = np.unique(before.track_id[order], return_index=True)
    for own, rows in zip(tracks.tolist(), np.split(order, first[1:]), strict=True):
        for span in np.split(rows, np.flatnonzero(np.diff(is_given[rows])) + 1):
            if not is_given[span[0]]:
                yield span, own
            elif (left := label[span][label[span] != DELETED]).size:
                own = int(left[-1])
