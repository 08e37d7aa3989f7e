"""Pictures of suspects: what lies around the place, in the frame and in those before and after it, with people drawn over it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from flows.overlay import Overlay, People
from storage import tables
from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from storage.schemas import POSE_KEYPOINTS
from storage.sources import Source
from storage.store import Store
from storage.video import VideoError, decode, probe
from tasks.merge import read_results
from tkm.geometry import Image
from tkm.skeleton import COCO_17, Skeleton
from tkm.types import Float, Int

SIDE_PX = 240
_THREADS = 4  # videos that are decoded at a time
_AROUND = 1.3  # side of a picture, in body heights
_MIN_AROUND_PX = 48
_QUALITY = 80
_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")
_JOINTS = [f"{joint}_{axis}" for joint in POSE_KEYPOINTS for axis in ("x", "y", "score")]
_COLUMNS = ["frame", "track_id", *_BOX, "skeleton", *_JOINTS]


@dataclass(frozen=True)
class Pictures:
    """JPEGs, as data URIs, of the frames before, at and after a suspect, by what to call them; or why there are none."""

    shown: tuple[tuple[str, str], ...] = ()
    lacking: str = ""


def pictures_of(
    store: Store, run: str | None, suspects: Sequence[dict[str, Any]], videos: Sequence[dict[str, Any]]
) -> list[Pictures]:
    """Pictures of each suspect, row for row. Of a video whose source is gone it is said so instead."""
    by_video: dict[str, list[int]] = {}
    for n, suspect in enumerate(suspects):
        by_video.setdefault(suspect["video"], []).append(n)
    rows = {row["video"]: row for row in videos if row["video"] in by_video}
    found: list[Pictures] = [Pictures()] * len(suspects)

    def draw(video: str) -> None:
        own = [suspects[n] for n in by_video[video]]
        for n, pictures in zip(by_video[video], _of_video(store, run, rows[video], own), strict=True):
            found[n] = pictures

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(draw, by_video))
    return found


def _of_video(store: Store, run: str | None, row: Mapping[str, Any], suspects: Sequence[dict[str, Any]]) -> list[Pictures]:
    if row["codec"] == "none":
        return [Pictures(lacking="annotated from poses, without pictures")] * len(suspects)
    try:
        source = Source(str(row["uri"]), "frames" if row["codec"] == "images" else "video")
        info = probe(source)
        facts = tuple(row[name] for name in ("video_frames", "width_px", "height_px"))
        if (len(info), info.width_px, info.height_px) != facts:
            raise VideoError(f"{source.uri} is not the video that was annotated")
        frames = column(_rows(store, run, row, "frames", ["frame"]), "frame", np.int64)
        places = [int(np.searchsorted(frames, suspect["frame"])) for suspect in suspects]
        around = [frames[max(place - 1, 0) : place + 2].tolist() for place in places]
        wanted = np.unique(np.concatenate([np.array(own, np.int64) for own in around]))
        people = _People(_rows(store, run, row, "poses", _COLUMNS, wanted))
        drawn: dict[tuple[int, int], str] = {}
        for frame, rgb in decode(source, info, wanted):
            for n, suspect in enumerate(suspects):
                if frame in around[n]:
                    drawn[n, frame] = _picture(rgb, people, suspect, frame)
    except (OSError, VideoError) as error:
        said = f"{row['uri']}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        return [Pictures(lacking=f"no picture: {said}")] * len(suspects)
    return [
        Pictures(tuple((_name(frame, suspect["frame"]), drawn[n, frame]) for frame in around[n]))
        for n, suspect in enumerate(suspects)
    ]


def _rows(
    store: Store, run: str | None, row: Mapping[str, Any], name: str, columns: list[str], frames: Int | None = None
) -> pa.Table:
    """Rows of a video in `frames` or `poses`, by frame; of some frames alone."""
    among = None if frames is None else frames.tolist()
    if row["is_shown"]:
        return tables.read(store, name, videos=[row["video"]], frames=among, shard=row["shard"], columns=columns)
    rows = read_results(store, run, name, videos=[row["video"]], columns=columns).sort_by("frame")
    return rows if frames is None else rows.filter(pa.array(np.isin(column(rows, "frame", np.int64), frames)))


class _People:
    """The people of some frames of a video."""

    def __init__(self, poses: pa.Table) -> None:
        self.skeleton: Skeleton = skeleton_of_table(poses) if poses.num_rows else COCO_17
        self.frame, self.track_id = (column(poses, name, np.int64) for name in ("frame", "track_id"))
        self.box_xyxy_px = np.stack([column(poses, name, np.float32) for name in _BOX], axis=1)
        self.xy_px, self.score = keypoints_from_columns(poses, self.skeleton)

    def height_px(self, track_id: int) -> float:
        """Of a track's box, where it is in these frames."""
        boxes = self.box_xyxy_px[self.track_id == track_id]
        return float((boxes[:, 3] - boxes[:, 1]).max(initial=0))

    def seen(self, frame: int, corner_px: Float, scale: float) -> People:
        """Those of a frame, in a picture that begins at a corner and is scaled."""
        rows = self.frame == frame
        boxes = (self.box_xyxy_px[rows] - np.tile(corner_px, 2)) * scale
        points = (self.xy_px[rows] - corner_px) * scale
        inside = (boxes[:, :2] < SIDE_PX).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
        own = (self.track_id[rows], boxes.astype(np.float32), points.astype(np.float32), self.score[rows])
        return People(*(values[inside] for values in own))


def _picture(rgb: Image, people: _People, suspect: Mapping[str, Any], frame: int) -> str:
    """A square of the frame around the suspect's place, with people, and a ring where the joint is."""
    side_px = max(people.height_px(suspect["track_id"]) * _AROUND, _MIN_AROUND_PX)
    corner_px = np.array([suspect["x"], suspect["y"]], np.float32) - np.float32(side_px / 2)
    scale = SIDE_PX / side_px
    # OpenCV counts from the middle of the first pixel.
    to_picture = np.array([[scale, 0, -corner_px[0] * scale], [0, scale, -corner_px[1] * scale]], np.float64)
    to_picture[:, 2] += 0.5 * scale - 0.5
    part = cv2.warpAffine(rgb, to_picture, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=(238, 238, 238))  # fmt: skip
    scene = Overlay(SIDE_PX, SIDE_PX, 0, skeleton=people.skeleton).draw(
        np.asarray(part, np.uint8), people.seen(frame, corner_px, scale)
    )
    if suspect["joint"] is not None and frame == suspect["frame"]:
        middle = (SIDE_PX // 2, SIDE_PX // 2)
        cv2.circle(scene, middle, 14, (255, 255, 255), 4, cv2.LINE_AA)
        cv2.circle(scene, middle, 14, (220, 30, 30), 2, cv2.LINE_AA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(scene, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _name(frame: int, suspect: int) -> str:
    return f"frame {frame}" if frame == suspect else f"{frame} {'before' if frame < suspect else 'after'}"
