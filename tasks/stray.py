"""Parts and commits that count for nothing: of writers who were killed before they committed, or who lost a race."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from storage.artifacts import Artifact
from storage.store import Object, Store

_PART = re.compile(r"(\d{9})-(\d{9})(-state)?-[0-9a-f]{12}\.parquet")


def stray_parts(store: Store, stage: str, key: str, parts: Collection[str], *, is_closed: bool) -> set[str]:
    """Those of an artifact's parts, all of which are given by name, that no commit names.

    Of an artifact that is whole the manifest is read only where there are more parts than it can have: its chunks follow one
    another without overlap, so a part that it does not name lies over one that it does.
    """
    if is_closed and _follow_one_another(parts):
        return set()
    artifact = Artifact(store, stage, key)
    manifest = artifact.manifest()
    chunks = manifest.chunks if manifest else artifact.committed()
    named = {part.name for chunk in chunks for part in (chunk.part, chunk.state) if part}
    return set(parts) - named


def stray_commits(commits: Mapping[str, Object], closed: Collection[str]) -> Iterable[str]:
    """Commits of chunks, by name, of artifacts that are whole, which tell all of it."""
    return [name for name in commits if name.split("/")[2] in closed]


def _follow_one_another(parts: Iterable[str]) -> bool:
    """Whether there is one part, and at most one state, for each chunk, and no chunk lies over another."""
    spans: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    for name in parts:
        found = _PART.fullmatch(name.rpartition("/")[2])
        if found is None:
            return False
        spans[found[3] is not None].append((int(found[1]), int(found[2])))
    chunks = sorted(spans[False])
    has_own_states = len(set(spans[True])) == len(spans[True]) and set(spans[True]) <= set(chunks)
    return has_own_states and all(stop <= start for (_, stop), (start, _) in pairwise(chunks))
