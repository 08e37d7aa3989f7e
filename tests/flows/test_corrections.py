"""What people changed comes back: it is published at once, held by later runs as far as it applies, listed and revoked."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.annotate import annotate, correct, rerun
from flows.cluster import connect
from flows.corrections import changes_of, keep_changes, listed, revoke_all, to_publish
from flows.lineage import lineage
from flows.status import run_status
from storage import tables
from storage.annotated import AnnotatedVideo
from storage.codecs import column, keypoints_from_columns
from storage.corrections import in_force, list_corrections
from storage.sources import InputError
from storage.store import Store
from tasks.collect import Order, collect
from tasks.merge import read_results
from tasks.verify import verify_corrections, verify_tables
from tests.flows.commands import ROOT, by_poses, kill_when, tkm, wait_for_group
from tkm.skeleton import COCO_17

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

FRAMES = 6  # of people_clip
FIRST = by_poses(index={"frames": f":{FRAMES}"})


@pytest.fixture(scope="module", autouse=True)
def cluster(prefect_server: None) -> Iterator[None]:
    """One cluster for all runs of this module, and no reports of theirs."""
    with connect(None, 1) as client, pytest.MonkeyPatch.context() as environment:
        environment.setenv("TKM_ENGINE__DASK", client.scheduler.address)
        environment.setenv("TKM_ENGINE__REPORT", "false")
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, people_clip: Path, cluster: None) -> tuple[Path, str]:
    """A folder with videos and `out`, what a run made of them; and the run's id."""
    root = tmp_path_factory.mktemp("corrections")
    (root / "videos").mkdir()
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(people_clip, root / "videos" / name)
    return root, annotate(str(root / "videos"), str(root / "out"), FIRST, quiet=True).run


@pytest.fixture
def store(original: tuple[Path, str], tmp_path: Path) -> Store:
    """A copy of that store, to change."""
    shutil.copytree(original[0] / "out", tmp_path / "out")
    return Store(str(tmp_path / "out"))


def video_of(store: Store, name: str = "one") -> str:
    return next(video for video in tables.read(store, "videos")["video"].to_pylist() if video.startswith(name))


def exported(store: Store, run: str, name: str = "one") -> AnnotatedVideo:
    """What people are given of a video of a run."""
    video = video_of(store, name)
    rows = read_results(store, run, "poses", videos=[video])
    xy_px, _ = keypoints_from_columns(rows, COCO_17)
    frame, detection, label = (column(rows, own, np.int64) for own in ("frame", "detection", "track_id"))
    return AnnotatedVideo(video, run, np.arange(FRAMES), frame, detection, label, xy_px, 0.0, ())


def without(annotated: AnnotatedVideo, track: int, from_frame: int = 0) -> AnnotatedVideo:
    left = ~((annotated.label == track) & (annotated.frame >= from_frame))
    rows = {name: getattr(annotated, name)[left] for name in ("frame", "detection", "label", "xy_px")}
    return replace(annotated, **rows)


def import_(store: Store, *annotated: AnnotatedVideo, author: str = "Ada") -> Any:
    """Import as the command does; the summary of the run, None where there was none to make."""
    changes = changes_of(store, "cam.xml", "0" * 64, annotated)
    keep_changes(store, changes, author)
    videos = to_publish(store, changes.seen)
    return correct(store.root, videos, {"corrections": changes.source}, quiet=True) if videos else None


def poses(store: Store, run: str | None = None, name: str = "one") -> pd.DataFrame:
    rows = tables.as_written("poses", read_results(store, run, "poses", videos=[video_of(store, name)])).to_pandas()
    return rows.drop(columns=["run"]).sort_values(["frame", "track_id"], ignore_index=True)


def importing(log: Path, store: Store, file: Path, *annotated: AnnotatedVideo) -> subprocess.Popen[bytes]:
    """The command, of annotations that are written to `file`, in a process group of its own."""
    file.write_bytes(pickle.dumps(list(annotated)))
    command = [sys.executable, "-m", "tests.flows.importing", "import-corrections", store.root, str(file)]
    with log.open("wb") as said:
        return subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)


def test_what_people_changed_is_published_and_the_run_that_they_changed_stays(
    store: Store, original: tuple[Path, str]
) -> None:
    run, before, other = original[1], poses(store), poses(store, name="two")
    given = exported(store, run)
    track = int(given.label[0])
    summary = import_(store, without(given, track))
    assert (summary.videos, summary.changed, summary.failures) == (1, 1, ())
    assert {stage for stage, frames in summary.frames.items() if frames} == {"correct", "publish"}
    assert (summary.applied, summary.unapplied) == (1, ())
    assert poses(store).equals(before[before.track_id != track].reset_index(drop=True))
    assert poses(store, run).equals(before)
    assert poses(store, name="two").equals(other)
    assert track not in set(tables.read(store, "tracks", videos=[given.video])["track_id"].to_pylist())
    (row,) = tables.read(store, "corrections").to_pylist()
    assert (row["video"], row["kind"], row["author"], row["source"]) == (given.video, "delete", "Ada", "cam.xml")
    assert (row["run"], row["is_applied"], row["track_id"]) == (summary.run, True, track)
    assert [stage.done for stage in run_status(store, None).stages if stage.stage == "correct"] == [1]
    traced = lineage(store, None, given.video)
    assert "1 edits by Ada from cam.xml" in traced.corrections[0]
    steps = {step.stage: step for step in traced.steps}
    assert steps["correct"].params["records"] == list(in_force(store)[given.video])
    assert steps["correct"].state == "whole"


def test_nothing_changed_makes_no_run_and_the_same_import_is_made_once(store: Store, original: tuple[Path, str]) -> None:
    given = exported(store, original[1])
    assert import_(store, given) is None
    assert list_corrections(store) == {}
    changed = without(given, int(given.label[0]), from_frame=3)
    assert import_(store, changed).changed == 1
    changes = changes_of(store, "cam.xml", "0" * 64, [changed])
    assert (changes.videos, changes.known) == ((), 1)
    assert import_(store, changed) is None
    assert len(list_corrections(store)[given.video]) == 1


def test_a_second_import_is_made_on_the_first_and_either_can_be_revoked(store: Store, original: tuple[Path, str]) -> None:
    given, before = exported(store, original[1]), poses(store)
    first, second = sorted(set(given.label.tolist()))[:2]
    once = import_(store, without(given, first))
    import_(store, without(exported(store, once.run), second), author="Bob")
    assert not {first, second} & set(poses(store).track_id)
    found = listed(store, given.video)
    assert [(one.author, one.state, one.kinds) for one in found] == [
        ("Ada", "in force", {"delete": 1}), ("Bob", "in force", {"delete": 1}),
    ]  # fmt: skip
    (video,) = revoke_all(store, [found[0].correction], "Ada")
    assert correct(store.root, to_publish(store, [video]), {}, quiet=True).changed == 1
    assert poses(store).equals(before[before.track_id != second].reset_index(drop=True))
    assert [one.state for one in listed(store, None)] == ["revoked", "in force"]
    revoke_all(store, [found[1].correction], "Bob")
    back = correct(store.root, to_publish(store, [video]), {}, quiet=True)
    assert {stage for stage, frames in back.frames.items() if frames} == set(), "the rows of the first run are there"
    assert poses(store).equals(before)
    assert tables.read(store, "corrections").num_rows == 0
    assert import_(store, without(given, first)).changed == 1, "what was revoked can be imported again"
    with pytest.raises(InputError, match="--revoke 0000: there is no such correction"):
        revoke_all(store, ["0000"], "Ada")


def test_later_runs_keep_what_applies_and_tell_what_does_not(
    store: Store, original: tuple[Path, str]
) -> None:
    given = exported(store, original[1])
    first, second = sorted(set(given.label.tolist()))[:2]
    label, xy_px = given.label.copy(), given.xy_px.copy()
    label[(given.label == first) & (given.frame >= 3)] = 99
    xy_px[given.label == second] += 30
    import_(store, replace(given, label=label, xy_px=xy_px))
    kept = poses(store)
    resumed = annotate(str(original[0] / "videos"), store.root, FIRST, quiet=True)
    assert not any(resumed.frames.values())
    assert (resumed.applied, resumed.unapplied) == (1 + FRAMES * len(COCO_17.keypoints), ())
    again = rerun(store.root, None, "track", ["similarity=iou"], quiet=True)
    assert again.applied == resumed.applied
    assert poses(store).track_id.nunique() == kept.track_id.nunique()
    assert not poses(store).equals(poses(store, original[1]))
    # Other people: of those with a score that nobody has, none is left.
    none = rerun(store.root, None, "suppress", ["min_pose_score=0.99"], quiet=True)
    assert none.applied == 0
    assert len(none.unapplied) == resumed.applied
    assert "nobody is in frame 3" in "\n".join(none.unapplied)
    told = tables.read(store, "corrections").to_pandas()
    assert not told.is_applied.any()
    assert set(told.run) == {none.run}
    back = rerun(store.root, None, "suppress", ["min_pose_score=0.1", "track.similarity=oks"], quiet=True)
    assert (back.applied, back.unapplied) == (resumed.applied, ())
    assert poses(store).equals(kept)


def test_a_file_of_another_store_or_of_people_who_are_not_there_is_refused(store: Store, original: tuple[Path, str]) -> None:
    given = exported(store, original[1])
    detection = given.detection.copy()
    detection[0] = 99
    for wrong, said in (
        (replace(given, run="20200101-000000-000000"), "a run that is not there any more"),
        (replace(given, video="other-12345678"), "has nobody in video other-12345678"),
        (replace(given, detection=detection), "detection 99 of frame 0 was not exported"),
        (replace(given, label=np.zeros_like(given.label)), "two people of track 0"),
        (replace(given, xy_px=given.xy_px[:, :15]), "15 keypoints, and those of run"),
    ):
        with pytest.raises(InputError, match=f"^cam.xml: .*{said}"):
            changes_of(store, "cam.xml", "0" * 64, [wrong])
    assert list_corrections(store) == {}


def test_gc_leaves_corrections_and_what_rests_on_them(store: Store, original: tuple[Path, str]) -> None:
    from datetime import UTC, datetime, timedelta

    given = exported(store, original[1])
    import_(store, without(given, int(given.label[0])))
    names, shown = set(store.list("corrections")), poses(store)
    later = datetime.now(UTC) + timedelta(days=2)
    collect(store, Order(later, later, keep="poses", is_removed=True))
    assert set(store.list("corrections")) == names
    assert read_results(store, None, "corrections").num_rows == 1
    run = tables.read(store, "videos", videos=[given.video])["run"][0].as_py()
    assert read_results(store, run, "corrections").num_rows == 1
    assert poses(store, run).equals(shown)


@pytest.mark.usefixtures("shared_prefect")
def test_of_two_imports_at_once_nothing_is_lost_and_a_killed_one_goes_on(
    s3_root: str, original: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TKM_ENGINE__DASK")  # workers that know this S3
    store = Store(s3_root)
    for path in (path for path in (original[0] / "out").rglob("*") if path.is_file()):
        store.write(str(path.relative_to(original[0] / "out")), path.read_bytes())
    given, before = exported(store, original[1]), poses(store)
    first, second = sorted(set(given.label.tolist()))[:2]
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    parts = [without(given, first), without(given, second)]
    killed = importing(tmp_path / "log", store, files[0], parts[0])
    kill_when(killed, lambda: bool(store.list("manifests/correct")))
    wait_for_group(killed)
    assert len(list_corrections(store)[given.video]) == 1
    both = [importing(tmp_path / f"log{n}", store, *of) for n, of in enumerate(zip(files, parts, strict=True))]
    codes = [process.wait(timeout=240) for process in both]
    assert codes == [0, 0], "".join((tmp_path / f"log{n}").read_text() for n in range(2))
    assert len(list_corrections(store)[given.video]) == 2
    assert poses(store).equals(before[~before.track_id.isin([first, second])].reset_index(drop=True))
    assert verify_tables(store).damage == ()
    assert verify_corrections(store) == ()
    latest = list_corrections(store)[given.video][-1]
    revoked = tkm("corrections", s3_root, "--revoke", latest.id)
    assert "1 published, 0 failed" in revoked.stdout, revoked.stderr
    shown = tkm("corrections", s3_root, "--video", "one.mp4", "--json")
    assert [one["state"] for one in json.loads(shown.stdout)] == ["in force", "revoked"]
