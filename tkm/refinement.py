"""Eq. 6: the response of a keypoint's candidate places, given what the person's counterparts in other frames say (section 3.3).

Shape legend: R people to refine, J = 2 tau counterparts of each, K keypoints, S places a keypoint, D channels of F.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from tkm.networks.matching import Classifiers

Divisor = Literal["window", "weights"]


def support(classifiers: Classifiers, own: Tensor, context: Tensor, is_before: Tensor) -> Tensor:
    """W(l, l^) of Eq. 6: how much each place l is the same joint of the same person as a counterpart's predicted place l^.

    G_k takes (later frame, earlier frame): l comes first where the counterpart's frame lies before, l^ where it lies after.

    The last bits of a row depend on R, as those of every matrix product do: whoever needs equal bits calls it frame by frame.

    Args:
        classifiers: the trained G_k.
        own: (R, K, S, D) features F at the places.
        context: (R, J, K, D) features F at the counterparts' predicted places; any finite ones where there is no counterpart.
        is_before: (J,) bool, the counterpart's frame lies before the person's own.
    Returns: (R, J, K, S) in [0, 1].
    """
    import torch  # see tkm.networks.runtime for why here

    place = own.movedim(2, 1)[:, None]  # (R, 1, S, K, D), against counterparts (R, J, 1, K, D)
    counterpart = context[:, :, None]
    before, after = is_before.nonzero()[:, 0], (~is_before).nonzero()[:, 0]
    with_before = classifiers(place, counterpart[:, before])
    with_after = classifiers(counterpart[:, after], place)
    weight = torch.cat([with_before, with_after], dim=1)[:, torch.cat([before, after]).argsort()]
    return weight.movedim(2, 3)


def refined_response(
    own: Tensor, context: Tensor, weight: Tensor, is_there: Tensor, bias: Tensor, tau: int, divisor: Divisor = "window"
) -> Tensor:
    """Eq. 6 and the 1x1 convolution after it, in the scalars a = w_k . H (choice 8 of docs/method.md).

    response(l) = (a(l) + sum over t' of W(l, l^) a_t'(l^)) / (2 tau + 1) + b. The divisor is the window's length even where the
    path is shorter, as the paper has it; "weights" divides by 1 + sum of W instead (choice 9). Self-refinement is tau = 0: no
    counterparts, divisor 1 (choice 10).

    Args:
        own: (R, K, S), the scalars at the places; NaN where a keypoint has fewer, and then so is the response.
        context: (R, J, K), the counterparts' scalars at their predicted places; anything where there is no counterpart.
        weight: (R, J, K, S) from `support`; likewise.
        is_there: (R, J) bool, the counterpart exists.
        bias: (K,), the convolution's.
        tau: frames of the window on each side, at least 0; J is twice that.
        divisor: the paper's "window", or "weights".
    Returns: (R, K, S), of own's type.
    Raises: ValueError where J is not 2 tau, or for an unknown divisor.
    """
    if context.shape[1] != 2 * tau:
        raise ValueError(f"context must have the 2 x {tau} counterparts of tau = {tau}, not {context.shape[1]}")
    there = is_there[:, :, None, None]
    given = (weight * context[..., None]).masked_fill(~there, 0).sum(dim=1)
    total = own + given
    if divisor == "window":
        mean = total / (2 * tau + 1)
    elif divisor == "weights":
        mean = total / (1 + weight.masked_fill(~there, 0).sum(dim=1))
    else:
        raise ValueError(f"divisor must be 'window' or 'weights', not {divisor!r}")
    return mean + bias[:, None]


def best_place(response: Tensor) -> Tensor:
    """(R, K) int64, the place of the highest response (R, K, S), the first of equal ones; never one of NaN where another is."""
    return response.masked_fill(response.isnan(), -float("inf")).argmax(dim=-1)
