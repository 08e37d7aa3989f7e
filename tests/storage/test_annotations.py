"""Annotations and scores go into tables and come back as they were."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from storage.annotations import frames_to_table, poses_to_table, sequence_from_tables
from storage.parquet import parquet_bytes, read_parquet
from storage.scores import oks_from_table, oks_to_table, scores_from_table, scores_to_table
from tests.tkm.metrics_builders import random_video
from tkm.datasets.coco import read as read_coco
from tkm.datasets.sequence import People, Sequence
from tkm.metrics.oks import oks_average_precision, oks_evaluations
from tkm.metrics.scores import pool, score_video, to_arrays


def assert_equal_sequences(found: Sequence, expected: Sequence) -> None:
    assert (found.name, found.skeleton.name, found.frame_names) == (expected.name, expected.skeleton.name, expected.frame_names)
    for name in ("image_id", "is_labeled", "size_px"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for mine, theirs in zip(found.ignore_regions, expected.ignore_regions, strict=True):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    for field in fields(People):
        np.testing.assert_array_equal(getattr(found.people, field.name), getattr(expected.people, field.name), err_msg=field.name)


def there_and_back(sequence: Sequence) -> Sequence:
    tables = (read_parquet(parquet_bytes(table)) for table in (frames_to_table(sequence), poses_to_table(sequence)))
    return sequence_from_tables(sequence.name, *tables)


@pytest.mark.parametrize("seed", range(3))
def test_truth_comes_back_as_it_was(seed: int) -> None:
    truth, _ = random_video(seed)
    assert_equal_sequences(there_and_back(truth), truth)


def test_a_coco_file_comes_back_with_boxes_areas_crowds_and_visibilities() -> None:
    keypoints = [10.5, 20.25, 2, 0, 0, 0, 30, 40, 1, *[0] * 42]
    person = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40.5], "area": 700.25, "iscrowd": 0, "keypoints": keypoints}
    crowd = {**person, "iscrowd": 1, "keypoints": [0] * 51, "num_keypoints": 0}
    names = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"] + [
        f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
    ]
    (sequence,) = read_coco(
        {
            "images": [{"id": 7, "file_name": "7.jpg", "width": 640, "height": 480}, {"id": 9, "file_name": "9.jpg"}],
            "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
            "annotations": [{**one, "id": n} for n, one in enumerate((person, crowd), 1)],
        },
        "coco",
    )
    back = there_and_back(sequence)
    assert_equal_sequences(back, sequence)
    assert back.people.is_crowd.tolist() == [False, True]
    assert back.people.area_px2.tolist() == [700.25, 700.25]
    assert back.people.visibility[0, :3].tolist() == [2, 0, 1]
    assert back.size_px.tolist() == [[640, 480], [0, 0]]


def test_a_video_in_which_nobody_is_annotated_keeps_its_skeleton_and_frames() -> None:
    truth, _ = random_video(1)
    empty = _without_people(truth)
    assert_equal_sequences(there_and_back(empty), empty)


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_scores_come_back_as_they_were_and_pool_to_the_same(protocol: str) -> None:
    scores = [score_video(*random_video(seed, name=f"video {seed}"), protocol, 0.3) for seed in range(4)]  # type: ignore[arg-type]
    back = [scores_from_table(read_parquet(parquet_bytes(scores_to_table(one)))) for one in scores]
    for mine, theirs in zip(back, scores, strict=True):
        for name, value in to_arrays(theirs).items():
            np.testing.assert_array_equal(to_arrays(mine)[name], value, err_msg=name)
    for field in fields(pool(scores)):
        np.testing.assert_array_equal(getattr(pool(back), field.name), getattr(pool(scores), field.name), err_msg=field.name)


def test_oks_comes_back_as_it_was() -> None:
    truths = [random_video(seed)[0] for seed in range(3)]
    shares = [np.linspace(0, 1, len(truth.people)) for truth in truths]  # every person as sure, and as far off, as these
    found = [
        oks_evaluations(truth, replace(truth, people=replace(truth.people, score=1 - share, xy_px=_moved(truth, share))))
        for truth, share in zip(truths, shares, strict=True)
    ]
    back = [oks_from_table(read_parquet(parquet_bytes(oks_to_table(one)))) for one in found]
    assert oks_average_precision(back) == pytest.approx(oks_average_precision(found), abs=0, nan_ok=True)
    assert found[0].is_match.any()
    assert not found[0].is_match.all(), "or the comparison tells nothing"


def test_nobody_found_and_nobody_there_have_scores_too() -> None:
    truth, prediction = random_video(5)
    for true, predicted in ((truth, _without_people(prediction)), (_without_people(truth), prediction)):
        scores = score_video(true, predicted, "strict", -np.inf)
        back = scores_from_table(scores_to_table(scores))
        for name, value in to_arrays(scores).items():
            np.testing.assert_array_equal(to_arrays(back)[name], value, err_msg=name)
        oks = oks_from_table(oks_to_table(oks_evaluations(true, predicted)))
        assert len(oks.score) == len(oks_evaluations(true, predicted).score)


def _without_people(sequence: Sequence) -> Sequence:
    nobody = People(**{field.name: getattr(sequence.people, field.name)[:0] for field in fields(People)})
    return replace(sequence, people=nobody)


def _moved(truth: Sequence, share: np.ndarray) -> np.ndarray:
    return np.asarray(truth.people.xy_px + 100 * share[:, None, None])
