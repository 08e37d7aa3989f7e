"""Videos that can never be read, among good ones: each is told in `failures` and remembered, and the rest is finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

from flows.annotate import Summary, annotate
from flows.status import run_status
from storage.sealed import seal, unseal
from storage.store import Store
from storage.video import MAX_SIDE_PX
from tests.storage import clips

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

FASTSTART = {"movflags": "faststart"}


def unknown_codec(path: Path) -> None:
    clips.write_clip(path, frames=5)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"qqqq"))


def frames_of_two_sizes(folder: Path) -> None:
    clips.write_images(folder, ["1.png", "2.png", "3.png"])
    clips.write_images(folder, ["3.png"], size=(32, 32))


# By name: what writes it, the stage that meets it, and what is said of it and is to be done about it.
BAD: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "text.mp4": (lambda path: path.write_text("no video\n" * 99), "index", "no video that FFmpeg can read.*get it whole"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "index", "empty file: get the whole"),
    "cut.mp4": (lambda path: clips.truncate(clips.write_clip(path), 0.7), "index", "truncated.*get it whole"),
    "cut with index.mp4": (
        lambda path: clips.truncate(clips.write_clip(path, container_options=FASTSTART), 0.7),
        "index",
        "truncated: it ends early, after 2[0-9] frames; get the whole",
    ),
    "no frames.mp4": (clips.write_empty_clip, "index", "no video stream: .* leave it out"),
    "sound.mkv": (clips.write_sound, "index", "no video stream: .* leave it out"),
    "unknown codec.mp4": (unknown_codec, "index", "convert it"),
    "wide.mp4": (
        lambda path: clips.write_clip(path, frames=1, size=(MAX_SIDE_PX + 8, 16)),
        "index",
        "8200 x 16 pixels, 8192 a side is the limit: scale it down",
    ),
    "damaged.mov": (
        lambda path: clips.overwrite_packet(clips.write_clip(path, "mjpeg", {}, frames=27, pix_fmt="yuvj420p"), 25),
        "detect",
        r"frame 25 \(at 1.000 s\) cannot be decoded: .* get it again, or leave that frame out",
    ),
    "two sizes": (frames_of_two_sizes, "detect", "3.png has 32 x 32 pixels, the first frame has 64 x 48: .* split it"),
}
README = Path(__file__).resolve().parents[2] / "README.md"
GOOD = ("good.mp4", "good [1].mkv")


def run(videos: Path, output: Path, **settings: dict[str, Any]) -> Summary:
    return annotate(str(videos), str(output), settings, quiet=True)


def table(output: Path, name: str) -> pd.DataFrame:
    return DeltaTable(str(output / "tables" / name)).to_pandas()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Summary]:
    """A folder with a video of every bad kind beside two good ones, its output, and the first run over it."""
    root = tmp_path_factory.mktemp("failures")
    videos, output = root / "videos", root / "out"
    videos.mkdir()
    for name, (write, _, _) in BAD.items():
        write(videos / name)
    for name in GOOD:
        clips.write_clip(videos / name, frames=3)
    return videos, output, run(videos, output)


def test_every_bad_video_is_told_with_its_name_the_reason_and_what_to_do(dataset: tuple[Path, Path, Summary]) -> None:
    videos, output, summary = dataset
    failures = table(output, "failures").set_index("uri")
    assert set(failures.index) == {str(videos / name) for name in BAD}
    assert failures.is_permanent.all()
    for name, (_, stage, said) in BAD.items():
        row = failures.loc[str(videos / name)]
        assert row.stage == stage, name
        assert row.message.startswith(str(videos / name))
        assert pd.Series(row.message).str.contains(said).all(), row.message
    assert sorted(failure.message for failure in summary.failures) == sorted(failures.message)


def test_the_good_ones_beside_them_are_finished(dataset: tuple[Path, Path, Summary]) -> None:
    _, output, summary = dataset
    assert (summary.videos, summary.changed) == (len(BAD) + len(GOOD), len(GOOD))
    published = table(output, "videos")
    assert sorted(published.name) == sorted(GOOD)
    assert (published.frames == 3).all()
    status = run_status(Store(str(output)), summary.run)
    counts = {stage.stage: (stage.done, stage.missing, stage.failed) for stage in status.stages}
    late = sum(stage == "detect" for _, stage, _ in BAD.values())
    assert counts["index"] == (len(GOOD) + late, 0, len(BAD) - late)
    assert counts["detect"] == (len(GOOD), 0, late)
    assert counts["publish"] == (len(GOOD), 0, 0)


def test_they_are_remembered_until_they_are_to_be_tried_again(dataset: tuple[Path, Path, Summary]) -> None:
    videos, output, first = dataset
    said = {failure.uri: failure.message for failure in first.failures}
    memories = list((output / "failures").rglob("*.json"))
    assert len(memories) == len(BAD)
    for memory in memories:  # what is tried again would say what is true
        facts = unseal(memory.read_bytes(), dict)
        memory.write_bytes(seal({**facts, "message": f"{facts['uri']} is remembered"}))
    again = run(videos, output)
    assert {failure.uri: failure.message for failure in again.failures} == {uri: f"{uri} is remembered" for uri in said}
    assert (sum(again.frames.values()), again.changed) == (0, 0)
    tried = run(videos, output, engine={"retry_failed": True})
    assert {failure.uri: failure.message for failure in tried.failures} == said
    assert {row.uri: row.message for row in table(output, "failures").itertuples()} == said


def test_a_bad_video_is_remembered_by_its_content(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, output, _ = dataset
    renamed = tmp_path / "renamed.mp4"
    renamed.write_bytes((videos / "wide.mp4").read_bytes())
    memories = sorted((output / "failures").rglob("*.json"))
    summary = run(renamed, output)
    assert [failure.message for failure in summary.failures] == [
        f"{renamed} has 8200 x 16 pixels, 8192 a side is the limit: scale it down."
    ]
    assert sorted((output / "failures").rglob("*.json")) == memories
    clips.write_clip(renamed, frames=2)
    assert (run(renamed, output).changed, len(table(output, "failures").query("uri == @renamed.as_posix()"))) == (1, 0)


def test_what_leaves_the_bad_frame_out_is_another_matter(dataset: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    videos, _, _ = dataset
    summary = run(videos / "damaged.mov", tmp_path / "out", index={"frames": ":4"})
    assert (summary.changed, summary.failures) == (1, ())


def test_the_readme_states_the_limit() -> None:
    assert f"more than {MAX_SIDE_PX} px a side" in README.read_text()
