"""track: who is who from frame to frame, by bipartite matching (Eq. 3-4) on a similarity between poses."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.codecs import column, table_of, tracker_state_from_table, tracker_state_to_table
from storage.schemas import TRACKED
from tasks import estimate, given, shots, suppress
from tasks.people import survivors
from tasks.stage import Block, Params, Resources, Stage
from tkm.similarity import Measure
from tkm.tracking import TrackerState, track


class TrackParams(Params):
    """Parameters of track."""

    similarity: Measure = Field("iou", description="similarity between a pose and one of the frame before")
    iou_gate: float = Field(0.1, ge=0, le=1, description="boxes that overlap less are never the same person (Eq. 5)")


def run(block: Block, params: TrackParams, state: pa.Table | None) -> tuple[pa.Table, pa.Table]:
    """Track ids of the survivors of a block of frames, and what the next block needs to go on."""
    poses, skeleton = survivors(block)
    before = TrackerState.start(len(skeleton.keypoints)) if state is None else tracker_state_from_table(state)
    is_cut = column(block.inputs["shots"], "is_first", np.bool_) if "shots" in block.inputs else None
    track_id, after = track(poses, block.frames, before, params.similarity, params.iou_gate, is_cut, skeleton.oks_sigmas)
    table = table_of(TRACKED, frame=poses.frame, detection=poses.detection, track_id=track_id)
    return table, tracker_state_to_table(after, skeleton)


STAGE = Stage(
    "track",
    run,
    TrackParams,
    inputs=(shots.STAGE, given.POSES, estimate.STAGE, suppress.STAGE),
    output=TRACKED,
    resources=Resources(cpus=1),
    version=1,
    in_order=True,
)
