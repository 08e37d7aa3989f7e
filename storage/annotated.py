"""What people left of results that they were given to correct, whatever program they did it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from storage.sources import InputError
from tkm.types import Float, Int

Format = Literal["cvat", "labelstudio", "coco", "posetrack18"]


@dataclass(frozen=True)
class AnnotatedVideo:
    """What people left of a video's exported people.

    video      id of the video in the tables (what the export wrote; a reader refuses files without it, naming file and place)
    run        run that the export was made from, so that what people changed can be told from what they were given
    frames     (T,) int64, ascending, the frames that were exported: only in these can anything have been changed or deleted
    frame      (P,) int64 of each person left
    detection  (P,) int64, the exported person (unique by frame and detection) that it is
    label      (P,) int64, track that it belongs to now; equal to the exported track id where nothing changed; new numbers for
               tracks people made
    xy_px      (P, K, 2) float32, in the video's own pixels and COCO-17 order (the run's skeleton), NaN where absent
    rounding_px  how far the format's own rounding moves a keypoint that nobody touched
    ignored    sentences on what people did that cannot be brought back (shapes added by hand, boxes changed, several shapes for
               one person, unknown labels ...), each naming video and frame
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


def read_annotated(path: str, format_: Format | None) -> list[AnnotatedVideo]:
    """What people left of the videos of a file or folder; None: the format is told from the content."""
    raise InputError(f"{path}: no format {format_ or ''} is known")
