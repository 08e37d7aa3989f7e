"""Artifacts that are removed: nobody believes in what is gone, nobody wants it again, and who is killed leaves no rests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from storage.artifacts import Artifact, DamagedArtifactError, closed_keys, open_keys
from storage.removal import Removed, commits_of, finish_retirements, retire, take_away
from storage.store import Store
from tests.tasks.stores import assert_whole, key, make


@pytest.fixture
def store(any_root: str) -> Store:
    return Store(any_root)


def commits(store: Store, *artifacts: Artifact) -> list[str]:
    return [name for one in artifacts for names in commits_of(store, one.stage, {one.key}).values() for name in names]


def test_what_is_retired_leaves_nothing_and_is_wanted_by_nobody(store: Store) -> None:
    whole, other = make(store, "embed", "whole"), make(store, "embed", "other")
    begun = make(store, "embed", "begun", is_closed=False)
    removed = retire(store, {("embed", whole.key), ("embed", begun.key)}, commits(store, whole, begun))
    assert removed.objects == 8
    assert removed.bytes > 0
    assert open_keys(store, "embed") == set()
    assert closed_keys(store, "embed") == {other.key}
    assert all(other.key in name for name in store.list("artifacts"))
    assert not store.list("retired")


def test_a_reader_that_comes_too_late_takes_nothing_back(store: Store) -> None:
    artifact = make(store, "embed", "whole")
    chunk = artifact.chunks()[0]
    retire(store, {("embed", artifact.key)}, commits(store, artifact))
    with pytest.raises(DamagedArtifactError, match="is missing"):
        artifact._read_part(chunk, chunk.part)
    assert open_keys(store, "embed") == set(), "it is gone on purpose, and no run is to compute it again for that"


def test_the_manifest_goes_after_the_commits_of_chunks(store: Store) -> None:
    artifact = make(store, "embed", "whole")
    store.write(f"chunks/embed/{artifact.key}/000000000-000000002.json", b"{}")
    assert commits(store, artifact)[-1].startswith("manifests/"), "without its manifest the artifact would look begun"


def test_the_rests_of_who_was_killed_go_and_what_was_made_anew_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = [make(store, "embed", name) for name in ("one", "two")]

    def killed(store: Store, artifacts: object, since: object) -> Removed:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("storage.removal._remove_parts", killed)
        with pytest.raises(KeyboardInterrupt):
            retire(store, {("embed", one.key) for one in artifacts}, commits(store, *artifacts))
    assert len(store.list("artifacts")) == 8
    make(store, "embed", "two", is_closed=False)
    assert finish_retirements(store).objects == 4
    assert all(key("two") in name for name in store.list("artifacts"))
    assert all(artifacts[1].damage(chunk) is None for chunk in artifacts[1].chunks())
    assert finish_retirements(store) == Removed()


def test_parts_that_are_written_anew_meanwhile_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = make(store, "embed", "one")
    names = sorted(store.list("artifacts"))

    def long_ago(store: Store, name: str):  # type: ignore[no-untyped-def]  # as though the parts had been written since
        return min(found.modified for found in store.list_objects("artifacts").values()).replace(year=2020)

    monkeypatch.setattr(Store, "modified", long_ago)
    retire(store, {("embed", artifact.key)}, commits(store, artifact))
    assert sorted(store.list("artifacts")) == names


@pytest.mark.parametrize("answers", [(False,), (True, False)])
def test_what_may_not_go_any_more_is_put_back(store: Store, answers: Sequence[bool]) -> None:
    whole, begun = make(store, "embed", "whole"), make(store, "embed", "begun", is_closed=False)
    names, left = commits(store, whole, begun), iter(answers)
    assert not take_away(store, names, lambda: next(left))
    assert_whole(store)
    assert closed_keys(store, "embed") == {whole.key}
    assert open_keys(store, "embed") == {begun.key}
    assert take_away(store, names, lambda: True)
    assert not commits(store, whole, begun)
