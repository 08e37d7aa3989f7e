"""Annotation files as users name them: a file, a folder of them, or a glob, wherever fsspec reaches."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from storage.given import sequences_from_table
from storage.reading import MAX_DOCUMENT_BYTES, read_users_parquet, read_whole
from storage.sources import InputError, find_files, open_input
from tkm.datasets import files
from tkm.datasets.errors import DatasetError
from tkm.datasets.sequence import Sequence

SUFFIXES = (".json", ".parquet")


def find_documents(address: str, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """Addresses, sorted, of the annotation files that `address` names; of a folder those right in it and below it.

    Raises InputError where there are none.
    """
    return find_files(address, suffixes, "the annotation files")


def read_document(uri: str) -> bytes:
    """All bytes of an annotation file, or of a photo. OSError where it cannot be read, LimitError where it is too large."""
    fs, path = open_input(uri)
    return read_whole(fs, path, uri, MAX_DOCUMENT_BYTES, "split it into several files, of some videos each")


def read_annotations(uri: str) -> tuple[Sequence, ...] | list[Any]:
    """The videos that an annotation file tells of: PoseTrack 2017 or 2018, COCO keypoints, or Parquet.

    Of results in COCO's form, a JSON list that knows pictures by number only, its rows as they are.
    Raises InputError, which names file and field, where it cannot be understood, OSError where it cannot be read.
    """
    if is_table(uri):
        return sequences_from_table(read_table(uri), stem(uri), uri)
    try:
        document = files.parse_json(read_document(uri), stem(uri))
        return document if isinstance(document, list) else files.read_document(document, stem(uri))
    except DatasetError as error:
        raise InputError(f"{uri}: {error}") from None


def is_table(uri: str) -> bool:
    """Whether an annotation file is Parquet."""
    return _suffix(uri) == ".parquet"


def read_table(uri: str) -> pa.Table:
    """All rows of a Parquet file. InputError where it is none, OSError where it cannot be read."""
    try:
        return read_users_parquet(read_document(uri))
    except pa.ArrowException as error:
        raise InputError(f"{uri} is not a Parquet file, or is damaged: {error}") from None
    except ValueError as error:
        raise InputError(f"{uri}: {error}") from None


def stem(uri: str) -> str:
    """Name of a file or folder without its suffix: what files of one video have in common."""
    name = PurePosixPath(uri).name
    return name[: -len(_suffix(name))] if _suffix(name) in SUFFIXES else name


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
