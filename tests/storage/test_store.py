"""The store: atomic writes, one winner of a race, names that stay below the root."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.store import Store, StoreError
from tests.s3_server import BUCKET, S3Server


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


def test_a_prefix_that_was_emptied_holds_nothing(store: Store) -> None:
    store.write("m/deep/x.json", b"1")
    store.delete("m/deep/x.json")
    assert store.list("m") == store.list("m/deep") == {}


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


def test_what_another_process_wrote_is_seen_at_once(store: Store, any_root: str) -> None:
    other = Store(any_root)
    store.write("m/one", b"1")
    assert store.list("m") == {"m/one": 1}
    other.write("m/two", b"22")
    other.write("m/one", b"111")
    assert store.list("m") == {"m/one": 3, "m/two": 2}
    assert (store.size("m/one"), store.read("m/one")) == (3, b"111")
    other.delete("m/one")
    assert store.list("m") == {"m/two": 2}
    assert store.size("m/one") is None


def test_a_store_that_is_sent_takes_no_credentials_along(store: Store, s3_server: S3Server) -> None:
    store.write("x", b"1")
    sent = pickle.dumps(store)
    assert len(sent) < 300
    assert s3_server.secret_access_key.encode() not in sent
    assert pickle.loads(sent).read("x") == b"1"


def test_large_objects_are_created_once_and_replaced(s3_root: str) -> None:
    """Larger than what s3fs sends in one request."""
    store = Store(s3_root)
    first, second = bytes(101 * 2**20), b"1" * 101 * 2**20
    assert store.create("large", first)
    assert not store.create("large", second)
    assert store.read("large") == first
    store.write("large", second)
    assert store.read("large") == second


def test_a_bucket_itself_is_a_store(s3_root: str) -> None:
    store, folder = Store(f"s3://{BUCKET}"), s3_root.rpartition("/")[2]
    store.check()
    Store(s3_root).write("x", b"1")
    assert store.list(folder) == {f"{folder}/x": 1}


@pytest.mark.parametrize("root", ["s3://b//x/../y/", "s3a://b/y", "s3://b/./y"])
def test_an_address_of_s3_has_one_spelling(root: str) -> None:
    assert Store(root).root == "s3://b/y"
    assert Store("s3://b/").root == "s3://b"


@pytest.mark.parametrize("name", ["a#b", "what?", "100%"])
def test_outputs_that_delta_would_keep_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(StoreError, match="choose another output"):
        Store(f"s3://bucket/{name}/out")


@pytest.mark.parametrize("name", ["a[b", "a]b", "a^b", "a|b", "a%20b", "a\\b", "a\nb"])
def test_folders_that_delta_would_not_find_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="choose another output"):
        Store(str(tmp_path / name))


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
