"""A small clip, and published results put together by hand, for the tests of what looks at results."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa

from storage import tables
from storage.codecs import keypoint_columns
from storage.schemas import CORRECTIONS, FRAMES, POSES, SUSPECTS, TRACKS, VIDEOS, name_of, with_columns
from storage.sources import Source
from storage.store import Store
from storage.video import probe
from tasks.publish import suspicious_places
from tests.builders import standing
from tkm.skeleton import COCO_17
from tkm.types import PoseSet

WIDTH_PX, HEIGHT_PX = 240, 200
# In 90 kHz, unevenly apart.
PTS = np.cumsum([0, *([3003, 6006, 3003, 9009] * 5)])
RUN = "20260101-000000-abcdef"


def write_clip(path: Path, pts: np.ndarray = PTS) -> None:
    """A clip of smooth grey at these times of 90 kHz."""
    grey = np.linspace(60, 160, WIDTH_PX, dtype=np.uint8)[None, :, None].repeat(HEIGHT_PX, 0).repeat(3, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        for time in pts.tolist():
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def walking(frames: list[int]) -> PoseSet:
    """One person of 60 x 150 px who walks to the right from (60, 100), 2 px a frame."""
    return standing(frames, [(60 + 2 * frame, 100) for frame in frames])


def publish(store: Store, source: Source, sampled: list[int], poses: PoseSet, track_id: list[int]) -> str:
    """Put a video with these sampled frames and people into the published tables; its id."""
    info, video = probe(source), source.video_id
    tracks = np.array(track_id, np.int64)
    pts_ns = info.pts_ns[poses.frame]
    joints = keypoint_columns(COCO_17, poses.xy_px, poses.score)
    boxes = dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), poses.box_xyxy_px.T, strict=True))
    mine = {number: tracks == number for number in np.unique(tracks).tolist()}
    columns: dict[str, dict[str, Any]] = {
        "poses": {
            "frame": poses.frame, "pts_ns": pts_ns, "track_id": tracks, "detection": poses.detection,
            "box_score": poses.box_score, "pose_score": poses.pose_score, **boxes, **joints,
        },
        "frames": {
            "frame": np.array(sampled, np.int64), "pts_ns": info.pts_ns[sampled],
            "is_key_frame": info.is_key_frame[sampled],
            "persons": np.array([(poses.frame == frame).sum() for frame in sampled], np.int32),
        },
        "tracks": {
            "track_id": np.array(list(mine), np.int64),
            **{f"first_{name}": [values[rows].min() for rows in mine.values()]
               for name, values in (("frame", poses.frame), ("pts_ns", pts_ns))},
            **{f"last_{name}": [values[rows].max() for rows in mine.values()]
               for name, values in (("frame", poses.frame), ("pts_ns", pts_ns))},
            "poses": [int(rows.sum()) for rows in mine.values()],
            "mean_box_score": [float(poses.box_score[rows].mean()) for rows in mine.values()],
            "mean_pose_score": [float(poses.pose_score[rows].mean()) for rows in mine.values()],
            "mean_height_px": [150.0 for _ in mine],
        },
        "videos": {
            "name": [Path(source.uri).name], "uri": [source.uri], "content_sha256": ["0"], "codec": [info.codec],
            "width_px": [info.width_px], "height_px": [info.height_px], "video_frames": [len(info)],
            "frames": [len(sampled)], "duration_ns": [int(info.pts_ns[-1] - info.pts_ns[0])], "poses": [len(poses)],
            "tracks": [len(mine)], "publish_key": ["0"],
        },
    }  # fmt: skip
    rows = {name_of(CORRECTIONS): CORRECTIONS.empty_table()}
    for schema in (POSES, SUSPECTS, FRAMES, TRACKS, VIDEOS):
        if schema is SUSPECTS:
            columns["suspects"] = suspicious_places(rows["poses"])
            columns["videos"]["suspects"] = [len(columns["suspects"]["suspect"])]
        own = columns[name_of(schema)]
        count = len(next(iter(own.values())))
        same = {"video": video, "run": RUN, "shard": np.int32(3), "skeleton": COCO_17.name}
        every = own | {name: [value] * count for name, value in same.items() if name not in own and name in schema.names}
        rows[name_of(schema)] = with_columns(pa.table(every), schema).cast(schema)  # nothing was refined
    tables.create_tables(store)
    tables.publish_videos(store, RUN, 3, rows)
    return video
