"""Videos for measurements of what is not the networks: as many as are wanted, tiny, all of different content."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

FRAMES = 2
_SIZE_PX = (128, 16)  # wide, for the detector looks at no more than a frame needs


def entries(count: int) -> Iterator[bytes]:
    """MP4 files of two grey pictures of 128 x 16, which differ in a `free` box at their end that no decoder looks at."""
    data = _clip()
    for number in range(count):
        yield data + struct.pack(">I4sQ", 16, b"free", number)


def _clip() -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with av.open(file.name, "w") as container:
            stream = container.add_stream("libx264", rate=25)
            (stream.width, stream.height), stream.pix_fmt = _SIZE_PX, "yuv420p"
            picture = np.full((*_SIZE_PX[::-1], 3), 128, np.uint8)
            for _ in range(FRAMES):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return Path(file.name).read_bytes()
