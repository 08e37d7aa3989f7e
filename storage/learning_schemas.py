"""Schemas of what trainings and ablations keep: samples, metrics by epoch, and rows against rows."""

from __future__ import annotations

import pyarrow as pa

from storage.schemas import FLOATS, INTS, field_of, schema_of

SAMPLES = schema_of(
    "samples",
    "what heads are trained on: people that a run found, who they truly are, and what a frozen network sees of them",
    field_of("frame", pa.int64(), "place of the frame among the sampled ones", "frames"),
    field_of("track_id", pa.int64(), "who it truly is; -1 where the detection is of nobody"),
    field_of("cell", INTS, "(K, S): the true place, the pose's own and the candidates', as cells; -1 for none", "cells"),
    field_of("xy_cells", FLOATS, "(K, 2): where keypoints truly are in the crop; NaN for unknown", "cells"),
    field_of("visibility", pa.list_(pa.field("element", pa.int8(), nullable=False)), "(K): 2 seen, 1 hidden, 0 not annotated"),
    field_of("inputs", pa.binary(), "float16, (K, S, n) what reduced heads look at, or (D, h, w) the map that the paper's take"),
    field_of("body", pa.binary(), "float16, (B, n) what a reduced body head looks at; empty for the paper's"),
)

TRAININGS = schema_of(
    "trainings",
    "how trainings went: one row an epoch and metric",
    field_of("training", pa.string(), "key of the training: digest of all that its result comes from"),
    field_of("what", pa.string(), "what was trained: `pose`, `detector`, `matching`, `body`, `refinement` or `self-refinement`"),
    field_of("epoch", pa.int32(), "number of the epoch, from 1", "epochs"),
    field_of("split", pa.string(), "`train` for a mean over the epoch, `val` for what was measured after it on data held out"),
    field_of("metric", pa.string(), "`loss`, which is minimised, `lr`, the learning rate, `seconds` of the epoch, and others"),
    field_of("value", pa.float64(), "the metric's value"),
)

TRAINED = (TRAININGS,)

ABLATION = schema_of(
    "ablation",
    "a metric of a row of the ablation, or of its difference to another row",
    field_of("row", pa.string(), "name of the row: M1, ..., N6 as in the paper; G2 and the like are M2 with a memory"),
    field_of("against", pa.string(), "the row that this one is less; null for the row's own value", nullable=True),
    field_of("metric", pa.string(), "`map`, `mota`, `hota`, `idf1` or `id_switches`, over the joints that have truth"),
    field_of("value", pa.float64(), "percent, or percent points; a number for id_switches; null where undefined", nullable=True),
    field_of("low", pa.float64(), "lower end of the difference's 95% interval, paired bootstrap over clips", nullable=True),
    field_of("high", pa.float64(), "upper end of it", nullable=True),
    field_of("paper", pa.float64(), "the paper's value or difference, on its data", nullable=True),
    field_of("suppression", pa.string(), "`cnms` or `pnms`"),
    field_of("similarity", pa.string(), "`iou`, `oks`, `tbm` or `tkm`"),
    field_of("refinement", pa.string(), "`none`, `self` or `context`"),
    field_of("nms_threshold", pa.float64(), "tuned: cnms_iou, or pnms_distance in sizes of the person"),
    field_of("min_pose_score", pa.float64(), "tuned: people who score less are dropped"),
    field_of("keypoint_threshold", pa.float64(), "tuned: keypoints under it are not tracked; null for none", nullable=True),
    field_of("memory_frames", pa.int64(), "tuned: frames that somebody may be missed for and keep the id; 0 for none", "frames"),
    field_of("memory_similarity", pa.float64(), "tuned: what such a person must reach; null without memory", nullable=True),
    field_of("tuning_mota", pa.float64(), "MOTA on the tuning clips under these settings", "percent"),
    field_of("tuning_map", pa.float64(), "mAP there", "percent"),
    field_of("run", pa.string(), "run that has the row's results"),
    field_of("videos", pa.int64(), "clips that were evaluated", "videos"),
)
