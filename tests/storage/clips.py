"""Small videos for tests, of every awkward kind, written with PyAV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

FPS = 25
GOP = "keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"
H264 = {"x264-params": GOP}
H264_OPEN_GOP = {"x264-params": f"{GOP}:open-gop=1"}
H264_INTRA_REFRESH = {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}
HEVC_OPEN_GOP = {"x265-params": f"{GOP}:open-gop=1:log-level=none"}
VFR_MS = np.cumsum([133 if n % 5 == 0 else 40 for n in range(40)]).tolist()


def picture(n: int, width: int = 64, height: int = 48) -> np.ndarray:
    """(H, W, 3) uint8 RGB that differs from frame to frame, with a white top left quarter."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([3 * x + 7 * n, 4 * y + 3 * n, 2 * (x + y) + 11 * n], axis=-1) % 200
    rgb = rgb.astype(np.uint8)
    rgb[: height // 2, : width // 2] = 255
    return rgb


def write_clip(
    path: Path,
    codec: str = "libx264",
    options: Mapping[str, str] = H264,
    frames: int = 40,
    pts_ms: Sequence[int] | None = None,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    rotation: int | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """A clip of `frames` pictures of `size` (width, height), at 25 fps or at these times in ms."""
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=FPS, options=dict(options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if pts_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(n, *size), format="rgb24")
            if pts_ms is not None:
                frame.pts, frame.time_base = pts_ms[n], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_empty_clip(path: Path) -> Path:
    """A video stream without frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path


def write_sound(path: Path) -> Path:
    """A file with sound only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def truncate(path: Path, fraction: float) -> Path:
    """Cut a file off after this fraction of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def overwrite_packet(path: Path, number: int) -> Path:
    """Fill a packet of the video, counted in the file's order, with 0xff."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(container.streams.video[0]) if packet.size][number]
        start, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def write_images(folder: Path, names: Sequence[str], size: tuple[int, int] = (64, 48)) -> Path:
    """Images `picture(0)`, `picture(1)` ... under these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names):
        encoded = cv2.imencode(Path(name).suffix, picture(n, *size)[:, :, ::-1])[1]
        (folder / name).write_bytes(encoded.tobytes())
    return folder
