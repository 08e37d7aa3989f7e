"""embed: what the trained heads say of the survivors. Matching features at every candidate, refinement scalars, whole bodies.

A first run decodes a video once and runs the backbone once a crop: estimate leaves its feature maps for this stage, which sees
the same blocks. Alone, with a retrained head, it cuts the survivors' crops again; the numbers are the same, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from storage.codecs import candidates_from_table, column, detections_from_table, features_to_table, skeleton_of_table
from storage.schemas import FEATURES
from tasks import estimate, index, suppress, trained
from tasks.stage import Block, Params, Resources, Stage, digest_field
from tkm.networks import runtime
from tkm.quantisation import quantise
from tkm.types import CandidateSet, FeatureSet
from tkm.weights import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from tkm.networks.pose import Embedded


class EmbedParams(Params):
    """Parameters of embed: digests of the heads that the run uses. A run finds them, see tasks.heads."""

    matching: str | None = digest_field("the matching head")
    body: str | None = digest_field("the body head")
    refinement: str | None = digest_field("the refinement head")


def run(block: Block, params: EmbedParams) -> pa.Table:
    """Features of the survivors of a block of frames, in their order."""
    is_kept = block.inputs["suppress"]["is_kept"]
    people = block.inputs["estimate"].filter(is_kept)
    if not people.num_rows:
        return FEATURES.empty_table()
    estimated: estimate.EstimateParams = block.input_params["estimate"]  # type: ignore[assignment]
    network = estimate.pose_network(estimated).with_heads(
        matching=trained.matching(params.matching) if params.matching else None,
        body=trained.body(params.body) if params.body else None,
        refinement=trained.refinement(params.refinement) if params.refinement else None,
    )
    cell = _cells(candidates_from_table(people, skeleton_of_table(people)))
    maps = _maps(block, people, estimated)
    found = runtime.in_passes((*maps, cell), lambda part: network.embed(part[:-1], part[-1]))
    _refuse_broken(found, cell, params)
    feature, feature_step = _steps(found.feature, params.matching)
    body, body_step = _steps(found.body, params.body)
    features = FeatureSet(feature, feature_step, found.scalar.numpy() if params.refinement else None, body, body_step)
    return features_to_table(column(people, "frame", np.int64), column(people, "detection", np.int64), features)


def _maps(block: Block, people: pa.Table, estimated: estimate.EstimateParams) -> tuple[Tensor, ...]:
    """The backbone's maps of the survivors' crops, on the device: what estimate left of all crops of the block, or made anew."""
    import torch  # here: see tkm.networks.runtime

    if "features" in block.shared:
        kept = torch.from_numpy(np.flatnonzero(column(block.inputs["suppress"], "is_kept", np.bool_)))
        return tuple(maps[kept.to(maps.device)] for maps in block.shared["features"])
    return estimate.backbone_features(block, detections_from_table(people), estimated)


def _cells(candidates: CandidateSet) -> Tensor:
    """(P, K, S) int64, the cells of the S places of each keypoint; -1 where there are fewer."""
    import torch

    return torch.from_numpy(np.concatenate([candidates.pose_cell[..., None], candidates.cell], axis=2).astype(np.int64))


def _refuse_broken(found: Embedded, cell: Tensor, params: EmbedParams) -> None:
    """Raise WeightsError, which names the head, where one answers with what is no number: nothing could be made of that."""
    answers = {"matching": found.feature, "body": found.body}
    if params.refinement:
        answers["refinement"] = found.scalar[cell >= 0]
    for head, values in answers.items():
        if not values.isfinite().all():
            digest = _weights(params)[head]
            raise WeightsError(f"the {head} head {digest[:8]} answers with numbers that are not finite: train it again")


def _steps(vectors: Tensor, head: str | None) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    return quantise(vectors.numpy()) if head else (None, None)


def _weights(params: EmbedParams) -> dict[str, str]:
    digests = {"matching": params.matching, "body": params.body, "refinement": params.refinement}
    return {head: digest for head, digest in digests.items() if digest}


STAGE = Stage(
    "embed",
    run,
    EmbedParams,
    inputs=(index.STAGE, estimate.STAGE, suppress.STAGE),
    output=FEATURES,
    resources=Resources(gpus=1),
    version=1,
    images=True,
    weights=lambda params: {**estimate.STAGE.weights(params), **_weights(params["embed"])},
    is_active=lambda params: bool(_weights(params["embed"])),
)
