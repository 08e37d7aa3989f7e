"""The store: atomic writes, one winner of a race, names that stay below the root."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.store import Store, StoreError


@pytest.fixture
def store(any_root: str) -> Store:
    return Store(any_root)


def test_what_is_written_is_read(store: Store) -> None:
    store.write("a/b/one", b"1")
    store.write("a/b/one", b"2")
    assert store.read("a/b/one") == b"2"
    assert store.size("a/b/one") == 1
    assert store.size("a/b/two") is None


def test_create_never_replaces(store: Store) -> None:
    assert store.create("once", b"first")
    assert not store.create("once", b"second")
    assert store.read("once") == b"first"


def test_list_gives_names_below_the_root_and_sizes(store: Store) -> None:
    store.write("m/x.json", b"123")
    store.write("m/deep/y.json", b"1")
    store.write("n/z.json", b"")
    assert store.list("m") == {"m/deep/y.json": 1, "m/x.json": 3}
    assert store.list("nothing") == {}


def test_delete_is_content_with_nothing(store: Store) -> None:
    store.write("x", b"1")
    store.delete("x")
    store.delete("x")
    assert store.size("x") is None


def test_of_racing_writers_exactly_one_creates(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: store.create("race", b"%d" % n), range(64)))
    assert sum(won) == 1
    assert store.read("race") == b"%d" % won.index(True)


def test_a_reader_never_sees_half_an_object(store: Store) -> None:
    versions = [bytes([n]) * 300_000 for n in range(8)]
    store.write("x", versions[0])
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [store.write("x", version) for version in versions * 5])
        seen = []
        while not writing.done():
            seen.append(store.read("x"))
    assert set(seen) <= set(versions)


def test_nothing_stays_of_a_write_that_failed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(TypeError):
        store.write("x", "text is not bytes")  # type: ignore[arg-type]
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd"])
def test_names_stay_below_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="stay below"):
        Store(str(tmp_path / "out")).write(name, b"")
    assert list(tmp_path.iterdir()) == []


def test_relative_and_absolute_folders_are_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store("out/") == Store(str(tmp_path / "out"))


def test_check_names_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot write to"):
        Store(str(tmp_path / "file" / "below")).check()


def test_a_file_and_an_unknown_scheme_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="is a file"):
        Store(str(tmp_path / "file"))
    with pytest.raises(StoreError, match="foo"):
        Store("foo://bucket/x")


def test_a_file_url_is_the_folder(tmp_path: Path) -> None:
    assert Store(f"file://{tmp_path}") == Store(str(tmp_path))


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    Store(str(tmp_path)).check()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(StoreError, match="empty"):
        Store("")
