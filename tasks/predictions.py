"""Results as they are evaluated and exported: of a video of a run, from its artifacts, or of a file of predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.artifacts import Artifact
from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from storage.store import Store
from tasks import index, publish
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import Skeleton, convert

_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")


def sequence_of(persons: pa.Table, frame_index: pa.Table, name: str) -> Sequence:
    """A video's results, T all its frames, those that were not sampled unlabelled, people by frame and track id."""
    P, T = persons.num_rows, frame_index.num_rows
    skeleton = skeleton_of_table(persons) if "skeleton" in persons.column_names else skeleton_of_table(_NOBODY)
    xy_px, score = keypoints_from_columns(persons, skeleton, np.float64)
    people = People(
        frame=column(persons, "frame", np.int64),
        track_id=column(persons, "track_id", np.int64),
        score=column(persons, "pose_score", np.float64),
        box_xyxy_px=np.stack([column(persons, side, np.float64) for side in _BOX], axis=1),
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
