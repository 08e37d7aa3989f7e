"""The embedded pose network answers and decodes as the published graph does, from the repository's own files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tkm.networks.movenet import MoveNetOutput, MoveNetThunder, movenet_thunder
from tkm.skeleton import COCO_17

GOLDEN = Path(__file__).parent / "golden" / "networks.npz"
NOSE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 5, 6


@pytest.fixture(scope="module")
def network() -> MoveNetThunder:
    return movenet_thunder()


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def run(network, crops):
    with torch.inference_mode():
        output = network(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
        return output, network.decode(output)


@pytest.mark.parametrize("batch", [[0], [1], [2], [0, 1, 2, 1]])
def test_agrees_with_the_published_graph(network, golden, batch):
    output, pose = run(network, golden["crops"][batch])
    found = {
        "heatmap": output.heatmap[:, :, ::4, ::4],
        "centre": output.centre[:, None, ::2, ::2],
        "regression": output.regression_yx.flatten(1, 2)[..., ::8, ::8],
        "offset": output.offset_yx.flatten(1, 2)[..., ::8, ::8],
        "weighted_heatmap": pose.weighted_heatmap[..., ::8, ::8],
        "features4": output.features[1][:, ::2, ::8, ::8],
        "features8": output.features[2][:, ::2, ::4, ::4],
        "features16": output.features[3][:, ::4, ::2, ::2],
    }
    for name, value in found.items():
        assert np.abs(value.numpy() - golden[name][batch]).max() <= 1e-3, name
    assert np.abs(pose.xy.numpy() - golden["pose"][batch][..., 1::-1]).max() * 256 <= 0.5  # px of the crop
    assert np.abs(pose.score.numpy() - golden["pose"][batch][..., 2]).max() <= 1e-3


def test_drawn_people_have_their_heads_above_and_shoulders_beside(network, golden):
    _, pose = run(network, golden["crops"][:2])
    assert (pose.score[:, [NOSE, LEFT_SHOULDER, RIGHT_SHOULDER]] > 0.2).all()
    assert (pose.xy[:, NOSE, 1] < pose.xy[:, [LEFT_SHOULDER, RIGHT_SHOULDER], 1].amin(1)).all()
    assert (pose.xy[:, RIGHT_SHOULDER, 0] < pose.xy[:, LEFT_SHOULDER, 0]).all()  # they face us


def hand_made(people_yx, keypoint_peaks):
    """A batch of one from {(y, x): response}; the regression is zero."""
    centre, heatmap = torch.zeros(1, 64, 64), torch.zeros(1, 17, 64, 64)
    for (y, x), response in people_yx.items():
        centre[0, y, x] = response
    for (y, x), response in keypoint_peaks.items():
        heatmap[0, :, y, x] = response
    offset = torch.zeros(1, 17, 2, 64, 64)
    offset[:, :, 0], offset[:, :, 1] = 0.25, 0.75  # y, x
    return MoveNetOutput(heatmap, centre, torch.zeros(1, 17, 2, 64, 64), offset, (centre,) * 4)


def test_decoding_prefers_the_person_in_the_middle_and_what_is_near_the_regressed_position(network):
    people = {(32, 30): 0.5, (32, 2): 0.9}
    pose = network.decode(hand_made(people, {(32, 28): 0.4, (32, 2): 0.9}))
    assert torch.allclose(pose.xy, torch.tensor([28.75, 32.25]) / 64)
    assert torch.allclose(pose.score, torch.tensor(0.4))  # the raw response, not the weighted one
    assert torch.allclose(pose.weighted_heatmap[0, :, 32, 28], torch.tensor(0.4 / (2 + 1.8)), atol=1e-4)


@pytest.mark.usefixtures("one_thread")
def test_each_crop_of_a_batch_is_decoded_by_itself(network, golden):
    rows = [0, 2, 1]
    output, pose = run(network, golden["crops"][rows])
    for i in range(len(rows)):
        alone = network.decode(MoveNetOutput(*(x[i : i + 1] for x in output[:4]), output.features))
        assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, pose, strict=True))


def test_a_crop_gets_the_same_bits_in_any_company(network, golden):
    left, right, noise = golden["crops"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = run(network, np.stack([left, right, noise]))
        other = run(network, np.stack([noise, noise * 0, left]))
    finally:
        torch.set_num_threads(threads)
    found, other_found = ((*output[:4], *output.features, *pose) for output, pose in (one, other))
    assert all(torch.equal(a[0], b[2]) for a, b in zip(found, other_found, strict=True))


def test_features_alone_are_those_that_come_with_the_answers(network, golden):
    crops = torch.from_numpy(golden["crops"][:1])
    with torch.inference_mode():
        output, features = network(network.normalise(crops)), network.features(network.normalise(crops))
    shapes = [(3, 64, 64), (40, 64, 64), (56, 32, 32), (168, 16, 16), (24, 64, 64)]
    assert [tuple(maps.shape[1:]) for maps in features] == shapes
    assert all(torch.equal(a, b) for a, b in zip(output.features, features, strict=True))


def test_features_begin_with_the_crops_own_colours(network, golden):
    crops = golden["crops"][:2]
    with torch.inference_mode():
        colours = network.features(network.normalise(torch.from_numpy(crops)))[0]
    means = crops.reshape(2, 64, 4, 64, 4, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(colours.numpy(), means / 127.5 - 1, atol=1e-3)


def test_responses_are_the_heatmaps_raw_and_as_decoding_weighs_them(network, golden):
    output, found = run(network, golden["crops"][:2])
    with torch.inference_mode():
        raw, weighted = network.responses(output.features)
    assert torch.equal(raw, output.heatmap)
    assert torch.equal(weighted, found.weighted_heatmap)


def answers_of(people_x, keypoints_x):
    """What a faultless network would say of one person (centre x) with keypoints (17,) x, in cells; all at the same height."""
    heatmap, centre = torch.zeros(1, 17, 64, 64), torch.zeros(1, 64, 64)
    regression, offset = torch.zeros(1, 17, 2, 64, 64), torch.zeros(1, 17, 2, 64, 64)
    column = torch.arange(64)
    centre[0, 32, int(people_x)] = 1
    for k, x in enumerate(keypoints_x):
        heatmap[0, k, 32, int(x)] = 0.8
        regression[0, k, 1] = x - column
        offset[0, k, 1] = (x % 1) * torch.ones(64)
        offset[0, k, 0] = 0.3
    return MoveNetOutput(heatmap, centre, regression, offset, (centre, centre, centre, centre))


def test_the_mirror_image_of_a_person_brought_back_is_the_person(network):
    x = torch.rand(17, generator=torch.Generator().manual_seed(1)) * 50 + 5
    order = COCO_17.flip_order
    own, mirrored = answers_of(30.5, x), answers_of(64 - 30.5, 64 - x[list(order)])
    averaged = network.averaged(own, mirrored, order)
    for name in ("heatmap", "centre", "regression_yx", "offset_yx"):
        assert torch.allclose(getattr(averaged, name), getattr(own, name), atol=1e-4), name
    assert averaged.features is own.features


def test_a_real_crop_and_its_mirror_image_agree_about_the_person(network, golden):
    crops = network.normalise(torch.from_numpy(golden["crops"][:2]))
    order = list(COCO_17.flip_order)
    with torch.inference_mode():
        own, mirrored = network(crops), network(crops.flip(3))
        averaged = network.averaged(own, mirrored, tuple(order))
    for maps, other in ((own.heatmap, averaged.heatmap), (own.centre, averaged.centre)):
        assert (maps - other).abs().max() < 0.35
    pose, both = network.decode(own), network.decode(averaged)
    sure = pose.score > 0.4
    assert sure.any()
    assert (pose.xy - both.xy)[sure].abs().median() * 64 < 0.5  # cells


def test_gradients_reach_the_backbone():
    trained = movenet_thunder()
    trained(torch.full((1, 3, 256, 256), 90.0)).heatmap.sum().backward()
    assert trained.backbone.stem.weight.grad.abs().sum() > 0
