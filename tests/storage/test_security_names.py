"""Names that come from input, or stand in files of a store that others have written, never lead out of the store."""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import DeltaError

from storage import tables
from storage.addresses import open_address, refusal
from storage.artifacts import Artifact, DamagedArtifactError, Provenance
from storage.documents import read_annotations
from storage.runs import find_run, split_address
from storage.schemas import name_of
from storage.sealed import seal, unseal
from storage.sources import InputError, Source, content_digest, find_files, find_sources
from storage.store import Store, StoreError

OUTSIDE = [
    "../outside", "a/../../outside", "/etc/passwd", "..", "a/..", "./x", "a/./x", "a\0b", "a\nb", "\x1b[31m/x", "a/../b",
    "../" * 40 + "etc/passwd",
]  # fmt: skip
RUN = "20260101-000000-abcdef"
NAMES = [
    "../../../etc/passwd", "..", "/etc/passwd", "a/../../b", "~root", "$HOME", "`id`", "$(id)", "x; DROP TABLE x", "x' OR 1=1",
    "a#b", "a@20260101-000000-abcdef", "[red]", "\x1b]0;x\x07", "a\nb", "\uff0e\uff0e\uff0fevil", "\u202emp4.exe", "x" * 5000, "",
    " ", "跑步",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_object_of_a_store_has_a_name_that_leads_elsewhere(any_root: str, name: str) -> None:
    store = Store(any_root)
    for use in (store.read, store.size, store.delete, store.list, store.folders):
        with pytest.raises(StoreError, match="stay below"):
            use(name)
    for write in (store.write, store.create):
        with pytest.raises(StoreError, match="stay below"):
            write(name, b"")
    with pytest.raises(StoreError, match="stay below"), store.new_file(name):
        pass


def test_a_link_that_leads_out_of_a_store_is_followed_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key.json").write_text("secret")
    store = Store(str(tmp_path / "out"))
    store.write("chunks/x.json", b"1")
    (tmp_path / "out" / "manifests").symlink_to(tmp_path / "private")
    (tmp_path / "out" / "chunks" / "y.json").symlink_to(tmp_path / "private" / "key.json")
    for name in ("manifests/key.json", "chunks/y.json"):
        for use in (store.read, store.size, store.delete):
            with pytest.raises(StoreError, match=rf"{name} is a link that leads out of .*/out"):
                use(name)
        with pytest.raises(StoreError, match="leads out"):
            store.write(name, b"2")
    with pytest.raises(StoreError, match="leads out"):
        store.list("manifests")
    (tmp_path / "out" / "tables").symlink_to(tmp_path / "private")
    with pytest.raises(StoreError, match="leads out"):
        tables.create_tables(store)
    assert store.list("chunks") == {"chunks/x.json": 1}
    assert (tmp_path / "private" / "key.json").read_text() == "secret"


def test_a_link_within_a_store_and_one_to_a_store_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    store = Store(str(tmp_path / "out"))
    store.write("parts/x", b"1")
    (tmp_path / "disk" / "link").symlink_to(tmp_path / "disk" / "parts")
    assert store.read("link/x") == b"1"


@pytest.fixture
def artifact(any_root: str) -> Artifact:
    """A whole artifact of one chunk."""
    one = Artifact(Store(any_root), "index", "0" * 40)
    one.commit(0, 3, pa.table({"frame": [0, 1, 2]}), seconds=1.0, device="cpu")
    one.close(3, Provenance(1, {}, {}, {}, {}))
    return one


def test_a_manifest_that_names_files_of_others_is_refused(artifact: Artifact) -> None:
    store, manifest = artifact.store, f"manifests/index/{artifact.key}.json"
    store.write("manifests/index/x.json", b"precious")
    facts = unseal(store.read(manifest), dict)
    part = facts["chunks"][0]["part"]
    own = f"artifacts/index/{artifact.key}"
    for name in ("../../../../etc/passwd", "/etc/passwd", "manifests/index/x.json", "artifacts/index/other/x", f"{own}/../x", 7):
        for of in ("part", "state"):
            chunk = {**facts["chunks"][0], of: {**part, "name": name}}
            store.write(manifest, seal({**facts, "chunks": [chunk]}))
            for use in (artifact.manifest, artifact.chunks, artifact.read, lambda: artifact.withdraw([])):
                with pytest.raises(StoreError, match=rf"{manifest} names what is not of this artifact.*remove it"):
                    use()
    assert store.read("manifests/index/x.json") == b"precious"


@pytest.mark.parametrize("span", [{"start": "../../x"}, {"stop": -1}, {"start": True}, {"stop": 0.5}, {"start": 9}])
def test_a_chunk_whose_span_is_none_is_refused(tmp_path: Path, span: dict[str, object]) -> None:
    one = Artifact(Store(str(tmp_path)), "index", "0" * 40)
    one.commit(0, 3, pa.table({"frame": [0, 1, 2]}), seconds=1.0, device="cpu")
    (name,) = one.store.list("chunks")
    one.store.write(name, seal({**unseal(one.store.read(name), dict), **span}))
    with pytest.raises(StoreError, match="not of this artifact"):
        one.chunks()


def test_a_part_that_others_replaced_is_not_believed(artifact: Artifact) -> None:
    (chunk,) = artifact.chunks()
    artifact.store.write(chunk.part.name, b"PAR1 of others")
    with pytest.raises(DamagedArtifactError, match="other bytes"):
        artifact.read()


@pytest.mark.parametrize("name", NAMES)
def test_an_id_is_safe_whatever_a_video_is_called(name: str, tmp_path: Path) -> None:
    of_poses = Source(f"/data/p.parquet#{name}", "poses")
    for source in (Source(f"/data/{name}.mp4"), Source(f"s3://bucket/{name}", "frames"), of_poses):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,57}", source.video_id)
        assert tables.is_id(source.video_id)
    box = {"box_x1": [1.0], "box_y1": [1.0], "box_x2": [9.0], "box_y2": [9.0]}
    pq.write_table(pa.table({"frame": [0], **box, "video": [name]}), tmp_path / "p.parquet")
    (found,) = read_annotations(str(tmp_path / "p.parquet"))
    assert found.name == name, "it is kept as it is, and used for nothing but to be compared and shown"


def test_no_predicate_of_a_table_is_made_from_a_text_that_is_no_id(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    tables.create_tables(store, [schema for schema in tables.PUBLISHED if name_of(schema) == "videos"])
    rows = tables.read(store, "videos")
    for hostile in ("x') OR 1=1 --", "x'; DELETE", "", "a b", 'x"', "x\n", "ü", "../x", "x" * 500):
        for replace_rows in (
            partial(tables.replace_failures, store, 0, [hostile], rows),
            partial(tables.replace_truth, store, 0, [hostile], {"truth_frames": rows}),
            partial(tables.replace_scores, store, hostile, {"scores": rows}),
            partial(tables.replace_training, store, hostile, rows),
        ):
            with pytest.raises(ValueError, match="not an id"):
                replace_rows()
        assert tables.read(store, "videos", videos=[hostile]).num_rows == 0


@pytest.mark.parametrize("run", ["../../etc", f"{RUN}/..", f"{RUN}\n", RUN[:-1], f"{RUN}x", RUN.upper(), ""])
def test_only_an_id_of_a_run_is_taken_for_one(run: str, tmp_path: Path) -> None:
    assert split_address(f"/out@{run}") == (f"/out@{run}", None)
    store = Store(str(tmp_path))
    store.write(f"runs/{RUN}/started.json", b"{}")
    with pytest.raises(StoreError, match="holds no run"):
        find_run(store, run)


def test_a_log_of_a_table_that_names_files_outside_is_not_followed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    tables.create_tables(store)
    rows = tables.read(store, "videos")
    pq.write_table(rows, tmp_path / "outside.parquet")
    log = tmp_path / "out" / "tables" / "videos" / "_delta_log"
    paths = ("../../../outside.parquet", f"{tmp_path}/outside.parquet", "..%2F..%2F..%2Foutside.parquet")
    for n, path in enumerate(paths, start=1):
        size = (tmp_path / "outside.parquet").stat().st_size
        add = {"path": path, "partitionValues": {"shard": "0"}, "size": size, "modificationTime": 0, "dataChange": True}
        entry = log / f"{n:020d}.json"
        entry.write_text(json.dumps({"add": add}) + "\n")
        with pytest.raises((OSError, DeltaError)):
            print(tables.read(store, "videos"))
        entry.unlink()


def test_local_names_that_fsspec_would_take_for_more_are_files(tmp_path: Path) -> None:
    for name in ("x::y.mp4", "simplecache::z.mp4", "a#b@c.mp4", "file::k.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "x").write_bytes(b"another")
    found = find_sources(str(tmp_path))
    assert len(found) == 4
    assert len({content_digest(source) for source in found}) == 4, "each is read, and nothing else"
    assert open_address("x::y.mp4")[1] == f"{Path.cwd()}/x::y.mp4"


def test_names_that_cannot_be_recorded_are_refused_by_name(tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.mp4", os.O_CREAT | os.O_WRONLY))
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.json", os.O_CREAT | os.O_WRONLY))
    for find in (find_sources, lambda folder: find_files(folder, [".json"], "annotations")):
        with pytest.raises(InputError, match=r"caf\\udce9.*not UTF-8.*rename it"):
            find(str(tmp_path))
    (tmp_path / "list.txt").write_bytes(b"a\0b.mp4\n")
    with pytest.raises(InputError, match=r"'a\\x00b\.mp4' holds a NUL"):
        find_sources(str(tmp_path / "list.txt"))
    with pytest.raises(StoreError, match="NUL"):
        Store("/tmp/a\0b")
    (tmp_path / "line\nbreak.mp4").write_bytes(b"")
    assert refusal(str(tmp_path / "line\nbreak.mp4")) is None


def test_two_videos_of_one_id_are_not_mixed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip.mp4").write_bytes(name.encode())
    monkeypatch.setattr(Source, "video_id", "clip-00000000")  # 32 bits of a digest: one in some 50,000 clips of one name
    with pytest.raises(InputError, match=r"clip\.mp4 and .*clip\.mp4 come to one id, clip-00000000, by chance: rename one"):
        find_sources(str(tmp_path))
