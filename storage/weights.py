"""Users' weights files, kept under weights/ of a store by the SHA-256 of their bytes, and copied to the machines that use them.

Workers never see the client's disk, so a run uploads them before anything else.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from storage.reading import MAX_WEIGHTS_BYTES, LimitError, read_whole
from storage.sources import InputError, is_folder, open_listing
from storage.store import Store, StoreError, is_young
from tkm import weights

_PREFIX = "weights"


def keep(store: Store | None, address: str, option: str) -> str:
    """Keep a weights file in a store, where one is given, and in this machine's cache; its digest.

    Args: address, a path or URL; option, by which a user named it, for errors.
    Raises InputError where it cannot be read.
    """
    data = _read(address, option)
    sha256 = hashlib.sha256(data).hexdigest()
    if not _is_embedded(sha256):
        if not _is_cached(sha256):
            _cache().write(sha256, data)
        if store is not None and not (store.size(weights_name(sha256)) == len(data) and is_young(store, weights_name(sha256))):
            _upload(store, sha256, data)
    return sha256


def fetch(store: Store, sha256: str) -> Path:
    """The weights file of a digest on this machine: an embedded one, or a user's, from the cache or, through it, the store.

    StoreError where the store lacks it, or has other bytes; those are taken away, so that it can be given again.
    """
    if not _is_embedded(sha256) and not _is_cached(sha256):
        name = weights_name(sha256)
        remedy = "run `tkm annotate` or `tkm rerun` with the option that gave it (such as --pose-weights) and its file again"
        try:
            data = store.read(name)
        except FileNotFoundError:
            raise StoreError(f"{store.root} lacks the weights file {name}, which the run needs: {remedy}") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            store.delete(name)
            raise StoreError(f"{store.root}/{name} was damaged, and is removed: {remedy}")
        _cache().write(sha256, data)
    return weights.locate(sha256)


def weights_name(sha256: str) -> str:
    """Name of a user's weights file in a store."""
    return f"{_PREFIX}/{sha256}"


def is_kept(store: Store, sha256: str) -> bool:
    """Whether a store has the weights file of a digest."""
    return store.size(weights_name(sha256)) is not None


def is_whole_weights(store: Store, name: str) -> bool:
    """Whether a file below weights/ has the bytes that its name tells; one that has not is removed."""
    is_whole = hashlib.sha256(store.read(name)).hexdigest() == name.rpartition("/")[2]
    if not is_whole:
        store.delete(name)
    return is_whole


def _read(address: str, option: str) -> bytes:
    try:
        fs, path = open_listing(address)
        if is_folder(fs, path):
            raise InputError(f"{address} is a folder; name the file itself")
        return read_whole(fs, path, address, MAX_WEIGHTS_BYTES, "give the parameters alone, without the optimiser's state")
    except (InputError, LimitError) as error:
        raise InputError(f"{option}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{option}: {address}: no such file; give a file of weights, here or on S3") from None
    except OSError as error:
        raise InputError(f"{option}: {address} cannot be read: {error.strerror or error}") from error


def _upload(store: Store, sha256: str, data: bytes) -> None:
    """Put a file into the store, where another run may do the same at this moment; one of another size there is damaged."""
    name = weights_name(sha256)
    if not store.create(name, data) and not (store.size(name) == len(data) and is_young(store, name)):
        store.write(name, data)


def _is_embedded(sha256: str) -> bool:
    return any(known.sha256 == sha256 for known in weights.WEIGHTS.values())


def _is_cached(sha256: str) -> bool:
    """Whether the cache has the file, whole."""
    path = weights.cache_folder() / sha256
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return _digest(path, stat.st_mtime_ns, stat.st_size) == sha256


@cache
def _digest(path: Path, mtime_ns: int, size: int) -> str:  # noqa: ARG001 - that a file has changed
    """SHA-256 of a local file, read once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache() -> Store:
    return Store(str(weights.cache_folder()))

