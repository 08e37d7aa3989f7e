from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from flows.show import first_poses, people, results_overview
from storage.sources import Source
from storage.store import Store, StoreError
from tests.builders import standing
from tests.flows.results import PTS, publish, walking, write_clip

ALL = list(range(len(PTS)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Video `a` with a person in every frame (track 1) and one in frames 0, 1 and 20 (track 0); video `b` with nobody."""
    for name in "ab":
        write_clip(tmp_path / f"{name}.mp4")
    store = Store(str(tmp_path / "out"))
    poses = standing([*ALL, 0, 1, 20], [(60, 100)] * len(ALL) + [(170, 100)] * 3)
    publish(store, Source(str(tmp_path / "a.mp4")), ALL, poses, [1] * len(ALL) + [0] * 3)
    publish(store, Source(str(tmp_path / "b.mp4")), ALL, walking([]), [])
    return store


def cells(table: Table, column: str) -> list[str]:
    return [str(cell) for cell in next(c for c in table.columns if c.header == column).cells]


def text(table: Table) -> str:
    console = Console(width=200, file=StringIO())
    console.print(table)
    return console.file.getvalue()


def test_people_lists_tracks_longest_in_view_first(store: Store) -> None:
    table = people(store, None)
    assert cells(table, "track id") == ["1", "0"]
    assert cells(table, "frames") == [str(len(ALL)), "3"]
    last_s = f"{PTS[-1] / 90_000:.2f}"
    assert cells(table, "from s") == ["0.00", "0.00"]
    assert cells(table, "to s") == [last_s, last_s]
    # Track 0 was away between frames 1 and 20: three frames of the median 1/30 or 1/15 s each.
    assert float(cells(table, "in view s")[1]) == pytest.approx(3 * float(np.median(np.diff(PTS))) / 90_000, abs=0.01)
    assert cells(table, "mean height px") == ["150", "150"]


def test_people_says_how_many_more_there_are(store: Store) -> None:
    table = people(store, None, rows=1)
    assert cells(table, "track id") == ["1"]
    assert table.caption == "and 1 more track"
    assert people(store, None).caption is None


def test_first_poses_are_the_first_rows_of_the_first_video_with_people(store: Store) -> None:
    table = first_poses(store, None, rows=3)
    assert cells(table, "frame") == ["0", "0", "1"]
    assert cells(table, "track_id") == ["0", "1", "0"]
    assert cells(table, "box px (x1 y1 x2 y2)")[:2] == ["140 25 200 175", "30 25 90 175"]
    assert table.caption == f"and {len(ALL)} more rows"


def test_overview_has_every_video_and_their_sums(store: Store) -> None:
    table = results_overview(store, None)
    assert [name.split("-")[0] for name in cells(table, "video")] == ["a", "b"]
    assert cells(table, "size") == ["240 x 200"] * 2
    assert cells(table, "tracks") == ["2", "0"]
    assert {c.header: c.footer for c in table.columns}["poses"] == str(len(ALL) + 3)
    assert results_overview(store, None, rows=1).caption == "and 1 more video"


def test_results_where_nobody_was_found_are_shown_as_such(tmp_path: Path) -> None:
    write_clip(tmp_path / "b.mp4")
    store = Store(str(tmp_path / "out"))
    publish(store, Source(str(tmp_path / "b.mp4")), ALL, walking([]), [])
    assert people(store, None).row_count == 0
    assert "nobody was found" in text(first_poses(store, None))


def test_an_output_without_results_says_how_to_make_some(tmp_path: Path) -> None:
    for table in (people, first_poses, results_overview):
        with pytest.raises(StoreError, match="tkm annotate"):
            table(Store(str(tmp_path / "nothing")), None)
    assert not (tmp_path / "nothing").exists()
