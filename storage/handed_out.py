"""People who are handed out to be corrected in other programs, and what people left of them.

Shape legend: T frames, P people in frames, K keypoints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from tkm.skeleton import Skeleton, skeleton_of
from tkm.types import Float, Int, check

Format = Literal["cvat", "labelstudio", "coco", "posetrack18"]
NEW_TRACK = 10**12  # what tracks that people made are numbered from: above every track id of a run
MAX_FRAME = 10_000_000  # frames of a video
FARTHEST_PX = 1e6  # no picture reaches as far
_ORIGIN = re.compile(r"([A-Za-z0-9_-]{1,200})@([A-Za-z0-9-]{1,60}) ([a-z0-9_]{1,30}) ([0-9,-]{1,4000})", re.ASCII)


@dataclass(frozen=True)
class HandedOut:
    """A video's people as they are exported, by frame and track id.

    video        id of the video
    run          whose results they are
    name         what its files are called
    skeleton     names and order of the K keypoints
    size_px      width and height of the video; 0 where nothing tells it
    pictures     names of the pictures of all its frames
    sampled      (S,) int64, rising, the frames that the run looked at
    frames       (T,) int64, rising, those of them that are exported
    frame        (P,) int64
    detection    (P,) int64
    track_id     (P,) int64
    box_xyxy_px  (P, 4) float32
    xy_px        (P, K, 2) float32, NaN where absent
    """

    video: str
    run: str
    name: str
    skeleton: Skeleton
    size_px: tuple[int, int]
    pictures: tuple[str, ...]
    sampled: Int
    frames: Int
    frame: Int
    detection: Int
    track_id: Int
    box_xyxy_px: Float
    xy_px: Float

    def __post_init__(self) -> None:
        P = len(self.frame)
        for name in ("sampled", "frames"):
            check(self, name, (None,), np.int64)
        for name in ("frame", "detection", "track_id"):
            check(self, name, (P,), np.int64)
        check(self, "box_xyxy_px", (P, 4), np.float32)
        check(self, "xy_px", (P, len(self.skeleton.keypoints), 2), np.float32)

    def __len__(self) -> int:
        return len(self.frame)

    def following(self, frame: int) -> int:
        """The next frame that the run looked at; behind the video's last where there is none."""
        n = int(np.searchsorted(self.sampled, frame, side="right"))
        return int(self.sampled[n]) if n < len(self.sampled) else len(self.pictures)

    @property
    def origin(self) -> Origin:
        """What the export is told by in a file that comes back."""
        breaks = np.flatnonzero(np.diff(np.searchsorted(self.sampled, self.frames)) > 1) + 1
        parts = [part for part in np.split(self.frames, breaks) if len(part)]
        return Origin(self.video, self.run, self.skeleton, tuple((int(part[0]), int(part[-1])) for part in parts))


@dataclass(frozen=True)
class Origin:
    """Which video and run people were exported from, their skeleton, and the spans of frames, first to last."""

    video: str
    run: str
    skeleton: Skeleton
    spans: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        spans = ",".join(f"{first}-{last}" for first, last in self.spans)
        return f"{self.video}@{self.run} {self.skeleton.name} {spans}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin of which `text` is the str; ValueError for anything else."""
        match = _ORIGIN.fullmatch(text)
        if match is None:
            raise ValueError("it does not tell video, run, skeleton and frames, as exports do")
        spans = [tuple(int(end) for end in span.split("-") if end) for span in match[4].split(",")]
        if any(len(span) != 2 or not span[0] <= span[1] < MAX_FRAME for span in spans):
            raise ValueError(f"its frames must be pairs such as 0-99, below {MAX_FRAME}")
        if any(a[1] >= b[0] for a, b in pairwise(spans)):
            raise ValueError("its spans of frames must rise")
        return cls(match[1], match[2], skeleton_of(match[3]), tuple((span[0], span[1]) for span in spans))

    @property
    def frames(self) -> Int:
        """(T,) int64, all frames of the spans, whether the run looked at them or not."""
        return np.concatenate([np.arange(first, last + 1) for first, last in self.spans])


@dataclass(frozen=True)
class AnnotatedVideo:
    """What people left of a video's exported people.

    video        id of the video in the tables
    run          run that the export was made from, so that what people changed can be told from what they were given
    frames       (T,) int64, rising, the frames that were exported: only in these can anything have been changed or deleted
    frame        (P,) int64 of each person left
    detection    (P,) int64, the exported person that it is; with `frame` it identifies the row
    label        (P,) int64, track that it belongs to now: the exported track id where nothing changed; from NEW_TRACK on for
                 tracks that people made
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
        if P and len(np.unique(np.stack([self.frame, self.detection], axis=1), axis=0)) < P:
            raise ValueError("AnnotatedVideo must hold everybody once: frame and detection repeat")


@dataclass(frozen=True)
class Left:
    """One exported person whom a file still has: xy_px (K, 2) float32."""

    frame: int
    detection: int
    label: int
    xy_px: Float


def annotated_video(
    video: str, run: str, frames: Int, people: list[Left], keypoints: int, rounding_px: float, ignored: list[str]
) -> AnnotatedVideo:
    """The people of a video who are left, by frame and detection; of several shapes for one person the first counts.

    ValueError where a keypoint is in no picture.
    """
    found: dict[tuple[int, int], Left] = {}
    twice: dict[tuple[int, int], int] = {}
    for one in people:
        place = (one.frame, one.detection)
        if found.setdefault(place, one) is not one:
            twice[place] = twice.get(place, 1) + 1
    ignored = [
        *ignored,
        *(f"{video}, frame {frame}: there are {count} shapes of one person: the first counts"
          for (frame, _), count in twice.items()),
    ]  # fmt: skip
    rows = [found[place] for place in sorted(found)]
    for one in rows:
        if (np.abs(one.xy_px) > FARTHEST_PX).any():
            where = f"video {video}, frame {one.frame}, detection {one.detection}"
            raise ValueError(f"{where}: a keypoint lies over {FARTHEST_PX:,.0f} px away; put it into the picture")
    return AnnotatedVideo(
        video,
        run,
        frames,
        np.array([one.frame for one in rows], np.int64),
        np.array([one.detection for one in rows], np.int64),
        np.array([one.label for one in rows], np.int64),
        np.array([one.xy_px for one in rows], np.float32).reshape(-1, keypoints, 2),
        rounding_px,
        tuple(ignored),
    )
