"""The published Delta tables: replaced video by video, complete after racing writers, readable without this package."""

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from storage import tables
from storage.schemas import FRAMES, PUBLISHED, name_of
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


def counts(store: Store) -> dict[str, int]:
    rows = tables.read(store, "frames").to_pandas()
    return rows.groupby("video").size().to_dict()


def test_every_table_is_there_and_empty_before_anything_is_published(store: Store) -> None:
    for schema in PUBLISHED:
        table = tables.read(store, name_of(schema))
        assert table.num_rows == 0
        assert set(table.column_names) == set(schema.names)


def test_a_video_is_replaced_and_its_neighbours_stay(store: Store) -> None:
    both = pa.concat_tables([frames_of("a", 3), frames_of("b", 2)]).unify_dictionaries()
    tables.replace_videos(store, 0, ["a", "b"], {"frames": both})
    tables.replace_videos(store, 0, ["a"], {"frames": frames_of("a", 5, "r2")})
    assert counts(store) == {"a": 5, "b": 2}
    runs = tables.read(store, "frames", videos=["a"])["run"].to_pylist()
    assert set(runs) == {"r2"}


def test_replacing_by_nothing_removes_the_rows(store: Store) -> None:
    tables.replace_videos(store, 0, ["a"], {"frames": frames_of("a", 3)})
    tables.replace_videos(store, 0, ["a"], {"frames": frames_of("a", 0)})
    assert counts(store) == {}


def test_racing_writers_lose_nothing(store: Store) -> None:
    def publish(n: int) -> None:
        tables.replace_videos(store, n % 2, [f"v{n}"], {"frames": frames_of(f"v{n}", n + 1, shard=n % 2)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(12)))
    assert counts(store) == {f"v{n}": n + 1 for n in range(12)}


def test_many_small_publications_are_compacted(store: Store) -> None:
    for n in range(20):
        tables.replace_videos(store, 0, [f"v{n}"], {"frames": frames_of(f"v{n}", 2)})
    assert counts(store) == {f"v{n}": 2 for n in range(20)}
    table = tables.open_table(store, "frames")
    assert table is not None
    assert len(table.file_uris()) <= 9


def test_ids_that_could_be_sql_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not ids"):
        tables.replace_videos(store, 0, ["x') OR 1=1 --"], {"frames": frames_of("a", 1)})


def test_pandas_reads_a_table_with_units_without_this_package(store: Store) -> None:
    tables.replace_videos(store, 0, ["a"], {"frames": frames_of("a", 3)})
    options = {"AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"} if store.root.startswith("s3://") else None
    table = DeltaTable(f"{store.root}/tables/frames", storage_options=options)
    frame: pd.DataFrame = table.to_pandas()
    assert frame.sort_values("frame").persons.tolist() == [0, 1, 2]
    field = next(field for field in table.schema().fields if field.name == "pts_ns")
    assert field.metadata["unit"] == "ns"
