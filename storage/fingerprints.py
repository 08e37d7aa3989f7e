"""Fingerprints of many videos at once: a stat each in a local folder, and on S3 a listing of the folders that they lie in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

from s3fs import S3FileSystem

from storage import s3
from storage.sources import Source, fingerprint, identity

_PAGE = 1000  # objects that S3 lists in one request
_SPARE_PAGES = 4  # of objects that nobody asked for, in one folder


def fingerprints(sources: Iterable[Source]) -> dict[str, str]:
    """Fingerprints, as `fingerprint` has them, by address, of those videos that can be looked at cheaply.

    Left out are those that are not there, and, of what is not on this machine, folders of pictures, other stores than S3, and
    videos that lie among many times as many other objects.
    """
    found: dict[str, str] = {}
    folders: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        if "://" not in source.uri:
            with suppress(OSError):
                found[source.uri] = fingerprint(source)
        elif source.kind == "video" and s3.is_s3(source.uri):
            folders[source.uri.rpartition("/")[0]].add(source.uri)
    for folder, uris in folders.items():
        found |= _listed(folder, uris)
    return found


def _listed(folder: str, uris: Collection[str]) -> dict[str, str]:
    """Of the videos in a folder of S3, in as many requests as they are worth."""
    fs = s3.filesystem()
    bucket, prefix, _ = fs.split_path(f"{folder}/")
    paths = {fs.split_path(uri)[1]: uri for uri in uris}
    found = {}
    for page, entries in enumerate(_pages(fs, bucket, f"{prefix.rstrip('/')}/".lstrip("/"), min(paths), max(paths))):
        for entry in entries:
            if entry["Key"] in paths:
                found[paths[entry["Key"]]] = identity(fs, {"size": entry["Size"], "ETag": entry["ETag"]})
        if page >= _SPARE_PAGES + 2 * len(uris) // _PAGE:
            break
    return found


def _pages(fs: S3FileSystem, bucket: str, prefix: str, first: str, last: str) -> Iterator[list[dict[str, Any]]]:
    """Objects directly in a folder, some at a time, from those just before the first to the last."""
    where: dict[str, str] = {"StartAfter": first[:-1]}
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **where)
        entries = page.get("Contents", [])
        yield entries
        if not page.get("IsTruncated") or (entries and entries[-1]["Key"] > last):
            return
        where = {"ContinuationToken": page["NextContinuationToken"]}
