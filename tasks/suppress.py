"""suppress: which detections are people of their own. Pose NMS or box NMS, and a floor for scores."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field

from storage.codecs import table_of
from storage.schemas import SURVIVORS
from tasks import estimate, given
from tasks.people import poses_of
from tasks.stage import Block, Params, Resources, Stage
from tkm.suppression import box_nms, pose_nms


class SuppressParams(Params):
    """Parameters of suppress."""

    method: Literal["pnms", "cnms"] = Field("pnms", description="pnms compares poses, cnms boxes")
    pnms_distance: float = Field(
        0.15, gt=0, description="pnms: keypoints closer than this share of the person's size coincide"
    )
    cnms_iou: float = Field(0.35, gt=0, le=1, description="cnms: boxes that overlap more are one person")
    min_pose_score: float = Field(0.1, ge=0, le=1, description="people under this box score x mean keypoint score are dropped")


def run(block: Block, params: SuppressParams) -> pa.Table:
    """For every detection of a block of frames, whether it is kept."""
    poses, _ = poses_of(block)
    is_scored = poses.pose_score >= params.min_pose_score
    scored = poses.take(is_scored)
    is_kept = is_scored.copy()
    if params.method == "pnms":
        is_kept[is_scored] = pose_nms(scored, params.pnms_distance)
    else:
        is_kept[is_scored] = box_nms(
            scored.box_xyxy_px, scored.box_score, scored.frame, scored.detection, params.cnms_iou
        )
    return table_of(
        SURVIVORS, frame=poses.frame, detection=poses.detection, pose_score=poses.pose_score, is_kept=is_kept
    )


STAGE = Stage(
    "suppress",
    run,
    SuppressParams,
    inputs=(given.POSES, estimate.STAGE),
    output=SURVIVORS,
    resources=Resources(cpus=1),
    version=1,
)
