"""What the differences between cNMS and pNMS, and between IOU and OKS, come from on bonn's detections.

Its detections are the poses of pred/, which came from the truth with noise, misses and a few false poses, and a duplicate of
some of them. So the rows that pred/ has too are people of their own, and the others are duplicates.

Shape legend: P poses of a video, Q others, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.association_sweep import (
    DEFAULT_FLOOR,
    NMS_GRID,
    NO_THRESHOLD,
    Method,
    Video,
    default_setting,
    is_kept,
    poses_of,
    prediction,
    read_one,
    track_ids,
)
from benchmarks.report import table
from tkm.datasets.sequence import Double
from tkm.metrics.average_precision import assigned_pairs
from tkm.metrics.cleaning import annotated_frames
from tkm.metrics.scores import Scores, pool, score_video
from tkm.similarity import Measure, aligned_iou, box_area, pose_similarity
from tkm.tracking import match
from tkm.types import Bool, Float, Int, PoseSet

MEASURES: tuple[Measure, Measure] = ("iou", "oks")
GAPS = (1, 2, 4, 8)
MEMORIES = {
    "truth, adjacent frames": 0, "truth, over 1 missed frame": 1, "truth, over 2": 2, "truth, over all": 10**6,
}  # fmt: skip
SHARES, SHARE_DISTANCES = (0.3, 0.5, 0.7), (0.1, 0.15, 0.2, 0.25)
BARE_FLOORS = (0.3, 0.4, 0.45, 0.5)
_QUANTILES = (0, 0.05, 0.5, 0.95, 1)


def sections(videos: Sequence[Video], data: Path) -> Iterator[str]:
    """The report's sections."""
    originals = [poses_of(read_one(data / "pred" / f"{video.name}.json"))[0] for video in videos]
    is_own = [_is_among(video.poses, those) for video, those in zip(videos, originals, strict=True)]
    yield "## Why: duplicates and people"
    yield duplicates(videos, originals, is_own)
    yield "Lost and left by each NMS alone, at the default min_pose_score:"
    yield lost_and_left(videos, is_own)
    yield bare_floors(videos, is_own)
    yield shares(videos)
    yield "## Why: who is who"
    kept = _survivors(videos)
    yield oracles(videos, kept)
    yield links(videos, kept)


def duplicates(videos: Sequence[Video], originals: Sequence[PoseSet], is_own: Sequence[Bool]) -> str:
    """How a duplicate differs from its original, and two true people of a frame from each other."""
    overlap, distance, true_overlap, true_distance, highest_overlap = [], [], [], [], []
    own_score, copy_score = [], []
    for video, those, own in zip(videos, originals, is_own, strict=True):
        copies = video.poses.take(~own)
        rows, others = _in_one_frame(copies.frame, those.frame)
        apart = _apart(copies.take(rows), those.take(others))
        nearest = np.lexsort((apart, rows))[np.unique(np.sort(rows), return_index=True)[1]]
        overlap.append(aligned_iou(copies.box_xyxy_px[rows], those.box_xyxy_px[others])[nearest])
        distance.append(apart[nearest])
        true, _ = poses_of(video.truth)
        a, b = _in_one_frame(true.frame, true.frame)
        a, b = a[a != b], b[a != b]
        of_pair = aligned_iou(true.box_xyxy_px[a], true.box_xyxy_px[b])
        highest = np.zeros(len(true), np.float32)
        np.maximum.at(highest, a, of_pair)
        highest_overlap.append(highest)
        true_overlap.append(of_pair[a < b])
        true_distance.append(_apart(true.take(a), true.take(b))[a < b])
        own_score.append(video.poses.pose_score[own])
        copy_score.append(video.poses.pose_score[~own])
    measured = {
        "box IOU, duplicate and original": overlap,
        "box IOU, two true people of a frame": true_overlap,
        "highest box IOU of a true person with another": highest_overlap,
        "median keypoint distance / sqrt(smaller box), duplicate and original": distance,
        "the same, two true people of a frame": true_distance,
        "pose score, rows of pred/": own_score,
        "pose score, duplicates": copy_score,
    }
    lines = [_quantile_line(name, np.concatenate(values)) for name, values in measured.items()]
    return table(("", "number", "lowest", "5 %", "median", "95 %", "highest"), lines)


def lost_and_left(videos: Sequence[Video], is_own: Sequence[Bool]) -> str:
    """Duplicates that an NMS leaves and people that it takes for duplicates, by threshold."""
    lines = []
    for method, thresholds in NMS_GRID.items():
        for nms in thresholds:
            lost, left = _lost_and_left(videos, is_own, method, nms, DEFAULT_FLOOR)
            of_truth = sum(int((~is_kept(true, method, nms, 0)).sum()) for true, _ in (poses_of(v.truth) for v in videos))
            lines.append([f"{method[0]}NMS", f"{nms:g}", str(left), str(lost), str(lost + left), str(of_truth)])
    head = ("NMS", "threshold", "duplicates left", "rows of pred/ lost", "both", "true people lost where it sees the truth")
    return table(head, lines)


def bare_floors(videos: Sequence[Video], is_own: Sequence[Bool]) -> str:
    """What a floor for scores does without any NMS."""
    lines = []
    for floor in BARE_FLOORS:
        lost, left = _lost_and_left(videos, is_own, "cnms", 1.0, floor)
        of_pred = [video.poses.take(own) for video, own in zip(videos, is_own, strict=True)]
        who = np.concatenate(
            [identities(video, poses)[poses.pose_score < floor] for video, poses in zip(videos, of_pred, strict=True)]
        )
        lines.append([f"{floor:g}", str(left), str(len(who) + lost), str((who >= 0).sum())])
    head = ("min_pose_score", "duplicates left", "rows of pred/ lost", "of them assigned to a true person")
    return "No NMS, only min_pose_score:\n\n" + table(head, lines)


def shares(videos: Sequence[Video]) -> str:
    """MOTA and mAP by the share of coinciding keypoints that pNMS asks for, which the stage does not offer."""
    lines = []
    for share in SHARES:
        for distance in SHARE_DISTANCES:
            kept = [video.poses.take(is_kept(video.poses, "pnms", distance, DEFAULT_FLOOR, share)) for video in videos]
            found = _score(videos, kept, [track_ids(p, v, "oks", 0.1) for v, p in zip(videos, kept, strict=True)])
            lines.append([f"{share:g}", f"{distance:g}", f"{found.ap_before_threshold[-1]:.2f}", f"{found.mota[-1]:.2f}"])
    return "Share of coinciding keypoints, all sequences, oks, no keypoint threshold:\n\n" + table(
        ("share", "pnms_distance", "mAP", "MOTA"), lines
    )


def oracles(videos: Sequence[Video], kept: Sequence[PoseSet]) -> str:
    """Ids by IOU and OKS, and by the truth: between adjacent frames, as tracking does, and with memory over gaps."""
    who = [identities(video, poses) for video, poses in zip(videos, kept, strict=True)]
    ids: dict[str, list[Int]] = {
        measure: [track_ids(poses, video, measure, 0.1) for video, poses in zip(videos, kept, strict=True)]
        for measure in MEASURES
    }
    for name, memory in MEMORIES.items():
        ids[name] = [oracle_ids(poses.frame, own, memory) for poses, own in zip(kept, who, strict=True)]
    lines = []
    for name, of_videos in ids.items():
        one = _score(videos, kept, of_videos)
        lines.append([name, f"{one.mota[-1]:.2f}", f"{one.id_switches[-1]:.0f}", f"{one.hota[-1]:.2f}", f"{one.idf1[-1]:.2f}"])
    missed = sum(len(video.truth.people) - int((own >= 0).sum()) for video, own in zip(videos, who, strict=True))
    return (
        f"All sequences, survivors of the default pNMS, no keypoint threshold. {missed} of "
        f"{sum(len(video.truth.people) for video in videos)} true people have no survivor in their frame.\n\n"
        + table(("ids by", "MOTA", "ID switches", "HOTA", "IDF1"), lines)
    )


def links(videos: Sequence[Video], kept: Sequence[PoseSet]) -> str:
    """Of survivors whose true person has one in the earlier frame too: how many are matched with it, by either measure."""
    lines = []
    truths = [poses_of(video.truth)[0] for video in videos]
    for name, poses, gaps in (("truth", truths, GAPS[:1]), ("survivors", kept, GAPS)):
        who = [identities(video, those) for video, those in zip(videos, poses, strict=True)]
        for gap in gaps:
            parts = [_links(those, own, video, gap) for video, those, own in zip(videos, poses, who, strict=True)]
            is_right, own_similarity = (np.concatenate([part[n] for part in parts], axis=1) for n in (0, 1))
            iou_right, oks_right = is_right
            lines.append([
                name, str(gap), str(is_right.shape[1]),
                *(f"{np.median(values):.2f} ({np.quantile(values, 0.05):.2f})" for values in own_similarity),
                f"{iou_right.mean():.2%}", f"{oks_right.mean():.2%}",
                str((iou_right & ~oks_right).sum()), str((oks_right & ~iou_right).sum()), str((~iou_right & ~oks_right).sum()),
            ])  # fmt: skip
    head = (
        "poses", "frames between", "links", "own IOU, median (5 %)", "own OKS, median (5 %)", "right by iou", "right by oks",
        "only by iou", "only by oks", "by neither",
    )  # fmt: skip
    title = "Links to the same person in an earlier frame; both similarities are 0 below the default iou_gate:"
    return f"{title}\n\n{table(head, lines)}"


def identities(video: Video, poses: PoseSet) -> Int:
    """(P,) int64, the true track that the evaluator assigns each pose to; -1 for none."""
    rows = np.arange(len(poses))
    frames = annotated_frames(video.truth, prediction(poses, rows, video.truth), NO_THRESHOLD)
    pairs = assigned_pairs(frames)
    who = np.full(len(poses), -1, np.int64)
    # The rows' own numbers stand in for track ids, so they come back after the clean-up.
    who[frames.pred_track_id[frames.pair_pred[pairs]]] = frames.true_track_id[frames.pair_true[pairs]]
    return who


def oracle_ids(frame: Int, who: Int, memory_frames: int) -> Int:
    """(P,) int64 track ids by true tracks, a new one after more frames without it than memory; nobody's poses have their own."""
    order = np.lexsort((frame, who))
    begins = (np.diff(who[order], prepend=-2) != 0) | (who[order] < 0)
    begins |= np.diff(frame[order], prepend=-2) > 1 + memory_frames
    ids = np.empty(len(frame), np.int64)
    ids[order] = np.cumsum(begins) - 1
    return ids


def _links(poses: PoseSet, who: Int, video: Video, gap: int) -> tuple[Bool, Float]:
    """(2, links) each, by IOU and OKS: the match is the same person; similarity with that person's pose."""
    right: list[list[bool]] = [[], []]
    similar: list[list[float]] = [[], []]
    for t in range(gap, len(video.truth)):
        now, before = np.flatnonzero(poses.frame == t), np.flatnonzero(poses.frame == t - gap)
        a, b = np.nonzero((who[now][:, None] == who[before]) & (who[now] >= 0)[:, None])
        for n, measure in enumerate(MEASURES):
            similarity = pose_similarity(measure, poses.take(now), poses.take(before), 0.1, video.skeleton.oks_sigmas)
            partner = np.full(len(now), -1)
            matched, matched_before = match(similarity)
            partner[matched] = matched_before
            right[n] += (partner[a] == b).tolist()
            similar[n] += similarity[a, b].tolist()
    return np.array(right, np.bool_), np.array(similar, np.float32)


def _survivors(videos: Sequence[Video]) -> list[PoseSet]:
    setting = default_setting("pnms", "oks")
    return [v.poses.take(is_kept(v.poses, setting.method, setting.nms, setting.floor)) for v in videos]


def _score(videos: Sequence[Video], kept: Sequence[PoseSet], ids: Sequence[Int]) -> Scores:
    return pool(
        score_video(video.truth, prediction(poses, own, video.truth), "official", NO_THRESHOLD)
        for video, poses, own in zip(videos, kept, ids, strict=True)
    )


def _lost_and_left(videos: Sequence[Video], is_own: Sequence[Bool], method: Method, nms: float, floor: float) -> tuple[int, int]:
    """Rows of pred/ above the floor that are dropped, and duplicates that are kept."""
    lost = left = 0
    for video, own in zip(videos, is_own, strict=True):
        kept = is_kept(video.poses, method, nms, floor)
        lost += int((own & ~kept & (video.poses.pose_score >= floor)).sum())
        left += int((~own & kept).sum())
    return lost, left


def _is_among(poses: PoseSet, others: PoseSet) -> Bool:
    """(P,) bool, the same pose stands in the same frame of the others."""
    known = {(frame, xy.tobytes()) for frame, xy in zip(others.frame.tolist(), others.xy_px, strict=True)}
    pairs = zip(poses.frame.tolist(), poses.xy_px, strict=True)
    return np.array([(frame, xy.tobytes()) in known for frame, xy in pairs], np.bool_)


def _in_one_frame(frame: Int, other_frame: Int) -> tuple[Int, Int]:
    """Rows of all pairs of the same frame."""
    rows, others = np.nonzero(frame[:, None] == other_frame)
    return rows, others


def _apart(a: PoseSet, b: PoseSet) -> Double:
    """(P,) float64, median distance of the keypoints that both have, over sqrt(area of the smaller box); inf without any."""
    distance_px = np.linalg.norm(a.xy_px.astype(np.float64) - b.xy_px, axis=-1)
    distance_px[np.isnan(distance_px).all(axis=1)] = np.inf
    smaller_px2 = np.minimum(box_area(a.box_xyxy_px), box_area(b.box_xyxy_px))
    apart: Double = np.nanmedian(distance_px, axis=1) / np.sqrt(np.maximum(smaller_px2, 1))
    return apart


def _quantile_line(name: str, values: Double) -> list[str]:
    values = values[np.isfinite(values)]
    return [name, str(len(values)), *(f"{value:.2f}" for value in np.quantile(values, _QUANTILES))]
