"""What a run would do, without doing it: `tkm annotate --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from flows.detections import wanted_videos
from flows.groups import make_groups, read_digests, with_missing
from flows.settings import StepLimits
from flows.terminal import one_line
from flows.weights import chosen_params
from flows.work import Digest, digest_video
from storage.runs import Failure
from storage.store import Store
from tasks.pipeline import PIPELINE
from tasks.plan import plan_video


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
    params, notes = chosen_params(store, wanted, chosen, write=False)
    limits = StepLimits(retries=0, max_video_gb=chosen.engine.max_video_gb)
    counts: Counter[str] = Counter()
    for group in make_groups(wanted.sources):
        known = read_digests(store, group)
        plans = []
        for source in group.sources:
            if source.kind == "poses":
                digest: Digest | Failure = Digest(source.uri, "", wanted.poses_sha256(source))
            else:
                digest = digest_video(source, known.get(source.uri), None, chosen.engine.verify, limits)
            if isinstance(digest, Failure):
                unreadable.append(digest.message)
            else:
                plans.append(plan_video(store, source, digest.content_sha256, wanted.params(source, params)))
        counts.update({stage: 0 for plan in plans for stage in plan.keys})
        counts.update(stage for missing in with_missing(group, plans, store).missing.values() for stage in missing)
    order = [stage.name for stage in PIPELINE if stage.name in counts]
    return Preview(len(wanted.sources), {stage: counts[stage] for stage in order}, tuple(unreadable), (*wanted.notes, *notes))


def page(found: Preview) -> Iterator[Table | str]:
    """What a run would do, piece by piece, for a terminal."""
    table = Table("stage", "there already", "would run", title=f"{found.videos} videos, nothing written")
    for stage, count in found.missing.items():
        table.add_row(stage, str(found.videos - len(found.unreadable) - count), str(count))
    yield table
    yield from (f"[red]would fail[/]: {one_line(one)}" for one in found.unreadable)
    yield from (f"[yellow]{one_line(one)}[/]" for one in found.notes)
