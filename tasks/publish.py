"""publish: everything about a person in a frame in one flat row, and the summaries that go beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from storage.codecs import column, keypoint_columns, keypoints_from_columns, skeleton_of_table, table_of
from storage.schemas import PERSONS
from tasks import correct, estimate, given, index, refine, suppress, track
from tasks.correct import corrected
from tasks.people import refined, survivors, tracks_of
from tasks.stage import Block, Params, Resources, Stage
from tkm.suspects import TrackedPoses, find_suspects


class PublishParams(Params):
    """Parameters of publish: it has none, it only joins."""


def run(block: Block, params: PublishParams) -> pa.Table:  # noqa: ARG001 - every stage takes its params
    """One row a tracked person of a block of frames, by frame and track id."""
    kept = block.inputs["suppress"].filter(block.inputs["suppress"]["is_kept"])
    poses, skeleton = survivors(block)
    track_id, is_left = tracks_of(block, poses), np.ones(len(poses), np.bool_)
    boxes = dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), poses.box_xyxy_px.T, strict=True))
    final, initial = poses, poses
    if "refine" in block.inputs:
        final = refined(block, poses)
    else:
        initial = replace(poses, xy_px=np.full_like(poses.xy_px, np.nan), score=np.full_like(poses.score, np.nan))
    if "correct" in block.inputs:
        final, track_id, is_left = corrected(block, final, track_id)
    rows = table_of(
        PERSONS,
        frame=poses.frame,
        pts_ns=block.pts_ns[np.searchsorted(block.frames, poses.frame)],
        track_id=track_id,
        detection=poses.detection,
        box_score=poses.box_score,
        pose_score=kept["pose_score"],
        **boxes,
        **keypoint_columns(skeleton, final.xy_px, final.score),
        **keypoint_columns(skeleton, initial.xy_px, initial.score, "initial_"),
        skeleton=pa.array([skeleton.name] * len(poses), pa.string()),
    )
    order = np.lexsort((track_id, poses.frame))
    return rows.take(order[is_left[order]])


def frame_counts(persons: pa.Table, frame_index: pa.Table) -> dict[str, Any]:
    """Columns of `frames` for one video: its sampled frames and the people in each."""
    sampled = frame_index.filter(frame_index["is_sampled"])
    frame = column(sampled, "frame", np.int64)
    counts = np.bincount(np.searchsorted(frame, column(persons, "frame", np.int64)), minlength=len(frame))
    return {
        "frame": frame,
        "pts_ns": sampled["pts_ns"],
        "is_key_frame": sampled["is_key_frame"],
        "persons": counts.astype(np.int32),
    }


def track_summaries(persons: pa.Table) -> dict[str, Any]:
    """Columns of `tracks` for one video, one row a track, by track id."""
    numbers = {name: column(persons, name, np.int64) for name in ("frame", "pts_ns", "track_id")}
    track_id, first, poses = np.unique(numbers["track_id"], return_index=True, return_counts=True)
    last = persons.num_rows - 1 - np.unique(numbers["track_id"][::-1], return_index=True)[1]  # rows come in the order of frames
    scores = persons.select(["track_id", "box_score", "pose_score"]).to_pandas()
    scores["height_px"] = column(persons, "box_y2", np.float32) - column(persons, "box_y1", np.float32)
    means = scores.groupby("track_id").mean()
    return {
        "track_id": track_id,
        **{f"first_{name}": numbers[name][first] for name in ("frame", "pts_ns")},
        **{f"last_{name}": numbers[name][last] for name in ("frame", "pts_ns")},
        "poses": poses,
        **{f"mean_{name}": means[name].to_numpy() for name in means.columns},
    }


def suspicious_places(persons: pa.Table) -> dict[str, Any]:
    """Columns of `suspects` for one video, by falling severity."""
    skeleton = skeleton_of_table(persons)
    xy_px, score = keypoints_from_columns(persons, skeleton)
    boxes = [column(persons, f"box_{side}", np.float32) for side in ("x1", "y1", "x2", "y2")]
    numbers = {name: column(persons, name, np.int64) for name in ("frame", "pts_ns", "track_id")}
    found = find_suspects(TrackedPoses(**numbers, box_xyxy_px=np.stack(boxes, axis=1), xy_px=xy_px, score=score), skeleton)
    names = np.array([*skeleton.keypoints, None])  # the last for -1: the whole body
    return {
        "suspect": np.arange(len(found)),
        "kind": pa.array(found.kind.tolist(), pa.string()),
        "frame": found.frame,
        "pts_ns": found.pts_ns,
        "track_id": found.track_id,
        "other_track_id": pa.array(found.other_track_id, mask=found.other_track_id < 0),
        "joint": pa.array(names[found.joint].tolist(), pa.string()),
        "value": found.value,
        "limit": found.limit,
        "severity": found.severity,
        "x": found.xy_px[:, 0],
        "y": found.xy_px[:, 1],
    }


STAGE = Stage(
    "publish",
    run,
    PublishParams,
    inputs=(index.STAGE, given.POSES, estimate.STAGE, suppress.STAGE, track.STAGE, refine.STAGE, correct.STAGE),
    output=PERSONS,
    resources=Resources(cpus=1),
    version=3,
)
