"""How alike two people of two frames are, from boxes and poses alone.

Shape legend: P people of one frame, Q of the other, K keypoints.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tkm.skeleton import COCO_17
from tkm.types import Float, PoseSet

Measure = Literal["iou", "oks"]


def box_area(box_xyxy_px: Float) -> Float:
    """Areas (...) float32, in square pixels, of boxes (..., 4); 0 for a box without area."""
    extent = np.maximum(box_xyxy_px[..., 2:] - box_xyxy_px[..., :2], 0)
    area: Float = (extent[..., 0] * extent[..., 1]).astype(np.float32)
    return area


def aligned_iou(a_xyxy_px: Float, b_xyxy_px: Float) -> Float:
    """Intersection over union, (...) float32, of the boxes (..., 4) of a with those of b, broadcast; 0 without area."""
    low = np.maximum(a_xyxy_px[..., :2], b_xyxy_px[..., :2])
    high = np.minimum(a_xyxy_px[..., 2:], b_xyxy_px[..., 2:])
    overlap = box_area(np.concatenate([low, high], axis=-1))
    union = box_area(a_xyxy_px) + box_area(b_xyxy_px) - overlap
    similarity: Float = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return similarity


def iou(a_xyxy_px: Float, b_xyxy_px: Float) -> Float:
    """Intersection over union of every box of a (P, 4) with every box of b (Q, 4): (P, Q) float32."""
    return aligned_iou(a_xyxy_px[:, None], b_xyxy_px[None, :])


def oks(a_xy_px: Float, b_xy_px: Float, a_area_px2: Float, b_area_px2: Float, sigmas: Float) -> Float:
    """Object keypoint similarity of two sets of predicted poses, as COCO defines it against truth.

    The mean over the keypoints that both have (all K of estimated poses) of exp(-d^2 / (2 s^2 (2 sigma_k)^2)). Between
    two predictions neither is the truth, so s^2 is the mean of both boxes' areas, and no keypoint is left out for a low score.
    This is the pose similarity of the paper's reference [28] (Xiao et al. 2018, "Simple Baselines for Human Pose Estimation
    and Tracking") without its optical flow.

    Args: a_xy_px (P, K, 2), b_xy_px (Q, K, 2), a_area_px2 (P,), b_area_px2 (Q,), sigmas (K,), all float32.
    Returns: (P, Q) float32 in [0, 1]; 0 where neither box has area, or the poses share no keypoint.
    Raises: ValueError where the poses' keypoints are not K.
    """
    if a_xy_px.shape[1:] != (len(sigmas), 2) or b_xy_px.shape[1:] != (len(sigmas), 2):
        raise ValueError(
            f"a_xy_px {a_xy_px.shape} and b_xy_px {b_xy_px.shape} must have the {len(sigmas)} keypoints of sigmas"
        )
    distance_px2 = np.square(a_xy_px[:, None].astype(np.float64) - b_xy_px[None, :]).sum(axis=-1)
    scale_px2 = (a_area_px2[:, None].astype(np.float64) + b_area_px2[None, :]) / 2
    spread_px2 = 2 * np.maximum(scale_px2, 1e-9)[..., None] * np.square(2 * sigmas.astype(np.float64))
    both_have = ~np.isnan(distance_px2)
    closeness = np.where(both_have, np.exp(-distance_px2 / spread_px2), 0)
    similarity = closeness.sum(axis=-1) / np.maximum(both_have.sum(axis=-1), 1)
    return np.where(scale_px2 > 0, similarity, 0).astype(np.float32)


def pose_similarity(
    measure: Measure, a: PoseSet, b: PoseSet, iou_gate: float = 0.1, sigmas: Float = COCO_17.oks_sigmas
) -> Float:
    """Similarity of every person of a with every person of b: measure x I(IOU >= iou_gate), (P, Q) float32.

    Eq. 5's indicator, applied to every measure (choices 4 and 5 of docs/method.md): 0 says that two people must not be matched.

    Raises: ValueError for an unknown measure.
    """
    overlap = iou(a.box_xyxy_px, b.box_xyxy_px)
    if measure == "iou":
        similarity = overlap
    elif measure == "oks":
        similarity = oks(a.xy_px, b.xy_px, box_area(a.box_xyxy_px), box_area(b.box_xyxy_px), sigmas)
    else:
        raise ValueError(f"measure must be 'iou' or 'oks', not {measure!r}")
    return np.where(overlap >= iou_gate, similarity, np.float32(0))
