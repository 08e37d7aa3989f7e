"""Trained heads by their digests, built once a process: on the device for embed and refine, on the CPU for track and paths."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, cast

from tkm import weights
from tkm.networks import runtime

if TYPE_CHECKING:
    from torch import nn

    from tkm.networks.heads import HeadKind
    from tkm.networks.matching import Body, Classifiers, Matching
    from tkm.networks.refinement import Refinement

@cache
def _head(sha256: str, kind: HeadKind, device: str) -> nn.Module:
    from tkm.networks.heads import load_head

    head, _ = load_head(weights.locate(sha256), kind)
    return head.eval().to(device)


def matching(sha256: str) -> Matching:
    """The matching head of this digest, on the device."""
    return cast("Matching", _head(sha256, "matching", str(runtime.device())))


def body(sha256: str) -> Body:
    """The body head of this digest, on the device."""
    return cast("Body", _head(sha256, "body", str(runtime.device())))


def refinement(sha256: str) -> Refinement:
    """The refinement head of this digest, on the device."""
    return cast("Refinement", _head(sha256, "refinement", str(runtime.device())))


def classifiers(sha256: str, kind: Literal["matching", "body"]) -> Classifiers:
    """The classifiers of a `matching` head, or the one of a `body` head, on the CPU: for stages that run on any machine."""
    head = cast("Matching | Body", _head(sha256, kind, "cpu"))
    return head.classifiers
