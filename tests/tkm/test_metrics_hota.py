import numpy as np
import pytest
from trackeval.metrics import HOTA

from tests.tkm.metrics_builders import distances_of, person, plain_frames, random_video, video
from tkm.metrics.cleaning import labeled_frames
from tkm.metrics.hota import ALPHAS, HotaSums, hota, hota_sums

FIELDS = ("true_points", "predicted_points", "true_positives", "association", "similarity")


def sums_of(truth, prediction):
    return hota_sums(labeled_frames(truth, prediction))


def scores_of(*sums):
    return hota(*(np.sum([getattr(each, field) for each in sums], axis=0) for field in FIELDS))


def of_trackeval(truth, prediction, joint):
    """What TrackEval's own metric makes of one joint of a video."""
    frames = [distances_of(joint, *frame) for frame in plain_frames(truth, prediction, truth.is_labeled, smallest_px=0)]
    predicted, true = (sorted({i for frame in frames for i in frame[side]}) for side in (0, 1))
    data = {
        "num_gt_ids": len(true), "num_tracker_ids": len(predicted),
        "num_gt_dets": sum(len(frame[1]) for frame in frames), "num_tracker_dets": sum(len(frame[0]) for frame in frames),
        "gt_ids": [np.array([true.index(i) for i in frame[1]], int) for frame in frames],
        "tracker_ids": [np.array([predicted.index(i) for i in frame[0]], int) for frame in frames],
        "similarity_scores": [np.maximum(0, 1 - frame[2] / 0.5001) for frame in frames],
    }  # fmt: skip
    return HOTA().eval_sequence(data)


def assert_is(found, expected, joint):
    for field, name in (("hota", "HOTA"), ("detection", "DetA"), ("association", "AssA"), ("localisation", "LocA")):
        np.testing.assert_allclose(getattr(found, field)[joint], 100 * expected[name], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("joint", [0, 8])
def test_scores_are_those_of_trackeval_for_each_video_and_all_together(joint):
    videos = [random_video(seed) for seed in range(8)]
    sums = [sums_of(*each) for each in videos]
    expected = {str(n): of_trackeval(*each, joint) for n, each in enumerate(videos)}
    for n, each in enumerate(sums):
        assert_is(scores_of(each), expected[str(n)], joint)
        np.testing.assert_array_equal(each.true_positives[joint], expected[str(n)]["HOTA_TP"])
    assert_is(scores_of(*sums), HOTA().combine_sequences(expected), joint)


def test_thresholds_are_the_nineteen_of_trackeval():
    np.testing.assert_array_equal(ALPHAS, HOTA().array_labels)
    assert len(ALPHAS) == 19


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
