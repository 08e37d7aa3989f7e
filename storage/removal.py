"""Removing artifacts that nobody needs: their commits first, so that nobody believes in parts that are gone, then their parts.

What is removed is written down under retired/ meanwhile, so that who is killed in between leaves nothing behind: whoever
comes next removes the parts. It is no withdrawal: no chunk commit and no mark stays, so no run wants the artifact again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from storage.artifacts import closed_keys, open_keys
from storage.store import Store

_THREADS = 16  # it is the store that is waited for
_Key = tuple[str, str]  # stage and key of an artifact


@dataclass(frozen=True)
class Removed:
    """What was removed: objects and their bytes."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.objects + other.objects, self.bytes + other.bytes)


def commits_of(store: Store, stage: str, keys: Collection[str]) -> dict[str, list[str]]:
    """Names of the commits, of chunks and of the whole, of those of the artifacts of a stage that have any, by two listings.

    Chunks come first: of an artifact that is whole their commits tell nothing, so it stays whole until its manifest goes.
    """
    found: dict[str, list[str]] = {}
    for prefix in (f"chunks/{stage}", f"manifests/{stage}"):
        for name in store.list(prefix):
            key = name.split("/")[2].removesuffix(".json")
            if key in keys:
                found.setdefault(key, []).append(name)
    return found


def take_away(store: Store, names: Sequence[str], may_go: Callable[[], bool]) -> bool:
    """Remove objects, and put them back where, once they are gone, they may not go any more; whether they went.

    Who has begun to rely on them before they went is seen by `may_go` afterwards; who comes later finds nothing to rely on.
    """
    if not may_go():
        return False
    with ThreadPoolExecutor(_THREADS) as pool:
        contents = list(pool.map(lambda name: _content(store, name), names))
    store.delete_all(names)
    if may_go():
        return True
    for name, content in reversed(list(zip(names, contents, strict=True))):  # the manifest before the chunks
        if content is not None:
            store.create(name, content)
    return False


def retire(store: Store, artifacts: Collection[_Key], commits: Iterable[str] = ()) -> Removed:
    """Remove artifacts: the commits that are named, then the parts. Those written anew meanwhile stay."""
    if not artifacts:
        return Removed()
    record = f"retired/{uuid.uuid4().hex}.json"
    store.write(record, json.dumps(sorted(artifacts)).encode())
    since = store.modified(record)
    store.delete_all(list(commits))
    removed = _remove_parts(store, artifacts, since) if since else Removed()
    store.delete(record)
    return removed


def finish_retirements(store: Store) -> Removed:
    """Remove the parts that others, who were killed, have left; of artifacts that have been begun anew since nothing goes."""
    removed = Removed()
    for record in store.list("retired"):
        try:
            artifacts = {(stage, key) for stage, key in json.loads(store.read(record))}
        except FileNotFoundError:
            continue  # whoever wrote it is at work, and done
        stages = {stage for stage, _ in artifacts}
        there = {(stage, key) for stage in stages for key in open_keys(store, stage) | closed_keys(store, stage)}
        since = store.modified(record)
        removed += _remove_parts(store, artifacts - there, since) if since else Removed()
        store.delete(record)
    return removed


def _remove_parts(store: Store, artifacts: Collection[_Key], since: datetime) -> Removed:
    """Remove the parts of artifacts that were not written after a time of the store's clock."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(lambda one: _remove_parts_of(store, one, since), sorted(artifacts)), Removed())


def _remove_parts_of(store: Store, artifact: _Key, since: datetime) -> Removed:
    objects = store.list_objects("artifacts/{}/{}".format(*artifact))
    old = {name: found.bytes for name, found in objects.items() if found.modified <= since}
    store.delete_all(list(old))
    return Removed(len(old), sum(old.values()))


def _content(store: Store, name: str) -> bytes | None:
    try:
        return store.read(name)
    except FileNotFoundError:
        return None
