"""COCO's results lists, boxes or poses that somebody found in images: given detections.

A results file says nothing of its images, so whoever reads one says which frames they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tkm.datasets.boxes import xywh_to_xyxy
from tkm.datasets.coco_form import Layout, take_people, xy_of
from tkm.datasets.columns import Double, Entries
from tkm.datasets.errors import DatasetError
from tkm.datasets.posetrack18 import KEYPOINTS
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import COCO_17

PERSON = 1  # COCO's category_id
COCO = Layout.of({"keypoints": list(COCO_17.keypoints)}, "COCO")
POSETRACK = Layout.of({"keypoints": list(KEYPOINTS)}, "PoseTrack 2018")


def results_to_sequences(
    document: Any,
    frames: Mapping[int, tuple[str, int]],
    lengths: Mapping[str, int],
    name: str,
    layout: Layout = COCO,
) -> tuple[Sequence, ...]:
    """One sequence a name of `lengths`, in that order, with the people that a results file lists; no keypoints for bare boxes.

    Entries of other categories than COCO's person are left out. The third number of a keypoint is its score.

    Args:
        document: parsed JSON, a list of {image_id, category_id, bbox or keypoints, score}.
        frames: by image id, name of the sequence and number of the frame in it.
        lengths: frames of each sequence.
        name: of the file, for messages.
        layout: of the keypoints, COCO's or `POSETRACK`, as the annotations have them that the results are for.
    Raises: DatasetError for an image id that is not in `frames`, or a field that is missing or does not fit; ValueError where
        `frames` names a frame that `lengths` has not.
    """
    for number, (sequence_name, t) in frames.items():
        if not 0 <= t < lengths.get(sequence_name, 0):
            raise ValueError(f"frames[{number}] is frame {t} of {sequence_name!r}, which lengths does not have")
    if not isinstance(document, list):
        raise DatasetError(f"{name}: must be a list of results")
    results = Entries.of({"results": document}, "results", name)
    results = results.take(np.flatnonzero(results.integers("category_id", PERSON) == PERSON).tolist())
    places = [frames.get(number) for number in results.integers("image_id").tolist()]
    for n, place in enumerate(places):
        if place is None:
            results.refuse(n, "image_id", "the id of a known frame")
    people = _people(results, layout)
    rows: dict[str, list[int]] = {sequence_name: [] for sequence_name in lengths}
    frame = np.zeros(len(results), np.int64)
    for n, place in enumerate(places):
        if place is not None:
            rows[place[0]].append(n)
            frame[n] = place[1]
    image_id = {sequence_name: np.full(T, -1, np.int64) for sequence_name, T in lengths.items()}
    for number, (sequence_name, t) in frames.items():
        image_id[sequence_name][t] = number
    return tuple(
        Sequence(
            name=sequence_name,
            skeleton=layout.skeleton,
            frame_names=tuple(f"{t:06d}" for t in range(T)),
            image_id=image_id[sequence_name],
            is_labeled=np.ones(T, np.bool_),
            size_px=np.zeros((T, 2), np.int64),
            ignore_regions=((),) * T,
            people=_in_order(people, np.array(rows[sequence_name], np.int64), frame),
        )
        for sequence_name, T in lengths.items()
    )


def _in_order(people: People, rows: np.ndarray, frame: np.ndarray) -> People:
    rows = rows[np.argsort(frame[rows], kind="stable")]
    return take_people(people, rows, frame[rows])


def _people(results: Entries, layout: Layout) -> People:
    P, K, F = len(results), len(layout.skeleton.keypoints), len(layout.names)
    for n, entry in enumerate(results.objects):
        if entry.get("bbox") is None and entry.get("keypoints") is None:
            results.refuse(n, "bbox", "a list of 4 finite numbers, or keypoints in its place,")
    triples: Double = results.rows("keypoints", 3 * F, 0.0).reshape(P, F, 3)[:, layout.slot]
    is_given = (triples != 0).any(axis=2)
    xy_px, _ = xy_of(triples, is_given)
    return People(
        frame=np.zeros(P, np.int64),
        track_id=results.integers("track_id", -1),
        score=results.numbers("score"),
        box_xyxy_px=xywh_to_xyxy(results.rows("bbox", 4, np.nan)),
        head_xyxy_px=np.full((P, 4), np.nan),
        area_px2=np.full(P, np.nan),
        is_crowd=np.zeros(P, np.bool_),
        xy_px=xy_px,
        keypoint_score=np.where(is_given, triples[..., 2], np.nan),
        visibility=np.full((P, K), -1, np.int8),
    )
