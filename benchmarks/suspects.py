"""How many of the first suspects are right: `python -m benchmarks.suspects RESULTS`, of results evaluated against truth.

A joint is wrong that lies further from its person's own than half the head's size, as PCKh counts. A switch is right where,
within two frames, a track passes from one person to another, or a person from one track to another.

Shape legend: P poses, Q true people, J points of PoseTrack.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.optimize import linear_sum_assignment

from storage import tables
from storage.store import Store
from tasks.publish import suspicious_places
from tkm.similarity import iou
from tkm.suspects import MIN_SCORE, MOST

_BOX = ["box_x1", "box_y1", "box_x2", "box_y2"]
_SAME_IOU = 0.5
_NEAR_FRAMES = 2
_FIRST = (5, 10, 20, MOST)
JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist", "knee", "ankle"))


def main() -> None:
    """Print how many of the first suspects of each video are right, as this version finds them, and what chance would have."""
    store = Store(sys.argv[1])
    poses, truth = tables.read(store, "poses"), tables.read(store, "truth_poses").to_pandas()
    right: dict[tuple[str, int], list[bool]] = defaultdict(list)
    changes = 0
    by_chance: dict[str, list[bool]] = defaultdict(list)
    videos = sorted(set(poses["video"].to_pylist()))
    for video in videos:
        rows = poses.filter(pc.equal(poses["video"], video))
        own, suspects = rows.to_pandas(), pd.DataFrame(_plain(suspicious_places(rows)))
        true = truth[truth["video"] == video].reset_index(drop=True)
        own["row"] = _true_rows(own, true)
        own["person"] = [true["track_id"][row] if row >= 0 else -1 for row in own["row"]]
        switches = _switches(own)
        changes += len(switches)
        drawn = own.sample(min(100, len(own)), random_state=0).to_dict("records")
        for row in drawn:
            by_chance["switch"].append(_is_switch({**row, "other_track_id": None}, switches))
            for joint in (joint for joint in JOINTS if row[f"{joint}_score"] >= MIN_SCORE):
                place = {"joint": joint, "x": row[f"{joint}_x"], "y": row[f"{joint}_y"]}
                by_chance["joint"].append(_is_wrong({**row, **place}, own, true))
        for suspect in suspects.to_dict("records"):
            is_right = _is_switch(suspect, switches) if suspect["kind"] == "switch" else _is_wrong(suspect, own, true)
            for first in _FIRST:
                if suspect["suspect"] < first:
                    right[suspect["kind"], first].append(is_right)
                    right["all", first].append(is_right)
    print(f"{changes} changes of identity in {len(videos)} videos, {len(poses)} poses")
    print(f"at random {np.mean(by_chance['switch']):.1%} of poses would be right as a switch,", end=" ")
    print(f"{np.mean(by_chance['joint']):.1%} of limbs' joints as wrong")
    for (kind, first), found in sorted(right.items()):
        print(f"{kind:12s} of the first {first:3d} a video: {len(found):4d} suspects, {np.mean(found):6.1%} right")


def _plain(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: values.to_pylist() if isinstance(values, pa.Array) else values.tolist() for name, values in columns.items()}


def _true_rows(own: pd.DataFrame, true: pd.DataFrame) -> np.ndarray[Any, Any]:
    """(P,) row of the true person of each pose, -1 for none."""
    rows = np.full(len(own), -1)
    by_frame = dict(tuple(true.groupby("frame")))
    for frame, people in own.groupby("frame"):
        if frame in by_frame:
            those = by_frame[frame]
            overlap = iou(people[_BOX].to_numpy(np.float32), those[_BOX].to_numpy(np.float32))
            one, other = linear_sum_assignment(overlap, maximize=True)
            fits = overlap[one, other] >= _SAME_IOU
            rows[people.index[one[fits]]] = those.index[other[fits]]
    return rows


def _switches(own: pd.DataFrame) -> list[tuple[int, set[int]]]:
    """Frame and tracks of each change: of the person of a track, and of the track of a person."""
    known = own[own["person"] >= 0].sort_values("frame")
    found = []
    for by, of in (("track_id", "person"), ("person", "track_id")):
        for _, rows in known.groupby(by):
            changed = np.flatnonzero(np.diff(rows[of]))
            frames, tracks = rows["frame"].to_numpy(), rows["track_id"].to_numpy()
            found += [(int(frames[n + 1]), {int(tracks[n]), int(tracks[n + 1])}) for n in changed.tolist()]
    return found


def _is_switch(suspect: Mapping[Any, Any], switches: list[tuple[int, set[int]]]) -> bool:
    tracks = {suspect["track_id"], suspect["other_track_id"]}
    return any(abs(frame - suspect["frame"]) <= _NEAR_FRAMES and tracks & own for frame, own in switches)


def _is_wrong(suspect: Mapping[Any, Any], own: pd.DataFrame, true: pd.DataFrame) -> bool:
    """Whether the joint lies beyond half a head from the person's own; a pose that is nobody's is wrong as a whole."""
    (row,) = own["row"][(own["frame"] == suspect["frame"]) & (own["track_id"] == suspect["track_id"])]
    if row < 0:
        return True
    person, joint = true.loc[row], suspect["joint"]
    head_px = 0.6 * np.hypot(person["head_x2"] - person["head_x1"], person["head_y2"] - person["head_y1"])
    away_px = np.hypot(suspect["x"] - person[f"{joint}_x"], suspect["y"] - person[f"{joint}_y"])
    return bool(not away_px <= head_px / 2)


if __name__ == "__main__":
    main()
