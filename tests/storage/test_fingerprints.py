"""Fingerprints of many videos at once are those of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import fingerprints as module
from storage.fingerprints import fingerprints
from storage.sources import Source, fingerprint
from storage.store import Store


def videos(root: str, names: list[str]) -> list[Source]:
    store = Store(root)
    for name in names:
        store.write(name, name.encode())
    return [Source(f"{store.root}/{name}") for name in names]


def test_they_are_those_of_each_video_and_change_with_it(any_root: str) -> None:
    sources = videos(any_root, ["a.mp4", "b.mp4", "c d#1.mp4", "deep/e.mp4", "deep/f.mp4"])
    found = fingerprints([*sources, Source(f"{sources[0].uri}x"), Source(f"{any_root}/gone/g.mp4")])
    assert found == {source.uri: fingerprint(source) for source in sources}
    Store(any_root).write("b.mp4", b"other")
    again = fingerprints(sources)
    assert {uri for uri in again if again[uri] != found[uri]} == {sources[1].uri}


def test_videos_of_a_bucket_that_is_not_there_are_left_out(s3_root: str) -> None:
    sources = videos(s3_root, ["a.mp4"])
    assert set(fingerprints([Source("s3://no-such-bucket/b.mp4"), *sources])) == {sources[0].uri}


def test_a_folder_of_frames_is_looked_at_on_this_machine_only(tmp_path: Path, s3_root: str) -> None:
    local, remote = videos(str(tmp_path), ["frames/1.png"])[0], videos(s3_root, ["frames/1.png"])[0]
    folders = [Source(source.uri.rpartition("/")[0], "frames") for source in (local, remote)]
    assert fingerprints(folders) == {folders[0].uri: fingerprint(folders[0])}


def test_many_pages_are_read_and_what_lies_between_videos_is_passed_over(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = videos(s3_root, [f"{n:02d}.mp4" for n in range(24)] + [f"{n:02d}/clip.mp4" for n in range(30, 42)])
    pages = counted(monkeypatch, page=2)
    assert fingerprints(sources) == {source.uri: fingerprint(source) for source in sources}
    assert len(pages) <= 19
    pages.clear()
    ends = [sources[0], sources[-1]]
    assert fingerprints(ends) == {source.uri: fingerprint(source) for source in ends}
    assert len(pages) == 2


def test_a_few_videos_among_many_objects_are_given_up(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = videos(s3_root, [f"{n:02d}.mp4" for n in range(40)])
    pages = counted(monkeypatch, page=2)
    monkeypatch.setattr(module, "_WORTH", 50.0)
    found = fingerprints(sources[::4])
    assert len(pages) == len(found) == 5
    assert found.items() <= {source.uri: fingerprint(source) for source in sources}.items()


def counted(monkeypatch: pytest.MonkeyPatch, page: int) -> list[str]:
    """Where each listing from now on begins; they are of so many objects."""
    begins: list[str] = []
    fs = module.s3.filesystem()
    ask = fs.call_s3

    def counting(method: str, **request: str) -> object:
        begins.extend([request["StartAfter"]] if method == "list_objects_v2" else [])
        return ask(method, **request)

    monkeypatch.setattr(module, "_PAGE", page)
    monkeypatch.setattr(fs, "call_s3", counting)
    return begins
