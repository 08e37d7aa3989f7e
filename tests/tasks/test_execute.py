"""Running stages: chunk lengths, threads and interruptions change no bit, and nothing is computed twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.artifacts import DamagedArtifactError
from storage.store import Store
from storage.video import VideoError
from tasks import detect, embed, estimate, index, paths, refine, suppress, track
from tasks.execute import missing_pieces, run_frames, run_index
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, missing
from tests.conftest import plan_of, run_all


def no_report(stage: str, frames: int) -> None:
    """Report to nobody."""


NONE = {stage.name: set[str]() for stage in PIPELINE}
SHORT = {"index": index.IndexParams(frames=":20")}


def tables(plan: VideoPlan) -> dict[str, pa.Table]:
    return {stage.name: plan.artifact(stage).read().combine_chunks() for stage in plan.stages}


@pytest.mark.parametrize(("chunk_frames", "threads"), [(7, 1), (1, 3)])
def test_chunk_length_and_threads_change_no_bit(
    short_run: VideoPlan, demo_clip: Path, tmp_path: Path, chunk_frames: int, threads: int
) -> None:
    plan = plan_of(Store(str(tmp_path)), demo_clip, SHORT)
    run_all(plan, chunk_frames=chunk_frames, threads=threads)
    assert plan.keys == short_run.keys
    for name, table in tables(short_run).items():
        assert tables(plan)[name].equals(table), name


def test_a_chunk_that_is_missing_in_stages_with_a_halo_is_computed_alone(refined_run: VideoPlan, tmp_path: Path) -> None:
    plan = replace(refined_run, store=Store(str(tmp_path)))
    run_all(plan, chunk_frames=2, threads=3)
    for stage in (embed.STAGE, paths.STAGE, refine.STAGE):
        artifact = plan.artifact(stage)
        artifact.withdraw([artifact.chunks()[1]])
    computed = run_all(plan, chunk_frames=3)
    assert {stage: frames for stage, frames in computed.items() if frames} == {"embed": 2, "paths": 2, "refine": 2}
    for name, table in tables(refined_run).items():
        assert tables(plan)[name].equals(table), name


def test_a_second_run_computes_nothing(short_run: VideoPlan) -> None:
    assert set(run_all(short_run).values()) == {0}


def test_an_interrupted_pass_goes_on_where_it_stopped(short_run: VideoPlan, demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_of(Store(str(tmp_path)), demo_clip, SHORT)
    stop = run_index(plan, no_report)

    class StoppedError(Exception):
        pass

    def until_third_chunk(stage: str, frames: int) -> None:
        if len(plan.artifact(suppress.STAGE).chunks()) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_frames(plan, STEPS["networks"], 0, stop, chunk_frames=4, threads=2, report=until_third_chunk)
    assert plan.artifact(detect.STAGE).manifest() is None
    computed = run_all(plan, chunk_frames=6)
    assert computed["detect"] == computed["estimate"] == computed["suppress"] == 20 - 8
    for name, table in tables(short_run).items():
        assert tables(plan)[name].equals(table), name


def test_a_chunk_missing_in_one_stage_only_is_computed_there_only(short_run: VideoPlan, demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_of(Store(str(tmp_path)), demo_clip, SHORT)
    run_all(plan, chunk_frames=10)
    artifact = plan.artifact(estimate.STAGE)
    artifact.withdraw([artifact.chunks()[0]])
    computed = run_all(plan, chunk_frames=10)
    assert {stage: frames for stage, frames in computed.items() if frames} == {"estimate": 10}
    assert tables(plan)["estimate"].equals(tables(short_run)["estimate"])


@pytest.mark.parametrize("gone", [1, 2], ids=["middle chunk", "last chunk"])
def test_tracking_goes_on_in_the_middle_with_the_same_ids(
    short_run: VideoPlan, demo_clip: Path, tmp_path: Path, gone: int
) -> None:
    shutil.copytree(short_run.store.root, tmp_path / "out")
    other = SHORT | {"track": track.TrackParams(similarity="oks", iou_gate=0.3)}
    plan = plan_of(Store(str(tmp_path / "out")), demo_clip, other)
    run_all(plan, chunk_frames=7)
    whole = tables(plan)["track"]
    artifact = plan.artifact(track.STAGE)
    artifact.withdraw([artifact.chunks()[gone]])
    computed = run_all(plan, chunk_frames=7)
    assert computed["track"] == (7, 7, 6)[gone]
    assert tables(plan)["track"].equals(whole)


def test_damage_of_an_input_is_noticed_before_it_is_used(demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_of(Store(str(tmp_path)), demo_clip, {"index": index.IndexParams(frames=":2")})
    stop = run_index(plan, no_report)
    run_frames(plan, [detect.STAGE], 0, stop, chunk_frames=2, threads=1, report=no_report)
    part = Path(plan.store.path(plan.artifact(detect.STAGE).chunks()[0].part.name))
    part.write_bytes(part.read_bytes()[::-1])
    with pytest.raises(DamagedArtifactError):
        run_frames(plan, [estimate.STAGE], 0, stop, chunk_frames=2, threads=1, report=no_report)
    assert plan.artifact(detect.STAGE).manifest() is None
    assert plan.artifact(estimate.STAGE).chunks() == []


def test_segments_of_a_video_run_apart_and_close_together(short_run: VideoPlan, demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_of(Store(str(tmp_path)), demo_clip, SHORT)
    run_index(plan, no_report)
    for start, stop in ((12, 20), (0, 12)):
        run_frames(plan, STEPS["networks"], start, stop, chunk_frames=5, threads=2, report=no_report)
        assert (plan.artifact(detect.STAGE).manifest() is not None) == (start == 0)
    assert plan.artifact(suppress.STAGE).read().equals(short_run.artifact(suppress.STAGE).read())


def test_pieces_cover_what_is_missing_and_nothing_else() -> None:
    pieces = missing_pieces([detect.STAGE], {"detect": []}, 5, 20, 6)
    assert [(piece.start, piece.stop) for piece in pieces] == [(5, 11), (11, 17), (17, 20)]


def test_a_tracking_parameter_leaves_everything_before_it_done(short_run: VideoPlan, demo_clip: Path) -> None:
    other = plan_of(short_run.store, demo_clip, SHORT | {"track": track.TrackParams(similarity="iou")})
    closed = {stage.name: {short_run.keys[stage.name]} for stage in short_run.stages}
    assert missing(short_run, NONE.__getitem__, closed.__getitem__) == set()
    assert missing(other, NONE.__getitem__, closed.__getitem__) == {"track", "publish"}


def test_a_finished_last_stage_needs_none_of_its_inputs(short_run: VideoPlan) -> None:
    closed = {stage.name: set[str]() for stage in PIPELINE} | {"publish": {short_run.keys["publish"]}}
    assert missing(short_run, NONE.__getitem__, closed.__getitem__) == set()


def test_sampling_gives_the_same_people_in_the_frames_it_keeps(short_run: VideoPlan, demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_of(Store(str(tmp_path)), demo_clip, {"index": index.IndexParams(every=7, frames=":20")})
    run_all(plan)
    full, sampled = tables(short_run)["detect"].to_pandas(), tables(plan)["detect"].to_pandas()
    assert sorted(sampled.frame.unique()) == [0, 7, 14]
    expected = full[full.frame.isin([0, 7, 14])].reset_index(drop=True)
    assert np.array_equal(sampled.to_numpy(), expected.to_numpy())


def test_a_broken_video_is_a_sentence_that_names_it(tmp_path: Path) -> None:
    clip = tmp_path / "not a video.mp4"
    clip.write_text("hello")
    with pytest.raises(VideoError, match=r"not a video\.mp4"):
        run_index(plan_of(Store(str(tmp_path / "out")), clip), no_report)


def test_renaming_keeps_every_key_and_other_content_changes_all(short_run: VideoPlan, demo_clip: Path, tmp_path: Path) -> None:
    renamed, replaced = tmp_path / "other name.mp4", tmp_path / "cam01.mp4"
    renamed.write_bytes(demo_clip.read_bytes())
    replaced.write_bytes(demo_clip.read_bytes() + b"\0")
    store = Store(str(tmp_path / "out"))
    assert plan_of(store, renamed, SHORT).keys == short_run.keys
    assert not set(plan_of(store, replaced, SHORT).keys.values()) & set(short_run.keys.values())
