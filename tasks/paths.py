"""paths: the counterparts of every survivor in the frames around it, backward and forward, for refinement.

From a person one step goes to the most similar person of the frame before (or after) by Eq. 5, whatever their tracks, and on from
there; a step without any positive similarity, or over a cut, ends that direction (section 3.3; choice 6 of docs/method.md).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.codecs import column, list_array, table_of
from storage.schemas import PATHS
from tasks import embed, estimate, shots, suppress, trained
from tasks.people import keypoint_features, survivors
from tasks.stage import Block, Params, Resources, Stage, digest_field
from tkm.paths import paths
from tkm.similarity import pose_similarity


class PathsParams(Params):
    """Parameters of paths."""

    tau: int = Field(5, ge=0, le=64, description="sampled frames to either side whose people support refinement; 0 for none")
    iou_gate: float = Field(0.1, ge=0, le=1, description="a step leads only to boxes that overlap at least so much (Eq. 5)")
    matching: str | None = digest_field("the matching head")


def run(block: Block, params: PathsParams) -> pa.Table:
    """Paths of the survivors of the block's own frames; people of the halo are stepped on."""
    poses, skeleton = survivors(block)
    own = np.flatnonzero(np.isin(poses.frame, block.core_frames))
    if not len(own):
        return PATHS.empty_table()
    feature = keypoint_features(block, len(skeleton.keypoints))
    classifiers = trained.classifiers(str(params.matching), "matching")
    rows = [np.flatnonzero(poses.frame == frame) for frame in block.frames]
    is_cut = column(block.inputs["shots"], "is_first", np.bool_) if "shots" in block.inputs else np.zeros(len(rows), np.bool_)
    similarities = [
        None
        if cut
        else pose_similarity(
            "tkm",
            poses.take(later),
            poses.take(earlier),
            params.iou_gate,
            later_feature=feature[later],
            earlier_feature=feature[earlier],
            classifiers=classifiers,
        )
        for (earlier, later), cut in zip(pairwise(rows), is_cut[1:].tolist(), strict=True)
    ]
    backward, forward = paths(similarities, np.array([len(people) for people in rows]), params.tau)
    numbers = [np.where(path >= 0, poses.detection[path], -1).astype(np.int32) for path in (backward[own], forward[own])]
    return table_of(
        PATHS,
        frame=poses.frame[own],
        detection=poses.detection[own],
        backward=list_array(numbers[0]),
        forward=list_array(numbers[1]),
    )


STAGE = Stage(
    "paths",
    run,
    PathsParams,
    inputs=(shots.STAGE, estimate.STAGE, suppress.STAGE, embed.STAGE),
    output=PATHS,
    resources=Resources(cpus=1),
    version=1,
    weights=lambda params: {"matching": params["paths"].matching} if params["paths"].matching else {},
    halo=lambda params: params["paths"].tau,
    is_active=lambda params: params["refine"].on and params["paths"].tau > 0,
)
