"""One Arrow schema a table; every column says in its metadata what it is and in which unit.

A table's name, description and row identity stand in the schema's metadata, so that `tkm describe`, the README and the
published files all tell the same story.
"""

from __future__ import annotations

import pyarrow as pa

from tkm.skeleton import COCO_17, MPII_16, POSETRACK_15

CANDIDATES = 16  # local maxima kept a keypoint: n of the paper, section 3.3


def _field(name: str, type_: pa.DataType, description: str, unit: str = "", nullable: bool = False) -> pa.Field:
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, type_, nullable=nullable, metadata=metadata)


def _schema(name: str, description: str, *fields: pa.Field) -> pa.Schema:
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
    return pa.table(
        {
            field.name: table[field.name]
            if field.name in table.column_names or not field.nullable
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        }
    )


ID = pa.dictionary(pa.int32(), pa.string())
# Columns for every keypoint that the poses of a table may have; those that a pose's own skeleton lacks are null.
POSE_KEYPOINTS = tuple(dict.fromkeys((*COCO_17.keypoints, *POSETRACK_15.keypoints, *MPII_16.keypoints)))

_FRAME = _field("frame", pa.int64(), "number of the frame in its video, from 0", "frames")
_DETECTION = _field("detection", pa.int64(), "number of the detection in its frame, by falling box score")
_PTS = _field("pts_ns", pa.int64(), "presentation time of the frame, as the file states it", "ns")
_BOX = tuple(
    _field(f"box_{side}", pa.float32(), f"{words} of the person's box in the original frame", "px")
    for side, words in (("x1", "left edge"), ("y1", "top edge"), ("x2", "right edge"), ("y2", "bottom edge"))
)
_BOX_SCORE = _field("box_score", pa.float32(), "detector's score of the box, 0 to 1")
_POSE_SCORE = _field("pose_score", pa.float32(), "box score times mean keypoint score, before refinement")

def _keypoint_fields() -> tuple[pa.Field, ...]:
    return tuple(
        field
        for joint in POSE_KEYPOINTS
        for field in (
            _field(f"{joint}_x", pa.float32(), f"{joint.replace('_', ' ')}, from the left of the frame", "px", nullable=True),
            _field(f"{joint}_y", pa.float32(), f"{joint.replace('_', ' ')}, from the top of the frame", "px", nullable=True),
            _field(f"{joint}_score", pa.float32(), f"score of the {joint.replace('_', ' ')}, 0 to 1", nullable=True),
        )
    )


def _initial_fields() -> tuple[pa.Field, ...]:
    return tuple(
        field
        for joint in POSE_KEYPOINTS
        for words in [joint.replace("_", " ")]
        for field in (
            _field(f"{joint}_initial_x", pa.float32(), f"{words} before refinement; null without any", "px", nullable=True),
            _field(f"{joint}_initial_y", pa.float32(), f"{words} before refinement; null without any", "px", nullable=True),
            _field(f"{joint}_initial_score", pa.float32(), f"score of the {words} before refinement", nullable=True),
        )
    )


_SKELETON = _field("skeleton", ID, "names and order of the pose's keypoints; columns of others are null")
_FLOATS = pa.list_(pa.field("element", pa.float32(), nullable=False))
_INTS = pa.list_(pa.field("element", pa.int32(), nullable=False))

FRAMES_INDEX = _schema(
    "frame_index",
    "every frame of a video and whether the run samples it",
    _FRAME,
    _PTS,
    _field("is_key_frame", pa.bool_(), "decoding can start here"),
    _field("is_sampled", pa.bool_(), "chosen by --fps, --every and --frames"),
    _field("width_px", pa.int32(), "width of the upright frame; 0 where nothing tells it", "px"),
    _field("height_px", pa.int32(), "height of the upright frame; 0 where nothing tells it", "px"),
    _field("rotation_degrees", pa.int32(), "rotation that the file asks for; applied to every frame", "degrees"),
    _field("codec", pa.string(), "FFmpeg's name of the codec, or `images`, or `none` for poses without pictures"),
)

DETECTIONS = _schema(
    "detections",
    "person boxes above a loose threshold, duplicates included",
    _FRAME,
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
)

CANDIDATE_POSES = _schema(
    "candidates",
    "the pose of every detection and up to 16 local maxima of each keypoint's heatmap; K keypoints of the skeleton, C = 16",
    _FRAME,
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
    _SKELETON,
    _field("xy_px", _FLOATS, "keypoints of the pose, (K, 2) row by row", "px"),
    _field("score", _FLOATS, "score of each keypoint, (K,)"),
    _field("pose_cell", _INTS, "cell of each keypoint in its heatmap, row * width + column, (K,)"),
    _field(
        "candidate_xy_px",
        _FLOATS,
        "local maxima of the raw heatmaps with sub-pixel shift, (K, C, 2); NaN where there are fewer",
        "px",
    ),
    _field("candidate_response", _FLOATS, "raw heatmap response of each maximum, (K, C), falling; NaN where there are fewer"),
    _field(
        "candidate_weighted",
        _FLOATS,
        "the same cells' response after the network's own weighting, (K, C); NaN where there are fewer",
    ),
    _field("candidate_cell", _INTS, "the same maxima's cells, (K, C); -1 where there are fewer"),
    _field(
        "heatmap",
        pa.large_list(pa.field("item", pa.float16(), nullable=False)),
        "full raw heatmaps, (K, height, width) row by row; null unless estimate's `heatmaps` is on",
        nullable=True,
    ),
)

GIVEN_POSES = _schema(
    "given_poses",
    "poses from a file, duplicates included",
    _FRAME,
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
    *_keypoint_fields(),
    _SKELETON,
)

SURVIVORS = _schema(
    "survivors",
    "which detections are people of their own and which are duplicates",
    _FRAME,
    _DETECTION,
    _POSE_SCORE,
    _field("is_kept", pa.bool_(), "false for duplicates and for scores under the threshold"),
)

FEATURES = _schema(
    "features",
    "what trained heads say of every survivor, at S = 1 + C places of each keypoint: its own cell, then those of its candidates",
    _FRAME,
    _DETECTION,
    _field("feature", pa.binary(), "matching features F, (K, S, D) int8; null without a matching head", nullable=True),
    _field("feature_scale", _FLOATS, "a step of each feature vector's int8, (K, S); null likewise", nullable=True),
    _field(
        "refinement_scalar",
        _FLOATS,
        "w_k . H of Eq. 6, (K, S), NaN where there are fewer; null without a refinement head",
        nullable=True,
    ),
    _field("body_feature", pa.binary(), "feature of the whole body, (D,) int8; null without a body head", nullable=True),
    _field("body_scale", pa.float32(), "a step of its int8; null likewise", nullable=True),
)

SHOTS = _schema(
    "shots",
    "which camera shot every sampled frame belongs to",
    _FRAME,
    _field("shot", pa.int32(), "number of the shot, from 0, rising by one at every cut"),
    _field("is_first", pa.bool_(), "the frame is the first sampled one of its shot"),
)

TRACKED = _schema(
    "tracked",
    "track id of every surviving detection",
    _FRAME,
    _DETECTION,
    _field("track_id", pa.int64(), "the same person in the same video, from 0"),
)

PATHS = _schema(
    "paths",
    "the counterparts of every surviving detection in the frames around it",
    _FRAME,
    _DETECTION,
    _field("backward", _INTS, "its detection in each of the tau sampled frames before, nearest first; -1 from the path's end on"),
    _field("forward", _INTS, "its detection in each of the tau sampled frames after, likewise"),
)

REFINED = _schema(
    "refined",
    "the pose of every surviving detection after refinement",
    _FRAME,
    _DETECTION,
    _field("xy_px", _FLOATS, "keypoints of the refined pose, (K, 2) row by row", "px"),
    _field("score", _FLOATS, "refined response of each keypoint, (K,)"),
    _field("place", _INTS, "which place each keypoint was taken from, (K,): 0 its own cell, c the c-th candidate"),
    _field("counterparts", pa.int32(), "detections of other frames that took part"),
)


_VIDEO = _field("video", ID, "id of the video: its name and eight digits of its address's digest")
_RUN = _field("run", ID, "run that published the row")
_SHARD = _field("shard", pa.int32(), "group of videos that are published together")

PERSONS = _schema(
    "persons",
    "everything about a person in a frame, before it is published with its video and run",
    _FRAME,
    _PTS,
    _field("track_id", pa.int64(), "the same person in the same video, from 0"),
    _DETECTION,
    *_BOX,
    _BOX_SCORE,
    _POSE_SCORE,
    *_keypoint_fields(),
    *_initial_fields(),
    _SKELETON,
)

POSES = _schema(
    "poses",
    "one row a person and frame: box, track id and 2D pose",
    _VIDEO,
    *PERSONS,
    _RUN,
    _SHARD,
)

FRAMES = _schema(
    "frames",
    "one row a sampled frame, also where nobody is in view",
    _VIDEO,
    _FRAME,
    _PTS,
    _field("is_key_frame", pa.bool_(), "decoding can start here"),
    _field("persons", pa.int32(), "people in the frame", "persons"),
    _RUN,
    _SHARD,
)

TRACKS = _schema(
    "tracks",
    "one row a track: when it is in view, how long, how sure",
    _VIDEO,
    _field("track_id", pa.int64(), "the same person in the same video, from 0"),
    _field("first_frame", pa.int64(), "first frame of the track", "frames"),
    _field("last_frame", pa.int64(), "last frame of the track", "frames"),
    _field("first_pts_ns", pa.int64(), "time of the first frame", "ns"),
    _field("last_pts_ns", pa.int64(), "time of the last frame", "ns"),
    _field("poses", pa.int64(), "rows of `poses` in the track", "rows"),
    _field("mean_box_score", pa.float32(), "mean of the boxes' scores"),
    _field("mean_pose_score", pa.float32(), "mean of the poses' scores"),
    _field("mean_height_px", pa.float32(), "mean height of the boxes", "px"),
    _RUN,
    _SHARD,
)

VIDEOS = _schema(
    "videos",
    "one row a video: where it came from, what it holds, which artifact its rows come from",
    _VIDEO,
    _field("name", pa.string(), "file or folder name"),
    _field("uri", pa.string(), "address the video was read from"),
    _field("content_sha256", pa.string(), "digest of the content"),
    _field("width_px", pa.int32(), "width of the upright frame; 0 where nothing tells it", "px"),
    _field("height_px", pa.int32(), "height of the upright frame; 0 where nothing tells it", "px"),
    _field("codec", pa.string(), "FFmpeg's name of the codec, `images`, or `none` for poses without pictures"),
    _field("video_frames", pa.int64(), "frames in the video", "frames"),
    _field("frames", pa.int64(), "frames sampled", "frames"),
    _field("duration_ns", pa.int64(), "time from the first frame to the last", "ns"),
    _field("poses", pa.int64(), "rows in `poses`", "rows"),
    _field("tracks", pa.int64(), "rows in `tracks`", "rows"),
    _field("publish_key", pa.string(), "key of the artifact that the rows come from; empty while a run replaces them"),
    _RUN,
    _SHARD,
)

FAILURES = _schema(
    "failures",
    "one row a video that could not be finished, and why",
    _VIDEO,
    _field("uri", pa.string(), "address the video was read from"),
    _field("stage", pa.string(), "stage that failed"),
    _field("message", pa.string(), "what happened and what to do about it"),
    _field("is_permanent", pa.bool_(), "the same content fails again; retried with --retry-failed only"),
    _RUN,
    _SHARD,
)

PUBLISHED = (VIDEOS, FRAMES, POSES, TRACKS, FAILURES)

def _sides(prefix: str, what: str) -> tuple[pa.Field, ...]:
    sides = (("x1", "left edge"), ("y1", "top edge"), ("x2", "right edge"), ("y2", "bottom edge"))
    return tuple(_field(f"{prefix}_{side}", pa.float64(), f"{words} of {what}", "px", nullable=True) for side, words in sides)


ANNOTATED_FRAMES = _schema(
    "annotated_frames",
    "every frame of a video that an annotation file tells of",
    _FRAME,
    _field("skeleton", ID, "names and order of the keypoints that the file's people have"),
    _field("frame_name", pa.string(), "name of the frame's picture, as the file has it"),
    _field("image_id", pa.int64(), "the file's number of the frame", nullable=True),
    _field("is_labeled", pa.bool_(), "people were looked for in the frame"),
    _field("width_px", pa.int32(), "width of the frame; 0 where the file does not tell", "px"),
    _field("height_px", pa.int32(), "height of the frame; 0 where the file does not tell", "px"),
    _field("ignore_regions", pa.string(), "polygons where nobody annotated people, as JSON: [[[x, y], ...], ...]", "px"),
)

ANNOTATED_POSES = _schema(
    "annotated_poses",
    "every person that an annotation file tells of, frame by frame",
    _FRAME,
    _field("person", pa.int64(), "place of the person among those of the frame, as the file has them"),
    _field("track_id", pa.int64(), "the same person in the same video", nullable=True),
    *_sides("box", "the person's box in the frame"),
    *_sides("head", "the head's box in the frame"),
    _field("area_px2", pa.float64(), "area of the person's outline", "px2", nullable=True),
    _field("is_crowd", pa.bool_(), "a group of people that the file does not tell apart"),
    *(
        field
        for joint in POSE_KEYPOINTS
        for field in (
            _field(f"{joint}_x", pa.float64(), f"{joint.replace('_', ' ')}, from the left of the frame", "px", nullable=True),
            _field(f"{joint}_y", pa.float64(), f"{joint.replace('_', ' ')}, from the top of the frame", "px", nullable=True),
            _field(f"{joint}_visibility", pa.int8(), "as the file has it: 0 hidden, 1 or 2", nullable=True),
        )
    ),
    _SKELETON,
)

_DOUBLES, _BOOLS = pa.list_(pa.float64()), pa.list_(pa.bool_())
VIDEO_SCORES = _schema(
    "video_scores",
    "a video's results against its truth, joint by joint: what scores of many videos are computed from",
    _field("joint", pa.string(), "PoseTrack's name of the point"),
    _field("name", pa.string(), "what the truth calls the video"),
    _field("protocol", pa.string(), "`official` or `strict`"),
    _field("keypoint_threshold", pa.float64(), "predicted points that score less are in all_points only; -inf for none"),
    _field("is_tracked", pa.bool_(), "truth and results have track ids; else the columns from tracking on mean nothing"),
    *(
        field
        for part, which in (("all_points", "every predicted point"), ("points", "every one over the threshold"))
        for field in (
            _field(f"{part}_score", _DOUBLES, f"score of {which}, by frame and person"),
            _field(f"{part}_is_hit", _BOOLS, f"of {which}: it lies where the true person assigned has it"),
            _field(f"{part}_true_points", pa.int64(), "points there are to find"),
        )
    ),
    _field("tracking_objects", pa.int64(), "MOTA: true points"),
    _field("tracking_misses", pa.int64(), "MOTA: true points without a match"),
    _field("tracking_false_positives", pa.int64(), "MOTA: predicted points without a match"),
    _field("tracking_switches", pa.int64(), "MOTA: matches with another track than at the match before"),
    _field("tracking_matches", pa.int64(), "MOTA: other matches"),
    _field("tracking_distance", pa.float64(), "MOTA: distance over all matches and switches", "head sizes"),
    _field("hota_true_points", pa.int64(), "HOTA: true points"),
    _field("hota_predicted_points", pa.int64(), "HOTA: predicted points"),
    _field("hota_true_positives", pa.list_(pa.int64()), "HOTA: matches, by threshold 0.05, 0.1, ..., 0.95"),
    _field("hota_association", _DOUBLES, "HOTA: sum of the matches' association, by threshold"),
    _field("hota_similarity", _DOUBLES, "HOTA: sum of the matches' similarity, by threshold"),
    _field("identities_true_positives", pa.int64(), "IDF1: IDTP"),
    _field("identities_false_positives", pa.int64(), "IDF1: IDFP"),
    _field("identities_false_negatives", pa.int64(), "IDF1: IDFN"),
)

VIDEO_OKS = _schema(
    "video_oks",
    "a video's results against its truth by OKS, for each of COCO's ranges of size: what AP over many videos is computed from",
    _field("area", pa.string(), "all, medium or large people"),
    _field("true_people", pa.int64(), "people there are to find"),
    _field("score", _DOUBLES, "of every predicted person"),
    _field("is_match", _BOOLS, "(S, P): matched at OKS 0.5, 0.55, ..., 0.95, threshold by threshold"),
    _field("is_ignored", _BOOLS, "(S, P): neither right nor wrong"),
)

_TRUTH_URI = _field("truth", ID, "address of the annotation file")
TRUTH_FRAMES = _schema(
    "truth_frames", "truth: every frame of the videos that were evaluated", _VIDEO, *ANNOTATED_FRAMES, _TRUTH_URI, _SHARD
)
TRUTH_POSES = _schema(
    "truth_poses", "truth: every person in the videos that were evaluated", _VIDEO, *ANNOTATED_POSES, _TRUTH_URI, _SHARD
)

_SCORES = (
    _field("metric", pa.string(), "ap, mota, motp, precision, recall, hota, idf1, id_switches, ..., or oks_ap and its kin"),
    _field("joint", pa.string(), "a keypoint, a column of the papers (Head ... Ankl), total, or total_with_truth"),
    _field("value", pa.float64(), "percent, or a count for id_switches; null where it is not defined", nullable=True),
)
_EVALUATION = (
    _field("evaluation", pa.string(), "digest of all that the scores come from"),
    _field("run", pa.string(), "run whose results were scored, or several, by comma; or the address of a file of predictions"),
    _field("truth", pa.string(), "address of the truth"),
    _field("protocol", pa.string(), "`official` or `strict`"),
    _field(
        "keypoint_threshold",
        pa.float64(),
        "keypoints that score less were dropped before tracking was evaluated; null for none",
        nullable=True,
    ),
    _field("detector", pa.string(), "what found the people: a network and its parameters, or boxes or poses from a file"),
)
SCORES = _schema(
    "scores",
    "scores of results against truth, over all videos of an evaluation",
    *_EVALUATION,
    _field("videos", pa.int64(), "videos that were evaluated", "videos"),
    _field("frames", pa.int64(), "frames in them", "frames"),
    *_SCORES,
)
SCORES_BY_VIDEO = _schema(
    "scores_by_video",
    "scores of results against truth, a video by itself",
    *_EVALUATION,
    _field("video", pa.string(), "id of the video, or its name in a file of predictions"),
    _field("frames", pa.int64(), "frames in it", "frames"),
    *_SCORES,
)

EVALUATED = (TRUTH_FRAMES, TRUTH_POSES, SCORES, SCORES_BY_VIDEO)

SAMPLES = _schema(
    "samples",
    "what heads are trained on: people that a run found, who they truly are, and what a frozen network sees of them",
    _field("frame", pa.int64(), "place of the frame among the sampled ones", "frames"),
    _field("track_id", pa.int64(), "who it truly is; -1 where the detection is of nobody"),
    _field("cell", _INTS, "(K, S): the true place, the pose's own and the candidates', as cells; -1 for none", "cells"),
    _field("xy_cells", _FLOATS, "(K, 2): where keypoints truly are in the crop; NaN for unknown", "cells"),
    _field("visibility", pa.list_(pa.field("element", pa.int8(), nullable=False)), "(K): 2 seen, 1 hidden, 0 not annotated"),
    _field("inputs", pa.binary(), "float16, (K, S, n) what reduced heads look at, or (D, h, w) the map that the paper's take"),
    _field("body", pa.binary(), "float16, (B, n) what a reduced body head looks at; empty for the paper's"),
)

TRAININGS = _schema(
    "trainings",
    "how trainings went: one row an epoch and metric",
    _field("training", pa.string(), "key of the training: digest of all that its result comes from"),
    _field("what", pa.string(), "what was trained: `pose`, `temporal`, `body` or `detector`"),
    _field("epoch", pa.int32(), "number of the epoch, from 1", "epochs"),
    _field("split", pa.string(), "`train` for a mean over the epoch, `val` for what was measured after it on data held out"),
    _field("metric", pa.string(), "`loss`, which is minimised, `lr`, the learning rate, `seconds` of the epoch, and others"),
    _field("value", pa.float64(), "the metric's value"),
)

TRAINED = (TRAININGS,)

ABLATION = _schema(
    "ablation",
    "a metric of a row of the ablation, or of its difference to another row",
    _field("row", pa.string(), "name of the row: M1, ..., N6 as in the paper; G2 and the like are M2 with a memory"),
    _field("against", pa.string(), "the row that this one is less; null for the row's own value", nullable=True),
    _field("metric", pa.string(), "`map`, `mota`, `hota`, `idf1` or `id_switches`, over the joints that have truth"),
    _field("value", pa.float64(), "percent, or percent points; a number for id_switches; null where undefined", nullable=True),
    _field("low", pa.float64(), "lower end of the difference's 95% interval, paired bootstrap over clips", nullable=True),
    _field("high", pa.float64(), "upper end of it", nullable=True),
    _field("paper", pa.float64(), "the paper's value or difference, on its data", nullable=True),
    _field("suppression", pa.string(), "`cnms` or `pnms`"),
    _field("similarity", pa.string(), "`iou`, `oks`, `tbm` or `tkm`"),
    _field("refinement", pa.string(), "`none`, `self` or `context`"),
    _field("nms_threshold", pa.float64(), "tuned: cnms_iou, or pnms_distance in sizes of the person"),
    _field("min_pose_score", pa.float64(), "tuned: people who score less are dropped"),
    _field("keypoint_threshold", pa.float64(), "tuned: keypoints that score less are not tracked; null for none", nullable=True),
    _field("memory_frames", pa.int64(), "tuned: frames that somebody may be missed for and keep the id; 0 for none", "frames"),
    _field("memory_similarity", pa.float64(), "tuned: what such a person must reach; null without memory", nullable=True),
    _field("tuning_mota", pa.float64(), "MOTA on the tuning clips under these settings", "percent"),
    _field("tuning_map", pa.float64(), "mAP there", "percent"),
    _field("run", pa.string(), "run that has the row's results"),
    _field("videos", pa.int64(), "clips that were evaluated", "videos"),
)

PLAN = _schema(
    "plan",
    "the artifacts that a run relies on",
    _field("video", pa.string(), "id of the video"),
    _field("name", pa.string(), "file or folder name"),
    _field("uri", pa.string(), "address of the video"),
    _field("kind", pa.string(), "`video`, `frames`, or `poses` of a file"),
    _field("content_sha256", pa.string(), "digest of the content"),
    _field("shard", pa.int32(), "group of videos that are published together"),
    _field("stage", pa.string(), "name of the stage"),
    _field("key", pa.string(), "key of the artifact"),
    _field("params", pa.string(), "parameters of the stage, as JSON"),
)
