"""What the files of COCO's form share, PoseTrack's of 2018 among them: a list of images, and a list of people in them.

Shape legend: N images, P people, K keypoints, F keypoints in the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tkm.datasets.boxes import xywh_to_xyxy
from tkm.datasets.columns import Double, Entries, list_of, shown
from tkm.datasets.errors import DatasetError
from tkm.datasets.sequence import People, Polygon, Sequence
from tkm.skeleton import SKELETONS, Skeleton
from tkm.types import Int

HEAD_BOTTOM = "head_bottom"  # what PoseTrack's files of 2018 call the neck
_TKM_NAMES = {HEAD_BOTTOM: "neck"}


@dataclass(frozen=True)
class Layout:
    """Which keypoints a file's lists of numbers hold.

    skeleton   what they are read as
    slot       (K,) int64, place in the file of each of the skeleton's keypoints
    names      F names, in the order of the file
    """

    skeleton: Skeleton
    slot: Int
    names: tuple[str, ...]

    @classmethod
    def of(cls, category: dict[str, Any], where: str) -> Layout:
        """The layout that a category's `keypoints` tell, by name; further names are left unread."""
        names = category.get("keypoints")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
            raise DatasetError(f"{where}.keypoints must be a list of different names, not {shown(names)}")
        place = {_TKM_NAMES.get(name, name): slot for slot, name in enumerate(names)}
        for skeleton in SKELETONS:
            if place.keys() >= set(skeleton.keypoints):
                return cls(skeleton, np.array([place[name] for name in skeleton.keypoints], np.int64), tuple(names))
        known = "; ".join(f"{skeleton.name}: {', '.join(skeleton.keypoints)}" for skeleton in SKELETONS)
        raise DatasetError(f"{where}.keypoints must hold all the names of a known skeleton ({known}), not {', '.join(names)}")

    def write(self, xy_px: Double, third: Double, is_given: NDArray[np.bool_]) -> list[list[float]]:
        """P lists of 3F numbers: x, y and the third where given, zeros elsewhere.

        Args: xy_px (P, K, 2), third (P, K), is_given (P, K) bool.
        """
        table = np.zeros((len(xy_px), len(self.names), 3))
        table[:, self.slot] = np.where(is_given[..., None], np.concatenate([xy_px, third[..., None]], axis=2), 0)
        rows: list[list[float]] = table.reshape(len(xy_px), 3 * len(self.names)).tolist()
        return rows


def person_category(document: Any, name: str) -> tuple[int | None, Layout]:
    """Number (None: not told) and layout of the category of people: the one called person, else the only one with keypoints."""
    categories = Entries.of(document, "categories", name)
    persons = [n for n, category in enumerate(categories.objects) if category.get("name") == "person"]
    posed = [n for n, category in enumerate(categories.objects) if "keypoints" in category]
    if len(found := persons or posed) != 1:
        raise DatasetError(f"{name}: categories must hold one called 'person', or one with keypoints, not {len(found)}")
    n = found[0]
    category_id = int(categories.take([n]).integers("id", -1)[0])
    return (None if category_id < 0 else category_id), Layout.of(categories.objects[n], categories.where[n])


def natural_key(file_name: str) -> tuple[str | tuple[int, str], ...]:
    """For sorting names as people count: frame 9 before frame 10. Names of equal numbers go by their letters."""
    parts = re.split(r"([0-9]+)", file_name)
    # Of two numbers the longer is larger; and a name may be one that is too long for an int.
    digits = [part.lstrip("0") for part in parts[1::2]]
    parts[1::2] = digits
    return (*((len(part), part) if place % 2 else part for place, part in enumerate(parts)), file_name)


def folder_of(file_name: str) -> str:
    """The folder in a picture's name; '' where it names none."""
    return file_name.replace("\\", "/").rpartition("/")[0]


def by_video(images: Entries, name: str) -> dict[str, list[int]]:
    """Numbers of the images of each video, in the order of the file, by the video's name.

    Images of one folder and one `vid_id` or `video_id` are one video, called as the folder; those without either make one that
    is called `name`. Folders of the same name, of a training and a validation set, say, go by their whole paths.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for n, (image, file_name) in enumerate(zip(images.objects, images.texts("file_name"), strict=True)):
        video = image.get("vid_id", image.get("video_id"))
        found.setdefault((folder_of(file_name), "" if video is None else str(video)), []).append(n)
    short = [folder.rpartition("/")[2] or video or name for folder, video in found]
    whole = ["/".join(part for part in key if part) or name for key in found]
    names = [path if short.count(brief) > 1 else brief for brief, path in zip(short, whole, strict=True)]
    return dict(zip(names, found.values(), strict=True))


def xy_of(triples: Double, is_given: NDArray[np.bool_]) -> tuple[Double, NDArray[np.int8]]:
    """Positions, NaN where not given, and visibility, of (P, K, 3) numbers of a file.

    A third number that is no 0, 1 or 2 is the score that some tools put there, and counts as 1.
    """
    third = triples[..., 2]
    visibility = np.where(np.isin(third, (0, 1, 2)), third, 1).astype(np.int8)
    return np.where(is_given[..., None], triples[..., :2], np.nan), visibility


def read_people(annotations: Entries, layout: Layout, hidden_counts: bool) -> People:
    """People as the annotations list them, all of frame 0: who is in which frame is for the caller to say.

    Args:
        annotations: P entries.
        layout: of their keypoints.
        hidden_counts: a keypoint of visibility 0 is given unless x = y = 0, as in PoseTrack; else it never is, as in COCO.
    Raises: DatasetError for a field that is missing or does not fit.
    """
    P, F = len(annotations), len(layout.names)
    triples = annotations.rows("keypoints", 3 * F).reshape(P, F, 3)[:, layout.slot]
    is_given = (triples != 0).any(axis=2) if hidden_counts else triples[..., 2] != 0
    xy_px, visibility = xy_of(triples, is_given)
    return People(
        frame=np.zeros(P, np.int64),
        track_id=annotations.integers("track_id", -1),
        score=annotations.numbers("score", np.nan),
        box_xyxy_px=xywh_to_xyxy(annotations.rows("bbox", 4, np.nan)),
        head_xyxy_px=xywh_to_xyxy(annotations.rows("bbox_head", 4, np.nan)),
        area_px2=annotations.numbers("area", np.nan),
        is_crowd=annotations.booleans("iscrowd", False),
        xy_px=xy_px,
        keypoint_score=annotations.rows("scores", F, np.nan)[:, layout.slot],
        visibility=visibility,
    )


def read_sequences(
    images: Entries, groups: dict[str, list[int]], annotations: Entries, people: People, skeleton: Skeleton
) -> tuple[Sequence, ...]:
    """Sequences of images and of the people in them.

    Args:
        images: N entries.
        groups: by name of the sequence, the numbers of its images in the order of its frames; each image is in one.
        annotations: P entries, whose `image_id` says where each of the people is.
        people: P rows beside them.
        skeleton: theirs.
    Raises: DatasetError for two images of one id, a person in an unknown image, or a field that does not fit.
    """
    image_id, file_names = images.integers("id"), images.texts("file_name")
    place = _image_places(images, image_id)
    is_labeled = images.booleans("is_labeled", True)
    size_px = np.stack([images.integers("width", 0), images.integers("height", 0)], axis=1)
    group, frame = np.zeros(len(images), np.int64), np.zeros(len(images), np.int64)
    for g, members in enumerate(groups.values()):
        group[members], frame[members] = g, np.arange(len(members))
    image = np.array([place.get(number, -1) for number in annotations.integers("image_id").tolist()], np.int64)
    if (image < 0).any():
        annotations.refuse(int(np.argmax(image < 0)), "image_id", "the id of one of the images")
    rows = np.lexsort((frame[image], group[image]))
    bounds = np.searchsorted(group[image][rows], np.arange(len(groups) + 1))
    sequences = []
    for g, (name, members) in enumerate(groups.items()):
        mine = rows[bounds[g] : bounds[g + 1]]
        sequences.append(
            Sequence(
                name=name,
                skeleton=skeleton,
                frame_names=tuple(file_names[n] for n in members),
                image_id=image_id[members],
                is_labeled=is_labeled[members],
                size_px=size_px[members],
                ignore_regions=tuple(_ignore_regions(images, n) for n in members),
                people=take_people(people, mine, frame[image[mine]]),
            )
        )
    return tuple(sequences)


def take_people(people: People, rows: Int, frame: Int) -> People:
    """Some of the people, put into these frames."""
    columns = {field: getattr(people, field)[rows] for field in People.__dataclass_fields__ if field != "frame"}
    return People(frame=frame, **columns)


def _image_places(images: Entries, image_id: Int) -> dict[int, int]:
    place: dict[int, int] = {}
    for n, number in enumerate(image_id.tolist()):
        if place.setdefault(number, n) != n:
            images.refuse(n, "id", f"another number than that of {images.where[place[number]]}")
    return place


def _ignore_regions(images: Entries, n: int) -> tuple[Polygon, ...]:
    """The polygons of an image: lists of lists of x and of y, or one polygon without the outer list, as some files have it."""
    entry = images.objects[n]
    fields = ("ignore_regions_x", "ignore_regions_y")
    if all(entry.get(field) is None for field in fields):
        return ()
    x_px, y_px = (list_of(entry, field, images.where[n]) for field in fields)
    if x_px and y_px and not isinstance(x_px[0], list) and not isinstance(y_px[0], list):
        x_px, y_px = [x_px], [y_px]
    if len(x_px) != len(y_px):
        images.refuse(n, fields[1], f"as many polygons as ignore_regions_x, {len(x_px)}")
    polygons = Entries(
        [dict(zip(fields, polygon, strict=True)) for polygon in zip(x_px, y_px, strict=True)],
        [f"{images.where[n]} polygon[{p}]" for p in range(len(x_px))],
    )
    return tuple(_polygon(polygons, p, *fields) for p in range(len(polygons)))


def _polygon(polygons: Entries, p: int, x: str, y: str) -> Polygon:
    entry = polygons.take([p])
    corners = entry.objects[0][x]
    if not isinstance(corners, list):
        entry.refuse(0, x, "a list of numbers")
    if not corners and entry.objects[0][y] == []:
        return np.empty((0, 2))
    return np.stack([entry.rows(x, len(corners))[0], entry.rows(y, len(corners))[0]], axis=1)


def list_images(document: Any, name: str) -> tuple[Entries, Entries]:
    """The images and the annotations of a document of COCO's form."""
    return Entries.of(document, "images", name), Entries.of(document, "annotations", name)


def optional(field: str, values: NDArray[np.generic]) -> dict[str, Any]:
    """A field of an entry to write, left out where its values are not given; exact Python numbers, no NaN."""
    return {} if np.isnan(values).any() else {field: values.tolist()}
