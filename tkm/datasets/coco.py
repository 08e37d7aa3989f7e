"""COCO's keypoint files: truth, an object of images, annotations and categories, and results, a list.

Coordinates stay the file's own: COCO counts keypoints, unlike boxes, from pixel centres (`tkm.geometry`).

Shape legend: P people, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Any

import numpy as np

from tkm.datasets.boxes import xyxy_to_xywh
from tkm.datasets.coco_form import (
    Layout,
    by_video,
    list_images,
    natural_key,
    optional,
    person_category,
    read_people,
    read_sequences,
)
from tkm.datasets.columns import Double
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import first_image_ids, image_ids
from tkm.datasets.sequence import People, Sequence
from tkm.types import Int


def read(document: Any, name: str) -> tuple[Sequence, ...]:
    """The sequences of a truth file, frames in the natural order of their pictures' names.

    Images of one folder or of one `vid_id` or `video_id` are one sequence, called as their folder; images without either make
    one, called `name`. Only people are read; a keypoint of visibility 0 is not given.

    Args: document, parsed JSON; name, of the file.
    Raises: DatasetError where something is missing or does not fit.
    """
    images, annotations = list_images(document, name)
    category_id, layout = person_category(document, name)
    if category_id is not None:
        of_people = np.flatnonzero(annotations.integers("category_id", category_id) == category_id)
        annotations = annotations.take(of_people.tolist())
    people = read_people(annotations, layout, hidden_counts=False)
    file_names = images.texts("file_name")
    groups = {
        video: sorted(members, key=lambda n: natural_key(file_names[n])) for video, members in by_video(images, name).items()
    }
    return read_sequences(images, groups, annotations, people, layout.skeleton)


def write_dataset(sequences: Items[Sequence]) -> dict[str, Any]:
    """A truth file of the sequences, in their order, as pycocotools takes it.

    Frames without a number of their own get PoseTrack's, or one of `ids.first_image_ids`. COCO's measures need a box and an
    area a person: where none is given, the box is that around the keypoints, and the area is the box's. Scores of keypoints,
    for which COCO has no place, are `scores`, as in PoseTrack's files: 0 for what is not given.

    Raises: DatasetError for sequences of different skeletons, of one name, or whose frames share numbers.
    """
    layout = _common_layout(sequences)
    numbers = _image_ids(sequences)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sequence, image_id in zip(sequences, numbers, strict=True):
        images += [_image(sequence, t, image_id[t]) for t in range(len(sequence))]
        # From 1: pycocotools takes the number 0 for nobody.
        annotations += _annotations(sequence.people, image_id, layout, len(annotations) + 1)
    return {"images": images, "annotations": annotations, "categories": [_category(layout)]}


def write_results(sequences: Items[Sequence]) -> list[dict[str, Any]]:
    """A results file of the sequences, as pycocotools takes it: keypoints, or boxes where nobody has keypoints.

    Numbers of images as in `write_dataset`. The third number of a keypoint is its score, 1 where it has none. Where keypoints
    are written, people without any are left out: they would count as false positives.

    Raises: DatasetError as in `write_dataset`, and for people without a score, or a box where boxes are written.
    """
    layout = _common_layout(sequences)
    numbers = _image_ids(sequences)
    # pycocotools reads a list with both as boxes.
    posed = any(not np.isnan(sequence.people.xy_px).all() for sequence in sequences)
    results = []
    for sequence, image_id in zip(sequences, numbers, strict=True):
        people = sequence.people
        given = ~np.isnan(people.xy_px.sum(axis=2))
        rows = np.flatnonzero(given.sum(axis=1)) if posed else np.arange(len(people))
        _check_given(sequence.name, "score", people.score[:, None], rows)
        if posed:
            values = layout.write(people.xy_px, _or(people.keypoint_score, 1.0), given)
        else:
            _check_given(sequence.name, "box_xyxy_px", people.box_xyxy_px, rows)
            values = xyxy_to_xywh(people.box_xyxy_px).tolist()
        field = "keypoints" if posed else "bbox"
        results += [
            {"image_id": image_id[people.frame[p]], "category_id": 1, field: values[p], "score": float(people.score[p])}
            for p in rows.tolist()
        ]
    return results


def _common_layout(sequences: Items[Sequence]) -> Layout:
    skeletons = list(dict.fromkeys(sequence.skeleton for sequence in sequences))
    if len(skeletons) != 1:
        raise DatasetError(f"COCO's files hold one skeleton, not {', '.join(s.name for s in skeletons) or 'none'}")
    names = skeletons[0].keypoints
    return Layout(skeletons[0], np.arange(len(names)), names)


def _image_ids(sequences: Items[Sequence]) -> list[list[int]]:
    lengths = {sequence.name: len(sequence) for sequence in sequences}
    if len(lengths) < len(sequences):
        raise DatasetError(f"sequences of one file must have different names, not {', '.join(s.name for s in sequences)}")
    first = first_image_ids(lengths)
    numbers = [image_ids(sequence, first[sequence.name]).tolist() for sequence in sequences]
    owner: dict[int, str] = {}
    for sequence, mine in zip(sequences, numbers, strict=True):
        for number in mine:
            if number in owner:
                raise DatasetError(f"image_id {number} is in {owner[number]} and again in {sequence.name}: ids must differ")
            owner[number] = sequence.name
    return numbers


def _category(layout: Layout) -> dict[str, Any]:
    limbs = [[a + 1, b + 1] for a, b in layout.skeleton.limbs]
    return {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(layout.names), "skeleton": limbs}


def _image(sequence: Sequence, t: int, image_id: int) -> dict[str, Any]:
    width_px, height_px = sequence.size_px[t].tolist()
    return {"id": image_id, "file_name": sequence.frame_names[t], "width": width_px, "height": height_px}


def _annotations(people: People, image_id: list[int], layout: Layout, first: int) -> list[dict[str, Any]]:
    given = ~np.isnan(people.xy_px.sum(axis=2))
    # Only what is above 0 counts as given there.
    keypoints = layout.write(people.xy_px, np.where(people.visibility < 1, 1, people.visibility).astype(np.float64), given)
    box_xywh_px = xyxy_to_xywh(_or(people.box_xyxy_px, _around(people.xy_px)))
    area_px2 = _or(people.area_px2, box_xywh_px[:, 2] * box_xywh_px[:, 3])
    has_scores = np.isfinite(people.keypoint_score).sum(axis=1) > 0
    scores = np.nan_to_num(people.keypoint_score).tolist()
    return [
        {
            "id": first + p,
            "image_id": image_id[t],
            "category_id": 1,
            "iscrowd": int(people.is_crowd[p]),
            "keypoints": keypoints[p],
            "num_keypoints": int(given[p].sum()),
            "bbox": box_xywh_px[p].tolist(),
            "area": float(area_px2[p]),
            **({"track_id": int(people.track_id[p])} if people.track_id[p] >= 0 else {}),
            **optional("score", people.score[p]),
            **({"scores": scores[p]} if has_scores[p] else {}),
        }
        for p, t in enumerate(people.frame.tolist())
    ]


def _around(xy_px: Double) -> Double:
    """(P, 4) boxes around the keypoints that are given, zeros where none is."""
    given = ~np.isnan(xy_px)
    low = np.where(given, xy_px, np.inf).min(axis=1, initial=np.inf)
    high = np.where(given, xy_px, -np.inf).max(axis=1, initial=-np.inf)
    box = np.concatenate([low, high], axis=1)
    return np.where(np.isfinite(box), box, 0)


def _or(values: Double, other: Double | float) -> Double:
    return np.where(np.isnan(values), other, values)


def _check_given(name: str, field: str, values: Double, rows: Int) -> None:
    missing = rows[np.isnan(values[rows]).any(axis=1)]
    if len(missing):
        raise DatasetError(f"{name}: people.{field}[{missing[0]}] is not given, but COCO's results need it")
