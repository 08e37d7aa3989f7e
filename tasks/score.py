"""score and oks: a video's results against its truth, as PoseTrack's evaluator and as COCO count: all that pooling needs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.evaluation_schemas import VIDEO_OKS, VIDEO_SCORES
from storage.scores import oks_to_table, scores_to_table
from tasks import index, publish, truth
from tasks.stage import Params, Resources, Stage
from tkm.datasets.sequence import Sequence
from tkm.metrics.mota import Protocol
from tkm.metrics.oks import oks_evaluations
from tkm.metrics.scores import score_video


class ScoreParams(Params):
    """Parameters of score."""

    protocol: Protocol = Field("official", description="official counts as PoseTrack's evaluator does, strict without its quirks")
    keypoint_threshold: float | None = Field(
        None, description="keypoints that score less are dropped before tracking is evaluated (default: none)"
    )


class OksParams(Params):
    """Parameters of oks: it has none, COCO's are fixed."""


def run_score(true: Sequence, predicted: Sequence, params: ScoreParams) -> pa.Table:
    """A row a joint; both of PoseTrack's 15. ValueError, naming frame and id, for what cannot be evaluated."""
    threshold = -np.inf if params.keypoint_threshold is None else params.keypoint_threshold
    return scores_to_table(score_video(true, predicted, params.protocol, threshold))


def run_oks(true: Sequence, predicted: Sequence, params: OksParams) -> pa.Table:  # noqa: ARG001 - every stage takes its params
    """A row a range of area; both of one skeleton. ValueError for a predicted person without any score."""
    return oks_to_table(oks_evaluations(true, predicted))


_INPUTS = (truth.FRAMES, truth.POSES, index.STAGE, publish.STAGE)
_CPU = Resources(cpus=1)
STAGE = Stage("score", run_score, ScoreParams, inputs=_INPUTS, output=VIDEO_SCORES, resources=_CPU, version=1)
OKS = Stage("oks", run_oks, OksParams, inputs=_INPUTS, output=VIDEO_OKS, resources=_CPU, version=1)
