"""Schemas of what evaluations keep: annotation files as tables, videos against their truth, and scores."""

from __future__ import annotations

import pyarrow as pa

from storage.schemas import FRAME, ID, POSE_KEYPOINTS, SHARD, SKELETON, VIDEO, field_of, schema_of


def _sides(prefix: str, what: str) -> tuple[pa.Field, ...]:
    sides = (("x1", "left edge"), ("y1", "top edge"), ("x2", "right edge"), ("y2", "bottom edge"))
    return tuple(field_of(f"{prefix}_{side}", pa.float64(), f"{words} of {what}", "px", nullable=True) for side, words in sides)


ANNOTATED_FRAMES = schema_of(
    "annotated_frames",
    "every frame of a video that an annotation file tells of",
    FRAME,
    field_of("skeleton", ID, "names and order of the keypoints that the file's people have"),
    field_of("frame_name", pa.string(), "name of the frame's picture, as the file has it"),
    field_of("image_id", pa.int64(), "the file's number of the frame", nullable=True),
    field_of("is_labeled", pa.bool_(), "people were looked for in the frame"),
    field_of("width_px", pa.int32(), "width of the frame; 0 where the file does not tell", "px"),
    field_of("height_px", pa.int32(), "height of the frame; 0 where the file does not tell", "px"),
    field_of("ignore_regions", pa.string(), "polygons where nobody annotated people, as JSON: [[[x, y], ...], ...]", "px"),
)

ANNOTATED_POSES = schema_of(
    "annotated_poses",
    "every person that an annotation file tells of, frame by frame",
    FRAME,
    field_of("person", pa.int64(), "place of the person among those of the frame, as the file has them"),
    field_of("track_id", pa.int64(), "the same person in the same video", nullable=True),
    *_sides("box", "the person's box in the frame"),
    *_sides("head", "the head's box in the frame"),
    field_of("area_px2", pa.float64(), "area of the person's outline", "px2", nullable=True),
    field_of("is_crowd", pa.bool_(), "a group of people that the file does not tell apart"),
    *(
        field
        for joint in POSE_KEYPOINTS
        for field in (
            field_of(f"{joint}_x", pa.float64(), f"{joint.replace('_', ' ')}, from the left of the frame", "px", nullable=True),
            field_of(f"{joint}_y", pa.float64(), f"{joint.replace('_', ' ')}, from the top of the frame", "px", nullable=True),
            field_of(f"{joint}_visibility", pa.int8(), "as the file has it: 0 hidden, 1 or 2", nullable=True),
        )
    ),
    SKELETON,
)

_DOUBLES, _BOOLS = pa.list_(pa.float64()), pa.list_(pa.bool_())
VIDEO_SCORES = schema_of(
    "video_scores",
    "a video's results against its truth, joint by joint: what scores of many videos are computed from",
    field_of("joint", pa.string(), "PoseTrack's name of the point"),
    field_of("name", pa.string(), "what the truth calls the video"),
    field_of("protocol", pa.string(), "`official` or `strict`"),
    field_of("keypoint_threshold", pa.float64(), "predicted points that score less are in all_points only; -inf for none"),
    field_of("is_tracked", pa.bool_(), "truth and results have track ids; else the columns from tracking on mean nothing"),
    *(
        field
        for part, which in (("all_points", "every predicted point"), ("points", "every one over the threshold"))
        for field in (
            field_of(f"{part}_score", _DOUBLES, f"score of {which}, by frame and person"),
            field_of(f"{part}_is_hit", _BOOLS, f"of {which}: it lies where the true person assigned has it"),
            field_of(f"{part}_true_points", pa.int64(), "points there are to find"),
        )
    ),
    field_of("tracking_objects", pa.int64(), "MOTA: true points"),
    field_of("tracking_misses", pa.int64(), "MOTA: true points without a match"),
    field_of("tracking_false_positives", pa.int64(), "MOTA: predicted points without a match"),
    field_of("tracking_switches", pa.int64(), "MOTA: matches with another track than at the match before"),
    field_of("tracking_matches", pa.int64(), "MOTA: other matches"),
    field_of("tracking_distance", pa.float64(), "MOTA: distance over all matches and switches", "head sizes"),
    field_of("hota_true_points", pa.int64(), "HOTA: true points"),
    field_of("hota_predicted_points", pa.int64(), "HOTA: predicted points"),
    field_of("hota_true_positives", pa.list_(pa.int64()), "HOTA: matches, by threshold 0.05, 0.1, ..., 0.95"),
    field_of("hota_association", _DOUBLES, "HOTA: sum of the matches' association, by threshold"),
    field_of("hota_similarity", _DOUBLES, "HOTA: sum of the matches' similarity, by threshold"),
    field_of("identities_true_positives", pa.int64(), "IDF1: IDTP"),
    field_of("identities_false_positives", pa.int64(), "IDF1: IDFP"),
    field_of("identities_false_negatives", pa.int64(), "IDF1: IDFN"),
)

VIDEO_OKS = schema_of(
    "video_oks",
    "a video's results against its truth by OKS, for each of COCO's ranges of size: what AP over many videos is computed from",
    field_of("area", pa.string(), "all, medium or large people"),
    field_of("true_people", pa.int64(), "people there are to find"),
    field_of("score", _DOUBLES, "of every predicted person"),
    field_of("is_match", _BOOLS, "(S, P): matched at OKS 0.5, 0.55, ..., 0.95, threshold by threshold"),
    field_of("is_ignored", _BOOLS, "(S, P): neither right nor wrong"),
)

_TRUTH_URI = field_of("truth", ID, "address of the annotation file")
TRUTH_FRAMES = schema_of(
    "truth_frames", "truth: every frame of the videos that were evaluated", VIDEO, *ANNOTATED_FRAMES, _TRUTH_URI, SHARD
)
TRUTH_POSES = schema_of(
    "truth_poses", "truth: every person in the videos that were evaluated", VIDEO, *ANNOTATED_POSES, _TRUTH_URI, SHARD
)

_SCORES = (
    field_of("metric", pa.string(), "ap, mota, motp, precision, recall, hota, idf1, id_switches, ..., or oks_ap and its kin"),
    field_of("joint", pa.string(), "a keypoint, a column of the papers (Head ... Ankl), total, or total_with_truth"),
    field_of("value", pa.float64(), "percent, or a count for id_switches; null where it is not defined", nullable=True),
)
_EVALUATION = (
    field_of("evaluation", pa.string(), "digest of all that the scores come from"),
    field_of("run", pa.string(), "run whose results were scored, or several, by comma; or the address of a file of predictions"),
    field_of("truth", pa.string(), "address of the truth"),
    field_of("protocol", pa.string(), "`official` or `strict`"),
    field_of(
        "keypoint_threshold",
        pa.float64(),
        "keypoints that score less were dropped before tracking was evaluated; null for none",
        nullable=True,
    ),
    field_of("detector", pa.string(), "what found the people: a network and its parameters, or boxes or poses from a file"),
)
SCORES = schema_of(
    "scores",
    "scores of results against truth, over all videos of an evaluation",
    *_EVALUATION,
    field_of("videos", pa.int64(), "videos that were evaluated", "videos"),
    field_of("frames", pa.int64(), "frames in them", "frames"),
    *_SCORES,
)
SCORES_BY_VIDEO = schema_of(
    "scores_by_video",
    "scores of results against truth, a video by itself",
    *_EVALUATION,
    field_of("video", pa.string(), "id of the video, or its name in a file of predictions"),
    field_of("frames", pa.int64(), "frames in it", "frames"),
    *_SCORES,
)

EVALUATED = (TRUTH_FRAMES, TRUTH_POSES, SCORES, SCORES_BY_VIDEO)
