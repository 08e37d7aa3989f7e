"""Pictures as an MP4 of H.264, the same bytes for the same pictures where one thread encodes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from tkm.geometry import Image

_BT709 = 1  # colours of high definition television, by the number that all three of its tables share (ITU-T H.273)


@contextmanager
def mp4_writer(
    path: Path,
    width_px: int,
    height_px: int,
    rate: Fraction,
    time_base: Fraction,
    *,
    crf: int,
    threads: int = 0,
    preset: str = "veryfast",
) -> Iterator[Callable[[Image, int], None]]:
    """A new file at `path`, whole when the context ends; gives the function that adds a picture.

    That takes (height_px, width_px, 3) uint8 RGB and its time in `time_base`, later than the one before. Of pictures with an odd
    side the last column or row is repeated, for 4:2:0 wants even sides: every pixel keeps its coordinates.

    Args: rate, nominal, frames a second; crf, quality of x264, 0 the best; threads of the encoder, 0 for as many as it likes;
    preset of x264, faster ones for larger files.
    """
    # Without names of versions in the file, which would differ where its pictures do not.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        # x264's assembly for mbtree reads memory that nothing was written to, and decides differently from run to run.
        coding = {"crf": str(crf), "preset": preset, "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=rate, options=coding)
        right, below = width_px % 2, height_px % 2
        stream.width, stream.height, stream.pix_fmt = width_px + right, height_px + below, "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = threads
        # Players guess the colours of a file that does not say what they are, each in its own way.
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = _BT709
        stream.codec_context.color_range = ColorRange.MPEG
        reformatter = VideoReformatter()

        def write(rgb: Image, pts: int) -> None:
            even = np.pad(rgb, ((0, below), (0, right), (0, 0)), mode="edge") if right or below else rgb
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(even, format="rgb24"), format="yuv420p", dst_colorspace=Colorspace.ITU709
            )
            frame.pts, frame.time_base = pts, time_base
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))
