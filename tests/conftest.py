"""What several tests share: the bundled clip, stages run on a piece of it once a session, and a real S3 server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from dask import config

from storage.bodies import machine_body
from storage.sources import Source, content_digest
from storage.store import Store, StoreError
from tasks import correct, embed, paths, publish, refine, shots, track
from tasks.execute import run_corrections, run_frames, run_in_order, run_index, run_whole
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Params
from tests.heads import on_this_machine, save_random_head
from tests.s3_server import BUCKET, S3Server, serve
from tkm.networks.heads import HeadKind
from tkm.synthetic.bodies.body import BodyModel

NO_HEADS: dict[str, Params] = {"track": track.TrackParams(similarity="oks"), "refine": refine.RefineParams(on=False)}
config.set({"distributed.worker.profile.enabled": False})  # it can hang clusters that tests start themselves: see flows.warm
DEMO_CLIP = Path(__file__).resolve().parents[1] / "deployments" / "demo" / "cam01.mp4"


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The bundled clip: three people, 100 frames, 1088 x 1920."""
    return DEMO_CLIP


def plan_of(store: Store, clip: Path, params: Mapping[str, Params] | None = None) -> VideoPlan:
    """Plan of a clip, or a folder of frames, under the default parameters, but for those given by stage name.

    Unless they say otherwise, people are tracked by their poses alone and nothing is refined, which takes no heads.
    """
    source = Source(str(clip), "frames" if clip.is_dir() else "video")
    chosen = {stage.name: stage.Params() for stage in PIPELINE} | NO_HEADS | dict(params or {})
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
    for stage in (paths.STAGE, refine.STAGE):
        run_frames(plan, [stage], 0, stop, chunk_frames=chunk_frames, threads=threads, report=report)
    if correct.STAGE in plan.stages:
        run_corrections(plan, correct.STAGE, report=report)
    run_frames(plan, [publish.STAGE], 0, stop, chunk_frames=chunk_frames, threads=threads, report=report)
    return computed


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> VideoPlan:
    """All stages but those of heads run on the first 20 frames of the bundled clip. Read it, do not change it."""
    store = Store(str(tmp_path_factory.mktemp("short-run")))
    plan = plan_of(store, DEMO_CLIP, {"index": PIPELINE[0].Params(frames=":20")})
    run_all(plan)
    return plan


def head_params(folder: Path, tau: int = 5) -> dict[str, Params]:
    """Parameters of a run that matches, tracks and refines by heads of random weights, which are put on this machine."""
    kinds: tuple[HeadKind, ...] = ("matching", "body", "refinement")
    digests = {kind: on_this_machine(save_random_head(folder / kind, kind, tau=tau)) for kind in kinds}
    matching, refinement = digests["matching"], digests["refinement"]
    return {
        "embed": embed.EmbedParams(**digests),
        "track": track.TrackParams(similarity="tkm", head=matching),
        "paths": paths.PathsParams(tau=tau, matching=matching),
        "refine": refine.RefineParams(on=True, matching=matching, refinement=refinement),
    }


@pytest.fixture(scope="session")
def refined_run(tmp_path_factory: pytest.TempPathFactory) -> VideoPlan:
    """All stages, those of heads too, run on the first 20 frames of the bundled clip. Read it, do not change it."""
    store = Store(str(tmp_path_factory.mktemp("refined-run")))
    chosen = {"index": PIPELINE[0].Params(frames=":20"), **head_params(tmp_path_factory.mktemp("heads"))}
    plan = plan_of(store, DEMO_CLIP, chosen)
    run_all(plan)
    return plan


@pytest.fixture(scope="session")
def body_model() -> BodyModel:
    """The model of human bodies, from this machine's cache; where it is not there, building it takes a minute."""
    try:
        return BodyModel.from_bytes(machine_body(print))
    except StoreError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on loopback, started for the first test that asks and ended with the session."""
    with serve(tmp_path_factory.mktemp("s3-server")) as server:
        yield server


@pytest.fixture
def no_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests: no AWS settings, no profiles, no role of the machine."""
    for variable in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def s3_root(s3_server: S3Server, no_aws: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address below which nothing lies yet, and an environment by which this process, and those it starts, may use it."""
    for variable, value in s3_server.environment().items():
        monkeypatch.setenv(variable, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["folder", "s3"])
def any_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address below which a test may write: once a folder, once in a bucket."""
    return f"{request.getfixturevalue('s3_root')}/root" if request.param == "s3" else str(tmp_path / "root")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One core, as threads that run networks have: many small tensors take longer on several, the more so on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
