"""Who a found person truly is, and whose keypoint stands at a place."""

from __future__ import annotations

import numpy as np
import pytest

from tkm.training.samples import NOBODY, UNCLEAR, Samples, assigned, distances_cells, identities

COLUMNS = 8


def samples(cell: np.ndarray, xy_cells: np.ndarray, track_id: int = 3, visibility: int = 2) -> Samples:
    """One person of one keypoint, at these places."""
    return Samples(
        frame=np.zeros(1, np.int64),
        track_id=np.array([track_id], np.int64),
        cell=cell.reshape(1, 1, -1).astype(np.int64),
        xy_cells=xy_cells.reshape(1, 1, 2).astype(np.float32),
        visibility=np.full((1, 1), visibility, np.int8),
        inputs=np.zeros((1, 1, cell.size, 1), np.float16),
        body=np.zeros((1, 0, 0), np.float16),
    )


def at(row: int, column: int) -> int:
    return row * COLUMNS + column


def test_each_detection_is_of_the_person_it_overlaps_and_none_of_two() -> None:
    true = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    found = np.array([[20, 1, 30, 11], [0, 0, 10, 9], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)

    assert assigned(found, true).tolist() == [1, 0, -1, -1]
    assert assigned(found[:0], true).tolist() == []
    assert assigned(found, true[:0]).tolist() == [-1] * 4


def test_a_detection_that_barely_overlaps_is_of_nobody() -> None:
    true = np.array([[0, 0, 10, 10]], np.float32)
    assert assigned(np.array([[6, 0, 16, 10]], np.float32), true).tolist() == [-1]
    assert assigned(np.array([[3, 0, 13, 10]], np.float32), true).tolist() == [0]


def test_distances_are_from_the_middle_of_a_cell_to_the_truth() -> None:
    own = samples(np.array([at(2, 3), at(2, 0), -1]), np.array([3.5, 2.5]))
    np.testing.assert_allclose(distances_cells(own, COLUMNS)[0, 0], [0, 3, np.nan])


def test_a_place_is_the_persons_near_the_truth_a_wrong_one_far_from_it_and_between_unclear() -> None:
    own = samples(np.array([at(4, 1), at(4, 3), at(4, 4), at(4, 6), -1]), np.array([1.5, 4.5]))
    assert identities(own, COLUMNS)[0, 0].tolist() == [3, 3, UNCLEAR, NOBODY, UNCLEAR]


@pytest.mark.parametrize(
    "changed",
    [{"track_id": -1}, {"visibility": 0}, {"xy_cells": np.array([np.nan, np.nan])}],
    ids=["nobody's", "not annotated", "of unknown place"],
)
def test_nothing_is_said_of_places_without_truth(changed: dict[str, object]) -> None:
    given = {"xy_cells": np.array([1.5, 4.5])} | changed
    own = samples(np.array([at(4, 1), at(0, 7)]), **given)  # type: ignore[arg-type]
    assert identities(own, COLUMNS)[0, 0].tolist() == [UNCLEAR, UNCLEAR]


def test_a_hidden_keypoint_has_a_true_place_too() -> None:
    own = samples(np.array([at(4, 1), at(0, 7)]), np.array([1.5, 4.5]), visibility=1)
    assert identities(own, COLUMNS)[0, 0].tolist() == [3, NOBODY]


def test_samples_of_other_shapes_are_refused() -> None:
    own = samples(np.array([0]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="track_id"):
        Samples(own.frame, own.track_id.repeat(2), own.cell, own.xy_cells, own.visibility, own.inputs, own.body)
