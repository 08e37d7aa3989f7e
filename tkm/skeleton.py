"""Which keypoints a pose has, how they are joined, how exactly people place them, and how one set becomes another.

Shape legend: P people, K keypoints of the source, J keypoints of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tkm.types import Float

Real = TypeVar("Real", np.float32, np.float64)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The keypoints of a pose.

    name         what the tables call it
    keypoints    K names in the order of the arrays' keypoint axis
    limbs        pairs of keypoint numbers, the lines of a drawing
    flip_pairs   pairs of keypoint numbers that change places when the image is mirrored
    oks_sigmas   (K,) float32, spread of human annotators as a share of the person's size, sqrt(area)
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    oks_sigmas: Float

    def __post_init__(self) -> None:
        K = len(self.keypoints)
        if len(set(self.keypoints)) != K:
            raise ValueError(f"Skeleton.keypoints of {self.name!r} must have different names")
        for field, pairs in (("limbs", self.limbs), ("flip_pairs", self.flip_pairs)):
            if any(not 0 <= keypoint < K for pair in pairs for keypoint in pair):
                raise ValueError(f"Skeleton.{field} of {self.name!r} must hold keypoint numbers in 0..{K - 1}")
        if self.oks_sigmas.shape != (K,) or self.oks_sigmas.dtype != np.float32 or not (self.oks_sigmas > 0).all():
            raise ValueError(f"Skeleton.oks_sigmas of {self.name!r} must be {K} positive float32 numbers")

    @property
    def flip_order(self) -> tuple[int, ...]:
        """K keypoint numbers: entry k is the keypoint that k becomes in a mirrored image."""
        order = list(range(len(self.keypoints)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)


# Keypoints, limbs and sigmas as published with COCO (cocodataset.org/#keypoints-eval; pycocotools).
COCO_17 = Skeleton(
    name="coco_17",
    keypoints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    limbs=(
        (0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6),
        (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
        (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    oks_sigmas=np.array(
        [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
         0.107, 0.107, 0.087, 0.087, 0.089, 0.089], np.float32,
    ),
)  # fmt: skip

# PoseTrack's 15 points in the order of its 2017 files and of its evaluator (leonid-pishchulin/poseval), which calls the neck, the
# lower end of the head, "head_bottom" in 2018 files. Sigmas: COCO's, and those of the shoulders for neck and head top.
POSETRACK_15 = Skeleton(
    name="posetrack_15",
    keypoints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
        "neck", "nose", "head_top",
    ),
    limbs=(
        (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (9, 12), (9, 10), (10, 11),
        (2, 8), (3, 9), (12, 13), (13, 14),
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    oks_sigmas=np.array(
        [0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.026, 0.079], np.float32
    ),
)  # fmt: skip

# The order of MPII's annotations (human-pose.mpi-inf.mpg.de); its "upper neck" is PoseTrack's neck. Sigmas as above, the
# hips' and the shoulders' for pelvis and thorax.
MPII_16 = Skeleton(
    name="mpii_16",
    keypoints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "neck", "head_top",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    ),
    limbs=(
        (0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
        (10, 11), (11, 12), (7, 12), (7, 13), (13, 14), (14, 15),
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    oks_sigmas=np.array(
        [0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.107, 0.079, 0.079, 0.079,
         0.062, 0.072, 0.079, 0.079, 0.072, 0.062], np.float32,
    ),
)  # fmt: skip

SKELETONS = (COCO_17, POSETRACK_15, MPII_16)


def skeleton_of(name: str) -> Skeleton:
    """The skeleton that the tables call by this name; ValueError for one that there is not."""
    for skeleton in SKELETONS:
        if skeleton.name == name:
            return skeleton
    raise ValueError(f"there is no skeleton {name!r}, only {', '.join(skeleton.name for skeleton in SKELETONS)}")


# Neck and head top lie on the line from the middle of the shoulders through the middle of the head, at these shares of the way
# there. Ears lie at the head's middle whichever way the face looks; eyes and nose, further forward, stand in where no ear is
# given. docs/datasets.md tells how well that does.
NECK_SHARE, HEAD_TOP_SHARE_BY_EARS, HEAD_TOP_SHARE_BY_FACE = 0.3, 1.7, 1.5
_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
_HEAD = (  # the first of these that is given
    (("left_ear", "right_ear"), HEAD_TOP_SHARE_BY_EARS),
    (("left_eye", "right_eye"), HEAD_TOP_SHARE_BY_FACE),
    (("nose",), HEAD_TOP_SHARE_BY_FACE),
)


def convert(xy: NDArray[Real], score: NDArray[Real], source: Skeleton, target: Skeleton) -> tuple[NDArray[Real], NDArray[Real]]:
    """Poses of one skeleton as poses of another, keypoint by keypoint of the same name.

    A keypoint that the source does not have by name is derived where there is a rule, and NaN elsewhere: pelvis and thorax are
    the middles of both hips and both shoulders; neck and head top lie on the line from the middle of the shoulders through the
    middle of the head, which is that of the ears, else that of the eyes, else the nose. A shoulder and a point of the head must
    be given; one of a pair stands for its middle. The score of a derived keypoint is the mean of those of its two ends, each
    the mean of what it rests on.

    Args: xy (P, K, 2), NaN where not given, in any unit; score (P, K); both float32 or both float64.
    Returns: (P, J, 2) and (P, J) of the same dtype.
    Raises: ValueError for shapes that are not the source's.
    """
    K = len(source.keypoints)
    if xy.shape != (len(xy), K, 2) or score.shape != xy.shape[:2]:
        raise ValueError(f"xy and score must be (P, {K}, 2) and (P, {K}) for {source.name}, not {xy.shape} and {score.shape}")
    # Position and score side by side: what is averaged is averaged in both.
    given = np.concatenate([xy, score[..., None]], axis=2)
    given[np.isnan(xy).any(axis=2)] = np.nan
    by_name = {name: given[:, k] for k, name in enumerate(source.keypoints)}
    derived = _derived(by_name)
    nothing = np.full((len(xy), 3), np.nan, xy.dtype)
    found = np.stack([by_name.get(name, derived.get(name, nothing)) for name in target.keypoints], axis=1)
    return found[..., :2], found[..., 2]


def _derived(by_name: dict[str, NDArray[Real]]) -> dict[str, NDArray[Real]]:
    """What can be derived from the source's keypoints, each (P, 3): x, y, score."""
    derived: dict[str, NDArray[Real]] = {}
    for name, pair in (("pelvis", _HIPS), ("thorax", _SHOULDERS)):
        if all(side in by_name for side in pair):
            derived[name] = ((by_name[pair[0]] + by_name[pair[1]]) / 2).astype(by_name[pair[0]].dtype)
    shoulders = _mean(by_name, _SHOULDERS)
    head, head_top_share = np.full_like(shoulders, np.nan), np.full_like(shoulders, np.nan)
    for names, share in _HEAD:
        still = np.isnan(head[:, 0])
        head[still], head_top_share[still] = _mean(by_name, names)[still], share
    for name, share_of_way in (("neck", np.full_like(shoulders, NECK_SHARE)), ("head_top", head_top_share)):
        share_of_way[:, 2] = 0.5  # the score is the mean
        derived[name] = (shoulders + share_of_way * (head - shoulders)).astype(shoulders.dtype)
    return derived


def _mean(by_name: dict[str, NDArray[Real]], names: tuple[str, ...]) -> NDArray[Real]:
    """(P, 3), each row the mean of those of the keypoints that are given there, NaN where none is."""
    some = next(iter(by_name.values()))
    stacked = np.stack([by_name.get(name, np.full_like(some, np.nan)) for name in names])
    is_given = ~np.isnan(stacked[..., :1])
    count = is_given.sum(axis=0)
    total = np.where(is_given, stacked, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(some.dtype)
