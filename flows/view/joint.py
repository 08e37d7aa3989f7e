"""Where a keypoint was sought, and what each place was worth before refinement and after it, from the artifacts of its run.

Artifacts may be gone: `--keep` and `tkm gc` remove them. Then it is said what is not known for that.

Shape legend: K keypoints, C = 16 candidates, S = 1 + C places of a keypoint: its own cell and its candidates'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.lineage import plan_of
from flows.view.results import PERSON, Looked, without_nan
from storage import runs
from storage.artifacts import Artifact, DamagedArtifactError
from storage.codecs import candidates_from_table, column, list_column, poses_from_table, skeleton_of_table
from storage.schemas import CANDIDATES
from storage.store import Store, StoreError
from storage.weights import fetch
from tasks import estimate, refine
from tasks.execute import block_at, open_video
from tasks.plan import VideoPlan
from tasks.stage import Stage
from tkm.skeleton import Skeleton

_GONE = "was removed since (--keep, tkm gc): `tkm rerun --stage {stage}` makes it again"
_UNKNOWN = "what refinement found each candidate worth is not known"


def joint_of(store: Store, looked: Looked, place: int, track_id: int, joint: str) -> dict[str, Any] | None:
    """What is known of a keypoint of a track in the frame at a place; None where there is no such person or keypoint.

    published    [x, y, score], as the tables have it
    initial      [x, y, score], what the network gave; None where that is not known
    refined      {x, y, score, place}, place 0 the network's own and c the c-th candidate; None likewise
    candidates   [{x, y, response, weighted, refined}], responses of the heatmap, of the network's own weighting of it, and by
                 Eq. 6; the last is None where nothing was refined
    own_refined  by Eq. 6 of the network's own place
    counterparts detections of other frames that took part; None likewise
    notes        sentences on what is not known, and why
    """
    row = _person(looked, place, track_id)
    if row is None or joint not in looked.skeleton.keypoints:
        return None
    k = len(PERSON) + 3 * looked.skeleton.keypoints.index(joint)
    detection = int(row[PERSON.index("detection")])
    found: dict[str, Any] = {
        "published": row[k : k + 3].tolist(), "initial": None, "refined": None, "candidates": [], "own_refined": None,
        "counterparts": None, "notes": [],
    }  # fmt: skip
    plan = _plan(store, looked.row)
    if plan is None:
        found["notes"].append("the run that made this is forgotten, or of another version: its artifacts are not known")
    elif estimate.STAGE.name not in plan.keys:
        found["notes"].append("the poses came from a file: there are no candidates")
    else:
        _sought(found, store, plan, looked, place, detection, joint)
    return {name: _plain(value) for name, value in found.items()}


def _person(looked: Looked, place: int, track_id: int) -> Any:
    rows = slice(looked.start[place], looked.start[place + 1])
    own = np.flatnonzero(looked.track_id[rows] == track_id)
    return looked.people[rows][own[0]] if len(own) else None


def _plan(store: Store, row: Mapping[str, Any]) -> VideoPlan | None:
    """What the video's run planned; None where that is gone, or not understood."""
    try:
        planned = runs.read_plan(store, row["run"], row["shard"])
    except StoreError:
        return None
    own = {one["stage"]: one for one in planned.filter(pc.equal(planned["video"], row["video"])).to_pylist()}
    return plan_of(store, own) if own else None


def _sought(
    found: dict[str, Any], store: Store, plan: VideoPlan, looked: Looked, place: int, detection: int, joint: str
) -> None:
    """Fill in what the artifacts tell."""
    try:
        people = _of_person(plan, estimate.STAGE, looked, place, detection)
    except DamagedArtifactError:
        found["notes"].append(f"the artifact of estimate {_GONE.format(stage='estimate')}")
        return
    if not people.num_rows:
        found["notes"].append("the artifacts do not know this person: it was corrected, or added")
        return
    skeleton = skeleton_of_table(people)
    k = skeleton.keypoints.index(joint)
    poses, candidates = poses_from_table(people, skeleton), candidates_from_table(people, skeleton)
    found["initial"] = [*poses.xy_px[0, k].tolist(), float(poses.score[0, k])]
    is_there = ~np.isnan(candidates.response[0, k])
    found["candidates"] = [
        {
            "x": float(candidates.xy_px[0, k, c, 0]), "y": float(candidates.xy_px[0, k, c, 1]), "refined": None,
            "response": float(candidates.response[0, k, c]), "weighted": float(candidates.weighted[0, k, c]),
        }
        for c in np.flatnonzero(is_there).tolist()
    ]  # fmt: skip
    if refine.STAGE.name not in plan.keys:
        found["notes"].append("nothing was refined")
        return
    _refined(found, plan, looked, place, detection, skeleton, k)
    _responses(found, store, plan, place, detection, k)


def _refined(
    found: dict[str, Any], plan: VideoPlan, looked: Looked, place: int, detection: int, skeleton: Skeleton, k: int
) -> None:
    """Which place refinement took, as its artifact has it."""
    try:
        table = _of_person(plan, refine.STAGE, looked, place, detection)
    except DamagedArtifactError:
        found["notes"].append(f"the artifact of refine {_GONE.format(stage='refine')}")
        return
    K = len(skeleton.keypoints)
    x, y = list_column(table, "xy_px", K, 2)[0, k].tolist()
    score, taken = float(list_column(table, "score", K)[0, k]), int(list_column(table, "place", K)[0, k])
    found["refined"] = {"x": x, "y": y, "score": score, "place": taken}
    found["counterparts"] = table["counterparts"][0].as_py()


def _responses(found: dict[str, Any], store: Store, plan: VideoPlan, place: int, detection: int, k: int) -> None:
    """What every place is worth by Eq. 6: no artifact holds that, so it is computed, for this frame, as refine did."""
    try:
        for sha256 in refine.STAGE.weights(plan.params).values():
            fetch(store, sha256)
        block = block_at(open_video(plan), refine.STAGE, place)
        worth = refine.places(block, plan.params[refine.STAGE.name])  # type: ignore[arg-type]
    except DamagedArtifactError:
        found["notes"].append(f"{_UNKNOWN}: an input of refine {_GONE.format(stage='embed')}")
        return
    except StoreError as error:
        found["notes"].append(f"{_UNKNOWN}: {error}")
        return
    if worth is None:
        return
    people = block.inputs["estimate"].filter(block.inputs["suppress"]["is_kept"])
    own = np.flatnonzero(column(people, "detection", np.int64)[worth.own] == detection)
    response = worth.response[own[0], k]
    if found["refined"] and found["refined"]["place"] != worth.place[own[0], k]:
        found["notes"].append("this version of the package refines otherwise: its responses are left out")
        return
    found["own_refined"] = float(response[0])
    for candidate, value in zip(found["candidates"], response[1 : 1 + CANDIDATES].tolist(), strict=False):
        candidate["refined"] = value


def _of_person(plan: VideoPlan, stage: Stage, looked: Looked, place: int, detection: int) -> pa.Table:
    """The row of a person in a stage's artifact; none where it does not know it."""
    artifact = Artifact(plan.store, stage.name, plan.keys[stage.name])
    rows = artifact.read_span(place, place + 1, looked.frames, artifact.chunks())
    return rows.filter(pc.equal(rows["detection"], detection))


def _plain(value: Any) -> Any:
    """With None for what JSON has no number for."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return without_nan(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value
