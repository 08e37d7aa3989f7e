"""Labelled images to train and validate networks on: pictures, or frames of videos, with the people that annotation files tell.

Shape legend: P people in an image, K keypoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.addresses import open_address
from storage.documents import find_documents, read_document, stem
from storage.frame_cache import read_frame
from storage.pictures import Pictures, addresses_of, find_pictures, find_pictures_beside
from storage.sources import InputError
from storage.video import VideoError, read_picture
from tkm.datasets import files
from tkm.datasets.errors import DatasetError
from tkm.datasets.sequence import Double, People, Polygon
from tkm.datasets.sequence import Sequence as Annotated
from tkm.geometry import Image
from tkm.skeleton import Skeleton
from tkm.types import Bool, Float, Int, check

# What a box around keypoints is enlarged by, half on either side, as in the paper's stage 1 (Xiao, Wu, Wei, ECCV 2018; choice 13
# of docs/method.md).
KEYPOINT_BOX_MARGIN = 0.15
_PIXEL_CENTRE = 0.5  # COCO's files count keypoints, but not boxes, from the centre of pixel 0 (tkm.geometry)


@dataclass(frozen=True)
class LabelledImage:
    """A picture and the people in it. Coordinates as everywhere in tkm: pixel 0 spans [0, 1).

    image_uri        its picture, or the video that it is a frame of: a path or URL
    frame            number of the frame in that video; None for a picture
    truth            address of the annotation file that tells of it
    video            the sequence that it is of, as that file calls it
    name             what that file calls the picture
    skeleton         names and order of the K keypoints
    box_xyxy_px      (P, 4) float32, each with an area; not cut at the picture's edges
    xy_px            (P, K, 2) float32; NaN where a keypoint is not annotated
    visibility       (P, K) int8: 0 not annotated, 1 hidden, 2 seen
    track_id         (P,) int64, the same person in the same video; -1 where the file gives none
    is_crowd         (P,) bool, a group of people whom COCO does not tell apart
    ignore_regions   polygons (N, 2) float64 in which people may stand that nobody annotated
    """

    image_uri: str
    frame: int | None
    truth: str
    video: str
    name: str
    skeleton: Skeleton
    box_xyxy_px: Float
    xy_px: Float
    visibility: NDArray[np.int8]
    track_id: Int
    is_crowd: Bool
    ignore_regions: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        P, K = len(self.box_xyxy_px), len(self.skeleton.keypoints)
        check(self, "box_xyxy_px", (P, 4), np.float32)
        check(self, "xy_px", (P, K, 2), np.float32)
        check(self, "visibility", (P, K), np.int8)
        check(self, "track_id", (P,), np.int64)
        check(self, "is_crowd", (P,), np.bool_)
        if not (self.box_xyxy_px[:, 2:] > self.box_xyxy_px[:, :2]).all():
            raise ValueError("LabelledImage.box_xyxy_px must hold boxes with an area, x0 < x1 and y0 < y1")
        if (np.isnan(self.xy_px).any(axis=2) != (self.visibility == 0)).any():
            raise ValueError("LabelledImage.xy_px must be NaN where visibility is 0, and nowhere else")

    def __len__(self) -> int:
        return len(self.box_xyxy_px)


def read_labelled(truth: str, images: str | None) -> list[LabelledImage]:
    """The labelled images of annotation files, in the order of the files and of their frames.

    People are those with a box: the file's, or, where it has none with an area, as for everybody in PoseTrack 2017, that around
    the keypoints, enlarged by KEYPOINT_BOX_MARGIN. Frames in which nobody was looked for (`is_labeled`) are left out; those in
    which nobody was found are there, with nobody.

    Args:
        truth: COCO's person_keypoints JSON, or PoseTrack's of 2017 or 2018, which `tkm synthesize` writes too: a file, a folder
            or a glob, here or on S3.
        images: the folder that the pictures lie below, or videos that are called as the sequences; None for the folders
            images/ and videos/ beside the folder annotations*/ that a file lies in.
    Raises: InputError, which names the file, where one is no such file, pictures are missing, files have different skeletons, or
        nobody is in any of them. OSError where something cannot be read.
    """
    given = None if images is None else find_pictures(images)
    beside: dict[str, Pictures] = {}
    labelled: list[LabelledImage] = []
    for uri in find_documents(truth, (".json",)):
        sequences, is_coco = _read(uri)
        folder = uri.rpartition("/")[0]
        if given is None and folder not in beside:
            beside[folder] = find_pictures_beside(uri)
        for sequence in sequences:
            labelled += _labelled(sequence, given or beside[folder], uri, is_coco)
    _check_together(labelled, truth)
    return labelled


def read_image(one: LabelledImage) -> Image:
    """(H, W, 3) uint8 RGB, upright. A video's frame comes from a copy on this machine (storage.frame_cache).

    Raises InputError, which names picture and annotation file, where it is not there or cannot be decoded; OSError where it may
    be read later.
    """
    try:
        if one.frame is not None:
            return read_frame(one.image_uri, one.frame)
        return read_picture(*open_address(one.image_uri), one.image_uri)
    except FileNotFoundError:
        raise InputError(f"{one.image_uri}: there is no such file, but {one.truth} tells of it") from None
    except (VideoError, ValueError) as error:
        raise InputError(f"{error} ({one.truth} tells of it)") from None


def data_digest(images: Sequence[LabelledImage]) -> str:
    """SHA-256 of what the annotations say and of the pictures' names in them, in order; not of pixels, nor of where files lie."""
    digest = hashlib.sha256()
    for one in images:
        text = f"{one.video}\0{one.name}\0{one.frame}\0{one.skeleton.name}\0{len(one)}\0{len(one.ignore_regions)}\0"
        digest.update(text.encode())
        for array in (one.box_xyxy_px, one.xy_px, one.visibility, one.track_id, one.is_crowd):
            digest.update(array.tobytes())
        for polygon in one.ignore_regions:
            digest.update(f"{len(polygon)}\0".encode() + polygon.tobytes())
    return digest.hexdigest()


def hold_out(images: Sequence[LabelledImage], share: float, seed: int) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Images to train on and images to validate on, in order: a share of the videos is held out, or of the pictures of only one.

    Which ones is decided by seed and name: more data move none from one side to the other. Frames of a video stay together: they
    are too alike to tell how well something does on others.

    Raises: ValueError where the share leaves nobody on either side.
    """
    by_video = len({one.video for one in images}) > 1
    sides: tuple[list[LabelledImage], list[LabelledImage]] = ([], [])
    for one in images:
        drawn = hashlib.sha256(f"{seed}\0{one.video if by_video else one.name}".encode()).digest()
        sides[int.from_bytes(drawn[:8]) < share * 2**64].append(one)
    for side, what in zip(sides, ("to train on", "held out"), strict=True):
        if not any(len(one) for one in side):
            raise ValueError(f"a share of {share:g} leaves nobody {what}: choose another, or give data to validate on")
    return sides


def _read(uri: str) -> tuple[tuple[Annotated, ...], bool]:
    """The sequences of an annotation file, and whether its keypoints count from pixel centres."""
    try:
        document = files.parse_json(read_document(uri), stem(uri))
        return files.read_document(document, stem(uri)), files.format_of(document, stem(uri)) == "coco"
    except DatasetError as error:
        raise InputError(f"{uri}: {error}") from None


def _labelled(sequence: Annotated, pictures: Pictures, truth: str, is_coco: bool) -> Iterator[LabelledImage]:
    if not len(sequence):
        return
    addresses = addresses_of(sequence, pictures, truth)
    people = sequence.people
    box_xyxy_px, has_box = boxes_of(people)
    is_given: Bool = ~np.isnan(people.xy_px.sum(axis=2))
    xy_px = np.where(is_given[..., None], people.xy_px + _PIXEL_CENTRE * is_coco, np.nan).astype(np.float32)
    visibility = visibility_of(people, is_given)
    first = np.searchsorted(people.frame, np.arange(len(sequence) + 1))
    for t in np.flatnonzero(sequence.is_labeled).tolist():
        rows = np.arange(first[t], first[t + 1])[has_box[first[t] : first[t + 1]]]
        yield LabelledImage(
            *addresses[t],
            truth=truth,
            video=sequence.name,
            name=sequence.frame_names[t],
            skeleton=sequence.skeleton,
            box_xyxy_px=box_xyxy_px[rows],
            xy_px=xy_px[rows],
            visibility=visibility[rows],
            track_id=people.track_id[rows],
            is_crowd=people.is_crowd[rows],
            ignore_regions=tuple(polygon for polygon in sequence.ignore_regions[t] if len(polygon) > 2),
        )


def boxes_of(people: People) -> tuple[Float, Bool]:
    """(P, 4) float32 boxes, of the file or around the keypoints, and (P,) who has one with an area."""
    given = ~np.isnan(people.xy_px)
    low = np.where(given, people.xy_px, np.inf).min(axis=1)
    high = np.where(given, people.xy_px, -np.inf).max(axis=1)
    margin = np.where(high > low, high - low, 0) * (KEYPOINT_BOX_MARGIN / 2)
    around = np.concatenate([low - margin, high + margin], axis=1)
    box_xyxy_px = np.where(_has_area(people.box_xyxy_px)[:, None], people.box_xyxy_px, around).astype(np.float32)
    return box_xyxy_px, _has_area(box_xyxy_px) & np.isfinite(box_xyxy_px).all(axis=1)


def _has_area(box_xyxy_px: Double | Float) -> Bool:
    return np.asarray((box_xyxy_px[:, 2:] > box_xyxy_px[:, :2]).all(axis=1))


def visibility_of(people: People, is_given: Bool) -> NDArray[np.int8]:
    """(P, K) int8 as LabelledImage has it. PoseTrack's own files tell hidden from seen by 0 and 1, COCO's and ours by 1 and 2.

    A file without a 2 is of the first kind; a keypoint that is given without a word on it counts as seen.
    """
    told = people.visibility
    shown = told + 1 if told.max(initial=0) < 2 else np.maximum(told, 1)
    return np.where(is_given, np.where(told < 0, 2, shown), 0).astype(np.int8)


def _check_together(labelled: Sequence[LabelledImage], truth: str) -> None:
    if not any(len(one) for one in labelled):
        raise InputError(f"{truth}: there is nobody in it with a box or keypoints: nothing can be learnt from it")
    other = next((one for one in labelled if one.skeleton is not labelled[0].skeleton), None)
    if other is not None:
        first = labelled[0]
        raise InputError(
            f"{truth}: the people of {first.truth} have the keypoints of {first.skeleton.name}, those of {other.truth} of "
            f"{other.skeleton.name}: give files of one skeleton"
        )
