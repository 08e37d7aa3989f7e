"""The clips that are measured: the demo clip, repeated, and the same clip with more people in view."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from storage.sources import Source
from storage.video import decode, probe

DEMO = Path(__file__).resolve().parents[1] / "deployments" / "demo" / "cam01.mp4"
# The first of the clip's 100, which is to be repeated to whole hundreds: 3.7 people a frame are found in the demo clip, 4.5 here.
CROWDED_FRAMES = 20


def repeat(clip: Path, path: Path, frames: int) -> None:
    """A clip again and again, without coding it anew, until it has so many frames."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        assert stream.time_base is not None
        length = sum(packet.duration or 0 for packet in packets)
        bodies = [(bytes(packet), packet.pts or 0, packet.dts or 0, packet.duration, packet.is_keyframe) for packet in packets]
        for n in range(frames):
            body, pts, dts, duration, is_key = bodies[n % len(bodies)]
            packet = av.Packet(body)
            shift = n // len(bodies) * length
            packet.pts, packet.dts, packet.duration, packet.time_base = pts + shift, dts + shift, duration or 0, stream.time_base
            packet.is_keyframe = is_key
            packet.stream = copied
            target.mux(packet)


def crowd(path: Path) -> None:
    """The demo clip with its own picture, mirrored and at 0.4 of its size, in the free lower left corner of some frames.

    The frame keeps its size, so that only the number of people differs from the demo clip.
    """
    source = Source(str(DEMO))
    info = probe(source)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=60, options={"crf": "23", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = info.width_px, info.height_px, "yuv420p"
        for number, image in decode(source, info, np.arange(len(info))):
            if number < CROWDED_FRAMES:
                inset = cv2.resize(image[:, ::-1], None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
                image[-inset.shape[0] :, : inset.shape[1]] = inset
            target.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        target.mux(stream.encode(None))
