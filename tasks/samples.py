"""Samples: the people that a run found, who they truly are, and what the frozen pose network sees of them.

Heads are trained on these. The backbone stays frozen, so each crop goes through it once, whatever is trained on it later and how
often: what the heads look at is kept, an artifact a video, keyed by the results and the truth that it comes from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from storage.artifacts import Artifact, Provenance, artifact_key
from storage.codecs import candidates_from_table, column, detections_from_table, info_from_table, skeleton_of_table
from storage.labelled import boxes_of, visibility_of
from storage.learning_schemas import SAMPLES
from storage.samples import samples_from_table, samples_to_table
from storage.schemas import CANDIDATES
from storage.sources import content_digest
from storage.video import decode
from storage.weights import fetch
from tasks import estimate, index, suppress, truth
from tasks.evaluation import Refused
from tasks.plan import VideoPlan
from tasks.stage import Block
from tasks.truth import Truth
from tkm.geometry import crops_around
from tkm.networks import runtime
from tkm.networks.facts import FACTS
from tkm.networks.heads import REDUCED_NETWORKS
from tkm.skeleton import Skeleton, skeleton_of
from tkm.training.samples import Samples, assigned
from tkm.types import Bool, DetectionSet, Float

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from tkm.datasets.sequence import Sequence
    from tkm.networks.pose import PoseNetwork

VERSION = 1
_STAGE = "samples"
_CHUNK_FRAMES = 64  # some 100 MB of the embedded network's samples
_PLACES = CANDIDATES + 2


@dataclass(frozen=True)
class SampleSet:
    """The samples of one video: the artifact that holds them, of which network, and how many people there are."""

    artifact: Artifact
    network: str
    pose_sha256: str
    input_px: tuple[int, int]
    skeleton: str
    people: int

    @property
    def columns(self) -> int:
        """Of the heatmaps."""
        return self.input_px[1] // 4

    def read(self) -> Samples:
        """All of them. DamagedArtifactError where they are not whole."""
        keypoints = len(skeleton_of(self.skeleton).keypoints)
        return samples_from_table(self.artifact.read(), keypoints, _PLACES, *self._shapes(keypoints))

    def _shapes(self, keypoints: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if self.network in REDUCED_NETWORKS:
            from tkm.networks.reduced import BODY_CELLS, MATCHING_INPUTS, REFINEMENT_INPUTS

            return (keypoints, _PLACES, REFINEMENT_INPUTS), (BODY_CELLS**2, MATCHING_INPUTS)
        facts, (height, width) = FACTS[self.network], self.input_px
        stride = facts.feature_strides_px[0]
        return (facts.feature_channels[0], height // stride, width // stride), (0, 0)


def sample_key(plan: VideoPlan, true: Truth) -> str:
    """Key of a video's samples: the results that they are of, the truth, and the network."""
    names = (index.STAGE.name, estimate.STAGE.name, suppress.STAGE.name)
    keys = {truth.FRAMES.name: true.frames_key, truth.POSES.name: true.poses_key, **{name: plan.keys[name] for name in names}}
    return artifact_key(_STAGE, VERSION, {}, dict(estimate.STAGE.weights(plan.params)), keys)


def make_samples(plan: VideoPlan, true: Truth) -> SampleSet | Refused:
    """The samples of a video's survivors, computed where the store has none yet.

    Refused where the run has no poses of a network of its own, the truth has people but does not tell who is who, or differs from
    the video in length, or the video is another than was annotated.
    """
    if estimate.STAGE.name not in plan.keys:
        return Refused(f"{plan.video} was annotated from poses that were given: heads are trained on a network's own")
    table, people = plan.artifact(index.STAGE).read(), _survivors(plan)
    info = info_from_table(table)
    if len(info) != true.frames:
        return Refused(f"{plan.video} has {len(info)} frames, its truth {true.name} in {true.uri} has {true.frames}")
    found = sample_set(plan, true, people.num_rows)
    if found.artifact.manifest() is None:
        annotated = true.read(plan.store)
        if len(annotated.people) and (annotated.people.track_id < 0).all():  # a clip without anybody is one, too
            return Refused(f"{true.uri} has nobody with a track id in {true.name}: heads learn from who is who")
        if content_digest(plan.source) != plan.content_sha256:
            return Refused(f"{plan.source.uri} is not the video any more that was annotated: annotate it again")
        _complete(found.artifact, plan, people, column(table.filter(table["is_sampled"]), "frame", np.int64), annotated)
    return found


def sample_set(plan: VideoPlan, true: Truth, people: int | None = None) -> SampleSet:
    """The samples of a video whose poses are a network's own, whether they are there or not.

    Args: people, how many there are, where the caller knows it.
    """
    params: estimate.EstimateParams = plan.params["estimate"]  # type: ignore[assignment]
    (pose_sha256,) = estimate.STAGE.weights(plan.params).values()
    count = _survivors(plan).num_rows if people is None else people
    artifact = Artifact(plan.store, _STAGE, sample_key(plan, true))
    return SampleSet(artifact, params.network, pose_sha256, params.size_px, params.skeleton, count)


def _survivors(plan: VideoPlan) -> pa.Table:
    return plan.artifact(estimate.STAGE).read().filter(plan.artifact(suppress.STAGE).read(["is_kept"])["is_kept"])


def _complete(artifact: Artifact, plan: VideoPlan, people: pa.Table, frames: np.ndarray, true: Sequence) -> None:
    """Compute and commit what an artifact lacks, and close it."""
    params: estimate.EstimateParams = plan.params["estimate"]  # type: ignore[assignment]
    runtime.keep_freed_memory()
    runtime.prepare_thread()
    if params.weights is not None:
        fetch(plan.store, params.weights)
    done = {chunk.start for chunk in artifact.chunks()}
    for start in range(0, len(frames), _CHUNK_FRAMES):
        if start not in done:
            _commit(artifact, plan, people, frames, start, true, params)
    names = (index.STAGE.name, estimate.STAGE.name, suppress.STAGE.name)
    weights, inputs = dict(estimate.STAGE.weights(plan.params)), {name: plan.keys[name] for name in names}
    artifact.close(len(frames), Provenance(VERSION, {}, weights, inputs, {"device": runtime.description()}))


def _commit(
    artifact: Artifact, plan: VideoPlan, people: pa.Table, frames: np.ndarray, start: int, true: Sequence,
    params: estimate.EstimateParams,
) -> None:  # fmt: skip
    """Compute and commit the samples of some of the sampled frames."""
    began, stop = time.perf_counter(), min(start + _CHUNK_FRAMES, len(frames))
    own = frames[start:stop]
    rows = people.filter(np.isin(column(people, "frame", np.int64), own))
    samples = _samples(plan, rows, own, start, true, params)
    table = samples_to_table(samples) if samples is not None else SAMPLES.empty_table()
    artifact.commit(start, stop, table, seconds=time.perf_counter() - began, device=runtime.description())


def _samples(
    plan: VideoPlan, people: pa.Table, frames: np.ndarray, first: int, true: Sequence, params: estimate.EstimateParams
) -> Samples | None:
    if not people.num_rows:
        return None
    skeleton = skeleton_of_table(people)
    detections, candidates = detections_from_table(people), candidates_from_table(people, skeleton)
    track_id, xy_px, visibility = _truth_of(detections, true, skeleton)
    height, width = params.size_px
    crops = crops_around(detections.box_xyxy_px, width / height, params.crop_scale)
    rows, columns = height // 4, width // 4
    xy_cells = (crops.to_crop(xy_px) * np.array([columns, rows])).astype(np.float32)
    corner = np.floor(np.nan_to_num(xy_cells, nan=-1)).astype(np.int64)
    is_inside = ((corner >= 0) & (corner < [columns, rows])).all(axis=-1)
    true_cell = np.where(is_inside, corner[..., 1] * columns + corner[..., 0], -1)
    cell = np.concatenate([true_cell[..., None], candidates.pose_cell[..., None], candidates.cell], axis=2).astype(np.int64)
    inputs, body = _inputs(plan, detections, cell, params)
    place = first + np.searchsorted(frames, detections.frame)
    return Samples(place, track_id, cell, xy_cells, visibility, inputs, body)


def _truth_of(detections: DetectionSet, true: Sequence, skeleton: Skeleton) -> tuple[np.ndarray, Float, np.ndarray]:
    """Who detections are of, (P,), and where that person's keypoints are, (P, K, 2), with their visibility (P, K)."""
    people, P, K = true.people, len(detections), len(skeleton.keypoints)
    box_xyxy_px, has_box = boxes_of(people)
    is_given: Bool = np.logical_not(np.isnan(people.xy_px).any(axis=2))
    shown = visibility_of(people, is_given)
    person = np.full(P, -1, np.int64)
    for frame in np.unique(detections.frame):
        mine = np.flatnonzero(detections.frame == frame)
        theirs = np.flatnonzero((people.frame == frame) & has_box & ~people.is_crowd)
        if len(theirs):
            match = assigned(detections.box_xyxy_px[mine], box_xyxy_px[theirs])
            person[mine] = np.where(match >= 0, theirs[match], -1)
    is_of = person >= 0
    track_id = np.where(is_of, people.track_id[person], -1) if len(people) else person
    xy_px, visibility = np.full((P, K, 2), np.nan, np.float32), np.zeros((P, K), np.int8)
    for k, keypoint in enumerate(skeleton.keypoints):
        if keypoint in true.skeleton.keypoints:
            there = true.skeleton.keypoints.index(keypoint)
            xy_px[is_of, k], visibility[is_of, k] = people.xy_px[person[is_of], there], shown[person[is_of], there]
    return track_id, xy_px, visibility


def _inputs(
    plan: VideoPlan, detections: DetectionSet, cell: np.ndarray, params: estimate.EstimateParams
) -> tuple[np.ndarray, np.ndarray]:
    """`inputs` and `body` of Samples, of these detections."""
    import torch

    network = estimate.pose_network(params)
    info = info_from_table(plan.artifact(index.STAGE).read())
    inputs, bodies = [], []
    with torch.inference_mode():
        for frame, image in decode(plan.source, info, np.unique(detections.frame)):
            rows = np.flatnonzero(detections.frame == frame)
            own = DetectionSet(
                detections.frame[rows], detections.detection[rows], detections.box_xyxy_px[rows], detections.score[rows]
            )
            block = Block(np.array([frame]), np.zeros(1, np.int64), (image,), {})
            maps = estimate.backbone_features(block, own, params)
            seen, body = _seen(network, maps, torch.from_numpy(cell[rows]).to(maps[0].device), params.network)
            inputs.append(seen)
            bodies.append(body)
    return np.concatenate(inputs), np.concatenate(bodies)


def _seen(network: PoseNetwork, maps: tuple[Tensor, ...], cell: Tensor, name: str) -> tuple[np.ndarray, np.ndarray]:
    import torch

    if name in REDUCED_NETWORKS:
        from tkm.networks.reduced import body_inputs, refinement_inputs

        inputs = refinement_inputs(maps, network.responses(maps), cell)
        return inputs.half().cpu().numpy(), body_inputs(maps).half().cpu().numpy()
    return maps[0].to(torch.float16).cpu().numpy(), np.zeros((len(maps[0]), 0, 0), np.float16)
