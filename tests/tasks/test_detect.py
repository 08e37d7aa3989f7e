"""detect with Faster R-CNN and a user's weights file: torchvision's people in pixels of the frame, however frames are grouped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torchvision.models.detection import FasterRCNN

from tasks import detect
from tasks.detect import DetectParams
from tasks.stage import Block
from tests.tkm.detector_builders import NMS_IOU, SCORE, frames, people_of, reference
from tkm import weights

NETWORK = "faster-rcnn-resnet-50"
# Strips: at torchvision's size, of 800 to 1333 pixels a side, they are 32 x 1333, little of a frame's work.
STRIPS = frames(2, 24, 1000)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As stages run networks on a CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def theirs() -> FasterRCNN:
    """torchvision's network, at the size of its input that torchvision has chosen."""
    network = reference(NETWORK, min_size=96, max_size=160)
    network.transform.min_size, network.transform.max_size = (800,), 1333
    return network


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, theirs: FasterRCNN) -> Iterator[DetectParams]:
    """Parameters with a user's file of weights, which is in this machine's cache."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        weights.cache_folder().mkdir(parents=True)
        path = weights.cache_folder() / "incoming"
        torch.save({"model": theirs.state_dict(), "epoch": 25}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(weights.cache_folder() / digest)
        yield DetectParams(network=NETWORK, weights=digest, score_threshold=SCORE, nms_iou=NMS_IOU)
        detect._detector.cache_clear()


def block(*places: int) -> Block:
    return Block(np.array(places), np.array(places) * 40, tuple(STRIPS[place].numpy() for place in places), {})


@pytest.fixture(scope="module")
def table(given: DetectParams) -> pa.Table:
    return detect.STAGE.checked(detect.run(block(0, 1), given))


def test_people_are_those_that_torchvision_finds_at_its_own_size(table: pa.Table, theirs: FasterRCNN) -> None:
    rows = table.to_pandas()
    for place in range(len(STRIPS)):
        score, box = people_of(theirs, STRIPS[place])
        solid = ((box[:, 2:] - box[:, :2]) >= 1).all(dim=1)
        expected = np.column_stack([box[solid].numpy(), score[solid].numpy()])
        mine = rows[rows.frame == place][["box_x1", "box_y1", "box_x2", "box_y2", "box_score"]].to_numpy()
        # Of a thousand proposals some are so alike that rounding decides which one suppresses the other.
        assert len(expected) > 100
        assert alike(mine, expected) > 0.98
        assert alike(expected, mine) > 0.98


def alike(rows: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Share of rows (P, 5), box and score, that stand among others within 0.1 px and 1e-3."""
    return float((np.abs(rows[:, None] - others[None]) < [0.1, 0.1, 0.1, 0.1, 1e-3]).all(axis=2).any(axis=1).mean())


def test_rows_are_numbered_by_falling_score_and_stay_within_the_frame(table: pa.Table) -> None:
    rows = table.to_pandas()
    for _, frame in rows.groupby("frame"):
        assert frame.detection.tolist() == list(range(len(frame)))
        assert frame.box_score.is_monotonic_decreasing
    assert rows[["box_x1", "box_x2"]].stack().between(0, 1000).all()
    assert rows[["box_y1", "box_y2"]].stack().between(0, 24).all()


def test_grouping_frames_otherwise_changes_no_bit(table: pa.Table, given: DetectParams) -> None:
    apart = [detect.run(block(place), given) for place in range(len(STRIPS))]
    assert pa.concat_tables(apart).equals(table)


def test_a_higher_threshold_keeps_the_best(table: pa.Table, given: DetectParams) -> None:
    strict = detect.run(block(1), given.model_copy(update={"score_threshold": 0.5})).to_pandas()
    loose = table.to_pandas().query("frame == 1")
    assert 0 < len(strict) < len(loose)
    assert np.array_equal(strict.to_numpy(), loose[loose.box_score >= 0.5].to_numpy())


def test_the_network_is_built_once(given: DetectParams) -> None:
    assert detect.detector(given) is detect.detector(given.model_copy(update={"score_threshold": 0.9}))


def test_the_key_holds_the_digest_of_the_file_that_is_used(given: DetectParams) -> None:
    assert detect.STAGE.weights({"detect": DetectParams()}) == {"nanodet": weights.digest("nanodet")}
    assert detect.STAGE.weights({"detect": given}) == {"detector": given.weights}


def test_a_network_without_its_file_names_the_option_and_is_never_planned() -> None:
    lacking = DetectParams(network="faster-rcnn-resnet-101")
    for use in (detect.detector, lambda params: detect.STAGE.weights({"detect": params})):
        with pytest.raises(weights.WeightsError, match=r"faster-rcnn-resnet-101 needs a weights file.*--detector-weights FILE"):
            use(lacking)


def test_a_file_of_another_network_is_refused(given: DetectParams) -> None:
    other = given.model_copy(update={"network": "faster-rcnn-resnet-50-v2"})
    with pytest.raises(weights.WeightsError, match=r"it fits --detect-network faster-rcnn-resnet-50$"):
        detect.detector(other)


@pytest.mark.parametrize(
    ("settings", "named"), [({"deformable": True}, "deformable"), ({"weights": "a" * 64}, "--detector-weights")]
)
def test_nanodet_takes_nothing_that_only_faster_rcnn_has(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=rf"nanodet takes no .*{named}.*choose a Faster R-CNN"):
        DetectParams.model_validate(settings)
