"""What artifacts took: the sum over all, or, of many, an estimate from some that says so."""

from __future__ import annotations

import pytest

from flows import taken as module
from flows.taken import taken
from storage.artifacts import Artifact
from storage.store import Store
from tests.tasks.stores import key, make

NAMES = ["one", "two", "three", "four", "five"]


def test_all_are_counted_and_of_many_some(any_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(any_root)
    for name in NAMES:
        make(store, "track", name)
    manifests = [Artifact(store, "track", key(name)).manifest() for name in NAMES]
    size = sum(manifest.bytes for manifest in manifests if manifest)
    whole = taken(store, "track", [key(name) for name in (*NAMES, "one")])
    assert (whole.artifacts, whole.bytes, whole.is_estimate, len(whole.manifests)) == (5, size, False, 5)
    monkeypatch.setattr(module, "SAMPLE", 2)
    told = taken(store, "track", [key(name) for name in NAMES])
    assert (told.artifacts, told.is_estimate, len(told.manifests)) == (5, True, 2)
    assert told.bytes == pytest.approx(size, rel=0.02)  # names differ in length


def test_what_is_not_there_took_nothing(tmp_path: object) -> None:
    store = Store(f"{tmp_path}/store")
    make(store, "track", "begun", is_closed=False)
    assert taken(store, "track", []).seconds == 0
    assert taken(store, "track", [key("begun"), key("gone")]).bytes == 0
