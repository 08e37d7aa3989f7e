"""Evaluating videos: truth brought into the store, results scored against it. Each artifact is committed where it is made."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from storage.artifacts import Artifact, Provenance, artifact_key
from storage.documents import read_annotations, read_document
from storage.sources import InputError
from storage.store import Store
from tasks import index, publish, score, truth
from tasks.predictions import in_skeleton, sequence_of
from tasks.stage import Params, Stage
from tasks.truth import Truth, TruthParams
from tkm.datasets.sequence import Sequence
from tkm.skeleton import POSETRACK_15

STAGES = (truth.FRAMES, truth.POSES, score.STAGE, score.OKS)


@dataclass(frozen=True)
class Results:
    """Results of one video that are to be scored: of a run, by the keys of its artifacts, or of a file of predictions.

    names are what files of truth may call the video; root is the store of the run; sha256 is of the file's bytes.
    """

    video: str
    names: tuple[str, ...]
    run: str
    shard: int = 0
    root: str = ""
    index_key: str = ""
    publish_key: str = ""
    uri: str = ""
    sha256: str = ""

    @property
    def inputs(self) -> dict[str, str]:
        """What a score's key is made from, beside the truth."""
        if self.uri:
            return {"predictions": self.sha256, "sequence": self.names[0]}
        return {index.STAGE.name: self.index_key, publish.STAGE.name: self.publish_key}

    def read(self) -> Sequence:
        """All of it. DamagedArtifactError where artifacts are not whole, InputError where the file has changed."""
        if self.uri:
            if hashlib.sha256(read_document(self.uri)).hexdigest() != self.sha256:
                raise InputError(f"{self.uri} changed while it was evaluated; run again when it is complete")
            return next(one for one in read_annotations(self.uri) if isinstance(one, Sequence) and one.name == self.names[0])
        store = Store(self.root)
        persons = Artifact(store, publish.STAGE.name, self.publish_key).read()
        return sequence_of(persons, Artifact(store, index.STAGE.name, self.index_key).read(), self.names[0])


@dataclass(frozen=True)
class Scored:
    """Artifacts of a video's scores; empty where a metric does not apply to its truth. `frames` are those of the truth."""

    video: str
    frames: int
    score_key: str
    oks_key: str


@dataclass(frozen=True)
class Refused:
    """Why a file or video cannot be evaluated, a sentence that names it."""

    message: str


def import_truth(store: Store, uri: str, *, write: bool = True) -> list[Truth] | Refused:
    """Read an annotation file and keep, video by video, what it tells; what is there already is not written again.

    Without `write` nothing is kept, and only the keys are told.
    """
    began = time.perf_counter()
    try:
        content, sequences = _read(uri)
    except InputError as error:
        return Refused(str(error))
    found = []
    for sequence in sequences:
        params, keys = TruthParams(sequence=sequence.name), {}
        for stage in (truth.FRAMES, truth.POSES):
            artifact = _artifact(store, stage, params, {"content": content})
            if write and artifact.manifest() is None:
                _commit(artifact, stage, params, {"content": content}, stage.run(sequence, params), len(sequence), began)
            keys[stage.name] = artifact.key
        found.append(Truth(uri, sequence.name, len(sequence), keys[truth.FRAMES.name], keys[truth.POSES.name]))
    return found


def read_predictions(uri: str) -> list[Results] | Refused:
    """The videos of a file of predictions."""
    try:
        content, sequences = _read(uri)
    except InputError as error:
        return Refused(str(error))
    return [Results(one.name, (one.name,), uri, uri=uri, sha256=content) for one in sequences]


def _read(uri: str) -> tuple[str, tuple[Sequence, ...]]:
    content = hashlib.sha256(read_document(uri)).hexdigest()
    sequences = read_annotations(uri)
    if isinstance(sequences, list):
        raise InputError(
            f"{uri} is a list of results, which do not tell their frames; give PoseTrack or COCO JSON with `images`, or bring "
            "results in with `tkm annotate --detections`"
        )
    return content, sequences


def score_video(
    store: Store, one: Truth, results: Results, params: score.ScoreParams, sampled_only: bool = False
) -> Scored | Refused:
    """Score a video's results and commit what is not there yet: PoseTrack's metrics where the truth is PoseTrack's, and OKS.

    Truth of people in frames that a run did not sample is refused, or, with `sampled_only`, left aside, as if it were not there.
    """
    inputs = {truth.FRAMES.name: one.frames_key, truth.POSES.name: one.poses_key, **results.inputs}
    inputs |= {"frames": "sampled"} if sampled_only else {}
    scored, began = {}, time.perf_counter()
    true = one.read(store)
    predicted: Sequence | None = None
    for stage, own in ((score.STAGE, params), (score.OKS, score.OksParams())):
        if stage is score.STAGE and true.skeleton.name != POSETRACK_15.name:
            continue
        artifact = _artifact(store, stage, own, inputs)
        scored[stage.name] = artifact.key
        if artifact.manifest() is not None:
            continue
        try:
            if predicted is None:
                predicted = _comparable(results.read(), true, results, sampled_only)
                true = true.in_frames(predicted.is_labeled) if sampled_only else true
            _commit(artifact, stage, own, inputs, stage.run(true, predicted, own), len(true), began)
        except (InputError, ValueError) as error:
            return Refused(str(error))
    return Scored(results.video, len(true), scored.get(score.STAGE.name, ""), scored[score.OKS.name])


def _comparable(predicted: Sequence, true: Sequence, results: Results, sampled_only: bool) -> Sequence:
    """The results in the truth's skeleton; ValueError where their frames are not those of the truth."""
    if len(predicted) != len(true):
        raise ValueError(f"{results.video}: the results have {len(predicted)} frames, the truth {true.name} has {len(true)}")
    unseen = np.unique(true.people.frame[~predicted.is_labeled[true.people.frame]])
    if len(unseen) and not results.uri and not sampled_only:
        raise ValueError(
            f"{results.video}: the truth has people in {len(unseen)} frames that the run did not sample, such as {unseen[0]}; "
            "annotate without --fps, --every and --frames to evaluate, or leave truth of such frames aside with --sampled-only"
        )
    return in_skeleton(predicted, true.skeleton)


def _artifact(store: Store, stage: Stage, params: Params, inputs: Mapping[str, str]) -> Artifact:
    return Artifact(store, stage.name, artifact_key(stage.name, stage.version, params.model_dump(mode="json"), {}, inputs))


def _commit(
    artifact: Artifact, stage: Stage, params: Params, inputs: Mapping[str, str], table: pa.Table, frames: int, began: float
) -> None:
    artifact.commit(0, frames, stage.checked(table), seconds=time.perf_counter() - began, device="cpu")
    environment = {"device": "cpu", "pyarrow": pa.__version__}
    artifact.close(frames, Provenance(stage.version, params.model_dump(mode="json"), {}, inputs, environment))
