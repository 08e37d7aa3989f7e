"""Retention: which stages' artifacts stay once a video is published, and removing the others.

A finished last stage needs none of its inputs, so nothing is computed again for their absence, until a stage that takes them is
run again. What is kept of a stage, `--keep` says:

    all        everything
    features   what track, paths and refine take, so that they can run again without looking at the video
    poses      what the tables are made of, and URI@RUN, evaluate, export, render and verify read
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from storage.artifacts import closed_keys
from storage.removal import Removed, commits_of, retire
from storage.store import Store
from tasks import correct, embed, estimate, given, index, publish, shots, suppress
from tasks.pipeline import PIPELINE

Keep = Literal["all", "features", "poses"]
_POSES = (index.STAGE, correct.STAGE, publish.STAGE)
_KEPT = {
    "all": PIPELINE,
    "features": (*_POSES, given.POSES, estimate.STAGE, suppress.STAGE, embed.STAGE, shots.STAGE),
    "poses": _POSES,
}


def dropped_stages(keep: Keep) -> tuple[str, ...]:
    """Names of the stages whose artifacts go, the last first."""
    return tuple(stage.name for stage in reversed(PIPELINE) if stage not in _KEPT[keep])


def finished_keys(store: Store) -> set[str]:
    """Keys of the last stage's whole artifacts: a video that has one needs no other but its index."""
    return closed_keys(store, publish.STAGE.name)


def needless(
    videos: Iterable[Mapping[str, str]], finished: Collection[str], keep: Keep
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Artifacts, by stage and key, that go, and those that an unfinished video still needs, whatever others do.

    Args: videos, the keys of each by stage; finished, keys of the last stage that are whole.
    """
    dropped, last = dropped_stages(keep), publish.STAGE.name
    going: set[tuple[str, str]] = set()
    needed: set[tuple[str, str]] = set()
    for keys in videos:
        chosen = going if keys.get(last) in finished else needed
        chosen.update((stage, keys[stage]) for stage in dropped if stage in keys)
    return going - needed, needed


def remove(store: Store, artifacts: Collection[tuple[str, str]]) -> Removed:
    """Remove those of the artifacts that are there, begun or whole."""
    by_stage: dict[str, set[str]] = {}
    for stage, key in artifacts:
        by_stage.setdefault(stage, set()).add(key)
    removed = Removed()
    for stage, keys in by_stage.items():
        commits = commits_of(store, stage, keys)
        names = [name for own in commits.values() for name in own]
        removed += retire(store, {(stage, key) for key in commits}, names)
    return removed
