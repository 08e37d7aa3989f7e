"""What people left of results that they were given to correct, whatever program they did it with.

Shape legend: T frames, P people in frames, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from storage.sources import InputError
from tkm.types import Float, Int, check

Format = Literal["cvat", "labelstudio", "coco", "posetrack18"]


@dataclass(frozen=True)
class AnnotatedVideo:
    """What people left of a video's exported people.

    video        id of the video in the tables
    run          run that the export was made from, so that what people changed can be told from what they were given
    frames       (T,) int64, rising, the frames that were exported: only in these can anything have been changed or deleted
    frame        (P,) int64 of each person left
    detection    (P,) int64, the exported person that it is; with `frame` it identifies the row
    label        (P,) int64, track that it belongs to now: the exported track id where nothing changed; new numbers for tracks
                 that people made
    xy_px        (P, K, 2) float32, in the video's own pixels and the order of the run's skeleton; NaN where absent
    rounding_px  how far the format's own rounding moves a keypoint that nobody touched
    ignored      sentences on what people did that cannot be brought back, each naming video and frame
    """

    video: str
    run: str
    frames: Int
    frame: Int
    detection: Int
    label: Int
    xy_px: Float
    rounding_px: float
    ignored: tuple[str, ...]

    def __post_init__(self) -> None:
        P = len(self.frame)
        check(self, "frames", (None,), np.int64)
        check(self, "frame", (P,), np.int64)
        check(self, "detection", (P,), np.int64)
        check(self, "label", (P,), np.int64)
        check(self, "xy_px", (P, None, 2), np.float32)
        if (np.diff(self.frames) <= 0).any():
            raise ValueError("AnnotatedVideo.frames must rise")
        if not np.isin(self.frame, self.frames).all():
            raise ValueError("AnnotatedVideo.frame must hold exported frames only")
        if len(np.unique(np.stack([self.frame, self.detection]), axis=1).T) < P:
            raise ValueError("AnnotatedVideo must hold everybody once: frame and detection repeat")


def read_annotated(path: str, format_: Format | None) -> list[AnnotatedVideo]:
    """What people left of the videos of a file or folder; None: the format is told from the content."""
    raise InputError(f"{path}: no format {format_ or ''} is known")
