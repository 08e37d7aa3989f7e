"""Windows of true counterparts."""

from __future__ import annotations

import numpy as np

from tkm.training.windows import true_counterparts

# Frame, track id. Person 7 is in frames 0 to 4, person 9 in 0, 1 and 3, nobody in 2.
ROWS = np.array([(0, 7), (0, 9), (1, 9), (1, 7), (2, 7), (2, -1), (3, 7), (3, 9), (4, 7)], np.int64)
FRAME, TRACK = ROWS[:, 0], ROWS[:, 1]


def test_counterparts_are_the_same_person_in_the_frames_around_in_order() -> None:
    found = true_counterparts(FRAME, TRACK, 2)
    assert found[4].tolist() == [0, 3, 6, 8]
    assert TRACK[found[4]].tolist() == [7] * 4
    assert FRAME[found[4]].tolist() == [0, 1, 3, 4]


def test_a_path_ends_at_the_first_frame_without_the_person() -> None:
    found = true_counterparts(FRAME, TRACK, 3)
    assert found[1].tolist() == [-1, -1, -1, 2, -1, -1], "not again in frame 3"
    assert found[7].tolist() == [-1] * 6
    assert found[8].tolist() == [3, 4, 6, -1, -1, -1]


def test_nobody_has_no_counterparts() -> None:
    assert true_counterparts(FRAME, np.where(TRACK == 7, -1, TRACK), 1)[[0, 4, 5]].tolist() == [[-1, -1]] * 3


def test_without_a_window_or_people_there_are_none() -> None:
    assert true_counterparts(FRAME, TRACK, 0).shape == (len(ROWS), 0)
    assert true_counterparts(FRAME[:0], TRACK[:0], 2).shape == (0, 4)
