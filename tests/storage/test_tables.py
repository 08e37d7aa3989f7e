"""The published Delta tables: replaced video by video, complete after racing writers, readable without this package."""

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from storage import tables
from storage.schemas import CORRECTIONS, FRAMES, POSES, PUBLISHED, SUSPECTS, TRACKS, VIDEOS, name_of
from storage.store import Store


@pytest.fixture
def store(any_root: str) -> Store:
    store = Store(f"{any_root}/all results, für alle")
    tables.create_tables(store)
    return store


def frames_of(video: str, count: int, run: str = "r1", shard: int = 0) -> pa.Table:
    rows = [
        {"video": video, "frame": n, "pts_ns": n * 40_000_000, "is_key_frame": n == 0, "persons": n, "run": run, "shard": shard}
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=FRAMES)


def rows_of(video: str, count: int, run: str = "r1", shard: int = 0) -> dict[str, pa.Table]:
    """A video of some frames, for all tables that a run publishes to; nobody is in view."""
    row = {name: "" if pa.types.is_string(field.type) else 0 for name, field in zip(VIDEOS.names, VIDEOS, strict=True)}
    row |= {"video": video, "frames": count, "publish_key": f"key of {run}", "run": run, "shard": shard}
    nobody = {name_of(schema): schema.empty_table() for schema in (POSES, TRACKS, SUSPECTS, CORRECTIONS)}
    return {"videos": pa.Table.from_pylist([row], schema=VIDEOS), "frames": frames_of(video, count, run, shard), **nobody}


def together(*videos: dict[str, pa.Table]) -> dict[str, pa.Table]:
    return {name: pa.concat_tables([rows[name] for rows in videos]).unify_dictionaries() for name in videos[0]}


def publish(store: Store, *videos: dict[str, pa.Table], run: str = "r1", shard: int = 0) -> set[str]:
    return tables.publish_videos(store, run, shard, together(*videos))


def counts(store: Store) -> dict[str, int]:
    rows = tables.read(store, "frames").to_pandas()
    return rows.groupby("video").size().to_dict()


def test_every_table_is_there_and_empty_before_anything_is_published(store: Store) -> None:
    for schema in PUBLISHED:
        table = tables.read(store, name_of(schema))
        assert table.num_rows == 0
        assert set(table.column_names) == set(schema.names)


def test_a_video_is_replaced_and_its_neighbours_stay(store: Store) -> None:
    publish(store, rows_of("a", 3), rows_of("b", 2))
    assert publish(store, rows_of("a", 5, "r2"), run="r2") == {"a"}
    assert counts(store) == {"a": 5, "b": 2}
    for name in ("videos", "frames"):
        assert set(tables.read(store, name, videos=["a"])["run"].to_pylist()) == {"r2"}


def test_replacing_by_nothing_removes_the_rows(store: Store) -> None:
    publish(store, rows_of("a", 3))
    publish(store, rows_of("a", 0))
    assert counts(store) == {}


def test_racing_writers_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: publish(store, rows_of(f"v{n}", n + 1, shard=n % 2), shard=n % 2), range(12)))
    assert counts(store) == {f"v{n}": n + 1 for n in range(12)}
    keys = tables.read(store, "videos")["publish_key"].to_pylist()
    assert keys == ["key of r1"] * 12


def test_of_racing_runs_the_later_one_is_published_whole(store: Store) -> None:
    for round_ in range(4):
        runs = [f"r{round_}{n}" for n in range(4)]
        with ThreadPoolExecutor(4) as pool:
            jobs = [(run, rows_of("a", 3 + n, run)) for n, run in enumerate(runs)]
            won = list(pool.map(lambda job: publish(store, job[1], run=job[0]), jobs[:: 1 if round_ % 2 else -1]))
        assert {"a"} in won
        (video,) = tables.read(store, "videos").to_pylist()
        assert (video["run"], video["publish_key"], video["frames"]) == (runs[-1], f"key of {runs[-1]}", 6)
        assert tables.read(store, "frames")["run"].to_pylist() == [runs[-1]] * 6


def test_an_earlier_run_leaves_alone_what_a_later_one_published(store: Store) -> None:
    publish(store, rows_of("a", 3, "r2"), run="r2")
    publish(store, rows_of("b", 1, "r0"), run="r0")
    assert publish(store, rows_of("a", 5, "r1"), rows_of("b", 4, "r1"), run="r1") == {"b"}
    assert counts(store) == {"a": 3, "b": 4}


def test_a_run_that_stops_in_the_middle_leaves_a_claim(store: Store) -> None:
    publish(store, rows_of("a", 3))
    broken = rows_of("a", 5, "r2") | {"tracks": pa.table({"not": ["tracks"]})}
    with pytest.raises((KeyError, ValueError, pa.ArrowInvalid)):
        publish(store, broken, run="r2")
    (video,) = tables.read(store, "videos").to_pylist()
    assert (video["run"], video["publish_key"]) == ("r2", ""), "nobody may take this for what either run published"
    publish(store, rows_of("a", 3, "r3"), run="r3")
    assert tables.read(store, "frames")["run"].to_pylist() == ["r3"] * 3


def test_a_shard_is_rewritten_though_its_files_are_gone(store: Store) -> None:
    publish(store, rows_of("a", 3), rows_of("b", 2))
    publish(store, rows_of("c", 1, shard=1), shard=1)
    for name in store.list("tables/frames/shard=0"):
        store.delete(name)
    tables.rewrite_shard(store, 0, [rows_of("a", 3), rows_of("b", 2)])
    assert counts(store) == {"a": 3, "b": 2, "c": 1}
    assert tables.read(store, "videos")["publish_key"].to_pylist() == ["key of r1"] * 3


def test_many_small_publications_are_compacted(store: Store) -> None:
    for n in range(20):
        publish(store, rows_of(f"v{n}", 2))
    assert counts(store) == {f"v{n}": 2 for n in range(20)}
    table = tables.open_table(store, "frames")
    assert table is not None
    assert len(table.file_uris()) <= 9


def test_ids_that_could_be_sql_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not an id"):
        publish(store, rows_of("x') OR 1=1 --", 1))


def test_pandas_reads_a_table_with_units_without_this_package(store: Store) -> None:
    publish(store, rows_of("a", 3))
    options = {"AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"} if store.root.startswith("s3://") else None
    table = DeltaTable(f"{store.root}/tables/frames", storage_options=options)
    frame: pd.DataFrame = table.to_pandas()
    assert frame.sort_values("frame").persons.tolist() == [0, 1, 2]
    field = next(field for field in table.schema().fields if field.name == "pts_ns")
    assert field.metadata["unit"] == "ns"
