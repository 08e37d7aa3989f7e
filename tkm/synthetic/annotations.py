"""What is true of a rendered clip, in the form of PoseTrack's files of 2018.

Shape legend: T frames, P people in frames, K keypoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as Items
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tkm.datasets import posetrack18
from tkm.datasets.boxes import xyxy_to_xywh
from tkm.datasets.coco_form import optional
from tkm.datasets.columns import Double
from tkm.datasets.ids import FIRST_OTHER
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import Skeleton
from tkm.synthetic.bodies.body import KEYPOINTS
from tkm.synthetic.series import MAX_CLIPS, MAX_FRAMES
from tkm.synthetic.spec import ClipSpec

if TYPE_CHECKING:  # they bring the renderer, which nobody needs who only reads
    from tkm.synthetic.clip import Role
    from tkm.synthetic.truth import FrameTruth

_DECIMALS = 3  # a thousandth of a pixel: half the bytes of a file that has all digits

_SERIES = 890_000  # how many ranges of numbers there are for series to fall into


def annotation_document(
    name: str, spec: ClipSpec, roles: Items[Role], truth: Items[FrameTruth], skeleton: Skeleton, first_image_id: int
) -> dict[str, Any]:
    """The annotation file of a clip, parsed JSON: `posetrack18.write`'s, and what that has no place for.

    That is, a person, `bbox_visible` (left, top, width, height of what can be seen); and of the clip, `tracks` (who plays each
    track id, whose twin, what it does) and `synthesis` (the ClipSpec).

    Args: name, of the clip; truth, of its T frames; skeleton, COCO_17 or POSETRACK_15; first_image_id, number of frame 0.
    """
    document = posetrack18.write(truth_sequence(name, spec, truth, skeleton, first_image_id))
    visible_xywh_px = xyxy_to_xywh(_rounded(np.concatenate([frame.visible_xyxy_px for frame in truth])))
    for entry, box in zip(document["annotations"], visible_xywh_px, strict=True):
        entry |= optional("bbox_visible", box)
    return {**document, "tracks": [asdict(role) for role in roles], "synthesis": asdict(spec)}


def first_image_id(name: str, number: int) -> int:
    """Number of a clip's first frame, by its name and its number in its series.

    Above all of PoseTrack's, below 2^53 as every JSON reader wants it, and no other clip's of a series; clips of different series
    share some with one chance in a million.
    """
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return FIRST_OTHER + (digest % _SERIES * MAX_CLIPS + number) * MAX_FRAMES


def truth_sequence(
    name: str, spec: ClipSpec, truth: Items[FrameTruth], skeleton: Skeleton, first_image_id: int
) -> Sequence:
    """The people of a clip in a skeleton whose points are all among KEYPOINTS, in pixels rounded to thousandths.

    Points out of view are not given (NaN, visibility 0), hidden ones are, with visibility 1. Pictures are called
    images/<name>/000000.jpg and so on, whether they are such files or frames of a video.

    Args: as of `annotation_document`.
    """
    T = len(truth)
    slot = [KEYPOINTS.index(keypoint) for keypoint in skeleton.keypoints]
    xy_px = np.concatenate([frame.xy_px for frame in truth])[:, slot]
    visibility = np.concatenate([frame.visibility for frame in truth])[:, slot].astype(np.int8)
    P = len(xy_px)
    people = People(
        frame=np.repeat(np.arange(T), [len(frame) for frame in truth]),
        track_id=np.concatenate([frame.track_id for frame in truth]),
        score=np.ones(P),  # so that truth may also be given back as what somebody found
        box_xyxy_px=_rounded(np.concatenate([frame.full_xyxy_px for frame in truth])),
        head_xyxy_px=_rounded(np.concatenate([frame.head_xyxy_px for frame in truth])),
        area_px2=_rounded(np.concatenate([frame.area_px2 for frame in truth])),
        is_crowd=np.zeros(P, np.bool_),
        xy_px=np.where((visibility > 0)[..., None], _rounded(xy_px), np.nan),
        keypoint_score=np.full((P, len(slot)), np.nan),
        visibility=visibility,
    )
    return Sequence(
        name=name,
        skeleton=skeleton,
        frame_names=tuple(f"images/{name}/{t:06d}.jpg" for t in range(T)),
        image_id=first_image_id + np.arange(T),
        is_labeled=np.ones(T, np.bool_),
        size_px=np.tile(np.array([spec.width_px, spec.height_px], np.int64), (T, 1)),
        ignore_regions=((),) * T,
        people=people,
    )


def _rounded(values: Double) -> Double:
    return np.round(values, _DECIMALS)
