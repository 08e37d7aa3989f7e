"""Boxes as files have them, corner and size, and as tkm has them, two corners.

Shape legend: P boxes.
"""

from __future__ import annotations

import numpy as np

from tkm.datasets.columns import Double


def xywh_to_xyxy(box_xywh_px: Double) -> Double:
    """(P, 4) float64 left, top, width, height to (P, 4) float64 left, top, right, bottom."""
    return np.concatenate([box_xywh_px[:, :2], box_xywh_px[:, :2] + box_xywh_px[:, 2:]], axis=1)


def xyxy_to_xywh(box_xyxy_px: Double) -> Double:
    """`xywh_to_xyxy` undone, (P, 4) float64: reading the sizes gives the same corners to the last bit.

    That holds wherever some size does so, thus for all boxes that came from a file.
    """
    low, high = box_xyxy_px[:, :2], box_xyxy_px[:, 2:]
    size = high - low
    # The rounding of the difference can be off by one unit in the last place of a size that gives `high`.
    for other in (np.nextafter(size, np.inf), np.nextafter(size, -np.inf)):
        size = np.where((low + size != high) & (low + other == high), other, size)
    return np.concatenate([low, size], axis=1)
