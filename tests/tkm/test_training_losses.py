"""Eq. 2: targets that the networks' own decoding finds again, and what counts in the loss."""

from __future__ import annotations

import math

import pytest
import torch

from tkm.heatmaps import decode_highest
from tkm.training.losses import gaussian_targets, is_in_crop, is_right, keypoint_loss

pytestmark = pytest.mark.usefixtures("one_thread")
H, W, CENTRE, SIGMA = 16, 12, 0.125, 3.0


def test_targets_are_the_papers_gaussians() -> None:
    xy = torch.tensor([[[(5 + CENTRE) / W, (8 + CENTRE) / H]]])
    target = gaussian_targets(xy, H, W, CENTRE, SIGMA)
    assert target.shape == (1, 1, H, W)
    assert float(target[0, 0, 8, 5]) == pytest.approx(1)
    assert float(target[0, 0, 10, 6]) == pytest.approx(math.exp(-5 / 9))


def test_decoding_finds_the_keypoints_of_targets_again() -> None:
    xy = torch.rand(3, 17, 2, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.15
    found = decode_highest(gaussian_targets(xy, H, W, CENTRE, SIGMA), CENTRE).xy
    assert float(((found - xy) * torch.tensor([W, H])).abs().max()) < 0.3  # to a quarter of a cell


def test_the_loss_sums_over_pixels_and_visible_keypoints_and_means_over_crops() -> None:
    heatmap, target = torch.zeros(2, 3, H, W), torch.zeros(2, 3, H, W)
    target[0, 0, 4, 4], target[0, 0, 5, 5], target[1, 1, 2, 2] = 1, 0.5, 2
    is_visible = torch.tensor([[True, True, True], [True, False, True]])
    assert float(keypoint_loss(heatmap, target, is_visible)) == pytest.approx((1 + 0.25) / 2)
    assert float(keypoint_loss(heatmap, target, torch.ones_like(is_visible))) == pytest.approx((1 + 0.25 + 4) / 2)


def test_keypoints_that_are_unknown_or_beside_the_crop_do_not_count() -> None:
    xy = torch.tensor([[[0.5, 0.5], [torch.nan, torch.nan], [1.2, 0.5], [0.5, -0.1]]])
    assert is_in_crop(xy).tolist() == [[True, False, False, False]]
    heatmap = torch.zeros(1, 4, H, W, requires_grad=True)
    loss = keypoint_loss(heatmap, gaussian_targets(xy, H, W, CENTRE, SIGMA), is_in_crop(xy))
    loss.backward()
    assert heatmap.grad is not None
    assert heatmap.grad.isfinite().all()
    assert [bool(heatmap.grad[0, k].any()) for k in range(4)] == [True, False, False, False]


def test_a_keypoint_is_right_within_a_share_of_the_persons_size() -> None:
    found = torch.tensor([[[10.0, 0.0], [0.0, 9.0]]])
    right = is_right(found, torch.zeros(1, 2, 2), torch.tensor([95.0]), 0.1)
    assert right.tolist() == [[False, True]]
