"""estimate with every kind of pose network: settings, weights, tables, and what it leaves for embed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from storage.codecs import candidates_from_table, detections_from_table, detections_to_table, poses_from_table
from storage.sources import Source
from storage.video import decode, probe
from tasks import detect, estimate
from tasks.estimate import EstimateParams
from tasks.stage import Block
from tests.heads import on_this_machine
from tests.tkm.pose_files import flat_names, published, random_network
from tkm import weights
from tkm.networks import runtime
from tkm.skeleton import COCO_17, POSETRACK_15, Skeleton
from tkm.types import DetectionSet
from tkm.weights import WeightsError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def block(demo_clip: Path) -> Block:
    """Two frames of the bundled clip with their detections."""
    source = Source(str(demo_clip))
    info = probe(source)
    numbers = np.array([0, 30])
    images = tuple(image for _, image in decode(source, info, numbers))
    bare = Block(numbers, info.pts_ns[numbers], images, {})
    return replace(bare, inputs={"detect": detect.run(bare, detect.DetectParams(score_threshold=0.5))})


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> EstimateParams:
    """A ResNet-50 of random weights, in a file as SimpleBaseline's, for PoseTrack's keypoints."""
    path = tmp_path_factory.mktemp("weights") / "pose.pth"
    torch.save(flat_names(random_network("resnet-50", POSETRACK_15, seed=3)), path)
    return EstimateParams(network="resnet-50", input_px="256x192", skeleton="posetrack_15", weights=on_this_machine(path))


def both(resnet: EstimateParams, network: str) -> tuple[EstimateParams, Skeleton]:
    return (resnet, POSETRACK_15) if network == "resnet-50" else (EstimateParams(), COCO_17)


def test_defaults_are_those_of_the_network() -> None:
    movenet, hrnet = EstimateParams(), EstimateParams(network="hrnet-w48")
    assert (movenet.network, movenet.input_px, movenet.grey_margin) == ("movenet-thunder", "256x256", 0.05)
    assert (hrnet.input_px, hrnet.grey_margin, hrnet.size_px) == ("384x288", None, (384, 288))
    assert EstimateParams(network="hrnet-w48", grey_margin=0.1).grey_margin == 0.1
    assert EstimateParams(grey_margin="none").grey_margin is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"input_px": "384x288"}, "384x288 does not go with movenet-thunder: give 256x256"),
        ({"network": "resnet-50", "input_px": "192x256"}, "384x288 or 256x192"),
        ({"skeleton": "mpii_16"}, "movenet-thunder has the keypoints of coco_17"),
        ({"network": "resnet-18"}, "hrnet-w48"),
        ({"weights": "pose.pth"}, "pattern"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        EstimateParams(**wrong)  # type: ignore[arg-type]


def test_a_network_without_embedded_weights_says_which_option_gives_them() -> None:
    for use in (estimate.pose_network, lambda params: estimate.STAGE.weights({"estimate": params})):
        with pytest.raises(WeightsError, match=r"hrnet-w32.*--pose-weights"):
            use(EstimateParams(network="hrnet-w32"))


def test_the_key_holds_the_weights_that_are_used() -> None:
    own, given = EstimateParams(), EstimateParams(network="hrnet-w32", weights="a" * 64)
    assert estimate.STAGE.weights({"estimate": own}) == {"movenet-thunder": weights.digest("movenet-thunder")}
    assert estimate.STAGE.weights({"estimate": given}) == {"pose": "a" * 64}


def test_a_file_that_does_not_fit_the_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pose.pth"
    torch.save(published("resnet-50", POSETRACK_15), path)
    sha256 = on_this_machine(path)
    with pytest.raises(WeightsError, match="--estimate-skeleton posetrack_15"):
        estimate.pose_network(EstimateParams(network="resnet-50", weights=sha256))
    with pytest.raises(WeightsError, match="--estimate-network resnet-50"):
        estimate.pose_network(EstimateParams(network="hrnet-w32", weights=sha256))


def test_poses_of_a_public_network_are_its_highest_candidates_in_the_crop(block: Block, resnet: EstimateParams) -> None:
    table = estimate.STAGE.checked(estimate.run(block, resnet.model_copy(update={"heatmaps": True})))
    poses, candidates = poses_from_table(table, POSETRACK_15), candidates_from_table(table, POSETRACK_15)
    assert set(table["skeleton"].to_pylist()) == {"posetrack_15"}
    assert np.array_equal(candidates.pose_cell, candidates.cell[..., 0])
    assert np.array_equal(poses.xy_px, candidates.xy_px[:, :, 0])
    assert np.array_equal(poses.score, candidates.response[..., 0].clip(0, 1))
    assert np.array_equal(candidates.weighted, candidates.response, equal_nan=True)
    assert candidates.response.max() > 1, "raw responses are not clipped"
    heatmap = np.stack([np.asarray(row, np.float32).reshape(15, 64, 48) for row in table["heatmap"].to_pylist()])
    flat = heatmap.reshape(*heatmap.shape[:2], -1)
    assert np.array_equal(np.take_along_axis(flat, candidates.pose_cell[..., None], -1)[..., 0], flat.max(-1))
    # Cell j stands for pixel 4 j of the crop, whose height is 1.25 x the box's, padded to 256 : 192, about the box's centre.
    low, high = poses.box_xyxy_px[:, None, :2], poses.box_xyxy_px[:, None, 2:]
    height = 1.25 * np.maximum((high - low)[..., 1], (high - low)[..., 0] / 0.75)[..., None]
    size = height * (0.75, 1)
    cell = np.stack([candidates.pose_cell % 48, candidates.pose_cell // 48], axis=-1)
    step = size / (192, 256)
    shift = (poses.xy_px - ((low + high - size) / 2 + (4 * cell + 0.5) * step)) / step
    assert np.allclose(np.abs(shift).round(), np.abs(shift), atol=0.01)
    assert set(shift.round().ravel()) == {-1, 0, 1} or set(shift.round().ravel()) == {-1, 1}, "a quarter of a cell is a pixel"


@pytest.mark.parametrize("network", ["movenet-thunder", "resnet-50"])
def test_the_flip_test_changes_responses_a_little_and_features_not_at_all(
    block: Block, resnet: EstimateParams, network: str
) -> None:
    params, skeleton = both(resnet, network)
    shared = [replace(block, pending=frozenset({"embed"}), shared={}) for _ in range(2)]
    plain = poses_from_table(estimate.run(shared[0], params), skeleton)
    flipped = poses_from_table(estimate.run(shared[1], params.model_copy(update={"flip_test": True})), skeleton)
    assert (plain.score != flipped.score).mean() > 0.5
    assert all(torch.equal(a, b) for a, b in zip(*(own.shared["features"] for own in shared), strict=True))
    if network == "movenet-thunder":
        step_px = np.linalg.norm(plain.xy_px - flipped.xy_px, axis=-1)
        crop_px = 1.25 * (plain.box_xyxy_px[:, 2:] - plain.box_xyxy_px[:, :2]).max(axis=1)
        assert np.median(step_px / crop_px[:, None]) * 64 < 0.5, "half the keypoints move less than half a cell"


@pytest.mark.parametrize("network", ["movenet-thunder", "resnet-50"])
def test_features_left_for_embed_are_those_of_a_pass_of_their_own_bit_for_bit(
    block: Block, resnet: EstimateParams, network: str
) -> None:
    params, _ = both(resnet, network)
    own = replace(block, pending=frozenset({"suppress", "embed"}), shared={})
    estimate.run(own, params)
    left = own.shared["features"]
    detections = detections_from_table(block.inputs["detect"])
    some = np.arange(len(detections))[1::2]
    again = estimate.backbone_features(block, detections.take(some), params)
    facts = estimate.pose_network(params).facts
    assert [maps.shape[1] for maps in left] == list(facts.feature_channels)
    for a, b in zip(left, again, strict=True):
        assert a.dtype == torch.float32
        assert len(a) == len(detections)
        assert torch.equal(a[some], b)


def test_nothing_is_left_where_embed_does_not_follow(block: Block) -> None:
    own = replace(block, pending=frozenset({"suppress"}), shared={})
    estimate.run(own, EstimateParams())
    assert own.shared == {}


def test_an_empty_scene_has_an_empty_table_of_every_skeleton(block: Block, resnet: EstimateParams) -> None:
    none = DetectionSet(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.float32), np.empty(0, np.float32))
    empty = replace(block, inputs={"detect": detections_to_table(none)}, pending=frozenset({"embed"}), shared={})
    assert estimate.STAGE.checked(estimate.run(empty, resnet)).num_rows == 0
    assert empty.shared == {}


def test_answers_that_are_not_finite_are_an_error(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "pose.pth"
    torch.save(published("resnet-50") | {"final_layer.bias": torch.full((17,), torch.nan)}, path)
    params = EstimateParams(network="resnet-50", input_px="256x192", weights=on_this_machine(path))
    with pytest.raises(WeightsError, match="not finite"):
        estimate.run(block, params)


@pytest.mark.parametrize("network", ["movenet-thunder", "resnet-50"])
def test_poses_from_a_gpu_are_those_from_the_cpu(
    block: Block, resnet: EstimateParams, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops cut by torch, networks in float16: most keypoints within half a cell, features within 3 % of their range."""
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    params, skeleton = both(resnet, network)
    found = {}
    for kind in ("cuda", "cpu"):
        runtime.device.cache_clear()
        estimate._network.cache_clear()
        monkeypatch.setattr(torch.cuda, "is_available", lambda kind=kind: kind == "cuda")
        own = replace(block, pending=frozenset({"embed"}), shared={})
        found[kind] = poses_from_table(estimate.run(own, params), skeleton), own.shared["features"]
    monkeypatch.undo()
    runtime.device.cache_clear()
    estimate._network.cache_clear()
    (gpu, gpu_maps), (cpu, cpu_maps) = found["cuda"], found["cpu"]
    crop_px = 1.25 * (cpu.box_xyxy_px[:, 2:] - cpu.box_xyxy_px[:, :2]).max(axis=1)
    cells = np.abs(gpu.xy_px - cpu.xy_px).max(axis=-1) / crop_px[:, None] * 64
    assert (cells[cpu.score > 0.3] < 0.5).mean() > (0.95 if network == "movenet-thunder" else 0.7)
    for a, b in zip(gpu_maps, cpu_maps, strict=True):
        assert (a.cpu() - b).abs().mean() < 0.03 * (b.max() - b.min())
