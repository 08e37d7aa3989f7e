"""Frames of a video or of a folder of images: their exact times, and any of them decoded, the same bits from any start.

Shape legend: T frames, H rows, W columns. Everything that FFmpeg opens is read by PyAV, images by OpenCV.

What is done about awkward files:
- Truncated: an MP4 or MOV that indexes more frames than it holds, a Matroska, WebM or FLV that ends half a second or
  more before the duration in its header, and any file whose last packet is cut, are VideoErrors in `probe`. MPEG
  and raw streams and GIFs do not say how long they should be: what is there counts.
- Damaged in the middle: a frame for which the decoder gives nothing is a VideoError when it is asked for; where the
  decoder conceals errors, the concealed frame is given. Damage to frames that nobody needs is not noticed.
- Pixels are taken as stored: quarter turns are applied, mirroring and sample aspect ratios are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import islice
from math import ceil

import cv2
import numpy as np
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from fsspec import AbstractFileSystem
from numpy.typing import NDArray
from PIL import Image as Pillow

from storage.addresses import open_address
from storage.containers import (
    VideoError,
    decoded,
    decoded_times,
    ffmpeg_errors,
    from_key_packet,
    opened,
    packet_times,
    to_ns,
)
from storage.reading import MAX_PICTURE_BYTES, read_whole
from storage.sources import Source, image_paths

__all__ = ["IMAGES_FPS", "MAX_SIDE_PX", "VideoError", "VideoInfo", "decode", "picture_of", "probe", "read_picture"]

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]

MAX_SIDE_PX = 8192  # 8K and a little: one such frame is 200 MB of RGB
IMAGES_FPS = 25  # nominal: a folder of images says nothing about time
SEEK_GAP = 16  # frames; decoding fewer than these costs no more than a seek
CHECKED = 24  # frames at the start of a file that are decoded to see that packets and frames agree
COUNTED_BY_PACKETS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # these give every packet its presentation time


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds; frames in presentation order.

    width_px, height_px   after rotation
    rotation_degrees      counter-clockwise turn from the stored picture to the upright one: 0, 90, 180 or 270
    codec                 FFmpeg's name of the decoder ("h264"), or "images"
    pts_ns                (T,) int64, strictly increasing, from the file's own time base, rounded down to a nanosecond,
                          starting where the file starts. Of frames that share a time the later is put 1 ns later. Where
                          frames have no times, or times that run backwards (raw streams, some AVI), time runs at the
                          file's nominal rate; in folders of images at IMAGES_FPS.
    is_key_frame          (T,) bool, where decoding can start. Nowhere if the frames have no times of their own to tell
                          them by: then `decode` always reads from the start of the file.
    """

    width_px: int
    height_px: int
    rotation_degrees: int
    codec: str
    pts_ns: Int
    is_key_frame: Bool

    def __len__(self) -> int:
        return len(self.pts_ns)


def probe(source: Source) -> VideoInfo:
    """Size, rotation, and the time of every frame, exactly those that decoding the whole file gives.

    MP4, MOV, Matroska and WebM are counted by demultiplexing, without the packets that the container hides; their first
    frames are decoded to see that packets and frames agree. Where they do not (fields in packets of their own, packets
    without times), for VP8 (invisible frames), and in all other containers, the file is decoded once to count.

    Raises VideoError if the video can never be read, OSError (missing, network, permissions) if it may be later.
    """
    if source.kind == "frames":
        return _probe_images(source)
    with opened(source.uri) as (container, stream):
        codec = stream.codec_context.name
        _check_side(source.uri, stream.codec_context.width, stream.codec_context.height)
        head_pts: list[int | None] = []
        for frame in islice(decoded(container.demux(stream)), CHECKED):
            if not head_pts:
                width_px, height_px, rotation_degrees = frame.width, frame.height, round(frame.rotation / 90) % 4 * 90
            head_pts.append(frame.pts)
    if not head_pts:
        raise VideoError(f"{source.uri} has no frames that can be decoded (codec {codec}): convert it, or get the whole file.")
    _check_side(source.uri, width_px, height_px)
    with opened(source.uri) as (container, stream):
        times = packet_times(source.uri, container, stream)
        can_count = container.format.name in COUNTED_BY_PACKETS and codec != "vp8"
        time_base = stream.time_base
    if can_count and times is not None and _agree(times[0], head_pts):
        pts_ns, is_key_frame = to_ns(times[0], time_base), times[1]
    else:
        with opened(source.uri) as (container, stream):
            pts_ns, is_key_frame = decoded_times(source.uri, container, stream)
    if rotation_degrees % 180:
        width_px, height_px = height_px, width_px
    return VideoInfo(width_px, height_px, rotation_degrees, codec, pts_ns, is_key_frame)


def decode(source: Source, info: VideoInfo, frames: Int, threads: int = 1) -> Iterator[tuple[int, Image]]:
    """Number and picture, (H, W, 3) uint8 RGB, upright, of each of these ascending `frames`, read as they are taken.

    A picture is the same, bit for bit, whatever else is asked for. Decoding starts at the last key frame at or before
    the first frame, and jumps ahead where key frames allow it. One long stretch taken piece by piece is cheaper than
    each piece asked for by itself, above all where `info` has no key frames. More than one thread decodes faster, with
    the same bits from a sound file; in a damaged one concealed frames may then differ from run to run.

    Raises ValueError if `frames` do not ascend or are not in the video, VideoError naming a frame that cannot be read.
    """
    wanted = np.asarray(frames, np.int64)
    if len(wanted) and (wanted[0] < 0 or wanted[-1] >= len(info) or (np.diff(wanted) <= 0).any()):
        raise ValueError(f"frames must ascend and lie in 0 .. {len(info) - 1}, the frames of {source.uri}")
    if source.kind == "frames":
        yield from _decode_images(source, info, wanted)
    elif len(wanted):
        reader = _Reader(source.uri, info, threads)
        with reader.stack:
            for run in _runs(wanted, info.is_key_frame):
                yield from reader.read(run)


def _agree(pts: Int, head_pts: list[int | None]) -> bool:
    """Whether packets have the first frames' times, and all have times of their own."""
    return pts[: len(head_pts)].tolist() == head_pts and bool((np.diff(pts) > 0).all())


def _check_side(name: str, width_px: int, height_px: int) -> None:
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise VideoError(f"{name} has {width_px} x {height_px} pixels, {MAX_SIDE_PX} a side is the limit: scale it down.")


def _runs(wanted: Int, is_key_frame: Bool) -> list[Int]:
    """Split ascending frame numbers where a key frame lies between two of them and jumping to it saves decoding."""
    keys = np.concatenate([[0], np.flatnonzero(is_key_frame)])
    start = keys[np.searchsorted(keys, wanted, side="right") - 1]
    return np.split(wanted, np.flatnonzero(start[1:] - wanted[:-1] > SEEK_GAP) + 1)


class _Reader:
    """An open video that is read run after run; closed with its `stack`."""

    def __init__(self, uri: str, info: VideoInfo, threads: int) -> None:
        self.uri, self.info, self.threads = uri, info, threads
        self.reformatter = VideoReformatter()  # kept, because setting one up costs half as much as converting a frame
        self.stack = ExitStack()
        self._open()

    def _open(self) -> None:
        self.stack.close()
        self.container, self.stream = self.stack.enter_context(opened(self.uri, self.threads))
        self.is_unread = True

    def read(self, wanted: Int) -> Iterator[tuple[int, Image]]:
        """The frames of one run. Where a key frame turns out to need what lies before it, an earlier one serves."""
        keys = np.flatnonzero(self.info.is_key_frame[: wanted[0] + 1])
        starts = [int(keys[-1 - back]) for back in (0, 1, 3, 7) if back < len(keys) and keys[-1 - back] > 0]
        for start in (*starts, 0):
            for number, frame in self._numbered_from(start):
                if number > wanted[0]:
                    break
                if number == wanted[0]:
                    yield number, self._upright(number, frame)
                    wanted = wanted[1:]
                    if not len(wanted):
                        return
        raise VideoError(
            f"{self.uri}: {self._place(int(wanted[0]))} cannot be decoded: the file is damaged there; get it again, or leave "
            "that frame out with --frames."
        )

    def _numbered_from(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers, from a key frame or the start of the file; none if decoding cannot start there."""
        if start == 0 and not self.is_unread:
            self._open()
        self.is_unread = False
        with ffmpeg_errors(self.uri):
            packets = self.container.demux(self.stream)
            if start > 0:
                start_ns = int(self.info.pts_ns[start])
                time_base = self.stream.time_base or Fraction(1, 10**6)
                self.container.seek(ceil(Fraction(start_ns, 10**9) / time_base), stream=self.stream)
                packets = from_key_packet(packets, start_ns)
            for n, frame in enumerate(decoded(packets)):
                if n == 0 and start > 0 and frame.pict_type in (PictureType.P, PictureType.B):
                    return  # flagged as a key frame, but a refresh only begins here: older frames show through
                if not self.info.is_key_frame.any():
                    yield n, frame
                elif frame.pts is not None:
                    pts_ns = to_ns(frame.pts, frame.time_base)
                    number = int(np.searchsorted(self.info.pts_ns, pts_ns))
                    if number < len(self.info) and self.info.pts_ns[number] == pts_ns:
                        yield number, frame

    def _upright(self, number: int, frame: VideoFrame) -> Image:
        rgb = np.asarray(self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)
        upright = np.ascontiguousarray(np.rot90(rgb, self.info.rotation_degrees // 90))
        _check_size(f"{self.uri}: {self._place(number)}", upright, self.info)
        return upright

    def _place(self, number: int) -> str:
        return f"frame {number} (at {self.info.pts_ns[number] / 1e9:.3f} s)"


def _check_size(name: str, image: Image, info: VideoInfo) -> None:
    if image.shape != (info.height_px, info.width_px, 3):
        raise VideoError(
            f"{name} has {image.shape[1]} x {image.shape[0]} pixels, the first frame has {info.width_px} x "
            f"{info.height_px}: all frames of a video must have one size, so split it."
        )


def _probe_images(source: Source) -> VideoInfo:
    paths = image_paths(source)
    if not paths:
        raise VideoError(f"{source.uri} is a folder without videos or images.")
    height_px, width_px, _ = _read_image(source, paths[0]).shape
    _check_side(paths[0], width_px, height_px)
    pts_ns = np.arange(len(paths), dtype=np.int64) * 10**9 // IMAGES_FPS
    return VideoInfo(width_px, height_px, 0, "images", pts_ns, np.ones(len(paths), np.bool_))


def _decode_images(source: Source, info: VideoInfo, wanted: Int) -> Iterator[tuple[int, Image]]:
    paths = image_paths(source)
    for number in wanted.tolist():
        if number >= len(paths):
            raise OSError(f"{source.uri} holds {len(paths)} images now, fewer than the {len(info)} before.")
        image = _read_image(source, paths[number])
        _check_size(paths[number], image, info)
        yield number, image


def _read_image(source: Source, path: str) -> Image:
    fs, _ = open_address(source.uri)
    return read_picture(fs, path, path)


def read_picture(fs: AbstractFileSystem, path: str, name: str) -> Image:
    """As `picture_of`, of a file. OSError where it cannot be read."""
    return picture_of(read_whole(fs, path, name, MAX_PICTURE_BYTES, "scale it down"), name)


def picture_of(data: bytes, name: str) -> Image:
    """(H, W, 3) uint8 RGB of an image file; grey becomes three equal channels, alpha is dropped, a rotation in EXIF is applied.

    Raises VideoError, which names the file, where it cannot be read, or has more than MAX_SIDE_PX a side, which its header tells:
    a file of a few kilobytes may unfold to gigabytes.
    """
    try:
        with Pillow.open(BytesIO(data)) as header:
            _check_side(name, *header.size)
    except Pillow.DecompressionBombError:
        raise VideoError(f"{name} has more than {MAX_SIDE_PX} pixels a side, which is the limit: scale it down.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise VideoError(f"{name} is not an image that can be read: replace or remove it.") from error
    encoded = np.frombuffer(data, np.uint8)
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if bgr is None:
        raise VideoError(f"{name} is not an image that can be read: replace or remove it.")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
