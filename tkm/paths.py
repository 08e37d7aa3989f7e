"""The counterparts of every person in the frames around it (paper section 3.3), by similarity alone (choice 6 of docs/method.md).

A path steps from a person to the most similar one of the next sampled frame, from there to the most similar of the one after,
and so on, backwards and forwards, tau steps each way. It is greedy: it knows no track ids, and two paths may meet.

Shape legend: T sampled frames of a window, P people of a frame or of the window, Q people of the frame before, J = tau steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tkm.types import Float, Int


def steps(similarity: Float) -> tuple[Int, Int]:
    """Whom each person of two adjacent frames steps to: the most similar, of equal ones the first, -1 where none is positive.

    Args: similarity (P, Q) of the later frame's people with the earlier's, finite and at least 0.
    Returns: backward (P,) int64, into the earlier frame's people, and forward (Q,) int64, into the later's.
    Raises: ValueError for a similarity below 0 or not finite.
    """
    if not (np.isfinite(similarity) & (similarity >= 0)).all():
        raise ValueError("similarity must be finite and at least 0")
    return _most_similar(similarity), _most_similar(similarity.T)


def _most_similar(similarity: Float) -> Int:
    if not similarity.shape[1]:
        return np.full(len(similarity), -1, np.int64)
    best = similarity.argmax(axis=1)
    return np.where(similarity.max(axis=1) > 0, best, -1).astype(np.int64)


def follow(step: Int, tau: int) -> Int:
    """Paths of tau steps: step (P,) int64 names the row that each row steps to, -1 for none; (P, J) int64, -1 from the end on."""
    path = np.full((len(step), tau), -1, np.int64)
    here = np.arange(len(step))
    for j in range(tau):
        here = np.where(here >= 0, step[here], -1)  # a row of -1 reads the last one's step, which is then not taken
        path[:, j] = here
    return path


def paths(similarities: Sequence[Float | None], people: Int, tau: int) -> tuple[Int, Int]:
    """The paths of every person of a window, both ways.

    Args:
        similarities: T - 1 of adjacent frames, entry t the (people[t + 1], people[t]) similarity (Eq. 5) of frame t + 1 with
            frame t; None where a cut lies between them, over which nobody steps. A frame without people ends paths likewise.
        people: (T,) int64, how many each frame has. The window's rows are theirs, frame after frame.
        tau: steps each way, at least 0.
    Returns: backward and forward, (P, J) int64 each: rows of the window, nearest frame first, -1 from a path's end on.
    Raises: ValueError where the similarities do not fit the frames, or one is below 0 or not finite.
    """
    if len(similarities) != max(len(people) - 1, 0):
        raise ValueError(f"{len(people)} frames have {max(len(people) - 1, 0)} similarities, not {len(similarities)}")
    first = np.concatenate([[0], np.cumsum(people)]).astype(np.int64)
    backward, forward = np.full(first[-1], -1, np.int64), np.full(first[-1], -1, np.int64)
    for t, similarity in enumerate(similarities):
        if similarity is None:
            continue
        if similarity.shape != (people[t + 1], people[t]):
            raise ValueError(f"similarities[{t}] must be {(int(people[t + 1]), int(people[t]))}, not {similarity.shape}")
        to_earlier, to_later = steps(similarity)
        backward[first[t + 1] : first[t + 2]] = np.where(to_earlier >= 0, first[t] + to_earlier, -1)
        forward[first[t] : first[t + 1]] = np.where(to_later >= 0, first[t + 1] + to_later, -1)
    return follow(backward, tau), follow(forward, tau)
