import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tkm.plain_formulas import refined
from tkm.networks.matching import Classifiers, Matching, MatchingModule
from tkm.networks.refinement import Refinement, RefinementModule
from tkm.refinement import best_place, refined_response, support

R, K, S, D, C = 3, 4, 5, 6, 7  # people to refine, keypoints, places, channels of F and of H
ROWS, COLUMNS = 8, 6


class Scene:
    """People to refine and the counterparts of each in a window, with maps F and H of all of them, in float64.

    Detection 0 of each window is the person itself; detections 1.. are its counterparts in frames t - tau .. t - 1, t + 1 ..
    t + tau, some of which are missing.
    """

    def __init__(self, tau: int, missing: float = 0.3) -> None:
        torch.manual_seed(tau)
        self.tau = tau
        self.offsets = [offset for offset in range(-tau, tau + 1) if offset]
        J = len(self.offsets)
        self.matching = Matching(MatchingModule(3, 4, channels=D), Classifiers(K, D, hidden=8)).double().eval()
        self.refinement = Refinement(RefinementModule(3, 4, channels=C), K, C).double().eval()
        with torch.no_grad():
            for parameter in self.matching.classifiers.parameters():
                parameter.mul_(4)  # far from probability 1/2
            self.refinement.response.bias.copy_(torch.linspace(0.2, 0.9, K))
            features = (torch.randn(R * (1 + J), 3, ROWS, COLUMNS, dtype=torch.float64),)
            self.F = self.matching.module(features).unflatten(0, (R, 1 + J))
            H = self.refinement.module(features)
            a = self.refinement.project(H.flatten(2).mT[:, None].expand(-1, K, -1, -1))  # of every cell
            self.H, self.a = H.unflatten(0, (R, 1 + J)), a.unflatten(0, (R, 1 + J))
        self.place = torch.randint(ROWS * COLUMNS, (R, K, S))  # the places l
        self.predicted = torch.randint(ROWS * COLUMNS, (R, J, K))  # the places l^
        self.is_there = torch.rand(R, J) >= missing

    def own_and_context(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """F and a at the places and at the predicted places of the counterparts, as the stages store them."""
        J = len(self.offsets)
        own_F, own_a = torch.empty(R, K, S, D).double(), torch.empty(R, K, S).double()
        context_F, context_a = torch.empty(R, J, K, D).double(), torch.empty(R, J, K).double()
        for r in range(R):
            for k in range(K):
                own_F[r, k] = self.F[r, 0].flatten(1)[:, self.place[r, k]].T
                own_a[r, k] = self.a[r, 0, k][self.place[r, k]]
                for j in range(J):
                    context_F[r, j, k] = self.F[r, 1 + j].flatten(1)[:, self.predicted[r, j, k]]
                    context_a[r, j, k] = self.a[r, 1 + j, k][self.predicted[r, j, k]]
        return own_F, own_a, context_F, context_a

    def response(self, divisor: str = "window") -> Tensor:
        own_F, own_a, context_F, context_a = self.own_and_context()
        with torch.no_grad():
            weight = support(self.matching.classifiers, own_F, context_F, torch.tensor(self.offsets) < 0)
            return refined_response(own_a, context_a, weight, self.is_there, self.refinement.bias, self.tau, divisor)

    def response_by_the_formula(self, divisor: str = "window") -> np.ndarray:
        F, H = self.F.numpy(), self.H.numpy()
        convolution = self.refinement.response
        head = convolution.weight.detach().numpy()[:, :, 0, 0], convolution.bias.detach().numpy()
        response = np.empty((R, K, S))
        for r in range(R):
            for k in range(K):
                counterparts = {
                    offset: (F[r, 1 + j], H[r, 1 + j], divmod(int(self.predicted[r, j, k]), COLUMNS))
                    for j, offset in enumerate(self.offsets)
                    if self.is_there[r, j]
                }
                for s in range(S):
                    place = divmod(int(self.place[r, k, s]), COLUMNS)
                    classifiers = self.matching.classifiers
                    own = F[r, 0], H[r, 0]
                    response[r, k, s] = refined(k, place, counterparts, own, head, classifiers, self.tau, divisor)
        return response


@pytest.mark.parametrize("divisor", ["window", "weights"])
@pytest.mark.parametrize("tau", [0, 1, 3])
def test_responses_from_stored_scalars_and_split_classifiers_are_eq_6_on_full_vectors(tau, divisor):
    scene = Scene(tau)
    plain = scene.response_by_the_formula(divisor)
    np.testing.assert_allclose(scene.response(divisor).numpy(), plain, rtol=0, atol=1e-12)
    assert np.ptp(plain) > 0.1
    if tau:
        assert not scene.is_there.all()
        assert np.abs(plain - Scene(tau, missing=1.0).response_by_the_formula(divisor)).max() > 1e-3


def test_missing_counterparts_do_not_change_the_divisor_of_the_window():
    scene = Scene(2, missing=1.0)
    _, own_a, _, _ = scene.own_and_context()
    assert torch.allclose(scene.response(), own_a / 5 + scene.refinement.bias.detach()[:, None])
    assert torch.allclose(scene.response("weights"), own_a + scene.refinement.bias.detach()[:, None])


@pytest.mark.parametrize("divisor", ["window", "weights"])
def test_what_stands_where_no_counterpart_is_does_not_matter_and_places_that_are_not_there_stay_so(divisor):
    own, bias = torch.rand(R, K, S), torch.rand(K)
    own[0, 1, 3:] = torch.nan
    context, weight = torch.rand(R, 4, K), torch.rand(R, 4, K, S)
    is_there = torch.tensor([True, False, True, True]).expand(R, 4)
    expected = refined_response(own, context, weight, is_there, bias, 2, divisor)
    context[:, 1], weight[:, 1] = torch.nan, torch.nan
    found = refined_response(own, context, weight, is_there, bias, 2, divisor)
    assert torch.equal(found.nan_to_num(-1), expected.nan_to_num(-1))
    assert torch.equal(found.isnan(), own.isnan())


def test_a_window_of_another_length_and_an_unknown_divisor_are_refused():
    own, bias, there = torch.rand(R, K, S), torch.rand(K), torch.ones(R, 4, dtype=torch.bool)
    context, weight = torch.rand(R, 4, K), torch.rand(R, 4, K, S)
    with pytest.raises(ValueError, match="2 x 3 counterparts"):
        refined_response(own, context, weight, there, bias, 3)
    with pytest.raises(ValueError, match="divisor"):
        refined_response(own, context, weight, there, bias, 2, "mean")


def test_counterparts_may_come_in_any_order():
    scene = Scene(2)
    own_F, _, context_F, _ = scene.own_and_context()
    is_before = torch.tensor(scene.offsets) < 0
    order = torch.tensor([3, 0, 2, 1])
    classifiers = scene.matching.classifiers
    with torch.no_grad():
        weight = support(classifiers, own_F, context_F, is_before)
        shuffled = support(classifiers, own_F, context_F[:, order], is_before[order])
    assert torch.allclose(shuffled, weight[:, order], rtol=0, atol=1e-12)


def test_the_best_place_is_the_first_of_the_highest_and_none_that_is_not_there():
    response = torch.tensor([[[0.1, 0.5, 0.5], [torch.nan, -0.2, -0.3], [0.3, torch.nan, torch.nan]]])
    assert best_place(response).tolist() == [[1, 1, 0]]
