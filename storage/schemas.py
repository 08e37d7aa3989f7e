"""One Arrow schema a table; every column says in its metadata what it is and in which unit.

A table's name, description and row identity stand in the schema's metadata, so that `tkm describe`, the README and the
published files all tell the same story.
"""

from __future__ import annotations

import pyarrow as pa

from tkm.skeleton import COCO_17, MPII_16, POSETRACK_15

CANDIDATES = 16  # local maxima kept a keypoint: n of the paper, section 3.3


def field_of(name: str, type_: pa.DataType, description: str, unit: str = "", nullable: bool = False) -> pa.Field:
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, type_, nullable=nullable, metadata=metadata)


def schema_of(name: str, description: str, *fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"name": name, "description": description})


def name_of(schema: pa.Schema) -> str:
    """Name of the table that a schema of this module describes."""
    return str(schema.metadata[b"name"].decode())


def describe(schema: pa.Schema) -> str:
    """One sentence on the table that a schema of this module describes."""
    return str(schema.metadata[b"description"].decode())


def unit_of(field: pa.Field) -> str:
    """The field's unit, or an empty string for what has none."""
    return str((field.metadata or {}).get(b"unit", b"").decode())


def description_of(field: pa.Field) -> str:
    """What the field holds."""
    return str((field.metadata or {}).get(b"description", b"").decode())


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with all of a schema's columns, in its order; those that an earlier version did not write yet are null."""
    there = set(table.column_names)  # asked of the table, it is made anew each time
    return pa.table(
        {
            field.name: table[field.name] if field.name in there or not field.nullable else pa.nulls(table.num_rows, field.type)
            for field in schema
        }
    )


ID = pa.dictionary(pa.int32(), pa.string())
# Columns for every keypoint that the poses of a table may have; those that a pose's own skeleton lacks are null.
POSE_KEYPOINTS = tuple(dict.fromkeys((*COCO_17.keypoints, *POSETRACK_15.keypoints, *MPII_16.keypoints)))

FRAME = field_of("frame", pa.int64(), "number of the frame in its video, from 0", "frames")
_DETECTION = field_of("detection", pa.int64(), "number of the detection in its frame, by falling box score")
_PTS = field_of("pts_ns", pa.int64(), "presentation time of the frame, as the file states it", "ns")
_BOX = tuple(
    field_of(f"box_{side}", pa.float32(), f"{words} of the person's box in the original frame", "px")
    for side, words in (("x1", "left edge"), ("y1", "top edge"), ("x2", "right edge"), ("y2", "bottom edge"))
)
_BOX_SCORE = field_of("box_score", pa.float32(), "detector's score of the box, 0 to 1")
_POSE_SCORE = field_of("pose_score", pa.float32(), "box score times mean keypoint score, before refinement")

def _keypoint_fields() -> tuple[pa.Field, ...]:
    return tuple(
        field
        for joint in POSE_KEYPOINTS
        for field in (
            field_of(f"{joint}_x", pa.float32(), f"{joint.replace('_', ' ')}, from the left of the frame", "px", nullable=True),
            field_of(f"{joint}_y", pa.float32(), f"{joint.replace('_', ' ')}, from the top of the frame", "px", nullable=True),
            field_of(f"{joint}_score", pa.float32(), f"score of the {joint.replace('_', ' ')}, 0 to 1", nullable=True),
        )
    )


def _initial_fields() -> tuple[pa.Field, ...]:
    return tuple(
        field
        for joint in POSE_KEYPOINTS
        for words in [joint.replace("_", " ")]
        for field in (
            field_of(f"{joint}_initial_x", pa.float32(), f"{words} before refinement; null without any", "px", nullable=True),
            field_of(f"{joint}_initial_y", pa.float32(), f"{words} before refinement; null without any", "px", nullable=True),
            field_of(f"{joint}_initial_score", pa.float32(), f"score of the {words} before refinement", nullable=True),
        )
    )


SKELETON = field_of("skeleton", ID, "names and order of the pose's keypoints; columns of others are null")
FLOATS = pa.list_(pa.field("element", pa.float32(), nullable=False))
INTS = pa.list_(pa.field("element", pa.int32(), nullable=False))

FRAMES_INDEX = schema_of(
    "frame_index",
    "every frame of a video and whether the run samples it",
    FRAME,
    _PTS,
    field_of("is_key_frame", pa.bool_(), "decoding can start here"),
    field_of("is_sampled", pa.bool_(), "chosen by --fps, --every and --frames"),
    field_of("width_px", pa.int32(), "width of the upright frame; 0 where nothing tells it", "px"),
    field_of("height_px", pa.int32(), "height of the upright frame; 0 where nothing tells it", "px"),
    field_of("rotation_degrees", pa.int32(), "rotation that the file asks for; applied to every frame", "degrees"),
    field_of("codec", pa.string(), "FFmpeg's name of the codec, or `images`, or `none` for poses without pictures"),
)

DETECTIONS = schema_of(
    "detections",
    "person boxes above a loose threshold, duplicates included",
    FRAME,
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
)

CANDIDATE_POSES = schema_of(
    "candidates",
    "the pose of every detection and up to 16 local maxima of each keypoint's heatmap; K keypoints of the skeleton, C = 16",
    FRAME,
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
    SKELETON,
    field_of("xy_px", FLOATS, "keypoints of the pose, (K, 2) row by row", "px"),
    field_of("score", FLOATS, "score of each keypoint, (K,)"),
    field_of("pose_cell", INTS, "cell of each keypoint in its heatmap, row * width + column, (K,)"),
    field_of(
        "candidate_xy_px",
        FLOATS,
        "local maxima of the raw heatmaps with sub-pixel shift, (K, C, 2); NaN where there are fewer",
        "px",
    ),
    field_of("candidate_response", FLOATS, "raw heatmap response of each maximum, (K, C), falling; NaN where there are fewer"),
    field_of(
        "candidate_weighted",
        FLOATS,
        "the same cells' response after the network's own weighting, (K, C); NaN where there are fewer",
    ),
    field_of("candidate_cell", INTS, "the same maxima's cells, (K, C); -1 where there are fewer"),
    field_of(
        "heatmap",
        pa.large_list(pa.field("item", pa.float16(), nullable=False)),
        "full raw heatmaps, (K, height, width) row by row; null unless estimate's `heatmaps` is on",
        nullable=True,
    ),
)

GIVEN_POSES = schema_of(
    "given_poses",
    "poses from a file, duplicates included",
    FRAME,
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
    *_keypoint_fields(),
    SKELETON,
)

SURVIVORS = schema_of(
    "survivors",
    "which detections are people of their own and which are duplicates",
    FRAME,
    _DETECTION,
    _POSE_SCORE,
    field_of("is_kept", pa.bool_(), "false for duplicates and for scores under the threshold"),
)

FEATURES = schema_of(
    "features",
    "what trained heads say of every survivor, at S = 1 + C places of each keypoint: its own cell, then those of its candidates",
    FRAME,
    _DETECTION,
    field_of("feature", pa.binary(), "matching features F, (K, S, D) int8; null without a matching head", nullable=True),
    field_of("feature_scale", FLOATS, "a step of each feature vector's int8, (K, S); null likewise", nullable=True),
    field_of(
        "refinement_scalar",
        FLOATS,
        "w_k . H of Eq. 6, (K, S), NaN where there are fewer; null without a refinement head",
        nullable=True,
    ),
    field_of("body_feature", pa.binary(), "feature of the whole body, (D,) int8; null without a body head", nullable=True),
    field_of("body_scale", pa.float32(), "a step of its int8; null likewise", nullable=True),
)

SHOTS = schema_of(
    "shots",
    "which camera shot every sampled frame belongs to",
    FRAME,
    field_of("shot", pa.int32(), "number of the shot, from 0, rising by one at every cut"),
    field_of("is_first", pa.bool_(), "the frame is the first sampled one of its shot"),
)

TRACKED = schema_of(
    "tracked",
    "track id of every surviving detection",
    FRAME,
    _DETECTION,
    field_of("track_id", pa.int64(), "the same person in the same video, from 0"),
)

PATHS = schema_of(
    "paths",
    "the counterparts of every surviving detection in the frames around it",
    FRAME,
    _DETECTION,
    field_of("backward", INTS, "its detection in each of the tau sampled frames before, nearest first; -1 from its end on"),
    field_of("forward", INTS, "its detection in each of the tau sampled frames after, likewise"),
)

REFINED = schema_of(
    "refined",
    "the pose of every surviving detection after refinement",
    FRAME,
    _DETECTION,
    field_of("xy_px", FLOATS, "keypoints of the refined pose, (K, 2) row by row", "px"),
    field_of("score", FLOATS, "refined response of each keypoint, (K,)"),
    field_of("place", INTS, "which place each keypoint was taken from, (K,): 0 its own cell, c the c-th candidate"),
    field_of("counterparts", pa.int32(), "detections of other frames that took part"),
)


CORRECTED = schema_of(
    "corrected",
    "every person in a frame of whom a correction made something else",
    FRAME,
    _DETECTION,
    field_of("track_id", pa.int64(), "the track that the person belongs to now"),
    field_of("is_deleted", pa.bool_(), "nobody is there: a person was deleted in this frame"),
    field_of("xy_px", FLOATS, "keypoints now, (K, 2) row by row; NaN where absent", "px"),
    field_of("score", FLOATS, "score of each keypoint, (K,); 1 for one that a person put there"),
)

EDITS = schema_of(
    "edits",
    "every edit of the corrections in force of a video, and whether it could be made",
    field_of("correction", pa.string(), "the import that the edit came with; `tkm corrections --revoke` takes it"),
    field_of("edit", pa.int64(), "number of the edit in its import, from 0"),
    field_of("created", pa.string(), "time of the import, UTC"),
    field_of("author", pa.string(), "who imported it"),
    field_of("source", pa.string(), "name of the file or folder that was imported"),
    field_of("kind", pa.string(), "`delete`, `split`, `merge`, `move` or `hide`"),
    FRAME,
    field_of("track_id", pa.int64(), "track that it was made on; null where it was not", nullable=True),
    field_of("joint", pa.string(), "name of the keypoint that is moved or hidden; null for edits of tracks", nullable=True),
    field_of("what", pa.string(), "what the edit says of the person, in words"),
    field_of("is_applied", pa.bool_(), "the results have it; false where the person was not found again, or it cannot be"),
    field_of("why", pa.string(), "why it was not applied; null where it was", nullable=True),
)

VIDEO = field_of("video", ID, "id of the video: its name and eight digits of its address's digest")
_RUN = field_of("run", ID, "run that published the row")
SHARD = field_of("shard", pa.int32(), "group of videos that are published together")

PERSONS = schema_of(
    "persons",
    "everything about a person in a frame, before it is published with its video and run",
    FRAME,
    _PTS,
    field_of("track_id", pa.int64(), "the same person in the same video, from 0"),
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
    _POSE_SCORE,
    *_keypoint_fields(),
    *_initial_fields(),
    SKELETON,
)

POSES = schema_of(
    "poses",
    "one row a person and frame: box, track id and 2D pose",
    VIDEO,
    *PERSONS,
    _RUN,
    SHARD,
)

FRAMES = schema_of(
    "frames",
    "one row a sampled frame, also where nobody is in view",
    VIDEO,
    FRAME,
    _PTS,
    field_of("is_key_frame", pa.bool_(), "decoding can start here"),
    field_of("persons", pa.int32(), "people in the frame", "persons"),
    _RUN,
    SHARD,
)

TRACKS = schema_of(
    "tracks",
    "one row a track: when it is in view, how long, how sure",
    VIDEO,
    field_of("track_id", pa.int64(), "the same person in the same video, from 0"),
    field_of("first_frame", pa.int64(), "first frame of the track", "frames"),
    field_of("last_frame", pa.int64(), "last frame of the track", "frames"),
    field_of("first_pts_ns", pa.int64(), "time of the first frame", "ns"),
    field_of("last_pts_ns", pa.int64(), "time of the last frame", "ns"),
    field_of("poses", pa.int64(), "rows of `poses` in the track", "rows"),
    field_of("mean_box_score", pa.float32(), "mean of the boxes' scores"),
    field_of("mean_pose_score", pa.float32(), "mean of the poses' scores"),
    field_of("mean_height_px", pa.float32(), "mean height of the boxes", "px"),
    _RUN,
    SHARD,
)

VIDEOS = schema_of(
    "videos",
    "one row a video: where it came from, what it holds, which artifact its rows come from",
    VIDEO,
    field_of("name", pa.string(), "file or folder name"),
    field_of("uri", pa.string(), "address the video was read from"),
    field_of("content_sha256", pa.string(), "digest of the content"),
    field_of("width_px", pa.int32(), "width of the upright frame; 0 where nothing tells it", "px"),
    field_of("height_px", pa.int32(), "height of the upright frame; 0 where nothing tells it", "px"),
    field_of("codec", pa.string(), "FFmpeg's name of the codec, `images`, or `none` for poses without pictures"),
    field_of("video_frames", pa.int64(), "frames in the video", "frames"),
    field_of("frames", pa.int64(), "frames sampled", "frames"),
    field_of("duration_ns", pa.int64(), "time from the first frame to the last", "ns"),
    field_of("poses", pa.int64(), "rows in `poses`", "rows"),
    field_of("tracks", pa.int64(), "rows in `tracks`", "rows"),
    field_of("suspects", pa.int64(), "rows in `suspects`; null until a run publishes anew what an earlier version did", "rows",
             nullable=True),
    field_of("publish_key", pa.string(), "key of the artifact that the rows come from; empty while a run replaces them"),
    _RUN,
    SHARD,
)

SUSPECTS = schema_of(
    "suspects",
    "one row a place where results are likely wrong: an identity that switches, a joint that is somewhere else",
    VIDEO,
    field_of("suspect", pa.int64(), "number of the place in its video, from 0, by falling severity"),
    field_of("kind", pa.string(), "`switch`, `joint_speed` or `limb_length`"),
    field_of("frame", pa.int64(), "frame to look at", "frames"),
    field_of("pts_ns", pa.int64(), "its time", "ns"),
    field_of("track_id", pa.int64(), "track that it is about"),
    field_of("other_track_id", pa.int64(), "the other track of a switch between two", nullable=True),
    field_of("joint", pa.string(), "name of the keypoint; null where it is the whole body", nullable=True),
    field_of(
        "value",
        pa.float64(),
        "what was measured: body heights a second; for limb_length times the track's median; of a switch between two the "
        "overlap (IOU) of one's end with the other's begin, or how many times better their ways fit crossed",
    ),
    field_of("limit", pa.float64(), "the bound that `value` exceeds, in its unit"),
    field_of("severity", pa.float64(), "value / limit, comparable across kinds"),
    field_of("x", pa.float64(), "where to look, from the left of the frame", "px"),
    field_of("y", pa.float64(), "where to look, from the top of the frame", "px"),
    _RUN,
    SHARD,
)

CORRECTIONS = schema_of(
    "corrections",
    "one row an edit that people made to a video's results, and whether it could be made on these",
    VIDEO,
    *EDITS,
    _RUN,
    SHARD,
)

FAILURES = schema_of(
    "failures",
    "one row a video that could not be finished, and why",
    VIDEO,
    field_of("uri", pa.string(), "address the video was read from"),
    field_of("stage", pa.string(), "stage that failed"),
    field_of("message", pa.string(), "what happened and what to do about it"),
    field_of("is_permanent", pa.bool_(), "the same content fails again; retried with --retry-failed only"),
    _RUN,
    SHARD,
)

PUBLISHED = (VIDEOS, FRAMES, POSES, TRACKS, SUSPECTS, CORRECTIONS, FAILURES)

PLAN = schema_of(
    "plan",
    "the artifacts that a run relies on",
    field_of("video", pa.string(), "id of the video"),
    field_of("name", pa.string(), "file or folder name"),
    field_of("uri", pa.string(), "address of the video"),
    field_of("kind", pa.string(), "`video`, `frames`, or `poses` of a file"),
    field_of("content_sha256", pa.string(), "digest of the content"),
    field_of("shard", pa.int32(), "group of videos that are published together"),
    field_of("stage", pa.string(), "name of the stage"),
    field_of("key", pa.string(), "key of the artifact"),
    field_of("params", pa.string(), "parameters of the stage, as JSON"),
)
