"""Fingerprints of many videos at once: a stat each in a local folder, and on S3 listings of a thousand objects."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os.path import commonprefix

from storage import s3
from storage.sources import Source, fingerprint, identity

_PAGE = 1000  # objects that S3 lists in one request
_SPARE_PAGES = 4  # that may tell of no video
_WORTH = 0.02  # of what is listed, on the whole, must be videos: to look at so many by themselves takes about as long


def fingerprints(sources: Iterable[Source]) -> dict[str, str]:
    """Fingerprints, as `fingerprint` has them, by address, of those videos that can be looked at cheaply.

    Left out are those that are not there, and, of what is not on this machine, folders of pictures, other stores than S3, what we
    may not list, and videos that lie among many times as many other objects.
    """
    found: dict[str, str] = {}
    of_bucket: dict[str, dict[str, str]] = defaultdict(dict)
    for source in sources:
        if "://" not in source.uri:
            with suppress(OSError):
                found[source.uri] = fingerprint(source)
        elif source.kind == "video" and s3.is_s3(source.uri):
            bucket, key, _ = s3.filesystem().split_path(source.uri)
            of_bucket[bucket][key] = source.uri
    for bucket, uris in of_bucket.items():
        with suppress(FileNotFoundError, PermissionError):  # of the bucket: who looks at a video by itself tells what is wrong
            found |= _listed(bucket, uris)
    return found


def _listed(bucket: str, uris: Mapping[str, str]) -> dict[str, str]:
    """Of the videos of a bucket, addresses by key, as long as listings are worth it. What lies between two videos is skipped."""
    fs, keys = s3.filesystem(), sorted(uris)
    folder = commonprefix([keys[0], keys[-1]]).rpartition("/")  # noqa: RUF071 - keys are no paths. Not all may list everything.
    found: dict[str, str] = {}
    at, pages, last = 0, 0, ""
    where = {"Bucket": bucket, "Prefix": "".join(folder[:2]), "MaxKeys": _PAGE}
    while at < len(keys) and pages < _SPARE_PAGES + len(found) / (_WORTH * _PAGE):
        page = fs.call_s3("list_objects_v2", **where, StartAfter=max(keys[at][:-1], last))
        entries = page.get("Contents", [])
        for entry in (entry for entry in entries if entry["Key"] in uris):
            found[uris[entry["Key"]]] = identity(fs, {"size": entry["Size"], "ETag": entry["ETag"]})
        if not page.get("IsTruncated") or not entries:
            break
        pages, last = pages + 1, entries[-1]["Key"]
        at = bisect_right(keys, last)
    return found
