"""What of a store can be queried: the published tables, or those of one run, and the artifacts of every stage, as Arrow datasets.

Nothing is written, and nothing is read before a dataset is scanned but what tells which rows there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from storage import runs, tables
from storage.artifacts import Artifact, DamagedArtifactError, Manifest, closed_keys
from storage.evaluation_schemas import EVALUATED
from storage.learning_schemas import TRAINED
from storage.scans import RowsByVideo, scan_parts
from storage.schemas import FAILURES, PUBLISHED, name_of, schema_of
from storage.sealed import DamagedDocumentError
from storage.store import Store
from tasks.merge import RESULTS, finished_of_run, published_rows
from tasks.pipeline import PIPELINE

_THREADS = 32  # manifests that are asked for at once
_VIDEO_TABLES = tuple(name_of(schema) for schema in RESULTS if name_of(schema) != "videos")
_SCHEMAS = {name_of(schema): schema for schema in (*PUBLISHED, *EVALUATED, *TRAINED)}


@dataclass(frozen=True)
class Shown:
    """Where a video's rows come from: the run, and the group of videos that its plan is written with."""

    run: str
    shard: int


@dataclass(frozen=True)
class Entry:
    """A table that can be queried.

    schema    its columns, with descriptions and units in their metadata
    stages    names of the stages whose artifacts hold the rows; empty for a published table
    """

    name: str
    schema: pa.Schema
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Extent:
    """How much of a table there is: rows, None where they were not counted; of a stage's also the videos that have it, and that
    were to have it.
    """

    rows: int | None
    videos: int | None = None
    planned: int | None = None


@dataclass(frozen=True)
class Catalog:
    """The tables of a store: of the latest state of every video, or of one run that is there.

    missing   what scans found to be gone: by table, how many videos' artifacts were not there, and of how many they were wanted
    """

    store: Store
    run: str | None
    missing: dict[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The tables that there are, by name: those of the output, then those of the stages in their order."""
        if self.run is None:
            published = [name for name in _SCHEMAS if name in self._there]
        else:
            published = [*(name_of(schema) for schema in RESULTS), name_of(FAILURES)]
        made = {name_of(stage.output): queryable(stage.output) for stage in PIPELINE}
        stages = {name: tuple(stage.name for stage in PIPELINE if name_of(stage.output) == name) for name in made}
        return {name: Entry(name, _SCHEMAS[name], ()) for name in published} | {
            name: Entry(name, schema, stages[name]) for name, schema in made.items() if self._videos
        }

    def open(self, name: str) -> ds.Dataset:
        """A table of `entries`. A scan of it may raise StoreError, DamagedArtifactError, or what the store's library raises."""
        entry = self.entries[name]
        if entry.stages:
            return RowsByVideo(plain(entry.schema), self._videos, lambda *asked: self._scan_stage(entry, *asked))
        if self.run is None:
            return self._published(name)
        if name == name_of(FAILURES):
            rows = [{**asdict(failure), "run": self.run} for failure in runs.read_failures(self.store, self.run)]
            return ds.dataset(pa.Table.from_pylist(rows, schema=FAILURES).cast(plain(FAILURES)))
        return RowsByVideo(plain(entry.schema), self._videos, lambda *asked: self._scan_run(name, *asked))

    def extent(self, name: str, *, is_counted: bool) -> Extent:
        """How much of a table there is. Rows of stages, and of a run's tables, are counted only where that is asked for, since it
        takes a request a video.
        """
        entry = self.entries[name]
        if not entry.stages:
            if self.run is None:
                return Extent(tables.count(self.store, name))
            return Extent(self.open(name).count_rows() if is_counted else None)
        keys = self._keys(entry, list(self._videos))
        closed = {stage: closed_keys(self.store, stage) for stage in entry.stages}
        there = {video: one for video, one in keys.items() if one.key in closed[one.stage]}
        rows = sum(manifest.rows for manifest in self._manifests(there).values()) if is_counted else None
        return Extent(rows, len(there), len(keys))

    @cached_property
    def _there(self) -> frozenset[str]:
        """Names of the tables that the output has."""
        return frozenset(self.store.folders("tables"))

    @cached_property
    def _videos(self) -> dict[str, Shown]:
        """Every video that has rows, or that the run planned."""
        if self.run is None and "videos" not in self._there:
            return {}
        if self.run is None:
            rows = tables.dataset(self.store, "videos").to_table(columns=["video", "run", "shard"]).to_pylist()
            return {row["video"]: Shown(row["run"], row["shard"]) for row in rows}
        plan = self._plan(self.run, None).select(["video", "shard"]).group_by(["video", "shard"]).aggregate([]).to_pylist()
        return {row["video"]: Shown(self.run, row["shard"]) for row in plan}

    def _published(self, name: str) -> ds.Dataset:
        """A published table. Of those that are sorted by video no more shards are read than the filter leaves videos in."""
        if name not in _VIDEO_TABLES:
            return tables.dataset(self.store, name)
        with ThreadPoolExecutor(1) as pool:  # two tables are opened, which each takes some requests
            opened = pool.submit(tables.dataset, self.store, name)
            videos = self._videos
            dataset = opened.result()

        def scan(left: Sequence[str], columns: list[str] | None, filter: pc.Expression | None) -> ds.Scanner:
            if len(left) < len(videos):
                shards = pa.array(sorted({videos[video].shard for video in left}), pa.int32())
                filter = filter & ds.field("shard").isin(shards)
            return dataset.scanner(columns=columns, filter=filter)

        return RowsByVideo(dataset.schema, videos, scan)

    def _scan_run(
        self, name: str, videos: Sequence[str], columns: list[str] | None, filter: pc.Expression | None
    ) -> ds.Scanner:
        """Rows of a run's table, which are made of its artifacts anew, a video at a time."""
        assert self.run is not None
        run = self.run

        def batches() -> Iterator[pa.RecordBatch]:
            for finished in finished_of_run(self.store, run, videos):
                yield from tables.as_written(name, published_rows(self.store, run, finished)[name]).to_batches()

        return ds.Scanner.from_batches(batches(), schema=plain(_SCHEMAS[name]), columns=columns, filter=filter)

    def _scan_stage(
        self, entry: Entry, videos: Sequence[str], columns: list[str] | None, filter: pc.Expression | None
    ) -> ds.Scanner:
        keys = self._keys(entry, videos)
        manifests = self._manifests(keys)
        if len(manifests) < len(keys):
            self.missing[entry.name] = (len(keys) - len(manifests), len(keys))
        parts = {video: [chunk.part for chunk in manifest.chunks] for video, manifest in manifests.items()}
        return scan_parts(self.store, plain(entry.schema), parts, columns, filter)

    def _keys(self, entry: Entry, videos: Collection[str]) -> dict[str, Artifact]:
        """The artifact of each of the videos whose rows were made with one of the table's stages."""
        found = {}
        wanted = pa.array(videos, pa.string())
        for run, shard in sorted({(self._videos[video].run, self._videos[video].shard) for video in videos}):
            plan = self._plan(run, shard)
            own = plan.filter(
                pc.and_(pc.is_in(plan["video"], wanted), pc.is_in(plan["stage"], pa.array(entry.stages, pa.string())))
            )
            for row in own.select(["video", "stage", "key"]).to_pylist():
                if self._videos[row["video"]].run == run:
                    found[row["video"]] = Artifact(self.store, row["stage"], row["key"])
        return found

    def _manifests(self, artifacts: Mapping[str, Artifact]) -> dict[str, Manifest]:
        """Manifests of those that are whole, by video."""
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(_manifest, artifacts.values())
            return {video: manifest for video, manifest in zip(artifacts, found, strict=True) if manifest is not None}

    def _plan(self, run: str, shard: int | None) -> pa.Table:
        return runs.read_plan(self.store, run, shard)


def queryable(output: pa.Schema) -> pa.Schema:
    """Schema under which a stage's rows are queried: with `video`, and without float16, which SQL knows not (full heatmaps)."""
    video = _SCHEMAS["videos"].field("video")
    known = [one for one in output if not (pa.types.is_large_list(one.type) and pa.types.is_float16(one.type.value_type))]
    described = {key.decode(): value.decode() for key, value in output.metadata.items()}
    return schema_of(described["name"], described["description"], video, *known)


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with plain strings for dictionaries, and without metadata: as rows are queried."""
    kinds = ((one.name, pa.string() if pa.types.is_dictionary(one.type) else one.type) for one in schema)
    return pa.schema([pa.field(name, kind) for name, kind in kinds])


def _manifest(artifact: Artifact) -> Manifest | None:
    try:
        return artifact.read_manifest()
    except DamagedDocumentError as error:
        what = f"the manifest of {artifact.stage}/{artifact.key} is damaged ({error})"
        raise DamagedArtifactError(f"{what}; `tkm verify {artifact.store.root}` puts right what can be") from error
