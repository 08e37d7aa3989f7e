import dataclasses
import json
import warnings

import numpy as np
import pytest

from tests.tkm.metrics_builders import BONN, JOINTS, bonn, needs_bonn, person, random_video, video
from tkm.metrics.average_precision import average_precision
from tkm.metrics.scores import COLUMNS, Scores, from_arrays, pool, score_video, to_arrays
from tkm.skeleton import POSETRACK_15

METRICS = [field.name for field in dataclasses.fields(Scores)][2:]
OF_TRACKS = METRICS[METRICS.index("mota") :]
EVERYTHING = -np.inf


def column(name):
    return COLUMNS.index(name)


@pytest.fixture(scope="module")
def of_bonn():
    return [score_video(truth, prediction, "official", EVERYTHING) for truth, prediction in bonn()]


def official(name):
    """Of the evaluator's JSON: the metrics' values, 15 joints and the total."""
    found = json.loads((BONN / "poseval" / f"total_{name}_metrics.json").read_text())
    return {metric: np.array(found[metric], np.float64) for metric in found if metric != "names"}


def with_total(scores, metric):
    values = getattr(scores, metric)
    return np.append(values[:JOINTS], values[column("Total")])


@needs_bonn
@pytest.mark.parametrize(
    ("ours", "kind", "theirs"),
    [("mota", "MOT", "mota"), ("motp", "MOT", "motp"), ("precision", "MOT", "pre"), ("recall", "MOT", "rec"),
     ("ap_precision", "AP", "pre"), ("ap_recall", "AP", "rec")],
)  # fmt: skip
def test_scores_of_bonn_are_the_evaluators(of_bonn, ours, kind, theirs):
    np.testing.assert_allclose(with_total(pool(of_bonn), ours), official(kind)[theirs], rtol=0, atol=1e-6)


@needs_bonn
def test_ap_of_bonn_is_the_evaluators_but_for_the_order_of_equal_scores(of_bonn):
    # The scores have four decimals, so many are equal, and which of these come first hangs on the evaluator's machine: only
    # the AP with all hits among equals first, and that with all hits last, bound it. They are 0.0006 percent apart at most.
    expected = official("AP")["ap"]
    np.testing.assert_allclose(with_total(pool(of_bonn), "ap_before_threshold"), expected, rtol=0, atol=2e-4)
    bounds = []
    for sign in (1, -1):
        points = [video.points for video in of_bonn]
        nudged = [dataclasses.replace(each, score=each.score + sign * 1e-9 * each.is_hit) for each in points]
        bounds.append(average_precision(nudged).average_precision)
    has_truth = ~np.isnan(expected[:JOINTS])
    assert (bounds[1] <= expected[:JOINTS])[has_truth].all()
    assert (expected[:JOINTS] <= bounds[0])[has_truth].all()
    assert (bounds[0] - bounds[1])[has_truth].max() < 1e-3


@needs_bonn
def test_the_total_over_joints_with_truth_leaves_out_bonns_noses(of_bonn):
    scores = pool(of_bonn)
    assert not scores.has_truth[POSETRACK_15.keypoints.index("nose")]
    assert scores.mota[column("Total")] == pytest.approx(-396.816135)
    assert scores.mota[column("Total with truth")] == pytest.approx(official("MOT")["mota"][:JOINTS][scores.has_truth].mean())


def test_groups_are_means_of_their_joints_and_switches_are_sums():
    scores = pool([score_video(*random_video(seed), "strict", EVERYTHING) for seed in range(4)])
    joints = [POSETRACK_15.keypoints.index(name) for name in ("head_top", "neck", "nose")]
    for metric in METRICS:
        summary = np.sum if metric == "id_switches" else np.mean
        values = getattr(scores, metric)
        np.testing.assert_allclose(values[column("Head")], summary(values[joints]))
        np.testing.assert_allclose(values[column("Total")], summary(values[:JOINTS]))
        np.testing.assert_allclose(values[column("Total with truth")], summary(values[:JOINTS]))
    assert scores.id_switches[column("Total")] > 0


def test_totals_leave_out_joints_without_a_score():
    truth = video([person(0, 0, 100, joints=range(14)), person(1, 0, 100, joints=range(14))], 2)
    scores = pool([score_video(truth, video([person(0, 0, 100), person(1, 0, 500)], 2), "strict", EVERYTHING)])
    assert np.isnan(scores.mota[14])
    assert scores.motp[14] == 0
    assert scores.mota[column("Total")] == scores.mota[column("Total with truth")] == 0
    assert scores.motp[column("Total")] == pytest.approx(100 * 14 / 15)
    assert scores.motp[column("Total with truth")] == 100
    assert np.isnan(scores.mota[column("Head")])


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_scores_survive_being_plain_arrays(protocol):
    scores = score_video(*random_video(1), protocol, 0.4)
    arrays = to_arrays(scores)
    again = to_arrays(from_arrays(arrays))
    assert list(again) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(again[name], value)
    assert arrays["points.score"].dtype == np.float64
    assert arrays["points.is_hit"].dtype == np.bool_
    assert len(arrays["points.score"]) == arrays["points.number"].sum()
    assert arrays["hota.association"].shape == (JOINTS, 19)


def test_the_threshold_bears_on_all_but_the_ap_before_it():
    truth, prediction = random_video(2)
    low, high = (pool([score_video(truth, prediction, "strict", threshold)]) for threshold in (EVERYTHING, 0.6))
    np.testing.assert_array_equal(low.ap_before_threshold, high.ap_before_threshold)
    np.testing.assert_array_equal(low.ap_before_threshold, low.ap_after_threshold)
    for metric in ("ap_after_threshold", "ap_precision", "ap_recall", "mota", "precision", "recall", "hota", "deta", "idf1"):
        assert (getattr(low, metric)[:JOINTS] != getattr(high, metric)[:JOINTS]).any(), metric


def test_no_order_of_videos_changes_tracking():
    videos = [score_video(*random_video(seed), "official", EVERYTHING) for seed in range(4)]
    one, other = pool(videos), pool(videos[::-1])
    for metric in OF_TRACKS:
        np.testing.assert_allclose(getattr(one, metric), getattr(other, metric), rtol=1e-12)


def test_one_video_without_track_ids_leaves_no_tracking_to_report():
    tracked, (truth, prediction) = random_video(0), random_video(1)
    untracked = dataclasses.replace(prediction.people, track_id=np.full(len(prediction.people), -1))
    detections = dataclasses.replace(prediction, people=untracked)
    pooled = [score_video(*tracked, "strict", EVERYTHING), score_video(truth, detections, "strict", EVERYTHING)]
    assert [each.is_tracked for each in pooled] == [True, False]
    scores = pool(pooled)
    expected = pool([pooled[0], score_video(truth, prediction, "strict", EVERYTHING)])
    for metric in METRICS:
        if metric in OF_TRACKS:
            assert np.isnan(getattr(scores, metric)).all()
        else:
            np.testing.assert_array_equal(getattr(scores, metric), getattr(expected, metric))


NOBODY = video([], 3)
ONE_FRAME = video([person(0, 0, 100)], 1)
SOMEBODY = video([person(t, 0, 100) for t in range(3)], 3)
HEADLESS = video([person(t, 0, 100, joints=range(12)) for t in range(3)], 3)
POINTLESS = video([person(t, 0, 100, joints=[]) for t in range(3)], 3)


@pytest.mark.parametrize("protocol", ["official", "strict"])
@pytest.mark.parametrize(
    ("truth", "prediction", "total"),
    [
        (SOMEBODY, NOBODY, {"ap_after_threshold": 0, "recall": 0, "hota": 0, "idf1": 0}),
        (NOBODY, SOMEBODY, dict.fromkeys(METRICS[:-1], np.nan)),
        (NOBODY, NOBODY, dict.fromkeys(METRICS[:-1], np.nan)),
        (POINTLESS, NOBODY, {"ap_after_threshold": np.nan, "hota": np.nan, "idf1": np.nan}),
        (POINTLESS, SOMEBODY, {"ap_after_threshold": np.nan, "hota": np.nan, "idf1": np.nan}),
        (SOMEBODY, POINTLESS, {"ap_after_threshold": 0, "recall": 0, "hota": 0, "idf1": 0}),
        (HEADLESS, SOMEBODY, {"ap_after_threshold": 100, "mota": 100, "hota": 100, "idf1": 100}),
        (SOMEBODY, HEADLESS, {"ap_after_threshold": 80, "recall": 80, "hota": 80, "idf1": 80}),
        (ONE_FRAME, ONE_FRAME, {"ap_after_threshold": 100, "hota": 100, "idf1": 100}),
        (video([], 0), video([], 0), dict.fromkeys(METRICS[:-1], np.nan)),
    ],
)  # fmt: skip
def test_videos_with_little_in_them_have_clear_scores(protocol, truth, prediction, total):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = pool([score_video(truth, prediction, protocol, EVERYTHING)])
    found = {metric: getattr(scores, metric)[column("Total with truth")] for metric in total}
    assert found == pytest.approx(total, nan_ok=True)
    assert scores.id_switches[column("Total")] == 0


def test_a_video_of_one_frame_has_no_official_mota_alone_and_does_not_touch_that_of_others():
    one, more = (score_video(each, each, "official", EVERYTHING) for each in (ONE_FRAME, SOMEBODY))
    assert np.isnan(pool([one]).mota).all()
    assert np.isnan(pool([one]).precision).all()
    np.testing.assert_array_equal(pool([one, more]).mota, pool([more]).mota)


def test_protocols_and_thresholds_do_not_mix():
    strict = score_video(SOMEBODY, SOMEBODY, "strict", 0.2)
    for other in (score_video(SOMEBODY, SOMEBODY, "official", 0.2), score_video(SOMEBODY, SOMEBODY, "strict", 0.3)):
        with pytest.raises(ValueError, match="one protocol and one keypoint threshold"):
            pool([strict, other])
    with pytest.raises(ValueError, match="one protocol"):
        pool([])
    with pytest.raises(ValueError, match="protocol must be one of official, strict"):
        dataclasses.replace(strict, protocol="lenient")
    with pytest.raises(ValueError, match="keypoint_threshold"):
        dataclasses.replace(strict, keypoint_threshold=np.nan)
