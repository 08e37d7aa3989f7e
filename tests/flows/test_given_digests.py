"""What is given again is known by a digest of its rows: nothing else is kept than when all of it was made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.again import Wanted
from flows.detections import wanted_videos
from flows.settings import load_settings
from storage.given import read_given
from storage.store import Store
from tkm.skeleton import COCO_17

VIDEOS = 3


def poses(x_px: float = 10.0, nobody_in: int | None = None) -> pa.Table:
    """A person in both frames of three videos, the first of whom stands at x; one without keypoints in the video told."""
    rows = 2 * VIDEOS
    video = np.arange(rows) // 2
    x = np.full(rows, 50.0)
    x[0] = x_px
    is_given = video != (-1 if nobody_in is None else nobody_in)
    joints = {
        f"{joint}_{axis}": pa.array(values + k, mask=~is_given)
        for k, joint in enumerate(COCO_17.keypoints)
        for axis, values in (("x", x), ("y", np.full(rows, 20.0)))
    }
    return pa.table({"video": [f"v{n}" for n in video], "frame": np.arange(rows) % 2, "video_frames": np.full(rows, 2), **joints})


def given(store: Store, table: pa.Table, tmp_path: Path, *, write: bool = True) -> Wanted:
    pq.write_table(table, tmp_path / "poses.parquet")
    return wanted_videos(store, None, str(tmp_path / "poses.parquet"), None, load_settings({}), write=write)


def digests(wanted: Wanted) -> list[str]:
    return [str(own["poses"].sha256) for own in wanted.given.values()]


def objects(store: Store) -> dict[str, object]:
    return {name: found.modified for name, found in store.list_objects("").items()}


def test_what_was_given_before_is_known_and_left_alone(any_root: str, tmp_path: Path) -> None:
    store = Store(any_root)
    first = given(store, poses(), tmp_path)
    kept = objects(store)
    again = given(store, poses(), tmp_path)
    assert again == first
    assert objects(store) == kept
    assert given(store, poses(), tmp_path, write=False) == first


@pytest.mark.parametrize("before", ["given", "not given"])
def test_other_rows_are_other_rows_whatever_was_given_before(tmp_path: Path, before: str) -> None:
    store = Store(str(tmp_path / "store"))
    if before == "given":
        given(store, poses(), tmp_path)
    moved = given(store, poses(x_px=11.0), tmp_path)
    new = digests(moved)
    assert [read_given(store, sha256)["nose_x"].to_pylist() for sha256 in new] == [[11.0, 50.0], [50.0, 50.0], [50.0, 50.0]]
    assert new[1:] == digests(given(store, poses(), tmp_path))[1:]
    assert new[0] != digests(given(store, poses(), tmp_path))[0]


def test_rows_that_are_gone_from_the_store_are_written_again(any_root: str, tmp_path: Path) -> None:
    store = Store(any_root)
    first = digests(given(store, poses(), tmp_path))
    whole = set(objects(store))
    store.delete(f"given/{first[1]}.parquet")
    assert digests(given(store, poses(), tmp_path)) == first
    assert set(objects(store)) == whole
    assert len(read_given(store, first[1])) == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"given": {"x": 1}}'])
def test_what_is_remembered_may_be_damaged(tmp_path: Path, damage: bytes) -> None:
    store = Store(str(tmp_path / "store"))
    first = given(store, poses(), tmp_path)
    store.write("digests/given.json", damage)
    assert given(store, poses(), tmp_path) == first


def test_people_that_are_left_out_are_told_of_every_time(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    notes = [given(store, poses(nobody_in=1), tmp_path).notes for _ in range(2)]
    assert notes[0] == notes[1]
    assert "2 of 6 people, who have no keypoint" in notes[0][0]
