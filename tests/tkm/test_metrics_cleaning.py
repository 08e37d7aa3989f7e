import dataclasses

import numpy as np
import pytest

from tests.tkm.metrics_builders import JOINTS, annotated, person, plain_frames, random_video, video
from tkm.metrics.cleaning import annotated_frames, labeled_frames
from tkm.skeleton import COCO_17


@pytest.mark.parametrize("seed", range(5))
def test_who_stays_is_who_plain_loops_leave(seed):
    truth, prediction = random_video(seed)
    for frames, plain in (
        (annotated_frames(truth, prediction), plain_frames(truth, prediction, annotated(truth))),
        (labeled_frames(truth, prediction), plain_frames(truth, prediction, truth.is_labeled, smallest_px=0)),
    ):
        assert len(frames) == len(plain)
        for t, (predicted, true) in enumerate(plain):
            of_pred, of_true = frames.pred_frame == t, frames.true_frame == t
            assert frames.pred_track_id[of_pred].tolist() == [who[0] for who in predicted]
            assert frames.true_track_id[of_true].tolist() == [who[0] for who in true]
            assert [np.flatnonzero(row).tolist() for row in frames.pred_given[of_pred]] == [list(who[1]) for who in predicted]
            assert [np.flatnonzero(row).tolist() for row in frames.true_given[of_true]] == [list(who[1]) for who in true]


def test_every_two_people_of_a_frame_are_paired_with_distances_in_heads_of_the_true_one():
    truth = video([person(0, 0, 100), person(0, 1, 160), person(1, 0, 100, joints=[3])], 2)
    prediction = video([person(0, 0, 130), person(1, 0, 100), person(1, 1, 115, joints=[3, 4])], 2)
    frames = annotated_frames(truth, prediction)
    assert frames.pair_pred.tolist() == [0, 0, 1, 2]
    assert frames.pair_true.tolist() == [0, 1, 2, 2]
    np.testing.assert_allclose(frames.distance[:, 3], [1, 1, 0, 0.5])
    assert np.isinf(frames.distance[2:, 4]).all()


def test_frames_without_annotated_people_go_with_their_predictions_but_not_those_whose_people_have_no_points():
    truth = video([person(1, 0, 100), person(2, 0, 100, joints=[])], 3, is_labeled=[True, True, False])
    prediction = video([person(t, 0, 100) for t in range(3)], 3)
    frames = annotated_frames(truth, prediction)
    assert frames.frame.tolist() == [1, 2]
    assert frames.pred_frame.tolist() == [0, 1]
    assert frames.true_frame.tolist() == [0]
    frames = labeled_frames(truth, prediction)
    assert frames.frame.tolist() == [0, 1]
    assert frames.true_frame.tolist() == [1]


def test_a_point_on_the_border_of_a_region_stays_and_one_inside_goes_from_truth_and_prediction():
    square = np.array([[90.0, 90.0], [130.0, 90.0], [130.0, 110.0], [90.0, 110.0]])
    for given, x in ((False, 100), (True, 90)):
        truth, prediction = (video([person(0, 0, x, joints=[0, 9])], 1, regions={0: (square, square[:2])}) for _ in range(2))
        frames = annotated_frames(truth, prediction)
        assert frames.true_given[0, [0, 9]].tolist() == frames.pred_given[0, [0, 9]].tolist() == [given, True]


def test_points_scored_below_the_threshold_go_and_people_left_without_points_too():
    truth = video([person(0, 0, 100)], 1)
    score = np.full(JOINTS, 0.3)
    score[4], score[5] = 0.5, np.nan
    prediction = video([person(0, 0, 100, score=score), person(0, 1, 100, score=0.49)], 1)
    frames = annotated_frames(truth, prediction, keypoint_threshold=0.5)
    assert frames.pred_track_id.tolist() == [0]
    assert np.flatnonzero(frames.pred_given[0]).tolist() == [4]
    assert annotated_frames(truth, prediction).pred_given.all()


def test_hota_does_not_count_points_at_the_edge_of_the_image():
    truth = video([person(0, 0, 0)], 1)
    frames = labeled_frames(truth, truth)
    assert np.flatnonzero(~frames.true_given[0]).tolist() == [0]
    assert annotated_frames(truth, truth).true_given.all()


def test_on_a_head_without_extent_no_point_is_found():
    truth = video([person(0, 0, 100)], 1)
    flat = dataclasses.replace(truth, people=dataclasses.replace(truth.people, head_xyxy_px=np.zeros((1, 4))))
    assert np.isinf(annotated_frames(flat, truth).distance).all()


def test_a_true_person_without_a_head_box_is_named():
    truth = video([person(2, 7, 100)], 3, head_boxes=False)
    with pytest.raises(ValueError, match=r"000001_bonn_test, frame 2, track 7: .* head box"):
        annotated_frames(truth, truth)
    assert annotated_frames(truth, video([], 3)).true_given.all()


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_the_evaluators_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = (video([person(0, n, 0) for n in range(9)], 1) for _ in range(2))
    places, others, heads = rng.normal(500, 99, (9, JOINTS, 2)), rng.normal(500, 99, (9, JOINTS, 2)), rng.normal(90, 30, (9, 4))
    truth = dataclasses.replace(truth, people=dataclasses.replace(truth.people, xy_px=places, head_xyxy_px=heads))
    prediction = dataclasses.replace(prediction, people=dataclasses.replace(prediction.people, xy_px=others))
    frames = annotated_frames(truth, prediction)
    for pair, (p, q) in enumerate(zip(frames.pair_pred.tolist(), frames.pair_true.tolist(), strict=True)):
        head_size_px = 0.6 * np.linalg.norm(heads[q, 2:] - heads[q, :2])
        expected = [np.linalg.norm(places[q, j] - others[p, j]) / head_size_px for j in range(JOINTS)]
        assert frames.distance[pair].tolist() == expected


@pytest.mark.parametrize(("ids", "named"), [((3, 3), "3"), ((-1, 4), "-1"), ((-2, -2), "-2")])
def test_track_ids_that_are_none_are_named(ids, named):
    truth = video([person(0, 0, 100)], 2)
    prediction = video([person(1, ids[0], 100), person(1, ids[1], 300)], 2)
    with pytest.raises(ValueError, match=f"000001_bonn_test, frame 1: .*, not {named}$"):
        annotated_frames(truth, prediction)


def test_people_none_of_whom_has_a_track_id_are_not_tracked():
    truth = video([person(0, 0, 100)], 1)
    assert annotated_frames(truth, video([], 1)).has_tracks
    assert not annotated_frames(truth, video([person(0, -1, 100), person(0, -1, 300)], 1)).has_tracks


def test_sequences_that_do_not_belong_together_are_refused():
    truth = video([person(0, 0, 100)], 2)
    with pytest.raises(ValueError, match="2 frames, the prediction 3"):
        annotated_frames(truth, video([], 3))
    people = dataclasses.replace(
        truth.people, xy_px=np.zeros((1, 17, 2)), keypoint_score=np.zeros((1, 17)), visibility=np.zeros((1, 17), np.int8)
    )
    with pytest.raises(ValueError, match="posetrack_15, not coco_17"):
        annotated_frames(truth, dataclasses.replace(truth, skeleton=COCO_17, people=people))
