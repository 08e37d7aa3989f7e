"""What several tests share: the bundled clip, and stages run on a piece of it once a session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from storage.sources import Source, content_digest
from storage.store import Store
from tasks import shots, track
from tasks.execute import run_frames, run_in_order, run_index, run_whole
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Params

DEMO_CLIP = Path(__file__).resolve().parents[1] / "deployments" / "demo" / "cam01.mp4"


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The bundled clip: three people, 100 frames, 1088 x 1920."""
    return DEMO_CLIP


def plan_of(store: Store, clip: Path, params: Mapping[str, Params] | None = None) -> VideoPlan:
    """Plan of a clip, or a folder of frames, under the default parameters, but for those given by stage name."""
    source = Source(str(clip), "frames" if clip.is_dir() else "video")
    chosen = {stage.name: stage.Params() for stage in PIPELINE} | dict(params or {})
    return plan_video(store, source, content_digest(source), chosen)


def run_all(plan: VideoPlan, *, chunk_frames: int = 128, threads: int = 2) -> dict[str, int]:
    """Run every stage that is missing, without Dask and Prefect; frames that each one computed."""
    computed = {stage.name: 0 for stage in PIPELINE}

    def report(stage: str, frames: int) -> None:
        computed[stage] += frames

    stop = run_index(plan, report)
    run_frames(plan, STEPS["networks"], 0, stop, chunk_frames=chunk_frames, threads=threads, report=report)
    if shots.STAGE in plan.stages:
        run_whole(plan, shots.STAGE, report=report)
    run_in_order(plan, track.STAGE, chunk_frames=chunk_frames, report=report)
    run_frames(plan, STEPS["publish"], 0, stop, chunk_frames=chunk_frames, threads=1, report=report)
    return computed


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> VideoPlan:
    """All stages run on the first 20 frames of the bundled clip. Read it, do not change it."""
    store = Store(str(tmp_path_factory.mktemp("short-run")))
    plan = plan_of(store, DEMO_CLIP, {"index": PIPELINE[0].Params(frames=":20")})
    run_all(plan)
    return plan
