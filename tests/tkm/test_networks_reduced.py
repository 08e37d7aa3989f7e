import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tkm.networks.matching import Classifiers
from tkm.networks.movenet import movenet_thunder
from tkm.networks.reduced import PYRAMID_CHANNELS, RAW_CHANNELS, ReducedMatchingModule, ReducedRefinementModule
from tkm.networks.refinement import Refinement
from tkm.refinement import support

GMAC_BUDGET = 0.3


def random_features(crops: int = 2) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    shapes = zip((*RAW_CHANNELS, PYRAMID_CHANNELS), (64, 32, 16, 64), strict=True)
    return tuple(torch.randn(crops, channels, side, side) for channels, side in shapes)


def test_the_reduced_heads_take_at_most_their_budget_of_a_crop_with_its_share_of_the_classifiers():
    features = random_features(crops=1)
    matching, classifiers = ReducedMatchingModule().eval(), Classifiers(17, 64, 64)
    refinement = Refinement(ReducedRefinementModule(), 17, 64).eval()
    is_before = torch.arange(10) < 5
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        F = matching(features)
        refinement.scalars(features)
        own = F[0, :, :17, :17].permute(1, 2, 0)[None]  # 17 places of 17 keypoints
        support(classifiers, own, own[:, :, 0].expand(10, 17, 64)[None], is_before)
    gmac = counter.get_total_flops() / 2e9  # a multiplication and an addition are two
    assert 0.05 < gmac <= GMAC_BUDGET


@pytest.mark.parametrize("level", range(4))
def test_matching_sees_every_raw_level_and_not_the_pyramid(level):
    module, features = ReducedMatchingModule().eval(), random_features()
    changed = tuple(x + 1 if i == level else x for i, x in enumerate(features))
    with torch.no_grad():
        F, F_changed = module(features), module(changed)
    assert F.shape == (2, 64, 64, 64)
    assert torch.equal(F, F_changed) == (level == 3)


@pytest.mark.parametrize("level", range(4))
def test_refinement_sees_every_level(level):
    module, features = ReducedRefinementModule().eval(), random_features()
    changed = tuple(x + 1 if i == level else x for i, x in enumerate(features))
    with torch.no_grad():
        H, H_changed = module(features), module(changed)
    assert H.shape == (2, 64, 64, 64)
    assert H.min() == 0
    assert not torch.equal(H, H_changed)


def test_the_scale_and_offset_of_a_channel_do_not_matter_once_its_statistics_are_known():
    features = random_features()
    torch.manual_seed(1)
    module = ReducedMatchingModule()  # in training: statistics are the batch's
    with torch.no_grad():
        F = module(features)
        F_scaled = module(tuple(x * 100 + 7 for x in features))
    assert torch.allclose(F, F_scaled, atol=1e-3)


def test_f_of_a_cell_hangs_most_on_the_raw_features_at_that_cell():
    # The skip: without it a change at one cell would reach F only through the convolutions around it.
    module, features = ReducedMatchingModule().eval(), random_features(crops=1)
    for convolution in module.surroundings:
        torch.nn.init.zeros_(convolution[-1].weight)  # surroundings that say nothing
    changed = features[0].clone()
    changed[0, :, 20, 30] += 1
    with torch.no_grad():
        difference = (module((changed, *features[1:])) - module(features)).abs().amax(dim=(0, 1))
    assert difference[20, 30] > 0.01
    assert (difference > 0).sum() == 1


def test_movenets_raw_features_fit_the_reduced_modules():
    torch.manual_seed(0)
    with torch.inference_mode():
        raw = movenet_thunder()(torch.rand(1, 3, 256, 256) * 255).features[: len(RAW_CHANNELS)]
        assert ReducedMatchingModule().eval()(raw).shape == (1, 64, 64, 64)
