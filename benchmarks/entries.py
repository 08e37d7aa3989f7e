"""Videos for measurements of what is not the networks: as many as are wanted, tiny, all of different content."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pyarrow as pa

from tkm.skeleton import COCO_17

FRAMES = 2
_SIZE_PX = (128, 16)  # wide, for the detector looks at no more than a frame needs


def entries(count: int) -> Iterator[bytes]:
    """MP4 files of two grey pictures of 128 x 16, which differ in a `free` box at their end that no decoder looks at."""
    data = _clip()
    for number in range(count):
        yield data + struct.pack(">I4sQ", 16, b"free", number)


def given_poses(count: int) -> pa.Table:
    """Poses as a user gives them, of as many videos: a person in each of `FRAMES` frames, somebody else in every video."""
    rows = count * FRAMES
    video, frame = np.divmod(np.arange(rows), FRAMES)
    place = np.random.default_rng(0).uniform(100, 900, (rows, len(COCO_17.keypoints), 2)).astype(np.float32)
    joints = {
        f"{joint}_{name}": values
        for k, joint in enumerate(COCO_17.keypoints)
        for name, values in (("x", place[:, k, 0]), ("y", place[:, k, 1]), ("score", np.ones(rows, np.float32)))
    }
    names = pa.array([f"{n:06d}" for n in video])
    return pa.table({"video": names, "video_frames": np.full(rows, FRAMES), "frame": frame, **joints})


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
