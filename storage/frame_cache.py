"""Frames of videos in any order, from copies on this machine: a video's own order is the only one that decoding is quick in.

Training takes frames by lot. To decode one alone means to decode from the key frame before it: of rendered clips of 60 frames
(960 x 540, one key frame) 190 ms on average, where a JPEG of it takes 6 ms, and decoding the whole clip once 8 ms a frame. So the
first frame that is asked for brings its stretch of the video into the cache, as JPEGs of quality 95 (160 kB such a frame, a mean
error of 1.3 of 255; PNGs take 600 kB and 24 ms). Copies lie in ~/.cache/tkm/frames (or $XDG_CACHE_HOME/tkm/frames), and may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
from functools import cache

import cv2
import numpy as np

from storage.sources import Source, fingerprint
from storage.store import Store
from storage.video import VideoInfo, decode, picture_of, probe
from tkm import weights
from tkm.geometry import Image

_QUALITY = 95
_STRETCH = 64  # frames decoded at once: in a long video of which few are labelled, not all of it


def read_frame(uri: str, number: int) -> Image:
    """(H, W, 3) uint8 RGB of a frame, upright, the same bits whether it was in the cache or not.

    Raises ValueError where the video has no such frame, VideoError where it cannot be decoded, OSError where it cannot be read.
    """
    name = f"{_folder(uri)}/{number:06d}.jpg"
    copies = Store(str(weights.cache_folder().parent / "frames"))
    try:
        return picture_of(copies.read(name), copies.path(name))
    except FileNotFoundError:
        _bring(copies, uri, number)
        return picture_of(copies.read(name), copies.path(name))


def _bring(copies: Store, uri: str, number: int) -> None:
    """Put the stretch of a video that has this frame into the cache. Processes that do so at once write the same bytes."""
    info = _info(uri)
    if number >= len(info):
        raise ValueError(f"{uri} has {len(info)} frames, and none of number {number}")
    first = number // _STRETCH * _STRETCH
    wanted = np.arange(first, min(first + _STRETCH, len(info)))
    for place, image in decode(Source(uri), info, wanted):
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        copies.write(f"{_folder(uri)}/{place:06d}.jpg", data.tobytes())


@cache
def _info(uri: str) -> VideoInfo:
    return probe(Source(uri))


@cache
def _folder(uri: str) -> str:
    """Where the frames of a video lie in the cache: elsewhere once it is replaced."""
    return hashlib.sha256(f"{uri} {fingerprint(Source(uri))}".encode()).hexdigest()[:32]
