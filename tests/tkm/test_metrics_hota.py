import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tests.tkm.metrics_builders import distances_of, person, plain_frames, random_video, video
from tkm.metrics.cleaning import labeled_frames
from tkm.metrics.hota import ALPHAS, HotaSums, hota, hota_sums

FIELDS = ("true_points", "predicted_points", "true_positives", "association", "similarity")


def sums_of(truth, prediction):
    return hota_sums(labeled_frames(truth, prediction))


def scores_of(*sums):
    return hota(*(np.sum([getattr(each, field) for each in sums], axis=0) for field in FIELDS))


def plain_hota(videos, joint):
    """HOTA of one joint of some videos by its definition (Luiten et al. 2020), pair after pair, with its parts, by threshold.

    TrackEval's own metric gave the same to 1e-9; it is no dependency because it brings a second OpenCV along.
    """
    tp, fn, fp, association, similarity = (np.zeros(19) for _ in range(5))
    for truth, prediction in videos:
        frames = [distances_of(joint, *frame) for frame in plain_frames(truth, prediction, truth.is_labeled, smallest_px=0)]
        alike, of_true, of_predicted = {}, {}, {}
        for predicted, true, distance in frames:
            near = np.maximum(0, 1 - distance / 0.5001)
            for g, i in enumerate(true):
                of_true[i] = of_true.get(i, 0) + 1
                for p, j in enumerate(predicted):
                    either = near[g].sum() + near[:, p].sum() - near[g, p]
                    alike[i, j] = alike.get((i, j), 0) + (near[g, p] / either if either > 1e-12 else 0)
            for j in predicted:
                of_predicted[j] = of_predicted.get(j, 0) + 1
        together = {alpha: {} for alpha in range(19)}
        for predicted, true, distance in frames:
            near = np.maximum(0, 1 - distance / 0.5001).reshape(len(true), len(predicted))
            weight = np.array(
                [[alike[i, j] / (of_true[i] + of_predicted[j] - alike[i, j]) * near[g, p] for p, j in enumerate(predicted)]
                 for g, i in enumerate(true)]
            ).reshape(near.shape)  # fmt: skip
            pairs = list(zip(*linear_sum_assignment(weight, maximize=True), strict=True))
            for alpha in range(19):
                matched = [(g, p) for g, p in pairs if near[g, p] >= 0.05 * (alpha + 1) - 1e-12]
                tp[alpha] += len(matched)
                fn[alpha] += len(true) - len(matched)
                fp[alpha] += len(predicted) - len(matched)
                similarity[alpha] += sum(near[g, p] for g, p in matched)
                for g, p in matched:
                    pair = true[g], predicted[p]
                    together[alpha][pair] = together[alpha].get(pair, 0) + 1
        for alpha, counts in together.items():
            association[alpha] += sum(n * n / (of_true[i] + of_predicted[j] - n) for (i, j), n in counts.items())
    detection, association = tp / np.maximum(tp + fn + fp, 1), association / np.maximum(tp, 1)
    return {
        "TP": tp, "detection": detection, "association": association, "hota": np.sqrt(detection * association),
        "localisation": similarity / np.maximum(tp, 1e-10),
    }  # fmt: skip


def assert_is(found, expected, joint):
    is_found = expected["TP"] > 0
    for field in ("hota", "detection", "association"):
        np.testing.assert_allclose(getattr(found, field)[joint], 100 * expected[field], atol=1e-9, err_msg=field)
    np.testing.assert_allclose(found.localisation[joint][is_found], 100 * expected["localisation"][is_found], atol=1e-9)


@pytest.mark.parametrize("joint", [0, 8])
def test_scores_are_those_of_the_definition_for_each_video_and_all_together(joint):
    videos = [random_video(seed) for seed in range(8)]
    sums = [sums_of(*each) for each in videos]
    for one, own in zip(videos, sums, strict=True):
        expected = plain_hota([one], joint)
        assert_is(scores_of(own), expected, joint)
        np.testing.assert_array_equal(own.true_positives[joint], expected["TP"])
    assert_is(scores_of(*sums), plain_hota(videos, joint), joint)


def test_thresholds_are_nineteen():
    np.testing.assert_allclose(ALPHAS, [0.05 * n for n in range(1, 20)])


def test_one_person_whose_track_breaks_in_the_middle():
    # Each half's two tracks share 2 of their 4 points: AssA is 1/2, DetA 1.
    truth = video([person(t, 0, 100) for t in range(4)], 4)
    prediction = video([person(t, t // 2, 100) for t in range(4)], 4)
    scores = scores_of(sums_of(truth, prediction))
    np.testing.assert_allclose(scores.detection, 100)
    np.testing.assert_allclose(scores.association, 50)
    np.testing.assert_allclose(scores.hota, 100 * np.sqrt(0.5))
    np.testing.assert_allclose(scores.localisation, 100)


def test_a_frame_that_is_labeled_counts_though_nobody_is_in_it_and_one_that_is_not_does_not():
    truth = video([person(0, 0, 100)], 3, is_labeled=[True, True, False])
    prediction = video([person(t, 0, 100) for t in range(3)], 3)
    sums = sums_of(truth, prediction)
    assert (sums.true_points[0], sums.predicted_points[0]) == (1, 2)


def test_a_joint_without_truth_has_no_score_and_one_never_predicted_has_zero():
    truth = video([person(0, 0, 100, joints=range(1, 15))], 1)
    prediction = video([person(0, 0, 100, joints=range(14))], 1)
    scores = scores_of(sums_of(truth, prediction))
    assert np.isnan(scores.hota[0]).all()
    assert (scores.hota[1:14] == 100).all()
    assert (scores.hota[14] == 0).all()


def test_nobody_at_all_is_no_error():
    nobody = video([], 2)
    for truth, prediction in ((nobody, nobody), (video([person(0, 0, 100)], 2), nobody), (nobody, video([person(0, 0, 9)], 2))):
        assert not sums_of(truth, prediction).true_positives.any()


def test_sums_of_a_wrong_shape_are_refused():
    sums = sums_of(*random_video(0))
    with pytest.raises(ValueError, match=r"HotaSums\.similarity"):
        HotaSums(*(getattr(sums, field) for field in FIELDS[:-1]), similarity=sums.similarity[:, 1:])
