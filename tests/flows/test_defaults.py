"""What a run does that nobody set anything of: the embedded heads match, track and refine; and what older runs did stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.annotate import Summary, annotate, rerun
from flows.preview import preview
from flows.settings import load_settings
from storage import runs
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import by_poses
from tkm import weights

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

FRAMES = 8
FIRST: dict[str, Any] = {"index": {"frames": f":{FRAMES}"}, "engine": {"chunk_frames": 3}}
NETWORKS = ("index", "detect", "estimate", "suppress")


@pytest.fixture(scope="module")
def by_default(tmp_path_factory: pytest.TempPathFactory, demo_clip: Path, prefect_server: None) -> tuple[Store, Summary]:
    """A store with a run over the first frames of the bundled clip, of which the sampling alone is set."""
    store = Store(str(tmp_path_factory.mktemp("defaults") / "out"))
    return store, annotate(str(demo_clip), store.root, FIRST, quiet=True)


def computed(summary: Summary) -> dict[str, int]:
    assert summary.failures == ()
    return {stage: frames for stage, frames in summary.frames.items() if frames}


def params(store: Store, run: str) -> dict[str, dict[str, Any]]:
    """Parameters of a run's only video, by stage."""
    return {row["stage"]: json.loads(row["params"]) for row in runs.read_plan(store, run).to_pylist()}


def poses(store: Store, run: str) -> pd.DataFrame:
    return read_results(store, run, "poses").to_pandas().sort_values(["frame", "detection"], ignore_index=True)


def test_a_run_is_tracked_by_keypoint_matching_and_refined(by_default: tuple[Store, Summary], demo_clip: Path) -> None:
    store, summary = by_default
    assert computed(summary) == dict.fromkeys((*NETWORKS, "embed", "track", "paths", "refine", "publish"), FRAMES)
    used = params(store, summary.run)
    matching, refinement = weights.digest("matching"), weights.digest("refinement")
    assert (used["track"]["similarity"], used["track"]["memory_frames"], used["track"]["head"]) == ("tkm", 60, matching)
    assert (used["paths"]["tau"], used["refine"]["matching"], used["refine"]["refinement"]) == (5, matching, refinement)
    assert store.list("weights") == {}, "workers have the package's own"
    rows = poses(store, summary.run)
    assert sorted(rows.frame.unique()) == list(range(FRAMES))
    assert rows[["nose_initial_x", "left_ankle_initial_y", "nose_initial_score", "nose_x"]].notna().all(axis=None)
    assert (rows.nose_score != rows.nose_initial_score).any()
    assert preview(str(demo_clip), store, load_settings(FIRST)).missing == dict.fromkeys(used, 0)


def test_tracks_by_poses_and_no_refinement_take_what_networks_made(by_default: tuple[Store, Summary], demo_clip: Path) -> None:
    store, first = by_default
    plain = annotate(str(demo_clip), store.root, by_poses(**FIRST), quiet=True)
    assert computed(plain) == {"track": FRAMES, "publish": FRAMES}
    rows, before = poses(store, plain.run), poses(store, first.run)
    assert rows.nose_initial_x.isna().all()
    assert rows.nose_x.equals(before.nose_initial_x), "before refinement, poses are those of the network"
    # A rerun is of what the run was, whatever is the default.
    again = rerun(store.root, plain.run, "suppress", ["min_pose_score=0.01"], quiet=True)
    assert computed(again) == dict.fromkeys(("suppress", "track", "publish"), FRAMES)
    used = params(store, again.run)
    assert used.keys() == {*NETWORKS, "track", "publish"}
    assert (used["track"]["similarity"], used["track"]["memory_frames"]) == ("oks", 0)


def test_a_rerun_by_another_similarity_has_its_memory_and_refines_as_before(by_default: tuple[Store, Summary]) -> None:
    store, first = by_default
    again = rerun(store.root, first.run, "track", ["similarity=iou"], quiet=True)
    assert computed(again) == {"track": FRAMES, "publish": FRAMES}
    used = params(store, again.run)
    assert (used["track"]["similarity"], used["track"]["memory_frames"], used["track"]["head"]) == ("iou", 0, None)
    assert used["refine"] == params(store, first.run)["refine"]
    assert poses(store, again.run).nose_x.equals(poses(store, first.run).nose_x)


def test_single_frames_are_refined_by_a_head_of_their_own(by_default: tuple[Store, Summary], demo_clip: Path) -> None:
    store, _ = by_default
    alone = annotate(str(demo_clip), store.root, {**FIRST, "paths": {"tau": 0}}, quiet=True)
    assert computed(alone) == dict.fromkeys(("embed", "track", "refine", "publish"), FRAMES)
    used = params(store, alone.run)
    assert (used["refine"]["refinement"], used["refine"]["matching"]) == (weights.digest("self-refinement"), None)
