import contextlib
import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.tkm.metrics_builders import person, random_video, video
from tkm.metrics.oks import STATISTICS, OksEvaluations, oks_average_precision, oks_evaluations
from tkm.skeleton import COCO_17, POSETRACK_15


def coco_video(seed, frames=6, crowd=5, name="v"):
    """Truth and prediction of COCO people, as its files have them: areas, crowds, hidden keypoints, people without keypoints."""
    rng = np.random.default_rng(seed)
    truth, prediction = random_video(seed, frames)
    sides = []
    for sequence, more in ((truth, 1), (prediction, crowd)):
        people = sequence.people
        rows = np.repeat(np.arange(len(people)), more)
        P = len(rows)
        xy_px = rng.uniform(0, 120, (P, 17, 2)) * rng.choice([1, 3], (P, 1, 1))
        sides.append((sequence, rows, xy_px))
    found = []
    for which, (sequence, rows, xy_px) in enumerate(sides):
        people, P = sequence.people, len(rows)
        if which == 1:
            # Predictions near a true person of the same frame, or, where there is none, anywhere.
            true_sequence, true_rows, true_xy_px = sides[0]
            for i, row in enumerate(rows):
                near = np.flatnonzero(true_sequence.people.frame[true_rows] == people.frame[row])
                if len(near):
                    xy_px[i] = true_xy_px[rng.choice(near)] + rng.normal(0, rng.choice([2, 8]), (17, 2))
        low, high = xy_px.min(axis=1), xy_px.max(axis=1)
        visibility = rng.choice([0, 1, 2], (P, 17)) * (rng.random((P, 1)) < 0.85)
        found.append(dataclasses.replace(
            sequence, name=name, skeleton=COCO_17, is_labeled=np.ones(frames, np.bool_),
            people=dataclasses.replace(
                people, frame=people.frame[rows], track_id=people.track_id[rows], score=rng.integers(1, 10, P) / 10,
                box_xyxy_px=np.concatenate([low, high], axis=1), head_xyxy_px=people.head_xyxy_px[rows],
                area_px2=(high - low).prod(axis=1) * 0.6, is_crowd=(rng.random(P) < 0.1) & (which == 0),
                xy_px=xy_px, keypoint_score=np.full((P, 17), np.nan), visibility=visibility.astype(np.int8),
            ),
        ))  # fmt: skip
    return tuple(found)


def silent(work: Callable):
    with contextlib.redirect_stdout(io.StringIO()):
        return work()


def of_pycocotools(videos):
    """The ten statistics of all videos' people as files: loadRes, evaluate, accumulate, summarize."""
    images, people, results, first = [], [], [], 0
    for truth, prediction in videos:
        images += [{"id": first + t} for t in range(len(truth))]
        for sequence, into in ((truth, people), (prediction, results)):
            each = sequence.people
            for i in range(len(each)):
                visibility = each.visibility[i]
                box = each.box_xyxy_px[i]
                row = {
                    "image_id": first + int(each.frame[i]), "category_id": 1,
                    "keypoints": np.column_stack([each.xy_px[i], visibility]).ravel().tolist(),
                }  # fmt: skip
                if into is people:
                    row |= {
                        "id": len(people) + 1, "area": float(each.area_px2[i]), "iscrowd": int(each.is_crowd[i]),
                        "bbox": [*box[:2], *(box[2:] - box[:2])], "num_keypoints": int((visibility > 0).sum()),
                    }  # fmt: skip
                else:
                    row["score"] = float(each.score[i])
                into.append(row)
        first += len(truth)
    truth = COCO()
    truth.dataset = {"images": images, "annotations": people, "categories": [{"id": 1}]}
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluation.params.kpt_oks_sigmas = COCO_17.oks_sigmas.astype(np.float64)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(STATISTICS, evaluation.stats.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_statistics_are_those_of_pycocotools_on_all_videos_at_once(seed):
    videos = [coco_video(3 * seed + n) for n in range(3)]
    expected = silent(lambda: of_pycocotools(videos))
    assert 0 < expected["AP"] < expected["AP50"] < 1
    found = oks_average_precision([oks_evaluations(*each) for each in videos])
    assert found == pytest.approx(expected, abs=1e-12)


def test_no_more_than_twenty_people_of_a_frame_count_as_in_pycocotools():
    videos = [coco_video(0, crowd=12)]
    evaluations = oks_evaluations(*videos[0])
    assert np.bincount(videos[0][1].people.frame).max() > 20
    assert len(evaluations.score) < len(videos[0][1].people)
    assert oks_average_precision([evaluations]) == pytest.approx(silent(lambda: of_pycocotools(videos)), abs=1e-12)


def two_people(**changes):
    sequence = video([person(0, 0, 100), person(0, 1, 600)], 1)
    return dataclasses.replace(sequence, people=dataclasses.replace(sequence.people, **changes))


def test_posetrack_people_without_visibilities_areas_and_scores():
    # No outline, no box: the area is that of the keypoints' own box, here made 100 pixels high.
    xy_px = two_people().people.xy_px.copy()
    xy_px[:, 0, 1] += 100
    truth, prediction = two_people(xy_px=xy_px), two_people(xy_px=xy_px)
    found = oks_average_precision([oks_evaluations(truth, prediction)])
    assert found["AP"] == pytest.approx(1)
    assert found["AP_large"] == pytest.approx(1)
    assert np.isnan(found["AP_medium"])
    # One of 15 keypoints far off: OKS is 14/15, which nine of the ten thresholds let pass.
    moved_px = xy_px.copy()
    moved_px[:, 0, 0] += 5000
    assert oks_average_precision([oks_evaluations(truth, two_people(xy_px=moved_px))])["AP"] == pytest.approx(0.9)


def test_sigmas_are_those_of_the_skeleton():
    xy_px = two_people().people.xy_px.copy()
    xy_px[:, 0, 1] += 100
    moved_px = xy_px.copy()
    # By 2 sigma of the size, sqrt(100 x 280), times sqrt(2 ln 2): every keypoint's similarity is 1/2, at OKS' lowest threshold.
    moved_px[..., 0] += 2 * POSETRACK_15.oks_sigmas * np.sqrt(100 * 280) * np.sqrt(2 * np.log(2)) * 0.999
    found = oks_average_precision([oks_evaluations(two_people(xy_px=xy_px), two_people(xy_px=moved_px))])
    assert found["AP"] == pytest.approx(0.1)


def test_people_rank_by_their_own_score_and_else_by_the_mean_of_their_keypoints():
    xy_px = two_people().people.xy_px.copy()
    xy_px[:, 0, 1] += 100
    keypoint_score = np.full((2, 15), np.nan)
    keypoint_score[0, :2] = 0.2, 0.4
    evaluations = oks_evaluations(
        two_people(xy_px=xy_px), two_people(xy_px=xy_px, keypoint_score=keypoint_score, score=np.array([np.nan, 0.25]))
    )
    np.testing.assert_allclose(evaluations.score, [0.3, 0.25])
    with pytest.raises(ValueError, match=r"000001_bonn_test, frame 0: a predicted person has no score"):
        oks_evaluations(two_people(), two_people(keypoint_score=np.full((2, 15), np.nan)))


def test_frames_that_are_not_labeled_do_not_count():
    truth = dataclasses.replace(two_people(), is_labeled=np.array([False]))
    evaluations = oks_evaluations(truth, two_people())
    assert len(evaluations.score) == 0
    assert evaluations.true_people.tolist() == [0, 0, 0]


def test_nobody_found_and_nobody_there():
    nobody = video([], 1)
    assert oks_average_precision([oks_evaluations(two_people(), nobody)])["AP"] == 0
    for evaluations in ([], [oks_evaluations(nobody, two_people())], [oks_evaluations(nobody, nobody)]):
        assert all(np.isnan(value) for value in oks_average_precision(evaluations).values())


def test_nothing_is_printed(capsys):
    oks_average_precision([oks_evaluations(two_people(), two_people())])
    assert capsys.readouterr().out == ""


def test_sequences_that_do_not_belong_together_are_refused():
    truth, _ = coco_video(0)
    with pytest.raises(ValueError, match="truth is of coco_17, prediction of posetrack_15"):
        oks_evaluations(truth, video([], len(truth)))
    with pytest.raises(ValueError, match="1 frames, the prediction 2"):
        oks_evaluations(two_people(), video([], 2))


def test_evaluations_of_a_wrong_shape_are_refused():
    evaluations = oks_evaluations(two_people(), two_people())
    with pytest.raises(ValueError, match=r"OksEvaluations\.is_match"):
        OksEvaluations(evaluations.score, evaluations.is_match[0], evaluations.is_ignored, evaluations.true_people)
