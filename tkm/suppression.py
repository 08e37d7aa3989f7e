"""One person, one row: greedy suppression of duplicates within each frame.

`box_nms` is the paper's cNMS, `pose_nms` its pNMS (choice 14 of docs/method.md). Rows of many frames are handled together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tkm.similarity import aligned_iou, box_area
from tkm.types import Float, Int, PoseSet

Keep = NDArray[np.bool_]


def box_nms(box_xyxy_px: Float, score: Float, frame: Int, detection: Int, iou_threshold: float) -> Keep:
    """Drop a box whose IOU with a kept, better box of its frame exceeds the threshold (cNMS).

    Better is the higher score, among equals the lower detection number.

    Args: box_xyxy_px (P, 4) and score (P,) float32; frame and detection (P,) int64, rows in any order.
    Returns: (P,) bool, the rows to keep.
    Raises: ValueError for a threshold outside [0, 1] or a (frame, detection) that occurs twice.
    """
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be in [0, 1], not {iou_threshold}")

    def similar(better: Int, worse: Int) -> Keep:
        return aligned_iou(box_xyxy_px[better], box_xyxy_px[worse]) > iou_threshold

    return _suppress(frame, detection, score, similar)


def pose_nms(poses: PoseSet, distance_factor: float = 0.1, share: float = 0.5) -> Keep:
    """Drop a pose that is the same person as a kept, better pose of its frame (pNMS, choice 14 of docs/method.md).

    Two keypoints of one kind coincide when they are closer than distance_factor x sqrt(box area), of the smaller of the
    two boxes, so that a small person before a large one stays. Two poses are one person when more than `share` of the
    keypoints that both have (all K of estimated poses) coincide, whatever their scores. The pose of the higher
    box score x mean keypoint score stays, among equals the lower detection number.

    Args: poses, P rows in any order.
    Returns: (P,) bool, the rows to keep.
    Raises: ValueError for a factor below 0, a share outside [0, 1] or a (frame, detection) that occurs twice.
    """
    if not distance_factor >= 0:
        raise ValueError(f"distance_factor must be at least 0, not {distance_factor}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], not {share}")
    area_px2 = box_area(poses.box_xyxy_px)

    def similar(better: Int, worse: Int) -> Keep:
        distance_px2 = np.square(poses.xy_px[better] - poses.xy_px[worse]).sum(axis=-1)
        reach_px2 = distance_factor**2 * np.minimum(area_px2[better], area_px2[worse])
        both_have = (~np.isnan(distance_px2)).sum(axis=-1)
        one_person: Keep = (distance_px2 < reach_px2[:, None]).sum(axis=-1) > share * both_have
        return one_person

    return _suppress(poses.frame, poses.detection, poses.pose_score, similar)


def _suppress(frame: Int, detection: Int, score: Float, similar: Callable[[Int, Int], Keep]) -> Keep:
    """Keep the best row of each frame, drop the rows similar to it, go on with the best that remains.

    `similar` is asked for pairs of row numbers, (pairs,) each, and answers (pairs,) bool. All frames take a step
    together, and a row that is dropped is not compared again.
    """
    _check_unique(frame, detection)
    order = np.lexsort((detection, -score, frame))
    keep = np.zeros(len(frame), bool)
    while len(order):
        starts_frame = np.diff(frame[order], prepend=frame[order[0]] - 1) != 0
        best = order[starts_frame]
        keep[best] = True
        rest = order[~starts_frame]
        best_of_rest = best[np.cumsum(starts_frame)[~starts_frame] - 1]
        order = rest[~similar(best_of_rest, rest)]
    return keep


def _check_unique(frame: Int, detection: Int) -> None:
    order = np.lexsort((detection, frame))
    twice = (np.diff(frame[order]) == 0) & (np.diff(detection[order]) == 0)
    if twice.any():
        row = order[int(np.argmax(twice))]
        raise ValueError(f"detection {detection[row]} of frame {frame[row]} occurs twice: number detections in a frame")
