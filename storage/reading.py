"""Reading what users name without trusting it to be small, or ever to end. Every limit here can be named in an error."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from s3fs import S3FileSystem

from storage.parquet import read_parquet

MAX_VIDEO_BYTES = 10**12  # a day of 4K in an editor's codec
MAX_DOCUMENT_BYTES = 10**9  # annotations, boxes, poses and lists of addresses; parsed, JSON takes ten times its size
MAX_WEIGHTS_BYTES = 8 * 10**9  # the largest published checkpoints of pose networks have 2
MAX_PICTURE_BYTES = 512 * 10**6  # 8192 x 8192 as BMP are 201
MAX_TABLE_BYTES = 16 * 10**9  # of a Parquet file's rows in memory: a file of little else than zeros is a thousand times smaller
_BLOCK_BYTES = 2**20


class LimitError(OSError):
    """An input that is larger than a limit, or that may never end: a sentence with its name, the limit, and what to do."""


def told_bytes(info: Mapping[str, Any], name: str) -> int:
    """Size of a file, as its filesystem tells it. LimitError, which names it, where it tells none: it may never end."""
    if info["type"] == "other":
        raise LimitError(f"{name} is a pipe, a device or a socket, which may never end: give a file")
    if info.get("size") is None:
        raise LimitError(f"{name} is a stream, which may never end: its server tells no size; copy it to a disk or to S3")
    return int(info["size"])


def read_whole(fs: AbstractFileSystem, path: str, name: str, max_bytes: int, remedy: str) -> bytes:
    """All bytes of a file that is read into memory. LimitError, which names it, where it has more, or may never end.

    Args: name, the file's address; remedy, what to do with one that is too large, the end of a sentence.
    Raises: OSError where it cannot be read.
    """
    if isinstance(fs, S3FileSystem):  # one request: folders of frames are many files
        data = _beginning(fs, path, max_bytes + 1)
        size = len(data)
    else:
        size = told_bytes(fs.info(path), name)
    if size > max_bytes:
        raise LimitError(f"{name} has {size / 1e9:.1f} GB, and the limit is {max_bytes / 1e9:g} GB: {remedy}")
    return data if isinstance(fs, S3FileSystem) else b"".join(blocks(fs, path, size))


def _beginning(fs: S3FileSystem, path: str, size: int) -> bytes:
    try:
        return bytes(fs.cat_file(path, start=0, end=size))
    except OSError as error:  # in an empty file nothing lies between 0 and anything
        if error.errno != errno.EINVAL or fs.size(path):
            raise
        return b""


def blocks(fs: AbstractFileSystem, path: str, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file, or all that it has, block by block."""
    with fs.open(path, "rb") as file:
        while size > 0 and (block := file.read(min(size, _BLOCK_BYTES))):
            yield block
            size -= len(block)


def read_users_parquet(data: bytes) -> pa.Table:
    """The table in the bytes of a Parquet file that a user gives. ValueError where its rows would fill the memory."""
    facts = pq.read_metadata(pa.BufferReader(data))
    stored = sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups))
    size = max(stored, 4 * facts.num_rows * facts.num_columns)
    if size > MAX_TABLE_BYTES:
        raise ValueError(
            f"its {facts.num_rows:,} rows take {size / 1e9:.1f} GB of memory, and the limit is {MAX_TABLE_BYTES / 1e9:g} GB: "
            "split it into several files"
        )
    return read_parquet(data)
