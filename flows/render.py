"""render: what was found, drawn over the videos it was found in.

Results are addressed by the place of a frame among the T sampled frames of its video, as artifacts are.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.overlay import MIN_KEYPOINT_SCORE, TRAIL_FRAMES, Overlay, People
from flows.show import videos_of
from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from storage.schemas import POSE_KEYPOINTS
from storage.sources import Source
from storage.store import Store, StoreError
from storage.tables import is_id
from storage.video import VideoError, decode, probe
from storage.video_writer import mp4_writer
from tasks.merge import read_results
from tkm.geometry import Image
from tkm.types import Float

_TIME_BASE = Fraction(1, 10**6)  # an MP4 holds gaps of up to 71 minutes in microseconds, of 4 s in nanoseconds
_BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")


def render(
    store: Store,
    run: str | None,
    output: Path,
    *,
    video: str | None = None,
    trail_frames: int = TRAIL_FRAMES,
    min_keypoint_score: float = MIN_KEYPOINT_SCORE,
    report: Callable[[str, int, int], object] = lambda *_: None,
) -> list[Path]:
    """Write an overlay video, `output`/<id>.mp4, of each video of the results; the files, in order of the ids.

    Args:
        store: whose results are drawn.
        run: those of this run; None for the latest of every video.
        output: local folder, made where it is missing. A file in it appears whole or not at all.
        video: an id or name, or a glob of either; None for all.
        trail_frames: sampled frames that the trail of a person's foot point reaches back, 0 for no trails.
        min_keypoint_score: keypoints with a lower score are left out.
        report: called with a video's id, its frames drawn so far and in all.

    The sampled frames are drawn, each shown from its own time in the source on, counted from the first of them.

    Raises StoreError where nothing matches, where the folder cannot be written, and, after the others are done, for
    videos whose source cannot be read any more.
    """
    written, unread = [], []
    for row in _chosen(store, run, video):
        if not is_id(row["video"]):  # of a store that others have written: it becomes the name of a file here
            raise StoreError(f"{store.root} holds a video with the id {row['video'][:100]!r}, which is none of this package's")
        path = output / f"{row['video']}.mp4"
        results = _Results(store, run, row)
        try:
            if not len(results):
                raise _UnreadableError(f"{row['video']} has no sampled frames; annotate it with other --frames")
            output.mkdir(parents=True, exist_ok=True)
            if row["codec"] == "none":
                raise _UnreadableError(f"{row['video']} was annotated from poses without pictures: nothing to draw on")
            overlay = Overlay(row["width_px"], row["height_px"], trail_frames, min_keypoint_score, results.skeleton)
            with _new_file(path) as temporary:
                _encode(temporary, results, overlay, lambda done: report(row["video"], done, len(results)))  # noqa: B023 - called at once
            written.append(path)
        except _UnreadableError as error:
            unread.append(str(error))
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error}; give another folder with --output") from error
    if unread:
        others = [f"the other {len(written)} overlay videos are in {output}"] if written else []
        raise StoreError("\n".join([*unread, *others]))
    return written


def still(
    store: Store, run: str | None, video: str, frame: int, *, trail_frames: int = TRAIL_FRAMES,
    min_keypoint_score: float = MIN_KEYPOINT_SCORE,
) -> Image:  # fmt: skip
    """One sampled frame of a video as `render` draws it, (H, W, 3) uint8 RGB; of several that match, the first.

    Raises StoreError where nothing matches, the frame was not sampled, or the source cannot be read.
    """
    row = _chosen(store, run, video)[0]
    results = _Results(store, run, row)
    place = int(np.searchsorted(results.frames, frame))
    if place == len(results) or results.frames[place] != frame:
        nearest = results.frames[np.argsort(np.abs(results.frames - frame), kind="stable")[:1]].tolist()
        raise StoreError(f"frame {frame} of {row['video']} was not sampled; the nearest that was: {nearest}")
    overlay = Overlay(row["width_px"], row["height_px"], trail_frames, min_keypoint_score, results.skeleton)
    for before in range(max(0, place - trail_frames + 1), place):
        overlay.skip(results.people(before))
    rgb = next(results.pictures(place, place + 1))
    return overlay.draw(rgb, results.people(place), results.caption(place))


class _UnreadableError(StoreError):
    """A video has nothing to draw on: its source is gone, damaged, or not what was annotated."""


class _Results:
    """The rows of one video, by place among its sampled frames."""

    def __init__(self, store: Store, run: str | None, row: dict[str, Any]) -> None:
        self.row = row
        videos = [row["video"]]
        sampled = read_results(store, run, "frames", videos=videos, columns=["frame", "pts_ns"]).sort_by("frame")
        self.frames, self.pts_ns = column(sampled, "frame", np.int64), column(sampled, "pts_ns", np.int64)
        joints = [f"{joint}_{axis}" for joint in POSE_KEYPOINTS for axis in ("x", "y", "score")]
        columns = ["frame", "track_id", *_BOX_COLUMNS, *joints, "skeleton"]
        poses = read_results(store, run, "poses", videos=videos, columns=columns)
        poses = poses.sort_by([("frame", "ascending"), ("track_id", "ascending")])
        self.skeleton = skeleton_of_table(poses)
        xy_px, score = keypoints_from_columns(poses, self.skeleton)
        self._people = People(column(poses, "track_id", np.int64), _stack(poses, _BOX_COLUMNS), xy_px, score)
        self._start = np.searchsorted(column(poses, "frame", np.int64), np.append(self.frames, np.iinfo(np.int64).max))

    def __len__(self) -> int:
        return len(self.frames)

    def people(self, place: int) -> People:
        rows = slice(*self._start[place : place + 2])
        every = self._people
        return People(every.track_id[rows], every.box_xyxy_px[rows], every.xy_px[rows], every.score[rows])

    def caption(self, place: int) -> str:
        return f"frame {self.frames[place]}  {self.pts_ns[place] / 1e9:.3f} s"

    def pictures(self, start: int, stop: int) -> Iterator[Image]:
        """The sampled frames [start, stop) of the source, (H, W, 3) uint8 RGB each, read as they are taken."""
        uri, frames = self.row["uri"], self.frames[start:stop]
        remedy = "bring the video back to that address, or annotate it where it is now and render that"
        try:
            source = Source(uri, "frames" if self.row["codec"] == "images" else "video")
            info = probe(source)
            facts = tuple(self.row[name] for name in ("video_frames", "width_px", "height_px"))
            is_same = (len(info), info.width_px, info.height_px) == facts
            if not is_same or not np.array_equal(info.pts_ns[frames], self.pts_ns[start:stop]):
                raise VideoError("it is not the video that was annotated")
            for _, rgb in decode(source, info, frames):
                yield rgb
        except (OSError, VideoError) as error:
            raise _UnreadableError(f"cannot draw over {uri}: {error}; {remedy}") from error


def _stack(table: pa.Table, names: tuple[str, ...] | list[str]) -> Float:
    return np.stack([column(table, name, np.float32) for name in names], axis=1)


def _chosen(store: Store, run: str | None, wanted: str | None) -> list[dict[str, Any]]:
    """Rows of `videos` that `wanted` names, by id; StoreError, listing what there is, where it names none."""
    rows = [{str(name): value for name, value in row.items()} for row in videos_of(store, run).to_dict("records")]
    if wanted is None:
        return rows
    # An id or name that happens to hold [ or * is itself before it is a pattern.
    found = [row for row in rows if wanted in (row["video"], row["name"])]
    found = found or [row for row in rows if fnmatchcase(row["video"], wanted) or fnmatchcase(row["name"], wanted)]
    if not found:
        listed = "\n".join(f"  {row['video']}  ({row['name']})" for row in rows[:20])
        more = f"\n  and {len(rows) - 20} more" if len(rows) > 20 else ""
        raise StoreError(f"{store.root} holds no video with the id or name {wanted!r}; there are:\n{listed}{more}")
    return found


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place in the end; after an error nothing is left."""
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _encode(path: Path, results: _Results, overlay: Overlay, report: Callable[[int], object]) -> None:
    """Draw every sampled frame and write it as H.264, at its own time."""
    times_us = (results.pts_ns - results.pts_ns[:1] + 500) // 1000
    span_us = int(times_us[-1]) if len(times_us) > 1 else 0
    rate = Fraction((len(times_us) - 1) * 10**6, span_us).limit_denominator(1001) if span_us else Fraction(25)
    width_px, height_px = results.row["width_px"], results.row["height_px"]
    with mp4_writer(path, width_px, height_px, rate or Fraction(1), _TIME_BASE, crf=20) as write:
        for place, rgb in enumerate(results.pictures(0, len(results))):
            write(overlay.draw(rgb, results.people(place), results.caption(place)), int(times_us[place]))
            report(place + 1)
