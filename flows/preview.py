"""What a run would do, without doing it: `tkm annotate --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.groups import make_groups, read_digests, sources_for, with_missing
from flows.settings import Limits, stage_params
from flows.work import digest_video
from storage.runs import Failure
from storage.store import Store
from tasks.pipeline import PIPELINE
from tasks.plan import plan_video


@dataclass(frozen=True)
class Preview:
    """Videos in all, how many of them lack each stage, by its name, and a sentence on each that cannot be read."""

    videos: int
    missing: dict[str, int]
    unreadable: tuple[str, ...]


def preview(input_: str, store: Store, chosen: Any) -> Preview:
    """Look at videos and store as a run under these settings would; nothing is written, content is read where it is not known."""
    store.reach()
    params = stage_params(chosen)
    counts = {stage.name: 0 for stage in PIPELINE if stage.is_active(params[stage.name])}
    sources, unreadable = sources_for(input_, store), []
    for group in make_groups(sources):
        known = read_digests(store, group)
        plans = []
        for source in group.sources:
            digest = digest_video(source, known.get(source.uri), None, chosen.engine.verify, Limits(retries=0))
            if isinstance(digest, Failure):
                unreadable.append(digest.message)
            else:
                plans.append(plan_video(store, source, digest.content_sha256, params))
        for missing in with_missing(group, plans, store).missing.values():
            for stage in missing:
                counts[stage] += 1
    return Preview(len(sources), counts, tuple(unreadable))
