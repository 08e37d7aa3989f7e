"""Corrections: what people changed is kept and published, listed, and revoked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from flows.again import Wanted, recorded_params
from storage import runs, tables
from storage.annotated import AnnotatedVideo, Format, read_annotated
from storage.corrections import (
    Correction,
    Kept,
    in_force,
    list_corrections,
    read_correction,
    revoke,
    write_correction,
)
from storage.documents import read_document
from storage.sources import InputError, find_files
from storage.store import Store, StoreError
from tasks.changes import edits_of
from tasks.correct import records_of
from tasks.merge import Finished, finished_of_run, published_rows
from tkm.corrections import Edit

_THREADS = 16  # it is the store that is waited for
_AUTHOR_CHARACTERS = 200
_SUFFIXES = (".json", ".xml", ".zip")


@dataclass(frozen=True)
class Change:
    """What an import changes of one video, of the results of a run: edits that no correction in force has yet."""

    video: str
    run: str
    skeleton: str
    edits: tuple[Edit, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Edits by kind."""
        return dict(Counter(edit.kind for edit in self.edits))


@dataclass(frozen=True)
class Changes:
    """What a file or folder, of that digest, changes, in order; ids of all videos that it tells of; how many edits of it are kept
    already; sentences on what cannot be brought back.
    """

    source: str
    source_sha256: str
    videos: tuple[Change, ...]
    seen: tuple[str, ...]
    known: int
    ignored: tuple[str, ...]


def read_changes(store: Store, path: str, format_: Format | None) -> Changes:
    """What people changed. InputError, which names the file, where it cannot be read, or is not of a run of this store."""
    annotated = read_annotated(path, format_)
    if not annotated:
        raise InputError(f"{path} holds no video that was exported to be corrected; write one with `tkm export {store.root}`")
    return changes_of(store, path, _digest(path), annotated)


def changes_of(store: Store, path: str, sha256: str, annotated: Sequence[AnnotatedVideo]) -> Changes:
    """What people changed, of what was read of a file or folder of that digest. InputError as in `read_changes`."""
    kept = in_force(store)
    found, known = [], 0
    exported = {run: _exported(store, path, run, [one.video for one in annotated if one.run == run]) for run in _runs(annotated)}
    for one in annotated:
        change = _change(store, path, one, exported[one.run].get(one.video))
        there = {
            edit
            for name in kept.get(one.video, ())
            for earlier in [read_correction(store, one.video, name)]
            if earlier.run == one.run
            for edit in earlier.edits
        }
        new = tuple(edit for edit in change.edits if edit not in there)
        known += len(change.edits) - len(new)
        if new:
            found.append(Change(change.video, change.run, change.skeleton, new))
    ignored = tuple(line for one in annotated for line in one.ignored)
    name, seen = path.rstrip("/").rpartition("/")[2], tuple(one.video for one in annotated)
    return Changes(name, sha256, tuple(found), seen, known, ignored)


def keep_changes(store: Store, changes: Changes, author: str) -> list[str]:
    """Keep an import's edits, a correction a video; their names."""
    if not author.strip() or len(author) > _AUTHOR_CHARACTERS:
        raise InputError(f"--author: a name of 1 to {_AUTHOR_CHARACTERS} characters is expected")

    def keep(one: Change) -> str:
        own = Correction(one.video, author, changes.source, changes.source_sha256, one.run, one.skeleton, one.edits)
        return write_correction(store, own)

    return [keep(one) for one in changes.videos]  # in their order, for one video may be there several times


def to_publish(store: Store, videos: Sequence[str]) -> list[str]:
    """Those of the videos whose rows in the tables have not exactly the corrections in force, or are being replaced."""
    if not videos:
        return []
    wanted, shown = in_force(store), tables.published_keys(store, videos=videos)
    rows = tables.read(store, "videos", videos=videos, columns=["video", "run", "shard"]).to_pylist()
    plans: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}  # by run and video, its stages
    for run, shard in {(row["run"], row["shard"]) for row in rows}:
        for planned in runs.read_plan(store, run, shard).to_pylist():
            plans.setdefault((run, planned["video"]), {})[planned["stage"]] = planned
    found = []
    for row in rows:
        own = plans.get((row["run"], row["video"]))
        has = records_of(recorded_params(own)) if own else ()
        if not own or has != wanted.get(row["video"], ()) or shown.get(row["video"]) != own["publish"]["key"]:
            found.append(row["video"])
    return sorted(found)


def told_of(store: Store, wanted: Wanted) -> tuple[int, tuple[str, ...]]:
    """Of the edits of a run's videos, how many their rows have, and a sentence on each that they have not."""
    videos = {source.video_id for source in wanted.sources} & wanted.corrections.keys()
    if not videos:
        return 0, ()
    rows = tables.read(store, "corrections", videos=videos).to_pylist()
    return sum(row["is_applied"] for row in rows), tuple(_not_applied(row) for row in rows if not row["is_applied"])


def _not_applied(row: Mapping[str, Any]) -> str:
    return f"{row['video']}, frame {row['frame']}: {row['what']} ({row['kind']}, {row['correction']}): {row['why']}"


@dataclass(frozen=True)
class Listed:
    """A correction as it is listed: who made it, of what, its edits in words, and what became of them.

    state    `in force`, `revoked`, or `not published yet` where the tables do not show it
    edits    rows of table `corrections`; of one that the tables do not show none
    """

    correction: str
    video: str
    created: str
    author: str
    source: str
    run: str
    state: str
    kinds: Mapping[str, int]
    not_applied: int
    edits: tuple[Mapping[str, Any], ...]


def listed(store: Store, video: str | None) -> list[Listed]:
    """Every correction that was ever made, of all videos or one, in order.

    Args: video, an id or a name. InputError where no video is called so.
    """
    by_video = list_corrections(store)
    if video is not None:
        names = tables.read(store, "videos", columns=["video", "name"]).to_pylist()
        chosen = {row["video"] for row in names if video in (row["video"], row["name"])} | ({video} & by_video.keys())
        if not chosen:
            raise InputError(f"{store.root} shows no video {video}; give its id or name, as table `videos` has it")
        by_video = {own: kept for own, kept in by_video.items() if own in chosen}
    kept = [one for own in by_video.values() for one in own]
    with ThreadPoolExecutor(_THREADS) as pool:
        made = list(pool.map(lambda one: read_correction(store, one.video, one.name), kept))
    shown: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in tables.read(store, "corrections", videos=by_video or None).to_pylist():
        shown.setdefault((row["video"], row["correction"]), []).append(row)
    return [_listed(one, correction, shown.get((one.video, one.id), [])) for one, correction in zip(kept, made, strict=True)]


def _listed(kept: Kept, correction: Correction, rows: Sequence[Mapping[str, Any]]) -> Listed:
    return Listed(
        correction=kept.id,
        video=kept.video,
        created=kept.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        author=correction.author,
        source=correction.source,
        run=correction.run,
        state="revoked" if kept.is_revoked else "in force" if rows else "not published yet",
        kinds=dict(Counter(edit.kind for edit in correction.edits)),
        not_applied=sum(not row["is_applied"] for row in rows),
        edits=tuple(rows),
    )


def revoke_all(store: Store, ids: Sequence[str], author: str) -> list[str]:
    """Take corrections back, by the beginnings of their ids; ids of the videos that they were of. InputError for unknown ones."""
    kept = [one for own in list_corrections(store).values() for one in own]
    chosen = []
    for given in ids:
        found = [one for one in kept if given and one.name.rpartition("-")[2].startswith(given)]
        if len(found) != 1:
            what = "several corrections have this id; give more of it" if found else "there is no such correction"
            raise InputError(f"--revoke {given}: {what}; `tkm corrections {store.root}` lists them")
        chosen += found
    for one in chosen:
        if not one.is_revoked:
            revoke(store, one, author)
    return sorted({one.video for one in chosen})


def _runs(annotated: Sequence[AnnotatedVideo]) -> set[str]:
    return {one.run for one in annotated}


def _exported(store: Store, path: str, run: str, videos: Sequence[str]) -> dict[str, Finished]:
    """Of a run, those of the videos whose rows it has; its plan is read once, however many they are."""
    try:
        return {one.video: one for one in finished_of_run(store, runs.find_run(store, run), set(videos))}
    except StoreError as error:
        raise InputError(f"{path}: it was exported from a run that is not there any more: {error}") from None


def _change(store: Store, path: str, one: AnnotatedVideo, finished: Finished | None) -> Change:
    """What people changed of one video."""
    rows = published_rows(store, one.run, finished)["poses"] if finished else None
    if rows is None or not rows.num_rows:
        where = f"run {one.run} of {store.root}"
        raise InputError(f"{path}: {where} has nobody in video {one.video}; import it where it was exported")
    try:
        edits = edits_of(rows, one)
    except ValueError as error:
        raise InputError(f"{path}: video {one.video}: {error}") from None
    return Change(one.video, one.run, str(rows["skeleton"][0].as_py()), edits)


def _digest(path: str) -> str:
    """Digest of the files that were imported, and of their names where they are several."""
    uris = find_files(path, _SUFFIXES, "the corrected files")
    digests = [hashlib.sha256(read_document(uri)).hexdigest() for uri in uris]
    if len(uris) == 1:
        return digests[0]
    told = "".join(f"{uri.rpartition('/')[2]} {digest}\n" for uri, digest in zip(uris, digests, strict=True))
    return hashlib.sha256(told.encode()).hexdigest()
