"""Frames of a video or of a folder of images: exact times, and any of them decoded, the same bits from wherever one starts.

Shape legend: T frames, H rows, W columns. Everything FFmpeg opens is read by PyAV; images by OpenCV.

What is done about awkward files:
- Truncated: an MP4 or MOV that indexes more frames than it holds, a Matroska, WebM or FLV that ends half a second or more
  before the duration in its header, and any file whose last packet is cut, are VideoErrors in `probe`. MPEG streams, raw
  streams and GIFs do not say how long they should be: what is there counts.
- Damage in the middle: a frame that the decoder gives nothing for is a VideoError when it is asked for; where the decoder
  conceals errors, the concealed frame is given. Frames that nobody asks for may be damaged.
- Pixels are taken as stored: sample aspect ratios and mirroring are ignored, quarter turns are applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from storage.sources import Source, image_paths

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]

MAX_SIDE_PX = 8192  # 8K and a little: one such frame is 200 MB of RGB
IMAGES_FPS = 25  # nominal: a folder of images says nothing about time
SEEK_GAP = 16  # frames; decoding fewer than these costs no more than a seek
CHECKED = 48  # packets at the start of a file that are decoded to see that packets and frames agree
COUNTED_BY_PACKETS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # containers that give every packet its presentation time
HEADER_DURATION = {"matroska,webm", "flv"}  # containers whose duration is written, not estimated from what is there


class VideoError(Exception):
    """This video cannot be read, now or later; the message is a sentence that names the file and says why."""


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds; frames in presentation order.

    width_px, height_px   after rotation
    rotation_degrees      counter-clockwise turn from the stored picture to the upright one: 0, 90, 180 or 270; it is applied already
    codec                 FFmpeg's name of the decoder ("h264"), or "images"
    pts_ns                (T,) int64, strictly increasing, from the file's own time base, rounded down to a nanosecond, starting
                          where the file starts. Where two frames share a time the later one is put 1 ns later. Where frames have no
                          times or they run backwards (raw streams, some AVI), time runs at the file's nominal rate.
    is_key_frame          (T,) bool, where decoding can start; nowhere if the frames have no times of their own to be told by, and
                          then `decode` reads from the start of the file
    """

    width_px: int
    height_px: int
    rotation_degrees: int
    codec: str
    pts_ns: Int
    is_key_frame: Bool

    def __len__(self) -> int:
        return len(self.pts_ns)

    @property
    def fps(self) -> float:
        """Mean frames a second; IMAGES_FPS where there is a single frame."""
        if len(self) < 2:
            return float(IMAGES_FPS)
        return (len(self) - 1) * 1e9 / float(self.pts_ns[-1] - self.pts_ns[0])


def probe(source: Source) -> VideoInfo:
    """Size, rotation, and the time of every frame, exactly those that decoding the whole file gives.

    MP4, MOV, Matroska and WebM are counted by demultiplexing, leaving out packets that the container marks as not shown; the
    first frames are decoded to see that packets and frames agree. Where they do not (frames out of two packets, packets without
    times, invisible frames of VP8), and in all other containers, the file is decoded once to count.

    Raises VideoError if the video can never be read, OSError (missing, network, permissions) if it may be later.
    """
    if source.kind == "frames":
        return _probe_images(source)
    with _opened(source.uri) as (container, stream):
        codec = stream.codec_context.name
        width_px, height_px = stream.codec_context.width, stream.codec_context.height
        if max(width_px, height_px) > MAX_SIDE_PX:
            raise VideoError(f"{source.uri}: its frames of {width_px} x {height_px} pixels are larger than {MAX_SIDE_PX} a side.")
        head = list(islice(_decoded(container, stream), CHECKED // 2))
        if not head:
            raise VideoError(f"{source.uri} has no frames that can be decoded ({codec}).")
        rotation_degrees = round(head[0].rotation / 90) % 4 * 90
        width_px, height_px = head[0].width, head[0].height
    with _opened(source.uri) as (container, stream):
        times = _packet_times(source.uri, container, stream)
        counted = container.format.name in COUNTED_BY_PACKETS and codec != "vp8" and times is not None
        if times is not None and counted:
            pts, is_key_frame = times
            counted = bool(len(pts) >= len(head)) and [frame.pts for frame in head] == pts[: len(head)].tolist()
            counted = counted and bool((np.diff(pts) > 0).all())
        rate, time_base = stream.average_rate or Fraction(IMAGES_FPS), stream.time_base or Fraction(1, IMAGES_FPS)
    if counted:
        pts_ns = _to_ns(pts, time_base)
    else:
        pts_ns, is_key_frame = _decoded_times(source.uri, rate)
    if rotation_degrees % 180:
        width_px, height_px = height_px, width_px
    return VideoInfo(width_px, height_px, rotation_degrees, codec, pts_ns, is_key_frame)


def decode(source: Source, info: VideoInfo, frames: Int, threads: int = 2) -> Iterator[tuple[int, Image]]:
    """Number and picture, (H, W, 3) uint8 RGB, upright, of each of these ascending `frames`, read as they are taken.

    A picture is the same, bit for bit, whatever else is asked for. Decoding starts at the last key frame at or before the
    first frame, and jumps ahead where key frames allow it. Asking for one long stretch and taking it piece by piece is
    cheaper than asking for each piece, above all where `info` has no key frames.

    Raises ValueError if `frames` do not ascend or are not in the video, VideoError naming the frame that cannot be decoded.
    """
    wanted = np.asarray(frames, np.int64)
    if len(wanted) and (wanted[0] < 0 or wanted[-1] >= len(info) or (np.diff(wanted) <= 0).any()):
        raise ValueError(f"frames must ascend and lie in 0 .. {len(info) - 1}, the frames of {source.uri}")
    if source.kind == "frames":
        yield from _decode_images(source, info, wanted)
        return
    reader = _Reader(source.uri, info, threads)
    try:
        for run in _runs(wanted, info.is_key_frame):
            yield from reader.read(run)
    finally:
        reader.close()


def _runs(wanted: Int, is_key_frame: Bool) -> list[Int]:
    """Split ascending frame numbers where a key frame lies between two of them and jumping to it saves decoding."""
    keys = np.concatenate([[0], np.flatnonzero(is_key_frame)])
    start = keys[np.searchsorted(keys, wanted, side="right") - 1]
    return [run for run in np.split(wanted, np.flatnonzero(start[1:] - wanted[:-1] > SEEK_GAP) + 1) if len(run)]


class _Reader:
    """An open video that is read run after run."""

    def __init__(self, uri: str, info: VideoInfo, threads: int) -> None:
        self.uri, self.info, self.threads = uri, info, threads
        self.reformatter = VideoReformatter()  # kept: a new one a frame costs a quarter of the conversion
        self.open = ExitStack()
        self._reopen()

    def close(self) -> None:
        self.open.close()

    def _reopen(self) -> None:
        self.open.close()
        self.container, self.stream = self.open.enter_context(_opened(self.uri, self.threads))
        self.at_start = True

    def read(self, wanted: Int) -> Iterator[tuple[int, Image]]:
        """The frames of one run. Where a key frame turns out to need what lies before it, an earlier one serves."""
        keys = np.flatnonzero(self.info.is_key_frame[: wanted[0] + 1])
        starts = [int(keys[-1 - back]) for back in (0, 1, 3, 7) if back < len(keys) and keys[-1 - back] > 0]
        for start in (*starts, 0):
            for number, frame in self._from(start):
                if number > wanted[0]:
                    break
                if number == wanted[0]:
                    yield number, self._upright(number, frame)
                    wanted = wanted[1:]
                    if not len(wanted):
                        return
        raise VideoError(f"{self.uri}: {self._place(int(wanted[0]))} cannot be decoded; the file is damaged there.")

    def _from(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """Numbered frames from a key frame on, or from the start of the file; none if decoding cannot start there."""
        if start == 0:
            if not self.at_start:
                self._reopen()
            self.at_start = False
            packets = self.container.demux(self.stream)
        else:
            self.at_start = False
            num, den = self.stream.time_base.as_integer_ratio() if self.stream.time_base else (1, 1)
            start_ns = int(self.info.pts_ns[start])
            self.container.seek(-(-start_ns * den // (num * 10**9)), stream=self.stream)
            packets = _from_key_packet(self.container.demux(self.stream), start_ns)
        with _translated(self.uri):
            for n, frame in enumerate(_frames_of(packets)):
                if n == 0 and start > 0 and frame.pict_type in (PictureType.P, PictureType.B):
                    return  # a recovery point: intra refresh is under way, and what came before still shows
                if not self.info.is_key_frame.any():
                    yield n, frame
                elif frame.pts is not None and frame.time_base is not None:
                    number = int(np.searchsorted(self.info.pts_ns, time_ns := int(_to_ns(frame.pts, frame.time_base))))
                    if number < len(self.info) and self.info.pts_ns[number] == time_ns:
                        yield number, frame

    def _upright(self, number: int, frame: VideoFrame) -> Image:
        rgb: Image = self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        upright = np.ascontiguousarray(np.rot90(rgb, self.info.rotation_degrees // 90))
        if upright.shape != (self.info.height_px, self.info.width_px, 3):
            raise VideoError(
                f"{self.uri}: {self._place(number)} is {upright.shape[1]} x {upright.shape[0]} pixels, the first frame is "
                f"{self.info.width_px} x {self.info.height_px}; cut the video where its size changes."
            )
        return upright

    def _place(self, number: int) -> str:
        return f"frame {number} (at {self.info.pts_ns[number] / 1e9:.3f} s)"


@contextmanager
def _opened(uri: str, threads: int = 2) -> Iterator[tuple[InputContainer, VideoStream]]:
    fs, path = url_to_fs(uri)
    info = fs.info(path)
    if info["type"] == "directory":
        raise VideoError(f"{uri} is a folder without images; give a video file or a folder of images.")
    if info["size"] == 0:
        raise VideoError(f"{uri} is an empty file.")
    with ExitStack() as stack, _translated(uri):
        file = path if isinstance(fs, LocalFileSystem) else stack.enter_context(fs.open(path, "rb"))
        # Playlists and the like may name other files and hosts: nothing but this file is read.
        container = stack.enter_context(av.open(file, options={"protocol_whitelist": "file"}))
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            raise VideoError(f"{uri} has no video stream.")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoError(f"{uri}: FFmpeg has no decoder for its video; convert it, for example to H.264.")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield container, stream


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """FFmpeg's errors as VideoError, but those of the operating system as plain OSErrors, which may pass."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, uri) from None
        reason = error.strerror or type(error).__name__
        raise VideoError(f"{uri} cannot be read as a video ({reason}): it is none, is damaged, or is cut off.") from None


def _frames_of(packets: Iterator[av.Packet]) -> Iterator[VideoFrame]:
    """Decoded frames; packets that the decoder refuses give none."""
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            continue
        yield from (frame for frame in frames if isinstance(frame, VideoFrame))


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    return _frames_of(container.demux(stream))


def _from_key_packet(packets: Iterator[av.Packet], start_ns: int) -> Iterator[av.Packet]:
    """Packets from the first key frame on; none if that lies after `start_ns`: a seek may land anywhere."""
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None:
            if _to_ns(packet.pts, packet.time_base) <= start_ns:
                yield packet
                yield from packets
            return


def _packet_times(uri: str, container: InputContainer, stream: VideoStream) -> tuple[Int, Bool] | None:
    """Presentation times in the stream's time base, sorted, and key flags of the shown packets; None if some have no time."""
    indexed = len(stream.index_entries)
    packets, end_s, last = 0, 0.0, None
    pts: list[int | None] = []
    key: list[bool] = []
    for packet in container.demux():
        if packet.dts is None and not packet.size:
            continue
        if packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == stream.index:
            last = packet
            packets += 1
            if packet.size and not packet.is_discard:
                pts.append(packet.pts)
                key.append(packet.is_keyframe)
    missing_s = (container.duration or 0) / 1e6 - end_s if container.format.name in HEADER_DURATION else 0.0
    if packets < indexed or missing_s >= 0.5 or (last is not None and last.is_corrupt):
        raise VideoError(f"{uri} is truncated: it ends after {packets} frames, before its own end; get the whole file.")
    if not pts or None in pts:
        return None
    times = np.array(pts, np.int64)
    order = np.argsort(times, kind="stable")
    return times[order], np.array(key)[order]


def _decoded_times(uri: str, rate: Fraction) -> tuple[Int, Bool]:
    """`pts_ns` and `is_key_frame` of VideoInfo, by decoding the whole file."""
    with _opened(uri) as (container, stream):
        seen = [
            (None if f.pts is None or f.time_base is None else int(_to_ns(f.pts, f.time_base)), bool(f.key_frame))
            for f in _decoded(container, stream)
        ]
    known = [time for time, _ in seen if time is not None]
    times, n = np.array(known, np.int64), np.arange(len(seen))
    if len(known) < len(seen) or (np.diff(times) < 0).any():
        return np.array(known[:1] or [0]) + n * 10**9 * rate.denominator // rate.numerator, np.zeros(len(seen), np.bool_)
    if (np.diff(times) == 0).any():
        return np.maximum.accumulate(times - n) + n, np.zeros(len(seen), np.bool_)
    return times, np.array([is_key for _, is_key in seen])


def _to_ns(pts: Int | int, time_base: Fraction) -> Int:
    """Nanoseconds, rounded down. Whole seconds are split off first: pts times 1e9 would overflow 64 bits."""
    seconds, rest = np.divmod(np.asarray(pts, np.int64) * time_base.numerator, time_base.denominator)
    return np.asarray(seconds * 10**9 + rest * 10**9 // time_base.denominator, np.int64)


def _probe_images(source: Source) -> VideoInfo:
    paths = image_paths(source)
    if not paths:
        raise VideoError(f"{source.uri} holds no images.")
    height_px, width_px, _ = _read_image(source, paths[0]).shape
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise VideoError(f"{paths[0]}: {width_px} x {height_px} pixels are larger than {MAX_SIDE_PX} a side.")
    pts_ns = np.arange(len(paths), dtype=np.int64) * 10**9 // IMAGES_FPS
    return VideoInfo(width_px, height_px, 0, "images", pts_ns, np.ones(len(paths), np.bool_))


def _decode_images(source: Source, info: VideoInfo, wanted: Int) -> Iterator[tuple[int, Image]]:
    paths = image_paths(source)
    if len(paths) != len(info):
        raise VideoError(f"{source.uri} holds {len(paths)} images now and held {len(info)} before; run again to read it anew.")
    for number in wanted.tolist():
        image = _read_image(source, paths[number])
        if image.shape != (info.height_px, info.width_px, 3):
            raise VideoError(
                f"{paths[number]} is {image.shape[1]} x {image.shape[0]} pixels, the first image is {info.width_px} x {info.height_px}; "
                "the images of a folder must have one size."
            )
        yield number, image


def _read_image(source: Source, path: str) -> Image:
    """(H, W, 3) uint8 RGB; grey becomes three equal channels, alpha is dropped, a rotation in EXIF is applied."""
    fs, _ = url_to_fs(source.uri)
    data = np.frombuffer(fs.cat_file(path), np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None:
        raise VideoError(f"{path} is not a readable image.")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
