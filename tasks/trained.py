"""Trained heads by their digests, built once a process: on the device for embed and refine, on the CPU for track and paths."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Literal, cast

from tkm import weights
from tkm.networks import runtime

if TYPE_CHECKING:
    from torch import nn

    from tkm.networks.heads import HeadKind
    from tkm.networks.matching import Body, Classifiers, Matching
    from tkm.networks.refinement import Refinement

_building = Lock()


def _head(sha256: str, kind: HeadKind, *, on_cpu: bool = False) -> nn.Module:
    with _building:  # threads that start together would each build a head of their own
        return _built(sha256, kind, on_cpu)


@cache
def _built(sha256: str, kind: HeadKind, on_cpu: bool) -> nn.Module:
    from tkm.networks.heads import load_head

    head, _ = load_head(weights.locate(sha256), kind)
    return head if on_cpu else runtime.prepared(head)


def matching(sha256: str) -> Matching:
    """The matching head of this digest, on the device."""
    return cast("Matching", _head(sha256, "matching"))


def body(sha256: str) -> Body:
    """The body head of this digest, on the device."""
    return cast("Body", _head(sha256, "body"))


def refinement(sha256: str) -> Refinement:
    """The refinement head of this digest, on the device."""
    return cast("Refinement", _head(sha256, "refinement"))


def classifiers(sha256: str, kind: Literal["matching", "body"]) -> Classifiers:
    """The classifiers of a `matching` head, or the one of a `body` head, on the CPU: for stages that run on any machine."""
    head = cast("Matching | Body", _head(sha256, kind, on_cpu=True))
    return head.classifiers
