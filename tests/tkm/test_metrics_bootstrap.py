import dataclasses

import numpy as np
import pytest

from tests.tkm.metrics_builders import random_video
from tkm.metrics.bootstrap import paired_bootstrap
from tkm.metrics.scores import pool, score_video

METRICS = {
    "average_precision": "ap_after_threshold", "mota": "mota", "hota": "hota", "idf1": "idf1", "id_switches": "id_switches",
}  # fmt: skip


def without_ties(prediction, seed):
    score = np.random.default_rng(seed).permutation(prediction.people.keypoint_score.size) / 1e6
    people = dataclasses.replace(prediction.people, keypoint_score=score.reshape(prediction.people.keypoint_score.shape))
    return dataclasses.replace(prediction, people=people)


def two_sides(videos=5):
    """Scores of two predictions: the second lacks the points scored in the lower fifth."""
    pairs = [random_video(seed) for seed in range(videos)]
    pairs = [(truth, without_ties(prediction, seed)) for seed, (truth, prediction) in enumerate(pairs)]
    a, b = ([score_video(*pair, "strict", threshold) for pair in pairs] for threshold in (-np.inf, 1e-4))
    return a, b


def total(videos, metric):
    return getattr(pool(videos), METRICS[metric])[-1]


def test_the_difference_is_that_of_the_pooled_scores():
    a, b = two_sides()
    differences = paired_bootstrap(a, b, resamples=100)
    for metric in METRICS:
        found = getattr(differences, metric)
        assert found.difference == pytest.approx(total(a, metric) - total(b, metric))
        assert found.low <= found.high


def test_the_interval_is_that_of_pooling_every_resample_by_itself():
    a, b = two_sides()
    resamples = 40
    differences = paired_bootstrap(a, b, resamples, seed=7)
    drawn = np.random.default_rng(7).multinomial(len(a), np.full(len(a), 1 / len(a)), size=resamples)
    for metric in METRICS:
        each = [
            total([video for video, times in zip(a, row, strict=True) for _ in range(times)], metric)
            - total([video for video, times in zip(b, row, strict=True) for _ in range(times)], metric)
            for row in drawn.tolist()
        ]
        low, high = np.percentile(each, [2.5, 97.5])
        found = getattr(differences, metric)
        # A video's point drawn twice stands for two of one score, whose order differs: of no account for the envelope.
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_a_prediction_does_not_differ_from_itself():
    a, _ = two_sides()
    differences = paired_bootstrap(a, a, resamples=50)
    for metric in METRICS:
        assert dataclasses.astuple(getattr(differences, metric)) == (0, 0, 0)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    a, b = two_sides()
    one, again, other = (paired_bootstrap(a, b, 50, seed).mota for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_untracked_predictions_differ_in_ap_alone():
    a, b = two_sides()
    b = [dataclasses.replace(video, is_tracked=False) for video in b]
    differences = paired_bootstrap(a, b, resamples=20)
    assert np.isfinite(dataclasses.astuple(differences.average_precision)).all()
    for metric in ("mota", "hota", "idf1"):
        assert np.isnan(dataclasses.astuple(getattr(differences, metric))).all()


def test_sides_that_do_not_pair_are_refused():
    a, b = two_sides()
    with pytest.raises(ValueError, match="same videos"):
        paired_bootstrap(a, b[::-1])
    with pytest.raises(ValueError, match="same videos"):
        paired_bootstrap(a, b[1:])
    with pytest.raises(ValueError, match="at least 2, not 1"):
        paired_bootstrap(a[:1], b[:1])
    official = [dataclasses.replace(video, protocol="official") for video in b]
    with pytest.raises(ValueError, match="strict and official"):
        paired_bootstrap(a, official)
