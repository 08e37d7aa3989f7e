"""What a user gives in place of our networks' results: boxes or poses of one video, kept under given/ of a store by their digest.

Workers never see the client's disk, so a run uploads what is given before anything else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from collections.abc import Sequence as Listed
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.artifacts import DamagedArtifactError
from storage.codecs import column, keypoint_columns, skeleton_of_table, table_of
from storage.containers import MAX_FRAMES
from storage.parquet import parquet_bytes, read_parquet
from storage.schemas import DETECTIONS, GIVEN_POSES, POSE_KEYPOINTS
from storage.sources import InputError
from storage.store import Store
from storage.video import IMAGES_FPS, VideoInfo
from tkm.datasets.sequence import Double, People, Sequence
from tkm.skeleton import COCO_17, MPII_16, POSETRACK_15, Skeleton

Kind = Literal["boxes", "poses"]
_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")
_SMALLEST_PX = 1.0  # as in detect: a box without a pixel has no crop
_FARTHEST_PX = 1e6  # no picture reaches as far, and float32 still tells a tenth of a pixel


@dataclass(frozen=True)
class Given:
    """Rows of one video as they are kept: their kind, table and number of frames, None where the file does not tell it."""

    kind: Kind
    table: pa.Table
    frames: int | None


def kind_of(people: People) -> Kind:
    """`boxes` where people have boxes and nobody has a keypoint, else `poses`."""
    return "boxes" if np.isnan(people.xy_px).all() and not np.isnan(people.box_xyxy_px).all() else "poses"


def given_of(sequence: Sequence, kind: Kind, frames: int | None) -> Given:
    """Table `detections` (boxes) or `given_poses` (poses) of what a file tells, people of a frame numbered by falling score.

    A score that is not given is 1. The box of a pose without one, or with one that has no area, is that of its keypoints. Boxes
    without any pixel, and poses without any keypoint, are left out.

    Raises: ValueError, which names the frame, for boxes and keypoints that no picture has.
    """
    people = sequence.people
    _check_places(people)
    xy_px = people.xy_px
    is_given: NDArray[np.bool_] = ~np.isnan(xy_px.sum(axis=2))
    if kind == "poses":
        box, is_kept = _boxes(people), is_given.any(axis=1)
    else:
        box = people.box_xyxy_px
        is_kept = (box[:, 2:] - box[:, :2]).min(axis=1) >= _SMALLEST_PX
    score = np.where(np.isnan(people.score), 1, people.score)
    order = np.lexsort((np.arange(len(people)), -score, people.frame))
    order = order[np.asarray(is_kept)[order]]
    frame = people.frame[order]
    own = {
        "frame": frame,
        "detection": np.arange(len(frame)) - np.searchsorted(frame, frame),
        "box_score": score[order].astype(np.float32),
        **{name: box[order, side].astype(np.float32) for side, name in enumerate(_BOX)},
    }
    if kind == "boxes":
        return Given(kind, table_of(DETECTIONS, **own), frames)
    keypoint_score = np.where(is_given & np.isnan(people.keypoint_score), 1, people.keypoint_score)
    joints = keypoint_columns(sequence.skeleton, xy_px[order], np.where(is_given, keypoint_score, np.nan)[order])
    names = pa.array([sequence.skeleton.name] * len(frame), pa.string())
    return Given(kind, table_of(GIVEN_POSES, **own, **joints, skeleton=names), frames)


def _check_places(people: People) -> None:
    """Raise ValueError for the first box that is turned round, or place that is in no picture."""
    box = people.box_xyxy_px
    is_turned = (box[:, :2] > box[:, 2:]).any(axis=1)
    is_far = (np.abs(box) > _FARTHEST_PX).any(axis=1) | (np.abs(people.xy_px) > _FARTHEST_PX).any(axis=(1, 2))
    turned = "a box that ends before it begins: x1 <= x2 and y1 <= y2, or width and height >= 0, are expected"
    far = f"a box or keypoint more than {_FARTHEST_PX:,.0f} px away: pixels of the frame are expected"
    for is_wrong, what in ((is_turned, turned), (is_far, far)):
        for p in np.flatnonzero(is_wrong)[:1].tolist():
            raise ValueError(f"frame {people.frame[p]} has {what}; the box is {box[p].round(2).tolist()}")


def _boxes(people: People) -> Double:
    """(P, 4) boxes, those of the keypoints where there are none, or none with an area."""
    given = ~np.isnan(people.xy_px)
    low = np.where(given, people.xy_px, np.inf).min(axis=1)
    high = np.where(given, people.xy_px, -np.inf).max(axis=1)
    has_area = np.asarray((people.box_xyxy_px[:, 2:] > people.box_xyxy_px[:, :2]).all(axis=1))
    return np.where(has_area[:, None], people.box_xyxy_px, np.concatenate([low, high], axis=1))


def sequences_from_table(table: pa.Table, name: str, where: str) -> tuple[Sequence, ...]:
    """Videos of a table with the columns `frame`, `box_x1` ... `box_y2` and, where there are some, `video`, `video_frames`,
    `track_id`, `box_score` and keypoints as `poses` has them (`nose_x`, `nose_y`, `nose_score`). All rows are of one
    skeleton, whose name `skeleton` or else the columns tell. A table with keypoints needs no boxes. One without rows is the
    video `name`, without people.

    Args: name, of the one video where there is no column `video`; where, the file's address, for errors.
    Raises: InputError for a column that is missing, of the wrong type, or holds what cannot be.
    """
    try:
        return _sequences(table, name)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{where}: cannot be read as detections: {error}") from error


def _sequences(table: pa.Table, name: str) -> tuple[Sequence, ...]:
    has = set(table.column_names)
    joints = _joints(has)
    boxless = bool(joints) and not has & set(_BOX)
    if missing := [one for one in ("frame", *_BOX) if one not in has and not (boxless and one in _BOX)]:
        raise ValueError(f"it has no column {', '.join(missing)}")
    skeleton = skeleton_of_table(table) if "skeleton" in has else _skeleton(joints)
    P = table.num_rows
    frame = _whole_numbers(table, "frame")
    if P and frame.min() < 0:
        raise ValueError(f"frame {frame.min()} is below 0; frames count from 0")
    if P and frame.max() >= MAX_FRAMES:
        raise ValueError(f"frame {frame.max()} is beyond the {MAX_FRAMES:,} frames that a video may have")
    xy_px, keypoint_score = (np.full((P, len(skeleton.keypoints), *more), np.nan) for more in ((2,), ()))
    for k, joint in ((k, joint) for k, joint in enumerate(skeleton.keypoints) if joint in joints):
        xy_px[:, k] = _together(table, (f"{joint}_x", f"{joint}_y"))
        if f"{joint}_score" in has:
            keypoint_score[:, k] = _numbers(table, f"{joint}_score")
    nothing = np.full(P, np.nan)
    people = People(
        frame=frame,
        track_id=_whole_numbers(table, "track_id", missing=-1) if "track_id" in has else np.full(P, -1),
        score=_numbers(table, "box_score") if "box_score" in has else nothing,
        box_xyxy_px=np.full((P, 4), np.nan) if boxless else _together(table, _BOX),
        head_xyxy_px=np.full((P, 4), np.nan),
        area_px2=nothing,
        is_crowd=np.zeros(P, np.bool_),
        xy_px=xy_px,
        keypoint_score=keypoint_score,
        visibility=np.full(xy_px.shape[:2], -1, np.int8),
    )
    lengths = _whole_numbers(table, "video_frames") if "video_frames" in has else None
    video = table["video"].cast(pa.string()).to_pylist() if "video" in has else [name] * P
    if None in video:
        raise ValueError(f"column video, row {video.index(None)}: the name of a video is expected, not nothing")
    of_video = dict(zip(*_rows_by_name(np.asarray(video, np.str_)), strict=True)) if P else {name: np.arange(0)}
    return tuple(_sequence(one, rows, people, lengths, skeleton) for one, rows in of_video.items())


def _rows_by_name(names: NDArray[np.str_]) -> tuple[list[str], list[NDArray[np.int64]]]:
    """The names that there are, in order, and the rows of each: sorted once, for there may be many."""
    order = np.argsort(names, kind="stable")
    told, first = np.unique(names[order], return_index=True)
    return told.tolist(), np.split(order, first[1:])


def _sequence(
    name: str, rows: NDArray[np.int64], people: People, lengths: NDArray[np.int64] | None, skeleton: Skeleton
) -> Sequence:
    order = rows[np.argsort(people.frame[rows], kind="stable")]
    mine = People(**{field.name: getattr(people, field.name)[order] for field in fields(People)})
    T = int(mine.frame.max(initial=-1)) + 1
    if lengths is not None and len(order):
        told = sorted(set(lengths[order].tolist()))
        if len(told) > 1 or told[0] < T:
            shown = ", ".join(map(str, told[:5]))
            raise ValueError(f"video {name}: video_frames must be one number above all frames, not {shown}")
        if told[0] > MAX_FRAMES:
            raise ValueError(f"video {name}: video_frames {told[0]} is beyond the {MAX_FRAMES:,} frames that a video may have")
        T = told[0]
    return Sequence(
        name, skeleton, ("",) * T, np.full(T, -1), np.ones(T, np.bool_), np.zeros((T, 2), np.int64), ((),) * T, mine
    )


def _numbers(table: pa.Table, name: str) -> Double:
    """(P,) float64 of a column, NaN for nulls; ValueError where it holds anything but numbers, or infinite ones."""
    values = table[name]
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_null(values.type)):
        raise ValueError(f"column {name} must hold numbers, not {values.type}")
    numbers = np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
    if np.isinf(numbers).any():
        raise ValueError(f"column {name}, row {np.argmax(np.isinf(numbers))}: a finite number is expected")
    return numbers


def _whole_numbers(table: pa.Table, name: str, missing: int | None = None) -> NDArray[np.int64]:
    """(P,) int64 of a column, `missing` for nulls; ValueError where a number is not whole, or not there and must be."""
    numbers = _numbers(table, name)
    if missing is not None:
        numbers = np.where(np.isnan(numbers), missing, numbers)
    is_wrong = ~(numbers == np.floor(numbers))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        found = "nothing" if np.isnan(numbers[row]) else f"{numbers[row]:g}"
        raise ValueError(f"column {name}, row {row}: a whole number is expected, not {found}")
    return numbers.astype(np.int64)


def _together(table: pa.Table, names: Listed[str]) -> Double:
    """(P, columns) float64; ValueError where a row has some of these columns and others not."""
    values = np.stack([_numbers(table, name) for name in names], axis=1)
    is_there = ~np.isnan(values)
    is_wrong = is_there.any(axis=1) & ~is_there.all(axis=1)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        lacking = names[int(np.argmin(is_there[row]))]
        raise ValueError(f"column {lacking}, row {row}: a number is expected, for {', '.join(names)} go together")
    return values


def _joints(columns: set[str]) -> list[str]:
    """Keypoints that there are columns for; ValueError for one with x or y alone."""
    joints = [joint for joint in POSE_KEYPOINTS if {f"{joint}_x", f"{joint}_y"} & columns]
    alone = [f"{joint}_{axis}" for joint in joints for axis in "xy" if f"{joint}_{axis}" not in columns]
    if alone:
        raise ValueError(f"it has no column {', '.join(alone)}: a keypoint needs x and y")
    return joints


def _skeleton(joints: Listed[str]) -> Skeleton:
    """The skeleton that has all of these keypoints, COCO's where there are none."""
    for skeleton in (COCO_17, POSETRACK_15, MPII_16):
        if set(joints) <= set(skeleton.keypoints):
            return skeleton
    raise ValueError(f"no skeleton has all of its keypoints {', '.join(sorted(joints))}; name one in a column `skeleton`")


def write_given(
    store: Store | None, given: Given, sequence: Sequence | None = None, there: Collection[str] = frozenset()
) -> str:
    """Keep rows in a store, where one is given and they are not among the young ones `there`; their digest.

    Of poses without pictures also what their file tells of the frames, which nothing else does: names, numbers, size.
    """
    facts = {"kind": given.kind, "frames": json.dumps(given.frames)}
    if sequence is not None:
        has_names, has_ids = all(sequence.frame_names), bool((sequence.image_id >= 0).all())
        facts["frame_names"] = json.dumps(sequence.frame_names if has_names else [])
        facts["image_ids"] = json.dumps(sequence.image_id.tolist() if has_ids else [])
        facts["size_px"] = json.dumps(sequence.size_px.max(axis=0, initial=0).tolist())
    data = parquet_bytes(given.table.replace_schema_metadata(facts))
    sha256 = hashlib.sha256(data).hexdigest()
    if store is not None and given_name(sha256) not in there and not store.create(given_name(sha256), data):
        store.write(given_name(sha256), data)  # so that nobody takes it away, being old, before a run says that it is used
    return sha256


def read_given(store: Store, sha256: str) -> pa.Table:
    """Rows of that digest, with the facts of `write_given` in their metadata.

    DamagedArtifactError where they are gone or are not what was written.
    """
    try:
        data = store.read(given_name(sha256))
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        name = given_name(sha256)
        store.delete(name)
        raise DamagedArtifactError(f"{name} is damaged or missing; run `tkm annotate --detections` with its file again")
    return read_parquet(data)


def is_whole_given(store: Store, name: str) -> bool:
    """Whether an object under given/ holds what its name tells by digest; one that does not is taken away."""
    is_whole = name == given_name(hashlib.sha256(store.read(name)).hexdigest())
    if not is_whole:
        store.delete(name)
    return is_whole


def given_frames(table: pa.Table) -> int | None:
    """Number of frames that the file told of, None where it did not."""
    frames: int | None = json.loads(table.schema.metadata[b"frames"])
    return frames


def given_pictures(table: pa.Table) -> tuple[list[str], list[int]]:
    """Names of the frames' pictures and their numbers, as the file has them; empty where it has none."""
    return json.loads(table.schema.metadata[b"frame_names"]), json.loads(table.schema.metadata[b"image_ids"])


def given_info(table: pa.Table) -> VideoInfo:
    """Frames of a video that is known by its poses alone: as of a folder of pictures, every one a key frame."""
    frames = given_frames(table) or 0
    width_px, height_px = json.loads(table.schema.metadata[b"size_px"])
    pts_ns: NDArray[np.int64] = np.arange(frames, dtype=np.int64) * 10**9 // IMAGES_FPS
    return VideoInfo(width_px, height_px, 0, "none", pts_ns, np.ones(frames, np.bool_))


def last_frame(table: pa.Table) -> int:
    """The highest frame that has rows, -1 where none has."""
    return int(column(table, "frame", np.int64).max(initial=-1))


def given_name(sha256: str) -> str:
    """Name of the object that holds the rows of a digest."""
    return f"given/{sha256}.parquet"
