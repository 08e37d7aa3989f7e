"""What the heads learn from: the people that a run found in a video, who they truly are, and what a frozen network sees of them.

Shape legend: P people found, Q true people, K keypoints, S places a keypoint (the true one, the pose's own, C candidates).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tkm.similarity import iou
from tkm.types import Float, Int, check

TRUE, OWN = 0, 1  # places: where the keypoint truly is, and where the network put it; candidates come after
LEAST_IOU = 0.4  # of a detection's box with that of the true person whom it is of
HIT_CELLS, MISS_CELLS = 2.0, 4.0  # a place within the first of the truth is the true keypoint, beyond the second a wrong one
NOBODY, UNCLEAR = -1, -2  # labels of places that are no keypoint of the person, and of which nothing is known


@dataclass(frozen=True)
class Samples:
    """People of one video, by rising frame.

    frame        (P,) int64, place of the frame among the sampled ones
    track_id     (P,) int64, who it truly is; -1 where the detection is of nobody
    cell         (P, K, S) int64, places as cells of the heatmap; -1 for none
    xy_cells     (P, K, 2) float32, where each keypoint truly is, in cells of the heatmap from its corner; NaN where that is not known
    visibility   (P, K) int8, 2 seen, 1 hidden, 0 not annotated
    inputs       (P, K, S, n) float16, what reduced heads look at in these places; or (P, D, h, w) float16, the backbone's map, which
                 the paper's heads take
    body         (P, B, n) float16, what a reduced body head looks at; B is 0 for the paper's, which takes the map
    """

    frame: Int
    track_id: Int
    cell: Int
    xy_cells: Float
    visibility: NDArray[np.int8]
    inputs: NDArray[np.float16]
    body: NDArray[np.float16]

    def __post_init__(self) -> None:
        check(self, "cell", (None, None, None), np.int64)
        P, K, _ = self.cell.shape
        check(self, "frame", (P,), np.int64)
        check(self, "track_id", (P,), np.int64)
        check(self, "xy_cells", (P, K, 2), np.float32)
        check(self, "visibility", (P, K), np.int8)
        check(self, "inputs", (P, None, None, None), np.float16)
        check(self, "body", (P, None, None), np.float16)

    def __len__(self) -> int:
        return len(self.frame)


def assigned(found_xyxy_px: Float, true_xyxy_px: Float) -> Int:
    """Whom each detection of a frame is of: (P,) int64, rows of the true people (Q, 4); -1 where no box overlaps enough.

    One to one, of the highest total IOU; pairs below LEAST_IOU are nobody's.
    """
    overlap = iou(found_xyxy_px, true_xyxy_px)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    is_near = overlap[rows, columns] >= LEAST_IOU
    person = np.full(len(found_xyxy_px), -1, np.int64)
    person[rows[is_near]] = columns[is_near]
    return person


def distances_cells(samples: Samples, columns: int) -> Float:
    """(P, K, S) float32, from each place to where its keypoint truly is; NaN where either is not known.

    Args: columns of the heatmap.
    """
    yx = np.stack([samples.cell % columns, samples.cell // columns], axis=-1) + 0.5
    distance = np.linalg.norm(yx - samples.xy_cells[:, :, None], axis=-1)
    return np.where(samples.cell < 0, np.nan, distance).astype(np.float32)


def identities(samples: Samples, columns: int) -> Int:
    """Whose keypoint is at each place, (P, K, S) int64: the person's track id, NOBODY for a wrong place, UNCLEAR.

    A true location is the place of the truth itself, or one that lies within HIT_CELLS of it; between that and MISS_CELLS, in people
    that are of nobody, and of keypoints that are not annotated, nothing is said.
    """
    distance = distances_cells(samples, columns)
    track = np.broadcast_to(samples.track_id[:, None, None], distance.shape)
    label = np.where(distance <= HIT_CELLS, track, np.where(distance > MISS_CELLS, NOBODY, UNCLEAR))
    is_known = (track >= 0) & (samples.visibility > 0)[:, :, None] & (samples.cell >= 0) & ~np.isnan(distance)
    return np.where(is_known, label, UNCLEAR).astype(np.int64)
