"""The poses that suppress, track and publish work on: estimate's, or those that a user gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from storage.codecs import column, features_from_table, given_poses_from_table, list_column, poses_from_table, skeleton_of_table
from tasks.stage import Block
from tkm.quantisation import dequantise
from tkm.skeleton import Skeleton
from tkm.types import FeatureSet, Float, Int, PoseSet


def poses_of(block: Block) -> tuple[PoseSet, Skeleton]:
    """All poses of a block of frames, duplicates included, and their skeleton."""
    return _poses(block.inputs)


def survivors(block: Block) -> tuple[PoseSet, Skeleton]:
    """The poses that suppress keeps."""
    is_kept = block.inputs["suppress"]["is_kept"]
    return _poses({name: block.inputs[name].filter(is_kept) for name in ("poses", "estimate") if name in block.inputs})


def refined(block: Block, poses: PoseSet) -> PoseSet:
    """The survivors' poses, row for row, with the keypoints and scores that refinement gave them."""
    table, K = block.inputs["refine"], poses.score.shape[1]
    if not _same_people(table, poses):
        raise ValueError("the tables of refine and suppress speak of different people; re-run refine")
    return replace(poses, xy_px=list_column(table, "xy_px", K, 2), score=list_column(table, "score", K))


def tracks_of(block: Block, poses: PoseSet) -> Int:
    """(P,) int64 track ids of the survivors, row for row."""
    if not _same_people(block.inputs["track"], poses):
        raise ValueError("the tables of track and suppress speak of different people; re-run track")
    return column(block.inputs["track"], "track_id", np.int64)


def _same_people(table: pa.Table, poses: PoseSet) -> bool:
    """Whether a table tells, row for row, of these people."""
    return np.array_equal(column(table, "frame", np.int64), poses.frame) and np.array_equal(
        column(table, "detection", np.int64), poses.detection
    )


def features_of(block: Block, keypoints: int) -> FeatureSet:
    """What the trained heads say of the survivors, of whom there must be some, row for row."""
    table, kept = block.inputs["embed"], block.inputs["suppress"].filter(block.inputs["suppress"]["is_kept"])
    if not table.select(["frame", "detection"]).equals(kept.select(["frame", "detection"])):
        raise ValueError("the tables of embed and suppress speak of different people; re-run embed")
    return features_from_table(table, keypoints)


def keypoint_features(block: Block, keypoints: int) -> Float:
    """(P, K, D) float32, F at the keypoints of the survivors, of whom there must be some."""
    features = features_of(block, keypoints)
    if features.feature is None or features.feature_step is None:
        raise ValueError("the table of embed has no matching features; re-run embed with a matching head")
    return dequantise(features.feature[:, :, 0], features.feature_step[:, :, 0])


def body_features(block: Block, keypoints: int) -> Float:
    """(P, 1, D) float32, the features of the survivors' whole bodies; there must be some."""
    features = features_of(block, keypoints)
    if features.body is None or features.body_step is None:
        raise ValueError("the table of embed has no bodies' features; re-run embed with a body head")
    return dequantise(features.body, features.body_step)[:, None]


def _poses(tables: Mapping[str, pa.Table]) -> tuple[PoseSet, Skeleton]:
    if "poses" in tables:
        return given_poses_from_table(tables["poses"])
    skeleton = skeleton_of_table(tables["estimate"])
    return poses_from_table(tables["estimate"], skeleton), skeleton
