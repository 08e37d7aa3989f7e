"""track: who is who from frame to frame, by bipartite matching (Eq. 3-4) on a similarity between poses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from storage.codecs import column, table_of, tracker_state_from_table, tracker_state_skeleton, tracker_state_to_table
from storage.schemas import TRACKED
from tasks import embed, estimate, given, shots, suppress, trained
from tasks.people import body_features, keypoint_features, survivors
from tasks.stage import Block, Params, Resources, Stage, digest_field
from tkm.similarity import LEARNED, Measure
from tkm.skeleton import Skeleton
from tkm.tracking import Memory, TrackerState, track
from tkm.types import PoseSet

# A probability says at 0.5 which is likelier. Overlap falls with every frame that somebody moves on: little of it says nothing.
MEMORY_FRAMES: dict[Measure, int] = {"tkm": 60, "tbm": 0, "oks": 0, "iou": 0}  # defaults
MEMORY_SIMILARITY: dict[Measure, float] = {"tkm": 0.5, "tbm": 0.5, "oks": 0.1, "iou": 0.1}


class TrackParams(Params):
    """Parameters of track."""

    similarity: Measure = Field(
        "tkm", description="similarity between a pose and one of the frame before (default oks where there is no matching head)"
    )
    iou_gate: float = Field(0.1, ge=0, le=1, description="boxes that overlap less are never the same person (Eq. 5)")
    by_confidence: bool = Field(False, description="tkm: weigh keypoints by their scores, which the paper does not")
    memory_frames: int = Field(
        default_factory=lambda validated: MEMORY_FRAMES[validated["similarity"]],
        ge=0,
        description="sampled frames that somebody may be missed for and keep the id; 0, as in the paper, for none (default "
        f"{MEMORY_FRAMES['tkm']} for tkm, else 0)",
    )
    memory_similarity: float = Field(
        default_factory=lambda validated: MEMORY_SIMILARITY[validated["similarity"]],
        gt=0,
        le=1,
        description="what somebody must reach to be taken for a person missed before: mean over keypoints of G_k (tkm) or the "
        "body's probability (tbm), plus half the boxes' IOU; OKS or IOU (default 0.5 for tkm and tbm, 0.1 for oks and iou)",
    )
    memory_reach: float | None = Field(
        None,
        gt=0,
        description="how far somebody may be from where they were missed, in box sizes (roots of the area) for each frame of the "
        "video since; none for anywhere. At 20 to 30 frames a second 0.25 holds 99.5% of people",
    )
    head: str | None = digest_field("the matching head, for tkm, or of the body head, for tbm")

    @model_validator(mode="after")
    def _confidence_weighs_keypoints(self) -> TrackParams:
        if self.by_confidence and self.similarity != "tkm":
            raise ValueError(f"by_confidence weighs the keypoints of similarity tkm, and {self.similarity} has no such sum")
        return self


def run(block: Block, params: TrackParams, state: pa.Table | None) -> tuple[pa.Table, pa.Table]:
    """Track ids of the survivors of a block of frames, and what the next block needs to go on."""
    poses, skeleton, before = _people_and_state(block, state)
    is_cut = column(block.inputs["shots"], "is_first", np.bool_) if "shots" in block.inputs else None
    learned = _learned(block, params, len(poses), len(skeleton.keypoints))
    memory = Memory(params.memory_frames, params.memory_similarity, params.memory_reach)
    track_id, after = track(
        poses, block.frames, before, params.similarity, params.iou_gate, is_cut, skeleton.oks_sigmas, memory=memory, **learned
    )
    table = table_of(TRACKED, frame=poses.frame, detection=poses.detection, track_id=track_id)
    return table, tracker_state_to_table(after, skeleton)


def _people_and_state(block: Block, state: pa.Table | None) -> tuple[PoseSet, Skeleton, TrackerState]:
    """The survivors of a block and what goes on with them, of one skeleton: tables without people tell none."""
    poses, skeleton = survivors(block)
    start = TrackerState.start(len(skeleton.keypoints))
    if state is None:
        return poses, skeleton, start
    before = tracker_state_from_table(state)
    if not len(poses):
        return before.poses.take(np.empty(0, np.int64)), tracker_state_skeleton(state), before
    if not len(before.poses):
        before = replace(start, next_track_id=before.next_track_id, last_frame=before.last_frame)
    return poses, skeleton, before


def _learned(block: Block, params: TrackParams, people: int, keypoints: int) -> dict[str, Any]:
    """What a learned similarity takes beside poses."""
    if params.similarity not in LEARNED:
        return {}
    is_tkm = params.similarity == "tkm"
    classifiers = trained.classifiers(str(params.head), "matching" if is_tkm else "body")
    if people:
        feature = keypoint_features(block, keypoints) if is_tkm else body_features(block, keypoints)
    else:
        feature = np.empty((0, keypoints if is_tkm else 1, classifiers.channels), np.float32)
    return {"feature": feature, "classifiers": classifiers, "by_confidence": params.by_confidence}


STAGE = Stage(
    "track",
    run,
    TrackParams,
    inputs=(shots.STAGE, given.POSES, estimate.STAGE, suppress.STAGE, embed.STAGE),
    output=TRACKED,
    resources=Resources(cpus=1),
    version=1,
    in_order=True,
    leaves_out=lambda params: () if params["track"].similarity in LEARNED else ("embed",),
    weights=lambda params: {"head": params["track"].head} if params["track"].head else {},
)
