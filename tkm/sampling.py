"""Which frames of a video to annotate: pure rules on timestamps, in exact integer arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

import numpy as np

from tkm.types import Int

# Matroska and WebM round times to a millisecond, so a frame may stand that much before the tick that it belongs to.
SLACK_NS = 1_000_000


def check_sampling(fps: float | None, every: int, frames: tuple[int | None, int | None]) -> None:
    """Raise ValueError, naming the option, unless these settings can select something."""
    start, stop = frames
    if fps is not None and not (isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be above 0, not {fps}")
    if every < 1:
        raise ValueError(f"every must be 1 or more, not {every}")
    if fps is not None and every > 1:
        raise ValueError("fps and every both thin out frames: give one of them")
    if min(start or 0, stop or 0) < 0:
        raise ValueError(f"frames must not be negative, not {start}:{stop}; they count from the start of the video")
    if stop is not None and stop <= (start or 0):
        raise ValueError(f"frames {start or 0}:{stop} selects nothing: the end, not included, must lie after the start")


def sample(
    pts_ns: Int, fps: float | None = None, every: int = 1, frames: tuple[int | None, int | None] = (None, None)
) -> Int:
    """(S,) int64 ascending numbers of the frames to annotate, out of a video with times `pts_ns` (T,) int64, ascending.

    frames   (A, B): from frame A up to but without frame B; None is the start or the end. Beyond the end is nothing.
    every    every Nth of those, the first included
    fps      the first frame at or after each tick of 1/fps s, ticks counted from the first of those. A frame up
             to 1 ms before a tick counts as on it. No frame is taken twice; at the video's rate or above all stay.

    Raises ValueError as `check_sampling` does.
    """
    check_sampling(fps, every, frames)
    chosen: Int = np.arange(len(pts_ns), dtype=np.int64)[slice(*frames)]
    if fps is None or not len(chosen):
        return chosen[::every]
    rate = Fraction(str(float(fps)))  # the decimal that the user wrote: 29.97 is 2997/100
    elapsed_ns = (pts_ns[chosen] - pts_ns[chosen[0]]).tolist()  # Python integers: these products pass 64 bits
    ticks = np.array([(ns + SLACK_NS) * rate.numerator // (rate.denominator * 10**9) for ns in elapsed_ns])
    return np.compress(np.concatenate([[True], ticks[1:] > ticks[:-1]]), chosen)
