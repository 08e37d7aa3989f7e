"""score: results against truth, a video at a time, as PoseTrack's evaluator counts: all that pooling over videos needs."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field

from storage.schemas import VIDEO_SCORES
from storage.scores import scores_to_table
from tasks import publish, truth
from tasks.stage import Params, Resources, Stage
from tkm.datasets.sequence import Sequence
from tkm.metrics.scores import score_video

Protocol = Literal["official", "strict"]


class ScoreParams(Params):
    """Parameters of score."""

    protocol: Protocol = Field("official", description="official, with its quirks, or strict, without")
    keypoint_threshold: float = Field(
        0.0, ge=0, description="keypoints that score less are dropped before tracking is evaluated"
    )


def run(true: Sequence, predicted: Sequence, params: ScoreParams) -> pa.Table:
    """A row a joint. ValueError, naming frame and id, where the sequences cannot be evaluated."""
    return scores_to_table(score_video(true, predicted, params.protocol, params.keypoint_threshold))


STAGE = Stage(
    "score",
    run,
    ScoreParams,
    inputs=(truth.FRAMES, truth.POSES, publish.STAGE),
    output=VIDEO_SCORES,
    resources=Resources(cpus=1),
    version=1,
)
