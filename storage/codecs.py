"""Between the method's arrays (tkm.types) and the tables of storage.schemas, without copying where Arrow allows it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.schemas import CANDIDATE_POSES, CANDIDATES, DETECTIONS, FEATURES, FRAMES_INDEX, POSE_KEYPOINTS
from storage.video import VideoInfo
from tkm.skeleton import COCO_17, Skeleton, skeleton_of
from tkm.tracking import TrackerState
from tkm.types import CandidateSet, DetectionSet, FeatureSet, PoseSet

_BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")


def column(table: pa.Table, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """(rows,) array of a flat column."""
    return np.asarray(table[name].to_numpy(), dtype=dtype)


def list_column(table: pa.Table, name: str, *shape: int) -> NDArray[Any]:
    """(rows, *shape) array of a list column, float32 or int32, none of whose rows is null."""
    dtype = table.schema.field(name).type.value_type.to_pandas_dtype()
    chunks = [np.asarray(chunk.flatten(), dtype=dtype) for chunk in table[name].chunks]
    flat = np.concatenate(chunks) if chunks else np.empty(0, dtype)
    return flat.reshape(table.num_rows, *shape)


def _boxes(table: pa.Table) -> NDArray[np.float32]:
    return np.stack([column(table, name, np.float32) for name in _BOX_COLUMNS], axis=1)


def _box_columns(box_xyxy_px: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {name: np.ascontiguousarray(box_xyxy_px[:, i]) for i, name in enumerate(_BOX_COLUMNS)}


def list_array(values: NDArray[Any]) -> pa.ListArray:
    """Lists of equal length, one a row, of an array (rows, ...) float32 or int32."""
    size = int(np.prod(values.shape[1:]))
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * size)
    element = pa.field("element", pa.from_numpy_dtype(values.dtype), nullable=False)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).reshape(-1)), type=pa.list_(element))


def detections_to_table(detections: DetectionSet) -> pa.Table:
    """Table `detections` of a DetectionSet."""
    columns = {"frame": detections.frame, "detection": detections.detection, "box_score": detections.score}
    return pa.table({**columns, **_box_columns(detections.box_xyxy_px)}).select(DETECTIONS.names).cast(DETECTIONS)


def detections_from_table(table: pa.Table) -> DetectionSet:
    """DetectionSet of a table that has its columns."""
    return DetectionSet(
        frame=column(table, "frame", np.int64),
        detection=column(table, "detection", np.int64),
        box_xyxy_px=_boxes(table),
        score=column(table, "box_score", np.float32),
    )


def candidates_to_table(
    poses: PoseSet, candidates: CandidateSet, skeleton: Skeleton, heatmaps: NDArray[np.float16] | None = None
) -> pa.Table:
    """Table `candidates` of poses, their candidates row for row, and, where asked for, heatmaps (P, K, height, width) float16."""
    rows = len(poses)
    columns = {
        "frame": poses.frame,
        "detection": poses.detection,
        "box_score": poses.box_score,
        **_box_columns(poses.box_xyxy_px),
        "skeleton": pa.array([skeleton.name] * rows, pa.string()),
        "xy_px": list_array(poses.xy_px),
        "score": list_array(poses.score),
        "pose_cell": list_array(candidates.pose_cell),
        "candidate_xy_px": list_array(candidates.xy_px),
        "candidate_response": list_array(candidates.response),
        "candidate_weighted": list_array(candidates.weighted),
        "candidate_cell": list_array(candidates.cell),
    }
    heatmap_type = CANDIDATE_POSES.field("heatmap").type
    if heatmaps is None:
        columns["heatmap"] = pa.nulls(rows, heatmap_type)
    else:
        size = int(np.prod(heatmaps.shape[1:]))
        offsets = pa.array(np.arange(rows + 1, dtype=np.int64) * size)
        columns["heatmap"] = pa.LargeListArray.from_arrays(offsets, pa.array(heatmaps.reshape(-1)), type=heatmap_type)
    return pa.table(columns).select(CANDIDATE_POSES.names).cast(CANDIDATE_POSES)


def poses_from_table(table: pa.Table, skeleton: Skeleton) -> PoseSet:
    """PoseSet, of one skeleton, of a table that has its columns."""
    K = len(skeleton.keypoints)
    return PoseSet(
        frame=column(table, "frame", np.int64),
        detection=column(table, "detection", np.int64),
        box_xyxy_px=_boxes(table),
        box_score=column(table, "box_score", np.float32),
        xy_px=list_column(table, "xy_px", K, 2),
        score=list_column(table, "score", K),
    )


def candidates_from_table(table: pa.Table, skeleton: Skeleton) -> CandidateSet:
    """CandidateSet of a table `candidates` of one skeleton."""
    K = len(skeleton.keypoints)
    return CandidateSet(
        xy_px=list_column(table, "candidate_xy_px", K, CANDIDATES, 2),
        response=list_column(table, "candidate_response", K, CANDIDATES),
        weighted=list_column(table, "candidate_weighted", K, CANDIDATES),
        cell=list_column(table, "candidate_cell", K, CANDIDATES),
        pose_cell=list_column(table, "pose_cell", K),
    )


def features_to_table(frame: NDArray[np.int64], detection: NDArray[np.int64], features: FeatureSet) -> pa.Table:
    """Table `features` of people of these frames and detections, (P,) each; what the FeatureSet lacks is null."""
    P = len(frame)
    columns = {
        "frame": frame,
        "detection": detection,
        "feature": None if features.feature is None else _bytes_array(features.feature),
        "feature_scale": None if features.feature_step is None else list_array(features.feature_step),
        "refinement_scalar": None if features.scalar is None else list_array(features.scalar),
        "body_feature": None if features.body is None else _bytes_array(features.body),
        "body_scale": features.body_step,
    }
    for name, values in columns.items():
        if values is None:
            columns[name] = pa.nulls(P, FEATURES.field(name).type)
    return table_of(FEATURES, **columns)


def features_from_table(table: pa.Table, keypoints: int) -> FeatureSet:
    """FeatureSet of a table `features` with at least one row, of people with this many keypoints."""
    P, S = table.num_rows, 1 + CANDIDATES
    has = {name: table[name].null_count == 0 for name in ("feature", "refinement_scalar", "body_feature")}
    return FeatureSet(
        feature=_bytes_column(table, "feature").reshape(P, keypoints, S, -1) if has["feature"] else None,
        feature_step=list_column(table, "feature_scale", keypoints, S) if has["feature"] else None,
        scalar=list_column(table, "refinement_scalar", keypoints, S) if has["refinement_scalar"] else None,
        body=_bytes_column(table, "body_feature").reshape(P, -1) if has["body_feature"] else None,
        body_step=column(table, "body_scale", np.float32) if has["body_feature"] else None,
    )


def _bytes_array(values: NDArray[np.int8]) -> pa.Array:
    """Bytes, one value a row, of an array (rows, ...)."""
    return pa.array([row.tobytes() for row in values], pa.binary())


def _bytes_column(table: pa.Table, name: str) -> NDArray[np.int8]:
    """All bytes of a binary column, row after row."""
    return np.frombuffer(b"".join(table[name].to_pylist()), np.int8)


def keypoint_columns(skeleton: Skeleton, xy_px: NDArray[Any], score: NDArray[Any], infix: str = "") -> dict[str, pa.Array]:
    """Flat columns, float32, of keypoints (P, K, 2) and scores (P, K); null where a keypoint is NaN or not of the skeleton.

    `infix` stands between keypoint and axis: `initial_` for the pose before refinement.
    """
    columns = {}
    for joint in POSE_KEYPOINTS:
        k = skeleton.keypoints.index(joint) if joint in skeleton.keypoints else None
        for axis, values in (("x", xy_px[..., 0]), ("y", xy_px[..., 1]), ("score", score)):
            own = np.full(len(xy_px), np.nan) if k is None else values[:, k]
            columns[f"{joint}_{infix}{axis}"] = pa.array(own.astype(np.float32), from_pandas=True)
    return columns


def keypoints_from_columns(
    table: pa.Table, skeleton: Skeleton, dtype: type[np.floating[Any]] = np.float32
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inverse of keypoint_columns: (P, K, 2) and (P, K) of one skeleton, NaN for nulls."""
    names = [[f"{joint}_{axis}" for joint in skeleton.keypoints] for axis in ("x", "y", "score")]
    x, y, score = (np.stack([column(table, name, dtype) for name in own], axis=1) for own in names)
    return np.stack([x, y], axis=-1), score


def skeleton_of_table(table: pa.Table) -> Skeleton:
    """The one skeleton that the poses of a table have, COCO's where there are none. ValueError where there are several."""
    names = table["skeleton"].unique().to_pylist()
    if len(names) > 1:
        listed = ", ".join(sorted(map(str, names)))
        raise ValueError(f"the poses have several skeletons: {listed}; read them one skeleton at a time")
    return skeleton_of(names[0]) if names else COCO_17


def given_poses_from_table(table: pa.Table) -> tuple[PoseSet, Skeleton]:
    """PoseSet and skeleton of a table `given_poses`."""
    skeleton = skeleton_of_table(table)
    xy_px, score = keypoints_from_columns(table, skeleton)
    poses = PoseSet(
        frame=column(table, "frame", np.int64),
        detection=column(table, "detection", np.int64),
        box_xyxy_px=_boxes(table),
        box_score=column(table, "box_score", np.float32),
        xy_px=xy_px,
        score=score,
    )
    return poses, skeleton


def table_of(schema: pa.Schema, **columns: Any) -> pa.Table:
    """Table of a schema from arrays named like its columns; a missing or surplus column is a KeyError."""
    surplus = set(columns) - set(schema.names)
    if surplus:
        raise KeyError(f"no such columns in {schema.metadata[b'name'].decode()}: {sorted(surplus)}")
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def index_to_table(info: VideoInfo, is_sampled: NDArray[np.bool_]) -> pa.Table:
    """Table `frame_index` of a video; `is_sampled` (T,) marks the frames that the run looks at."""
    T = len(info.pts_ns)
    return table_of(
        FRAMES_INDEX,
        frame=np.arange(T),
        pts_ns=info.pts_ns,
        is_key_frame=info.is_key_frame,
        is_sampled=is_sampled,
        width_px=np.full(T, info.width_px, np.int32),
        height_px=np.full(T, info.height_px, np.int32),
        rotation_degrees=np.full(T, info.rotation_degrees, np.int32),
        codec=pa.array([info.codec] * T, pa.string()),
    )


def info_from_table(table: pa.Table) -> VideoInfo:
    """VideoInfo of a table `frame_index` with at least one row."""
    return VideoInfo(
        width_px=table["width_px"][0].as_py(),
        height_px=table["height_px"][0].as_py(),
        rotation_degrees=table["rotation_degrees"][0].as_py(),
        codec=table["codec"][0].as_py(),
        pts_ns=column(table, "pts_ns", np.int64),
        is_key_frame=column(table, "is_key_frame", np.bool_),
    )


def tracker_state_to_table(state: TrackerState, skeleton: Skeleton) -> pa.Table:
    """What tracking carries to the next chunk: a row a person; ids and frame number in the metadata."""
    poses = state.poses
    columns = {
        "frame": poses.frame,
        "detection": poses.detection,
        "box_score": poses.box_score,
        **_box_columns(poses.box_xyxy_px),
        "xy_px": list_array(poses.xy_px),
        "score": list_array(poses.score),
        "track_id": state.track_id,
        "missed": state.missed,
    }
    if state.feature is not None:
        columns["feature"] = list_array(state.feature)
    facts = {
        "next_track_id": str(state.next_track_id),
        "last_frame": str(state.last_frame),
        "skeleton": skeleton.name,
        "feature_shape": json.dumps(None if state.feature is None else state.feature.shape[1:]),
    }
    return pa.table(columns).replace_schema_metadata(facts)


def tracker_state_skeleton(table: pa.Table) -> Skeleton:
    """The skeleton of whom tracking carries to the next chunk."""
    return skeleton_of(table.schema.metadata[b"skeleton"].decode())


def tracker_state_from_table(table: pa.Table) -> TrackerState:
    """Inverse of tracker_state_to_table."""
    facts = table.schema.metadata
    shape = json.loads(facts[b"feature_shape"])
    return TrackerState(
        poses=poses_from_table(table, tracker_state_skeleton(table)),
        track_id=column(table, "track_id", np.int64),
        missed=column(table, "missed", np.int64),
        next_track_id=int(facts[b"next_track_id"]),
        last_frame=int(facts[b"last_frame"]),
        feature=None if shape is None else list_column(table, "feature", *shape),
    )
