"""The people of a clip whose identity is known, and what each measure of association sees of them.

Shape legend: P people, all survivors of a clip, T sampled frames, K keypoints, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.annotate import CHUNK_FRAMES, no_report
from storage.codecs import candidates_from_table, detections_from_table, poses_from_table
from storage.video import decode
from tasks import embed, estimate, suppress, trained
from tasks.execute import run_frames, run_index, timeline
from tasks.people import body_features, keypoint_features
from tasks.pipeline import STEPS
from tasks.plan import VideoPlan
from tasks.stage import Block
from tkm.datasets.files import parse_json, read_document
from tkm.datasets.sequence import Sequence
from tkm.geometry import Image
from tkm.heatmaps import gather_vectors
from tkm.networks import runtime
from tkm.networks.matching import Classifiers
from tkm.similarity import box_area, iou, oks
from tkm.skeleton import COCO_17
from tkm.types import Bool, DetectionSet, Float, Int, PoseSet

SAME_PERSON_IOU = 0.5  # of a survivor's box and the true one
RIGHT_POSE_OKS = 0.5
CLOSE_IOU = 0.3
HISTOGRAM_BINS = 8  # a channel
RAW_LEVELS = 3  # of MoveNet's maps: strides 4, 8 and 16
_LIMB_WIDTH = 0.08  # of the square root of the box's area
_TORSO = tuple(COCO_17.keypoints.index(f"{side}_{joint}") for side, joint in (
    ("left", "shoulder"), ("right", "shoulder"), ("right", "hip"), ("left", "hip"),
))  # fmt: skip


@dataclass(frozen=True)
class People:
    """All survivors of a clip with what measures compare.

    frames        (T,) int64, the sampled frames
    poses         P poses, of COCO's keypoints
    who           (P,) int64, the true track, -1 for nobody's
    is_right      (P,) bool, OKS of the pose with the person's own points is at least 0.5
    is_close      (P,) bool, the person's true box overlaps another's by IOU above 0.3
    twin          the track of each track's twin, where it has one
    keypoint      (P, K, D) float32, F of the matching head, and its classifiers; None without one
    body          (P, 1, D) float32, the body head's vectors, and its classifier; None without one
    histogram     (P, 512) float32, the square root of each colour's share of the body's pixels
    raw           (P, K, D) float32, raw features at the keypoints
    """

    frames: Int
    poses: PoseSet
    who: Int
    is_right: Bool
    is_close: Bool
    twin: dict[int, int]
    keypoint: tuple[Float, Classifiers] | None
    body: tuple[Float, Classifiers] | None
    histogram: Float
    raw: Float


def read_people(plan: VideoPlan, truth_file: Path) -> People:
    """Annotate a clip as far as `embed`, unless that is done, and see who its survivors are.

    Raises: ValueError where the truth is not of this clip's frames, or not of COCO's keypoints.
    """
    stop = run_index(plan, no_report)
    threads = runtime.cores()
    run_frames(plan, STEPS["networks"], 0, stop, chunk_frames=CHUNK_FRAMES, threads=threads, report=no_report)
    document = parse_json(truth_file.read_bytes(), str(truth_file))
    (truth,) = read_document(document, truth_file.stem)
    line = timeline(plan)
    if len(truth) != len(line.info.pts_ns) or truth.skeleton.keypoints != COCO_17.keypoints:
        raise ValueError(
            f"{truth_file} has {len(truth)} frames with points of {truth.skeleton.name}, and the clip {len(line.info.pts_ns)} "
            f"with poses of {COCO_17.name}: give the folder annotations_coco of the same clips"
        )
    stages = [stage for stage in (estimate.STAGE, suppress.STAGE, embed.STAGE) if stage in plan.stages]
    tables = {stage.name: plan.artifact(stage).read() for stage in stages}
    table = tables["estimate"].filter(tables["suppress"]["is_kept"])
    poses, cell = poses_from_table(table, COCO_17), candidates_from_table(table, COCO_17).pose_cell
    who, is_right, is_close = identities(poses, truth)
    twins = {int(one["track_id"]): one["twin"] for one in document.get("tracks", ())}
    whole = Block(line.frames, line.pts_ns, (), tables)
    images = dict(decode(plan.source, line.info, line.frames))
    digests, K = plan.params["embed"], len(COCO_17.keypoints)
    assert isinstance(digests, embed.EmbedParams)
    matching, body = digests.matching, digests.body
    return People(
        line.frames, poses, who, is_right, is_close,
        twin={own: int(twin) for own, twin in twins.items() if twin is not None},
        keypoint=(keypoint_features(whole, K), trained.classifiers(matching, "matching")) if matching else None,
        body=(body_features(whole, K), trained.classifiers(body, "body")) if body else None,
        histogram=np.stack([_histogram(images[t], poses.take(np.array([p]))) for p, t in enumerate(poses.frame.tolist())]),
        raw=_raw(plan, images, detections_from_table(table), cell),
    )  # fmt: skip


def identities(poses: PoseSet, truth: Sequence) -> tuple[Int, Bool, Bool]:
    """Who each pose is, (P,) int64, whether the pose is that person's, and whether another person is close, (P,) bool each.

    In a frame boxes and true boxes are matched for the highest total IOU, and pairs below 0.5 are none. Poses are compared by
    OKS over the points that are in view, with the mean of both boxes' areas.
    """
    people = truth.people
    who = np.full(len(poses), -1, np.int64)
    is_right, is_close = np.zeros(len(poses), np.bool_), np.zeros(len(poses), np.bool_)
    true_box = people.box_xyxy_px.astype(np.float32)
    true_xy_px = np.where((people.visibility > 0)[..., None], people.xy_px, np.nan).astype(np.float32)
    for t in np.unique(poses.frame).tolist():
        own, true = np.flatnonzero(poses.frame == t), np.flatnonzero(people.frame == t)
        overlap = iou(poses.box_xyxy_px[own], true_box[true])
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        same = overlap[rows, columns] >= SAME_PERSON_IOU
        rows, columns = rows[same], columns[same]
        who[own[rows]] = people.track_id[true[columns]]
        among = iou(true_box[true], true_box[true])
        np.fill_diagonal(among, 0)
        is_close[own[rows]] = among.max(axis=1, initial=0)[columns] > CLOSE_IOU
        areas = box_area(poses.box_xyxy_px[own]), box_area(true_box[true])
        similarity = oks(poses.xy_px[own], true_xy_px[true], *areas, COCO_17.oks_sigmas)
        is_right[own[rows]] = similarity[rows, columns] >= RIGHT_POSE_OKS
    return who, is_right, is_close


def _histogram(image: Image, pose: PoseSet) -> Float:
    """(512,) square roots of the shares of 8 x 8 x 8 colours among the pixels of torso and limbs, as the pose has them."""
    mask = np.zeros(image.shape[:2], np.uint8)
    points = np.rint(pose.xy_px[0]).astype(np.int32)
    width = max(1, round(_LIMB_WIDTH * float(np.sqrt(box_area(pose.box_xyxy_px)[0]))))
    cv2.fillConvexPoly(mask, cv2.convexHull(points[list(_TORSO)]), 1)
    for a, b in COCO_17.limbs:
        cv2.line(mask, points[a].tolist(), points[b].tolist(), 1, width)
    bins = (image[mask > 0] // (256 // HISTOGRAM_BINS)).astype(np.int64) @ (HISTOGRAM_BINS**2, HISTOGRAM_BINS, 1)
    number = np.bincount(bins, minlength=HISTOGRAM_BINS**3)
    return np.sqrt(number / max(1, number.sum())).astype(np.float32)


def _raw(plan: VideoPlan, images: dict[int, Image], people: DetectionSet, cell: NDArray[np.int32]) -> Float:
    """(P, K, 264) raw features of MoveNet's first three maps in the keypoints' cells, each channel standardised over the clip."""
    import torch

    params = plan.params["estimate"]
    assert isinstance(params, estimate.EstimateParams)
    parts = []
    for t in np.unique(people.frame).tolist():
        mine = np.flatnonzero(people.frame == t)
        block = Block(np.array([t]), np.zeros(1, np.int64), (images[t],), {})
        maps = estimate.backbone_features(block, people.take(mine), params)[:RAW_LEVELS]
        size = maps[0].shape[-1]
        y, x = (torch.from_numpy(part.astype(np.int64)).to(maps[0].device) for part in np.divmod(cell[mine], size))
        strides = [size // level.shape[-1] for level in maps]
        levels = [
            gather_vectors(level, (y // s * level.shape[-1] + x // s)[..., None])[:, :, 0]
            for level, s in zip(maps, strides, strict=True)
        ]
        parts.append(torch.cat(levels, dim=-1).cpu().numpy())
    raw = np.concatenate(parts)  # a stage's rows come in frame order
    standardised: Float = (raw - raw.mean(axis=(0, 1))) / np.maximum(raw.std(axis=(0, 1)), 1e-6)
    return standardised
