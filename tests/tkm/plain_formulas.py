"""The paper's formulas as they stand there: loops over single vectors in float64, nothing split, shared or batched."""

from __future__ import annotations

import numpy as np

from tkm.networks.matching import Classifiers


def classify(classifiers: Classifiers, k: int, later: np.ndarray, earlier: np.ndarray) -> float:
    """G_k(f, f'): three fully connected layers on the concatenation [f ; f'], softmax; the probability of "the same person"."""
    first, second, third = (
        (layer.weight[k].detach().double().numpy(), layer.bias[k].detach().double().numpy())
        for layer in (classifiers.first, classifiers.second, classifiers.third)
    )
    x = np.concatenate([later, earlier])
    x = np.maximum(first[0] @ x + first[1], 0)
    x = np.maximum(second[0] @ x + second[1], 0)
    different, same = third[0] @ x + third[1]
    return float(np.exp(same) / (np.exp(different) + np.exp(same)))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IOU of two boxes x1, y1, x2, y2."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(width * height / union)


def pose_matching(
    classifiers: Classifiers, later: np.ndarray, earlier: np.ndarray, later_box: np.ndarray, earlier_box: np.ndarray, gate: float
) -> np.ndarray:
    """Eq. 5: w_ij = I(IOU(P_i, P_j) >= gate) * sum over k of G_k(f_i^k, f_j^k)."""
    w = np.zeros((len(later), len(earlier)))
    for i in range(len(later)):
        for j in range(len(earlier)):
            if overlap(later_box[i], earlier_box[j]) >= gate:
                w[i, j] = sum(classify(classifiers, k, later[i, k], earlier[j, k]) for k in range(later.shape[1]))
    return w


def refined(
    k: int,
    place: tuple[int, int],
    counterparts: dict[int, tuple[np.ndarray, np.ndarray, tuple[int, int]]],
    own: tuple[np.ndarray, np.ndarray],
    head: tuple[np.ndarray, np.ndarray],
    classifiers: Classifiers,
    tau: int,
    divisor: str = "window",
) -> float:
    """Eq. 6, then the refinement module's 1x1 convolution, of keypoint k at one place of a person in frame t.

    place: l, its row and column. own: F (D, h, w) and H (C, h, w) of the person. counterparts: for t' - t of those that there
    are, their F, H and predicted place l^. head: the convolution's weight (K, C) and bias (K,).
    """
    F, H = own
    row, column = place
    aggregated, weights = H[:, row, column].copy(), 1.0
    for offset, (F_there, H_there, (row_there, column_there)) in counterparts.items():
        here, there = F[:, row, column], F_there[:, row_there, column_there]
        W = classify(classifiers, k, here, there) if offset < 0 else classify(classifiers, k, there, here)
        aggregated += H_there[:, row_there, column_there] * W
        weights += W
    aggregated /= 2 * tau + 1 if divisor == "window" else weights
    weight, bias = head
    return float(weight[k] @ aggregated + bias[k])
