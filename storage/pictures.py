"""Where the pictures are that annotation files speak of: picture files, or frames of a video that is called as the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from storage.containers import opened
from storage.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, InputError, Source, canonical_uri, open_listing, some
from storage.video import probe
from tkm.datasets.sequence import Sequence

_FOLDERS = ("images", "videos")  # beside the folder of annotations, as PoseTrack and `tkm synthesize` have them


@dataclass(frozen=True)
class Pictures:
    """Picture and video files below a folder.

    where    what the user named, or the folder that was looked in for want of a name
    images   addresses of the pictures, by their names below it
    videos   addresses of the videos, by their names without folder and suffix; several where they share one
    """

    where: str
    images: Mapping[str, str]
    videos: Mapping[str, tuple[str, ...]]


def find_pictures(address: str) -> Pictures:
    """What lies in a folder, local or on S3, and below it; or the one video that is named.

    Raises InputError where there is no such folder or nothing in it.
    """
    fs, path = open_listing(address)
    if not fs.exists(path):
        raise InputError(f"{address}: no such folder; give the folder of the pictures or videos that the annotations tell of")
    found = _below(address, ("",)) if fs.isdir(path) else {path.rpartition("/")[2]: canonical_uri(fs, path)}
    return _sorted(address, found)


def find_pictures_beside(truth: str) -> Pictures:
    """The pictures of an annotation file that lies in or below a folder annotations*: those of images/ and videos/ beside it.

    Names may begin with these folders, as PoseTrack's do, or in them, as COCO's do.

    Raises InputError where there is no such folder, or nothing in it.
    """
    parts = truth.split("/")
    depths = [depth for depth, part in enumerate(parts[:-1]) if part.startswith("annotations")]
    if not depths:
        raise InputError(f"{truth}: it lies in no folder annotations/ with images/ or videos/ beside it: {_GIVE}")
    root = "/".join(parts[: depths[-1]])
    found = _below(root, _FOLDERS)
    return _sorted(root, {name.partition("/")[2]: uri for name, uri in found.items()} | found)


_GIVE = "give the folder of its pictures or videos with --images"


def addresses_of(sequence: Sequence, pictures: Pictures, truth: str) -> list[tuple[str, int | None]]:
    """T addresses of a sequence's pictures, each with the number of the frame where they are those of a video.

    A picture is found by the name that the file gives it, or by that name without the folders that it begins with, as long as one
    is left; else by the name of a video that is the sequence's.

    Raises InputError, which names the annotation file `truth`, for pictures that are not there, and a video of another length.
    """
    found = [next((uri for own in _names(name) if (uri := pictures.images.get(own))), None) for name in sequence.frame_names]
    if not any(found):
        return _frames_of(sequence, pictures, truth)
    missing = [name for name, uri in zip(sequence.frame_names, found, strict=True) if uri is None]
    if missing:
        raise InputError(f"{truth} tells of pictures that are not below {pictures.where}: {some(missing)}")
    return [(uri, None) for uri in found if uri is not None]


def _frames_of(sequence: Sequence, pictures: Pictures, truth: str) -> list[tuple[str, int | None]]:
    videos = pictures.videos.get(sequence.name.rpartition("/")[2], ())
    if len(videos) > 1:
        raise InputError(f"{truth}: {len(videos)} videos below {pictures.where} are called {sequence.name}: {some(videos)}")
    if not videos:
        raise InputError(
            f"{truth} tells of {sequence.frame_names[0]}, but below {pictures.where} is neither that picture nor a video "
            f"{sequence.name}.mp4: {_GIVE}"
        )
    if (frames := _length(videos[0], len(sequence))) != len(sequence):
        raise InputError(f"{truth} tells of {len(sequence)} frames, but {videos[0]} has {frames}: it is not the video it is of")
    return [(videos[0], number) for number in range(len(sequence))]


def _length(uri: str, expected: int) -> int:
    """Frames of a video; they are counted, ten times slower, only where its header tells another number than is expected."""
    with opened(uri) as (_, stream):
        told = int(stream.frames)
    return told if told == expected else len(probe(Source(uri)))


def _names(name: str) -> list[str]:
    """What a picture may be called: its whole name, then without the first folder, and so on to the last folder."""
    parts = name.replace("\\", "/").split("/")
    return ["/".join(parts[first:]) for first in range(max(1, len(parts) - 1))]


def _below(root: str, folders: tuple[str, ...]) -> dict[str, str]:
    """Addresses of all files below some folders of a root, by their names below the root."""
    fs, base = open_listing(root)
    start = len(base.rstrip("/")) + 1
    listed = [path for folder in folders if fs.isdir(f"{base}/{folder}") for path in fs.find(f"{base}/{folder}")]
    return {path[start:]: canonical_uri(fs, path) for path in listed}


def _sorted(where: str, found: Mapping[str, str]) -> Pictures:
    images: dict[str, str] = {}
    videos: dict[str, tuple[str, ...]] = {}
    for name, uri in found.items():
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images[name] = uri
        elif suffix in VIDEO_SUFFIXES:
            own = PurePosixPath(name).stem
            videos[own] = tuple(dict.fromkeys((*videos.get(own, ()), uri)))
    if not images and not videos:
        looked = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{where}: it holds no pictures ({looked}) and no videos: {_GIVE}")
    return Pictures(where, images, videos)
