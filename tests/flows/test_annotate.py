"""The annotate flow as its users meet it: real videos, a real Prefect server, a local Dask cluster. Poses alone track."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from flows.annotate import Summary, annotate
from flows.errors import TooManyFailuresError
from flows.status import run_status
from storage.artifacts import Artifact, closed_keys
from storage.schemas import POSE_KEYPOINTS, PUBLISHED, name_of
from storage.sealed import seal, unseal
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import by_poses
from tkm.skeleton import COCO_17

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]


def run(input_: Path, output: Path, **settings: dict[str, Any]) -> Summary:
    return annotate(str(input_), str(output), by_poses(**settings), quiet=True)


def published(output: Path, name: str) -> pd.DataFrame:
    return DeltaTable(str(output / "tables" / name)).to_pandas()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, people_clip: Path) -> tuple[Path, Path, Summary]:
    """A folder of four videos, one of them broken and one a copy, its output, and the first run over it."""
    root = tmp_path_factory.mktemp("dataset")
    videos, output = root / "videos", root / "out"
    (videos / "day two").mkdir(parents=True)
    shutil.copy(people_clip, videos / "people.mp4")
    shutil.copy(people_clip, videos / "day two" / "Straße 7.mp4")
    (videos / "broken.mp4").write_bytes(people_clip.read_bytes()[:20_000])
    return videos, output, run(videos, output)


def test_the_tables_hold_every_person_of_every_video(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, summary = dataset
    assert (summary.videos, summary.changed, len(summary.failures)) == (3, 2, 1)
    videos, poses = published(output, "videos"), published(output, "poses")
    assert sorted(videos.name) == ["Straße 7.mp4", "people.mp4"]
    assert (videos.frames == 12).all()
    for video in videos.video:
        mine = poses[poses.video == video]
        assert len(mine) == videos.set_index("video").poses[video]
        longest = mine.groupby("track_id").size().nlargest(2)
        assert (longest == 12).all(), "two people are in view in all twelve frames"
        assert mine.nose_x.between(0, 544).all()
        assert mine.nose_y.between(0, 960).all()
    frames = published(output, "frames")
    assert len(frames) == 24
    assert frames.persons.sum() == len(poses)
    tracks = published(output, "tracks")
    assert tracks.poses.sum() == len(poses)


def test_a_failure_says_which_video_and_why(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, summary = dataset
    failures = published(output, "failures")
    assert failures.uri.str.endswith("broken.mp4").tolist() == [True]
    assert failures.is_permanent.all()
    assert "broken.mp4" in failures.message[0]
    assert [failure.stage for failure in summary.failures] == ["index"]


def test_published_columns_and_rows_follow_the_schemas(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, _ = dataset
    for schema in PUBLISHED:
        table = DeltaTable(str(output / "tables" / name_of(schema)))
        assert [field.name for field in table.schema().fields] == schema.names
    poses = published(output, "poses")
    assert not poses.duplicated(["video", "frame", "track_id"]).any()
    parts = ("x", "y", "score")
    lacking = {f"{joint}_{part}" for joint in POSE_KEYPOINTS if joint not in COCO_17.keypoints for part in parts}
    lacking |= {f"{joint}_initial_{part}" for joint in POSE_KEYPOINTS for part in parts}  # nothing was refined
    assert set(poses.columns[poses.isna().any()]) == lacking
    assert poses[sorted(lacking)].isna().all(axis=None)


def test_a_run_ends_with_a_report_that_the_next_one_leaves_as_it_is(tmp_path: Path, people_clip: Path) -> None:
    output = tmp_path / "out"
    (output / "reports").parent.mkdir()
    (output / "reports").write_text("in the way")
    assert run(people_clip, output).report == "", "results are none the worse for want of a report"
    (output / "reports").unlink()
    assert run(people_clip, output, engine={"report": False}).report == ""
    assert not (output / "reports").exists()
    first = run(people_clip, output)
    assert first.report == f"{output}/reports/{first.run}.html"
    assert f"{output}@{first.run}" in Path(first.report).read_text()
    assert run(people_clip, output).report == first.report


def test_a_second_run_computes_nothing_and_remembers_the_failure(dataset: tuple[Path, Path, Summary]) -> None:
    videos, output, first = dataset
    before = {path: path.stat().st_mtime_ns for path in (output / "artifacts").rglob("*.parquet")}
    again = run(videos, output)
    assert (sum(again.frames.values()), again.changed) == (0, 0)
    assert [failure.message for failure in again.failures] == [failure.message for failure in first.failures]
    assert {path: path.stat().st_mtime_ns for path in (output / "artifacts").rglob("*.parquet")} == before


def test_a_tracking_parameter_runs_track_and_publish_only(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, original, first = dataset
    output = tmp_path / "out"
    shutil.copytree(original, output)
    other = run(videos, output, track={"iou_gate": 0.99})
    assert {stage for stage, frames in other.frames.items() if frames} == {"track", "publish"}
    assert published(output, "tracks").shape[0] > published(original, "tracks").shape[0]
    store = Store(str(output))
    assert read_results(store, first.run, "tracks").num_rows == published(original, "tracks").shape[0]
    assert read_results(store, other.run, "tracks").num_rows == published(output, "tracks").shape[0]
    states = {stage.stage: (stage.done, stage.missing, stage.failed) for stage in run_status(store, other.run).stages}
    assert states["publish"] == (2, 0, 0)
    back = run(videos, output)
    assert (back.changed, sum(back.frames.values())) == (2, 0), "all of it is there, and only the tables show something else"
    assert published(output, "tracks").shape[0] == published(original, "tracks").shape[0]


def test_splitting_shots_is_a_stage_of_the_runs_that_ask_for_it_only(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, original, first = dataset
    output = tmp_path / "out"
    shutil.copytree(original, output)
    store = Store(str(output))
    assert "shots" not in [stage.stage for stage in run_status(store, first.run).stages]
    split = run(videos, output, shots={"split": True})
    assert {stage for stage, frames in split.frames.items() if frames} == {"shots", "track", "publish"}
    states = {stage.stage: (stage.done, stage.missing, stage.failed) for stage in run_status(store, split.run).stages}
    assert states["shots"] == states["track"] == states["publish"] == (2, 0, 0)
    part = next((output / "artifacts" / "shots").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    again = run(videos / "people.mp4", output, shots={"split": True}, track={"iou_gate": 0.2})
    assert (again.frames["shots"], len(again.failures)) == (12, 0), "what is damaged is computed again"
    assert sum(run(videos, output).frames.values()) == 0


def test_a_frame_that_only_the_shots_need_fails_there_and_only_where_they_are_split(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(5):
        cv2.imwrite(str(frames / f"{n}.png"), np.full((120, 160, 3), 90, np.uint8))
    (frames / "1.png").write_bytes(b"no image")
    split = run(frames, tmp_path / "out", index={"every": 2}, shots={"split": True})
    assert [(failure.stage, failure.is_permanent) for failure in split.failures] == [("shots", True)]
    assert "1.png" in split.failures[0].message
    states = {stage.stage: (stage.done, stage.failed) for stage in run_status(Store(str(tmp_path / "out")), split.run).stages}
    assert (states["suppress"], states["shots"], states["track"]) == ((1, 0), (0, 1), (0, 0))
    assert run(frames, tmp_path / "out", index={"every": 2}).failures == ()


def test_damaged_inputs_are_computed_again_and_change_nothing(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, original, _ = dataset
    output = tmp_path / "out"
    first = run(videos / "people.mp4", output, engine={"chunk_frames": 3})
    parts = sorted((output / "artifacts" / "estimate").rglob("*.parquet"))
    assert len(parts) == 4
    parts[0].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-9])
    flipped = bytearray(parts[3].read_bytes())
    flipped[500] ^= 1
    parts[3].write_bytes(flipped)
    again = run(videos / "people.mp4", output, engine={"chunk_frames": 3}, suppress={"pnms_distance": 0.16})
    assert (len(first.failures), len(again.failures)) == (0, 0)
    assert again.frames["estimate"] == 9
    columns = ["frame", "track_id", "nose_x", "left_ankle_y", "box_score"]
    expected = published(original, "poses").query("video.str.startswith('people-')")[columns]
    found = published(output, "poses")[columns]
    order = ["frame", "track_id"]
    assert found.sort_values(order, ignore_index=True).equals(expected.sort_values(order, ignore_index=True))


def test_damage_between_two_stages_that_are_missing_is_computed_again(
    dataset: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    videos, original, _ = dataset
    output = tmp_path / "out"
    shutil.copytree(original, output)
    store = Store(str(output))
    for stage in ("detect", "suppress"):
        for key in closed_keys(store, stage):
            artifact = Artifact(store, stage, key)
            artifact.withdraw(artifact.chunks())
    for part in (output / "artifacts" / "estimate").rglob("*.parquet"):
        part.write_bytes(part.read_bytes()[:-9])
    again = run(videos / "people.mp4", output)
    assert again.failures == ()
    assert {stage for stage, frames in again.frames.items() if frames} == {"detect", "estimate", "suppress"}
    order = ["video", "frame", "detection"]
    columns = [*order, "track_id", "nose_x"]
    found, expected = (published(root, "poses").sort_values(order, ignore_index=True)[columns] for root in (output, original))
    assert found.equals(expected)


def test_a_list_with_an_entry_that_is_not_there_finishes_the_rest(
    dataset: tuple[Path, Path, Summary], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    videos, _, _ = dataset
    (tmp_path / "list.csv").write_text(f"uri\nnowhere.mp4\n{videos}/people.mp4\n")
    summary = run(tmp_path / "list.csv", tmp_path / "out")
    assert [failure.message for failure in summary.failures] == [f"{tmp_path}/nowhere.mp4 is not there"]
    assert summary.changed == 1
    status = run_status(Store(str(tmp_path / "out")), None)
    states = {stage.stage: (stage.done, stage.missing, stage.failed) for stage in status.stages}
    assert (states["index"], states["publish"]) == ((1, 0, 1), (1, 0, 0))
    assert "Traceback" not in capfd.readouterr().err


def test_renaming_and_adding_videos_computes_nothing_known(
    dataset: tuple[Path, Path, Summary], tmp_path: Path, demo_clip: Path
) -> None:
    videos, original, _ = dataset
    output, moved = tmp_path / "out", tmp_path / "moved"
    shutil.copytree(original, output)
    moved.mkdir()
    shutil.copy(videos / "people.mp4", moved / "renamed.mp4")
    summary = run(moved, output)
    assert sum(summary.frames.values()) == 0
    assert sorted(published(output, "videos").name) == ["Straße 7.mp4", "people.mp4", "renamed.mp4"]
    added = run(demo_clip, output, index={"frames": ":3"})
    assert added.frames["detect"] == 3
    assert len(published(output, "videos")) == 4


def test_replaced_content_is_noticed(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, _, _ = dataset
    video, output = tmp_path / "video.mp4", tmp_path / "out"
    shutil.copy(videos / "broken.mp4", video)
    assert len(run(video, output).failures) == 1
    shutil.copy(videos / "people.mp4", video)
    summary = run(video, output)
    assert (summary.changed, len(summary.failures)) == (1, 0)
    assert len(published(output, "failures")) == 0
    assert (published(output, "videos").frames == 12).all()


def test_a_failed_video_is_tried_again_on_request_only(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, _, _ = dataset
    output = tmp_path / "out"
    first = run(videos / "broken.mp4", output)
    memory = next((output / "failures").rglob("*.json"))
    memory.write_bytes(seal({**unseal(memory.read_bytes(), dict), "message": "remembered"}))
    assert [failure.message for failure in run(videos / "broken.mp4", output).failures] == ["remembered"]
    tried = run(videos / "broken.mp4", output, engine={"retry_failed": True})
    assert [failure.message for failure in tried.failures] == [first.failures[0].message]


def test_too_many_failures_stop_the_run(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, _, _ = dataset
    with pytest.raises(TooManyFailuresError, match=r"broken\.mp4"):
        run(videos / "broken.mp4", tmp_path / "out", engine={"max_failures": 0})
