"""Learning rates by epoch, and which samples each process sees."""

from __future__ import annotations

import numpy as np
import pytest

from tkm.training.schedule import STAGE_ONE, STAGE_TWO, Schedule, sample_order


def test_the_papers_schedules() -> None:
    assert [STAGE_ONE.lr_at(epoch) for epoch in (0, 9, 10, 14, 15, 19)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert [STAGE_TWO.lr_at(epoch) for epoch in (0, 6, 7, 8)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])
    assert (STAGE_ONE.optimiser, STAGE_ONE.epochs, STAGE_TWO.optimiser, STAGE_TWO.epochs) == ("adam", 20, "sgd", 9)


def test_milestones_keep_their_share_of_another_length() -> None:
    assert STAGE_ONE.changed(epochs=140).milestones == (70, 105)
    assert STAGE_ONE.changed(epochs=4, lr=0.5) == Schedule("adam", 0.5, 4, (2, 3))
    assert STAGE_ONE.changed() == STAGE_ONE


@pytest.mark.parametrize(
    ("change", "named"),
    [({"lr": 0.0}, "lr"), ({"epochs": 0}, "epochs"), ({"milestones": (5, 3)}, "milestones"), ({"weight_decay": -1.0}, "decay")],
)
def test_what_makes_no_schedule_is_named(change: dict[str, object], named: str) -> None:
    usual: dict[str, object] = {"optimiser": "adam", "lr": 0.1, "epochs": 5, "milestones": (3,)}
    with pytest.raises(ValueError, match=named):
        Schedule(**{**usual, **change})  # type: ignore[arg-type]


def test_sgd_has_momentum_and_the_rate_of_the_first_epoch() -> None:
    import torch

    optimiser = STAGE_TWO.optimiser_of([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimiser, torch.optim.SGD)
    assert {name: optimiser.param_groups[0][name] for name in ("lr", "momentum")} == {"lr": 1e-4, "momentum": 0.9}


def test_an_epoch_sees_every_sample_in_another_order_each_time() -> None:
    orders = [sample_order(10, 4, seed=1, epoch=epoch, rank=0, world=1) for epoch in range(2)]
    for order in orders:
        assert order.shape == (3, 4)
        assert sorted(order.ravel()[:10].tolist()) == list(range(10))
        np.testing.assert_array_equal(order.ravel()[10:], order.ravel()[:2])  # the last batch is filled up
    assert (orders[0] != orders[1]).any()
    np.testing.assert_array_equal(orders[0], sample_order(10, 4, seed=1, epoch=0, rank=0, world=1))


def test_processes_share_the_batches_that_one_would_see() -> None:
    whole = sample_order(11, 4, seed=1, epoch=0, rank=0, world=1)
    shares = [sample_order(11, 4, seed=1, epoch=0, rank=rank, world=2) for rank in range(2)]
    assert shares[0].shape == shares[1].shape == (3, 2)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares, axis=1)), np.sort(whole))


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        sample_order(10, 3, seed=0, epoch=0, rank=0, world=2)
    with pytest.raises(ValueError, match="no samples"):
        sample_order(0, 3, seed=0, epoch=0, rank=0, world=1)
