"""Matching, body and refinement heads learn from samples: made ones, of people whose features tell who they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from storage.artifacts import Artifact, Provenance
from storage.samples import samples_to_table
from storage.sources import InputError
from storage.store import Store
from tasks.fit import TrainingRun, fit
from tasks.head_params import MatchingTrainParams, RefinementTrainParams, TemporalTrainParams
from tasks.head_reader import Reader
from tasks.pair_trainee import PairTrainee
from tasks.refinement_trainee import RefinementTrainee, WindowNetwork
from tasks.samples import SampleSet
from tasks.train_heads import hold_out, pair_order, refinement_order
from tasks.training import carry_out
from tests.heads import MOVENET, save_random_head
from tkm.networks.heads import HeadFacts, build, load_head
from tkm.networks.reduced import BODY_CELLS, MATCHING_INPUTS, REFINEMENT_INPUTS
from tkm.refinement import refined_response, support
from tkm.training.samples import NOBODY, OWN, Samples, identities
from tkm.training.windows import true_counterparts
from tkm.weights import WeightsError

pytestmark = pytest.mark.usefixtures("one_thread")

K, S, FRAMES, PEOPLE, SIZE_PX = 17, 18, 8, 3, (256, 256)
COLUMNS = SIZE_PX[1] // 4


def samples(seed: int, network: str = "movenet-thunder", size_px: tuple[int, int] = SIZE_PX) -> Samples:
    """People in all frames. At true places inputs are the person's own, elsewhere noise; the third candidate is right."""
    rng = np.random.default_rng(seed)
    P, columns, rows = FRAMES * PEOPLE, size_px[1] // 4, size_px[0] // 4
    frame, track_id = np.repeat(np.arange(FRAMES), PEOPLE), np.tile(np.arange(PEOPLE), FRAMES)
    cell = rng.integers(rows * columns, size=(P, K, S))
    cell[:, :, 4] = cell[:, :, 0]
    cell[:, :, -1] = -1
    true = cell[:, :, 0]
    xy_cells = np.stack([true % columns, true // columns], axis=-1) + 0.5
    visibility = np.full((P, K), 2, np.int8)
    visibility[:, 5] = 1
    if network == "movenet-thunder":
        who = rng.normal(size=(PEOPLE, K, 1, REFINEMENT_INPUTS))[track_id]
        is_true = (cell == true[:, :, None])[..., None]
        inputs = np.where(is_true, who, 0) + rng.normal(size=(P, K, S, REFINEMENT_INPUTS)) * np.where(is_true, 0.3, 1)
        body = rng.normal(size=(PEOPLE, 1, MATCHING_INPUTS))[track_id].repeat(BODY_CELLS**2, axis=1)
        body += 0.3 * rng.normal(size=body.shape)
    else:
        inputs, body = rng.normal(size=(P, 2048, rows // 8, columns // 8)), np.zeros((P, 0, 0))
    return Samples(
        frame, track_id, cell, xy_cells.astype(np.float32), visibility, inputs.astype(np.float16), body.astype(np.float16)
    )


def sets(
    folder: Path, videos: int = 2, network: str = "movenet-thunder", size_px: tuple[int, int] = SIZE_PX
) -> list[SampleSet]:
    found = []
    for n in range(videos):
        artifact = Artifact(Store(str(folder)), "samples", f"{n:040d}")
        own = samples(n, network, size_px)
        artifact.commit(0, FRAMES, samples_to_table(own), seconds=0, device="cpu")
        artifact.close(FRAMES, Provenance(1, {}, {}, {}, {}))
        found.append(SampleSet(artifact, network, MOVENET, size_px, "coco_17", len(own)))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[SampleSet]:
    return sets(tmp_path_factory.mktemp("sets"))


def head(kind: Any, **facts: Any) -> Any:
    torch.manual_seed(7)
    return build(HeadFacts.usual(kind, "movenet-thunder", MOVENET, "coco_17", **facts))


def losses(trainee: Any, steps: int = 25, lr: float = 2e-3) -> list[float]:
    """Of a first batch that is seen again and again."""
    batch = next(iter(trainee.batches(0, 0, 1, 0)))
    optimiser = torch.optim.Adam(trainee.model.parameters(), lr=lr)
    found = []
    trainee.model.train()
    for _ in range(steps):
        loss = trainee.losses(trainee.model, batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("kind", ["matching", "body"])
def test_a_head_learns_who_is_who(made: list[SampleSet], kind: str) -> None:
    trainee = PairTrainee(head(kind), Reader(made), Reader(made[:1]), MatchingTrainParams(positives=60, most_frames=5), kind)
    found = losses(trainee)
    assert found[-1] < 0.6 * found[0]
    with torch.no_grad():
        told = trainee.validate(trainee.model.eval())
    assert set(told) == {"loss", "positive_right", "negative_right"}
    assert all(0 <= told[name] <= 1 for name in ("positive_right", "negative_right"))


def test_pairs_of_a_batch_are_inputs_of_true_and_wrong_places(made: list[SampleSet]) -> None:
    params = MatchingTrainParams(positives=40, most_frames=5)
    trainee = PairTrainee(head("matching"), Reader(made[:1]), Reader([]), params, "matching")
    batch = next(iter(trainee.batches(0, 0, 1, 0)))[0]
    own = made[0].read()
    identity = identities(own, COLUMNS)
    seen = own.inputs[..., :MATCHING_INPUTS].astype(np.float32)
    for pair in range(0, len(batch.keypoint), 17):
        k = int(batch.keypoint[pair])
        of = []
        for side in range(2):
            p, s = np.argwhere((seen[:, k] == batch.inputs[side, pair].numpy()).all(axis=2))[0]
            of.append(identity[p, k, s])
        assert (of[0] == of[1] != NOBODY) == bool(batch.is_same[pair])


def test_a_video_in_which_nobody_comes_again_gives_no_pairs_and_stops_nothing(tmp_path: Path, made: list[SampleSet]) -> None:
    artifact = Artifact(Store(str(tmp_path)), "samples", "0" * 40)
    own = samples(0)
    row = slice(0, 1)
    one = Samples(*(getattr(own, name)[row] for name in Samples.__dataclass_fields__))
    artifact.commit(0, 1, samples_to_table(one), seconds=0, device="cpu")
    artifact.close(1, Provenance(1, {}, {}, {}, {}))
    alone = SampleSet(artifact, "movenet-thunder", MOVENET, SIZE_PX, "coco_17", 1)
    trainee = PairTrainee(head("matching"), Reader([made[0], alone]), Reader([]), MatchingTrainParams(positives=20), "matching")
    assert len(losses(trainee, steps=1)) == 1
    # By itself it is a process's whole share of a step, from which the others wait for a gradient of every parameter.
    trainee = PairTrainee(head("matching"), Reader([alone]), Reader([]), MatchingTrainParams(batch_size=1), "matching")
    trainee.losses(trainee.model, next(trainee.batches(0, 0, 1, 0)))["loss"].backward()
    gradients = [parameter.grad for parameter in trainee.model.parameters()]
    assert all(one is not None and not one.any() for one in gradients)


def test_samples_beyond_what_memory_may_hold_are_read_too(made: list[SampleSet], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tkm.networks.runtime.memory_bytes", lambda: 1)
    reader = Reader(made)
    for number in (0, 1, 0):
        assert len(reader.read(number)) == made[number].people


@pytest.mark.parametrize("tau", [2, 0])
def test_a_refinement_head_learns_which_place_is_right(made: list[SampleSet], tau: int) -> None:
    matching = head("matching").eval() if tau else None
    params = RefinementTrainParams(tau=tau)
    trainee = RefinementTrainee(head("refinement", tau=tau), matching, Reader(made), Reader(made[:1]), params)
    found = losses(trainee)
    assert found[-1] < 0.6 * found[0]
    with torch.no_grad():
        told = trainee.validate(trainee.model.eval())
    names = {f"{which}_{what}" for which in ("seen", "hidden") for what in ("right", "right_before")}
    assert set(told) == {"loss", *names}


@pytest.mark.parametrize("divisor", ["window", "weights"])
def test_responses_in_training_are_eq_6_of_the_same_person(made: list[SampleSet], divisor: Any) -> None:
    tau = 2
    matching, refinement = head("matching").eval(), head("refinement", tau=tau, divisor=divisor).eval()
    params = RefinementTrainParams(tau=tau, divisor=divisor)
    trainee = RefinementTrainee(refinement, matching, Reader(made[:1]), Reader([]), params)
    windows = next(iter(trainee.batches(0, 0, 1, 0)))[:1]
    own = made[0].read()
    counterpart = true_counterparts(own.frame, own.track_id, tau)
    with torch.no_grad():
        network = WindowNetwork(refinement, tau, divisor, is_reduced=True)
        response = network(windows)[0]
        inputs = torch.from_numpy(own.inputs[:, :, OWN:]).float()
        F, a = matching.module(inputs[..., :MATCHING_INPUTS]), refinement.project(refinement.module(inputs))
        rows = torch.from_numpy(counterpart).clamp(min=0)
        weight = support(matching.classifiers, F, F[rows][:, :, :, 0], torch.arange(2 * tau) < tau)
        there = torch.from_numpy(counterpart >= 0)
        expected = refined_response(a, a[rows][:, :, :, 0], weight, there, refinement.bias, tau, divisor)
    is_whole = (own.frame >= tau) & (own.frame <= own.frame.max() - tau)
    rows_refined = windows[0].own
    assert rows_refined.tolist() == np.flatnonzero(is_whole).tolist(), "those whose window lies within the video"
    torch.testing.assert_close(windows[0].weight.float(), weight[rows_refined], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(response, expected[rows_refined], atol=2e-3, rtol=2e-3)


def test_targets_are_gaussians_of_the_distance_and_hidden_keypoints_count_as_asked(made: list[SampleSet]) -> None:
    params = RefinementTrainParams(tau=0, hidden_weight=0.25, sigma=2)
    trainee = RefinementTrainee(head("refinement", tau=0), None, Reader(made[:1]), Reader([]), params)
    window = next(iter(trainee.batches(0, 0, 1, 0)))[0]
    assert (window.target[:, :, 3] == 1).all(), "the third candidate is the true place"
    assert (window.target <= 1).all()
    assert (window.share[:, 5, :-1] == 0.25).all()
    assert (window.share[:, 4, :-1] == 1).all()
    assert (window.share[:, :, -1] == 0).all(), "there is no such place"


def test_a_training_that_is_cut_short_ends_with_the_same_bits(made: list[SampleSet], tmp_path: Path) -> None:
    params = MatchingTrainParams(epochs=2, positives=20, batch_size=1, val_share=0)
    order = pair_order("matching", made, params)
    whole = carry_out(Store(str(tmp_path / "whole")), order, device="cpu", say=lambda _: None)

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    store = Store(str(tmp_path / "cut"))
    with pytest.raises(KeyboardInterrupt):
        fit(order.build(), params.schedule, TrainingRun(order.training(store), params.seed), report=stop)
    again = carry_out(store, order, device="cpu", say=lambda _: None)
    assert whole is not None
    assert again is not None
    assert again.trained.sha256 == whole.trained.sha256


@pytest.mark.parametrize("what", ["matching", "body", "refinement"])
def test_the_papers_modules_train_on_maps(tmp_path: Path, what: Any) -> None:
    own = sets(tmp_path, 1, "resnet-50", (256, 192))
    small: Any = build(HeadFacts(what, "resnet-50", MOVENET, "coco_17", 1, 8, 0 if what == "refinement" else 8))
    if what == "refinement":
        matching: Any = build(HeadFacts("matching", "resnet-50", MOVENET, "coco_17", 1, 8, 8)).eval()
        trainee: Any = RefinementTrainee(small, matching, Reader(own), Reader([]), RefinementTrainParams(tau=1, batch_size=1))
    else:
        trainee = PairTrainee(small, Reader(own), Reader([]), MatchingTrainParams(positives=10, batch_size=1), what)
    found = losses(trainee, steps=2)
    assert np.isfinite(found).all()
    assert found[0] != found[1]


def test_videos_are_held_out_by_lot_and_those_without_people_left_aside(made: list[SampleSet]) -> None:
    empty = SampleSet(made[0].artifact, "movenet-thunder", MOVENET, SIZE_PX, "coco_17", 0)
    train, val = hold_out([*made, empty], 0.5, 3)
    assert sorted(one.artifact.key for one in [*train, *val]) == sorted(one.artifact.key for one in made)
    assert len(val) == 1
    assert hold_out(made, 0.5, 3) == (train, val)
    assert hold_out(made[:1], 0.9, 0) == (made[:1], [])
    with pytest.raises(InputError, match="nobody to train on"):
        hold_out([empty], 0, 0)


def test_a_refinement_head_is_trained_under_a_head_of_the_same_network_only(made: list[SampleSet], tmp_path: Path) -> None:
    path = save_random_head(tmp_path / "matching", "matching", pose_sha256="a" * 64)
    with pytest.raises(WeightsError, match="weights aaaaaaaa"):
        refinement_order(made, RefinementTrainParams(), ("b" * 64, path))


def test_heads_are_named_by_what_they_do_and_their_files_load(made: list[SampleSet], tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert refinement_order(made, RefinementTrainParams(tau=0), None).what == "self-refinement"
    order = refinement_order(made, RefinementTrainParams(tau=0, epochs=1), None)
    done = carry_out(store, order, device="cpu", say=lambda _: None)
    assert done is not None
    facts = load_head(tmp_path / done.trained.name, "refinement")[1]
    assert (facts.tau, facts.divisor, facts.network) == (0, "window", "movenet-thunder")


def test_each_of_the_two_trainings_has_the_parameters_that_are_its_own() -> None:
    both = TemporalTrainParams(tau=3, positives=7, sigma=2, divisor="weights", lr=0.1)
    assert both.only(MatchingTrainParams) == MatchingTrainParams(tau=3, positives=7, lr=0.1)
    assert both.only(RefinementTrainParams) == RefinementTrainParams(tau=3, sigma=2, divisor="weights", lr=0.1)
