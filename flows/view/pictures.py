"""Any frame of the videos that are looked at, decoded as FFmpeg or OpenCV can, as JPEG.

A video that is played is decoded on and on: only jumps seek, and cost what lies between a key frame and the frame. The pictures
that were decoded last are held, so that requests that come out of order, or go back a little, decode nothing.

Shape legend: H rows, W columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import Any

import cv2
import numpy as np

from flows.groups import Group, read_digests
from flows.view.results import Looked
from storage import runs
from storage.artifacts import Artifact, DamagedArtifactError
from storage.codecs import info_from_table
from storage.sources import Source, fingerprint
from storage.store import Store, StoreError
from storage.video import SEEK_GAP, VideoError, VideoInfo, decode, probe
from tasks import index
from tkm.geometry import Image
from tkm.networks import runtime
from tkm.types import Int

OPEN_VIDEOS = 3
_HELD_BYTES = 96 * 2**20  # of pictures, of each video
_BACK = 24  # frames before one that is stepped back to: the next steps back are wanted too
_NEAR = 64  # frames; a jump back by fewer is a step
_QUALITY = 85


class GoneError(Exception):
    """A video's pictures cannot be shown; the message says why."""


class Pictures:
    """Frames of videos as JPEG; safe to be asked by many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._open: OrderedDict[str, _Player] = OrderedDict()

    def jpeg(self, looked: Looked, place: int, width_px: int) -> bytes:
        """The sampled frame at a place, no wider than `width_px`.

        GoneError where the video is not what was annotated, is not there, or cannot be decoded at this frame.
        """
        try:
            rgb = self._player(looked).picture(place, width_px)
        except (OSError, VideoError) as error:
            said = f"{looked.row['uri']}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
            raise GoneError(said) from error
        _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return data.tobytes()

    def _player(self, looked: Looked) -> _Player:
        video = looked.row["video"]
        with self._lock:
            player = self._open.pop(video, None)
            if player is None or not np.array_equal(player.frames, looked.frames):
                source, info = _annotated(self._store, looked)
                player = _Player(source, info, looked.frames)
            self._open[video] = player
            while len(self._open) > OPEN_VIDEOS:
                self._open.popitem(last=False)[1].close()
            return player


class _Player:
    """A video that is decoded from where it was last looked at.

    frames   (T,) int64, numbers of the sampled frames
    """

    def __init__(self, source: Source, info: VideoInfo, frames: Int) -> None:
        self.source, self.info, self.frames = source, info, frames
        # By place: the last one that decoding can start at, or before.
        is_key = np.flatnonzero(info.is_key_frame)
        self._start = np.searchsorted(frames, np.append(0, is_key)[np.searchsorted(is_key, frames, side="right")])
        self._lock = Lock()
        self._stream: Iterator[tuple[int, Image]] | None = None
        self._next = 0  # place of what the stream gives next
        self._width_px = 0
        self._held: OrderedDict[int, Image] = OrderedDict()

    def picture(self, place: int, width_px: int) -> Image:
        """(H, W, 3) uint8 RGB of the sampled frame at a place, W at most `width_px`."""
        with self._lock:
            if width_px != self._width_px:
                self._held.clear()
                self._width_px = width_px
            if place not in self._held:
                self._decode_to(place)
            self._held.move_to_end(place)
            return self._held[place]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._end()

    def _decode_to(self, place: int) -> None:
        steps_back = 0 < self._next - place <= _NEAR
        is_ahead = self._stream is not None and place >= self._next
        if not is_ahead or self._start[place] - self._next > SEEK_GAP:
            self._seek(max(place - _BACK, int(self._start[place]), 0) if steps_back else place)
        try:
            self._take(place)
        except VideoError:
            if self._next >= place:
                raise
            self._seek(place)  # a frame on the way to it is damaged
            self._take(place)

    def _seek(self, place: int) -> None:
        self._end()
        self._stream, self._next = decode(self.source, self.info, self.frames[place:], runtime.cores()), place

    def _end(self) -> None:
        if isinstance(self._stream, Generator):
            self._stream.close()  # and with it the file
        self._stream = None

    def _take(self, place: int) -> None:
        assert self._stream is not None
        try:
            while self._next <= place:
                _, rgb = next(self._stream)
                self._held[self._next] = _small(rgb, self._width_px)
                self._next += 1
                while len(self._held) > 1 and len(self._held) * self._held[self._next - 1].nbytes > _HELD_BYTES:
                    self._held.popitem(last=False)
        except BaseException:
            self._stream = None
            raise


def _small(rgb: Image, width_px: int) -> Image:
    height_px, full_px = rgb.shape[:2]
    if width_px >= full_px:
        return rgb
    size = (width_px, max(1, round(height_px * width_px / full_px)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _annotated(store: Store, looked: Looked) -> tuple[Source, VideoInfo]:
    """Where a video is, and its frames. GoneError where it has no pictures; VideoError where it is not what was annotated."""
    row = looked.row
    if row["codec"] == "none":
        raise GoneError("annotated from poses, without pictures")
    source = Source(str(row["uri"]), "frames" if row["codec"] == "images" else "video")
    info = _indexed(store, row) if _is_known(store, row, source) else None
    if info is None:  # counting the frames of an hour takes some seconds
        info = probe(source)
    facts = tuple(row[name] for name in ("video_frames", "width_px", "height_px"))
    if (len(info), info.width_px, info.height_px) != facts or not np.array_equal(info.pts_ns[looked.frames], looked.pts_ns):
        raise VideoError(f"{source.uri} is not the video that was annotated: bring that back, or annotate it anew")
    return source, info


def _is_known(store: Store, row: Mapping[str, Any], source: Source) -> bool:
    """Whether the video has the content that was annotated, for all that is known without reading it."""
    now = fingerprint(source)
    for name in store.list("digests"):
        group = name.removeprefix("digests/").removesuffix(".json")
        if group.startswith(f"{row['shard']:02d}-"):
            known = read_digests(store, Group(group, row["shard"], ())).get(source.uri)
            if known and (known.fingerprint, known.content_sha256) == (now, row["content_sha256"]):
                return True
    return False


def _indexed(store: Store, row: Mapping[str, Any]) -> VideoInfo | None:
    """The video's frames, by the index that its run made; None where that is gone."""
    with suppress(StoreError, DamagedArtifactError):
        for planned in runs.read_plan(store, row["run"], row["shard"]).to_pylist():
            if (planned["video"], planned["stage"]) == (row["video"], index.STAGE.name):
                return info_from_table(Artifact(store, index.STAGE.name, planned["key"]).read())
    return None
