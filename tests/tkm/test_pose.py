"""Pose networks: parameters as published, preprocessing and decoding as in training, one interface for all families."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from tests.tkm.pose_files import flat_names, random_network
from tkm.heatmaps import local_maxima
from tkm.networks import pose, runtime
from tkm.networks.facts import FACTS, NETWORKS
from tkm.networks.heads import HeadFacts, HeadKind, build
from tkm.networks.keypoint_head import HeatmapNetwork, KeypointHead
from tkm.networks.pose import PoseNetwork
from tkm.skeleton import COCO_17, MPII_16, POSETRACK_15

# ImageNet's, as torchvision states them: for the first, second and third channel as it is fed.
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

pytestmark = pytest.mark.usefixtures("one_thread")

# SHA-256 of the parameters' names and shapes in the files that the networks' authors published for COCO, sorted, a line each.
PUBLISHED = {
    "hrnet-w32": "b6d62e0de98476dbb11d8f21a0e8eee317b85cfa26ad4c1de92104ec147f3071",
    "hrnet-w48": "bf0c500246af9dc9f598cf6fef00a810c1893f02ceee09220b050057251c3295",
    "resnet-50": "2849bec1ec860dd166b58a262077e1d400cb062ba061537387dcce2bcd5d4331",
    "resnet-152": "c530501af08a0d7c21699b260838f291195e4b7a2d57b886c6a8c60e6acefa76",
}


@pytest.fixture(scope="module")
def resnet() -> PoseNetwork:
    return random_network("resnet-50", POSETRACK_15, seed=3).to(memory_format=torch.channels_last)


def pixels(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_named_and_shaped_as_published(name: str) -> None:
    with torch.device("meta"):
        own = flat_names(PoseNetwork(name))
    lines = [f"{key} {tuple(tensor.shape)}" for key, tensor in sorted(own.items())]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED[name]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "movenet-thunder"])
@pytest.mark.parametrize("size_px", [(384, 288), (256, 192)])
def test_heatmaps_and_features_have_the_strides_that_are_stated(name: str, size_px: tuple[int, int]) -> None:
    with torch.device("meta"):
        output = PoseNetwork(name, MPII_16)(torch.empty(2, 3, *size_px))
    assert output.heatmap.shape == (2, 16, size_px[0] // 4, size_px[1] // 4)
    stated = zip(FACTS[name].feature_channels, FACTS[name].feature_strides_px, strict=True)
    assert [maps.shape[1:] for maps in output.features] == [(c, size_px[0] // s, size_px[1] // s) for c, s in stated]


@pytest.mark.parametrize("deconvs", [0, 1, 2, 3])
def test_every_transposed_convolution_doubles_the_heatmaps(deconvs: int) -> None:
    with torch.device("meta"):
        assert PoseNetwork("resnet-50", deconvs=deconvs)(torch.empty(1, 3, 64, 64)).heatmap.shape[2] == 2 * 2**deconvs


@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_are_standardised_as_in_training(name: str) -> None:
    seen = pixels(2, 64, 32)
    seen[0, 0, 0] = torch.tensor([250, 20, 90])  # red, green, blue
    rgb = seen.numpy().astype(np.float64)
    if name == "movenet-thunder":
        expected = rgb
    else:
        fed = rgb[..., ::-1] if name.startswith("resnet") else rgb
        expected = (fed / 255 - MEAN) / STD
    network = pose.embedded() if name == "movenet-thunder" else _light(name)
    found = network.normalise(seen)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=2e-6 if name != "movenet-thunder" else 0)


def _light(name: str) -> HeatmapNetwork:
    """The network's preprocessing and decoding around a backbone that shows every fourth pixel of the red channel."""

    class EveryFourthPixel(nn.Module):
        def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (crops[:, :1, ::4, ::4],)

    head = KeypointHead(1, 2, 0)
    nn.init.ones_(head.final_layer.weight)
    return HeatmapNetwork(EveryFourthPixel(), head, 4, FACTS[name].colours).eval()


def test_a_keypoint_at_the_pixel_that_a_cell_stands_for_comes_back_exactly() -> None:
    crops = torch.zeros(1, 3, 256, 192)
    crops[0, 0, 4 * 11, 4 * 17] = 0.9  # cell (11, 17) stands for the pixel of these indices, whose centre is at + 0.5
    network = _light("hrnet-w32")
    output = network(crops)
    found = network.decode(output)
    assert torch.allclose(found.xy[0, 0], torch.tensor([(4 * 17 + 0.5) / 192, (4 * 11 + 0.5) / 256]))
    assert torch.allclose(found.score, torch.tensor(0.9))
    assert found.cell.tolist() == [[11 * 48 + 17] * 2]
    assert torch.equal(found.weighted_heatmap, output.heatmap)


def test_decoding_moves_a_quarter_of_a_cell_towards_the_higher_neighbour() -> None:
    network = _light("hrnet-w32")
    crops = torch.zeros(1, 3, 256, 192)
    crops[0, 0, 44, 68], crops[0, 0, 44, 72], crops[0, 0, 40, 68] = 0.9, 0.5, 0.4
    found = network.decode(network(crops)).xy[0, 0] * torch.tensor([192, 256])
    assert torch.allclose(found, torch.tensor([68.5 + 1, 44.5 - 1]))


@pytest.mark.parametrize("flip_order", [(0, 1), (1, 0)])
def test_mirror_images_are_brought_back_to_within_a_quarter_of_a_cell(flip_order: tuple[int, int]) -> None:
    x = torch.arange(192)
    for p in (60, 61, 62, 63):
        crops = torch.zeros(1, 3, 256, 192)
        crops[0, 0] = torch.exp(-((x - p) ** 2) / 200)
        network = _light("hrnet-w32")
        own, mirrored = network(crops), network(crops.flip(3))
        mirrored = mirrored._replace(heatmap=mirrored.heatmap * torch.tensor([1, 0.5])[:, None, None])
        averaged = network.averaged(own, mirrored, flip_order)
        back = 2 * averaged.heatmap - own.heatmap
        # Keypoint k of the crop is keypoint flip_order[k] of its mirror image.
        height = back.amax((2, 3))[0] / own.heatmap.amax((2, 3))[0]
        assert torch.allclose(height, torch.tensor([1, 0.5])[list(flip_order)], atol=0.03)
        cells = torch.arange(48)
        centre = (back[0, 0, 0] * cells).sum() / back[0, 0, 0].sum()
        assert 0 <= centre - p / 4 <= 0.26
        assert averaged.features is own.features


def test_flip_test_is_the_mean_with_the_mirror_image_and_leaves_features_alone(resnet: PoseNetwork) -> None:
    crops = resnet.normalise(pixels(1, 128, 96))
    with torch.inference_mode():
        plain, both, mirrored = resnet(crops), resnet(crops, flip_test=True), resnet(crops.flip(3))
    order = list(POSETRACK_15.flip_order)
    back = mirrored.heatmap.flip(3)[:, order]
    expected = (plain.heatmap[..., 1:] + back[..., :-1]) / 2
    assert torch.allclose(both.heatmap[..., 1:], expected, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(both.features, plain.features, strict=True))


def test_caffes_style_has_the_stride_at_the_first_convolution_and_the_same_parameters() -> None:
    networks = [PoseNetwork("resnet-50", caffe_style=style) for style in (False, True)]
    networks[1].load_state_dict(networks[0].state_dict())
    plain, caffe = (network.eval().keypoints.backbone for network in networks)  # type: ignore[attr-defined]
    x = torch.rand(1, 256, 8, 8)
    with torch.inference_mode():
        block = caffe.layer2[0]
        halved = block.bn1(block.conv1(x[:, :, ::2, ::2]) if block.conv1.stride == (1, 1) else block.conv1(x)).relu()
        expected = block.bn3(block.conv3(block.bn2(torch.conv2d(halved, block.conv2.weight, padding=1)).relu()))
        assert torch.allclose(block(x), (expected + block.downsample(x)).relu(), atol=1e-5)
        assert halved.shape[2:] == (4, 4)
        assert plain.layer2[0](x).shape == block(x).shape
        assert not torch.allclose(plain.layer2[0](x), block(x), atol=1e-2)
    assert networks[1](torch.zeros(1, 3, 64, 64)).heatmap.shape == (1, 17, 16, 16)


def test_features_alone_are_those_that_come_with_the_heatmaps(resnet: PoseNetwork) -> None:
    crops = resnet.normalise(pixels(1, 128, 96))
    with torch.inference_mode():
        assert torch.equal(resnet.features(crops)[0], resnet(crops).features[0])


@pytest.mark.parametrize("name", ["movenet-thunder", "resnet-50"])
def test_a_pose_stands_at_its_own_cell_and_candidates_beside(name: str, resnet: PoseNetwork) -> None:
    network = pose.embedded() if name == "movenet-thunder" else resnet
    with torch.inference_mode():
        output = network(network.normalise(pixels(1, *FACTS[name].input_px[-1] if name == "movenet-thunder" else (128, 96))))
        found, maxima = network.decode(output), local_maxima(output.heatmap)
        placed = network.place(output.heatmap, maxima.cell)
    height, width = output.heatmap.shape[2:]
    cell = torch.stack([found.cell % width, found.cell // width], dim=-1) / torch.tensor([width, height])
    assert (found.xy - cell).abs().max() <= 2 / width
    assert torch.equal(placed.isnan().any(-1), maxima.cell < 0)
    if name != "movenet-thunder":
        assert torch.equal(found.cell, maxima.cell[..., 0])
        assert torch.equal(found.xy, placed[:, :, 0])


def test_heads_stand_beside_the_keypoint_head_and_answer_at_the_cells_asked_for(resnet: PoseNetwork) -> None:
    torch.manual_seed(0)
    own = resnet.facts.name, "0" * 64, resnet.skeleton.name, 5, 8
    hidden = {"matching": 4, "body": 4, "refinement": 0}
    heads = {kind: build(HeadFacts(kind, *own, hidden[kind])).eval() for kind in get_args(HeadKind)}
    network = resnet.with_heads(**heads)  # type: ignore[arg-type]
    assert resnet.matching is None
    assert network.keypoints is resnet.keypoints
    K = len(resnet.skeleton.keypoints)
    cell = torch.tensor([7, -1]).expand(1, K, 2)
    with torch.inference_mode():
        features = network.features(torch.randn(1, 3, 64, 64))
        found, none = network.embed(features, cell), resnet.embed(features, cell)
        F, H = heads["matching"].module(features), heads["refinement"].module(features)  # type: ignore[operator]
        response = heads["refinement"].response(H)  # type: ignore[operator]
        assert torch.equal(found.feature[0, :, 0], F[0, :, 0, 7].expand(K, -1))
        assert torch.allclose(found.scalar[0, :, 0] + heads["refinement"].bias, response[0, :, 0, 7], atol=1e-5)  # type: ignore[operator]
        assert torch.equal(found.body, heads["body"].module(features).mean((2, 3)))  # type: ignore[operator]
    assert not found.feature[0, :, 1].any()
    assert found.scalar[0, :, 1].isnan().all()
    assert [len(one[0]) for one in none] == [0, 0, 0]


def test_unknown_networks_and_keypoints_without_a_head_are_refused() -> None:
    with pytest.raises(ValueError, match=r"resnet-34.*hrnet-w48"):
        PoseNetwork("resnet-34")
    with pytest.raises(ValueError, match=r"movenet-thunder.*coco_17.*mpii_16"):
        PoseNetwork("movenet-thunder", MPII_16)
    with pytest.raises(ValueError, match="Caffe"):
        PoseNetwork("hrnet-w32", caffe_style=True)
    with pytest.raises(ValueError, match="deconvs"):
        KeypointHead(8, 17, 4)


@pytest.mark.parametrize("name", ["movenet-thunder", "resnet-50"])
def test_poses_on_a_gpu_are_those_on_the_cpu(name: str, resnet: PoseNetwork, golden_crops: torch.Tensor) -> None:
    """float16 against float32: heatmaps within 0.02 of their range, and 95 % of the sure keypoints within half a cell."""
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    network = pose.embedded() if name == "movenet-thunder" else resnet
    with torch.inference_mode():
        cpu = network(network.normalise(golden_crops))
        expected = network.decode(cpu)
    moved = runtime.prepared(network)
    found = runtime.forward(moved, golden_crops, moved.normalise, lambda out: (out.heatmap, *moved.decode(out), *out.features))
    network.cpu()
    spread = float(cpu.heatmap.max() - cpu.heatmap.min())
    assert (found[0] - cpu.heatmap).abs().max() < 0.02 * spread
    sure = expected.score > 0.3 if name == "movenet-thunder" else torch.ones_like(expected.score, dtype=torch.bool)
    near = (found[1] - expected.xy).abs().amax(-1)[sure] * cpu.heatmap.shape[3] < 0.5
    assert near.float().mean() > (0.95 if name == "movenet-thunder" else 0.8)
    assert all(maps.dtype == torch.float32 for maps in found)
    for a, b in zip(found[5:], cpu.features, strict=True):
        assert (a - b).abs().max() < 0.02 * (b.max() - b.min())


@pytest.fixture(scope="module")
def golden_crops() -> torch.Tensor:
    with np.load(Path(__file__).parent / "golden" / "networks.npz") as file:
        return torch.from_numpy(file["crops"])


def test_coco_is_the_default_skeleton() -> None:
    with torch.device("meta"):
        assert PoseNetwork("hrnet-w32").skeleton is COCO_17


def test_the_embedded_network_does_not_wait_for_libraries_that_only_others_need() -> None:
    script = "import sys; from tkm.networks.pose import embedded; embedded(); print({'torchvision', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
