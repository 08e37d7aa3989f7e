"""What a run would do, without doing it: `tkm annotate --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from flows.again import Wanted
from flows.detections import wanted_videos
from flows.groups import Group, make_groups, read_digests, with_missing
from flows.known import Known
from flows.settings import Engine, StepLimits
from flows.terminal import one_line
from flows.weights import chosen_params
from flows.work import Digest, digest_video
from storage.corrections import in_force
from storage.runs import Failure
from storage.sources import Source
from storage.store import Store
from tasks.pipeline import PIPELINE
from tasks.plan import plan_video

_THREADS = 16  # videos that are looked at at a time: it is mostly a store that is waited for


@dataclass(frozen=True)
class Preview:
    """Videos in all, how many lack each stage, by its name, a sentence on each that cannot be read, and the run's notes."""

    videos: int
    missing: dict[str, int]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]


def preview(input_: str | None, store: Store, chosen: Any, detections: str | None = None, images: str | None = None) -> Preview:
    """Look at videos and store as a run under these settings would; nothing is written, content is read where it is not known."""
    store.reach()
    wanted, unreadable = wanted_videos(store, input_, detections, images, chosen, write=False), []
    wanted = replace(wanted, corrections=in_force(store))
    params, notes = chosen_params(store, wanted, chosen, write=False)
    counts: Counter[str] = Counter()
    store_known = Known(store, wanted.sources)
    for group in make_groups(wanted.sources):
        plans = []
        for source, digest in zip(group.sources, _digests(store, group, wanted, chosen.engine, store_known), strict=True):
            if isinstance(digest, Failure):
                unreadable.append(digest.message)
            else:
                plans.append(plan_video(store, source, digest.content_sha256, wanted.params(source, params)))
        counts.update({stage: 0 for plan in plans for stage in plan.keys})
        counts.update(stage for missing in with_missing(group, plans, store_known).missing.values() for stage in missing)
    order = [stage.name for stage in PIPELINE if stage.name in counts]
    return Preview(len(wanted.sources), {stage: counts[stage] for stage in order}, tuple(unreadable), (*wanted.notes, *notes))


def _digests(store: Store, group: Group, wanted: Wanted, engine: Engine, store_known: Known) -> list[Digest | Failure]:
    """Digests of a group's videos, several of which are read at a time where they are not known."""
    known, limits = read_digests(store, group), StepLimits(retries=0, max_video_gb=engine.max_video_gb)
    looked_at = {} if engine.verify or not known else store_known.fingerprints()

    def digest(source: Source) -> Digest | Failure:
        if source.kind == "poses":
            return Digest(source.uri, "", wanted.poses_sha256(source))
        one = known.get(source.uri)
        if one and looked_at.get(source.uri) == one.fingerprint:
            return one
        return digest_video(source, one, None, engine.verify, limits)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(digest, group.sources))


def page(found: Preview) -> Iterator[Table | str]:
    """What a run would do, piece by piece, for a terminal."""
    table = Table("stage", "there already", "would run", title=f"{found.videos} videos, nothing written")
    for stage, count in found.missing.items():
        table.add_row(stage, str(found.videos - len(found.unreadable) - count), str(count))
    yield table
    yield from (f"[red]would fail[/]: {one_line(one)}" for one in found.unreadable)
    yield from (f"[yellow]{one_line(one)}[/]" for one in found.notes)
