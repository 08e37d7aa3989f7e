"""Videos that are valid and awkward, all in one run: they just work."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from flows.annotate import Summary, annotate
from flows.render import render
from flows.show import first_poses, people, results_overview
from flows.status import run_status
from storage.store import Store
from tests.flows.commands import by_poses

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

FRAMES = 3
ODD_NAME = """Straße 7 & "zwei" 'b' 100% #1 [x] 跑步 %03d.mp4"""
UNEVEN_MS = (0, 40, 173)
# Joints by which people are compared, and what is little for people of 400 to 900 px: a cell of the heatmap.
JOINTS = [f"{joint}_{axis}" for joint in ("nose", "left_shoulder", "right_hip", "left_knee") for axis in ("x", "y")]
LITTLE_PX = 16.0


def write(
    path: Path, pictures: list[np.ndarray], codec: str = "libx264rgb", pix_fmt: str = "rgb24", rotation: int = 0,
    pts_ms: tuple[int, ...] = (0, 40, 80),
) -> None:  # fmt: skip
    """A clip of (H, W, 3) uint8 RGB pictures, without loss as far as the pixel format allows."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"qp": "0", "x265-params": "lossless=1:log-level=none"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for picture, time in zip(pictures, pts_ms, strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, people_clip: Path) -> tuple[Path, Path, Summary]:
    """A folder of awkward videos, its output, and the first run over it."""
    root = tmp_path_factory.mktemp("inputs")
    videos, output = root / "videos", root / "out"
    (videos / "images").mkdir(parents=True)
    with av.open(str(people_clip)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:FRAMES]
    write(videos / "plain.mp4", pictures)
    shutil.copy(videos / "plain.mp4", videos / ODD_NAME)
    # Stored lying on the side, with the turn that players give it in its metadata.
    write(videos / "portrait.mp4", [np.rot90(picture, -1) for picture in pictures], rotation=90)
    write(videos / "uneven.mkv", pictures, pts_ms=UNEVEN_MS)
    write(videos / "odd size.mp4", [picture[:-1, :-1] for picture in pictures])
    write(videos / "gray.mp4", pictures, "libx264", "gray")
    write(videos / "ten bits.mkv", pictures, "libx265", "yuv420p10le")
    write(videos / "one frame.mp4", pictures[:1])
    write(videos / "nobody.mp4", [np.full((120, 160, 3), 128, np.uint8)] * FRAMES)
    for n, picture in enumerate(pictures):
        cv2.imwrite(str(videos / "images" / f"{n + 8}.png"), picture[:, :, ::-1])  # 10 comes after 9
    return videos, output, annotate(str(videos), str(output), by_poses(), quiet=True)


def table(output: Path, name: str) -> pd.DataFrame:
    return DeltaTable(str(output / "tables" / name)).to_pandas()


def rows(output: Path, name: str, video: str) -> pd.DataFrame:
    """Rows of one video, by its file's name."""
    found = table(output, name)
    ids = table(output, "videos").set_index("name").video
    order = [key for key in ("frame", "track_id") if key in found]
    return found[found.video == ids[video]].sort_values(order, ignore_index=True)


def test_every_video_is_finished_and_every_frame_counted(dataset: tuple[Path, Path, Summary]) -> None:
    videos, output, summary = dataset
    assert summary.failures == ()
    published = table(output, "videos")
    assert set(published.name) == {path.name for path in videos.iterdir()}
    assert dict(zip(published.name, published.frames, strict=True)) == {
        path.name: 1 if path.name == "one frame.mp4" else FRAMES for path in videos.iterdir()
    }
    counted = table(output, "frames").groupby("video").size()
    assert counted.to_dict() == published.set_index("video").frames.to_dict()


def test_two_files_of_one_content_are_computed_once_and_published_twice(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, summary = dataset
    contents = table(output, "videos")
    assert len(contents) - contents.content_sha256.nunique() == 1
    once = contents.drop_duplicates("content_sha256").frames.sum()
    assert dict(summary.frames) == dict.fromkeys(("index", "detect", "estimate", "suppress", "track", "publish"), once)
    first, second = rows(output, "poses", "plain.mp4"), rows(output, "poses", ODD_NAME)
    pd.testing.assert_frame_equal(first.drop(columns=["video", "shard"]), second.drop(columns=["video", "shard"]))
    assert first.groupby("track_id").size().tolist().count(FRAMES) >= 2


@pytest.mark.parametrize("video", ["portrait.mp4", "uneven.mkv", "images"])
def test_the_same_pixels_hold_the_same_people(video: str, dataset: tuple[Path, Path, Summary]) -> None:
    _, output, _ = dataset
    columns = ["frame", "track_id", "box_x1", "box_y2", *JOINTS]
    expected, found = rows(output, "poses", "plain.mp4")[columns], rows(output, "poses", video)[columns]
    pd.testing.assert_frame_equal(found, expected)
    sizes = table(output, "videos").set_index("name")[["width_px", "height_px"]]
    assert sizes.loc[video].tolist() == sizes.loc["plain.mp4"].tolist() == [544, 960]


@pytest.mark.parametrize("video", ["odd size.mp4", "gray.mp4", "ten bits.mkv"])
def test_nearly_the_same_pixels_hold_the_same_people(video: str, dataset: tuple[Path, Path, Summary]) -> None:
    _, output, _ = dataset
    tall = rows(output, "tracks", "plain.mp4").nlargest(2, "mean_height_px").track_id.tolist()
    expected = rows(output, "poses", "plain.mp4").query(f"track_id in {tall} and frame == 0")
    found = rows(output, "poses", video).query("frame == 0")[JOINTS].to_numpy()
    for joints in expected[JOINTS].to_numpy():
        distances = np.abs(found - joints).max(axis=1)
        assert distances.min() < LITTLE_PX, f"{video}: {distances}"


def test_times_are_those_of_the_file(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, _ = dataset
    assert rows(output, "frames", "uneven.mkv").pts_ns.tolist() == [time * 1_000_000 for time in UNEVEN_MS]
    assert set(rows(output, "poses", "uneven.mkv").pts_ns) == {time * 1_000_000 for time in UNEVEN_MS}


def test_one_frame_and_nobody_in_view_are_results_like_any_other(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, summary = dataset
    assert rows(output, "videos", "one frame.mp4").duration_ns.tolist() == [0]
    assert len(rows(output, "poses", "one frame.mp4")) == len(rows(output, "poses", "plain.mp4").query("frame == 0"))
    assert rows(output, "frames", "nobody.mp4").persons.tolist() == [0] * FRAMES
    assert rows(output, "poses", "nobody.mp4").empty
    assert rows(output, "tracks", "nobody.mp4").empty
    states = {stage.stage: (stage.done, stage.missing) for stage in run_status(Store(str(output)), summary.run).stages}
    assert set(states.values()) == {(summary.videos, 0)}


def test_results_can_be_looked_at_also_where_nobody_is_in_view(
    dataset: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    videos, _, _ = dataset
    store = Store(str(tmp_path / "out"))
    summary = annotate(str(videos / "nobody.mp4"), store.root, {}, quiet=True)
    assert summary.failures == ()
    assert results_overview(store, None).row_count == 1
    assert people(store, None).row_count == first_poses(store, None).row_count == 0
    (overlay,) = render(store, None, tmp_path / "renders")
    with av.open(str(overlay)) as container:
        assert len(list(container.decode(video=0))) == FRAMES


@pytest.mark.parametrize("video", [ODD_NAME, "portrait.mp4", "odd size.mp4", "one frame.mp4", "images"])
def test_overlays_are_drawn_over_each(video: str, dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    _, output, _ = dataset
    (overlay,) = render(Store(str(output)), None, tmp_path, video=video)
    with av.open(str(overlay)) as container:
        first, *others = list(container.decode(video=0))
    assert len(others) + 1 == (1 if video == "one frame.mp4" else FRAMES)
    assert (first.width, first.height) == (544, 960)
