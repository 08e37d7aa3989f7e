"""A dataset of many videos' rows looks for no more of them than a filter leaves."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from storage.scans import RowsByVideo

SCHEMA = pa.schema([("video", pa.string()), ("frame", pa.int64())])
VIDEOS = ("a-1", "b-2", "c-3")


class Asked:
    """Reads two rows a video, and remembers which videos it was asked for."""

    def __init__(self) -> None:
        self.videos: list[list[str]] = []

    def __call__(self, videos: list[str], columns: list[str] | None, filter: pc.Expression | None) -> ds.Scanner:
        self.videos.append(list(videos))
        table = pa.table({"video": [video for video in videos for _ in "01"], "frame": [0, 1] * len(videos)}, SCHEMA)
        return ds.dataset(table).scanner(columns=columns, filter=filter)


@pytest.mark.parametrize(
    ("where", "left", "count"),
    [
        ("video = 'b-2'", ["b-2"], 2),
        ("video = 'b-2' AND frame = 1", ["b-2"], 1),
        ("video IN ('a-1', 'c-3', 'z-9')", ["a-1", "c-3"], 4),
        ("video >= 'b'", ["b-2", "c-3"], 4),
        ("video = 'none'", [], 0),
        ("video = 'a-1' OR frame = 1", list(VIDEOS), 4),
        ("frame = 0", list(VIDEOS), 3),
        ("true", list(VIDEOS), 6),
    ],
)
def test_a_filter_on_video_decides_which_videos_are_read(where: str, left: list[str], count: int) -> None:
    asked = Asked()
    with duckdb.connect() as sql:
        sql.register("rows", RowsByVideo(SCHEMA, VIDEOS, asked))
        assert sql.sql(f"SELECT count(*) FROM rows WHERE {where}").fetchall() == [(count,)]
    assert asked.videos == [left]


def test_rows_are_the_same_to_who_scans_it_without_sql() -> None:
    rows = RowsByVideo(SCHEMA, VIDEOS, Asked())
    assert rows.count_rows() == 6
    assert rows.to_table(columns=["frame"], filter=ds.field("video") == "a-1")["frame"].to_pylist() == [0, 1]
