"""Annotation files as users name them, and which format each of them has."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.documents import find_documents, is_table, read_annotations, stem
from storage.sources import InputError
from storage.store import Store

POSETRACK_17 = {"annolist": [{"image": [{"name": "a/1.jpg"}], "annorect": []}, {"image": [{"name": "a/2.jpg"}], "annorect": []}]}


def test_a_file_a_folder_and_a_glob_wherever_they_lie(any_root: str) -> None:
    store = Store(any_root)
    for name in ("in/a.json", "in/below/b.PARQUET", "in/.hidden/c.json", "in/readme.txt"):
        store.write(name, b"x")

    def found(address: str) -> list[str]:
        return [uri.removeprefix(f"{store.root}/") for uri in find_documents(f"{store.root}/{address}")]

    assert found("in") == ["in/a.json", "in/below/b.PARQUET"]
    assert found("in/a.json") == ["in/a.json"]
    assert found("in/*.json") == ["in/a.json"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere.json", "nowhere.json: no such file or folder"),
        ("empty", "empty: this folder holds no .json or .parquet file"),
        ("*.json", "no .json or .parquet file matches this pattern"),
        ("a.txt", "a.txt: not a .json or .parquet file"),
    ],
)
def test_addresses_of_nothing_are_refused(address: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError) as refused:
        find_documents(str(tmp_path / address))
    assert said in str(refused.value)


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(InputError, match="is empty"):
        find_documents(" ")


def test_formats_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(POSETRACK_17))
    (tmp_path / "results.json").write_text("[]")
    pq.write_table(pa.table({"frame": [3], "nose_x": [1.0], "nose_y": [2.0]}), tmp_path / "clip.PARQUET")
    (old,) = read_annotations(str(tmp_path / "old.json"))
    assert (old.name, len(old)) == ("old", 2)
    assert read_annotations(str(tmp_path / "results.json")) == []
    (clip,) = read_annotations(str(tmp_path / "clip.PARQUET"))
    assert (clip.name, len(clip)) == ("clip", 4)
    assert is_table("clip.PARQUET")
    assert not is_table("clip.json")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'{"images": [', "not JSON"),
        ("a.json", b"", "not JSON"),
        ("a.json", b'{"score": NaN}', "NaN is no JSON number"),
        ("a.json", b'{"people": []}', "neither PoseTrack 2017"),
        ("a.json", b"3", "must be a JSON object"),
        ("a.parquet", b"", "not a Parquet file"),
        ("a.parquet", b"PAR1 and no more", "not a Parquet file"),
    ],
)
def test_what_is_no_annotation_file_is_refused_by_name(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_annotations(str(tmp_path / name))
    assert str(refused.value).startswith(str(tmp_path / name))
    assert said in str(refused.value)


def test_stems_are_what_files_of_one_video_share() -> None:
    assert [stem(uri) for uri in ("s3://b/x.v2.json", "/a/x.parquet", "/a/x.mp4", "x")] == ["x.v2", "x", "x.mp4", "x"]
