"""Corrections on a run's artifacts: what the rows become, which keys change, and what is kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage import tables
from storage.annotated import AnnotatedVideo
from storage.artifacts import DamagedArtifactError
from storage.codecs import column, keypoints_from_columns
from storage.corrections import (
    Correction,
    in_force,
    list_corrections,
    read_correction,
    revoke,
    write_correction,
)
from storage.sources import Source
from storage.store import Store
from tasks import correct, given
from tasks.changes import edits_of
from tasks.merge import merge, published_rows, read_results
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan, plan_video
from tasks.verify import verify_corrections, verify_tables
from tests.conftest import NO_HEADS, run_all
from tests.tasks.plans import finished, recorded_run
from tkm.corrections import Anchor, Edit
from tkm.skeleton import COCO_17

NOSE = COCO_17.keypoints.index("nose")
# Of a plan as it was before there were corrections.
PUBLISH_KEY = "e1cd37e13477124df7c167c3e4b49194eb3affd8"
PUBLISH_KEY_OF_POSES = "c9f52ab46589c2ca5d69c6199c0969305cb69996"


def exported(plan: VideoPlan, run: str, frames: range | None = None) -> AnnotatedVideo:
    """What people are given of a run's rows, of all frames or some."""
    rows = read_results(plan.store, run, "poses", videos=[plan.video])
    if frames is not None:
        rows = rows.filter(np.isin(column(rows, "frame", np.int64), frames))
    xy_px, _ = keypoints_from_columns(rows, COCO_17)
    numbers = {name: column(rows, name, np.int64) for name in ("frame", "detection")}
    given_frames = np.array(frames if frames is not None else range(20))
    label = column(rows, "track_id", np.int64)
    return AnnotatedVideo(plan.video, run, given_frames, **numbers, label=label, xy_px=xy_px, rounding_px=0.0, ignored=())


def without(annotated: AnnotatedVideo, gone: np.ndarray) -> AnnotatedVideo:
    left = {name: getattr(annotated, name)[~gone] for name in ("frame", "detection", "label", "xy_px")}
    return replace(annotated, **left)


def corrected_plan(plan: VideoPlan, *records: str) -> VideoPlan:
    params = {**plan.params, "correct": correct.CorrectParams(records=records)}
    return plan_video(plan.store, plan.source, plan.content_sha256, params)


def kept(plan: VideoPlan, run: str, edits: tuple[Edit, ...]) -> str:
    return write_correction(plan.store, Correction(plan.video, "Ada", "cam01.xml", "0" * 64, run, COCO_17.name, edits))


@pytest.fixture
def plan(short_run: VideoPlan, tmp_path: Path) -> VideoPlan:
    """A finished run of a store of its own."""
    shutil.copytree(short_run.store.root, tmp_path / "store")
    return replace(short_run, store=Store(str(tmp_path / "store")))


@pytest.fixture
def run(plan: VideoPlan) -> str:
    tables.create_tables(plan.store)
    run = recorded_run(plan)
    assert merge(plan.store, run, plan.shard, [finished(plan)]) == (1, [])
    return run


def test_without_corrections_no_key_is_another_than_before_there_were_any(tmp_path: Path) -> None:
    params = {stage.name: stage.Params() for stage in PIPELINE} | NO_HEADS
    by_poses = params | {"poses": given.GivenParams(sha256="0" * 64)}
    keys = [plan_video(Store(str(tmp_path)), Source("/a.mp4"), "content", own).keys for own in (params, by_poses)]
    assert [own["publish"] for own in keys] == [PUBLISH_KEY, PUBLISH_KEY_OF_POSES]
    assert "correct" not in keys[0]


def test_with_corrections_the_last_stages_alone_are_others(plan: VideoPlan) -> None:
    name = "20260101T000000000000Z-" + "0" * 64
    keys = corrected_plan(plan, name).keys
    assert {stage for stage, key in keys.items() if plan.keys.get(stage) != key} == {"correct", "publish"}


def test_what_people_changed_is_what_the_rows_become(plan: VideoPlan, run: str) -> None:
    given_, before = exported(plan, run), read_results(plan.store, run, "poses").to_pandas()
    tracks = np.unique(given_.label)
    xy_px, label = given_.xy_px.copy(), given_.label.copy()
    row = int(np.flatnonzero((given_.frame == 3) & (label == tracks[0]))[0])
    xy_px[row, NOSE] += 40
    label[(label == tracks[0]) & (given_.frame >= 10)] = 77
    left = without(replace(given_, xy_px=xy_px, label=label), label == tracks[1])
    name = kept(plan, run, edits_of(read_results(plan.store, run, "poses"), left))
    after = corrected_plan(plan, name)
    computed = run_all(after)
    assert {stage for stage, frames in computed.items() if frames} == {"correct", "publish"}
    rows = published_rows(plan.store, run, finished(after))
    poses = rows["poses"].to_pandas()
    assert len(poses) == len(before) - (before.track_id == tracks[1]).sum()
    assert tracks[1] not in set(poses.track_id)
    was = before[before.track_id == tracks[0]].set_index("frame")
    new = poses[poses.detection.to_numpy() == was.detection.reindex(poses.frame).to_numpy()].set_index("frame")
    assert new.track_id.nunique() == 2
    assert (new.track_id[new.index < 10] == tracks[0]).all()
    assert new.loc[3].nose_x == pytest.approx(was.loc[3].nose_x + 40, abs=1e-3)
    assert new.loc[3].nose_score == 1
    assert new.loc[4].nose_x == was.loc[4].nose_x
    told = rows["corrections"].to_pandas()
    assert set(told.kind) == {"delete", "split", "move"}
    assert told.is_applied.all()
    assert set(told.author) == {"Ada"}
    assert set(told.joint.dropna()) == {"nose"}
    assert set(rows["tracks"]["track_id"].to_pylist()) == set(poses.track_id)


def test_two_imports_are_made_in_turn_and_one_can_be_revoked(plan: VideoPlan, run: str) -> None:
    given_ = exported(plan, run)
    first, second = np.unique(given_.label)[:2]
    one = kept(plan, run, edits_of(read_results(plan.store, run, "poses"), without(given_, given_.label == first)))
    once = corrected_plan(plan, one)
    run_all(once)
    again = recorded_run(once)
    left = exported(once, again)
    two = kept(plan, again, edits_of(read_results(plan.store, again, "poses"), without(left, left.label == second)))
    assert in_force(plan.store) == {plan.video: (one, two)}
    twice = corrected_plan(plan, one, two)
    run_all(twice)
    poses = published_rows(plan.store, run, finished(twice))["poses"]
    assert not {first, second} & set(poses["track_id"].to_pylist())
    revoke(plan.store, list_corrections(plan.store)[plan.video][0], "Bob")
    assert in_force(plan.store) == {plan.video: (two,)}
    [word] = [name for name in plan.store.list("corrections") if "-revokes-" in name]
    plan.store.write(word, b"damaged")
    assert verify_corrections(plan.store) == ()
    assert in_force(plan.store) == {plan.video: (two,)}, "what was revoked must not come back"


def test_a_number_of_a_track_that_was_not_exported_is_a_new_track(plan: VideoPlan, run: str) -> None:
    rows = read_results(plan.store, run, "poses")
    given_ = exported(plan, run, range(0, 5))
    first, *_, unseen = np.unique(given_.label).tolist()
    rows = rows.filter((column(rows, "track_id", np.int64) != unseen) | (column(rows, "frame", np.int64) >= 5))
    label = np.where((given_.label == first) & (given_.frame >= 3), unseen, given_.label)
    edits = edits_of(rows, without(replace(given_, label=label), given_.label == unseen))
    assert [edit.kind for edit in edits] == ["split"]


def test_people_whom_nobody_could_see_follow_the_track_that_they_were_of(plan: VideoPlan, run: str) -> None:
    given_ = exported(plan, run, range(5, 10))
    first, second = np.unique(given_.label)[:2]
    label = given_.label.copy()
    label[given_.label == first] = 99  # from frame 5 on
    gone = given_.label == second  # in these frames alone
    rows = read_results(plan.store, run, "poses")
    edits = edits_of(rows, without(replace(given_, label=label), gone))
    assert sorted(edit.kind for edit in edits) == ["delete", "split"]
    (split,) = (edit for edit in edits if edit.kind == "split")
    (delete,) = (edit for edit in edits if edit.kind == "delete")
    assert split.anchor.frame == 5
    assert (delete.anchor.frame, delete.last_frame) == (5, 9)


def test_who_follows_into_a_frame_where_the_track_is_already_becomes_another(plan: VideoPlan, run: str) -> None:
    given_ = exported(plan, run, range(5, 10))
    first, second = np.unique(given_.label)[:2]
    label = given_.label.copy()
    label[given_.label == first] = second
    left = without(replace(given_, label=label), given_.label == second)
    edits = edits_of(read_results(plan.store, run, "poses"), left)
    name = kept(plan, run, edits)
    after = corrected_plan(plan, name)
    run_all(after)
    poses = published_rows(plan.store, run, finished(after))["poses"].to_pandas()
    assert not poses.duplicated(["frame", "track_id"]).any()
    assert set(poses[poses.frame < 5].track_id) == set(np.unique(given_.label))
    inside = poses[poses.frame.between(5, 9)]
    assert second in set(inside.track_id)
    assert first not in set(inside.track_id)


def test_what_does_not_apply_is_told_and_changes_nothing(plan: VideoPlan, run: str) -> None:
    nowhere = Anchor(2, (5000.0, 5000.0, 5050.0, 5100.0), (None,) * len(COCO_17.keypoints))
    name = kept(plan, run, (Edit("delete", nowhere, last_frame=4), Edit("move", nowhere, joint=NOSE, xy_px=(1.0, 2.0))))
    after = corrected_plan(plan, name)
    run_all(after)
    rows = published_rows(plan.store, run, finished(after))
    same = ["frame", "detection", "track_id", "nose_x"]
    assert rows["poses"].select(same).equals(read_results(plan.store, run, "poses").select(same))
    told = rows["corrections"].to_pylist()
    assert [one["is_applied"] for one in told] == [False, False]
    assert all("frame 2" in one["why"] for one in told)
    assert [one["track_id"] for one in told] == [None, None]


def test_refined_poses_are_corrected_too(refined_run: VideoPlan, tmp_path: Path) -> None:
    shutil.copytree(refined_run.store.root, tmp_path / "store")
    plan = replace(refined_run, store=Store(str(tmp_path / "store")))
    run = recorded_run(plan)
    rows = read_results(plan.store, run, "poses")
    given_ = exported(plan, run)
    xy_px = given_.xy_px.copy()
    xy_px[0, NOSE] = (12, 34)
    xy_px[1, NOSE] = np.nan
    after = corrected_plan(plan, kept(plan, run, edits_of(rows, replace(given_, xy_px=xy_px))))
    run_all(after)
    poses = published_rows(plan.store, run, finished(after))["poses"].sort_by([("frame", "ascending"), ("track_id", "ascending")])
    own = poses.select(["nose_x", "nose_y", "nose_score"]).slice(0, 2).to_pylist()
    assert own == [{"nose_x": 12, "nose_y": 34, "nose_score": 1}, dict.fromkeys(own[1])]
    assert poses["nose_initial_x"].equals(rows.sort_by([("frame", "ascending"), ("track_id", "ascending")])["nose_initial_x"])


def test_a_correction_reads_back_as_it_was_and_is_told_from_the_listing(any_root: str) -> None:
    store = Store(any_root)
    anchor = Anchor(3, (1.1, 2.2, 3.3, 4.4), ((0.1, 0.2), None, *[(1.0, 2.0)] * 15))
    edits = (
        Edit("merge", anchor, other=replace(anchor, frame=9)),
        Edit("delete", anchor, last_frame=7),
        Edit("move", anchor, joint=NOSE, xy_px=(float(np.float32(0.1)), 5.0)),
        Edit("hide", anchor, joint=4),
    )
    one = Correction("cam-1", "Ada <b>", "x.xml", "1" * 64, "20260101-000000-abcdef", COCO_17.name, edits)
    first = write_correction(store, one)
    second = write_correction(store, one)
    write_correction(store, replace(one, video="cam-2"))
    assert read_correction(store, "cam-1", first) == one
    assert first < second
    assert [own.name for own in list_corrections(store)["cam-1"]] == [first, second]
    revoke(store, list_corrections(store, "cam-1")["cam-1"][1], "Bob")
    assert in_force(store)["cam-1"] == (first,)
    assert set(in_force(store)) == {"cam-1", "cam-2"}
    assert verify_corrections(store) == ()
    store.write(f"corrections/cam-1/{first}.json", b"{}")
    with pytest.raises(DamagedArtifactError, match="verify"):
        read_correction(store, "cam-1", first)
    assert verify_corrections(store) == (f"corrections/cam-1/{first}.json",)
    assert set(in_force(store)) == {"cam-2"}


def test_verify_finds_corrected_tables_right_and_makes_them_anew_where_they_are_not(plan: VideoPlan, run: str) -> None:
    given_ = exported(plan, run)
    gone = given_.label == given_.label[0]
    name = kept(plan, run, edits_of(read_results(plan.store, run, "poses"), without(given_, gone)))
    after = corrected_plan(plan, name)
    run_all(after)
    assert merge(plan.store, recorded_run(after), plan.shard, [finished(after)]) == (1, [])
    told = tables.read(plan.store, "corrections")
    assert told.num_rows >= 1
    assert verify_tables(plan.store).damage == ()
    tables._until_committed(lambda: tables._delete(plan.store, "corrections", "shard >= 0"))
    assert len(verify_tables(plan.store).damage) == 1
    assert tables.read(plan.store, "corrections").equals(told)


def test_a_damaged_correction_is_the_videos_failure_and_names_its_file(plan: VideoPlan, run: str) -> None:
    given_ = exported(plan, run)
    name = kept(plan, run, edits_of(read_results(plan.store, run, "poses"), without(given_, given_.label == given_.label[0])))
    plan.store.write(f"corrections/{plan.video}/{name}.json", b"{}")
    with pytest.raises(DamagedArtifactError, match=name):
        run_all(corrected_plan(plan, name))
