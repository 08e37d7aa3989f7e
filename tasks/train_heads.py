"""Stage 2 of the paper's training: matching, body and refinement heads for a frozen pose network, on samples of its results."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from storage.sources import InputError
from tasks.head_params import MatchingTrainParams, RefinementTrainParams
from tasks.head_reader import Reader
from tasks.pair_trainee import PairTrainee
from tasks.refinement_trainee import RefinementTrainee
from tasks.samples import SampleSet
from tasks.training import Order, TrainParams
from tkm.networks.heads import REDUCED_NETWORKS, HeadFacts, HeadKind, build, check_fits, head_bytes, load_head

if TYPE_CHECKING:
    from torch import nn

    from tkm.networks.matching import Matching

VERSION = 1


def hold_out(sets: Sequence[SampleSet], share: float, seed: int) -> tuple[list[SampleSet], list[SampleSet]]:
    """Videos to train on, and to validate on: by lot, at least one to train on; without people none."""
    peopled = [one for one in sets if one.people]
    if not peopled:
        raise InputError("the results hold nobody to train on")
    order = np.random.default_rng(seed).permutation(len(peopled))
    held = min(round(share * len(peopled)), len(peopled) - 1)
    chosen = set(order[:held].tolist())
    return [one for n, one in enumerate(peopled) if n not in chosen], [one for n, one in enumerate(peopled) if n in chosen]


def pair_order(kind: HeadKind, sets: Sequence[SampleSet], params: MatchingTrainParams) -> Order:
    """The training of a `matching` or a `body` head."""
    train, val = hold_out(sets, params.val_share, params.seed)
    facts = _facts(kind, train[0], params.tau)

    def build_trainee() -> PairTrainee:
        return PairTrainee(cast("Any", _new(facts, params.seed)), Reader(train), Reader(val), params, kind)

    return _order(kind, facts, params, train, val, {}, build_trainee)


def refinement_order(sets: Sequence[SampleSet], params: RefinementTrainParams, matching: tuple[str, Path] | None) -> Order:
    """The training of a refinement head under a matching head, digest and file, which stays as it is; None where tau is 0.

    Raises WeightsError where the matching head is not one of these samples' network.
    """
    train, val = hold_out(sets, params.val_share, params.seed)
    facts = _facts("refinement", train[0], params.tau, params.divisor if params.tau else "window")
    weights = {}
    if matching is not None:
        digest, path = matching
        first = train[0]
        fitting = {"network": first.network, "pose_sha256": first.pose_sha256, "skeleton": first.skeleton}
        check_fits(load_head(path, "matching")[1], where=str(path), kind="matching", **fitting)
        weights = {"matching": digest}

    def build_trainee() -> RefinementTrainee:
        head = None if matching is None else cast("Matching", load_head(matching[1], "matching")[0].requires_grad_(False))
        return RefinementTrainee(cast("Any", _new(facts, params.seed)), head, Reader(train), Reader(val), params)

    return _order("refinement" if params.tau else "self-refinement", facts, params, train, val, weights, build_trainee)


def _facts(kind: HeadKind, of: SampleSet, tau: int, divisor: Any = "window") -> HeadFacts:
    return HeadFacts.usual(kind, of.network, of.pose_sha256, of.skeleton, tau, divisor)


def _new(facts: HeadFacts, seed: int) -> nn.Module:
    import torch

    torch.manual_seed(seed)
    head: Any = build(facts)
    if facts.kind == "refinement" and facts.network in REDUCED_NETWORKS:
        from tkm.networks.reduced import start_response

        start_response(head.response)
    return cast("nn.Module", head)


def _order(
    what: str, facts: HeadFacts, params: TrainParams, train: Sequence[SampleSet], val: Sequence[SampleSet], weights: dict[str, str],
    build_trainee: Any,
) -> Order:  # fmt: skip
    return Order(
        what=what,
        version=VERSION,
        params=params,
        weights={"pose": facts.pose_sha256, **weights},
        data={"train": _digest(train), "val": _digest(val)},
        suffix=".safetensors",
        build=build_trainee,
        pack=lambda model: head_bytes(cast("Any", model).head, facts),
        facts={"videos": [len(train), len(val)], "people": [sum(one.people for one in sets) for sets in (train, val)]},
    )


def _digest(sets: Sequence[SampleSet]) -> str:
    return hashlib.sha256("\n".join(sorted(one.artifact.key for one in sets)).encode()).hexdigest()
