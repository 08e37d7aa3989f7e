"""The training loop: it goes on where it was killed, bit for bit, several processes do what one does, and damage is no end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from storage.store import Store
from storage.trainings import Metric, Training
from tasks.fit import TrainingError, TrainingRun, fit
from tests.flows.commands import ROOT
from tests.tasks.fit_process import CHECKPOINT_STEPS, SAMPLES, SCHEDULE, SEED, STEPS, Regression, training
from tkm.training.schedule import Schedule

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(root: Path, kind: str = "noisy", *, device: str = "cpu", schedule: Schedule = SCHEDULE) -> nn.Module:
    return fit(Regression(kind), schedule, TrainingRun(training(str(root)), SEED, device, CHECKPOINT_STEPS))


def state_of(root: Path) -> dict[str, Tensor]:
    checkpoint, _ = training(str(root)).newest()
    assert checkpoint is not None
    assert checkpoint.epoch == SCHEDULE.epochs
    return checkpoint.model


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_training_lowers_the_loss_and_tells_every_epoch(tmp_path: Path) -> None:
    told: list[list[Metric]] = []
    run = TrainingRun(training(str(tmp_path)), SEED)
    model = fit(Regression("plain"), SCHEDULE, run, report=lambda metrics: told.append(list(metrics)))

    assert not model.training
    assert [max(metric.epoch for metric in metrics) for metrics in told] == [0, 1, 2, 3]
    of = {(metric.split, metric.name, metric.epoch): metric.value for metric in told[-1]}
    assert {key[:2] for key in of} == {("train", "loss"), ("train", "mae"), ("train", "lr"), ("train", "seconds"), ("val", "mse")}
    assert of["train", "loss", 3] < of["train", "loss", 0]
    assert [of["train", "lr", epoch] for epoch in range(4)] == pytest.approx([0.01, 0.01, 0.001, 0.0001])
    own = Regression("plain")
    assert of["val", "mse", 3] == pytest.approx(own.validate(model)["mse"])


def test_a_training_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.tasks.fit_process", str(tmp_path / "killed"), "noisy", "0.2"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment())
    # Within the second epoch, after a checkpoint that stands in the middle of it.
    middle = tmp_path / "killed" / training(str(tmp_path / "killed")).folder / "checkpoints" / f"0001-{CHECKPOINT_STEPS:08d}.json"
    end = time.monotonic() + 500
    while not middle.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert middle.exists(), "the training has not come so far"
    assert process.poll() is None, "the training ended before it could be killed"
    process.kill()
    process.wait()

    resumed = Regression()
    told: list[list[Metric]] = []
    run = TrainingRun(training(str(tmp_path / "killed")), SEED, "cpu", CHECKPOINT_STEPS)
    fit(resumed, SCHEDULE, run, report=lambda metrics: told.append(list(metrics)))
    trained(tmp_path / "whole")

    assert len(resumed.seen) < SAMPLES * (SCHEDULE.epochs - 1)  # what was done before is not done again
    assert_equal(state_of(tmp_path / "killed"), state_of(tmp_path / "whole"))
    whole, _ = training(str(tmp_path / "whole")).newest()
    assert whole is not None
    assert without_seconds(told[-1]) == without_seconds(whole.metrics)


def without_seconds(metrics: list[Metric]) -> list[Metric]:
    return [metric for metric in metrics if metric.name != "seconds"]


def test_two_processes_of_torchrun_learn_what_one_learns(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.tasks.fit_process", str(tmp_path / "two"), "plain"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    trained(tmp_path / "one", "plain")

    two, one = state_of(tmp_path / "two"), state_of(tmp_path / "one")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
    kept = [training(str(tmp_path / name)).newest()[0] for name in ("two", "one")]
    values = [[metric.value for metric in without_seconds(found.metrics)] for found in kept if found]
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    short = Schedule("adam", lr=0.01, epochs=2, milestones=())
    trained(tmp_path / "damaged", schedule=short)
    folder = tmp_path / "damaged" / training(str(tmp_path / "damaged")).folder / "checkpoints"
    newest = max(folder.glob("*.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    said: list[str] = []
    resumed = Regression()
    fit(resumed, SCHEDULE, TrainingRun(training(str(tmp_path / "damaged")), SEED, "cpu", CHECKPOINT_STEPS), say=said.append)

    assert len(said) == 1
    assert newest.name in said[0]
    assert "damaged" in said[0]
    assert_equal(state_of(tmp_path / "damaged"), state_of(tmp_path / "whole"))


def test_the_newest_two_checkpoints_are_kept(tmp_path: Path) -> None:
    trained(tmp_path)
    names = [Path(name).name for name in Store(str(tmp_path)).list("training") if name.endswith(".pt")]
    assert names == [f"{SCHEDULE.epochs - 1:04d}-{CHECKPOINT_STEPS:08d}.pt", f"{SCHEDULE.epochs:04d}-00000000.pt"]
    assert CHECKPOINT_STEPS < STEPS


def test_what_is_trained_is_not_trained_again(tmp_path: Path) -> None:
    first = trained(tmp_path)
    again = Regression()
    second = fit(again, SCHEDULE, TrainingRun(training(str(tmp_path)), SEED))
    assert again.seen == []
    assert_equal(second.state_dict(), first.state_dict())


def test_another_parameter_seed_or_data_is_another_training(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    keys = {
        Training.plan(store, what, version, params, weights, data).key
        for what, version, params, weights, data in (
            ("pose", 1, {"seed": 0}, {"init": "a"}, {"train": "b"}),
            ("body", 1, {"seed": 0}, {"init": "a"}, {"train": "b"}),
            ("pose", 2, {"seed": 0}, {"init": "a"}, {"train": "b"}),
            ("pose", 1, {"seed": 1}, {"init": "a"}, {"train": "b"}),
            ("pose", 1, {"seed": 0}, {"init": "c"}, {"train": "b"}),
            ("pose", 1, {"seed": 0}, {"init": "a"}, {"train": "d"}),
        )
    }
    assert len(keys) == 6


def test_a_loss_that_is_not_finite_ends_the_training_before_it_is_kept(tmp_path: Path) -> None:
    wild = Schedule("sgd", lr=1e6, epochs=30, milestones=())
    with pytest.raises(TrainingError, match="give a lower --lr"):
        trained(tmp_path, "plain", schedule=wild)
    checkpoint, _ = training(str(tmp_path)).newest()
    assert checkpoint is None or all(tensor.isfinite().all() for tensor in checkpoint.model.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_learns_too_and_a_checkpoint_of_it_goes_on_there(tmp_path: Path) -> None:
    short = Schedule("adam", lr=0.01, epochs=2, milestones=())
    trained(tmp_path, device="cuda", schedule=short)
    model = trained(tmp_path, device="cuda")
    assert next(model.parameters()).device.type == "cuda"
    metrics = training(str(tmp_path)).newest()[0].metrics  # type: ignore[union-attr]
    losses = [metric.value for metric in metrics if metric.name == "loss"]
    assert losses[-1] < losses[0]
