"""estimate: from detections to poses. Crops of all detections, heatmaps, the pose, and each keypoint's local maxima."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.codecs import candidates_to_table, detections_from_table
from storage.schemas import CANDIDATE_POSES, CANDIDATES
from tasks import detect, given, index
from tasks.stage import Block, Params, Resources, Stage
from tkm import weights
from tkm.geometry import cut_crops, square_crops
from tkm.networks import runtime
from tkm.skeleton import COCO_17
from tkm.types import CandidateSet, DetectionSet, PoseSet

if TYPE_CHECKING:
    from torch import Tensor

    from tkm.networks.movenet import MoveNetOutput, MoveNetThunder


class EstimateParams(Params):
    """Parameters of estimate."""

    crop_scale: float = Field(1.25, ge=1, le=2, description="side of the square crop, in longer sides of the box")
    grey_margin: float | None = Field(
        0.05, ge=0, description="pixels farther from the box than this share of its sides become grey; none keeps them"
    )
    heatmaps: bool = Field(False, description="keep full heatmaps (float16, 136 KB a detection)")


class _Estimated(NamedTuple):
    """Poses and candidates in crop coordinates, one row a crop."""

    xy: Tensor  # (P, K, 2)
    score: Tensor  # (P, K)
    candidate_xy: Tensor  # (P, K, C, 2)
    candidate_response: Tensor  # (P, K, C)
    candidate_weighted: Tensor  # (P, K, C)
    candidate_cell: Tensor  # (P, K, C)
    cell: Tensor  # (P, K)
    heatmap: Tensor  # (P, K, height, width), or (P, 0) where it is not asked for


def run(block: Block, params: EstimateParams) -> pa.Table:
    """Poses of all detections of a block of frames, in the detections' order."""
    import torch  # here: see tkm.networks.runtime

    from tkm.networks.movenet import INPUT_SIZE_PX, movenet_thunder

    detections = detections_from_table(block.inputs["boxes" if "boxes" in block.inputs else "detect"])
    if not len(detections):
        return _table(detections, _nobody(), params)
    crops = square_crops(detections.box_xyxy_px, params.crop_scale)
    pixels = np.concatenate(
        [
            cut_crops(
                image,
                square_crops(detections.box_xyxy_px[mine], params.crop_scale),
                detections.box_xyxy_px[mine],
                size_px=INPUT_SIZE_PX,
                grey_margin=params.grey_margin,
            )
            for frame, image in zip(block.frames, block.images, strict=True)
            if (mine := detections.frame == frame).any()
        ]
    )
    network = runtime.on_device(movenet_thunder)
    found = runtime.forward(
        network,
        torch.from_numpy(pixels),
        lambda part: part.permute(0, 3, 1, 2).float(),
        lambda output: _decode(network, output, params.heatmaps),
    )
    on_frame = found._replace(
        xy=torch.from_numpy(crops.to_image(found.xy.numpy())),
        candidate_xy=torch.from_numpy(crops.to_image(found.candidate_xy.numpy())),
    )
    return _table(detections, on_frame, params)


def _decode(network: MoveNetThunder, output: MoveNetOutput, heatmaps: bool) -> _Estimated:
    """The pose from the weighted map; candidates from the raw one, where a displaced truth still stands."""
    from tkm.heatmaps import cell_to_crop, gather_cells, local_maxima, subpixel_shift

    pose = network.decode(output)
    height, width = output.heatmap.shape[2:]
    maxima = local_maxima(output.heatmap, CANDIDATES)
    shift = subpixel_shift(output.heatmap, maxima.cell)
    return _Estimated(
        xy=pose.xy,
        score=pose.score,
        candidate_xy=cell_to_crop(maxima.cell, shift, height, width),
        candidate_response=maxima.response,
        candidate_weighted=gather_cells(pose.weighted_heatmap, maxima.cell),
        candidate_cell=maxima.cell,
        cell=pose.cell,
        heatmap=output.heatmap if heatmaps else output.heatmap.new_empty(len(output.heatmap), 0),
    )


def _nobody() -> _Estimated:
    import torch

    K = len(COCO_17.keypoints)
    own, of_candidates = (0, K), (0, K, CANDIDATES)
    shapes = ((*own, 2), own, (*of_candidates, 2), of_candidates, of_candidates, of_candidates, own, (0, 1))
    return _Estimated(*(torch.zeros(shape) for shape in shapes))


def _table(detections: DetectionSet, found: _Estimated, params: EstimateParams) -> pa.Table:
    poses = PoseSet(
        frame=detections.frame,
        detection=detections.detection,
        box_xyxy_px=detections.box_xyxy_px,
        box_score=detections.score,
        xy_px=found.xy.numpy(),
        score=found.score.numpy(),
    )
    candidates = CandidateSet(
        xy_px=found.candidate_xy.numpy(),
        response=found.candidate_response.numpy(),
        weighted=found.candidate_weighted.numpy(),
        cell=found.candidate_cell.numpy().astype(np.int32),
        pose_cell=found.cell.numpy().astype(np.int32),
    )
    heatmaps = found.heatmap.numpy().astype(np.float16) if params.heatmaps else None
    return candidates_to_table(poses, candidates, COCO_17, heatmaps)


STAGE = Stage(
    "estimate",
    run,
    EstimateParams,
    inputs=(index.STAGE, given.BOXES, detect.STAGE),
    output=CANDIDATE_POSES,
    resources=Resources(gpus=1),
    version=2,
    images=True,
    weights=lambda params: {"movenet-thunder": weights.digest("movenet-thunder")},  # noqa: ARG005
    is_active=lambda params: params["poses"].sha256 is None,
)
