"""The stages that take what a user gives: which rows, and when they are part of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.given import Given, given_of, sequences_from_table, write_given
from storage.sources import Source
from storage.store import Store
from storage.video import VideoError
from tasks import given, publish, suppress, track
from tasks.execute import run_given, run_index
from tasks.heads import with_weights
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Block
from tasks.verify import verify_given
from tests.conftest import plan_of
from tkm.skeleton import POSETRACK_15

AFTER_SUPPRESS = ("embed", "track", "paths", "refine", "publish")  # by default, where there are heads

def poses(frames: list[int], told: int | None = None) -> Given:
    """One PoseTrack pose in each of these frames."""
    joints = {
        f"{joint}_{axis}": [100.0 + 7 * k if axis == "x" else 100.0 + 11 * (k % 6)] * len(frames)
        for k, joint in enumerate(POSETRACK_15.keypoints)
        for axis in "xy"
    }
    (sequence,) = sequences_from_table(pa.table({"frame": frames, **joints}), "clip", "clip.parquet")
    return given_of(sequence, "poses", told)


def keys(tmp_path: Path, **digests: str) -> dict[str, str]:
    store, params = Store(str(tmp_path)), {stage.name: stage.Params() for stage in PIPELINE}
    params |= {name: given.GivenParams(sha256=digest) for name, digest in digests.items()}
    return dict(plan_video(store, Source("/a.mp4"), "content", with_weights(params, {})).keys)


def test_runs_without_given_rows_have_neither_stage(tmp_path: Path) -> None:
    assert list(keys(tmp_path)) == ["index", "detect", "estimate", "suppress", *AFTER_SUPPRESS]


def test_boxes_take_detects_place_and_poses_that_of_both_networks(tmp_path: Path) -> None:
    assert list(keys(tmp_path, boxes="0" * 64)) == ["index", "boxes", "estimate", "suppress", *AFTER_SUPPRESS]
    assert list(keys(tmp_path, poses="0" * 64)) == ["index", "poses", "suppress", "track", "publish"]


def test_other_rows_are_other_artifacts_from_there_on(tmp_path: Path) -> None:
    first, second = keys(tmp_path, boxes="0" * 64), keys(tmp_path, boxes="1" * 64)
    assert {name for name in first if first[name] == second[name]} == {"index"}


def test_rows_of_sampled_frames_are_taken_in_order() -> None:
    table = given.run(poses([0, 1, 2, 3, 5]).table, np.array([1, 3, 4]), given.GivenParams())
    assert given.POSES.checked(table)["frame"].to_pylist() == [1, 3]


def plan_with(store: Store, clip: Path, rows: Given) -> VideoPlan:
    return plan_of(store, clip, {"poses": given.GivenParams(sha256=write_given(store, rows))})


def no_report(stage: str, frames: int) -> None:
    pass


@pytest.mark.parametrize(
    ("rows", "said"),
    [(poses([100]), "has 100 frames.*speaks of frame 100"), (poses([0], 99), "has 100 frames.*speaks of 99 frames")],
)
def test_rows_of_another_video_are_the_videos_failure(rows: Given, said: str, demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_with(Store(str(tmp_path)), demo_clip, rows)
    run_index(plan, no_report)
    with pytest.raises(VideoError, match=said):
        run_given(plan, given.POSES, report=no_report)
    assert plan.artifact(given.POSES).chunks() == []


def test_the_last_frame_may_have_people(demo_clip: Path, tmp_path: Path) -> None:
    plan = plan_with(Store(str(tmp_path)), demo_clip, poses([0, 99], 100))
    run_index(plan, no_report)
    run_given(plan, given.POSES, report=no_report)
    assert plan.artifact(given.POSES).read()["frame"].to_pylist() == [0, 99]


@pytest.mark.parametrize("memory_frames", [0, 5])
@pytest.mark.parametrize("similarity", ["iou", "oks"])
def test_poses_of_posetrack_are_tracked_in_chunks_as_whole_also_where_a_chunk_has_nobody(
    similarity: str, memory_frames: int
) -> None:
    params = track.TrackParams(similarity=similarity, memory_frames=memory_frames)
    rows = poses([2, 3, 6, 7]).table

    def tracked(chunks: list[list[int]]) -> pa.Table:
        state, found = None, []
        for chunk in chunks:
            block = Block(np.array(chunk), np.array(chunk), (), {"poses": given.run(rows, np.array(chunk), given.GivenParams())})
            kept = suppress.STAGE.checked(suppress.run(block, suppress.SuppressParams()))
            block = Block(block.frames, block.pts_ns, (), {**block.inputs, "suppress": kept})
            table, state = track.run(block, params, state)
            block = Block(block.frames, block.pts_ns, (), {**block.inputs, "track": track.STAGE.checked(table)})
            found.append(publish.STAGE.checked(publish.run(block, publish.PublishParams())))
        return pa.concat_tables(found).unify_dictionaries().combine_chunks()

    whole = tracked([list(range(8))])
    assert whole["track_id"].to_pylist() == ([0, 0, 0, 0] if memory_frames else [0, 0, 1, 1])
    assert set(whole["skeleton"].to_pylist()) == {"posetrack_15"}
    assert whole["left_eye_x"].null_count == 4
    assert tracked([[0, 1], [2, 3], [4, 5], [6], [7]]).to_pylist() == whole.to_pylist()


def test_verify_takes_away_given_rows_that_are_damaged_and_leaves_others(any_root: str) -> None:
    store = Store(any_root)
    names = [f"given/{write_given(store, poses(frames))}.parquet" for frames in ([0], [1])]
    assert verify_given(store) == ()
    store.write(names[0], store.read(names[0])[:-1] + b"?")
    assert verify_given(store) == (names[0],)
    assert list(store.list("given")) == names[1:]
    write_given(store, poses([0]))
    assert verify_given(store) == ()
