"""The same person in the frames around, by true identity: the windows that refinement is trained on (choice 11 of docs/method.md).

Shape legend: P people, J = 2 tau counterparts of each.
"""

from __future__ import annotations

import numpy as np

from tkm.types import Int


def true_counterparts(frame: Int, track_id: Int, tau: int) -> Int:
    """Rows of each person's counterparts from tau sampled frames before to tau after, (P, J) int64, nearest in the middle.

    A path ends, as one that is searched does, at the first frame in which the person was not found: -1 from there on. People who
    are nobody (track id -1) have none.

    Args: frame, track_id (P,) int64, frames counted by their place among the sampled ones.
    """
    P = len(frame)
    most = 2 + int(track_id.max(initial=0))
    key = frame * most + track_id + 1
    order = np.argsort(key, kind="stable")
    rows = np.full((P, 2 * tau), -1, np.int64)
    for direction, column in ((-1, lambda step: tau - step), (1, lambda step: tau + step - 1)):
        is_on = track_id >= 0
        for step in range(1, tau + 1):
            wanted = (frame + direction * step) * most + track_id + 1
            found = order[np.searchsorted(key[order], wanted).clip(max=P - 1)] if P else order
            is_on = is_on & (key[found] == wanted)
            rows[:, column(step)] = np.where(is_on, found, -1)
    return rows
