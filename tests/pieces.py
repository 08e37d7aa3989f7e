"""Pieces of the bundled clip, as small videos of their own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

CLIP = Path(__file__).resolve().parents[1] / "deployments" / "demo" / "cam01.mp4"


def write_piece(path: Path, first: int, count: int, width_px: int, height_px: int) -> None:
    """`count` frames of the bundled clip's three people from frame `first` on, at 60 frames/s."""
    with av.open(str(CLIP)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=60, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        for n, frame in enumerate(source.decode(video=0)):
            if n == first + count:
                break
            if n >= first:
                small = frame.reformat(width_px, height_px, "yuv420p")
                small.pts, small.time_base = n - first, Fraction(1, 60)
                target.mux(stream.encode(small))
        target.mux(stream.encode())
