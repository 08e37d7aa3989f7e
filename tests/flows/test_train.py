"""`tkm train` as a person meets it: what is trained is used by `tkm annotate`, done once, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flows.settings import SettingsError
from flows.train import Manner, state, train_pose
from storage import tables
from storage.store import Store
from tasks.pose_trainee import PoseTrainParams
from tasks.train_pose import order
from tests.flows.commands import ROOT, tkm
from tests.tasks.labelled_pictures import write_pictures


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ResNet-50 of random weights, on a machine that has no user's weights yet."""
    from torchvision.models import resnet50

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    torch.save(resnet50().state_dict(), tmp_path / "resnet50.pth")
    return tmp_path / "resnet50.pth"


@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_annotate_takes_what_train_pose_made(tmp_path: Path, imagenet: Path, people_clip: Path) -> None:
    truth, saved, store = write_pictures(tmp_path / "data", 4), tmp_path / "mine.pth", Store(str(tmp_path / "out"))
    sized = ("--network", "resnet-50", "--input-px", "256x192", "--batch-size", "2", "--epochs", "1", "--val-share", "0")
    command = ("train", "pose", "--truth", str(truth), "--init", str(imagenet), *sized, "--device", "cpu")
    done = tkm(*command, "-o", store.root, "--save", str(saved))
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 1: loss" in done.stderr
    assert "--pose-weights" in done.stdout
    again = tkm(*command, "-o", store.root, "--dry-run")
    assert "nothing would be trained" in again.stdout

    given = ("--estimate-network", "resnet-50", "--estimate-input-px", "256x192", "--pose-weights", str(saved))
    annotated = tkm("annotate", str(people_clip), "-o", str(tmp_path / "poses"), "--frames", ":2", "--quiet", *given)
    assert annotated.returncode == 0, annotated.stderr
    assert tables.read(Store(str(tmp_path / "poses")), "frames").num_rows == 2


def test_a_detector_is_planned_by_a_command(tmp_path: Path, imagenet: Path) -> None:
    truth, output = write_pictures(tmp_path / "data", 2), str(tmp_path / "out")
    command = ("train", "detector", "--truth", str(truth), "--init", str(imagenet), "--val-share", "0", "-o", output, "--dry-run")
    planned = tkm(*command, "--network", "faster-rcnn-resnet-50", "--epochs", "3")
    assert "of detector: 3 epochs would be trained" in planned.stdout, planned.stderr
    wrong = tkm(*command, "--network", "faster-rcnn-resnet-101")
    assert wrong.returncode == 2
    assert "--init" in wrong.stderr
    assert "resnet50" in wrong.stderr


def test_a_dry_run_tells_what_is_there_and_writes_nothing(tmp_path: Path, imagenet: Path) -> None:
    truth, store = str(write_pictures(tmp_path / "data", 4)), Store(str(tmp_path / "out"))
    params = PoseTrainParams(input_px="256x192", epochs=3, val_share=0)
    assert "3 epochs would be trained" in state(store, order(None, params, truth, init=str(imagenet)))
    assert not (tmp_path / "out").exists()


def test_what_does_not_go_with_the_machine_is_named(
    tmp_path: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="--device"):
        Manner(device="tpu").checked()
    with pytest.raises(SettingsError, match="--save"):
        Manner(device="cpu", save=str(tmp_path / "nowhere" / "file.pth")).checked()
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "3"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    truth = str(write_pictures(tmp_path / "data", 4))
    files = {"truth": truth, "init": str(imagenet)}
    with pytest.raises(SettingsError, match="multiple of 3"):
        train_pose.fn(str(tmp_path / "out"), {"batch_size": 2, "input_px": "256x192", "val_share": 0}, files, {"device": "cpu"})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--truth", "nowhere.json", "--init", "README.md"], "nowhere.json"),
        (["--truth", "nowhere.json", "--lr", "0"], "--lr: must be greater than 0 (given: '0')"),
        (["--truth", "nowhere.json", "--network", "resnet-18"], "--network"),
        (["--truth", "nowhere.json", "--input-px", "100x100"], "--input-px 100x100 does not go with resnet-50"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(arguments: list[str], named: str) -> None:
    done = tkm("train", "pose", "-o", "out", *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (ROOT / "out").exists()
