"""Artifacts: keys, chunks that commit one by one, manifests that close, damage that is noticed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.artifacts import Artifact, DamagedArtifactError, Provenance, artifact_key, closed_keys
from storage.sealed import seal
from storage.store import Store, StoreError

FACTS = Provenance(1, {}, {}, {}, {"device": "cpu"})


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact(Store(str(tmp_path)), "detect", "a" * 40)


def rows(*frames: int) -> pa.Table:
    """A row for each frame, its value telling which."""
    frame = np.array(frames, np.int64)
    return pa.table({"frame": frame, "value": (frame * 0.5).astype(np.float32)})


def commit(artifact: Artifact, start: int, stop: int, table: pa.Table | None = None) -> None:
    artifact.commit(start, stop, rows(*range(start, stop)) if table is None else table, seconds=1.0, device="cpu")


def part_path(artifact: Artifact, chunk: int) -> Path:
    return Path(artifact.store.path(artifact.chunks()[chunk].part.name))


def test_an_artifact_is_whole_only_when_it_is_closed(artifact: Artifact) -> None:
    commit(artifact, 0, 4)
    commit(artifact, 4, 6)
    assert artifact.manifest() is None
    with pytest.raises(DamagedArtifactError, match="no whole artifact"):
        artifact.read()
    artifact.close(6, FACTS)
    assert artifact.read()["frame"].to_pylist() == [0, 1, 2, 3, 4, 5]
    manifest = artifact.manifest()
    assert manifest is not None
    assert (manifest.rows, manifest.seconds) == (6, 2.0)
    assert manifest.bytes == sum(path.stat().st_size for path in Path(artifact.store.root).rglob("*.parquet"))
    assert closed_keys(artifact.store, "detect") == {artifact.key}


def test_an_artifact_of_one_chunk_is_whole_at_once_and_leaves_no_commit_of_the_chunk(artifact: Artifact) -> None:
    assert artifact.progress().is_new
    artifact.commit_whole(4, rows(0, 1, 2, 3), rows(9), seconds=1.0, device="cpu", provenance=FACTS)
    assert artifact.read()["frame"].to_pylist() == [0, 1, 2, 3]
    assert artifact.progress().is_whole
    assert artifact.store.list("chunks") == {}
    artifact.commit_whole(4, rows(7, 7, 7, 7), seconds=1.0, device="cpu", provenance=FACTS)
    assert artifact.read()["frame"].to_pylist() == [0, 1, 2, 3], "a lost race changes nothing"
    artifact.withdraw(artifact.chunks())
    assert not artifact.progress().is_new, "what was withdrawn is closed chunk by chunk, which takes its mark away"


def test_closing_with_a_gap_is_refused(artifact: Artifact) -> None:
    commit(artifact, 0, 4)
    commit(artifact, 5, 6)
    with pytest.raises(RuntimeError, match="cannot be closed"):
        artifact.close(6, FACTS)
    with pytest.raises(RuntimeError, match="cannot be closed"):
        artifact.close(7, FACTS)
    assert artifact.manifest() is None


def test_a_second_commit_of_a_chunk_changes_nothing(artifact: Artifact) -> None:
    commit(artifact, 0, 2)
    commit(artifact, 0, 2, rows(7, 8))
    artifact.close(2, FACTS)
    assert artifact.read()["frame"].to_pylist() == [0, 1]


def test_overlapping_chunks_of_two_runs_give_each_frame_once(artifact: Artifact) -> None:
    commit(artifact, 0, 4)
    commit(artifact, 2, 6)
    commit(artifact, 4, 6)
    artifact.close(6, FACTS)
    assert artifact.read()["frame"].to_pylist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("start", "stop", "expected"), [(0, 6, [0, 10, 20, 30, 40, 50]), (1, 3, [10, 20]), (2, 5, [20, 30, 40])])
def test_a_span_crosses_chunks(artifact: Artifact, start: int, stop: int, expected: list[int]) -> None:
    frames = np.arange(6) * 10  # sampled every tenth
    for low in range(0, 6, 2):
        commit(artifact, low, low + 2, rows(*frames[low : low + 2]))
    assert artifact.read_span(start, stop, frames, artifact.chunks())["frame"].to_pylist() == expected


def test_a_span_with_a_hole_is_never_taken_for_nobody_there(artifact: Artifact) -> None:
    commit(artifact, 0, 4)
    commit(artifact, 6, 8)
    with pytest.raises(DamagedArtifactError, match="lacks"):
        artifact.read_span(0, 8, np.arange(8), artifact.chunks())
    with pytest.raises(DamagedArtifactError, match="lacks"):
        artifact.read_span(5, 8, np.arange(8), artifact.chunks())
    assert artifact.read_span(6, 8, np.arange(8), artifact.chunks()).num_rows == 2


def test_every_missing_part_is_withdrawn_at_the_first_one(artifact: Artifact) -> None:
    for low in range(0, 8, 2):
        commit(artifact, low, low + 2)
    artifact.close(8, FACTS)
    for n in (0, 2):
        part_path(artifact, n).unlink()
    with pytest.raises(DamagedArtifactError):
        artifact.read()
    assert [(chunk.start, chunk.stop) for chunk in artifact.chunks()] == [(2, 4), (6, 8)]


def test_state_is_kept_with_the_chunk_it_follows(artifact: Artifact) -> None:
    state = pa.table({"track_id": [3]}).replace_schema_metadata({"next": "4"})
    artifact.commit(0, 2, rows(0, 1), state, seconds=0.1, device="cpu")
    kept = artifact.state_before(2)
    assert kept is not None
    assert kept.schema.metadata[b"next"] == b"4"
    assert artifact.state_before(0) is None


def test_what_another_version_wrote_is_named_and_stays(artifact: Artifact) -> None:
    commit(artifact, 0, 2)
    artifact.close(2, FACTS)
    name = f"manifests/detect/{artifact.key}.json"
    facts = json.loads(artifact.store.read(name))
    artifact.store.write(name, seal({**{field: facts[field] for field in facts if field != "digest"}, "of a later version": 1}))
    before = artifact.store.list("")
    with pytest.raises(StoreError, match=rf"{name} is not of the form"):
        artifact.read()
    assert artifact.store.list("") == before


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.parametrize("closed", [True, False])
def test_damage_is_noticed_and_only_its_chunk_is_withdrawn(artifact: Artifact, damage: str, closed: bool) -> None:
    for low in range(0, 6, 2):
        commit(artifact, low, low + 2)
    if closed:
        artifact.close(6, FACTS)
    path = part_path(artifact, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-5])
    with pytest.raises(DamagedArtifactError, match=path.name):
        artifact.read_span(0, 6, np.arange(6), artifact.chunks())
    assert artifact.manifest() is None
    assert [(chunk.start, chunk.stop) for chunk in artifact.chunks()] == [(0, 2), (4, 6)]
    commit(artifact, 2, 4)
    artifact.close(6, FACTS)
    assert artifact.read()["frame"].to_pylist() == [0, 1, 2, 3, 4, 5]


def test_a_key_depends_on_everything_that_decides_the_rows() -> None:
    base = {"stage": "detect", "version": 1, "params": {"x": 0.1}, "weights": {"n": "d"}, "inputs": {"index": "k"}}
    changed = [
        {"stage": "estimate"},
        {"version": 2},
        {"params": {"x": 0.2}},
        {"weights": {"n": "e"}},
        {"inputs": {"index": "l"}},
    ]
    keys = [artifact_key(**{**base, **change}) for change in [{}, *changed]]  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)
    assert artifact_key(**base) == keys[0]  # type: ignore[arg-type]
