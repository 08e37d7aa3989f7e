"""What annotation files tell of one video, truth or predictions, whatever their format.

Shape legend: T frames, P people in frames, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tkm.skeleton import Skeleton
from tkm.types import Bool, Int, check

Double = NDArray[np.float64]
Polygon = NDArray[np.float64]  # (N, 2) corners, in pixels


@dataclass(frozen=True)
class People:
    """People in the frames of one sequence, one row a person in a frame, in the order of the file. NaN: not given.

    frame            (P,) int64, place of the frame in its sequence, from 0
    track_id         (P,) int64, the same person in the same sequence; -1 where the file gives none
    score            (P,) float64, of the whole person
    box_xyxy_px      (P, 4) float64
    head_xyxy_px     (P, 4) float64, the head's box, which PoseTrack measures distances by
    area_px2         (P,) float64, of the person's outline, which OKS measures distances by
    is_crowd         (P,) bool, a group of people whom COCO does not tell apart
    xy_px            (P, K, 2) float64
    keypoint_score   (P, K) float64
    visibility       (P, K) int8, as the file has it: 0 hidden or not in view, 1, 2; -1 where it has none
    """

    frame: Int
    track_id: Int
    score: Double
    box_xyxy_px: Double
    head_xyxy_px: Double
    area_px2: Double
    is_crowd: Bool
    xy_px: Double
    keypoint_score: Double
    visibility: NDArray[np.int8]

    def __post_init__(self) -> None:
        P = len(self.frame)
        check(self, "frame", (P,), np.int64)
        check(self, "track_id", (P,), np.int64)
        check(self, "score", (P,), np.float64)
        check(self, "box_xyxy_px", (P, 4), np.float64)
        check(self, "head_xyxy_px", (P, 4), np.float64)
        check(self, "area_px2", (P,), np.float64)
        check(self, "is_crowd", (P,), np.bool_)
        check(self, "xy_px", (P, None, 2), np.float64)
        K = self.xy_px.shape[1]
        check(self, "keypoint_score", (P, K), np.float64)
        check(self, "visibility", (P, K), np.int8)

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: Bool | Int) -> People:
        """The people of some rows, a mask or numbers."""
        return People(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Sequence:
    """One video, T frames, as an annotation file tells of it.

    name             of the file or of the folder that holds the frames: 000002_bonn_test
    skeleton         names and order of the people's K keypoints
    frame_names      T names of the frames' pictures, as the file has them
    image_id         (T,) int64, the file's number of each frame; -1 where it has none
    is_labeled       (T,) bool, people were looked for in the frame
    size_px          (T, 2) int64, width and height; 0 where the file does not tell
    ignore_regions   by frame, polygons in which people may stand that nobody annotated
    people           rows by rising frame, in a frame in the order of the file
    """

    name: str
    skeleton: Skeleton
    frame_names: tuple[str, ...]
    image_id: Int
    is_labeled: Bool
    size_px: Int
    ignore_regions: tuple[tuple[Polygon, ...], ...]
    people: People

    def __post_init__(self) -> None:
        T = len(self.frame_names)
        check(self, "image_id", (T,), np.int64)
        check(self, "is_labeled", (T,), np.bool_)
        check(self, "size_px", (T, 2), np.int64)
        if len(self.ignore_regions) != T:
            raise ValueError(f"Sequence.ignore_regions must have {T} entries, one a frame, not {len(self.ignore_regions)}")
        for polygon in (polygon for polygons in self.ignore_regions for polygon in polygons):
            if polygon.ndim != 2 or polygon.shape[1] != 2 or polygon.dtype != np.float64:
                raise ValueError(f"Sequence.ignore_regions must hold (N, 2) float64, not {polygon.shape} {polygon.dtype}")
        K = len(self.skeleton.keypoints)
        if self.people.xy_px.shape[1] != K:
            raise ValueError(f"Sequence.people.xy_px must have the {K} keypoints of {self.skeleton.name}")
        frame = self.people.frame
        if len(frame) and (frame[0] < 0 or frame[-1] >= T or (np.diff(frame) < 0).any()):
            raise ValueError(f"Sequence.people.frame must rise within 0..{T - 1}")

    def __len__(self) -> int:
        return len(self.frame_names)

    def in_frames(self, is_wanted: Bool) -> Sequence:
        """The sequence as if only the frames of a mask (T,) had been labeled: it tells nothing of people in others."""
        people = self.people.take(is_wanted[self.people.frame])
        return replace(self, is_labeled=self.is_labeled & is_wanted, people=people)
