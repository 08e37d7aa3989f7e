import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tkm.heatmaps import gather_vectors
from tkm.networks.facts import FACTS
from tkm.networks.matching import Body, Classifiers, Matching
from tkm.networks.movenet import MoveNetThunder
from tkm.networks.pose import embedded
from tkm.networks.reduced import (
    RESPONSES,
    ReducedMatchingModule,
    ReducedRefinementModule,
    matching_inputs,
    refinement_inputs,
    start_response,
)
from tkm.networks.refinement import Refinement
from tkm.refinement import support

GMAC_BUDGET = 0.3
K, S, SIDE = 17, 17, 64  # keypoints, places of each, rows and columns of cells
COLOURS, STRIDE_4, _, _, PYRAMID = LEVELS = range(5)
NEAR = 10  # people who may be the same person in another frame

pytestmark = pytest.mark.usefixtures("one_thread")


def random_features(crops: int = 2) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    facts = FACTS["movenet-thunder"]
    shapes = zip(facts.feature_channels, facts.feature_strides_px, strict=True)
    return tuple(torch.randn(crops, channels, 256 // stride_px, 256 // stride_px) for channels, stride_px in shapes)


def random_responses(crops: int = 2) -> tuple[Tensor, Tensor]:
    """Responses of keypoints, from 1e-4 to 1, and the same weighted."""
    torch.manual_seed(1)
    heatmap = 10 ** (-4 * torch.rand(crops, K, SIDE, SIDE))
    return heatmap, heatmap * torch.rand(crops, K, SIDE, SIDE)


def random_cells(crops: int = 2) -> Tensor:
    return torch.randint(SIDE * SIDE, (crops, K, S), generator=torch.Generator().manual_seed(2))


def all_cells(crops: int = 2) -> Tensor:
    """Every cell of each crop, as places of one keypoint."""
    return torch.arange(SIDE * SIDE).expand(crops, 1, -1)


def matching_head() -> Matching:
    torch.manual_seed(3)
    return Matching(ReducedMatchingModule(), Classifiers(K, 64, 64)).eval()


def refinement_head() -> Refinement:
    torch.manual_seed(3)
    return Refinement(ReducedRefinementModule(), K, 64 + RESPONSES).eval()


def test_the_reduced_heads_take_at_most_their_budget_of_a_crop_with_its_share_of_the_classifiers():
    network, matching, refinement = MoveNetThunder().eval(), matching_head(), refinement_head()
    features, cell, is_before = random_features(crops=1), random_cells(crops=1), torch.arange(10) < 5
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        F = matching.at(features, cell)
        refinement.scalars(features, network.responses(features), cell)
        own = F[:, :, 0]
        for _ in ("track", "paths"):
            matching.classifiers(own, own.expand(NEAR, K, 64))
        support(matching.classifiers, F, own.expand(1, 10, K, 64), is_before)
    gmac = counter.get_total_flops() / 2e9  # a multiplication and an addition are two
    assert 0.05 < gmac <= GMAC_BUDGET


@pytest.mark.parametrize("level", LEVELS)
def test_matching_sees_colours_and_every_raw_level_and_not_the_pyramid(level):
    head, features, cell = matching_head(), random_features(), random_cells()
    changed = tuple(x + 1 if i == level else x for i, x in enumerate(features))
    with torch.no_grad():
        F, F_changed = head.at(features, cell), head.at(changed, cell)
    assert F.shape == (2, K, S, 64)
    assert torch.equal(F, F_changed) == (level == PYRAMID)


@pytest.mark.parametrize("level", LEVELS)
def test_refinement_sees_every_level(level):
    module, features, cell = refinement_head().module, random_features(), random_cells()
    changed = tuple(x + 1 if i == level else x for i, x in enumerate(features))
    with torch.no_grad():
        H, H_changed = (module.at(maps, random_responses(), cell) for maps in (features, changed))
    assert H.shape == (2, K, S, 64 + RESPONSES)
    assert not torch.equal(H, H_changed)


@pytest.mark.parametrize("which", [0, 1], ids=["raw", "weighted"])
def test_refinement_sees_the_keypoint_heads_responses(which):
    head, features, cell = refinement_head(), random_features(), random_cells()
    responses = random_responses()
    changed = tuple(x / 2 if i == which else x for i, x in enumerate(responses))
    with torch.no_grad():
        a, a_changed = (head.scalars(features, maps, cell) for maps in (responses, changed))
    assert a.shape == (2, K, S)
    assert (a != a_changed).all()


def test_h_holds_a_hidden_layers_answer_and_the_logarithms_of_the_responses_there():
    features, responses, cell = random_features(), random_responses(), random_cells()
    responses[0][:, :, :8] = 0  # where the keypoint head says nothing at all
    with torch.no_grad():
        H = refinement_head().module.at(features, responses, cell)
    assert H[..., :64].min() == 0
    assert H[..., :64].max() > 0
    there = gather_vectors(torch.cat(responses, dim=1), cell).clamp(min=1e-5)
    assert torch.allclose(H[..., 64:], 1 + there.log() / math.log(1e5), atol=1e-4)
    assert H[..., 64:].min().abs() < 1e-4


def test_a_head_that_is_started_answers_with_each_keypoints_own_weighted_response():
    head, features, responses, cell = refinement_head(), random_features(), random_responses(), random_cells()
    start_response(head.response)
    with torch.no_grad():
        a = head.scalars(features, responses, cell) + head.bias[:, None]
    _, weighted = responses
    there = weighted.flatten(2).gather(2, cell)
    assert torch.allclose(a, 1 + there.clamp(min=1e-5).log() / math.log(1e5), atol=1e-4)
    assert torch.equal(a.argmax(dim=2), there.argmax(dim=2)), "so it moves no keypoint away from where the keypoint head has it"


def test_a_head_says_the_same_of_a_cell_whichever_others_it_is_asked_for():
    features, responses, cell = random_features(), random_responses(), random_cells()
    everywhere = all_cells()
    matching, refinement = matching_head(), refinement_head()
    with torch.no_grad():
        F, F_all = matching.at(features, cell), matching.at(features, everywhere)
        a = refinement.scalars(features, responses, cell)
        H_all = refinement.module.at(features, responses, everywhere)
        a_all = torch.nn.functional.conv2d(H_all[:, 0].mT.unflatten(2, (SIDE, SIDE)), refinement.response.weight)
    assert torch.allclose(F, gather_vectors(F_all[:, 0].mT.unflatten(2, (SIDE, SIDE)), cell), atol=1e-5)
    assert torch.allclose(a, a_all.flatten(2).gather(2, cell), atol=1e-5)


@pytest.mark.parametrize("level", [STRIDE_4, PYRAMID])
def test_what_stands_in_one_cell_reaches_that_cell_and_no_other(level):
    features, responses = random_features(crops=1), random_responses(crops=1)
    changed = features[level].clone()
    changed[0, :, 20, 30] += 1
    others = tuple(changed if i == level else x for i, x in enumerate(features))
    with torch.no_grad():
        F, F_changed = (matching_head().at(maps, all_cells(1)) for maps in (features, others))
        H, H_changed = (refinement_head().module.at(maps, responses, all_cells(1)) for maps in (features, others))
    here = 20 * SIDE + 30
    for values, of_changed, is_seen in ((F, F_changed, level == STRIDE_4), (H, H_changed, True)):
        difference = (values - of_changed).abs().amax(dim=3)[0, 0]
        assert (difference[here] > 0.01) == is_seen
        difference[here] = 0
        assert difference.max() < 1e-4  # sampling at a cell's middle leaves its neighbours a weight of rounding


def test_f_is_of_a_cells_own_inputs_alone():
    features, cell = random_features(), random_cells()
    head = matching_head()
    with torch.no_grad():
        F, inputs = head.at(features, cell), matching_inputs(features, cell)
        one_by_one = torch.stack([head.module(inputs[n, k, s][None])[0] for n, k, s in ((0, 0, 0), (1, 4, 2), (1, 16, 16))])
    assert torch.allclose(one_by_one, torch.stack([F[0, 0, 0], F[1, 4, 2], F[1, 16, 16]]), atol=1e-5)


def test_inputs_say_where_in_the_crop_a_cell_is_and_nothing_where_there_is_none():
    cell = torch.tensor([0, SIDE - 1, SIDE * SIDE - 1, -1]).expand(2, K, 4)
    features, responses = random_features(), random_responses()
    place = refinement_inputs(features, responses, cell)[..., -2:]
    edge = 1 - 1 / SIDE
    assert place[1, 3].tolist() == [[-edge, -edge], [edge, -edge], [edge, edge], [0, 0]]
    assert not refinement_inputs(features, responses, cell)[..., 3, :].any()
    assert not matching_inputs(features, cell)[..., 3, :].any()
    with torch.no_grad():
        F, a = matching_head().at(features, cell), refinement_head().scalars(features, responses, cell)
    assert not F[:, :, 3].any()
    assert F[:, :, :3].abs().amax(dim=3).min() > 0
    assert torch.equal(a.isnan(), cell < 0)


def test_the_scale_and_offset_of_a_channel_do_not_matter_once_its_statistics_are_known():
    features, cell = random_features(), random_cells()
    torch.manual_seed(1)
    module = ReducedMatchingModule()  # in training: statistics are the batch's
    module.dropout.eval()
    with torch.no_grad():
        F = module.at(features, cell)
        F_scaled = module.at(tuple(x * 100 + 7 for x in features), cell)
    assert F.abs().max() > 0.1
    assert torch.allclose(F, F_scaled, atol=1e-3)


def test_a_body_is_f_of_the_means_of_eight_times_eight_parts_of_the_crop_averaged():
    torch.manual_seed(0)
    head, features = Body(ReducedMatchingModule(), Classifiers(1, 64, 64)).eval(), random_features()
    with torch.no_grad():
        means = [maps.unflatten(3, (8, -1)).unflatten(2, (8, -1)).mean(dim=(3, 5)) for maps in features]
        colours, *raw, _ = means
        inputs = torch.cat([colours, colours, colours, *raw], dim=1)  # a mean of means over 2 x 2 and 4 x 4 cells is the mean
        F = torch.stack([head.module(inputs[:, :, row, column]) for row in range(8) for column in range(8)])
        vector = head.vector(features)
    assert vector.shape == (2, 64)
    assert torch.allclose(vector, F.mean(dim=0), atol=1e-5)
    assert (vector[0] - vector[1]).abs().max() > 0.01


def test_movenet_gives_the_reduced_heads_what_they_look_at():
    network = embedded().with_heads(
        matching=matching_head(),
        body=Body(ReducedMatchingModule(), Classifiers(1, 64, 64)).eval(),
        refinement=refinement_head(),
    )
    torch.manual_seed(0)
    cell = random_cells(crops=1)
    with torch.inference_mode():
        output = network(network.normalise(torch.randint(0, 256, (1, 256, 256, 3), dtype=torch.uint8)))
        found = network.embed(output.features, cell)
        responses = output.heatmap, network.decode(output).weighted_heatmap
        assert network.refinement is not None
        assert torch.allclose(found.scalar, network.refinement.scalars(output.features, responses, cell), atol=1e-5)
    assert found.feature.shape == (1, K, S, 64)
    assert found.body.shape == (1, 64)
    assert all(values.isfinite().all() for values in found)
