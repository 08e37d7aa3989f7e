"""Stage 1: what a pose network is trained on, what it starts from, and that its file is one that annotating takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from storage import tables
from storage.labelled import read_labelled
from storage.sources import InputError
from storage.store import Store
from tasks.pose_trainee import PoseTrainee, PoseTrainParams, people_of
from tasks.train_pose import order, pack
from tasks.training import carry_out
from tests.tasks.labelled_pictures import write_pictures
from tests.tkm.pose_files import as_mmpose, flat_names, published
from tkm.networks import checkpoints
from tkm.networks.pose import PoseNetwork
from tkm.skeleton import COCO_17
from tkm.weights import WeightsError

pytestmark = pytest.mark.usefixtures("one_thread")
PARAMS = PoseTrainParams(input_px="256x192", batch_size=2, epochs=1)


@pytest.fixture(autouse=True)
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no user's weights yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-50 of random weights, as torchvision publishes one that was trained on ImageNet."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("imagenet") / "resnet50.pth"
    torch.save(resnet50().state_dict(), path)
    return path


def test_the_same_samples_come_for_the_same_epoch_whatever_came_before(tmp_path: Path) -> None:
    people = people_of(read_labelled(str(write_pictures(tmp_path / "data", 5)), None))
    with torch.device("meta"):
        network = PoseNetwork("resnet-50")
    trainee = PoseTrainee(network, people, [], PARAMS, threads=2)
    whole = list(trainee.batches(1, 0, 1, 0))
    rest = list(trainee.batches(1, 0, 1, 2))

    assert [tuple(batch.pixels.shape) for batch in whole] == [(2, 256, 192, 3)] * 3
    assert len(rest) == 1
    for found, expected in zip(rest[0], whole[2], strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(next(trainee.batches(2, 0, 1, 0)).pixels, whole[0].pixels)


@pytest.mark.slow
def test_a_trained_file_is_read_as_the_network_that_was_trained(tmp_path: Path, imagenet: Path) -> None:
    truth = write_pictures(tmp_path / "data", 6)
    store = Store(str(tmp_path / "out"))
    wanted = order(store, PARAMS.model_copy(update={"val_share": 0.4, "seed": 1}), str(truth), init=str(imagenet), threads=1)
    said: list[str] = []
    outcome = carry_out(store, wanted, device="cpu", say=said.append)

    assert outcome is not None
    assert not outcome.was_done
    values = {(metric.split, metric.name): metric.value for metric in outcome.metrics}
    assert {("train", "loss"), ("val", "loss"), ("val", "pck_0.1")} <= values.keys()
    assert 0 <= values["val", "pck_0.1"] <= 1
    assert said[0].startswith("epoch 1 of 1: loss ")
    rows = tables.read(store, "trainings").to_pylist()
    assert {row["training"] for row in rows} == {outcome.training.key}
    assert {(row["split"], row["metric"], row["epoch"]) for row in rows} == {(*key, 1) for key in values}
    assert store.read(f"{outcome.training.folder}/curves.png").startswith(b"\x89PNG")

    file = tmp_path / "trained.pth"
    file.write_bytes(store.read(outcome.trained.name))
    network = checkpoints.pose_network(file, "resnet-50")
    checkpoint, _ = outcome.training.newest()
    assert checkpoint is not None
    assert isinstance(network.keypoints, torch.nn.Module)
    for name, tensor in network.keypoints.state_dict().items():
        assert torch.equal(tensor, checkpoint.model[f"keypoints.{name}"]), name
    started = torch.load(imagenet, weights_only=True)
    assert not torch.equal(flat_names(network)["layer4.2.conv3.weight"], started["layer4.2.conv3.weight"])

    again = carry_out(store, wanted, device="cpu")
    assert again is not None
    assert again.was_done
    assert again.trained == outcome.trained


def test_mmposes_resnets_keep_their_colours_through_training(tmp_path: Path) -> None:
    path, packed = tmp_path / "mmpose.pth", tmp_path / "packed.pth"
    torch.save({"state_dict": as_mmpose(published("resnet-50"))}, path)
    network = checkpoints.pose_network(path, "resnet-50")
    packed.write_bytes(pack(network))
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3), np.uint8))
    again = checkpoints.pose_network(packed, "resnet-50")
    assert torch.equal(again.normalise(pixels), network.normalise(pixels))
    assert not torch.equal(PoseNetwork("resnet-50").normalise(pixels), network.normalise(pixels))


def test_what_cannot_be_trained_is_named_by_its_option(tmp_path: Path, imagenet: Path) -> None:
    truth = str(write_pictures(tmp_path / "data", 4))
    others = str(write_pictures(tmp_path / "others", 4, COCO_17))
    pose = tmp_path / "pose.pth"
    torch.save(published("resnet-101"), pose)
    with pytest.raises(InputError, match=r"--init FILE.*--pose-weights FILE"):
        order(None, PARAMS, truth)
    with pytest.raises(InputError, match=r"--init: .*nowhere"):
        order(None, PARAMS, truth, init=str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"--pose-weights: .*resnet-101"):
        order(None, PARAMS, truth, pose_weights=str(pose))
    with pytest.raises(WeightsError, match="--init: "):
        order(None, PARAMS.model_copy(update={"network": "resnet-101"}), truth, init=str(imagenet))
    with pytest.raises(InputError, match="--val-share: "):
        order(None, PARAMS.model_copy(update={"val_share": 1e-9}), truth, init=str(imagenet))
    with pytest.raises(InputError, match="--new-head: "):
        order(None, PARAMS.model_copy(update={"new_head": True}), truth, init=str(imagenet))
    with pytest.raises(InputError, match="nowhere"):
        order(None, PARAMS, str(tmp_path / "nowhere.json"), init=str(imagenet))
    assert order(None, PARAMS, truth, val_truth=others, init=str(imagenet)).data.keys() == {"train", "val"}
