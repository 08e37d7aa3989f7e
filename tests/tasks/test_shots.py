"""Camera cuts: found where they are, and nobody is followed over them; without --split-shots nothing of it exists."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from storage.artifacts import Artifact, artifact_key
from storage.store import Store
from storage.video import VideoError
from tasks import index, publish, shots, track
from tasks.execute import run_index, run_whole
from tasks.plan import VideoPlan, missing
from tests.conftest import plan_of, run_all

Image = NDArray[np.uint8]
FRAMES, CUT = 20, 10
SPLIT = {"shots": shots.ShotsParams(split=True)}


def write(path: Path, images: list[Image], rate: int = 60) -> Path:
    """A video of these pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def demo_frames(clip: Path, count: int, width: int = 544, height: int = 960) -> list[Image]:
    with av.open(str(clip)) as container:
        frames = zip(range(count), container.decode(video=0), strict=False)
        return [frame.reformat(width, height, "rgb24").to_ndarray() for _, frame in frames]


@pytest.fixture(scope="module")
def cut_clip(tmp_path_factory: pytest.TempPathFactory, demo_clip: Path) -> Path:
    """The bundled clip at half its size, mirrored from frame 10 on: people stand where others stood before the cut."""
    images = demo_frames(demo_clip, FRAMES)
    return write(tmp_path_factory.mktemp("cut") / "cut.mp4", images[:CUT] + [image[:, ::-1] for image in images[CUT:]])


@pytest.fixture(scope="module")
def uncut_run(tmp_path_factory: pytest.TempPathFactory, cut_clip: Path) -> VideoPlan:
    """The clip annotated without --split-shots. Copy its store to change it."""
    plan = plan_of(Store(str(tmp_path_factory.mktemp("uncut"))), cut_clip)
    run_all(plan)
    return plan


def split_run(uncut: VideoPlan, folder: Path, clip: Path, chunk_frames: int) -> VideoPlan:
    """The same with --split-shots, on top of a copy of the run without it."""
    shutil.copytree(uncut.store.root, folder)
    plan = plan_of(Store(str(folder)), clip, SPLIT)
    computed = run_all(plan, chunk_frames=chunk_frames)
    assert {name for name, frames in computed.items() if frames} == {"shots", "track", "publish"}
    return plan


def persons(plan: VideoPlan) -> pd.DataFrame:
    table: pd.DataFrame = plan.artifact(publish.STAGE).read().to_pandas()
    return table


def no_report(stage: str, frames: int) -> None:
    """Report to nobody."""


def ids_on_both_sides(rows: pd.DataFrame, cut: int = CUT) -> set[int]:
    return set(rows[rows.frame < cut].track_id) & set(rows[rows.frame >= cut].track_id)


# Chunks of 10 have the cut at the first frame of one, chunks of 7 within one.
@pytest.mark.parametrize("chunk_frames", [1, 7, 10, 128])
def test_nobody_is_followed_over_a_silent_cut_whatever_the_chunks(
    uncut_run: VideoPlan, cut_clip: Path, tmp_path: Path, chunk_frames: int
) -> None:
    plan = split_run(uncut_run, tmp_path / "out", cut_clip, chunk_frames)
    found = plan.artifact(shots.STAGE).read().to_pandas()
    assert found.frame.tolist() == list(range(FRAMES))
    assert found.shot.tolist() == [0] * CUT + [1] * CUT
    assert np.flatnonzero(found.is_first).tolist() == [0, CUT]
    uncut, split = persons(uncut_run), persons(plan)
    assert ids_on_both_sides(uncut), "else the clip would test nothing"
    assert not ids_on_both_sides(split)
    assert set(split.track_id) == set(range(split.track_id.nunique()))
    both = uncut.merge(split, on=["frame", "detection"], suffixes=("", "_split"))
    assert len(both) == len(uncut) == len(split)
    for _, side in both.groupby(both.frame < CUT):
        pairs = side[["track_id", "track_id_split"]].drop_duplicates()
        assert pairs.track_id.is_unique
        assert pairs.track_id_split.is_unique


def test_a_cut_between_two_sampled_frames_begins_a_shot_at_the_later_one(cut_clip: Path, tmp_path: Path) -> None:
    plan = plan_of(Store(str(tmp_path)), cut_clip, SPLIT | {"index": index.IndexParams(every=3)})
    run_all(plan)
    found = plan.artifact(shots.STAGE).read().to_pandas()
    assert found.frame.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert found[found.is_first].frame.tolist() == [0, 12]
    assert not ids_on_both_sides(persons(plan))


def test_tracking_goes_on_in_the_middle_of_split_shots(uncut_run: VideoPlan, cut_clip: Path, tmp_path: Path) -> None:
    plan = split_run(uncut_run, tmp_path / "out", cut_clip, 5)
    artifact = plan.artifact(track.STAGE)
    whole = artifact.read()
    artifact.withdraw(artifact.chunks()[2:])
    assert run_all(plan, chunk_frames=5)["track"] == FRAMES - 10
    assert artifact.read().equals(whole)


def test_a_second_run_looks_for_no_cuts_again(uncut_run: VideoPlan, cut_clip: Path, tmp_path: Path) -> None:
    plan = split_run(uncut_run, tmp_path / "out", cut_clip, 128)
    assert set(run_all(plan).values()) == {0}


def test_without_the_option_the_stage_leaves_no_trace(uncut_run: VideoPlan) -> None:
    assert "shots" not in uncut_run.keys
    assert not [name for prefix in ("artifacts", "chunks", "manifests") for name in uncut_run.store.list(f"{prefix}/shots")]
    inputs = {name: uncut_run.keys[name] for name in ("estimate", "suppress")}
    params = track.TrackParams(similarity="oks").model_dump(mode="json")
    assert uncut_run.keys["track"] == artifact_key("track", track.STAGE.version, params, {}, inputs)
    closed = {stage.name: set[str]() for stage in uncut_run.stages}
    wanted = missing(uncut_run, closed.__getitem__, closed.__getitem__)
    assert wanted == {"index", "detect", "estimate", "suppress", "track", "publish"}
    manifest = Artifact(uncut_run.store, "track", uncut_run.keys["track"]).manifest()
    assert manifest is not None
    assert manifest.inputs == inputs


def test_the_other_parameters_matter_only_where_shots_are_split(cut_clip: Path, tmp_path: Path) -> None:
    def keys(**params: float) -> dict[str, str]:
        return dict(plan_of(Store(str(tmp_path)), cut_clip, {"shots": shots.ShotsParams(**params)}).keys)

    assert keys(threshold=4) == keys()
    off, on, other = keys(), keys(split=True), keys(split=True, threshold=4)
    assert {name for name in off if off[name] != on[name]} == {"track", "publish"}
    assert {name for name in on if on[name] != other[name]} == {"shots", "track", "publish"}


def moving(frames: int, first: int = 0, step_px: int = 2, seed: int = 0) -> list[Image]:
    """A smooth random scene, panned by so many pixels of 160 a frame."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 30, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (1800, 120), interpolation=cv2.INTER_CUBIC)
    return [scene[:, (first + n) * step_px :][:, :160] for n in range(frames)]


def cuts(images: list[Image], **params: float) -> list[int]:
    """Frames at which a shot begins, but for the first."""
    table = shots.run(np.arange(len(images)), enumerate(images), shots.ShotsParams(split=True, **params))
    return np.flatnonzero(shots.STAGE.checked(table)["is_first"].to_numpy()).tolist()[1:]


def views(*lengths: int) -> list[Image]:
    """Shots of so many frames, each of another scene."""
    return [image for seed, length in enumerate(lengths) for image in moving(length, step_px=1, seed=seed)]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(lambda: moving(30, step_px=1), [], id="slow pan"),
        pytest.param(lambda: moving(30, step_px=50), [], id="fast pan"),
        pytest.param(lambda: [still for still in moving(1) for _ in range(10)] + moving(15, step_px=16), [], id="sudden pan"),
        pytest.param(lambda: views(10, 10, 10), [10, 20], id="three shots"),
        pytest.param(lambda: views(10, 1, 10), [10, 11], id="a shot of one frame"),
        pytest.param(lambda: views(10, 3, 10), [10, 13], id="a shot of three frames"),
        pytest.param(lambda: views(1, 10), [1], id="right after the first frame"),
        pytest.param(lambda: views(10, 1), [10], id="right before the last frame"),
        pytest.param(lambda: views(1, 1), [1], id="two frames"),
        pytest.param(lambda: views(1), [], id="one frame"),
        pytest.param(lambda: [view[::-1].repeat(8, 0).repeat(8, 1) for view in views(4, 4)], [4], id="large pictures"),
    ],
)
def test_cuts_are_found_and_motion_is_none(images: Callable[[], list[Image]], expected: list[int]) -> None:
    assert cuts(images()) == expected


def test_the_parameters_say_what_a_cut_is() -> None:
    images = views(10, 3, 10)
    assert cuts(images, min_frames=5) == [10]
    assert cuts(images, min_change=250) == []
    assert cuts(images, threshold=200) == []


def test_shots_are_numbered_by_the_cuts_before_them_also_those_that_no_sampled_frame_shows() -> None:
    table = shots.run(np.array([2, 9, 14]), enumerate(views(10, 3, 10)), shots.ShotsParams(split=True)).to_pandas()
    assert table.shot.tolist() == [0, 0, 2]
    assert table.is_first.tolist() == [True, False, True]


def test_only_frames_between_the_first_and_the_last_sampled_one_are_looked_at(cut_clip: Path, tmp_path: Path) -> None:
    told: list[int] = []

    def report(stage: str, frames: int) -> None:
        told.append(frames)

    for frames, expected in (("12:", [12]), (":9", [0]), ("8:12", [8, 10])):
        plan = plan_of(Store(str(tmp_path)), cut_clip, SPLIT | {"index": index.IndexParams(frames=frames)})
        stop = run_index(plan, no_report)
        told.clear()
        run_whole(plan, shots.STAGE, report=report)
        assert sum(told) == stop
        found = plan.artifact(shots.STAGE).read().to_pandas()
        assert found[found.is_first].frame.tolist() == expected


def test_a_frame_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for n, image in enumerate(moving(6)):
        cv2.imwrite(str(folder / f"{n:03d}.png"), image)
    (folder / "003.png").write_bytes(b"no image")
    plan = plan_of(Store(str(tmp_path / "out")), folder, SPLIT | {"index": index.IndexParams(every=2)})
    run_index(plan, no_report)
    with pytest.raises(VideoError, match=r"003\.png"):
        run_whole(plan, shots.STAGE, report=no_report)
    assert plan.artifact(shots.STAGE).chunks() == []
