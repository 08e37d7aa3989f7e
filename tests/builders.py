"""Tiny poses for tests: seeded, valid, and shaped like people rather than like noise."""

from __future__ import annotations

import numpy as np

from tkm.types import DetectionSet, Float, Int, PoseSet


def boxes_around(centre_xy_px: Float, width_px: float = 60.0, height_px: float = 150.0) -> Float:
    """(P, 4) float32 boxes around centres (P, 2)."""
    half = np.array([width_px, height_px]) / 2
    return np.concatenate([centre_xy_px - half, centre_xy_px + half], axis=-1).astype(np.float32)


def detections(frame: list[int], box_xyxy_px: Float, score: list[float] | None = None) -> DetectionSet:
    """A DetectionSet whose detections are numbered from 0 in each frame."""
    frames = np.array(frame, np.int64)
    return DetectionSet(
        frame=frames,
        detection=_numbered(frames),
        box_xyxy_px=np.asarray(box_xyxy_px, np.float32).reshape(-1, 4),
        score=np.array(score if score is not None else [0.9] * len(frame), np.float32),
    )


def standing(
    frame: list[int], centre_xy_px: list[tuple[float, float]], score: list[float] | None = None, keypoints: int = 17
) -> PoseSet:
    """People of 60 x 150 px, all in one posture, one a (frame, centre); detections are numbered from 0 in each frame.

    Keypoint k of every person lies at the same place of its box, so that people differ only by where they stand.
    """
    frames = np.array(frame, np.int64)
    centre = np.array(centre_xy_px, np.float32).reshape(-1, 2)
    place = np.random.default_rng(17).uniform(-0.45, 0.45, (keypoints, 2)) * (60, 150)
    box_score = np.array(score if score is not None else [0.9] * len(frame), np.float32)
    return PoseSet(
        frame=frames,
        detection=_numbered(frames),
        box_xyxy_px=boxes_around(centre),
        box_score=box_score,
        xy_px=(centre[:, None] + place).astype(np.float32),
        score=np.full((len(frames), keypoints), 0.8, np.float32),
    )


def crowd(seed: int, frames: int = 20, people: int = 6, keypoints: int = 17, size_px: float = 400.0) -> PoseSet:
    """People wandering through a video: 0 to `people` a frame, overlapping, noisy poses and scores, in frame order."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, size_px, (people, 2)) + np.cumsum(rng.normal(0, 6, (frames, people, 2)), axis=0)
    seen = rng.random((frames, people)) < 0.8
    seen[rng.random(frames) < 0.1] = False
    frame = np.nonzero(seen)[0].astype(np.int64)
    exact = standing(frame.tolist(), [(float(x), float(y)) for x, y in centre[seen]], keypoints=keypoints)
    P = len(frame)
    return PoseSet(
        frame=frame,
        detection=exact.detection,
        box_xyxy_px=exact.box_xyxy_px + rng.normal(0, 3, (P, 4)).astype(np.float32),
        box_score=rng.uniform(0.3, 1, P).astype(np.float32),
        xy_px=exact.xy_px + rng.normal(0, 4, exact.xy_px.shape).astype(np.float32),
        score=rng.uniform(0, 1, (P, keypoints)).astype(np.float32),
    )


def _numbered(frame: Int) -> Int:
    """(P,) int64: how many rows of the same frame stand before each row."""
    seen: dict[int, int] = {}
    numbers = []
    for number in frame.tolist():
        numbers.append(seen.get(number, 0))
        seen[number] = numbers[-1] + 1
    return np.array(numbers, np.int64)
