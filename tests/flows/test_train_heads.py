"""`tkm train temporal` and `tkm train body` as their users meet them: from annotated clips and truth to heads that annotate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.annotate import annotate
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import ROOT, tkm
from tests.flows.test_ablate import _people
from tests.tkm.metrics_builders import video
from tkm.datasets import posetrack18
from tkm.networks.heads import read_facts

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

SMALL = ("--epochs", "1", "--positives", "20", "--val-share", "0", "--tau", "2")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, people_clip: Path, prefect_server: None) -> tuple[Path, Path]:
    """Annotated results of two clips, of the first six of whose frames people are known, and truth: what was found there."""
    root = tmp_path_factory.mktemp("clips")
    (root / "videos").mkdir()
    (root / "truth").mkdir()
    for name in ("one", "two"):
        shutil.copy(people_clip, root / "videos" / f"{name}.mp4")
    annotate(str(root / "videos"), str(root / "results"), {"index": {"frames": ":6"}}, quiet=True)
    poses = read_results(Store(str(root / "results")), None, "poses").to_pandas()
    for name in ("one", "two"):
        own = poses[poses.video == sorted(set(poses.video))[0]]
        document = posetrack18.write(video(_people(own), 12, name=name))
        (root / "truth" / f"{name}.json").write_text(json.dumps(document))
    return root / "results", root / "truth"


@pytest.fixture
def command(shared_prefect: None) -> Any:
    """The command, which reports to the tests' server."""
    return tkm


def test_heads_are_trained_told_where_they_lie_and_annotate(
    clips: tuple[Path, Path], people_clip: Path, tmp_path: Path, command: Any
) -> None:
    results, truth = clips
    wanted = ("train", "temporal", str(results), "--truth", str(truth), "-o", str(tmp_path / "out"), *SMALL)
    before = command(*wanted, "--dry-run")
    assert before.returncode == 0, before.stderr
    assert "2 of 2 videos would be made" in before.stdout
    assert not (tmp_path / "out" / "training").exists()

    done = command(*wanted, "--save", str(tmp_path))

    assert done.returncode == 0, done.stderr
    facts = [read_facts(tmp_path / f"{kind}.safetensors") for kind in ("matching", "refinement")]
    assert [(one.kind, one.tau) for one in facts] == [("matching", 2), ("refinement", 2)]
    use = next(line for line in done.stdout.splitlines() if line.startswith("next: tkm ")).removeprefix("next: tkm ")
    arguments = use.replace("VIDEOS", str(people_clip)).replace("OUT ", f"{tmp_path / 'annotated'} ").split()
    assert arguments[0] == "annotate"
    used = command(*arguments, "--frames", ":4")
    assert used.returncode == 0, used.stderr
    assert "refine 4" in used.stdout

    again = command(*wanted)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was done before") == 2
    after = command(*wanted, "--dry-run")
    assert after.stdout.count("is done: nothing would be trained") == 2


def test_a_body_head_and_a_head_of_single_frames_take_the_same_samples(
    clips: tuple[Path, Path], tmp_path: Path, command: Any
) -> None:
    results, truth = clips
    rest = (str(results), "--truth", str(truth), "-o", str(tmp_path / "out"), "--epochs", "1", "--val-share", "0")
    one = command("train", "body", *rest)
    assert one.returncode == 0, one.stderr
    assert "--track-similarity tbm --body-weights" in one.stdout
    other = command("train", "temporal", *rest, "--tau", "0")
    assert other.returncode == 0, other.stderr
    assert "--refine --paths-tau 0 --refinement-weights" in other.stdout
    assert "self-refinement.safetensors" in other.stdout
    assert len(Store(str(results)).list("manifests/samples")) == 2


def test_processes_of_torchrun_train_together(clips: tuple[Path, Path], tmp_path: Path) -> None:
    results, truth = clips
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "flows.cli"]
    wanted = ["train", "temporal", str(results), "--truth", str(truth), "-o", str(tmp_path / "out"), *SMALL, "--device", "cpu"]
    done = subprocess.run(
        [*command, *wanted],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: tkm annotate") == 1
    assert "--matching-weights" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--truth", "NOWHERE"], "NOWHERE"),
        (["--matching-weights", "no.safetensors"], "--matching-weights: no.safetensors: no such file"),
        (["--tau", "0", "--matching-weights", "no.safetensors"], "--matching-weights: with --tau 0"),
        (["--sigma", "0"], "--sigma: must be greater than 0"),
        (["--save", "nowhere/heads"], "--save nowhere/heads: give a folder"),
        (["--videos", "three"], "--videos three"),
    ],
)
def test_what_is_mistyped_is_named_before_anything_starts(
    clips: tuple[Path, Path], tmp_path: Path, arguments: list[str], said: str
) -> None:
    results, truth = clips
    rest = arguments if "--truth" in arguments else ["--truth", str(truth), *arguments]
    found = tkm("train", "temporal", str(results), "-o", str(tmp_path / "out"), *rest)
    assert found.returncode == 2
    assert said in found.stderr
    assert "starting" not in found.stderr
