"""Users' weights files: kept once by their digest, brought to machines that lack them, damage said and taken away."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.addresses import open_address
from storage.sources import InputError
from storage.store import Store, StoreError
from storage.weights import fetch, keep
from tasks.verify import verify_weights
from tkm import weights

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OPTION = "--pose-weights"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tkm" / "weights"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    return str(tmp_path / "mine.pth")


def another_machine(cache: Path) -> None:
    """From here on nothing is cached, as on a worker that has not seen the file."""
    for path in cache.iterdir():
        path.unlink()


def test_a_file_is_kept_by_its_digest_and_reaches_machines_that_never_saw_it(any_root: str, file: str, cache: Path) -> None:
    store = Store(any_root)
    assert keep(store, file, OPTION) == SHA256
    assert store.list("weights") == {f"weights/{SHA256}": len(CONTENT)}
    Path(file).unlink()
    another_machine(cache)
    assert fetch(store, SHA256).read_bytes() == CONTENT
    store.delete(f"weights/{SHA256}")
    assert fetch(store, SHA256).read_bytes() == CONTENT, "what this machine has is not fetched again"


def test_a_file_of_a_bucket_is_read_like_one_of_this_machine(s3_root: str, tmp_path: Path) -> None:
    fs, path = open_address(f"{s3_root}/heads/mine.safetensors")
    fs.pipe_file(path, CONTENT)
    assert keep(Store(str(tmp_path / "out")), f"{s3_root}/heads/mine.safetensors", OPTION) == SHA256


def test_the_same_file_is_uploaded_once(any_root: str, file: str) -> None:
    store = Store(any_root)
    keep(store, file, OPTION)
    fs, path = open_address(f"{any_root}/weights/{SHA256}")
    before = fs.info(path)
    keep(store, file, OPTION)
    fs.invalidate_cache()
    after = fs.info(path)
    assert {name: after.get(name) for name in ("LastModified", "mtime", "ino")} == {
        name: before.get(name) for name in ("LastModified", "mtime", "ino")
    }


def test_without_a_store_nothing_is_uploaded_and_this_machine_can_use_it(file: str) -> None:
    assert keep(None, file, OPTION) == SHA256
    assert weights.locate(SHA256).read_bytes() == CONTENT


def test_embedded_weights_are_neither_kept_nor_fetched(tmp_path: Path, cache: Path) -> None:
    store = Store(str(tmp_path / "out"))
    embedded = weights.FOLDER / weights.WEIGHTS["nanodet"].file
    assert keep(store, str(embedded), OPTION) == weights.digest("nanodet")
    assert fetch(store, weights.digest("nanodet")) == embedded
    assert store.list("weights") == {}
    assert not cache.exists()


def test_what_cannot_be_read_names_option_and_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"--pose-weights: .*nowhere\.pth: no such file"):
        keep(store, str(tmp_path / "nowhere.pth"), OPTION)
    with pytest.raises(InputError, match=r"--pose-weights: .* is a folder"):
        keep(store, str(tmp_path), OPTION)
    with pytest.raises(InputError, match=r"--pose-weights: .*would be recorded"):
        keep(store, "https://me:hush@host/mine.pth", OPTION)


def test_a_store_that_lacks_the_file_says_what_to_give_again(any_root: str) -> None:
    with pytest.raises(StoreError, match=f"lacks the weights file weights/{SHA256}.*--pose-weights"):
        fetch(Store(any_root), SHA256)


def test_damage_is_said_taken_away_and_mended_by_giving_the_file_again(any_root: str, file: str, cache: Path) -> None:
    store = Store(any_root)
    keep(store, file, OPTION)
    another_machine(cache)
    store.write(f"weights/{SHA256}", CONTENT[:-1] + b"?")
    with pytest.raises(StoreError, match=r"was damaged, and is removed.*--pose-weights"):
        fetch(store, SHA256)
    assert not cache.exists() or not list(cache.iterdir()), "damaged bytes are not cached"
    keep(store, file, OPTION)
    store.write(f"weights/{SHA256}", CONTENT[:100])
    keep(store, file, OPTION)
    assert store.read(f"weights/{SHA256}") == CONTENT, "a file that was cut is replaced"


def test_a_damaged_copy_on_this_machine_is_replaced(any_root: str, file: str, cache: Path) -> None:
    store = Store(any_root)
    keep(store, file, OPTION)
    (cache / SHA256).write_bytes(CONTENT[:-3])
    assert fetch(store, SHA256).read_bytes() == CONTENT
    (cache / SHA256).write_bytes(CONTENT[::-1])
    os.utime(cache / SHA256, ns=(0, 0))
    keep(store, file, OPTION)
    assert weights.locate(SHA256).read_bytes() == CONTENT


def test_many_that_fetch_at_once_all_get_it_whole(any_root: str, file: str, cache: Path) -> None:
    store = Store(any_root)
    keep(store, file, OPTION)
    another_machine(cache)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fetch(store, SHA256).read_bytes(), range(16)))
    assert set(found) == {CONTENT}
    assert [path.name for path in cache.iterdir()] == [SHA256], "no temporary file stays"


def test_verify_takes_away_damaged_weights_and_leaves_others(any_root: str, file: str, tmp_path: Path) -> None:
    store = Store(any_root)
    (tmp_path / "other").write_bytes(b"other")
    names = [f"weights/{keep(store, address, OPTION)}" for address in (file, str(tmp_path / "other"))]
    assert verify_weights(store) == ()
    store.write(names[0], CONTENT[::-1])
    assert verify_weights(store) == (names[0],)
    assert list(store.list("weights")) == names[1:]
