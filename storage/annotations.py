"""Between what annotation files tell (tkm.datasets.sequence) and the tables `annotated_frames` and `annotated_poses`.

Scores are left out: truth has none.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.codecs import column, skeleton_of_table, table_of
from storage.evaluation_schemas import ANNOTATED_FRAMES, ANNOTATED_POSES
from storage.schemas import POSE_KEYPOINTS
from tkm.datasets.sequence import People, Polygon, Sequence

_SIDES = ("x1", "y1", "x2", "y2")


def frames_to_table(sequence: Sequence) -> pa.Table:
    """Table `annotated_frames` of a sequence."""
    return table_of(
        ANNOTATED_FRAMES,
        frame=np.arange(len(sequence)),
        skeleton=pa.array([sequence.skeleton.name] * len(sequence), pa.string()),
        frame_name=pa.array(sequence.frame_names, pa.string()),
        image_id=pa.array(sequence.image_id, mask=sequence.image_id < 0),
        is_labeled=sequence.is_labeled,
        width_px=sequence.size_px[:, 0].astype(np.int32),
        height_px=sequence.size_px[:, 1].astype(np.int32),
        ignore_regions=pa.array([_to_json(polygons) for polygons in sequence.ignore_regions], pa.string()),
    )


def poses_to_table(sequence: Sequence) -> pa.Table:
    """Table `annotated_poses` of a sequence."""
    people = sequence.people
    joints: dict[str, Any] = {}
    for joint in POSE_KEYPOINTS:
        k = sequence.skeleton.keypoints.index(joint) if joint in sequence.skeleton.keypoints else None
        for axis, side in (("x", 0), ("y", 1)):
            joints[f"{joint}_{axis}"] = _or_null(np.full(len(people), np.nan) if k is None else people.xy_px[:, k, side])
        visibility = np.full(len(people), -1, np.int8) if k is None else people.visibility[:, k]
        joints[f"{joint}_visibility"] = pa.array(visibility, mask=visibility < 0)
    return table_of(
        ANNOTATED_POSES,
        frame=people.frame,
        person=np.arange(len(people)) - np.searchsorted(people.frame, people.frame),
        track_id=pa.array(people.track_id, mask=people.track_id < 0),
        **{f"box_{name}": _or_null(people.box_xyxy_px[:, side]) for side, name in enumerate(_SIDES)},
        **{f"head_{name}": _or_null(people.head_xyxy_px[:, side]) for side, name in enumerate(_SIDES)},
        area_px2=_or_null(people.area_px2),
        is_crowd=people.is_crowd,
        **joints,
        skeleton=pa.array([sequence.skeleton.name] * len(people), pa.string()),
    )


def sequence_from_tables(name: str, frames: pa.Table, poses: pa.Table) -> Sequence:
    """Inverse of frames_to_table and poses_to_table."""
    skeleton = skeleton_of_table(frames)
    visibility = [_integers(poses, f"{joint}_visibility") for joint in skeleton.keypoints]
    xy_px = np.stack(
        [np.stack([column(poses, f"{joint}_{axis}", np.float64) for axis in ("x", "y")], axis=1) for joint in skeleton.keypoints],
        axis=1,
    )
    P, K = xy_px.shape[:2]
    people = People(
        frame=column(poses, "frame", np.int64),
        track_id=_integers(poses, "track_id"),
        score=np.full(P, np.nan),
        box_xyxy_px=np.stack([column(poses, f"box_{side}", np.float64) for side in _SIDES], axis=1),
        head_xyxy_px=np.stack([column(poses, f"head_{side}", np.float64) for side in _SIDES], axis=1),
        area_px2=column(poses, "area_px2", np.float64),
        is_crowd=column(poses, "is_crowd", np.bool_),
        xy_px=xy_px,
        keypoint_score=np.full((P, K), np.nan),
        visibility=np.stack(visibility, axis=1).astype(np.int8),
    )
    return Sequence(
        name=name,
        skeleton=skeleton,
        frame_names=tuple(frames["frame_name"].to_pylist()),
        image_id=_integers(frames, "image_id"),
        is_labeled=column(frames, "is_labeled", np.bool_),
        size_px=np.stack([column(frames, side, np.int64) for side in ("width_px", "height_px")], axis=1),
        ignore_regions=tuple(_from_json(text) for text in frames["ignore_regions"].to_pylist()),
        people=people,
    )


def _integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].fill_null(-1).to_numpy(), np.int64)


def _or_null(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, from_pandas=True)


def _to_json(polygons: tuple[Polygon, ...]) -> str:
    return json.dumps([polygon.tolist() for polygon in polygons])


def _from_json(text: str) -> tuple[Polygon, ...]:
    return tuple(np.array(polygon, np.float64).reshape(-1, 2) for polygon in json.loads(text))
