"""PoseTrack's files of 2017, an annolist a sequence, truth or predictions.

Every scalar stands in a list of one element there; bare scalars are read too. Frames are the entries of `annolist` in the
order of the file, all of them, as the official evaluator (leonid-pishchulin/poseval) takes them.

Shape legend: T frames, P people, K keypoints.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tkm.datasets.coco_form import optional
from tkm.datasets.columns import Entries, shown
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import frame_numbers
from tkm.datasets.sequence import People, Polygon, Sequence
from tkm.skeleton import POSETRACK_15

K = len(POSETRACK_15.keypoints)
_HEAD = ("x1", "y1", "x2", "y2")


def read(document: Any, name: str) -> Sequence:
    """The sequence of a file, POSETRACK_15. The format has no boxes of whole people and no numbers of images.

    People with an empty list of points have visibility 0 throughout, as they would have in a file of 2018; people without a
    list have none. The evaluator tells the two apart.

    Args: document, parsed JSON; name, of the sequence, and of the file in messages.
    Raises: DatasetError where something is missing or does not fit.
    """
    frames = _bare(Entries.of(document, "annolist", name))
    pictures = _children(frames, "image", required=True)
    rects = [_children(frames.take([t]), "annorect") for t in range(len(frames))]
    regions = [_children(frames.take([t]), "ignore_regions") for t in range(len(frames))]
    if len(pictures) != len(frames):
        raise DatasetError(f"{name}: annolist[].image must be one picture a frame, not {len(pictures)} for {len(frames)} frames")
    return Sequence(
        name=name,
        skeleton=POSETRACK_15,
        frame_names=tuple(pictures.texts("name")),
        image_id=np.full(len(frames), -1, np.int64),
        is_labeled=frames.booleans("is_labeled", True),
        size_px=np.zeros((len(frames), 2), np.int64),
        ignore_regions=tuple(tuple(_polygon(region, n) for n in range(len(region))) for region in regions),
        people=_people(_joined(rects), np.repeat(np.arange(len(frames)), [len(rect) for rect in rects])),
    )


def write(sequence: Sequence) -> dict[str, Any]:
    """A document that `read` gives the same sequence for, but for what the format has no place for.

    Raises: DatasetError for another skeleton than POSETRACK_15: `tkm.skeleton.convert` makes it.
    """
    if sequence.skeleton is not POSETRACK_15:
        raise DatasetError(f"{sequence.name}: PoseTrack's files of 2017 hold posetrack_15, not {sequence.skeleton.name}")
    first = np.searchsorted(sequence.people.frame, np.arange(len(sequence) + 1)).tolist()
    return {
        "annolist": [
            {
                "image": [{"name": frame_name}],
                "imgnum": [number + 1],
                "is_labeled": [int(is_labeled)],
                "ignore_regions": [_region(polygon) for polygon in polygons],
                "annorect": [_rect(sequence.people, p) for p in range(first[t], first[t + 1])],
            }
            for t, (frame_name, number, is_labeled, polygons) in enumerate(
                zip(sequence.frame_names, frame_numbers(sequence), sequence.is_labeled, sequence.ignore_regions, strict=True)
            )
        ]
    }


def _bare(entries: Entries) -> Entries:
    """Entries whose lists of one scalar are that scalar, and whose empty lists are missing."""
    return Entries([{field: _scalar(value) for field, value in entry.items()} for entry in entries.objects], entries.where)


def _scalar(value: Any) -> Any:
    if isinstance(value, list) and len(value) <= 1 and not (value and isinstance(value[0], dict | list)):
        return value[0] if value else None
    return value


def _children(parents: Entries, field: str, required: bool = False) -> Entries:
    """The objects that parents hold under a field, one or a list of them, in order."""
    objects, where = [], []
    for n, parent in enumerate(parents.objects):
        value = parent.get(field)
        if value is None and required:
            parents.refuse(n, field, "an object or a list of objects")
        listed = [] if value is None else value if isinstance(value, list) else [value]
        for m, child in enumerate(listed):
            if not isinstance(child, dict):
                raise DatasetError(f"{parents.where[n]}.{field}[{m}] must be a JSON object, not {shown(child)}")
            objects.append(child)
            where.append(f"{parents.where[n]}.{field}[{m}]")
    return _bare(Entries(objects, where))


def _joined(parts: list[Entries]) -> Entries:
    return Entries([entry for part in parts for entry in part.objects], [where for part in parts for where in part.where])


def _polygon(regions: Entries, n: int) -> Polygon:
    points = _children(regions.take([n]), "point")
    return np.stack([points.numbers("x"), points.numbers("y")], axis=1)


def _people(rects: Entries, frame: np.ndarray) -> People:
    P = len(rects)
    lists = [_children(rects.take([p]), "annopoints") for p in range(P)]
    points = [_children(mine, "point") for mine in lists]
    person = np.repeat(np.arange(P), [len(mine) for mine in points])
    joined = _joined(points)
    keypoint = joined.integers("id")
    if ((keypoint < 0) | (keypoint >= K)).any():
        joined.refuse(int(np.argmax((keypoint < 0) | (keypoint >= K))), "id", f"the number of a keypoint, 0 to {K - 1}")
    # The evaluator takes the first point of a number.
    _, first = np.unique(person * K + keypoint, return_index=True)
    person, keypoint = person[first], keypoint[first]
    xy_px, keypoint_score = np.full((P, K, 2), np.nan), np.full((P, K), np.nan)
    visibility = np.full((P, K), -1, np.int8)
    visibility[[p for p in range(P) if not len(points[p]) and any("point" in one for one in lists[p].objects)]] = 0
    xy_px[person, keypoint] = np.stack([joined.numbers("x"), joined.numbers("y")], axis=1)[first]
    keypoint_score[person, keypoint] = joined.numbers("score", np.nan)[first]
    visibility[person, keypoint] = joined.integers("is_visible", -1)[first].clip(-1, 2)
    return People(
        frame=frame,
        track_id=rects.integers("track_id", -1),
        score=rects.numbers("score", np.nan),
        box_xyxy_px=np.full((P, 4), np.nan),
        head_xyxy_px=_heads(rects),
        area_px2=np.full(P, np.nan),
        is_crowd=np.zeros(P, np.bool_),
        xy_px=xy_px,
        keypoint_score=keypoint_score,
        visibility=visibility,
    )


def _heads(rects: Entries) -> np.ndarray:
    heads = np.stack([rects.numbers(field, np.nan) for field in _HEAD], axis=1)
    missing = np.isnan(heads)
    partly = missing.any(axis=1) & ~missing.all(axis=1)
    if partly.any():
        p = int(np.argmax(partly))
        rects.refuse(p, _HEAD[int(np.argmax(missing[p]))], "a finite number, as x1, y1, x2, y2 make one box,")
    return heads


def _region(polygon: Polygon) -> dict[str, Any]:
    return {"point": [{"x": [x], "y": [y]} for x, y in polygon.tolist()]}


def _rect(people: People, p: int) -> dict[str, Any]:
    head = dict(zip(_HEAD, people.head_xyxy_px[p, :, None], strict=True))
    given = np.flatnonzero(~np.isnan(people.xy_px[p].sum(axis=1))).tolist()
    has_list = (people.visibility[p] >= 0).any()
    return {
        **({"track_id": [int(people.track_id[p])]} if people.track_id[p] >= 0 else {}),
        **{key: value for field, coordinate in head.items() for key, value in optional(field, coordinate).items()},
        **optional("score", people.score[p, None]),
        "annopoints": [{"point": [_point(people, p, k) for k in given]}] if given or has_list else [],
    }


def _point(people: People, p: int, k: int) -> dict[str, Any]:
    x, y = people.xy_px[p, k].tolist()
    return {
        "id": [k],
        "x": [x],
        "y": [y],
        **optional("score", people.keypoint_score[p, k, None]),
        **({"is_visible": [int(people.visibility[p, k])]} if people.visibility[p, k] >= 0 else {}),
    }
