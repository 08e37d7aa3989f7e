"""Artifacts: what a stage made of a video, committed chunk by chunk, closed by a manifest. The only truth about what is done.

    artifacts/<stage>/<key>/<start>-<stop>-<digest>.parquet   rows of the sampled frames [start, stop)
    chunks/<stage>/<key>/<start>-<stop>.json                  commits one chunk of several
    chunks/<stage>/<key>/withdrawn                            chunks were taken back: it is wanted whole again
    manifests/<stage>/<key>.json                              commits the whole, and lists its chunks

Frames are counted by their place among the sampled frames. Neither chunk bounds nor workers are part of a key, so
artifacts that were begun with another chunk length are simply continued.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.parquet import parquet_bytes, read_parquet
from storage.sealed import DamagedDocumentError, OtherFormError, is_damaged, seal, unseal
from storage.store import Store, StoreError


class DamagedArtifactError(RuntimeError):
    """What was committed is not there any more; the damaged chunks are withdrawn, and the next attempt computes them again."""


@dataclass(frozen=True)
class Part:
    """One Parquet file: its name below the root, size, SHA-256 and number of rows."""

    name: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Chunk:
    """The sampled frames [start, stop) of an artifact.

    state    what a sequential stage carries on to the next chunk, or what one that sees all frames tells beside its rows
    """

    start: int
    stop: int
    part: Part
    state: Part | None
    seconds: float
    device: str

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Chunk:
        """Inverse of dataclasses.asdict."""
        state = value["state"]
        return Chunk(**{**value, "part": Part(**value["part"]), "state": Part(**state) if state else None})


@dataclass(frozen=True)
class Manifest:
    """The commit of a whole artifact: what it was computed from, how, and the parts that hold it."""

    stage: str
    key: str
    version: int
    params: Mapping[str, Any]
    weights: Mapping[str, str]
    inputs: Mapping[str, str]
    chunks: tuple[Chunk, ...]
    rows: int
    bytes: int
    seconds: float
    environment: Mapping[str, str]

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Manifest:
        """Inverse of dataclasses.asdict."""
        return Manifest(**{**value, "chunks": tuple(Chunk.from_json(chunk) for chunk in value["chunks"])})


@dataclass(frozen=True)
class Provenance:
    """How an artifact was made: what its key is the digest of, and on what."""

    version: int
    params: Mapping[str, Any]
    weights: Mapping[str, str]
    inputs: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Progress:
    """What is committed of an artifact.

    chunks     in frame order, without overlap; of overlapping ones (two runs at once) the earlier start
    is_whole   its manifest is there
    is_new     nothing of it is there: no manifest, no chunk's commit, and it was not withdrawn
    """

    chunks: tuple[Chunk, ...]
    is_whole: bool
    is_new: bool


def artifact_key(
    stage: str, version: int, params: Mapping[str, Any], weights: Mapping[str, str], inputs: Mapping[str, str]
) -> str:
    """Digest (40 hex digits) of everything that decides a stage's rows.

    `weights` maps the names of the weights that the stage uses to their digests; `inputs` maps input stages to their
    keys, and at the root `content` to the digest of the video's content, never its path.
    """
    facts = {"stage": stage, "version": version, "params": params, "weights": weights, "inputs": inputs}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:40]


_Commit = TypeVar("_Commit", Chunk, Manifest)


@dataclass(frozen=True)
class Artifact:
    """The artifact of one stage and key in a store."""

    store: Store
    stage: str
    key: str

    @property
    def _manifest_name(self) -> str:
        return f"manifests/{self.stage}/{self.key}.json"

    @property
    def _chunks_prefix(self) -> str:
        return f"chunks/{self.stage}/{self.key}"

    @property
    def _withdrawn_name(self) -> str:
        return f"{self._chunks_prefix}/withdrawn"

    def manifest(self) -> Manifest | None:
        """The closing manifest, or None where the artifact is not whole. One that is damaged is withdrawn.

        StoreError for one of another form: another version of this package wrote it, so it stays.
        """
        try:
            return self.read_manifest()
        except DamagedDocumentError:
            self.store.write(self._withdrawn_name, b"")
            self.store.delete(self._manifest_name)
            return None

    def read_manifest(self) -> Manifest | None:
        """As `manifest`, for those who must change nothing: DamagedDocumentError where it is damaged."""
        try:
            manifest = self._understood(Manifest.from_json, self._manifest_name)
        except FileNotFoundError:
            return None
        self._check_own(manifest.chunks, self._manifest_name)
        return manifest

    def chunks(self) -> list[Chunk]:
        """Committed chunks in frame order, without overlap."""
        return list(self.progress().chunks)

    def progress(self) -> Progress:
        """What is committed."""
        while True:
            manifest = self.manifest()
            if manifest:
                return Progress(manifest.chunks, is_whole=True, is_new=False)
            try:
                names = self.store.list(self._chunks_prefix)
                found = self._committed(names)
                break
            except FileNotFoundError:  # closed, or withdrawn, by another worker between listing and reading
                continue
        found.sort(key=lambda chunk: (chunk.start, -chunk.stop))
        chosen: list[Chunk] = []
        for chunk in found:
            if not chosen or chunk.start >= chosen[-1].stop:
                chosen.append(chunk)
        return Progress(tuple(chosen), is_whole=False, is_new=not names)

    def committed(self) -> list[Chunk]:
        """Chunks with a commit of their own, also such as lie over one another; FileNotFoundError where one goes meanwhile."""
        return self._committed(self.store.list(self._chunks_prefix))

    def _committed(self, names: Iterable[str]) -> list[Chunk]:
        return [chunk for name in names if name.endswith(".json") and (chunk := self._chunk(name))]

    def _chunk(self, name: str) -> Chunk | None:
        """A chunk's commit; None for one that is damaged, which is taken back. StoreError as in `manifest`."""
        try:
            chunk = self._understood(Chunk.from_json, name)
        except DamagedDocumentError:
            self.store.delete(name)
            return None
        self._check_own([chunk], name)
        return chunk

    def _check_own(self, chunks: Iterable[Chunk], name: str) -> None:
        """Raise StoreError where what a file of the store tells, which others may have written, is no chunk of this artifact.

        Nothing else may be read, or removed, in its name.
        """
        own = f"artifacts/{self.stage}/{self.key}/"
        for chunk in chunks:
            parts = [part for part in (chunk.part, chunk.state) if part]
            is_span = type(chunk.start) is type(chunk.stop) is int and 0 <= chunk.start <= chunk.stop
            if not is_span or not all(str(part.name).startswith(own) and "/" not in part.name[len(own) :] for part in parts):
                raise StoreError(
                    f"{self.store.root}/{name} names what is not of this artifact: this package did not write it so; remove it "
                    "and run again"
                )

    def _understood(self, from_json: Callable[[Any], _Commit], name: str) -> _Commit:
        try:
            return unseal(self.store.read(name), from_json)
        except OtherFormError as error:
            raise StoreError(f"{self.store.root}/{name} {error}; use the version that wrote it") from error

    def damaged_commits(self) -> list[str]:
        """A sentence on each commit, of the whole or of a chunk, that is not what was written. `chunks` takes them back."""
        commits = [name for name in self.store.list(self._chunks_prefix) if name.endswith(".json")]
        found = []
        for name in (self._manifest_name, *commits):
            with suppress(FileNotFoundError):
                if is_damaged(self.store.read(name)):
                    found.append(f"{name} is not what was written")
        return found

    def commit(
        self, start: int, stop: int, table: pa.Table, state: pa.Table | None = None, *, seconds: float, device: str
    ) -> None:
        """Write the rows of the sampled frames [start, stop), then their commit. A lost race changes nothing."""
        chunk = self._written(start, stop, table, state, seconds, device)
        self.store.create(f"{self._chunks_prefix}/{start:09d}-{stop:09d}.json", seal(asdict(chunk)))

    def commit_whole(
        self,
        frames: int,
        table: pa.Table,
        state: pa.Table | None = None,
        *,
        seconds: float,
        device: str,
        provenance: Provenance,
    ) -> None:
        """Write the rows of all sampled frames of a new artifact, then its manifest: its one chunk needs no commit of its own."""
        chunk = self._written(0, frames, table, state, seconds, device)
        self._create_manifest((chunk,), provenance)

    def close(self, frames: int, provenance: Provenance, found: Progress | None = None) -> None:
        """Commit the whole, once its chunks cover all sampled frames (RuntimeError otherwise), and drop the chunks' commits.

        `found` is what the caller has just seen of it, if it has.
        """
        found = found or self.progress()
        if found.is_whole:
            return
        edges = [0, *(edge for chunk in found.chunks for edge in (chunk.start, chunk.stop)), frames]
        if any(stop != start for stop, start in zip(edges[::2], edges[1::2], strict=True)):
            raise RuntimeError(f"{self.stage}/{self.key} has chunks {edges[1:-1]} of {frames} frames; it cannot be closed")
        self._create_manifest(found.chunks, provenance)
        for name in self.store.list(self._chunks_prefix):
            self.store.delete(name)

    def _create_manifest(self, chunks: tuple[Chunk, ...], provenance: Provenance) -> None:
        parts = [part for chunk in chunks for part in (chunk.part, chunk.state) if part]
        manifest = Manifest(
            stage=self.stage,
            key=self.key,
            version=provenance.version,
            params=provenance.params,
            weights=provenance.weights,
            inputs=provenance.inputs,
            chunks=chunks,
            rows=sum(chunk.part.rows for chunk in chunks),
            bytes=sum(part.bytes for part in parts),
            seconds=round(sum(chunk.seconds for chunk in chunks), 3),
            environment=provenance.environment,
        )
        self.store.create(self._manifest_name, seal(asdict(manifest)))

    def read(self, columns: list[str] | None = None, manifest: Manifest | None = None) -> pa.Table:
        """All rows in frame order; DamagedArtifactError where it is not whole. Digests are checked as in read_span.

        `manifest` is its own, where the caller has just read it.
        """
        manifest = manifest or self.manifest()
        if manifest is None:
            raise DamagedArtifactError(f"{self.store.root} holds no whole artifact {self.stage}/{self.key}")
        tables = [self._read_part(chunk, chunk.part) for chunk in manifest.chunks]
        return pa.concat_tables([table if columns is None else table.select(columns) for table in tables])

    def read_span(
        self,
        start: int,
        stop: int,
        frames: NDArray[np.int64],
        chunks: list[Chunk],
        held: dict[Chunk, pa.Table] | None = None,
    ) -> pa.Table:
        """Rows of the sampled frames [start, stop) from committed chunks (of `chunks()`), in frame order.

        `frames` (T,) int64 holds the numbers of all sampled frames. Every part's digest is checked: DamagedArtifactError
        names the part that does not match, after withdrawing what is damaged, or the frames that no chunk holds. Chunks in
        `held` are not read again; it then holds those of this span, for the next one to begin with.
        """
        known = dict(held) if held else {}
        if held is not None:
            held.clear()
        tables, reached = [], start
        for chunk in chunks:
            if chunk.stop <= start or chunk.start >= stop or chunk.start > reached:
                continue
            reached = chunk.stop
            table = known[chunk] if chunk in known else self._read_part(chunk, chunk.part)
            if held is not None:
                held[chunk] = table
            if chunk.start < start or chunk.stop > stop:
                frame = table["frame"]
                wanted = pc.and_(pc.greater_equal(frame, frames[start]), pc.less_equal(frame, frames[stop - 1]))
                table = table.filter(wanted)
            tables.append(table)
        if reached < stop:
            raise DamagedArtifactError(f"{self.stage}/{self.key} lacks the sampled frames from {reached} of [{start}, {stop})")
        return pa.concat_tables(tables)

    def state_before(self, start: int) -> pa.Table | None:
        """What the chunk that ends at `start` carries on, or tells beside its rows; None at the beginning."""
        for chunk in self.chunks():
            if chunk.stop == start and chunk.state:
                return self._read_part(chunk, chunk.state)
        return None

    def damage(self, chunk: Chunk) -> str | None:
        """What is wrong with the bytes of a chunk, all of which are read; None where nothing is."""
        for part in (part for part in (chunk.part, chunk.state) if part):
            found = self._damage(part)[1]
            if found:
                return f"{part.name} {found}"
        return None

    def _damage(self, part: Part) -> tuple[bytes, str]:
        """A part's bytes, and what is wrong with them, or nothing."""
        try:
            data = self.store.read(part.name)
        except FileNotFoundError:
            return b"", "is missing"
        return data, "" if hashlib.sha256(data).hexdigest() == part.sha256 else "has other bytes than were committed"

    def _read_part(self, chunk: Chunk, part: Part) -> pa.Table:
        data, damage = self._damage(part)
        if damage:
            self.withdraw_damaged([chunk, *(other for other in self.chunks() if self._is_cut(other))])
            raise DamagedArtifactError(f"{part.name} {damage}; its chunk is withdrawn and the next attempt computes it again")
        return read_parquet(data)

    def _is_cut(self, chunk: Chunk) -> bool:
        """Whether a part of the chunk is missing or of another size, which no reading is needed to see."""
        return any(self.store.size(part.name) != part.bytes for part in (chunk.part, chunk.state) if part)

    def withdraw_damaged(self, damaged: Iterable[Chunk]) -> None:
        """Take back those of the chunks that are still committed: who removes an artifact takes its commits first."""
        committed = set(self.chunks())
        there = [chunk for chunk in damaged if chunk in committed]
        if there:
            self.withdraw(there)

    def withdraw(self, damaged: Iterable[Chunk]) -> None:
        """Take chunks back: the artifact is open again, and wanted; its other chunks stay committed."""
        gone = {(chunk.start, chunk.stop) for chunk in damaged}
        self.store.write(self._withdrawn_name, b"")
        for chunk in self.chunks():
            name = f"{self._chunks_prefix}/{chunk.start:09d}-{chunk.stop:09d}.json"
            if (chunk.start, chunk.stop) in gone:
                self.store.delete(name)
            else:
                self.store.create(name, seal(asdict(chunk)))
        self.store.delete(self._manifest_name)

    def _written(
        self, start: int, stop: int, table: pa.Table, state: pa.Table | None, seconds: float, device: str
    ) -> Chunk:
        stem = f"artifacts/{self.stage}/{self.key}/{start:09d}-{stop:09d}"
        return Chunk(
            start=start,
            stop=stop,
            part=self._write(stem, table),
            state=None if state is None else self._write(f"{stem}-state", state),
            seconds=round(seconds, 3),
            device=device,
        )

    def _write(self, stem: str, table: pa.Table) -> Part:
        data = parquet_bytes(table)
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{stem}-{sha256[:12]}.parquet"
        self.store.write(name, data)
        return Part(name=name, bytes=len(data), sha256=sha256, rows=table.num_rows)


def closed_keys(store: Store, stage: str) -> set[str]:
    """Keys of all whole artifacts of a stage, by one listing."""
    return {name.rsplit("/", 1)[1].removesuffix(".json") for name in store.list(f"manifests/{stage}")}


def open_keys(store: Store, stage: str) -> set[str]:
    """Keys of the artifacts of a stage that were begun, or partly withdrawn, and are not whole, by one listing.

    Ask before `closed_keys`: what is closed in between is then in both.
    """
    return {name.split("/")[2] for name in store.list(f"chunks/{stage}")}


def all_keys(store: Store) -> dict[str, set[str]]:
    """Keys of all artifacts, begun or whole, by stage."""
    keys: dict[str, set[str]] = {}
    for name in (*store.list("chunks"), *store.list("manifests")):
        _, stage, key = name.split("/")[:3]
        keys.setdefault(stage, set()).add(key.removesuffix(".json"))
    return keys

