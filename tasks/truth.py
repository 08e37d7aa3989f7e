"""truth_frames and truth_poses: what an annotation file tells of a video's frames and of the people in them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field

from storage.annotations import frames_to_table, poses_to_table, sequence_from_tables
from storage.artifacts import Artifact
from storage.evaluation_schemas import ANNOTATED_FRAMES, ANNOTATED_POSES
from storage.store import Store
from tasks.stage import Params, Resources, Stage
from tkm.datasets.sequence import Sequence


class TruthParams(Params):
    """Parameters of truth_frames and truth_poses."""

    sequence: str = Field(description="name of the video in the file", json_schema_extra={"option": None})


def frames(sequence: Sequence, params: TruthParams) -> pa.Table:  # noqa: ARG001 - every stage takes its params
    """A row a frame."""
    return frames_to_table(sequence)


def poses(sequence: Sequence, params: TruthParams) -> pa.Table:  # noqa: ARG001
    """A row a person and frame, in the file's order."""
    return poses_to_table(sequence)


_CPU = Resources(cpus=1)
FRAMES = Stage("truth_frames", frames, TruthParams, inputs=(), output=ANNOTATED_FRAMES, resources=_CPU, version=1)
POSES = Stage("truth_poses", poses, TruthParams, inputs=(), output=ANNOTATED_POSES, resources=_CPU, version=1)


@dataclass(frozen=True)
class Truth:
    """What a file tells of one video: its address, the video's name in it, frames, and the artifacts that hold it."""

    uri: str
    name: str
    frames: int
    frames_key: str
    poses_key: str

    def read(self, store: Store) -> Sequence:
        """What the artifacts hold. DamagedArtifactError where they are not whole."""
        tables = (Artifact(store, FRAMES.name, self.frames_key).read(), Artifact(store, POSES.name, self.poses_key).read())
        return sequence_from_tables(self.name, *tables)
