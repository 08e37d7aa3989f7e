"""PoseTrack's files of 2018, in COCO's form: one sequence a file, truth or predictions.

Frames are the entries of `images` in the order of the file: so does the official evaluator (leonid-pishchulin/poseval), which
compares the n-th frame of the truth with the n-th predicted.

Shape legend: T frames, P people, K keypoints.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tkm.datasets.boxes import xyxy_to_xywh
from tkm.datasets.coco_form import (
    HEAD_BOTTOM,
    Layout,
    by_video,
    list_images,
    optional,
    person_category,
    read_people,
    read_sequences,
)
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import FIRST_OTHER, image_ids
from tkm.datasets.sequence import People, Polygon, Sequence
from tkm.skeleton import POSETRACK_15
from tkm.types import Int

KEYPOINTS = (
    "nose", HEAD_BOTTOM, "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
MAX_TRACK_ID = 9_999  # the evaluator refuses more


def read(document: Any, name: str) -> Sequence:
    """The sequence of a file: POSETRACK_15 for PoseTrack's names of keypoints, COCO_17 for COCO's.

    Args: document, parsed JSON; name, of the sequence, and of the file in messages.
    Raises: DatasetError where something is missing or does not fit, or the images lie in several folders.
    """
    images, _ = list_images(document, name)
    videos = by_video(images, name)
    if len(videos) > 1:
        raise DatasetError(f"{name}: images must be of one folder and one vid_id, not of {len(videos)}: {', '.join(videos)}")
    return _read(document, name, {name: list(range(len(images)))})[0]


def read_videos(document: Any, name: str) -> tuple[Sequence, ...]:
    """The sequences of a file that holds several, each called as its folder; else as `read`."""
    images, _ = list_images(document, name)
    return _read(document, name, by_video(images, name))


def _read(document: Any, name: str, groups: dict[str, list[int]]) -> tuple[Sequence, ...]:
    images, annotations = list_images(document, name)
    _, layout = person_category(document, name)
    people = read_people(annotations, layout, hidden_counts=True)
    return read_sequences(images, groups, annotations, people, layout.skeleton)


def write(sequence: Sequence, first_image_id: int = FIRST_OTHER, number_untracked: bool = False) -> dict[str, Any]:
    """A document that `read` gives the same sequence for, and that the official evaluator reads.

    The evaluator wants POSETRACK_15, pictures called by their number in a folder called as PoseTrack's are
    ('images/val/000002_bonn_test/000000.jpg'), and a track id a person; other sequences are written too, for other readers.

    Args:
        sequence: where it has no numbers for its frames, they get PoseTrack's by its name.
        first_image_id: number of its first frame where it gets none so; see `ids.first_image_ids`.
        number_untracked: people without a track id get one that is free in their frame, as the evaluator wants; else none.
    Raises: DatasetError for a track id above 9,999, or twice in a frame.
    """
    check_track_ids(sequence)
    names = KEYPOINTS if sequence.skeleton is POSETRACK_15 else sequence.skeleton.keypoints
    category = {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(names), "skeleton": []}
    layout = Layout.of(category, sequence.name)
    image_id = image_ids(sequence, first_image_id)
    return {
        "categories": [category],
        "images": [_image(sequence, t, int(image_id[t])) for t in range(len(sequence))],
        "annotations": _annotations(sequence.people, image_id.tolist(), layout, number_untracked),
    }


def check_track_ids(sequence: Sequence) -> None:
    """Raise DatasetError for track ids that the evaluator refuses: above 9,999, or twice in a frame."""
    people = sequence.people
    tracked = people.track_id >= 0
    pairs = np.stack([people.frame, people.track_id], axis=1)[tracked]
    if len(pairs) and pairs[:, 1].max() > MAX_TRACK_ID:
        raise DatasetError(f"{sequence.name}: track_id {pairs[:, 1].max()} must be at most {MAX_TRACK_ID} in PoseTrack's files")
    different, times = np.unique(pairs, axis=0, return_counts=True)
    if (times > 1).any():
        frame, track_id = different[np.argmax(times > 1)]
        raise DatasetError(f"{sequence.name}: track_id {track_id} stands twice in frame {frame}: PoseTrack's files have it once")


def _image(sequence: Sequence, t: int, image_id: int) -> dict[str, Any]:
    width_px, height_px = sequence.size_px[t].tolist()
    video = sequence.name.split("_")[0]
    return {
        "has_no_densepose": True,
        "is_labeled": bool(sequence.is_labeled[t]),
        "file_name": sequence.frame_names[t],
        "nframes": len(sequence),
        "frame_id": image_id,
        "id": image_id,
        "vid_id": video if video.isdigit() else sequence.name,
        **_polygons(sequence.ignore_regions[t]),
        **({"width": width_px} if width_px else {}),
        **({"height": height_px} if height_px else {}),
    }


def _polygons(polygons: tuple[Polygon, ...]) -> dict[str, list[list[float]]]:
    return {f"ignore_regions_{axis}": [polygon[:, n].tolist() for polygon in polygons] for n, axis in enumerate("xy")}


def _annotations(people: People, image_id: list[int], layout: Layout, number_untracked: bool) -> list[dict[str, Any]]:
    given = ~np.isnan(people.xy_px.sum(axis=2))
    # A point at the very corner needs a mark that it is given.
    unmarked = (people.visibility < 0) | ((people.visibility == 0) & (people.xy_px == 0).all(axis=2))
    keypoints = layout.write(people.xy_px, np.where(unmarked, 1.0, people.visibility), given)
    has_scores = np.isfinite(people.keypoint_score).sum(axis=1) > 0
    scores = np.zeros((len(people), len(layout.names)))
    scores[:, layout.slot] = np.nan_to_num(people.keypoint_score)
    box_xywh_px, head_xywh_px = xyxy_to_xywh(people.box_xyxy_px), xyxy_to_xywh(people.head_xyxy_px)
    track_id = _numbered(people) if number_untracked else people.track_id
    in_frame = np.arange(len(people)) - np.searchsorted(people.frame, people.frame)
    # PoseTrack counts a hundred people an image; a crowd beyond needs numbers of its own.
    step = 100 if in_frame.max(initial=0) < 100 else 10 ** len(str(in_frame.max()))
    return [
        {
            "id": image_id[t] * step + n,
            "image_id": image_id[t],
            "category_id": 1,
            "keypoints": keypoints[p],
            "scores": scores[p].tolist() if has_scores[p] else [],
            **({"track_id": int(track_id[p])} if track_id[p] >= 0 else {}),
            **optional("bbox", box_xywh_px[p]),
            **optional("bbox_head", head_xywh_px[p]),
            **optional("score", people.score[p]),
            **optional("area", people.area_px2[p]),
            **({"iscrowd": True} if people.is_crowd[p] else {}),
        }
        for p, (t, n) in enumerate(zip(people.frame.tolist(), in_frame.tolist(), strict=True))
    ]


def _numbered(people: People) -> Int:
    """(P,) int64 track ids, the untracked with the lowest that are free in their frame."""
    track_id = people.track_id.copy()
    for frame in np.unique(people.frame[track_id < 0]):
        mine = people.frame == frame
        free = np.setdiff1d(np.arange(mine.sum()), people.track_id[mine])
        nameless = np.flatnonzero(mine & (track_id < 0))
        track_id[nameless] = free[: len(nameless)]
    return track_id
