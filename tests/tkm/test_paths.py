import numpy as np
import pytest

from tkm.paths import paths, steps


def random_window(seed: int) -> tuple[list[np.ndarray | None], np.ndarray]:
    """Similarities with ties and zeros, of frames of 0 to 4 people, some behind a cut."""
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 5, 9) * (rng.random(9) < 0.9)
    similarities: list[np.ndarray | None] = []
    for t in range(8):
        similarity = rng.integers(0, 4, (people[t + 1], people[t])).astype(np.float32) / 2
        similarities.append(None if rng.random() < 0.15 else similarity)
    return similarities, people.astype(np.int64)


def path_by_recursion(similarities, t: int, person: int, direction: int, tau: int) -> list[tuple[int, int]]:
    """The paper's search: (frame, person) of each step from a person of frame t, as far as it goes."""
    there = t + direction
    if tau == 0 or not 0 <= there <= len(similarities):
        return []
    between = similarities[min(t, there)]
    if between is None:
        return []
    row = between[person] if direction < 0 else between[:, person]
    if not len(row) or max(row) <= 0:
        return []
    best = next(other for other in range(len(row)) if row[other] == max(row))
    return [(there, best), *path_by_recursion(similarities, there, best, direction, tau - 1)]


@pytest.mark.parametrize("tau", [0, 1, 3, 5])
def test_paths_are_those_of_the_papers_search(tau):
    lengths = set()
    for seed in range(40):
        similarities, people = random_window(seed)
        first = np.concatenate([[0], np.cumsum(people)])
        backward, forward = paths(similarities, people, tau)
        assert backward.shape == forward.shape == (people.sum(), tau)
        for found, direction in ((backward, -1), (forward, 1)):
            for t in range(len(people)):
                for person in range(people[t]):
                    steps_there = path_by_recursion(similarities, t, person, direction, tau)
                    rows = [first[frame] + other for frame, other in steps_there]
                    assert found[first[t] + person].tolist() == rows + [-1] * (tau - len(rows))
                    lengths.add(len(rows))
    assert lengths == set(range(tau + 1))


def test_a_step_goes_to_the_most_similar_the_first_of_equal_ones_and_nowhere_without_a_positive_similarity():
    similarity = np.array([[0.5, 0.9, 0.9], [0, 0, 0], [0.7, 0.1, 0.9]], np.float32)
    backward, forward = steps(similarity)
    assert backward.tolist() == [1, -1, 2]
    assert forward.tolist() == [2, 0, 0]
    assert backward.dtype == forward.dtype == np.int64


def test_two_people_may_step_to_one():
    backward, forward = steps(np.array([[0.5], [0.9]], np.float32))
    assert backward.tolist() == [0, 0]
    assert forward.tolist() == [1]


def test_nobody_steps_over_a_frame_without_people_or_a_cut():
    one = np.ones((1, 1), np.float32)
    empty = [one, np.ones((0, 1), np.float32), np.ones((1, 0), np.float32), one]
    backward, forward = paths(empty, np.array([1, 1, 0, 1, 1]), tau=3)
    assert backward.tolist() == [[-1, -1, -1], [0, -1, -1], [-1, -1, -1], [2, -1, -1]]
    assert forward.tolist() == [[1, -1, -1], [-1, -1, -1], [3, -1, -1], [-1, -1, -1]]
    cut_backward, cut_forward = paths([one, None, one], np.ones(4, np.int64), tau=3)
    assert np.array_equal(cut_backward, backward)
    assert np.array_equal(cut_forward, forward)


def test_a_window_of_tau_frames_on_each_side_gives_the_paths_of_the_whole_video():
    tau = 2
    for seed in range(10):
        similarities, people = random_window(seed)
        first = np.concatenate([[0], np.cumsum(people)])
        backward, forward = paths(similarities, people, tau)
        for t in range(len(people)):
            start, stop = max(t - tau, 0), min(t + tau + 1, len(people))
            there = paths(similarities[start : stop - 1], people[start:stop], tau)
            mine = slice(first[t] - first[start], first[t + 1] - first[start])
            for whole, window in zip((backward, forward), there, strict=True):
                rows = np.where(window[mine] >= 0, window[mine] + first[start], -1)
                assert np.array_equal(rows, whole[first[t] : first[t + 1]])


def test_a_window_without_frames_has_no_paths():
    backward, forward = paths([], np.empty(0, np.int64), tau=5)
    assert backward.shape == forward.shape == (0, 5)


def test_similarities_that_do_not_fit_the_frames_are_refused():
    one = np.ones((1, 1), np.float32)
    with pytest.raises(ValueError, match="2 frames have 1 similarities, not 2"):
        paths([one, one], np.ones(2, np.int64), tau=1)
    with pytest.raises(ValueError, match=r"similarities\[0\] must be \(2, 1\)"):
        paths([np.ones((1, 2), np.float32)], np.array([1, 2]), tau=1)


@pytest.mark.parametrize("bad", [-0.1, np.nan])
def test_a_similarity_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="similarity"):
        steps(np.array([[0.5, bad]], np.float32))
