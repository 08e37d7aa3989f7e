"""FFmpeg's containers by PyAV: opening them anywhere, what their packets say, and decoding past damage.

Shape legend: T frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from storage.addresses import open_address
from storage.reading import told_bytes

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

# Containers whose duration is written in the header, not estimated from what is there: an early end shows.
HEADER_DURATION = {"matroska,webm", "flv"}
MISSING_S = 0.5
# What they show lies in other files, so their own content says nothing about it. FFmpeg knows them by how they begin, and opens
# what they name at once, be it a pipe without end: so they must not come before it.
PLAYLISTS = {"hls", "dash", "concat", "imf"}
_PLAYLISTS_BEGIN = (b"#EXTM3U", b"ffconcat", b"<")
MAX_FRAMES = 10_000_000  # 46 hours at 60 a second


class VideoError(Exception):
    """A video that cannot be read, now or later; the message is a sentence that names the file and says why."""


@contextmanager
def opened(uri: str, threads: int = 1) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream (not a cover picture). Nothing but this file is read.

    Raises VideoError if it is no video, OSError if the store does not give it.
    """
    fs, path = open_address(uri)
    info = fs.info(path)
    if info["type"] == "directory":
        raise VideoError(f"{uri} is a folder; give a video file or a folder of images.")
    if told_bytes(info, uri) == 0:
        raise VideoError(f"{uri} is an empty file: get the whole file, and run again.")
    with ExitStack() as stack, ffmpeg_errors(uri):
        opened_file = stack.enter_context(fs.open(path, "rb"))
        begins = opened_file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        if begins.startswith(_PLAYLISTS_BEGIN):
            raise VideoError(f"{uri} is a playlist or a web page; give the videos that it names.")
        opened_file.seek(0)
        file = path if isinstance(fs, LocalFileSystem) else opened_file
        # A playlist may name hosts, which a downloaded "video" must not reach.
        container = stack.enter_context(av.open(file, options={"protocol_whitelist": "file"}))
        if container.format.name in PLAYLISTS:
            raise VideoError(f"{uri} is a playlist; give the videos that it names.")
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            raise VideoError(f"{uri} has no video stream: there is nothing to look at, so leave it out.")
        if streams[0].codec_context is None:
            raise VideoError(f"{uri}: FFmpeg has no decoder for its video; convert it, for example to H.264.")
        streams[0].thread_type = "AUTO"
        streams[0].codec_context.thread_count = threads
        yield container, streams[0]


@contextmanager
def ffmpeg_errors(uri: str) -> Iterator[None]:
    """FFmpeg's errors become VideoError, but those of the operating system plain OSErrors: they may pass."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, uri) from None
        reason = error.strerror or type(error).__name__
        message = f"{uri} is no video that FFmpeg can read, is damaged or is truncated ({reason}): get it whole."
        raise VideoError(message) from None


def decoded(packets: Iterator[av.Packet[Any]]) -> Iterator[VideoFrame]:
    """Decoded frames in presentation order; a packet that the decoder refuses gives none."""
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            continue
        yield from (frame for frame in frames if isinstance(frame, VideoFrame))


def from_key_packet(packets: Iterator[av.Packet[Any]], start_ns: int) -> Iterator[av.Packet[Any]]:
    """Packets from the first key frame on; none if that lies after `start_ns`, for a seek may land anywhere."""
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None:
            if to_ns(packet.pts, packet.time_base) <= start_ns:
                yield packet
                yield from packets
            return


def packet_times(uri: str, container: InputContainer, stream: VideoStream) -> tuple[Int, Bool] | None:
    """Times (T,) in the stream's time base, sorted, and key flags (T,) of the packets that the container does not hide.

    None if some have no time. Raises VideoError if the file ends early, or has too many.
    """
    indexed = len(stream.index_entries)
    packets, end_s, is_cut = 0, 0.0, False
    pts: list[int | None] = []
    is_key: list[bool] = []
    for packet in container.demux():
        if packet.dts is None and not packet.size:
            continue  # asks the decoder for its last frames, and is not in the file
        if packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == stream.index:
            packets += 1
            is_cut = packet.is_corrupt
            if packet.size and not packet.is_discard:
                pts.append(packet.pts)
                is_key.append(packet.is_keyframe)
                _check_frames(uri, len(pts))
    missing_s = (container.duration or 0) / 1e6 - end_s if container.format.name in HEADER_DURATION else 0.0
    if packets < indexed or missing_s >= MISSING_S or is_cut:
        raise VideoError(f"{uri} is truncated: it ends early, after {packets} frames; get the whole file.")
    if None in pts:
        return None
    times = np.array(pts, np.int64)
    order = np.argsort(times, kind="stable")
    return times[order], np.array(is_key, np.bool_)[order]


def decoded_times(uri: str, container: InputContainer, stream: VideoStream) -> tuple[Int, Bool]:
    """`pts_ns` (T,) and `is_key_frame` (T,) as VideoInfo describes them, by decoding the whole file.

    Raises VideoError if there are too many.
    """
    rate = stream.average_rate or Fraction(25)
    known, is_key = [], []
    for frame in decoded(container.demux(stream)):
        is_key.append(bool(frame.key_frame))
        _check_frames(uri, len(is_key))
        if frame.pts is not None:
            known.append(int(to_ns(frame.pts, frame.time_base)))
    times, n = np.array(known, np.int64), np.arange(len(is_key))
    if len(known) < len(is_key) or (np.diff(times) < 0).any():
        return np.array(known[:1] or [0]) + n * 10**9 * rate.denominator // rate.numerator, np.zeros(len(n), np.bool_)
    if (np.diff(times) == 0).any():
        return np.maximum.accumulate(times - n) + n, np.zeros(len(n), np.bool_)
    return times, np.array(is_key, np.bool_)


def _check_frames(uri: str, frames: int) -> None:
    if frames > MAX_FRAMES:
        raise VideoError(f"{uri} has more than {MAX_FRAMES:,} frames, which is the limit: split it.")


def to_ns(pts: Int | int, time_base: Fraction | None) -> Int:
    """Nanoseconds, rounded down; FFmpeg's own unit is the microsecond, where a stream has none."""
    time_base = time_base or Fraction(1, 10**6)
    # Whole seconds are split off first: pts times 1e9 would overflow 64 bits.
    seconds, rest = np.divmod(np.asarray(pts, np.int64) * time_base.numerator, time_base.denominator)
    return np.asarray(seconds * 10**9 + rest * 10**9 // time_base.denominator, np.int64)
