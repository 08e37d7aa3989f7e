"""The stages under the default parameters, with the embedded heads, on the bundled clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.store import Store
from tasks import embed, index, paths, publish, refine, suppress, track
from tasks.heads import with_weights
from tasks.pipeline import PIPELINE
from tests.conftest import plan_of, run_all
from tkm import weights

FRAMES = 4


@pytest.mark.usefixtures("one_thread")
def test_by_default_people_are_tracked_by_keypoint_matching_and_refined(demo_clip: Path, tmp_path: Path) -> None:
    params = {stage.name: stage.Params() for stage in PIPELINE} | {"index": index.IndexParams(frames=f":{FRAMES}")}
    plan = plan_of(Store(str(tmp_path)), demo_clip, with_weights(params, {}))
    run_all(plan, chunk_frames=3)
    assert {embed.STAGE, track.STAGE, paths.STAGE, refine.STAGE} <= set(plan.stages)
    manifest = plan.artifact(track.STAGE).manifest()
    assert manifest is not None
    assert "embed" in manifest.inputs, "people are matched by features"
    assert track.STAGE.weights(plan.params) == {"head": weights.digest("matching")}
    assert refine.STAGE.weights(plan.params)["refinement"] == weights.digest("refinement")
    rows = plan.artifact(publish.STAGE).read().to_pandas()
    assert len(rows) == plan.artifact(suppress.STAGE).read().to_pandas().is_kept.sum() > FRAMES
    assert not rows.duplicated(["frame", "track_id"]).any()
    joints = [f"nose{part}" for part in ("_x", "_y", "_score", "_initial_x", "_initial_y", "_initial_score")]
    assert np.isfinite(rows[joints]).all(axis=None)
    assert (rows.nose_score != rows.nose_initial_score).any(), "a refined keypoint has another response"
