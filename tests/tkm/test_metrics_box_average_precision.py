"""Average precision of boxes, by COCO's rules."""

from __future__ import annotations

import numpy as np
import pytest

from tkm.metrics.box_average_precision import ImageBoxes, box_average_precision

TRUE = np.array([[10, 10, 50, 90], [100, 20, 160, 140]], np.float32)


def image(found: list[list[float]], score: list[float], is_crowd: tuple[bool, bool] = (False, False)) -> ImageBoxes:
    return ImageBoxes(np.array(found, np.float32).reshape(-1, 4), np.array(score, np.float32), TRUE, np.array(is_crowd, np.bool_))


def test_all_found_and_nothing_else_is_perfect() -> None:
    assert box_average_precision([image(TRUE.tolist(), [0.9, 0.8])] * 3) == {"AP": 1, "AP50": 1, "AP75": 1}


def test_half_found_is_half() -> None:
    found = box_average_precision([image(TRUE[:1].tolist(), [0.9])])

    assert found["AP50"] == pytest.approx(0.5, abs=0.01)  # 51 of COCO's 101 recalls


def test_a_worse_box_counts_at_lower_overlaps_only() -> None:
    shifted = TRUE + np.array([8, 0, 8, 0], np.float32)  # overlaps 2/3 and 13/17

    found = box_average_precision([image(shifted.tolist(), [0.9, 0.8])])

    assert found["AP50"] == 1
    assert found["AP75"] < 0.5
    assert found["AP75"] < found["AP"] < found["AP50"]


def test_false_boxes_count_by_their_score_but_not_within_crowds() -> None:
    false = [[300.0, 300, 340, 380]]
    within = [[105.0, 30, 130, 60]]

    best = box_average_precision([image(TRUE[:1].tolist() + false, [0.9, 0.99], (False, True))])
    last = box_average_precision([image(TRUE[:1].tolist() + false, [0.9, 0.1], (False, True))])
    crowd = box_average_precision([image(TRUE[:1].tolist() + within, [0.9, 0.99], (False, True))])

    assert best["AP50"] == pytest.approx(0.5)
    assert last["AP50"] == crowd["AP50"] == 1


def test_without_true_people_there_is_no_number() -> None:
    nobody = ImageBoxes(TRUE, np.ones(2, np.float32), TRUE[:0], np.zeros(0, np.bool_))

    assert all(np.isnan(value) for value in box_average_precision([nobody]).values())
    assert box_average_precision([image([], [])]) == {"AP": 0, "AP50": 0, "AP75": 0}
