"""Results as they are evaluated and exported: the poses of a video of a run, from its artifacts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import Skeleton, convert

_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")


def sequence_of(poses: pa.Table, frame_index: pa.Table, name: str) -> Sequence:
    """A video's results: all its frames, those that were not sampled unlabelled, people by frame and track id.

    Args: poses, rows of `persons` or `poses` of the video, by frame and track id; frame_index, its table.
    """
    P, T = poses.num_rows, frame_index.num_rows
    skeleton = skeleton_of_table(poses)
    xy_px, score = keypoints_from_columns(poses, skeleton, np.float64)
    people = People(
        frame=column(poses, "frame", np.int64),
        track_id=column(poses, "track_id", np.int64),
        score=column(poses, "pose_score", np.float64),
        box_xyxy_px=np.stack([column(poses, side, np.float64) for side in _BOX], axis=1),
        head_xyxy_px=np.full((P, 4), np.nan),
        area_px2=np.full(P, np.nan),
        is_crowd=np.zeros(P, np.bool_),
        xy_px=xy_px,
        keypoint_score=score,
        visibility=np.full(score.shape, -1, np.int8),
    )
    size_px = np.stack([column(frame_index, side, np.int64) for side in ("width_px", "height_px")], axis=1)
    is_sampled = column(frame_index, "is_sampled", np.bool_)
    return Sequence(name, skeleton, ("",) * T, np.full(T, -1), is_sampled, size_px, ((),) * T, people)


def in_skeleton(sequence: Sequence, target: Skeleton) -> Sequence:
    """The sequence with its poses as poses of another skeleton; what that cannot tell is not given (tkm.skeleton.convert)."""
    if sequence.skeleton.name == target.name:
        return sequence
    people = sequence.people
    xy_px, score = convert(people.xy_px, people.keypoint_score, sequence.skeleton, target)
    visibility = np.full(score.shape, -1, np.int8)
    return replace(
        sequence, skeleton=target, people=replace(people, xy_px=xy_px, keypoint_score=score, visibility=visibility)
    )
