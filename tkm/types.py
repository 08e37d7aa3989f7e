"""Frozen arrays that the method works on; every shape is checked where a value is built.

Shape legend: T frames, P persons, K keypoints, C candidates a keypoint.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Rows = TypeVar("Rows", "DetectionSet", "PoseSet")


def check(owner: object, name: str, shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    """Raise ValueError, naming the field, unless it has this shape (None: any length) and dtype."""
    array = getattr(owner, name)
    where = f"{type(owner).__name__}.{name}"
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise ValueError(f"{where} must be a {np.dtype(dtype)} array, not {getattr(array, 'dtype', type(array).__name__)}")
    if len(array.shape) != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"{where} must have shape {wanted}, not {array.shape}")


def _take(rows: Rows, index: NDArray[np.generic]) -> Rows:
    values = {f.name: getattr(rows, f.name) for f in fields(rows)}
    return type(rows)(**{name: value[index] if isinstance(value, np.ndarray) else value for name, value in values.items()})


def joined(a: Rows, b: Rows) -> Rows:
    """The rows of a, then those of b."""
    return type(a)(**{f.name: np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(a)})


@dataclass(frozen=True)
class DetectionSet:
    """Person boxes of one or more frames, one row a detection.

    frame         (P,) int64, number of the frame in its video
    detection     (P,) int64, number of the detection in its frame; with `frame` it identifies the row
    box_xyxy_px   (P, 4) float32, in pixels of the original frame
    score         (P,) float32, in [0, 1]
    """

    frame: Int
    detection: Int
    box_xyxy_px: Float
    score: Float

    def __post_init__(self) -> None:
        P = len(self.frame)
        check(self, "frame", (P,), np.int64)
        check(self, "detection", (P,), np.int64)
        check(self, "box_xyxy_px", (P, 4), np.float32)
        check(self, "score", (P,), np.float32)

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, index: NDArray[np.generic]) -> DetectionSet:
        """Rows by an integer or boolean index."""
        return _take(self, index)


@dataclass(frozen=True)
class PoseSet:
    """Poses of one or more frames, one row a person.

    frame         (P,) int64, number of the frame in its video
    detection     (P,) int64, number of the detection in its frame
    box_xyxy_px   (P, 4) float32, the detection's box in pixels of the original frame
    box_score     (P,) float32, in [0, 1]
    xy_px         (P, K, 2) float32, in pixels of the original frame; NaN where a keypoint is not given, as in poses from a file
    score         (P, K) float32, heatmap response of each keypoint, in [0, 1], or its refined response; NaN likewise
    """

    frame: Int
    detection: Int
    box_xyxy_px: Float
    box_score: Float
    xy_px: Float
    score: Float

    def __post_init__(self) -> None:
        P = len(self.frame)
        check(self, "frame", (P,), np.int64)
        check(self, "detection", (P,), np.int64)
        check(self, "box_xyxy_px", (P, 4), np.float32)
        check(self, "box_score", (P,), np.float32)
        check(self, "xy_px", (P, None, 2), np.float32)
        check(self, "score", (P, self.xy_px.shape[1]), np.float32)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def pose_score(self) -> Float:
        """(P,) float32: box score times mean score of the given keypoints, which suppression ranks by (choice 14 of
        docs/method.md); 0 without any.
        """
        is_given = ~np.isnan(self.score)
        total = np.where(is_given, self.score, 0).sum(axis=1)
        product: Float = self.box_score * (total / np.maximum(is_given.sum(axis=1), 1).astype(np.float32))
        return product

    def take(self, index: NDArray[np.generic]) -> PoseSet:
        """Rows by an integer or boolean index."""
        return _take(self, index)


@dataclass(frozen=True)
class CandidateSet:
    """Local maxima of the heatmaps, row for row beside a PoseSet.

    xy_px       (P, K, C, 2) float32, sub-pixel positions in pixels of the original frame; NaN where there are fewer than C
    response    (P, K, C) float32, raw heatmap response of the maximum's cell, falling; NaN likewise
    weighted    (P, K, C) float32, the response that the network's own decoding gives that cell; NaN likewise
    cell        (P, K, C) int32, the maximum's cell, row * width + column of the heatmap; -1 likewise
    pose_cell   (P, K) int32, the cell of the pose's own keypoint, which may be no local maximum
    """

    xy_px: Float
    response: Float
    weighted: Float
    cell: NDArray[np.int32]
    pose_cell: NDArray[np.int32]

    def __post_init__(self) -> None:
        check(self, "response", (None, None, None), np.float32)
        check(self, "weighted", self.response.shape, np.float32)
        check(self, "xy_px", (*self.response.shape, 2), np.float32)
        check(self, "cell", self.response.shape, np.int32)
        check(self, "pose_cell", self.response.shape[:2], np.int32)

    def __len__(self) -> int:
        return len(self.response)


@dataclass(frozen=True)
class FeatureSet:
    """What trained heads say of people, row for row beside a PoseSet; None is what no head was there for.

    At S = 1 + C places of each keypoint: the cell of the pose's own keypoint, then those of its candidates. D channels.

    feature        (P, K, S, D) int8, the matching features F in steps; 0 where there are fewer candidates
    feature_step   (P, K, S) float32, what a step of each vector is worth
    scalar         (P, K, S) float32, w_k . H of Eq. 6 (choice 8 of docs/method.md); NaN where there are fewer
    body           (P, D) int8, the feature of the whole body in steps
    body_step      (P,) float32
    """

    feature: NDArray[np.int8] | None
    feature_step: Float | None
    scalar: Float | None
    body: NDArray[np.int8] | None
    body_step: Float | None

    def __post_init__(self) -> None:
        if (self.feature is None) != (self.feature_step is None) or (self.body is None) != (self.body_step is None):
            raise ValueError("FeatureSet.feature and feature_step, body and body_step go together")
        if self.feature is not None and self.feature_step is not None:
            check(self, "feature", (None, None, None, None), np.int8)
            check(self, "feature_step", self.feature.shape[:3], np.float32)
        if self.scalar is not None:
            check(self, "scalar", (None, None, None) if self.feature is None else self.feature.shape[:3], np.float32)
        if self.body is not None:
            check(self, "body", (None, None), np.int8)
            check(self, "body_step", self.body.shape[:1], np.float32)
