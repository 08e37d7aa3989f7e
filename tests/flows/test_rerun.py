"""Running one stage again: what it computes, what the dataset then shows, and what stays."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.again import dependents, wanted_again
from flows.annotate import Summary, annotate, rerun
from flows.settings import SettingsError
from storage.sources import InputError
from storage.store import Store, StoreError
from tasks.merge import read_results
from tests.flows.commands import assert_same, by_poses, committed_parts, published

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, people_clip: Path, prefect_server: None) -> tuple[Path, str]:
    """A store with two videos that two runs made, one with every second frame only; and the first run's id."""
    root = tmp_path_factory.mktemp("rerun")
    for folder in ("one", "two"):
        (root / folder).mkdir()
    shutil.copy(people_clip, root / "one" / "whole.mp4")
    shutil.copy(people_clip, root / "two" / "sampled.mp4")
    first = annotate(str(root / "one"), str(root / "out"), by_poses(), quiet=True)
    annotate(str(root / "two"), str(root / "out"), by_poses(index={"every": 2}), quiet=True)
    return root, first.run


@pytest.fixture
def store(original: tuple[Path, str], tmp_path: Path) -> Store:
    """A copy of that store, to change."""
    shutil.copytree(original[0] / "out", tmp_path / "out")
    return Store(str(tmp_path / "out"))


def again(store: Store, stage: str, *changes: str, run: str | None = None, videos: Sequence[str] = ()) -> Summary:
    return rerun(store.root, run, stage, changes, videos, quiet=True)


def computed(summary: Summary) -> dict[str, int]:
    return {stage: frames for stage, frames in summary.frames.items() if frames}


def tracks(store: Store, run: str | None, name: str) -> pd.DataFrame:
    rows = read_results(store, run, "tracks").to_pandas()
    return rows[rows.video.str.startswith(name)].drop(columns=["run", "video"]).reset_index(drop=True)


def test_another_parameter_runs_that_stage_and_what_rests_on_it(store: Store, original: tuple[Path, str]) -> None:
    before = {name: tracks(store, None, name) for name in ("whole", "sampled")}
    summary = again(store, "track", "iou_gate=0.99")
    assert (summary.videos, summary.changed, len(summary.failures)) == (2, 2, 0)
    assert computed(summary) == {"track": 18, "publish": 18}, "each video keeps its own sampling"
    for name in before:
        assert len(tracks(store, None, name)) > len(before[name])
        assert tracks(store, summary.run, name).equals(tracks(store, None, name))
    assert tracks(store, original[1], "whole").equals(before["whole"]), "URI@RUN stays what that run gave"
    back = again(store, "track", "iou_gate=0.1")
    assert (computed(back), back.changed) == ({}, 2), "what is there under these parameters is published, not computed"
    assert tracks(store, None, "whole").equals(before["whole"])


def test_without_a_change_the_stage_is_computed_anew_and_gives_the_same(store: Store) -> None:
    before, parts = published(store), committed_parts(store)
    summary = again(store, "suppress")
    assert computed(summary) == {"suppress": 18, "track": 18, "publish": 18}
    assert_same(published(store), before)
    assert committed_parts(store) == parts


def test_only_the_named_videos_of_the_named_run_run_again(store: Store, original: tuple[Path, str]) -> None:
    summary = again(store, "track", "similarity=iou", videos=["sampled*"])
    assert (summary.videos, computed(summary)) == (1, {"track": 6, "publish": 6})
    assert set(read_results(store, None, "videos").to_pandas().run) == {original[1], summary.run}
    of_first = again(store, "track", "track.similarity=iou", run=original[1])
    assert (of_first.videos, computed(of_first)) == (1, {"track": 12, "publish": 12})


def test_videos_that_are_gone_are_needed_for_pixels_only(store: Store, original: tuple[Path, str]) -> None:
    moved = original[0] / "moved"
    (original[0] / "one").rename(moved)
    try:
        assert computed(again(store, "track", "similarity=iou", videos=["whole.mp4"])) == {"track": 12, "publish": 12}
        failed = again(store, "detect", "score_threshold=0.4", videos=["whole.mp4"])
    finally:
        moved.rename(original[0] / "one")
    (failure,) = failed.failures
    assert failure.message.endswith("whole.mp4 is not there")
    assert not failure.is_permanent


def test_shots_can_be_split_afterwards(store: Store) -> None:
    summary = again(store, "shots", "split=true", videos=["whole.mp4"])
    assert computed(summary) == {"shots": 12, "track": 12, "publish": 12}


@pytest.mark.parametrize(
    ("stage", "change", "said"),
    [
        ("trak", "similarity=oks", "--stage trak.*choose one of index, boxes, poses, detect"),
        ("track", "similarity", "--set similarity: give it as name=value"),
        ("track", "similarity=cosine", r"track\.similarity.*'cosine'"),
        ("track", "similarty=oks", r"track\.similarty: there is no such setting"),
        ("track", "suppress.method=cnms", "runs only track, correct, publish again"),
    ],
)
def test_what_is_wrong_is_named(store: Store, stage: str, change: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        wanted_again(store, None, stage, [change], [])


def test_videos_and_runs_that_are_not_there_are_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--videos nobody.*sampled-.*whole-"):
        wanted_again(store, None, "track", [], ["nobody"])
    with pytest.raises(StoreError, match="holds no run 20000101-000000-000000"):
        wanted_again(store, "20000101-000000-000000", "track", [], [])
    with pytest.raises(StoreError, match="holds no run; make one"):
        wanted_again(Store(str(tmp_path / "nothing")), None, "track", [], [])


def test_another_network_takes_its_own_size_of_crop_and_none_of_the_weights_before(store: Store) -> None:
    (own, _) = wanted_again(store, None, "estimate", ["network=resnet-50"], [], {"pose": "0" * 64}).earlier.values()
    estimated: Any = own.params["estimate"]
    assert (estimated.input_px, estimated.grey_margin, estimated.weights) == ("384x288", None, "0" * 64)
    changes = ["network=resnet-50", "input_px=256x192", "grey_margin=0.05"]
    (own, _) = wanted_again(store, None, "estimate", changes, [], {"pose": "0" * 64}).earlier.values()
    estimated = own.params["estimate"]
    assert (estimated.input_px, estimated.grey_margin) == ("256x192", 0.05)
    (own, _) = wanted_again(store, None, "estimate", ["crop_scale=1.3"], []).earlier.values()
    assert own.params["estimate"].input_px == "256x256"  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match=r"resnet-50 has no embedded weights.*--pose-weights"):
        wanted_again(store, None, "estimate", ["network=resnet-50"], [])


def test_what_rests_on_a_stage() -> None:
    assert dependents("publish") == {"publish"}
    assert dependents("embed") == {"embed", "track", "paths", "refine", "correct", "publish"}
    assert dependents("track") == {"track", "correct", "publish"}
    assert dependents("refine") == {"refine", "correct", "publish"}
