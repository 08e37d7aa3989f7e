"""Whole runs with `--keep`, and beside garbage collection: what is removed is not missed, and what is missed is made again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from flows.annotate import Summary, annotate, rerun
from flows.status import run_status
from storage import runs
from storage.artifacts import closed_keys, open_keys
from storage.store import Store
from tasks.marks import planned_keys
from tasks.pipeline import PIPELINE
from tasks.retention import dropped_stages, remove
from tasks.verify import verify_artifacts, verify_tables
from tests.flows.commands import BY_POSES, assert_same, by_poses, kill_when, published, start, tkm, wait_for_group

pytestmark = [pytest.mark.usefixtures("prefect_server", "shared_prefect"), pytest.mark.slow]

KEPT = {"index", "publish"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, people_clip: Path) -> Path:
    """Two videos of one content."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(people_clip, folder / name)
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """What a run that keeps everything publishes."""
    output = str(tmp_path_factory.mktemp("undisturbed"))
    annotate(str(videos), output, by_poses(), quiet=True)
    return published(Store(output))


def stages_there(store: Store) -> set[str]:
    """Stages of which anything is left."""
    return {name.split("/")[1] for prefix in ("artifacts", "chunks", "manifests") for name in store.list(prefix)}


def computed(summary: Summary) -> dict[str, int]:
    return {stage: frames for stage, frames in summary.frames.items() if frames}


def test_a_run_keeps_what_the_tables_are_made_of_and_nothing_is_missed(
    any_root: str, videos: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    store, poses = Store(any_root), by_poses(engine={"keep": "poses"})
    assert not annotate(str(videos), any_root, poses, quiet=True).failures
    assert stages_there(store) == KEPT
    assert not store.list("retired")
    assert_same(published(store), undisturbed)
    assert computed(annotate(str(videos), any_root, by_poses(), quiet=True)) == {}
    status = run_status(store, None)
    assert {(stage.done, stage.missing) for stage in status.stages} == {(2, 0)}
    assert not any(stage.damage for stage in verify_artifacts(store, print))
    assert not verify_tables(store).damage
    again = rerun(any_root, None, "track", ["iou_gate=0.99"], quiet=True)
    assert set(computed(again)) == {"detect", "estimate", "suppress", "track", "publish"}, "what it takes is made again"
    assert stages_there(store) == {*KEPT, "detect", "estimate", "suppress", "track"}
    back = rerun(any_root, None, "track", ["iou_gate=0.1"], settings={"engine": {"keep": "poses"}}, quiet=True)
    assert computed(back) == {}, "the rows of before are there"
    assert_same(published(store), undisturbed)


@pytest.mark.parametrize("stage", ["publish", "artifacts"])
def test_killed_while_it_removes_it_goes_on_and_computes_nothing_again(
    stage: str, tmp_path: Path, videos: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    store = Store(str(tmp_path / "out"))
    command = ["annotate", str(videos), "-o", store.root, *BY_POSES, "--keep", "poses"]

    def is_time() -> bool:
        if stage == "publish":  # about to remove
            return bool(closed_keys(store, "publish"))
        return bool(store.list("retired")) or (bool(closed_keys(store, "publish")) and not closed_keys(store, "track"))

    process = start(tmp_path / "log", *command)
    kill_when(process, is_time)
    wait_for_group(process)
    done = tkm(*command)
    assert done.returncode == 0, done.stderr
    assert "none, all was there" in done.stdout
    assert stages_there(store) == KEPT
    assert not store.list("retired")
    assert_same(published(store), undisturbed)


def test_a_run_from_which_artifacts_are_taken_makes_them_again(
    tmp_path: Path, videos: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    store = Store(str(tmp_path / "out"))
    process = start(tmp_path / "log", "annotate", str(videos), "-o", store.root, *BY_POSES, "--chunk-frames", "1")
    taken = 0
    while process.poll() is None:
        for keys in planned_keys(store, runs.all_runs(store)):
            begun = open_keys(store, "track") | closed_keys(store, "track")
            if taken < 2 and keys["track"] in begun and keys["publish"] not in closed_keys(store, "publish"):
                remove(store, {(stage, key) for stage, key in keys.items() if stage in dropped_stages("poses")})
                taken += 1
        time.sleep(0.01)
    assert process.wait() == 0, (tmp_path / "log").read_text()
    assert taken, "the run was over before anything could be taken"
    assert_same(published(store), undisturbed)
    assert not any(stage.damage for stage in verify_artifacts(store, print))


def test_collected_beside_runs_at_work_nothing_that_they_need_goes(
    any_root: str, tmp_path: Path, videos: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    store = Store(any_root)
    command = ["annotate", str(videos), "-o", any_root, *BY_POSES, "--chunk-frames", "2"]
    processes = [start(tmp_path / f"log{n}", *command, *more) for n, more in enumerate(([], ["--keep", "features"]))]
    while any(process.poll() is None for process in processes):
        if runs.all_runs(store):
            assert tkm("gc", any_root, "--delete", "--older-than", "0", "--json").returncode == 0
        time.sleep(0.2)
    for n, process in enumerate(processes):
        assert process.wait() == 0, (tmp_path / f"log{n}").read_text()
    assert_same(published(store), undisturbed)
    assert tkm("verify", any_root).returncode == 0
    assert tkm(*command).returncode == 0  # finishes what one run had just begun anew when the other let it go
    assert "none, all was there" in tkm(*command).stdout


def test_the_command_tells_what_would_go_and_removes_it_when_told(tmp_path: Path, videos: Path) -> None:
    root = str(tmp_path / "out")
    annotate(str(videos), root, by_poses(), quiet=True)
    dry = tkm("gc", root, "--keep", "poses")
    assert dry.returncode == 0, dry.stderr
    assert "would go" in dry.stdout
    assert "estimate" in dry.stdout
    assert len(stages_there(Store(root))) == 6
    assert "removed" in tkm("gc", root, "--keep", "poses", "--delete").stdout
    assert stages_there(Store(root)) == KEPT
    assert {stage.name for stage in PIPELINE} > KEPT
    for arguments, said in (
        (["--keep", "some"], "give all, features, poses"),
        (["--forget", "20000101-000000-000000"], "holds no run 20000101-000000-000000"),
        (["--forget", runs.all_runs(Store(root))[0]], "the tables show rows of it"),
    ):
        wrong = tkm("gc", root, *arguments)
        assert wrong.returncode == 2
        assert said in wrong.stderr.replace("\n", " ")
