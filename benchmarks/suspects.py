"""How many of the first suspects are right: `python -m benchmarks.suspects RESULTS`, of results evaluated against truth.

A joint is wrong that lies further from its person's own than half the head's size, as PCKh counts. A switch is right where,
within ten frames, a track passes from one person to another, or a person from one track to another.

Shape legend: P poses, Q true people, J points of PoseTrack.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from storage import tables
from storage.store import Store
from tkm.similarity import iou

_BOX = ["box_x1", "box_y1", "box_x2", "box_y2"]
_SAME_IOU = 0.5
_NEAR_FRAMES = 10
_FIRST = (5, 10, 20, 50, 1000)


def main() -> None:
    """Print a row a number of first suspects of each video."""
    store = Store(sys.argv[1])
    suspects, poses, truth = (tables.read(store, name).to_pandas() for name in ("suspects", "poses", "truth_poses"))
    right: dict[tuple[str, int], list[bool]] = defaultdict(list)
    changes = 0
    chance: list[bool] = []
    for video in sorted(set(poses["video"])):
        own = poses[poses["video"] == video].reset_index(drop=True)
        true = truth[truth["video"] == video].reset_index(drop=True)
        own["row"] = _true_rows(own, true)
        own["person"] = [true["track_id"][row] if row >= 0 else -1 for row in own["row"]]
        switches = _switches(own)
        changes += len(switches)
        drawn = own.sample(min(100, len(own)), random_state=0)
        chance += [_is_switch({"other_track_id": None, **row}, switches) for row in drawn.to_dict("records")]
        for suspect in suspects[suspects["video"] == video].to_dict("records"):
            is_right = _is_switch(suspect, switches) if suspect["kind"] == "switch" else _is_wrong(suspect, own, true)
            for first in _FIRST:
                if suspect["suspect"] < first:
                    right[suspect["kind"], first].append(is_right)
                    right["all", first].append(is_right)
    print(f"{changes} changes of identity in {len(set(poses['video']))} videos, {len(poses)} poses")
    print(f"of poses drawn at random {np.mean(chance):.1%} are as near to a change as a right switch is")
    for (kind, first), found in sorted(right.items()):
        print(f"{kind:12s} of the first {first:4d} a video: {len(found):4d} suspects, {np.mean(found):6.1%} right")


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


def _is_switch(suspect: dict[str, Any], switches: list[tuple[int, set[int]]]) -> bool:
    tracks = {suspect["track_id"], suspect["other_track_id"]}
    return any(abs(frame - suspect["frame"]) <= _NEAR_FRAMES and tracks & own for frame, own in switches)


def _is_wrong(suspect: dict[str, Any], own: pd.DataFrame, true: pd.DataFrame) -> bool:
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
