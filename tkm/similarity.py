"""How alike two people of two frames are: from boxes and poses alone, or as trained classifiers see them (Eq. 5).

Shape legend: P people of the later frame, Q of the earlier, K keypoints, D channels of a feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tkm.skeleton import COCO_17
from tkm.types import Bool, Float, PoseSet

if TYPE_CHECKING:
    from tkm.networks.matching import Classifiers

Measure = Literal["iou", "oks", "tbm", "tkm"]
LEARNED: tuple[Measure, ...] = ("tbm", "tkm")  # what needs features and classifiers


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


def keypoint_similarity(
    classifiers: Classifiers, later: Float, earlier: Float, is_near: Bool, confidence: Float | None = None
) -> Float:
    """Eq. 5: the sum over keypoints of G_k(f of the later frame, f of the earlier), times the indicator; (P, Q), later's type.

    Computed for the pairs that the indicator lets pass and for no other, in shapes that depend on these two frames alone: what
    else a video holds changes no bit. TBM is the same with one keypoint, the whole body.

    Args:
        classifiers: for K keypoints and D channels, of the features' type.
        later: (P, K, D) float32 or float64, features of the later frame's people.
        earlier: (Q, K, D) likewise, of the earlier's.
        is_near: (P, Q) bool, the indicator I(IOU >= gate).
        confidence: (P, Q, K) float32, weights of a pair's keypoints, at least 0; None, as in the paper, for 1 each.
    Raises: ValueError where the features' keypoints are not the classifiers'.
    """
    import torch  # see tkm.networks.runtime for why here

    similarity = np.zeros(is_near.shape, later.dtype)
    p, q = np.nonzero(is_near)
    if not len(p):
        return similarity
    with torch.inference_mode():
        device = classifiers.first.weight.device
        later_part = classifiers.later_part(torch.from_numpy(later).to(device))
        earlier_part = classifiers.earlier_part(torch.from_numpy(earlier).to(device))
        same = classifiers.pairs(later_part[torch.from_numpy(p)], earlier_part[torch.from_numpy(q)]).cpu().numpy()
    similarity[p, q] = (same if confidence is None else same * confidence[p, q]).sum(axis=1)
    return similarity


def joint_confidence(a_score: Float, b_score: Float) -> Float:
    """Weights (P, Q, K) float32 of the keypoints of every pair, by both keypoints' scores, (P, K) and (Q, K); mean 1 a pair.

    The product of both scores, 0 where a keypoint is not given; all 0 where no keypoint has a score on both sides.
    """
    product = np.nan_to_num(a_score[:, None].astype(np.float64) * b_score[None, :])
    mean = product.mean(axis=2, keepdims=True)
    weights: Float = np.divide(product, mean, out=np.zeros_like(product), where=mean > 0).astype(np.float32)
    return weights


def pose_similarity(
    measure: Measure,
    later: PoseSet,
    earlier: PoseSet,
    iou_gate: float = 0.1,
    sigmas: Float = COCO_17.oks_sigmas,
    *,
    later_feature: Float | None = None,
    earlier_feature: Float | None = None,
    classifiers: Classifiers | None = None,
    by_confidence: bool = False,
) -> Float:
    """Similarity of every person of a frame with every person of an earlier one: measure x I(IOU >= iou_gate), (P, Q) float32.

    Eq. 5's indicator, applied to every measure (choices 4 and 5 of docs/method.md): 0 says that two people must not be matched.

    Args:
        measure: iou of boxes and oks of poses know no order; tkm and tbm do, and are learned.
        later: P people of the later frame.
        earlier: Q people of the earlier one.
        iou_gate: people whose boxes overlap less have similarity 0.
        sigmas: (K,) float32, of the poses' skeleton, for oks.
        later_feature: for tkm (P, K, D) float32, F at the cells of the poses' keypoints; for tbm (P, 1, D), the bodies' vectors.
        earlier_feature: (Q, K, D) or (Q, 1, D) float32 likewise.
        classifiers: trained ones, for tkm G_k and for tbm the body's; in float32.
        by_confidence: for tkm, weigh each keypoint by `joint_confidence`; off in the paper's configuration.
    Raises: ValueError for an unknown measure, a learned one without features and classifiers, or features of other people.
    """
    overlap = iou(later.box_xyxy_px, earlier.box_xyxy_px)
    is_near: Bool = overlap >= iou_gate
    if measure == "iou":
        similarity = overlap
    elif measure == "oks":
        areas = box_area(later.box_xyxy_px), box_area(earlier.box_xyxy_px)
        similarity = oks(later.xy_px, earlier.xy_px, *areas, sigmas)
    elif measure in LEARNED:
        if later_feature is None or earlier_feature is None or classifiers is None:
            raise ValueError(f"measure {measure!r} needs features of both frames' people, and trained classifiers")
        check_feature(later, later_feature)
        check_feature(earlier, earlier_feature)
        confidence = joint_confidence(later.score, earlier.score) if by_confidence and measure == "tkm" else None
        similarity = keypoint_similarity(classifiers, later_feature, earlier_feature, is_near, confidence)
    else:
        raise ValueError(f"measure must be 'iou', 'oks', 'tbm' or 'tkm', not {measure!r}")
    return np.where(is_near, similarity, np.float32(0))


def check_feature(poses: PoseSet, feature: Float) -> None:
    """Raise ValueError unless features are (P, K, D) float32, a row a pose; K is 1 for whole bodies."""
    P = len(poses)
    if feature.ndim != 3 or len(feature) != P or feature.dtype != np.float32:
        raise ValueError(f"features must be ({P}, K, D) float32, one row a pose, not {feature.shape} {feature.dtype}")
