"""One frame of an overlay: skeletons, track ids, boxes, and the way people came.

Drawn by the library supervision, which counts as OpenCV does, in BGR and whole pixels: truncating our continuous
coordinates gives the pixel they lie in (tkm.geometry).

Shape legend: P persons, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import supervision as sv

from tkm.geometry import Image
from tkm.skeleton import COCO_17, Skeleton
from tkm.types import Float, Int

MIN_KEYPOINT_SCORE = 0.2  # keypoints under it are mostly guesses
TRAIL_FRAMES = 30
# Bright, so that black digits stand on them; people whose ids follow each other differ most.
COLOURS = sv.ColorPalette.from_hex(
    ["#ff5252", "#40b4ff", "#ffcc33", "#5fe070", "#d08bff", "#ff9340", "#2ee6d6", "#ff7ac0", "#bfe84a", "#9aaeff"]
)
_OUTLINE = sv.Color.from_hex("#101010")  # around every limb, so that it shows on any ground
_LEFT, _RIGHT = sv.Color.WHITE, _OUTLINE  # joints of the person's left and right: an exchange of sides can be seen


@dataclass(frozen=True)
class People:
    """The people of one frame.

    track_id      (P,) int64
    box_xyxy_px   (P, 4) float32, in pixels of the frame
    xy_px         (P, K, 2) float32, in pixels of the frame; NaN where a keypoint is not given
    score         (P, K) float32, of each keypoint; NaN likewise
    """

    track_id: Int
    box_xyxy_px: Float
    xy_px: Float
    score: Float

    def detections(self) -> sv.Detections:
        """Boxes and track ids for supervision's annotators."""
        return sv.Detections(xyxy=self.box_xyxy_px, tracker_id=self.track_id)


class Overlay:
    """Draws the frames of one video in order; remembers the way people came. Line widths follow the frame's size."""

    def __init__(
        self,
        width_px: int,
        height_px: int,
        trail_frames: int = TRAIL_FRAMES,
        min_keypoint_score: float = MIN_KEYPOINT_SCORE,
        skeleton: Skeleton = COCO_17,
    ) -> None:
        self.min_keypoint_score = min_keypoint_score
        self.limbs = [(a + 1, b + 1) for a, b in skeleton.limbs]  # supervision counts keypoints from 1
        self.is_right = np.array([name.startswith("right_") for name in skeleton.keypoints])
        short_px = min(width_px, height_px)
        self.limb_px = max(1, round(short_px / 240))
        thin_px, text_scale = max(1, round(short_px / 720)), max(0.35, short_px / 1200)
        by_track: dict[str, Any] = {"color": COLOURS, "color_lookup": sv.ColorLookup.TRACK}
        self.boxes = sv.BoxAnnotator(thickness=thin_px, **by_track)
        self.labels = sv.LabelAnnotator(
            text_color=_OUTLINE,
            text_scale=text_scale,
            text_thickness=max(1, round(2 * text_scale)),
            text_padding=max(2, round(8 * text_scale)),
            smart_position=True,
            **by_track,
        )
        self.trails = None
        if trail_frames:
            feet = sv.Position.BOTTOM_CENTER
            self.trails = sv.TraceAnnotator(position=feet, trace_length=trail_frames, thickness=2 * thin_px, **by_track)
        self.caption_scale = max(0.35, short_px / 1600)

    def skip(self, people: People) -> None:
        """Remember where people stood in a frame that is not drawn."""
        if self.trails:
            self.trails.trace.put(people.detections())

    def draw(self, rgb: Image, people: People, caption: str = "") -> Image:
        """A copy of the frame, (H, W, 3) uint8 RGB, with its people drawn on it and `caption` at the bottom left."""
        scene: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        detections = people.detections()
        if self.trails:
            scene = self.trails.annotate(scene, detections)
        scene = self.boxes.annotate(scene, detections)
        # Far people first, so that near ones, whose feet stand lower in the frame, come out whole.
        for p in np.argsort(people.box_xyxy_px[:, 3], kind="stable").tolist():
            scene = self._draw_skeleton(scene, people, p)
        scene = self.labels.annotate(scene, detections, labels=[str(track) for track in people.track_id])
        if caption:
            _draw_caption(scene, caption, self.caption_scale)
        return np.asarray(cv2.cvtColor(scene, cv2.COLOR_BGR2RGB), np.uint8)

    def _draw_skeleton(self, scene: Any, people: People, p: int) -> Any:
        xy_px, shown = np.nan_to_num(people.xy_px[p : p + 1]), people.score[p : p + 1] >= self.min_keypoint_score
        height_px = float(people.box_xyxy_px[p, 3] - people.box_xyxy_px[p, 1])
        limb_px = max(1, min(self.limb_px, round(height_px / 60)))  # thin enough for a small person's face
        rim_px = max(1, limb_px // 3)
        pose = sv.KeyPoints(xy=xy_px, visible=shown)
        colour = COLOURS.by_idx(int(people.track_id[p]))
        for stroke, thickness in ((_OUTLINE, limb_px + 2 * rim_px), (colour, limb_px)):
            scene = sv.EdgeAnnotator(color=stroke, thickness=thickness, edges=self.limbs).annotate(scene, pose)
        scene = sv.VertexAnnotator(color=colour, radius=limb_px + rim_px).annotate(scene, pose)
        for side, fill in ((~self.is_right, _LEFT), (self.is_right, _RIGHT)):
            dots = sv.KeyPoints(xy=xy_px, visible=shown & side)
            scene = sv.VertexAnnotator(color=fill, radius=max(1, limb_px - rim_px)).annotate(scene, dots)
        return scene


def _draw_caption(scene: Image, caption: str, scale: float) -> None:
    thickness, pad = max(1, round(1.5 * scale)), max(3, round(10 * scale))
    (width_px, height_px), below_px = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    centre = sv.Point(pad + width_px // 2, scene.shape[0] - pad - (height_px + below_px) // 2)
    sv.draw_text(
        scene, caption, centre, sv.Color.WHITE, text_scale=scale, text_thickness=thickness, text_padding=pad // 2,
        background_color=_OUTLINE,
    )  # fmt: skip
