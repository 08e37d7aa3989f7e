"""Evaluating a video: its truth brought into the store, its results scored against it. Each commits its own artifacts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from storage.artifacts import Artifact, artifact_key
from storage.codecs import column
from storage.documents import read_annotations, read_document
from storage.sources import InputError
from storage.store import Store
from tasks import index, oks, publish, score, truth
from tasks.predictions import sequence_of
from tasks.stage import Params, Stage
from tasks.truth import Truth, TruthParams
from tkm.datasets.sequence import Sequence


@dataclass(frozen=True)
class Results:
    """Results of one video that are to be scored: those of a run, by the keys of its artifacts, or of a file of predictions.

    names are what files of truth may call the video; sha256 is that of the file's bytes.
    """

    root: str
    video: str
    names: tuple[str, ...]
    shard: int
    run: str
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


@dataclass(frozen=True)
class Refused:
    """Why a file or video cannot be evaluated, a sentence that names it."""

    message: str


def import_truth(store: Store, uri: str) -> list[Truth] | Refused:
    """Read an annotation file and keep, video by video, what it tells; what is there already is not written again."""
    began = time.perf_counter()
    try:
        content = hashlib.sha256(read_document(uri)).hexdigest()
        sequences = read_annotations(uri)
    except InputError as error:
        return Refused(str(error))
    if isinstance(sequences, list):
        return Refused(f"{uri} is a list of results, which is no truth; give PoseTrack or COCO annotations")
    found = []
    for sequence in sequences:
        params = TruthParams(sequence=sequence.name)
        keys = {}
        for stage in (truth.FRAMES, truth.POSES):
            made = lambda stage=stage: stage.run(sequence, params)  # noqa: B023, E731
            keys[stage.name] = _commit(store, stage, params, {"content": content}, len(sequence), made, began)
        found.append(Truth(uri, sequence.name, len(sequence), keys[truth.FRAMES.name], keys[truth.POSES.name]))
    return found


def read_predictions(uri: str, root: str) -> list[Results] | Refused:
    """The videos of a file of predictions."""
    try:
        content = hashlib.sha256(read_document(uri)).hexdigest()
        sequences = read_annotations(uri)
    except InputError as error:
        return Refused(str(error))
    if isinstance(sequences, list):
        return Refused(f"{uri} is a list of results, which tells no frames; bring it in with `tkm annotate --detections`")
    return [
        Results(root, one.name, (one.name,), 0, uri, uri=uri, sha256=content) for one in sequences
    ]
