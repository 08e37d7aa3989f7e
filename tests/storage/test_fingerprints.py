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


def test_a_folder_of_frames_is_looked_at_on_this_machine_only(tmp_path: Path, s3_root: str) -> None:
    local, remote = videos(str(tmp_path), ["frames/1.png"])[0], videos(s3_root, ["frames/1.png"])[0]
    folders = [Source(source.uri.rpartition("/")[0], "frames") for source in (local, remote)]
    assert fingerprints(folders) == {folders[0].uri: fingerprint(folders[0])}


def test_many_pages_are_read_and_a_few_videos_among_many_objects_are_given_up(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = videos(s3_root, [f"{n:02d}.mp4" for n in range(24)])
    one_page = module.s3.filesystem().call_s3

    def small_pages(method: str, **request: object) -> object:
        return one_page(method, **request, **({"MaxKeys": 2} if method == "list_objects_v2" else {}))

    monkeypatch.setattr(module, "_PAGE", 2)
    monkeypatch.setattr(module.s3.filesystem(), "call_s3", small_pages)
    assert fingerprints(sources) == {source.uri: fingerprint(source) for source in sources}
    ends = [sources[0], sources[-1]]
    assert set(fingerprints(ends)) == {ends[0].uri}
