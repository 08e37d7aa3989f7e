"""Keypoints and ids are equal, bit for bit, however a clip is cut into chunks, spread over workers and grouped with others."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.annotate import annotate
from storage.sources import Source
from storage.store import Store
from tasks.merge import read_results
from tasks.plan import shard_of

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

FRAMES = 40
TABLES = ("frames", "poses", "tracks")


def run(videos: Path, output: Path, **engine: Any) -> dict[str, dict[str, pd.DataFrame]]:
    """Published rows by video's file name and table, without what tells runs and addresses apart."""
    summary = annotate(str(videos), str(output), {"index": {"frames": f":{FRAMES}"}, "engine": engine}, quiet=True)
    assert not summary.failures
    store = Store(str(output))
    ids = read_results(store, None, "videos").to_pandas().set_index("name").video
    tables = {name: read_results(store, None, name).to_pandas() for name in TABLES}
    return {file: {name: rows_of(table, video) for name, table in tables.items()} for file, video in ids.items()}


def rows_of(table: pd.DataFrame, video: str) -> pd.DataFrame:
    return table[table.video == video].drop(columns=["video", "run", "shard"]).reset_index(drop=True)


def assert_equal(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(found[name], expected[name], check_exact=True, obj=name)


def name_in_shard(folder: Path, shard: int) -> str:
    """A file name whose video falls into a shard."""
    return next(f"clip{n}.mp4" for n in count() if shard_of(Source(str(folder / f"clip{n}.mp4")).video_id) == shard)


@pytest.fixture(scope="module")
def whole(demo_clip: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The clip by itself, in one chunk, with one worker."""
    output = tmp_path_factory.mktemp("whole")
    rows = run(demo_clip, output, chunk_frames=1000, workers=1)["cam01.mp4"]
    assert rows["poses"].groupby("track_id").size().max() == FRAMES
    return rows


@pytest.mark.parametrize(("chunk_frames", "workers"), [(7, 3), (32, 1)])
def test_chunks_and_workers_change_no_bit(
    whole: dict[str, pd.DataFrame], demo_clip: Path, tmp_path: Path, chunk_frames: int, workers: int
) -> None:
    assert_equal(run(demo_clip, tmp_path, chunk_frames=chunk_frames, workers=workers)["cam01.mp4"], whole)


@pytest.mark.parametrize("shards", [(3, 3), (3, 8)])
def test_company_in_the_same_shard_or_another_changes_no_bit(
    whole: dict[str, pd.DataFrame], demo_clip: Path, people_clip: Path, tmp_path: Path, shards: tuple[int, int]
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    mine = name_in_shard(videos, shards[0])
    shutil.copy(demo_clip, videos / mine)
    (videos / "other").mkdir()
    shutil.copy(people_clip, videos / "other" / name_in_shard(videos / "other", shards[1]))
    found = run(videos, tmp_path / "out", chunk_frames=16, workers=2)
    assert len(found) == 2
    assert_equal(found[mine], whole)
