import dataclasses

import numpy as np
import pytest

from tests.tkm.metrics_builders import JOINTS, annotated, distances_of, person, plain_frames, random_video, video
from tkm.metrics.average_precision import assigned_pairs, average_precision, point_detections
from tkm.metrics.cleaning import annotated_frames


def scores_of(*videos):
    return average_precision([point_detections(annotated_frames(*each)) for each in videos])


def plain_point_average_precision(videos, joint):
    """AP, precision and recall in percent, written as loops from the definition."""
    points, to_find = [], 0
    for truth, prediction in videos:
        for predicted, true in plain_frames(truth, prediction, annotated(truth)):
            to_find += sum(joint in who[1] for who in true)
            share = np.zeros((len(predicted), len(true)))
            for j in range(JOINTS):
                _, _, distance = distances_of(j, predicted, true)
                rows = [i for i, who in enumerate(true) if j in who[1]]
                columns = [i for i, who in enumerate(predicted) if j in who[1]]
                for a, q in enumerate(rows):
                    for b, p in enumerate(columns):
                        share[p, q] += (distance[a, b] <= 0.5) / len(true[q][1])
            person_of = {}
            for q in range(len(true)):
                claims = [(share[p, q], -p) for p in range(len(predicted)) if share[p].argmax() == q and share[p, q] > 0]
                if claims:
                    person_of[-max(claims)[1]] = q
            for p, who in enumerate(predicted):
                if joint in who[1]:
                    hit = p in person_of and joint in true[person_of[p]][1]
                    hit = hit and distances_of(joint, [who], [true[person_of[p]]])[2][0, 0] <= 0.5
                    points.append((float(who[2][joint]), hit))
    points.reverse()
    points.sort(key=lambda point: -point[0])
    curve, hits = [], 0
    for number, (_, hit) in enumerate(points, start=1):
        hits += hit
        curve.append((hits / to_find, hits / number))
    area, before = 0.0, 0.0
    for i, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[i:])
        before = recall
    return 100 * area, 100 * curve[-1][1], 100 * curve[-1][0]


@pytest.mark.parametrize("seed", range(5))
def test_ap_is_that_of_loops_written_from_the_definition(seed):
    videos = [random_video(2 * seed), random_video(2 * seed + 1)]
    scores = scores_of(*videos)
    for joint in (0, 7, 14):
        expected = plain_point_average_precision(videos, joint)
        found = scores.average_precision[joint], scores.precision[joint], scores.recall[joint]
        assert found == pytest.approx(expected, abs=1e-9)


def test_a_curve_by_hand():
    # By falling score: right, wrong, right. Two of three points found: 1/3 at precision 1, 1/3 at 2/3.
    truth = video([person(t, 0, 100) for t in range(3)], 3)
    prediction = video([person(0, 0, 100, score=0.9), person(1, 0, 130, score=0.8), person(2, 0, 100, score=0.7)], 3)
    scores = scores_of((truth, prediction))
    np.testing.assert_allclose(scores.average_precision, 100 * (1 + 2 / 3) / 3)
    np.testing.assert_allclose(scores.precision, 100 * 2 / 3)
    np.testing.assert_allclose(scores.recall, 100 * 2 / 3)


def test_half_a_head_size_is_a_hit_and_more_is_not():
    # A power of two, so that the boundary itself is exact: 15 pixels of a head of 30.
    truth = video([person(0, 0, 128), person(1, 0, 128)], 2)
    prediction = video([person(0, 0, 143, joints=[0]), person(1, 0, 143.001, joints=[0])], 2)
    assert point_detections(annotated_frames(truth, prediction)).is_hit.tolist() == [True, False]


def test_of_two_predictions_of_one_person_the_second_hits_nothing_even_where_the_first_has_no_point():
    truth = video([person(0, 0, 100)], 1)
    prediction = video([person(0, 0, 100, joints=range(10)), person(0, 1, 100, joints=range(9, 15))], 1)
    frames = annotated_frames(truth, prediction)
    assert frames.pair_pred[assigned_pairs(frames)].tolist() == [0]
    assert point_detections(frames).is_hit.sum() == 10


def test_a_prediction_goes_to_the_first_of_two_people_it_fits_equally_and_a_person_keeps_the_first_of_two_predictions():
    truth = video([person(0, 0, 100), person(0, 1, 100)], 1)
    prediction = video([person(0, 0, 100), person(0, 1, 100)], 1)
    frames = annotated_frames(truth, prediction)
    pairs = assigned_pairs(frames)
    assert (frames.pair_pred[pairs].tolist(), frames.pair_true[pairs].tolist()) == ([0], [0])


def test_the_share_of_found_points_decides_not_their_number():
    # 3 of 3 points of the second person beat 4 of 15 of the first.
    truth = video([person(0, 0, 100), person(0, 1, 100, y=120, joints=[0, 1, 2])], 1)
    moved = person(0, 0, 100)
    moved[2][:, 1] = [120] * 3 + [100] * 4 + [500] * 8
    frames = annotated_frames(truth, video([moved], 1))
    assert frames.pair_true[assigned_pairs(frames)].tolist() == [1]


def test_joints_without_truth_or_prediction():
    truth = video([person(0, 0, 100, joints=range(2, 15))], 1)
    prediction = video([person(0, 0, 100, joints=range(1, 14))], 1)
    scores = scores_of((truth, prediction))
    # 0: neither; 1: no truth; 2..13 both; 14: never predicted.
    assert scores.average_precision[[0, 2, 14]].tolist() == [0, 100, 0]
    assert scores.precision[[0, 1, 2, 14]].tolist() == [0, 0, 100, 0]
    assert scores.recall[[0, 2, 14]].tolist() == [0, 100, 0]
    assert np.isnan([scores.average_precision[1], scores.recall[1]]).all()


def test_people_predicted_where_the_truth_was_emptied_are_wrong():
    everywhere = np.array([[-1e4, -1e4], [1e4, -1e4], [1e4, 50], [-1e4, 50]], float)
    truth = video([person(0, 0, 100), person(1, 0, 100, y=0)], 2, regions={1: (everywhere,)})
    prediction = video([person(0, 0, 100), person(1, 0, 100, y=100)], 2)
    points = point_detections(annotated_frames(truth, prediction))
    assert points.true_points.tolist() == [1] * JOINTS
    assert points.is_hit.tolist() == [True, False] * JOINTS


def test_points_without_score_come_last():
    truth = video([person(0, 0, 100), person(1, 0, 100)], 2)
    prediction = video([person(0, 0, 100, score=np.nan), person(1, 0, 500, score=-3.0)], 2)
    np.testing.assert_allclose(scores_of((truth, prediction)).average_precision, 100 * 0.5 / 2)


def test_no_order_of_videos_changes_what_is_found():
    videos = [random_video(seed) for seed in range(3)]
    one, other = scores_of(*videos), scores_of(*videos[::-1])
    np.testing.assert_array_equal(one.precision, other.precision)
    np.testing.assert_array_equal(one.recall, other.recall)


def test_points_of_a_wrong_number_are_refused():
    points = point_detections(annotated_frames(*random_video(0)))
    with pytest.raises(ValueError, match=r"PointDetections\.score"):
        dataclasses.replace(points, score=points.score[1:])
