"""Groups of videos, and what is known of each as it goes through the flow. A group is (part of) a shard; a Prefect task
takes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.known import Known
from flows.work import Digest
from storage.runs import Failure
from storage.sealed import DocumentError, seal, unseal
from storage.sources import InputError, Source, find_sources
from storage.store import Store
from tasks.merge import Finished
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, missing, shard_of

GROUP_VIDEOS = 512  # videos a group, so that results of a large shard are published as they come ...
GROUPS = 200  # ... unless that made more groups than this: Prefect loses records beyond a thousand or so task runs


@dataclass(frozen=True)
class Group:
    """Videos that are indexed, annotated and published together.

    missing       by video, the names of the stages that the store lacks
    frames        by video, its number of sampled frames, once it is indexed
    unpublished   videos of which the tables show something else than what this run wants
    changed       videos whose published rows changed
    """

    name: str
    shard: int
    sources: tuple[Source, ...]
    plans: tuple[VideoPlan, ...] = ()
    missing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    frames: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    unpublished: frozenset[str] = frozenset()
    changed: int = 0

    def steps(self) -> list[str]:
        """Names of the steps after the index that have something to do."""
        lacking = frozenset().union(*self.missing.values())
        to_do = {step for step, stages in STEPS.items() if lacking & {stage.name for stage in stages}} - {"index"}
        if lacking or self.failures or self.unpublished:
            to_do.add("publish")
        return [step for step in STEPS if step in to_do]

    def lacking(self, step: str) -> list[VideoPlan]:
        """Videos that still go on and lack a stage of a step."""
        failed = {failure.video for failure in self.failures}
        names = {stage.name for stage in STEPS[step]}
        going_on = (plan for plan in self.plans if plan.video not in failed)
        return [plan for plan in going_on if names & self.missing.get(plan.video, frozenset())]

    def with_failures(self, failures: Sequence[Failure]) -> Group:
        """The group, some of its videos given up."""
        return replace(self, failures=(*self.failures, *failures))

    def finished(self) -> list[Finished]:
        """Videos that went through all stages."""
        failed = {failure.video for failure in self.failures}
        first, last = PIPELINE[0].name, PIPELINE[-1].name
        return [
            Finished(
                video=plan.video,
                name=plan.source.name,
                uri=plan.source.uri,
                content_sha256=plan.content_sha256,
                shard=plan.shard,
                index_key=plan.keys[first],
                publish_key=plan.keys[last],
            )
            for plan in self.plans
            if plan.video not in failed
        ]

    def plan_rows(self) -> list[dict[str, object]]:
        """Rows of the run's plan: every artifact that the group relies on."""
        return [
            {
                "video": plan.video,
                "name": plan.source.name,
                "uri": plan.source.uri,
                "kind": plan.source.kind,
                "content_sha256": plan.content_sha256,
                "shard": plan.shard,
                "stage": stage,
                "key": key,
                "params": plan.params[stage].model_dump_json(),
            }
            for plan in self.plans
            for stage, key in plan.keys.items()
        ]


def sources_for(input_: str, store: Store) -> list[Source]:
    """The videos that `input_` names, without overlays and whatever else lies in the store itself; InputError where none are."""
    sources = [source for source in find_sources(input_) if not _resolved(source.uri).startswith(f"{store.root}/")]
    if not sources:
        raise InputError(f"{input_}: all its videos lie in the output {store.root}; name other videos, or give another --output")
    return sources


def _resolved(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).resolve())


def make_groups(sources: Sequence[Source]) -> list[Group]:
    """Groups of some videos of one shard, in order of shard and id."""
    size = max(GROUP_VIDEOS, -(-len(sources) // GROUPS))
    shards: dict[int, list[Source]] = {}
    for source in sorted(sources, key=lambda source: source.video_id):
        shards.setdefault(shard_of(source.video_id), []).append(source)
    return [
        Group(f"{shard:02d}-{start // size:04d}", shard, tuple(members[start : start + size]))
        for shard, members in sorted(shards.items())
        for start in range(0, len(members), size)
    ]


def with_missing(group: Group, plans: Sequence[VideoPlan], known: Known) -> Group:
    """The group with its plans and what the store lacks of them."""
    lacking = {plan.video: frozenset(missing(plan, known.begun, known.closed)) for plan in plans}
    return replace(group, plans=tuple(plans), missing=lacking)


def read_digests(store: Store, group: Group) -> dict[str, Digest]:
    """Digests of the group's videos that earlier runs computed, by address; none where they are damaged: they are made anew."""
    try:
        return unseal(store.read(f"digests/{group.name}.json"), _digests)
    except (FileNotFoundError, DocumentError):
        return {}


def _digests(value: Any) -> dict[str, Digest]:
    rows = value if isinstance(value, list) else value["videos"]  # a list by itself is of an earlier version
    return {row["uri"]: Digest(**row) for row in rows}


def write_digests(store: Store, group: Group, digests: Mapping[str, Digest]) -> None:
    """Keep digests, so that later runs need not read the videos for them."""
    store.write(f"digests/{group.name}.json", seal({"videos": [asdict(digest) for _, digest in sorted(digests.items())]}))
