"""Every `tkm` command in README.md and docs/ runs as it stands there, in a shell; what its names stand for is small."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed import LocalCluster

from flows.annotate import annotate, rerun
from storage import runs
from storage.bodies import machine_body
from storage.parquet import parquet_bytes
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import ROOT, by_poses
from tests.flows.test_ablate import _people
from tests.heads import save_random_head
from tests.pieces import write_piece
from tests.tasks.labelled_pictures import write_pictures
from tests.tkm.metrics_builders import video
from tkm.datasets import posetrack18
from tkm.networks.pose import PoseNetwork

pytestmark = [pytest.mark.usefixtures("shared_prefect"), pytest.mark.slow]

PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
ELSEWHERE = {"view": "tests/flows/test_view.py", "ablate": "tests/flows/test_ablate.py"}  # a server; minutes of tuning
FRAMES = 3
HEADS = "--epochs 1 --positives 20 --val-share 0"
SMALLER = {
    "synthesize": "--videos 1 --frames 3 --width 480 --height 270",
    "synthesize --split": "--videos 1",
    "train pose": "--epochs 1 --val-share 0 --batch-size 2 --input-px 256x192 --device cpu",
    "train detector": "--dry-run",
    "train temporal": HEADS,
    "train body": HEADS,
}
NAMES = {
    r" --suspects": "",  # three frames have none; tests/flows/test_corrected_files.py exports some by the command
    r"--detector-weights FILE": "--detector-weights fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
    r"--matching-weights FILE": "--matching-weights M",
    r"--refinement-weights FILE": "--refinement-weights R",
    r"lineage (\S+) VIDEO": r"lineage \1 people.mp4",
    r"\bANNOTATIONS\b": "annotations",
    r"RESULTS \.\.\.": "results",
    r"--init \.\.\.": "--init resnet101.pth",
}


def documented(page: str) -> list[list[str]]:
    """Commands of each of a page's blocks of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    commands = [[line for line in block.replace("\\\n", " ").splitlines() if line.startswith("tkm ")] for block in blocks]
    return [block for block in commands if block]


def words(command: str) -> str:
    """`train pose` of `tkm train pose --truth ...`; a split of rendered clips can only be made shorter."""
    own = command.split()[1:3]
    is_split = own[0] == "synthesize" and "--split" in command.split()
    return "synthesize --split" if is_split else " ".join(own if own[0] == "train" else own[:1])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Iterator[None]:
    """A machine without a user's weights, but with bodies, and one Dask cluster for all commands."""
    cache = tmp_path_factory.mktemp("cache")
    machine_body(print)
    bodies = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tkm"
    shutil.copytree(bodies, cache / "tkm", ignore=lambda _, names: [name for name in names if not name.startswith("body-")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        with LocalCluster(
            n_workers=1, threads_per_worker=3, resources={"CPU": 2, "GPU": 1}, host="127.0.0.1", dashboard_address=None
        ) as cluster:
            patch.setenv("TKM_ENGINE__DASK", cluster.scheduler_address)
            yield


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, machine: None) -> Path:
    """A folder with a file or folder for every name that the commands use."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "VIDEOS").mkdir()
    write_piece(folder / "VIDEOS" / "people.mp4", 0, FRAMES, 544, 960)
    shutil.copy(folder / "VIDEOS" / "people.mp4", folder / "VIDEO")
    store = Store(str(folder / "first"))
    annotate(str(folder / "VIDEOS"), store.root, by_poses(), quiet=True)
    rerun(store.root, None, "track", ["iou_gate=0.2"], [], {}, quiet=True)
    _write_weights(folder)
    _write_truth(folder, store)
    (folder / "wrists.sql").write_text("SELECT video, frame, left_wrist_x FROM poses")
    (folder / "by_place.sql").write_text("SELECT place, count(*) FROM videos JOIN cameras USING (name) GROUP BY ALL")
    (folder / "cameras.csv").write_text("name,place\npeople.mp4,hall\n")
    return folder


def _write_weights(folder: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    for depth in (50, 101, 152):
        torch.save(getattr(torchvision.models, f"resnet{depth}")().state_dict(), folder / f"resnet{depth}.pth")
    detector = torchvision.models.detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    torch.save(detector.state_dict(), folder / "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth")
    torch.save(PoseNetwork("hrnet-w48").keypoints.state_dict(), folder / "pose_hrnet_w48_384x288.pth")
    save_random_head(folder / "M", "matching")
    save_random_head(folder / "R", "refinement")
    save_random_head(folder / "OTHER", "matching", seed=1)


def _write_truth(folder: Path, store: Store) -> None:
    poses = read_results(store, None, "poses")
    document = posetrack18.write(video(_people(poses.to_pandas()), FRAMES, name="people"))
    (folder / "annotations").mkdir()
    (folder / "annotations" / "people.json").write_text(json.dumps(document))
    for person in document["annotations"]:
        person["keypoints"] = [0] * len(person["keypoints"])
    (folder / "boxes.json").write_text(json.dumps(document))
    (folder / "poses").mkdir()
    (folder / "poses" / "people.parquet").write_bytes(parquet_bytes(poses))
    pictures = write_pictures(folder / "pictures", 4)
    shutil.copy(pictures, folder / "coco.json")
    (folder / "pictures").rename(folder / "train2017")


@pytest.mark.parametrize("page", [page for page in PAGES if documented(page)])
def test_the_commands_of_a_page_run(page: str, desk: Path, machine: None) -> None:
    for block in documented(page):
        for folder in ("results", "data", "trainings", "to-correct"):
            shutil.rmtree(desk / folder, ignore_errors=True)
        if words(block[0]).split()[0] not in ("annotate", "synthesize"):  # which begin with nothing
            shutil.copytree(desk / "first", desk / "results")
        run_a, run_b = runs.all_runs(Store(str(desk / "first")))
        names = {**NAMES, r"\bRUN_A\b|\bRUN\b": run_a, r"\bRUN_B\b": run_b}
        for command in (command for command in block if words(command) not in ELSEWHERE):
            small = command.partition(" #")[0]
            for name, stand_in in names.items():
                small = re.sub(name, stand_in, small)
            before, redirection, file = small.partition(" < ")
            done = in_a_shell(f"{before} {SMALLER.get(words(command), '')}{redirection}{file}", desk)
            assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"


def in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as typed, `tkm` being that of this environment."""
    environment: dict[str, Any] = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "160"}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


def test_commands_that_run_elsewhere_do() -> None:
    for command, file in ELSEWHERE.items():
        assert f'"{command}"' in (ROOT / file).read_text()
