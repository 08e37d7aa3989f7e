"""Finding videos from what a user names, and telling what is in them: canonical URIs, identifiers, content digests."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from os.path import normpath
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from fsspec.implementations.http import HTTPFileSystem
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

from storage import s3
from storage.addresses import open_address, refusal
from storage.reading import MAX_DOCUMENT_BYTES, MAX_VIDEO_BYTES, LimitError, blocks, read_users_parquet, read_whole, told_bytes

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ts", ".mts", ".m2ts",
    ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".gif", ".mjpg", ".mjpeg", ".h264", ".264", ".h265",
    ".265", ".hevc", ".ivf", ".dv", ".y4m",
))
# fmt: on
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
LIST_SUFFIXES = frozenset((".txt", ".csv", ".parquet"))
BLOCK_BYTES = 1 << 20
MAX_IMAGES = 1_000_000  # in a folder of frames: 11 hours


class InputError(ValueError):
    """What the user gave as input names no videos; the message says what to give."""


def some(names: Iterable[str], shown: int = 5) -> str:
    """The first of some names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown} more" if len(listed) > shown else "")


@dataclass(frozen=True, order=True)
class Source:
    """One video: a file, a folder whose images are its frames, or poses in a file without any pictures.

    uri    canonical: an absolute local path without a scheme, or scheme://...; of poses, that of their file, and after a #
           which of the videos in it
    kind   "video", "frames" for a folder of images, or "poses"
    """

    uri: str
    kind: Literal["video", "frames", "poses"] = "video"

    @property
    def name(self) -> str:
        """File or folder name; of one of several videos in a file of poses, the name that it has there."""
        name = self.uri.rstrip("/").rsplit("/", 1)[-1]
        return name.rpartition("#")[2] if self.kind == "poses" else name

    @cached_property
    def video_id(self) -> str:
        """Readable, stable and unique for each URI, and safe in file names and SQL: ASCII letters, digits, "_" and "-".

        The stem of the name, at most 48 characters of it, "-", and 8 hexadecimal digits of the URI's sha256.
        """
        name = self.name
        stem = name[: -len(_suffix(name))] if _suffix(name) else name
        ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^A-Za-z0-9_-]+", "_", ascii_stem).strip("_-")[:48] or "video"
        return f"{slug}-{hashlib.sha256(self.uri.encode()).hexdigest()[:8]}"


def find_sources(input: str) -> list[Source]:
    """The videos that `input` names, sorted by URI, each once.

    `input` is a local path or a URL of any store that fsspec knows, of
    - a video file (whatever its suffix);
    - a folder: all files below it with a suffix of VIDEO_SUFFIXES, and it and each folder below that directly holds
      images; names that begin with a dot are left out;
    - a glob (`*`, `?`, `[...]`, `**`) of files and folders;
    - a list of URIs: .txt (one a line; empty lines and lines that begin with # are skipped), .csv or .parquet (the
      column `uri`; a CSV file's only column serves too). Relative URIs start at the list's folder. An entry is a file
      or a folder; one that does not exist is kept, for it is a failure of that video.

    Raises InputError if there is nothing of that name or no video in it.
    """
    if not input.strip():
        raise InputError("the input is empty; give a video, a folder, a glob, or a .txt, .csv or .parquet list of URIs.")
    fs, path = open_listing(input)
    if is_folder(fs, path):
        found = _below(fs, path)
        if not found:
            raise InputError(
                f"{input}: no videos in this folder; looked for files such as .mp4, .mov, .mkv, .avi, and for folders "
                "of images (.jpg, .png, ...). A file with another suffix can be named itself or in a list."
            )
    elif fs.exists(path):
        found = _listed(fs, path, input) if _suffix(path) in LIST_SUFFIXES else [Source(canonical_uri(fs, path))]
    elif any(character in path for character in "*?["):
        found = [source for match in fs.glob(path) for source in _named(fs, match)]
        if not found:
            raise InputError(f"{input}: no video matches this pattern; quote it so that the shell leaves it alone.")
    else:
        raise InputError(f"{input}: no such file or folder; give a video, folder, glob, or .txt, .csv or .parquet list")
    return sorted(_distinct(set(found)))


def find_files(address: str, suffixes: Collection[str], what: str) -> list[str]:
    """Addresses, sorted, of the files with one of these suffixes that `address` names; of a folder those in it and below it.

    Raises InputError, which calls them `what`, where there are none.
    """
    wanted = " or ".join(suffixes)
    if not address.strip():
        raise InputError(f"the address of {what} is empty; give a {wanted} file, a folder of them, or a glob")
    fs, path = open_listing(address)
    if is_folder(fs, path):
        found = [name for name in _below_folder(fs, path) if _suffix(name) in suffixes and not _is_hidden(name[len(path) :])]
        if not found:
            raise InputError(f"{address}: this folder holds no {wanted} file")
    elif fs.exists(path):
        found = [path]
        if _suffix(path) not in suffixes:
            raise InputError(f"{address}: not a {wanted} file")
    elif any(character in path for character in "*?["):
        found = [name for name in fs.glob(path) if _suffix(name) in suffixes]
        if not found:
            raise InputError(f"{address}: no {wanted} file matches this pattern; quote it so that the shell leaves it alone")
    else:
        raise InputError(f"{address}: no such file or folder; give a {wanted} file, a folder of them, or a glob")
    return sorted(_checked(canonical_uri(fs, name)) for name in found)


def image_paths(source: Source) -> list[str]:
    """Paths of the images in a folder of frames, ordered by name, numbers in names by value (2 before 10)."""
    return [entry["name"] for entry in _images(source)]


def content_digest(source: Source, max_bytes: int = MAX_VIDEO_BYTES) -> str:
    """sha256 of what the video holds, in hexadecimal, read in blocks.

    Of a folder of frames: sha256 over the sha256 of each image, in order; names do not matter, order does. Of a file that grows,
    what it had when reading began. Raises OSError if it cannot be read, LimitError if it is larger or may never end.
    """
    fs, path = open_address(source.uri)
    entries = [fs.info(path)] if source.kind == "video" else _images(source)
    sizes = [told_bytes(entry if entry["size"] is not None else fs.info(entry["name"]), entry["name"]) for entry in entries]
    if sum(sizes) > max_bytes:
        limit = f"the limit is {max_bytes / 1e9:g} GB: raise it with --max-video-gb, or split the video"
        raise LimitError(f"{source.uri} has {sum(sizes) / 1e9:.1f} GB, and {limit}")
    digests = [_sha256(fs, entry["name"], size) for entry, size in zip(entries, sizes, strict=True)]
    return digests[0].hex() if source.kind == "video" else hashlib.sha256(b"".join(digests)).hexdigest()


def fingerprint(source: Source) -> str:
    """What changes when content is replaced, without reading it: size, and the ETag or else time of change and inode.

    Raises OSError if it cannot be looked at.
    """
    fs, path = open_address(source.uri)
    if source.kind == "video":
        return identity(fs, fs.info(path))
    lines = "\n".join(f"{entry['name']} {identity(fs, entry)}" for entry in _images(source))
    return hashlib.sha256(lines.encode()).hexdigest()


def open_input(url: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of what a user names as input, and the path on it; InputError where it is refused or cannot be opened."""
    if refused := refusal(url):
        raise InputError(refused)
    try:
        fs, path = open_address(url)
    except (ValueError, ImportError) as error:
        why = s3.explain(error, url) if s3.is_s3(url) else f"cannot be opened: {error}"
        raise InputError(f"{url}: {why}") from error
    return fs, path


def open_listing(url: str) -> tuple[AbstractFileSystem, str]:
    """As `open_input`, to look at what is there now; InputError, too, where S3 does not answer or let us in."""
    fs, path = open_input(url)
    if s3.is_s3(url):
        try:
            s3.reach(url)
        except s3.S3Error as error:
            raise InputError(f"{url}: {error}") from None
    fs.invalidate_cache()  # a listing that this process made earlier may be out of date
    return fs, path


def is_folder(fs: AbstractFileSystem, path: str) -> bool:
    """Whether a path is a folder's. On a web server it ends with a slash: to see what any other holds is to read it whole."""
    if isinstance(fs, S3FileSystem) and "/" in path:
        return s3.is_folder(path)
    return (not isinstance(fs, HTTPFileSystem) or path.endswith("/")) and bool(fs.isdir(path))


def canonical_uri(fs: AbstractFileSystem, path: str) -> str:
    """One spelling of an address: an absolute local path without a scheme, or scheme://..."""
    return normpath(path) if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _below(fs: AbstractFileSystem, folder: str) -> list[Source]:
    """Videos and folders of images in a folder, at any depth."""
    found: set[Source] = set()
    for path in _below_folder(fs, folder):
        if _is_hidden(path[len(folder) :]):
            continue
        if _suffix(path) in VIDEO_SUFFIXES:
            found.add(Source(canonical_uri(fs, path)))
        elif _suffix(path) in IMAGE_SUFFIXES:
            found.add(Source(canonical_uri(fs, path.rpartition("/")[0]), "frames"))
    return list(found)


def _below_folder(fs: AbstractFileSystem, folder: str) -> Iterator[str]:
    """Paths of the files in a folder, at any depth; none of what links to folders lead to."""
    if isinstance(fs, LocalFileSystem):  # name by name: what fsspec looks up of ten million files fills the memory
        yield from (os.path.join(path, name) for path, _, names in os.walk(folder) for name in names)  # noqa: PTH118
    else:
        yield from fs.find(folder)


def _distinct(sources: set[Source]) -> set[Source]:
    """The videos; InputError where the name of one cannot be recorded, or two of them have one id."""
    owners: dict[str, Source] = {}
    for source in sources:
        _checked(source.uri)
        other = owners.setdefault(source.video_id, source)
        if other != source and other.uri != source.uri:
            raise InputError(f"{other.uri} and {source.uri} come to one id, {source.video_id}, by chance: rename one of them")
    return sources


def _checked(uri: str) -> str:
    if refused := refusal(uri):
        raise InputError(refused)
    return uri


def _named(fs: AbstractFileSystem, path: str) -> list[Source]:
    """What a glob or a list names: a folder stands for the videos in it, anything else for itself."""
    if not is_folder(fs, path):
        return [Source(canonical_uri(fs, path))]
    return _below(fs, path) or [Source(canonical_uri(fs, path), "frames")]


def _listed(fs: AbstractFileSystem, path: str, given: str) -> list[Source]:
    """The entries of a list of URIs."""
    suffix, data = _suffix(path), read_whole(fs, path, given, MAX_DOCUMENT_BYTES, "give several lists, one after the other")
    try:
        if suffix == ".parquet":
            entries = _parquet_entries(data)
        elif suffix == ".csv":
            entries = _csv_entries(data.decode("utf-8-sig"))
        else:
            entries = [line for line in data.decode("utf-8-sig").splitlines() if not line.lstrip().startswith("#")]
    except (ValueError, csv.Error) as error:  # wrong encoding, not Parquet, no such column, a field without end
        raise InputError(f"{given}: cannot be read as a list of URIs: {error}") from error
    entries = [entry.strip() for entry in entries if entry and entry.strip()]
    if not entries:
        raise InputError(f"{given}: the list names no videos; give one URI a line or row.")
    return [source for entry in entries for source in _entry(entry, canonical_uri(fs, path).rpartition("/")[0])]


def _entry(entry: str, folder: str) -> list[Source]:
    if refused := refusal(entry):  # before s3:bucket becomes a name in the list's folder
        raise InputError(refused)
    is_absolute = urlsplit(entry).scheme and "://" in entry
    if not is_absolute and not entry.startswith(("/", "~")):
        scheme, separator, below = folder.rpartition("://")
        entry = scheme + separator + normpath(f"{below}/{entry}")  # stores of objects know no ".."
    fs, path = open_input(entry)
    if _suffix(path) in VIDEO_SUFFIXES:  # not looked at: a list may have a million entries
        return [Source(canonical_uri(fs, path))]
    return _named(fs, path)


def _csv_entries(text: str) -> Iterable[str]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    header = [name.strip() for name in rows[0]] if rows else []
    if "uri" in header:
        column = header.index("uri")
        return [row[column] for row in rows[1:] if len(row) > column]
    if len(header) > 1:
        raise ValueError(f"it has no column `uri`, only {', '.join(header)}")
    is_headed = bool(header) and _suffix(header[0]) not in VIDEO_SUFFIXES
    return [row[0] for row in rows[is_headed:]]


def _parquet_entries(data: bytes) -> Iterable[str]:
    table = read_users_parquet(data)
    if "uri" not in table.column_names:
        raise ValueError(f"it has no column `uri`, only {', '.join(table.column_names)}")
    return [str(value) for value in table["uri"].to_pylist() if value is not None]


def _images(source: Source) -> list[dict[str, Any]]:
    """Listing of the images of a folder, in order. LimitError where there are too many."""
    fs, path = open_address(source.uri)
    fs.invalidate_cache(path)
    images = list(islice(_listed_images(fs, path), MAX_IMAGES + 1))
    if len(images) > MAX_IMAGES:
        raise LimitError(f"{source.uri} holds more than {MAX_IMAGES:,} images, which is the limit for a folder: split it")
    return sorted(images, key=lambda entry: _natural(entry["name"].rpartition("/")[2]))


def _listed_images(fs: AbstractFileSystem, folder: str) -> Iterator[dict[str, Any]]:
    """`name`, `size` and `type`, and what else the filesystem tells, of the images in a folder, as they are found."""
    if isinstance(fs, LocalFileSystem):
        with os.scandir(folder) as entries:
            for one in entries:
                if _is_image(one.name) and one.is_file():
                    yield {"name": one.path, "size": one.stat().st_size, "type": "file"}
        return
    for entry in fs.ls(folder, detail=True):
        if entry["type"] == "file" and _is_image(entry["name"].rpartition("/")[2]):
            yield entry


def _is_image(name: str) -> bool:
    return _suffix(name) in IMAGE_SUFFIXES and not name.startswith(".")


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts numbers in names by value; names that differ in leading zeros only, as text."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name


def _sha256(fs: AbstractFileSystem, path: str, size: int) -> bytes:
    """sha256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    for block in blocks(fs, path, size):
        digest.update(block)
    return digest.digest()


def identity(fs: AbstractFileSystem, entry: dict[str, Any]) -> str:
    """What changes when a file is replaced, from what a listing, or a look at the file, says of it."""
    if isinstance(fs, LocalFileSystem):
        stat = Path(entry["name"]).stat()
        return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
    names = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")  # what S3, Google, Azure and others call it
    changed = next((str(entry[name]) for name in names if entry.get(name)), "")
    return f"{entry['size']}-{changed}"
