"""What a run wants of one video: the key of every stage, and which of them the store lacks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from storage.artifacts import Artifact, artifact_key
from storage.sources import Source, fingerprint
from storage.store import Store
from tasks.pipeline import PIPELINE
from tasks.stage import Params, Stage

SHARDS = 16  # partitions of the published tables; part of their layout, so it never changes


@dataclass(frozen=True)
class VideoPlan:
    """One video of a run: where it is, what it holds, and the key of every active stage's artifact.

    `keys` and `params` are by stage name. `fingerprint` is the source's when its content was read, empty where it was not.
    Small, picklable; this is all that travels to a worker.
    """

    store: Store
    source: Source
    content_sha256: str
    fingerprint: str
    params: Mapping[str, Params]
    keys: Mapping[str, str]

    @property
    def video(self) -> str:
        """Id of the video, from its address."""
        return self.source.video_id

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The active stages, in order."""
        return tuple(stage for stage in PIPELINE if stage.name in self.keys)

    @property
    def shard(self) -> int:
        """Group the video is published with."""
        return shard_of(self.video)

    def artifact(self, stage: Stage) -> Artifact:
        """The stage's artifact of this video, whole, begun or missing."""
        return Artifact(self.store, stage.name, self.keys[stage.name])

    def inputs_of(self, stage: Stage) -> dict[str, str]:
        """What the stage's key is made from: its inputs' keys, or the content at the root."""
        if not stage.inputs:
            return {"content": self.content_sha256}
        left_out = stage.leaves_out(self.params)
        names = [source.name for source in stage.inputs if source.name not in left_out]
        return {name: self.keys[name] for name in names if name in self.keys}


def shard_of(video: str) -> int:
    """Group of a video: stable, whatever else is in the dataset."""
    return zlib.crc32(video.encode()) % SHARDS


def plan_video(
    store: Store, source: Source, content_sha256: str, params: Mapping[str, Params], fingerprint: str = ""
) -> VideoPlan:
    """Keys of all active stages for a video's content under these parameters (by stage name)."""
    keys: dict[str, str] = {}
    plan = VideoPlan(store, source, content_sha256, fingerprint, params, keys)
    for stage in PIPELINE:
        if not stage.is_active(params):
            continue
        chosen = params[stage.name].model_dump(mode="json")
        keys[stage.name] = artifact_key(
            stage.name, stage.version, chosen, dict(stage.weights(params)), plan.inputs_of(stage)
        )
    return plan


def missing(plan: VideoPlan, begun: Callable[[str], set[str]], closed: Callable[[str], set[str]]) -> set[str]:
    """Names of the stages to run, asked from the end: a finished last stage needs none of its inputs.

    `closed` gives the keys of whole artifacts of a stage, by its name, `begun` those of which parts are there; `closed` is asked
    of no more stages than it takes. What was begun, or withdrawn because it was damaged, is finished also where nothing needs it.
    """
    wanted: set[str] = set()

    def want(stage: Stage) -> None:
        if stage.name not in plan.keys or stage.name in wanted or plan.keys[stage.name] in closed(stage.name):
            return
        wanted.add(stage.name)
        for source in stage.inputs:
            if source.name not in stage.leaves_out(plan.params):
                want(source)

    want(PIPELINE[-1])
    for stage in plan.stages:
        if plan.keys[stage.name] in begun(stage.name):
            want(stage)
    return wanted


def check_unchanged(plan: VideoPlan) -> None:
    """Raise ReplacedError if the video is not the one any more whose content the plan's keys are made from."""
    if plan.fingerprint and fingerprint(plan.source) != plan.fingerprint:
        raise ReplacedError(f"{plan.source.uri} was replaced or changed while it was read; run again when it is complete")


class ReplacedError(OSError):
    """A video changed under the hands that read it: what was read of it belongs to no content that is known."""
