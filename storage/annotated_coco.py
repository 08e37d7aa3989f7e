"""What identifies people in COCO's and PoseTrack 2018's files, in keys that their readers leave alone, and reading them back.

An image that was exported has `tkm`: video, run, skeleton and frame; a person in it has `tkm`: frame, detection, track, box, and,
where the file's keypoints are others than the run's, the run's own.

Shape legend: P people in frames, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.handed_out import MAX_FRAME, NEW_TRACK, AnnotatedVideo, HandedOut, Left, annotated_video
from storage.sources import InputError
from tkm.datasets.boxes import xywh_to_xyxy, xyxy_to_xywh
from tkm.datasets.coco_form import HEAD_BOTTOM, Layout, list_images, person_category, read_people
from tkm.datasets.columns import Double, Entries
from tkm.datasets.errors import DatasetError
from tkm.datasets.files import format_of
from tkm.skeleton import Skeleton, convert, skeleton_of
from tkm.types import Float

KEY = "tkm"
MOVED_PX = 0.5  # from where a box, or a keypoint that the run has not, counts as changed


def mark(document: dict[str, Any], given: Sequence[HandedOut], skeleton: Skeleton) -> None:
    """Put what identifies frames and people into a document of one or more videos, in the order of its images and annotations.

    Args: given, the videos in the document's order; skeleton, of the document.
    """
    images, annotations = iter(document["images"]), iter(document["annotations"])
    for one in given:
        exported = set(one.frames.tolist())
        for frame in range(len(one.pictures)):
            image = next(images)
            if frame in exported:
                image[KEY] = {"video": one.video, "run": one.run, "skeleton": one.skeleton.name, "frame": frame}
        for row in range(len(one)):
            next(annotations)[KEY] = _person(one, row, skeleton)


def _person(given: HandedOut, row: int, skeleton: Skeleton) -> dict[str, Any]:
    told = {
        "frame": int(given.frame[row]),
        "detection": int(given.detection[row]),
        "track": int(given.track_id[row]),
        "bbox": xyxy_to_xywh(given.box_xyxy_px[row].astype(np.float64)[None])[0].tolist(),
    }
    if skeleton is given.skeleton:
        return told
    xy_px = given.xy_px[row].astype(np.float64)
    return {**told, "keypoints": [None if np.isnan(place).any() else place.tolist() for place in xy_px]}


@dataclass(frozen=True)
class _Frame:
    video: str
    run: str
    skeleton: Skeleton
    frame: int


def read(document: Any, uri: str) -> list[AnnotatedVideo]:
    """What people left of the people of a document of `mark`.

    Frames whose image is gone count as not looked at. Raises: InputError, which names file and entry.
    """
    try:
        return _read(document, uri)
    except DatasetError as error:
        raise InputError(str(error)) from None


def _read(document: Any, uri: str) -> list[AnnotatedVideo]:
    images, annotations = list_images(document, uri)
    category, layout = person_category(document, uri)
    if category is not None:
        of_people = np.flatnonzero(annotations.integers("category_id", category) == category)
        annotations = annotations.take(of_people.tolist())
    frames = _frames(images, uri)
    people = read_people(annotations, layout, hidden_counts=format_of(document, uri) == "posetrack18")
    left: dict[tuple[str, str], list[Left]] = {}
    ignored: dict[tuple[str, str], list[str]] = {}
    for n, image_id in enumerate(annotations.integers("image_id").tolist()):
        if image_id not in frames:
            annotations.refuse(n, "image_id", "the id of one of the images")
        frame = frames[image_id]
        if frame is None:
            continue  # of frames that were not exported nothing comes back
        own = ignored.setdefault((frame.video, frame.run), [])
        told = annotations.objects[n].get(KEY)
        here = f"{frame.video}, frame {frame.frame}"
        if told is None:
            own.append(f"{here}: a person was added by hand ({annotations.where[n].rpartition(': ')[2]})")
            continue
        fields = Entries.of({KEY: [told]}, KEY, annotations.where[n])
        if int(fields.integers("frame")[0]) != frame.frame:
            own.append(f"{here}: a person was moved or copied here from another frame")
            continue
        track = int(people.track_id[n]) if people.track_id[n] >= 0 else int(fields.integers("track")[0])
        if not 0 <= track < NEW_TRACK:
            annotations.refuse(n, "track_id", "the number of a track, 0 or more")
        box = xywh_to_xyxy(fields.rows("bbox", 4))
        if (np.abs(people.box_xyxy_px[n] - box[0]) > MOVED_PX).any():
            own.append(f"{here}: the box of track {track} was changed, which results are not corrected by")
        xy_px = _keypoints(people.xy_px[n], layout, fields, frame.skeleton, f"{here}, track {track}", own)
        person = Left(frame.frame, int(fields.integers("detection")[0]), track, xy_px)
        left.setdefault((frame.video, frame.run), []).append(person)
    return _videos(frames, left, ignored)


def _videos(
    frames: dict[int, _Frame | None], left: dict[tuple[str, str], list[Left]], ignored: dict[tuple[str, str], list[str]]
) -> list[AnnotatedVideo]:
    videos: dict[tuple[str, str], list[_Frame]] = {}
    for frame in frames.values():
        if frame is not None:
            videos.setdefault((frame.video, frame.run), []).append(frame)
    return [
        annotated_video(
            *key,
            np.unique(np.array([frame.frame for frame in own], np.int64)),
            left.get(key, []),
            len(own[0].skeleton.keypoints),
            0.0,
            ignored.get(key, []),
        )
        for key, own in videos.items()
    ]


def _frames(images: Entries, uri: str) -> dict[int, _Frame | None]:
    """By number of the image, the frame that was exported; None for others. InputError where none was."""
    found: dict[int, _Frame | None] = {}
    for n, number in enumerate(images.integers("id").tolist()):
        if number in found:
            images.refuse(n, "id", "a number of its own")
        told = images.objects[n].get(KEY)
        found[number] = None if told is None else _frame(Entries.of({KEY: [told]}, KEY, images.where[n]))
    skeletons: dict[str, str] = {}
    for frame in filter(None, found.values()):
        if skeletons.setdefault(frame.video, frame.skeleton.name) != frame.skeleton.name:
            raise InputError(f"{uri}: images of {frame.video} tell of different skeletons; leave `{KEY}` as it was exported")
    if not any(found.values()):
        raise InputError(
            f"{uri}: no image in it has the key `{KEY}`, which tells video, run and frame: it is none of `tkm export`, or the "
            "program that changed it dropped the key; use one that keeps keys, or --format cvat"
        )
    return found


def _frame(told: Entries) -> _Frame:
    (video,), (run,), (name,) = (told.texts(field) for field in ("video", "run", "skeleton"))
    frame = int(told.integers("frame")[0])
    if not 0 <= frame < MAX_FRAME:
        told.refuse(0, "frame", f"a whole number below {MAX_FRAME}")
    try:
        return _Frame(video, run, skeleton_of(name), frame)
    except ValueError:
        told.refuse(0, "skeleton", "the name of a skeleton")


def _keypoints(xy_px: Double, layout: Layout, told: Entries, skeleton: Skeleton, here: str, ignored: list[str]) -> Float:
    """(K, 2) of the run's skeleton: those that the file has by name from the file, the others as they were exported."""
    if layout.skeleton is skeleton:
        with np.errstate(over="ignore"):  # what lies too far is refused, of all formats, by `annotated_video`
            return xy_px.astype(np.float32)
    K = len(skeleton.keypoints)
    given = told.objects[0].get("keypoints")
    if not isinstance(given, list) or len(given) != K:
        told.refuse(0, "keypoints", f"{K} places, as they were exported")
    places = Entries([{"place": place} for place in given], [f"{told.where[0]}.keypoints[{k}]" for k in range(K)])
    exported = places.rows("place", 2, np.nan)
    as_file, _ = convert(exported[None], np.ones((1, K)), skeleton, layout.skeleton)
    by_name = dict(zip(layout.skeleton.keypoints, xy_px, strict=True))
    for name, was in zip(layout.skeleton.keypoints, as_file[0], strict=True):
        was_there, is_there = not np.isnan(was).any(), not np.isnan(by_name[name]).any()
        moved = was_there != is_there or (is_there and np.linalg.norm(was - by_name[name]) > MOVED_PX)
        if name not in skeleton.keypoints and moved:
            ignored.append(f"{here}: {HEAD_BOTTOM if name == 'neck' else name} was changed, which the run's poses have not")
    whole = [by_name.get(name, was) for name, was in zip(skeleton.keypoints, exported, strict=True)]
    return np.array(whole, np.float32)
