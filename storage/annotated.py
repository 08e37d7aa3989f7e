"""Files of exported people that come back corrected: found, their format told, and read."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from storage import annotated_coco, cvat, cvat_reader, labelstudio
from storage.documents import read_document
from storage.handed_out import AnnotatedVideo as AnnotatedVideo
from storage.handed_out import Format as Format
from storage.reading import MAX_DOCUMENT_BYTES
from storage.sources import InputError, find_files
from tkm.datasets import files
from tkm.datasets.errors import DatasetError

_SUFFIXES = (".xml", ".zip", ".json")
_BESIDE = (cvat.LABELS_FILE, labelstudio.CONFIG_FILE)  # what exports write for the program, not for people to change
_JSON: dict[Format, Callable[[Any, str], list[AnnotatedVideo]]] = {
    "labelstudio": labelstudio.read,
    "coco": annotated_coco.read,
    "posetrack18": annotated_coco.read,
}


def read_annotated(path: str, format_: Format | None) -> list[AnnotatedVideo]:
    """What people left of the videos of exported files: one, a folder or a glob, here or on S3.

    Args: format_, what the files must be; None tells each by its content.
    Raises: InputError naming file, place and what to do, where one cannot be read, or a video is in two; OSError where it may be
        read later.
    """
    owners: dict[str, str] = {}
    found: list[AnnotatedVideo] = []
    chosen = [uri for uri in find_files(path, _SUFFIXES, "corrected files") if uri.rpartition("/")[2] not in _BESIDE]
    # COCO's list of results lies beside the annotations that an export writes: nobody corrects it.
    if len(chosen) > 1:
        chosen = [uri for uri in chosen if uri.rpartition("/")[2] != "results.json"]
    if not chosen:
        raise InputError(f"{path}: there is no corrected file in it; give what the annotation program wrote")
    for uri in chosen:
        for one in _read(uri, format_):
            if one.video in owners:
                raise InputError(f"{one.video} is in {owners[one.video]} and again in {uri}; give one of them")
            owners[one.video] = uri
            found.append(one)
    return found


def _read(uri: str, format_: Format | None) -> list[AnnotatedVideo]:
    try:
        return _read_data(read_document(uri), uri, format_)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{uri}: {error}") from None


def _read_data(data: bytes, uri: str, format_: Format | None) -> list[AnnotatedVideo]:
    if data[:4] == b"PK\x03\x04":
        data = _unpacked(data, uri)
    if data[:100].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        _check_format(uri, "cvat", format_)
        return cvat_reader.read(data, uri)
    try:
        document = files.parse_json(data, uri)
    except DatasetError as error:
        raise InputError(str(error)) from None
    told = _format_of(document, uri)
    _check_format(uri, told, format_)
    return _JSON[told](document, uri)


def _unpacked(data: bytes, uri: str) -> bytes:
    """annotations.xml of a ZIP file, as CVAT gives it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("annotations.xml") as member:
            found = member.read(MAX_DOCUMENT_BYTES + 1)
    except KeyError:
        raise InputError(f"{uri}: it holds no annotations.xml; export from CVAT as `CVAT for video 1.1`") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(f"{uri}: it is a ZIP file that cannot be read: {error}") from None
    if len(found) > MAX_DOCUMENT_BYTES:
        raise InputError(f"{uri}: its annotations.xml has over {MAX_DOCUMENT_BYTES / 1e9:g} GB: export fewer frames at a time")
    return found


def _format_of(document: Any, uri: str) -> Format:
    if isinstance(document, list) and any(isinstance(one, dict) and "image_id" in one for one in document):
        raise InputError(f"{uri}: these are COCO's results, which do not tell who is who: correct annotations.json")
    if isinstance(document, list) or (isinstance(document, dict) and "data" in document):
        return "labelstudio"
    try:
        told = files.format_of(document, uri)
    except DatasetError as error:
        raise InputError(f"{error}; nor is it Label Studio's JSON, a list of tasks") from None
    if told == "posetrack17":
        raise InputError(f"{uri}: PoseTrack's files of 2017 have no place for who is who: export as posetrack18, coco or cvat")
    return told


def _check_format(uri: str, told: Format, wanted: Format | None) -> None:
    if wanted not in (None, told):
        raise InputError(f"{uri}: it is a file of the format {told}, not {wanted}")
