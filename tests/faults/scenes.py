"""What the runs under test work on: tiny videos, or poses in a file, and where results go; and what nothing disturbed gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from storage import tables
from storage.addresses import open_address
from storage.codecs import keypoint_columns
from storage.parquet import parquet_bytes
from storage.store import Store
from tests.builders import standing
from tests.pieces import write_piece
from tkm.skeleton import COCO_17

OTHER = ("--track-iou-gate", "0.99")  # what another run over the same store may want
_KEYS = ("name", "frame", "track_id", "detection")


@dataclass(frozen=True)
class Scene:
    """What is annotated: the address of videos, or of poses that take their place."""

    name: str
    address: str
    of_poses: bool = False

    def command(self, root: str, chunk_frames: int, *more: str) -> list[str]:
        """Arguments of `tkm`. What fails is tried once more."""
        named = ["--detections", self.address] if self.of_poses else [self.address]
        return ["annotate", *named, "-o", root, "--chunk-frames", str(chunk_frames), "--retries", "1", *more]


def write_clips(folder: Path) -> None:
    """Two clips of three people, 270 x 480, of 7 and 5 frames: networks and heads run on them in seconds. And a broken one."""
    folder.mkdir(parents=True)
    (folder / "broken.mp4").write_bytes(b"no video")
    for name, first, count in (("left.mp4", 0, 7), ("right.mp4", 40, 5)):
        write_piece(folder / name, first, count, 270, 480)


def write_poses(file: Path) -> None:
    """Poses of three videos of 24 frames, without any pictures: two people each, who walk."""
    parts = []
    for number, name in enumerate(("north", "south", "west")):
        frames = [frame for frame in range(24) for _ in range(2)]
        places = [(80 + 200 * (n % 2) + (2 + number) * frame, 200.0) for n, frame in enumerate(frames)]
        poses = standing(frames, places)
        boxes = dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), poses.box_xyxy_px.T, strict=True))
        rows = {"video": [name] * len(frames), "video_frames": [24] * len(frames), "frame": poses.frame, **boxes}
        rows |= {"skeleton": [COCO_17.name] * len(frames), "box_score": poses.box_score}
        parts.append(pa.table({**rows, **keypoint_columns(COCO_17, poses.xy_px, poses.score)}))
    file.write_bytes(parquet_bytes(pa.concat_tables(parts)))


def published(root: str) -> dict[str, pd.DataFrame]:
    """The published tables in order, without what differs between runs and between places of the same videos."""
    store = Store(root)
    names = tables.read(store, "videos", columns=["video", "name"]).to_pandas().set_index("video")["name"]
    found = {}
    for name in ("videos", "frames", "poses", "tracks", "failures"):
        rows = tables.read(store, name).to_pandas()
        rows = rows.assign(name=rows["video"].map(names))
        rows = rows.drop(columns=["run", "shard", "video", "uri", "message"], errors="ignore")
        keys = [key for key in _KEYS if key in rows]
        found[name] = rows.sort_values(keys, ignore_index=True)
    return found


def different(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> list[str]:
    """A sentence on each table that is not, row for row and bit for bit, what it should be."""
    said = []
    for name, rows in expected.items():
        try:
            pd.testing.assert_frame_equal(found[name], rows, check_exact=True, obj=name)
        except AssertionError as error:
            said.append(" ".join(str(error).split())[:300])
    return said


def lost_rows(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> int:
    """Rows of the expected tables, by video, frame and person, that are not there."""
    lost = 0
    for name, rows in expected.items():
        keys = [key for key in _KEYS if key in rows]
        there = found[name][keys].apply(tuple, axis=1) if len(found[name]) else pd.Series(dtype=object)
        lost += int((~rows[keys].apply(tuple, axis=1).isin(there)).sum()) if len(rows) else 0
    return lost


def objects(root: str) -> dict[str, bytes]:
    """Every object below a root, by name."""
    fs, base = open_address(root)
    fs.invalidate_cache()
    return {name[len(base) + 1 :]: fs.cat_file(name) for name in fs.find(base)}


def copy_to(root: str, contents: dict[str, bytes]) -> None:
    """Put objects below a root."""
    store = Store(root)
    for name, data in contents.items():
        store.write(name, data)


def written(root: str, names: Sequence[str]) -> dict[str, object]:
    """When, or as what, each of these objects was written; none for those that are not there."""
    fs, base = open_address(root)
    fs.invalidate_cache()
    facts = fs.find(base, detail=True)
    there = {name: facts[f"{base}/{name}"] for name in names if f"{base}/{name}" in facts}
    return {name: (fact.get("LastModified"), fact.get("mtime"), fact.get("ino")) for name, fact in there.items()}
