"""shots: with --split-shots, where the camera cuts: no track goes on over a cut.

PySceneDetect looks at all frames from the first sampled one to the last, shrunk to its recommended size (256 pixels along the
longer side): a cut between two sampled frames begins a shot at the later one.

Its AdaptiveDetector, not its ContentDetector: it asks that a cut change the picture more than the frames around it do. Both were
tried on the bundled clip and a panned photograph: joined with each other and with their mirrored, zoomed and darkened (to 60%)
selves, in shots of 1 to 10 frames, panned, shaken, noisy. Adaptive found every cut and nothing else. Content, at its threshold of
27, cut most frames of a pan by a fifth of the width a frame and half the frames of a shaken camera, and missed the darkened half
(change 20). Both take a flash for two cuts and lights going on for one, and see neither fades nor cuts that change the picture by
less than min_change, such as a jump in time in a still scene (12).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from storage.codecs import table_of
from storage.schemas import SHOTS
from tasks import index
from tasks.stage import Params, Resources, Stage

_Numbered = tuple[int, NDArray[np.uint8]]
_WINDOW_FRAMES = 2  # on either side of a frame, that its change is compared with
_NOMINAL_FPS = 25.0  # PySceneDetect counts in frames here, but its timecodes want a rate


class ShotsParams(Params):
    """Parameters of shots."""

    split: bool = Field(
        False, description="end tracks where the camera cuts", json_schema_extra={"option": "--split-shots"}
    )
    threshold: float = Field(
        3.0, gt=1, description="a cut changes the picture at least this many times as much as the frames around it do"
    )
    min_change: float = Field(
        15.0, gt=0, le=255, description="and by at least this much, the mean over pixels of hue, saturation and value"
    )
    min_frames: int = Field(
        1, ge=1, description="a cut that comes sooner than so many frames of the video after another is passed over"
    )


def run(frames: NDArray[np.int64], images: Iterable[_Numbered], params: ShotsParams) -> pa.Table:
    """The shot of each sampled frame (T,), from number and picture of every frame from the first sampled one to the last."""
    cuts = np.fromiter(_cuts(images, params), np.int64)
    shot = np.searchsorted(cuts, frames, side="right")
    return table_of(SHOTS, frame=frames, shot=shot.astype(np.int32), is_first=np.diff(shot, prepend=-1) > 0)


def _cuts(images: Iterable[_Numbered], params: ShotsParams) -> Iterator[int]:
    """Numbers, rising, of the frames that a cut comes right before."""
    from scenedetect import AdaptiveDetector, FrameTimecode  # here, because few runs need it

    detector = AdaptiveDetector(
        adaptive_threshold=params.threshold,
        min_content_val=params.min_change,
        min_scene_len=params.min_frames,
        window_width=_WINDOW_FRAMES,
    )
    for number, image in _held_at_both_ends((number, _shrunk(image)) for number, image in images):
        for cut in detector.process_frame(FrameTimecode(number, _NOMINAL_FPS), image):
            yield cut.frame_num


def _held_at_both_ends(images: Iterable[_Numbered]) -> Iterator[_Numbered]:
    """The images, the first and the last of them as often again as the detector looks to either side of a frame.

    It judges only frames that have a whole window around them; so all have one. Half of it stands still at the ends, which makes
    steady motion change twice the mean around it there, and no more.
    """
    for place, last in enumerate(images):
        yield from repeat(last, 1 if place else 1 + _WINDOW_FRAMES)
    yield from repeat(last, _WINDOW_FRAMES)


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from scenedetect.scene_manager import compute_downscale_factor

    height, width = image.shape[:2]
    factor = compute_downscale_factor(max(height, width))
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), cv2.COLOR_RGB2BGR), np.uint8)


STAGE = Stage(
    "shots",
    run,
    ShotsParams,
    inputs=(index.STAGE,),
    output=SHOTS,
    resources=Resources(cpus=1),
    version=1,
    images=True,
    whole=True,
    is_active=lambda params: params["shots"].split,
)
