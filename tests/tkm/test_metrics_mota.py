import dataclasses

import motmetrics
import numpy as np
import pytest

from tests.tkm.metrics_builders import JOINTS, annotated, distances_of, person, plain_frames, random_video, video
from tkm.metrics.cleaning import annotated_frames
from tkm.metrics.identity import identity_counts, idf1
from tkm.metrics.mota import MotaCounts, mota, mota_counts

NAMES = ("objects", "misses", "false_positives", "switches", "matches", "distance")


def counts_of(truth, prediction, protocol="strict"):
    return mota_counts(annotated_frames(truth, prediction), protocol)


def scores_of(counts):
    return mota(*(getattr(counts, name) for name in NAMES))


def summed(counts, joint=0):
    return {name: getattr(counts, name)[joint] for name in NAMES}


def fed_as_the_evaluator_does(truth, prediction, joint, protocol):
    """py-motmetrics' accumulator of one joint."""
    frames = plain_frames(truth, prediction, annotated(truth))
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for predicted, true in frames[:-1] if protocol == "official" else frames:
        if protocol == "official" and not (predicted and true):
            accumulator.update([0], [0], [[np.nan]])
            continue
        hypotheses, objects, distance = distances_of(joint, predicted, true)
        accumulator.update(objects, hypotheses, np.where(distance <= 0.5, distance, np.nan))
    return accumulator


def measured(accumulator, *names):
    return motmetrics.metrics.create().compute(accumulator, metrics=list(names), return_dataframe=False)


@pytest.mark.parametrize("protocol", ["official", "strict"])
@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_motmetrics(seed, protocol):
    truth, prediction = random_video(seed)
    counts = counts_of(truth, prediction, protocol)
    for joint in (0, 8):
        accumulator = fed_as_the_evaluator_does(truth, prediction, joint, protocol)
        expected = measured(
            accumulator, "num_objects", "num_misses", "num_false_positives", "num_switches", "num_matches", "num_detections"
        )
        matched = accumulator.events[accumulator.events.Type.isin(["MATCH", "SWITCH"])]
        found = summed(counts, joint)
        assert found.pop("distance") == pytest.approx(matched.D.sum())
        assert list(found.values()) == [
            expected[name] for name in ("num_objects", "num_misses", "num_false_positives", "num_switches", "num_matches")
        ]


@pytest.mark.parametrize("seed", range(8))
def test_identities_are_those_of_motmetrics(seed):
    truth, prediction = random_video(seed)
    counts = identity_counts(annotated_frames(truth, prediction))
    for joint in (0, 8):
        expected = measured(fed_as_the_evaluator_does(truth, prediction, joint, "strict"), "idtp", "idfp", "idfn", "idf1")
        found = [counts.true_positives[joint], counts.false_positives[joint], counts.false_negatives[joint]]
        assert found == [expected["idtp"], expected["idfp"], expected["idfn"]]
        score = idf1(counts.true_positives, counts.false_positives, counts.false_negatives)
        assert score[joint] == pytest.approx(100 * expected["idf1"])


def test_the_official_protocol_leaves_out_the_last_frame_that_counts():
    truth = video([person(t, 0, 100) for t in range(3)], 5)
    prediction = video([person(t, 0, 100 if t < 2 else 500) for t in range(5)], 5)
    assert summed(counts_of(truth, prediction, "official"))["objects"] == 2
    strict = summed(counts_of(truth, prediction))
    assert (strict["objects"], strict["misses"], strict["false_positives"]) == (3, 1, 1)


def test_a_frame_without_predicted_people_counts_one_miss_and_one_false_positive_of_every_joint_in_the_official_protocol():
    truth = video([person(t, n, 100 + 400 * n, joints=range(14)) for t in range(3) for n in range(3)], 3)
    prediction = video([person(t, n, 100 + 400 * n, joints=range(14)) for t in (0, 2) for n in range(3)], 3)
    official, strict = counts_of(truth, prediction, "official"), counts_of(truth, prediction)
    assert summed(official) == {
        "objects": 4, "misses": 1, "false_positives": 1, "switches": 0, "matches": 3, "distance": 0
    }  # fmt: skip
    assert (official.objects[14], official.misses[14], official.false_positives[14]) == (1, 1, 1)
    assert scores_of(official).mota[14] == -100
    assert summed(strict) == {"objects": 9, "misses": 3, "false_positives": 0, "switches": 0, "matches": 6, "distance": 0}
    assert strict.objects[14] == strict.misses[14] == strict.false_positives[14] == 0


def test_a_frame_whose_truth_the_clean_up_empties_counts_likewise():
    above = np.array([[0.0, 0.0], [1000.0, 0.0], [1000.0, 200.0], [0.0, 200.0]])
    truth = video([person(t, 0, 100) for t in range(3)], 3, regions={1: (above,)})
    prediction = video([person(t, n, 100, y=100 + 200 * n) for t in range(3) for n in range(3)], 3)
    official, strict = summed(counts_of(truth, prediction, "official")), summed(counts_of(truth, prediction))
    assert (official["objects"], official["misses"], official["false_positives"]) == (2, 1, 3)
    assert (strict["objects"], strict["misses"], strict["false_positives"]) == (2, 0, 6)


FAR_AWAY = (np.array([[5000.0, 5000.0], [5100.0, 5000.0], [5000.0, 5100.0]]),)


@pytest.mark.parametrize(
    ("visibility", "regions", "objects", "misses", "false_positives"),
    [
        (0, (), 3, 2, 0),  # kept: the two true people of the frame are missed
        (-1, (), 2, 1, 1),  # the file has no points of the person: one fake miss and false positive
        (0, FAR_AWAY, 2, 1, 1),  # where there are regions people without points are dropped after them
    ],
)
def test_a_predicted_person_without_points_keeps_a_frame_from_the_fakes_unless_dropped(
    visibility, regions, objects, misses, false_positives
):
    truth = video([person(t, n, 100 + 400 * n) for t, n in ((0, 0), (1, 0), (1, 1), (2, 0))], 3, regions={1: regions})
    prediction = without_points(video([person(t, 0, 100) for t in range(3)], 3), 1, visibility)
    counts = summed(counts_of(truth, prediction, "official"))
    assert (counts["objects"], counts["misses"], counts["false_positives"]) == (objects, misses, false_positives)
    assert summed(counts_of(truth, prediction))["false_positives"] == 0


@pytest.mark.parametrize(("visibility", "objects", "misses", "false_positives"), [(0, 1, 0, 1), (-1, 2, 1, 1)])
def test_a_true_person_without_points_does_likewise(visibility, objects, misses, false_positives):
    truth = without_points(video([person(t, 0, 100) for t in range(3)], 3), 1, visibility)
    prediction = video([person(t, 0, 100) for t in range(3)], 3)
    counts = summed(counts_of(truth, prediction, "official"))
    assert (counts["objects"], counts["misses"], counts["false_positives"]) == (objects, misses, false_positives)


def test_a_predicted_person_whom_the_threshold_leaves_no_point_is_dropped():
    truth = video([person(t, 0, 100) for t in range(3)], 3)
    prediction = without_points(video([person(t, 0, 100, score=0.9 if t != 1 else 0.1) for t in range(3)], 3), 3, 0)
    frames = annotated_frames(truth, prediction, keypoint_threshold=0.5)
    assert frames.has_pred.tolist() == [True, False, True]
    assert frames.has_true.all()


def without_points(sequence, frame, visibility):
    """The sequence, visibilities as the file's, where the people of a frame have no point."""
    people = sequence.people
    xy_px = np.where((people.frame == frame)[:, None, None], np.nan, people.xy_px)
    seen = np.full(people.visibility.shape, visibility, np.int8)
    return dataclasses.replace(sequence, people=dataclasses.replace(people, xy_px=xy_px, visibility=seen))


def test_a_match_once_made_is_kept_though_another_is_nearer_and_over_a_gap():
    truth = video([person(t, 0, 100) for t in range(4)], 4)
    near, far = [person(t, 1, 100) for t in (1, 3)], [person(t, 2, 109) for t in (0, 1, 3)]
    prediction = video(sorted([*near, *far], key=lambda row: row[0]), 4)
    assert summed(counts_of(truth, prediction)) == {
        "objects": 4, "misses": 1, "false_positives": 2, "switches": 0, "matches": 3, "distance": pytest.approx(0.9)
    }  # fmt: skip


def test_a_match_with_another_track_than_at_the_last_match_is_a_switch_and_back_again_another():
    truth = video([person(t, 0, 100) for t in range(5)], 5)
    prediction = video([person(t, track_id, 100) for t, track_id in ((0, 1), (1, 2), (3, 2), (4, 1))], 5)
    counts = summed(counts_of(truth, prediction))
    assert (counts["switches"], counts["matches"], counts["misses"]) == (2, 2, 1)


def test_of_two_people_who_were_matched_with_the_same_track_the_first_row_keeps_it():
    # 1 is matched with 7 while 0 is away, and both want it then; the second row takes what is left.
    truth = video([person(0, 0, 100), person(1, 1, 100), person(2, 0, 100), person(2, 1, 106)], 3)
    prediction = video([person(0, 7, 100), person(1, 7, 100), person(2, 7, 106), person(2, 8, 100)], 3)
    counts = summed(counts_of(truth, prediction))
    assert (counts["matches"], counts["switches"], counts["distance"]) == (3, 1, pytest.approx(0.4))


def test_as_many_pairs_as_possible_come_before_the_least_distance():
    # The nearest pair alone would leave 0 and 9 without a partner.
    truth = video([person(0, 0, 100), person(0, 1, 112)], 1)
    prediction = video([person(0, 8, 111), person(0, 9, 124)], 1)
    counts = summed(counts_of(truth, prediction))
    assert (counts["matches"], counts["distance"]) == (2, pytest.approx(11 / 30 + 12 / 30))


def test_scores_by_hand_and_undefined_ones():
    objects, misses, fakes = np.zeros((3, JOINTS), np.int64)
    switches, matches, distance = np.zeros(JOINTS, np.int64), np.zeros(JOINTS, np.int64), np.zeros(JOINTS)
    objects[:2], misses[:2], fakes[:3], switches[0], matches[0], distance[0] = 10, (2, 10), (4, 0, 5), 1, 7, 1.6
    scores = mota(objects, misses, fakes, switches, matches, distance)
    np.testing.assert_allclose(scores.mota[:4], [30, 0, np.nan, np.nan])
    np.testing.assert_allclose(scores.motp[:4], [80, 0, 0, 0])
    np.testing.assert_allclose(scores.precision[:4], [100 * 8 / 12, np.nan, 0, np.nan])
    np.testing.assert_allclose(scores.recall[:4], [80, 0, np.nan, np.nan])


def test_one_frame_leaves_the_official_protocol_nothing_to_count():
    truth = video([person(0, 0, 100)], 1)
    counts = counts_of(truth, truth, "official")
    assert not any(getattr(counts, name).any() for name in NAMES)
    scores = scores_of(counts)
    assert np.isnan([scores.mota, scores.precision, scores.recall]).all()
    assert (scores.motp == 0).all()
    assert (scores_of(counts_of(truth, truth)).mota == 100).all()


def test_the_official_protocol_refuses_track_ids_that_its_evaluator_refuses():
    truth = video([person(3, 0, 100)], 5)
    prediction = video([person(3, 10000, 100)], 5)
    with pytest.raises(ValueError, match="000001_bonn_test, frame 3: the predicted track id 10000"):
        counts_of(truth, prediction, "official")
    assert (counts_of(truth, prediction).matches == 1).all()


def test_without_track_ids_there_is_no_tracking_to_measure():
    frames = annotated_frames(video([person(0, 0, 100)], 1), video([person(0, -1, 100)], 1))
    for measure in (lambda: mota_counts(frames, "strict"), lambda: identity_counts(frames)):
        with pytest.raises(ValueError, match="no track ids"):
            measure()


def renamed(sequence, numbers):
    return dataclasses.replace(sequence, people=dataclasses.replace(sequence.people, track_id=numbers[sequence.people.track_id]))


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_renaming_track_ids_changes_nothing(protocol):
    truth, prediction = random_video(3)
    numbers = np.random.default_rng(0).permutation(1000)
    counts = counts_of(truth, prediction, protocol)
    again = counts_of(renamed(truth, numbers), renamed(prediction, numbers[::-1]), protocol)
    assert all((getattr(counts, name) == getattr(again, name)).all() for name in NAMES[:-1])
    np.testing.assert_allclose(counts.distance, again.distance)


def test_idf1_gives_a_true_track_to_the_predicted_one_that_is_with_it_longest():
    truth = video([person(t, 0, 100) for t in range(5)], 5)
    prediction = video([person(t, int(t >= 2), 100) for t in range(5)], 5)
    counts = identity_counts(annotated_frames(truth, prediction))
    found = counts.true_positives[0], counts.false_positives[0], counts.false_negatives[0]
    assert found == (3, 2, 2)
    np.testing.assert_allclose(idf1(*(np.array([number]) for number in found)), 60)


def test_counts_of_a_wrong_type_are_refused():
    counts = counts_of(*random_video(0))
    with pytest.raises(ValueError, match=r"MotaCounts\.objects"):
        MotaCounts(*(getattr(counts, name).astype(np.float64) for name in NAMES))
