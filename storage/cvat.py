"""CVAT's XML, `CVAT for video 1.1`: a skeleton track a track, for people to correct; storage.cvat_reader reads it back.

A file that CVAT gives back tells by attributes of each shape what was exported: `export`, the video, run and frames, the same in
all, and `person`, which names frame, detection and track of the shape, and the frame in which the track is next. Shapes that CVAT
draws between key frames repeat `person` of the key frame before them.

Shape legend: P people in frames, K keypoints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from storage.handed_out import HandedOut
from tkm.skeleton import Skeleton
from tkm.types import Int

LABELS_FILE = "cvat_labels.json"
_LABEL = "person"
# Where the keypoints are drawn in CVAT's picture of the skeleton, in percent.
_PLACES = {
    "nose": (50, 12), "left_eye": (53, 9), "right_eye": (47, 9), "left_ear": (57, 11), "right_ear": (43, 11),
    "left_shoulder": (64, 25), "right_shoulder": (36, 25), "left_elbow": (70, 39), "right_elbow": (30, 39),
    "left_wrist": (73, 52), "right_wrist": (27, 52), "left_hip": (58, 53), "right_hip": (42, 53),
    "left_knee": (59, 73), "right_knee": (41, 73), "left_ankle": (60, 93), "right_ankle": (40, 93),
    "neck": (50, 22), "head_top": (50, 3), "pelvis": (50, 53), "thorax": (50, 27),
}  # fmt: skip


def labels(skeleton: Skeleton) -> list[dict[str, Any]]:
    """The labels of a task, as CVAT's raw editor of labels takes them."""
    attributes = [
        {"name": name, "mutable": mutable, "input_type": "text", "default_value": "", "values": [""]}
        for name, mutable in (("track_id", False), ("export", False), ("person", True))
    ]
    points = [{"name": name, "type": "points", "attributes": []} for name in skeleton.keypoints]
    return [{"name": _LABEL, "type": "skeleton", "attributes": attributes, "sublabels": points, "svg": _svg(skeleton)}]


def write_labels(skeleton: Skeleton) -> bytes:
    """Contents of LABELS_FILE."""
    return json.dumps(labels(skeleton), indent=1).encode()


def _svg(skeleton: Skeleton) -> str:
    places = [_PLACES[name] for name in skeleton.keypoints]
    lines = [
        f'<line x1="{places[a][0]}" y1="{places[a][1]}" x2="{places[b][0]}" y2="{places[b][1]}" stroke="black" data-type="edge" '
        f'data-node-from="{a + 1}" stroke-width="0.5" data-node-to="{b + 1}"></line>'
        for a, b in skeleton.limbs
    ]
    circles = [
        f'<circle r="1.5" stroke="black" fill="#b3b3b3" cx="{x}" cy="{y}" stroke-width="0.1" data-type="element node" '
        f'data-element-id="{n}" data-node-id="{n}" data-label-name={quoteattr(name)}></circle>'
        for n, (name, (x, y)) in enumerate(zip(skeleton.keypoints, places, strict=True), start=1)
    ]
    return "".join(lines + circles)


def write(given: HandedOut) -> bytes:
    """The XML of a video: all its tracks, every shape a key frame; where a track is not there, it is outside."""
    parts = ['<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n', _meta(given)]
    order = np.argsort(given.track_id, kind="stable")
    origin, breaks = str(given.origin), np.flatnonzero(np.diff(given.track_id[order])) + 1
    for number, rows in enumerate(np.split(order, breaks) if len(given) else []):
        parts.append(f'<track id="{number}" label="{_LABEL}" source="file">\n')
        parts += _shapes(given, rows, origin)
        parts.append("</track>\n")
    return "".join([*parts, "</annotations>\n"]).encode()


def _shapes(given: HandedOut, rows: Int, origin: str) -> Iterator[str]:
    frames = given.frame[rows].tolist()
    for row, own, after in zip(rows.tolist(), frames, [*frames[1:], len(given.pictures)], strict=True):
        yield _shape(given, row, own, after, origin, is_outside=False)
        following = given.following(own)
        if following < after:
            yield _shape(given, row, following, after, origin, is_outside=True)


def _shape(given: HandedOut, row: int, frame: int, after: int, origin: str, *, is_outside: bool) -> str:
    missing = given.box_xyxy_px[row].reshape(2, 2).mean(axis=0)
    own, track = int(given.frame[row]), int(given.track_id[row])
    attributes = {
        "track_id": str(track),
        "export": origin,
        "person": f"frame {own}, detection {given.detection[row]}, track {track}, next {after}",
    }
    parts = [f'<skeleton frame="{frame}" keyframe="1" z_order="0">\n']
    for name, (x, y) in zip(given.skeleton.keypoints, given.xy_px[row].tolist(), strict=True):
        is_absent = math.isnan(x) or math.isnan(y)
        if is_absent:
            x, y = missing.tolist()
        parts.append(
            f'<points label="{name}" keyframe="1" outside="{int(is_outside or is_absent)}" occluded="0" points="{x:.2f},{y:.2f}">'
            "</points>\n"
        )
    parts += [f'<attribute name="{name}">{escape(value)}</attribute>\n' for name, value in attributes.items()]
    return "".join([*parts, "</skeleton>\n"])


def _meta(given: HandedOut) -> str:
    (label,) = labels(given.skeleton)
    attributes = "".join(
        f"<attribute><name>{one['name']}</name><mutable>{one['mutable']}</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for one in label["attributes"]
    )
    points = "".join(
        f"<label><name>{name}</name><type>points</type><attributes></attributes><parent>{_LABEL}</parent></label>"
        for name in given.skeleton.keypoints
    )
    width, height = given.size_px
    last = max(len(given.pictures) - 1, 0)
    return (
        f"<meta><task><name>{escape(given.name)}</name><size>{len(given.pictures)}</size><mode>interpolation</mode>"
        f"<start_frame>0</start_frame><stop_frame>{last}</stop_frame><frame_filter></frame_filter>"
        f"<labels><label><name>{_LABEL}</name><type>skeleton</type><attributes>{attributes}</attributes>"
        f"<svg>{escape(label['svg'])}</svg></label>{points}</labels>"
        f"<original_size><width>{width}</width><height>{height}</height></original_size></task></meta>\n"
    )
