"""A person detector is trained on labelled images, and `tkm annotate` runs what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from storage.labelled import LabelledImage
from storage.sources import InputError
from storage.store import Store
from storage.weights import keep
from tasks import detect
from tasks.detect import DetectParams
from tasks.detector_trainee import DetectorTrainee, DetectorTrainParams, images_of
from tasks.stage import Block
from tasks.train_detector import order
from tasks.training import carry_out
from tests.storage.clips import picture
from tkm.networks.faster_rcnn import PersonDetector
from tkm.skeleton import COCO_17
from tkm.weights import WeightsError

NETWORK = "faster-rcnn-resnet-50"
SIZE = (64, 48)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    """Six pictures with a bright person each; a crowd in the first, nobody in the last."""
    folder = tmp_path_factory.mktemp("pictures")
    return [labelled(folder, n, size=SIZE) for n in range(5)] + [labelled(folder, 5, people=0, size=SIZE)]


def labelled(folder: Path, n: int, *, people: int = 1, size: tuple[int, int]) -> LabelledImage:
    image = picture(n, *size) // 3
    left = 6 + 5 * n
    if people:
        image[8:40, left : left + 14] = 255
    path = folder / f"{n}.png"
    cv2.imwrite(str(path), image)
    boxes = np.array([[left, 8, left + 14, 40], [40, 10, 60, 30]], np.float32)[: people * (2 if n == 0 else 1)]
    P = len(boxes)
    return LabelledImage(
        str(path), None, "truth.json", "v", path.name, COCO_17, boxes, np.full((P, 17, 2), np.nan, np.float32),
        np.zeros((P, 17), np.int8), np.full(P, -1, np.int64), np.arange(P) == 1,
    )  # fmt: skip


def small() -> PersonDetector:
    torch.manual_seed(3)
    network = PersonDetector(NETWORK, 2, min_side_px=64, max_side_px=96, proposals=50)
    network.roi_heads.fg_bg_sampler.batch_size_per_image = 32
    tame(network)
    return network


def tame(network: nn.Module) -> None:
    """Activations of a random residual network would double from block to block."""
    for name, module in network.named_modules():
        if name.endswith("bn3"):
            module.weight.data.fill_(0.2)


def trainee(images: list[LabelledImage], **params: float) -> DetectorTrainee:
    chosen = DetectorTrainParams(**{"batch_size": 2, **params})  # type: ignore[arg-type]
    return DetectorTrainee(small(), images_of(images), images, chosen, threads=1)


def test_who_is_learnt_from(images: list[LabelledImage]) -> None:
    crowd = replace(images[1], is_crowd=np.array([True]))

    assert images_of([*images, crowd]) == images[:5]


def test_crowds_are_painted_over_and_boxes_follow_the_mirror(images: list[LabelledImage]) -> None:
    plain = next(trainee(images[:1], flip=0, batch_size=1).batches(0, 0, 1, 0))
    other = next(trainee(images[:1], flip=1, batch_size=1).batches(0, 0, 1, 0))

    assert plain.targets[0]["boxes"].tolist() == [[6, 8, 20, 40]]
    assert other.targets[0]["boxes"].tolist() == [[64 - 20, 8, 64 - 6, 40]]
    assert plain.images[0][:, 10:30, 40:60].flatten(1).std(dim=1).max() == 0
    torch.testing.assert_close(other.images[0].flip(2), plain.images[0])


def test_processes_share_a_batch_and_an_epoch_can_begin_in_its_middle(images: list[LabelledImage]) -> None:
    own = trainee(images[1:5], batch_size=2)

    def seen(rank: int, world: int, first: int) -> list[list[float]]:
        return [one["boxes"].flatten().tolist() for batch in own.batches(3, rank, world, first) for one in batch.targets]

    alone = seen(0, 1, 0)
    assert len({tuple(box) for box in alone}) == 4
    assert [seen(0, 2, 0)[0], seen(1, 2, 0)[0]] == alone[:2]
    assert seen(0, 1, 1) == alone[2:]


def test_losses_fall_on_what_is_seen_again(images: list[LabelledImage]) -> None:
    own = trainee(images[1:3], flip=0)
    own.model.train()
    optimiser = torch.optim.SGD(own.model.parameters(), lr=0.02, momentum=0.9)
    batch = next(own.batches(0, 0, 1, 0))
    losses = []
    for _ in range(5):
        torch.manual_seed(1)
        parts = own.losses(own.model, batch)
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        # Not those of boxes: they rise as more proposals come to be people's.
        losses.append(parts["loss_classifier"].item() + parts["loss_objectness"].item())
        assert parts["loss"].item() == pytest.approx(sum(value.item() for name, value in parts.items() if name != "loss"))

    assert losses[-1] < 0.9 * losses[0]


def test_validation_gives_cocos_measures(images: list[LabelledImage]) -> None:
    own = trainee(images)

    found = own.validate(own.model.eval())

    assert set(found) == {"AP", "AP50", "AP75"}
    assert all(0 <= value <= 1 for value in found.values())
    assert DetectorTrainee(own.model, images, [], own.params, 1).validate(own.model) == {}


def test_the_rate_goes_with_the_batch() -> None:
    assert DetectorTrainParams().schedule.lr == 0.02
    assert DetectorTrainParams(batch_size=4).schedule.lr == pytest.approx(0.005)
    assert DetectorTrainParams(batch_size=4, lr=0.1).schedule.lr == 0.1
    schedule = DetectorTrainParams(batch_size=16).schedule
    assert schedule.lr_at(0, 0) == pytest.approx(0.02 / 1000)
    assert [schedule.lr_at(epoch, 5) for epoch in (1, 8, 11)] == pytest.approx([0.02, 0.002, 0.0002])


@pytest.fixture
def strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Truth of two strips, at torchvision's size 64 x 1333, little of a frame's work; and weights to start from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = [labelled(tmp_path, n, size=(1000, 48)) for n in range(1, 3)]
    people = [
        {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [*box[:2], *(box[2:] - box[:2])], "keypoints": [0.0] * 51}
        for n, one in enumerate(own) for box in one.box_xyxy_px.astype(float)
    ]  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}
    images = [{"id": n, "file_name": one.name} for n, one in enumerate(own)]
    truth = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    torch.manual_seed(2)
    backbone = resnet50()
    tame(backbone)
    torch.save(backbone.state_dict(), tmp_path / "resnet50.pth")
    return {"truth": str(tmp_path / "truth.json"), "images": str(tmp_path), "init": str(tmp_path / "resnet50.pth")}


def test_what_came_of_a_training_detects(tmp_path: Path, strips: dict[str, str]) -> None:
    store = Store(str(tmp_path / "store"))
    files = {**strips, "val_truth": strips["truth"], "val_images": strips["images"]}
    wanted = order(store, DetectorTrainParams(epochs=1, batch_size=2), **files, threads=1)

    outcome = carry_out(store, wanted, device="cpu", say=lambda _: None)

    assert outcome is not None
    assert {metric.name for metric in outcome.metrics} >= {"loss", "loss_classifier", "loss_objectness", "AP"}
    keep(store, f"{store.root}/{outcome.trained.name}", "--detector-weights")
    params = DetectParams(network=NETWORK, weights=outcome.trained.sha256, score_threshold=0.01)
    block = Block(np.array([0]), np.array([0]), (picture(1, 1000, 48),), {})
    table = detect.STAGE.checked(detect.run(block, params))
    detect._detector.cache_clear()
    assert len(table) > 0


def test_what_cannot_be_trained_is_named_by_option(strips: dict[str, str], tmp_path: Path) -> None:
    params = DetectorTrainParams(batch_size=2)
    with pytest.raises(InputError, match="give one of --init FILE"):
        order(None, params, **{**strips, "init": None})
    with pytest.raises(InputError, match=r"--val-share: a share of 0\.05 leaves nobody held out"):
        order(None, params, **strips)
    with pytest.raises(WeightsError, match=r"--detector-weights: weights file .* classification network"):
        order(None, DetectorTrainParams(val_share=0), **{**strips, "init": None, "detector_weights": strips["init"]})
