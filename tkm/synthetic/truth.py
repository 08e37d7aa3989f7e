"""What is true of a frame: where people's keypoints are, and which of them can be seen.

A keypoint lies inside the body, so the depth buffer's surface before it hides it only where it is another's, another part's, or
further before it than the body and its clothes are thick there.

Shape legend: P people, K keypoints, V vertices, S segments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import KEYPOINTS, Body, Double, keypoints_m
from tkm.synthetic.bodies.mesh import Mesh
from tkm.synthetic.bodies.segments import SEGMENT, SEGMENTS
from tkm.synthetic.camera import Camera
from tkm.synthetic.compiled import compiled
from tkm.synthetic.drawing.plate import Drawn
from tkm.types import Bool, Int, check

SEEN, HIDDEN, OUT_OF_VIEW = 2, 1, 0
_SAMPLES = 2  # of the depth buffer, a pixel and axis
# The skin before a joint is up to twice as far from it as the nearest skin, and cloth lies over it. Points of the face are on the
# skin: eyes lie behind the temple's edge and glasses, ears under hair are hidden. The neck's is before the throat, and as thin as
# a limb from behind.
_THICKER, _CLOTH_M = 2.0, 0.045
_OVER_M = {"nose": 0.01, "eye": 0.025, "ear": 0.01, "neck": 0.1}
_CROWN_M = 0.12  # the crown is seen through the hair around it

# Segments whose surface is around a keypoint.
_AROUND = {
    "nose": ("head",), "eye": ("head",), "ear": ("head",), "head_top": ("head",), "neck": ("neck", "head", "chest"),
    "shoulder": ("clavicle", "upper_arm", "chest"), "elbow": ("upper_arm", "forearm"), "wrist": ("forearm", "hand"),
    "hip": ("pelvis", "thigh", "abdomen"), "knee": ("thigh", "shin"), "ankle": ("shin", "foot"),
}  # fmt: skip


def _side_and_joint(keypoint: str) -> tuple[str, str]:
    side, _, joint = keypoint.partition("_") if keypoint.startswith(("left_", "right_")) else ("", "", keypoint)
    return side, joint


def _segments_around() -> Bool:
    """(K, S + 1) bool; the last column is for surfaces that are nobody's."""
    around = np.zeros((len(KEYPOINTS), len(SEGMENTS) + 1), np.bool_)
    for k, keypoint in enumerate(KEYPOINTS):
        side, joint = _side_and_joint(keypoint)
        for segment in _AROUND[joint]:
            around[k, SEGMENT[segment if segment in SEGMENT else f"{side}_{segment}"]] = True
    return around


_IS_AROUND = _segments_around()


@dataclass(frozen=True)
class FrameTruth:
    """The P people of a frame who can be seen, K = 19 keypoints (`tkm.synthetic.bodies.body.KEYPOINTS`).

    track_id          (P,) int64, number of the person in the clip
    xy_px             (P, K, 2) float64, also of points that are hidden or out of view
    visibility        (P, K) int8: 2 seen, 1 hidden, 0 out of view
    full_xyxy_px      (P, 4) float64, box of the whole person, hidden parts included, cut at the picture's edge
    visible_xyxy_px   (P, 4) float64, box of what can be seen
    head_xyxy_px      (P, 4) float64, box of the head, not cut
    area_px2          (P,) float64, of what can be seen
    """

    track_id: Int
    xy_px: Double
    visibility: NDArray[np.int8]
    full_xyxy_px: Double
    visible_xyxy_px: Double
    head_xyxy_px: Double
    area_px2: Double

    def __post_init__(self) -> None:
        P, K = len(self.track_id), len(KEYPOINTS)
        check(self, "track_id", (P,), np.int64)
        check(self, "xy_px", (P, K, 2), np.float64)
        check(self, "visibility", (P, K), np.int8)
        check(self, "full_xyxy_px", (P, 4), np.float64)
        check(self, "visible_xyxy_px", (P, 4), np.float64)
        check(self, "head_xyxy_px", (P, 4), np.float64)
        check(self, "area_px2", (P,), np.float64)

    def __len__(self) -> int:
        return len(self.track_id)


def thickness_m(body: Body, mesh: Mesh) -> Double:
    """(K,) float64, how far before a keypoint the surface of its own segments, cloth included, may be without hiding it."""
    turned = np.tile(np.eye(3), (len(SEGMENTS), 1, 1))
    points_m = keypoints_m(body, turned, body.joints_m)
    skin_m = body.rest_m.astype(np.float64)
    segment = mesh.segment[: len(skin_m), 0]
    nearest_m = np.array(
        [np.linalg.norm(skin_m[_IS_AROUND[k, segment]] - point_m, axis=1).min() for k, point_m in enumerate(points_m)]
    )
    over_m = np.array([_OVER_M.get(_side_and_joint(keypoint)[1], _CLOTH_M) for keypoint in KEYPOINTS])
    thickness = nearest_m * _THICKER + over_m
    thickness[KEYPOINTS.index("head_top")] = _CROWN_M
    return thickness


def frame_truth(drawn: Drawn, points_m: Double, within_m: Double, camera: Camera, t: int) -> FrameTruth:
    """The truth of frame t.

    Args:
        drawn: the frame's buffers.
        points_m: (P, K, 3), keypoints in the world.
        within_m: (P, K), thickness_m of each person.
        camera: that the frame is seen by.
        t: its number.
    Returns: the people of whom a keypoint is seen.
    """
    xy_px, depth_m = camera.project(t, points_m)
    visibility = _visibility(drawn, xy_px, depth_m, within_m)
    visible_xyxy_px, area_px2 = visible_extents(drawn.person, len(points_m))
    size_px = np.array([camera.width_px, camera.height_px] * 2, np.float64)
    # A person who is in part behind the camera has no box of all parts.
    full_xyxy_px = np.where(np.isnan(drawn.full_xyxy_px), visible_xyxy_px, np.clip(drawn.full_xyxy_px, 0, size_px))
    # A point may be seen before what is behind it though nothing of the person is: then there is no box.
    is_there = (visibility == SEEN).any(axis=1) & (area_px2 > 0)
    return FrameTruth(
        track_id=np.flatnonzero(is_there).astype(np.int64),
        xy_px=xy_px[is_there],
        visibility=visibility[is_there],
        full_xyxy_px=full_xyxy_px[is_there],
        visible_xyxy_px=visible_xyxy_px[is_there],
        head_xyxy_px=drawn.head_xyxy_px[is_there],
        area_px2=area_px2[is_there],
    )


def _visibility(drawn: Drawn, xy_px: Double, depth_m: Double, within_m: Double) -> NDArray[np.int8]:
    """(P, K) int8: SEEN, HIDDEN or OUT_OF_VIEW."""
    height, width = drawn.depth_m.shape
    with np.errstate(invalid="ignore"):
        at = np.floor(xy_px * _SAMPLES)
        in_view = (depth_m > 0) & (at >= 0).all(axis=2) & (at[..., 0] < width) & (at[..., 1] < height)
    column, row = np.where(in_view[..., None], at, 0).astype(np.int64).transpose(2, 0, 1)
    before_m = depth_m - drawn.depth_m[row, column]  # how far the surface is before the keypoint
    is_own = drawn.person[row, column] == np.arange(len(xy_px))[:, None]
    seen_segment = np.minimum(drawn.segment[row, column], len(SEGMENTS))
    is_around = is_own & _IS_AROUND[np.arange(len(KEYPOINTS)), seen_segment]
    is_seen = before_m <= np.where(is_around, within_m, 0)
    return np.where(in_view, np.where(is_seen, SEEN, HIDDEN), OUT_OF_VIEW).astype(np.int8)


def visible_extents(person: NDArray[np.int16], people: int) -> tuple[Double, Double]:
    """Boxes (people, 4) and areas (people,) of what can be seen, in pixels, of a buffer of 2 x 2 samples a pixel; NaN and 0
    for people who cannot be seen.
    """  # fmt: skip
    corners, count = _extents(person, people)
    box = corners / _SAMPLES
    box[count == 0] = np.nan
    return box, count / _SAMPLES**2


@compiled
def _extents(person: NDArray[np.int16], people: int) -> tuple[Double, Double]:
    height, width = person.shape
    corners = np.zeros((people, 4))
    corners[:, 0], corners[:, 1] = width, height
    count = np.zeros(people)
    for y in range(height):
        for x in range(width):
            p = person[y, x]
            if p < 0:
                continue
            count[p] += 1
            corners[p, 0] = min(corners[p, 0], x)
            corners[p, 1] = min(corners[p, 1], y)
            corners[p, 2] = max(corners[p, 2], x + 1)
            corners[p, 3] = max(corners[p, 3], y + 1)
    return corners, count
