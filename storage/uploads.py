"""Uploads of many parts that nobody ended: S3 keeps, and charges for, their parts, which no listing of objects shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage import s3
from storage.store import Store


@dataclass(frozen=True)
class Upload:
    """An upload that was begun: of which object, below the store's root, its id, and the bytes of its parts."""

    name: str
    upload_id: str
    bytes: int


def stale_uploads(store: Store, before: datetime) -> list[Upload]:
    """Uploads below a store's root that were begun before a time and have not ended; none where the store is not on S3."""
    if not s3.is_s3(store.root):
        return []
    bucket, _, base = store.path("").partition("/")
    found = []
    for upload in _begun(bucket, base):
        key, upload_id = upload["Key"], upload["UploadId"]
        if key.startswith(base) and upload["Initiated"] < before:
            found.append(Upload(key.removeprefix(base), upload_id, _bytes(bucket, key, upload_id)))
    return found


def abort_uploads(store: Store, uploads: Sequence[Upload]) -> None:
    """End uploads and free what their parts hold; those that are over by now are left."""
    for upload in uploads:
        bucket, _, key = store.path(upload.name).partition("/")
        try:
            s3.filesystem().call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.upload_id)
        except FileNotFoundError:
            continue


def _begun(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    markers: dict[str, str] = {}
    while True:
        answer = s3.filesystem().call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **markers)
        yield from answer.get("Uploads", [])
        if not answer.get("IsTruncated"):
            return
        markers = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def _bytes(bucket: str, key: str, upload_id: str) -> int:
    """Bytes of the parts of an upload, of which S3 tells a thousand; 0 where it is over by now."""
    try:
        answer = s3.filesystem().call_s3("list_parts", Bucket=bucket, Key=key, UploadId=upload_id)
    except FileNotFoundError:
        return 0
    return sum(int(part["Size"]) for part in answer.get("Parts", []))
