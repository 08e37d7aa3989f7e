"""What garbage collection takes, and what it never takes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import runs, tables
from storage.artifacts import Artifact
from storage.sealed import seal, unseal
from storage.store import Store, StoreError
from tasks.collect import Order, Outcome, collect
from tasks.retention import Keep
from tests.s3_server import BUCKET, S3Server
from tests.tasks.stores import assert_whole, key, keys_there, make, record, show, video

LATER = timedelta(hours=2)


@pytest.fixture
def store(any_root: str) -> Store:
    return Store(any_root)


def gc(
    store: Store,
    *,
    forget: Sequence[str] = (),
    keep_runs: int | None = None,
    keep: Keep = "all",
    later: timedelta = timedelta(),
    is_removed: bool = True,
    days: float = -1.0,
) -> Outcome:
    """Collect, some time later, what was written before so many days; by default everything."""
    now = datetime.now(UTC) + later
    return collect(store, Order(now - timedelta(days=days), now, forget, keep_runs, keep, is_removed))


def found(outcome: Outcome) -> dict[tuple[str, str], int]:
    return {(one.kind, one.of): one.objects for one in outcome.collected}


def test_what_no_run_refers_to_goes_and_all_else_stays(store: Store) -> None:
    for name in ("one", "two", "nobody"):
        make(store, "estimate", f"{name}estimate")
        make(store, "publish", f"{name}publish")
    make(store, "track", "begun by nobody", is_closed=False)
    make(store, "track", "onetrack", is_closed=False)
    record(store, {"one": video("estimate", "track", "publish", of="one"), "two": video("estimate", "publish", of="two")})
    before = keys_there(store)
    dry = gc(store, is_removed=False)
    assert keys_there(store) == before, "without --delete nothing goes"
    done = gc(store)
    gone = {("estimate", key("nobodyestimate")), ("publish", key("nobodypublish")), ("track", key("begun by nobody"))}
    assert keys_there(store) == before - gone
    assert dry.collected == done.collected
    assert found(done)["unreferenced artifacts", "estimate"] == 5, "two parts, two states, and the manifest"
    assert all(one.bytes > 0 for one in done.collected)
    assert_whole(store)
    assert not gc(store).collected


def test_what_the_tables_show_stays_also_where_the_plan_of_its_run_is_gone(store: Store) -> None:
    shown, unshown = video("estimate", "track", "publish", of="shown"), video("estimate", "publish", of="unshown")
    for keys, name in ((shown, "shown"), (unshown, "unshown")):
        taken: dict[str, str] = {}
        for stage in keys:
            make(store, stage, f"{name}{stage}", inputs=taken)
            taken = {stage: keys[stage]}
    run = record(store, {"shown": shown, "unshown": unshown})
    show(store, "shown", run, shown["publish"])
    store.delete(f"runs/{run}/plan-03-0000.parquet")  # damaged, and taken away by `tkm verify`
    gc(store)
    assert keys_there(store) == set(shown.items())


def test_what_is_young_stays(store: Store) -> None:
    make(store, "estimate", "nobody")
    record(store, {})
    assert not gc(store, days=1).collected
    assert gc(store, days=1, later=timedelta(days=1.1)).collected


def test_forgetting_a_run_frees_what_only_that_run_refers_to(store: Store) -> None:
    for stage, names in {"estimate": ["shared"], "track": ["old", "new"], "publish": ["old", "new"]}.items():
        for name in names:
            make(store, stage, name + stage)
    old = record(store, {"one": video("shared:estimate", "track", "publish", of="old")})
    new = record(store, {"one": video("shared:estimate", "track", "publish", of="new")})
    show(store, "one", new)
    with pytest.raises(StoreError, match="the tables show rows of it"):
        gc(store, forget=[new])
    gc(store)
    assert len(keys_there(store)) == 5, "what an old run refers to stays as long as the run"
    done = gc(store, forget=[old])
    assert keys_there(store) == set(video("shared:estimate", "track", "publish", of="new").items())
    assert runs.all_runs(store) == [new]
    assert ("forgotten runs", old) in found(done)
    assert_whole(store)


def test_of_many_runs_the_newest_and_those_shown_stay(store: Store) -> None:
    made = [record(store, {}) for _ in range(5)]
    show(store, "one", made[1])
    gc(store, keep_runs=2)
    assert runs.all_runs(store) == [made[1], *made[3:]]
    with pytest.raises(StoreError, match="holds no run 20000101-000000-000000"):
        gc(store, forget=["20000101-000000-000000"])


def test_while_a_run_has_not_planned_all_nothing_goes_that_it_may_plan_to_use(store: Store) -> None:
    make(store, "estimate", "forgotten")
    store.write("failures/index/f.json", b"{}")
    at_work = record(store, {"one": video("track", of="one")}, groups=2, has_ended=False)
    make(store, "track", "onetrack", is_closed=False)
    parts = store.list("artifacts")
    held = gc(store)
    assert store.list("artifacts") == parts
    assert not held.collected
    assert at_work in held.held[0]
    with pytest.raises(StoreError, match="goes on"):
        gc(store, forget=[at_work])
    killed = gc(store, later=runs.QUIET * 2, is_removed=False)
    assert found(killed) == {("unreferenced artifacts", "estimate"): 5, ("remembered failures", ""): 1}
    runs.write_plan(store, at_work, "03-0001", [])
    assert found(gc(store)) == found(killed), "once all is planned, its plan says what it needs"
    assert ("track", key("onetrack")) in keys_there(store)


def test_a_run_whose_process_is_gone_holds_nothing_back(store: Store) -> None:
    make(store, "estimate", "nobody")
    run = record(store, {}, groups=2, has_ended=False)
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    name = f"runs/{run}/started.json"
    facts = unseal(store.read(name), dict)
    store.write(name, seal({**facts, "process": {**facts["process"], "pid": gone}}))
    assert gc(store).collected


def test_where_a_run_begins_meanwhile_it_is_put_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = make(store, "estimate", "wanted again")
    record(store, {})
    delete_all = Store.delete_all

    def begin_and_delete(store: Store, names: Sequence[str]) -> None:
        monkeypatch.setattr(Store, "delete_all", delete_all)
        record(store, {"one": {"estimate": artifact.key}})
        delete_all(store, names)

    monkeypatch.setattr(Store, "delete_all", begin_and_delete)
    outcome = gc(store)
    assert "a run has begun meanwhile" in outcome.held[0]
    assert artifact.read().num_rows == 4


def test_strays_go_whatever_artifact_they_lie_beside(store: Store) -> None:
    whole, begun = make(store, "track", "onetrack"), make(store, "suppress", "onesuppress", is_closed=False)
    record(store, {"one": video("track", "suppress", of="one")})
    named = {part.name for chunk in (*whole.chunks(), *begun.chunks()) for part in (chunk.part, chunk.state) if part}
    lost_race, uncommitted = f"{0:09d}-{2:09d}-{'a' * 12}.parquet", f"{4:09d}-{6:09d}-{'b' * 12}.parquet"
    store.write(f"artifacts/track/{whole.key}/{lost_race}", b"lost")
    store.write(f"artifacts/suppress/{begun.key}/{uncommitted}", b"uncommitted")
    store.write(f"chunks/track/{whole.key}/{0:09d}-{2:09d}.json", b"{}")
    store.write("training/t/checkpoints/0001-00000000.pt", b"uncommitted")
    store.write("failures/detect/of-nobody.json", b"{}")
    store.write(f"failures/track/{whole.key}.json", b"{}")
    assert found(gc(store, is_removed=False)) == {("remembered failures", ""): 1}, "the rest may be about to be committed"
    assert found(gc(store, later=LATER)) == {
        ("stray parts", "suppress"): 1,
        ("stray parts", "track"): 1,
        ("stray commits", "track"): 1,
        ("remembered failures", ""): 1,
        ("unfinished checkpoints", ""): 1,
    }
    assert set(store.list("artifacts")) == named
    assert whole.read().num_rows == begun.chunks()[-1].stop == 4
    assert store.list("failures").keys() == {f"failures/track/{whole.key}.json"}


def test_scores_go_with_the_results_that_they_are_of_and_truth_stays(store: Store) -> None:
    make(store, "truth_poses", "truth")
    for name in ("kept", "forgotten"):
        make(store, "publish", f"{name}publish")
        inputs = {"truth_poses": key("truth"), "estimate": key("of the network"), **video("publish", of=name)}
        make(store, "score", f"{name}score", inputs=inputs)
        make(store, "samples", f"{name}samples", inputs=inputs)
    make(store, "oks", "of a file", inputs={"predictions": "p" * 64})
    record(store, {"one": {"estimate": key("of the network"), **video("publish", of="kept")}})
    gc(store)
    kept = {"publish": "keptpublish", "score": "keptscore", "samples": "keptsamples", "oks": "of a file", "truth_poses": "truth"}
    assert keys_there(store) == {(stage, key(name)) for stage, name in kept.items()}


def test_files_that_were_given_stay_as_long_as_a_plan_or_a_training_names_them(store: Store) -> None:
    planned, trained, idle = (hashlib.sha256(name).hexdigest() for name in (b"planned", b"trained", b"idle"))
    for sha256 in (planned, trained, idle):
        store.write(f"weights/{sha256}", b"weights")
        store.write(f"given/{sha256}.parquet", b"rows")
    store.write("training/t/training.json", f'{{"weights": {{"init": "{trained}"}}}}'.encode())
    record(store, {"one": video("embed", of="one")}, params=f'{{"matching": "{planned}"}}')
    gc(store)
    assert store.list("weights").keys() == {f"weights/{sha256}" for sha256 in (planned, trained)}
    assert store.list("given").keys() == {f"given/{sha256}.parquet" for sha256 in (planned, trained)}


def test_what_is_not_ours_is_left_alone(store: Store) -> None:
    record(store, {})
    others = ["renders/a.mp4", "videos/a.mp4", "manifests/clips/k.json", "bodies/b.npz", "artifacts/later/k/p.parquet", "notes"]
    for name in others:
        store.write(name, b"mine")
    assert not gc(store).collected
    assert all(store.size(name) == 4 for name in others)


def test_uploads_that_never_ended_are_aborted(s3_root: str, s3_server: S3Server) -> None:
    store, client = Store(f"{s3_root}/root"), s3_server.client()
    record(store, {})
    names = {name: f"{s3_root.removeprefix(f's3://{BUCKET}/')}/{name}" for name in ("root/artifacts/big", "other/big")}
    for name in names.values():
        upload = client.create_multipart_upload(Bucket=BUCKET, Key=name)["UploadId"]
        client.upload_part(Bucket=BUCKET, Key=name, UploadId=upload, PartNumber=1, Body=b"x" * 5 * 2**20)
    assert not gc(store).collected
    (one,) = gc(store, later=LATER).collected
    assert (one.kind, one.objects, one.bytes) == ("stale uploads", 1, 5 * 2**20)
    left = {upload["Key"] for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])}
    assert names["root/artifacts/big"] not in left
    assert names["other/big"] in left


def test_what_killed_writers_left_in_a_folder_goes(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    record(store, {})
    show(store, "one", runs.all_runs(store)[0])
    hidden = tmp_path / "artifacts" / "detect" / "k" / f".{'0' * 32}.tmp"
    hidden.parent.mkdir(parents=True)
    in_vain = tmp_path / "tables" / "poses" / "shard=3" / "part-00000-11111111-2222-3333-4444-555555555555-c000.snappy.parquet"
    in_vain.parent.mkdir(exist_ok=True)
    for path in (hidden, in_vain, tmp_path / f".check-{'0' * 32}", tmp_path / ".mine.tmp"):
        path.write_bytes(b"rest")
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    young = tmp_path / "runs" / f".{'1' * 32}.tmp"
    young.write_bytes(b"at work")
    assert found(gc(store, days=1)) == {("temporary files", ""): 2, ("old table files", "poses"): 1}
    assert not hidden.exists()
    assert not in_vain.exists()
    assert young.exists()
    assert (tmp_path / ".mine.tmp").exists()
    assert tables.read(store, "videos").num_rows == 1


def test_of_finished_videos_less_can_be_kept_afterwards(store: Store) -> None:
    done, failed = (video("shared:estimate", "embed", "track", "publish", of=name) for name in ("done", "failed"))
    for name in ("sharedestimate", "doneembed", "failedembed", "donetrack", "donepublish"):
        stage = next(stage for stage in done if name.endswith(stage))
        make(store, stage, name)
    record(store, {"done": done, "failed": failed})
    gc(store, keep="features")
    assert ("track", done["track"]) not in keys_there(store)
    assert ("embed", done["embed"]) in keys_there(store)
    gc(store, keep="poses")
    left = {("estimate", done["estimate"]), ("embed", failed["embed"]), ("publish", done["publish"])}
    assert keys_there(store) == left, "a video that is not finished needs what it shares, and what it has"
    assert Artifact(store, "estimate", done["estimate"]).read().num_rows == 4
