"""The poses that suppress, track and publish work on: estimate's, or those that a user gave."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from storage.codecs import given_poses_from_table, poses_from_table, skeleton_of_table
from tasks.stage import Block
from tkm.skeleton import Skeleton
from tkm.types import PoseSet


def poses_of(block: Block) -> tuple[PoseSet, Skeleton]:
    """All poses of a block of frames, duplicates included, and their skeleton."""
    return _poses(block.inputs)


def survivors(block: Block) -> tuple[PoseSet, Skeleton]:
    """The poses that suppress keeps."""
    is_kept = block.inputs["suppress"]["is_kept"]
    return _poses({name: block.inputs[name].filter(is_kept) for name in ("poses", "estimate") if name in block.inputs})


def _poses(tables: Mapping[str, pa.Table]) -> tuple[PoseSet, Skeleton]:
    if "poses" in tables:
        return given_poses_from_table(tables["poses"])
    skeleton = skeleton_of_table(tables["estimate"])
    return poses_from_table(tables["estimate"], skeleton), skeleton
