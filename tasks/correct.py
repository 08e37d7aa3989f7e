"""correct: what people corrected, as far as it applies: tracks merged, split and deleted, keypoints moved or hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, StringConstraints

from storage import corrections
from storage.artifacts import Artifact, DamagedArtifactError
from storage.codecs import column, list_array, list_column, table_of
from storage.corrections import Correction, created_of, id_of
from storage.schemas import CORRECTED, EDITS
from storage.store import Store
from tasks import estimate, given, index, refine, suppress, track
from tasks.people import refined, survivors, tracks_of
from tasks.stage import Block, Params, Resources, Stage
from tkm.corrections import Anchor, Edit, Outcome, Tracked, correct
from tkm.skeleton import Skeleton, skeleton_of
from tkm.types import Bool, Int, PoseSet

_CHANGED = ("track_id", "xy_px", "score")  # by corrections, of a person


class CorrectParams(Params):
    """Parameters of correct."""

    records: tuple[Annotated[str, StringConstraints(pattern=rf"^{corrections.NAME}$")], ...] = Field(
        (), description="names of the video's corrections in force, in order", json_schema_extra={"option": None}
    )


def run(block: Block, made: Mapping[str, Correction], params: CorrectParams) -> tuple[pa.Table, pa.Table]:  # noqa: ARG001
    """Who is another after all corrections, by name and in order, of all frames at once; and what became of every edit."""
    poses, skeleton = survivors(block)
    final = refined(block, poses) if "refine" in block.inputs else poses
    order = np.lexsort((tracks_of(block, poses), poses.frame))
    before = Tracked(
        final.frame[order], tracks_of(block, poses)[order], final.box_xyxy_px[order], final.xy_px[order], final.score[order]
    )
    people, rows, edits = before, np.arange(len(before)), []
    for name, correction in made.items():
        own = [_in_skeleton(edit, correction.skeleton, skeleton) for edit in correction.edits]
        people, kept, outcomes = correct(people, own)
        rows = rows[kept]
        edits += [_told(name, correction, n, outcome) for n, outcome in enumerate(outcomes)]
    is_deleted = _put(np.ones(len(before), np.bool_), rows, False)
    now = replace(before, **{name: _put(getattr(before, name), rows, getattr(people, name)) for name in _CHANGED})
    is_other = is_deleted | (now.track_id != before.track_id) | _has_moved(before, now)
    table = table_of(
        CORRECTED,
        frame=now.frame[is_other],
        detection=final.detection[order][is_other],
        track_id=now.track_id[is_other],
        is_deleted=is_deleted[is_other],
        xy_px=list_array(now.xy_px[is_other]),
        score=list_array(now.score[is_other]),
    )
    return table, pa.Table.from_pylist(edits, schema=EDITS)


def _put(before: Any, rows: Int, values: Any) -> Any:
    """The array with these values in some of its rows."""
    after = before.copy()
    after[rows] = values
    return after


def _has_moved(before: Tracked, now: Tracked) -> Bool:
    same = (before.xy_px == now.xy_px) | (np.isnan(before.xy_px) & np.isnan(now.xy_px))
    same_score = (before.score == now.score) | (np.isnan(before.score) & np.isnan(now.score))
    moved: Bool = ~(same.all(axis=(1, 2)) & same_score.all(axis=1))
    return moved


def _in_skeleton(edit: Edit, theirs: str, skeleton: Skeleton) -> Edit:
    """The edit with its keypoint's number in these poses; one that they have not has a number beyond all."""
    if edit.joint is None:
        return edit
    name = skeleton_of(theirs).keypoints[edit.joint]
    own = skeleton.keypoints.index(name) if name in skeleton.keypoints else len(skeleton.keypoints)
    return replace(edit, joint=own)


def _told(name: str, correction: Correction, number: int, outcome: Outcome) -> dict[str, Any]:
    """A row of `edits`."""
    edit = correction.edits[number]
    joint = None if edit.joint is None else skeleton_of(correction.skeleton).keypoints[edit.joint]
    return {
        "correction": id_of(name),
        "edit": number,
        "created": created_of(name).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "author": correction.author,
        "source": correction.source,
        "kind": edit.kind,
        "frame": edit.anchor.frame,
        "track_id": outcome.track_id if outcome.is_applied else None,
        "joint": joint,
        "what": in_words(edit, joint),
        "is_applied": outcome.is_applied,
        "why": outcome.why or None,
    }


def in_words(edit: Edit, joint: str | None) -> str:
    """What an edit says of its anchor's person."""
    first, last = edit.anchor.frame, edit.anchor.frame if edit.last_frame is None else edit.last_frame
    if edit.kind == "delete":
        return f"not there in frame {first}" if first == last else f"not there in frames {first} to {last}"
    if edit.kind == "split":
        return f"somebody else from frame {first} on"
    if edit.kind == "merge" and edit.other is not None:
        return f"the same as who is at {_middle(edit.other)} in frame {edit.other.frame}"
    if edit.kind == "move" and edit.xy_px is not None:
        return f"{joint} is at {edit.xy_px[0]:.1f}, {edit.xy_px[1]:.1f}"
    return f"{joint} is not to be seen"


def _middle(anchor: Anchor) -> str:
    x1, y1, x2, y2 = anchor.box_xyxy_px
    return f"{(x1 + x2) / 2:.0f}, {(y1 + y2) / 2:.0f}"


def corrected(block: Block, poses: PoseSet, track_id: Int) -> tuple[PoseSet, Int, Bool]:
    """Poses and track ids (P,) of survivors as corrections leave them, and who of them (P,) is left."""
    table, K = block.inputs["correct"], poses.score.shape[1]
    # Survivors are by frame and detection.
    width = int(poses.detection.max(initial=-1)) + 1
    key = poses.frame * width + poses.detection
    own = column(table, "frame", np.int64) * width + column(table, "detection", np.int64)
    rows = np.searchsorted(key, own)
    if not np.isin(own, key).all():
        raise ValueError("the tables of correct and suppress speak of different people; re-run correct")
    xy_px = _put(poses.xy_px, rows, list_column(table, "xy_px", K, 2))
    score = _put(poses.score, rows, list_column(table, "score", K))
    is_kept = ~_put(np.zeros(len(poses), np.bool_), rows, column(table, "is_deleted", np.bool_))
    track_id = _put(track_id, rows, column(table, "track_id", np.int64))
    return replace(poses, xy_px=xy_px, score=score), track_id, is_kept


def edits_of(store: Store, key: str) -> pa.Table:
    """Table `edits` of a video's artifact of this stage. DamagedArtifactError where it is not whole."""
    artifact = Artifact(store, STAGE.name, key)
    manifest = artifact.manifest()
    edits = None if manifest is None else artifact.state_before(manifest.chunks[-1].stop)
    if edits is None:
        raise DamagedArtifactError(f"{store.root} holds no whole artifact {STAGE.name}/{key}")
    return edits


def records_of(params: Mapping[str, Params]) -> tuple[str, ...]:
    """Names of the corrections that a video's results under these parameters, by stage, have."""
    own = params[STAGE.name]
    assert isinstance(own, CorrectParams)
    return own.records


STAGE = Stage(
    "correct",
    run,
    CorrectParams,
    inputs=(index.STAGE, given.POSES, estimate.STAGE, suppress.STAGE, track.STAGE, refine.STAGE),
    output=CORRECTED,
    resources=Resources(cpus=1),
    version=1,
    corrects=True,
    unread=("pose_cell", "candidate_xy_px", "candidate_response", "candidate_weighted", "candidate_cell", "heatmap", "place"),
    is_active=lambda params: bool(records_of(params)),
)
