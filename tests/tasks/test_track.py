"""track: its parameters for people who are missed for a while, and that blocks of frames change nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from storage.codecs import keypoint_columns, table_of
from storage.schemas import GIVEN_POSES, SURVIVORS
from tasks import track
from tasks.stage import Block
from tests.builders import crowd
from tkm.skeleton import COCO_17
from tkm.types import PoseSet

POSES = crowd(3, frames=30)


def block(first: int, stop: int) -> Block:
    """Frames of a crowd whose poses a user gave."""
    some: PoseSet = POSES.take((POSES.frame >= first) & (POSES.frame < stop))
    own = {"frame": some.frame, "detection": some.detection, "box_score": some.box_score}
    own |= {f"box_{name}": some.box_xyxy_px[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))}
    names = pa.array([COCO_17.name] * len(some), pa.string())
    given = table_of(GIVEN_POSES, **own, **keypoint_columns(COCO_17, some.xy_px, some.score), skeleton=names)
    is_kept = np.ones(len(some), np.bool_)
    kept = table_of(SURVIVORS, frame=some.frame, detection=some.detection, pose_score=some.pose_score, is_kept=is_kept)
    frames = np.arange(first, stop)
    return Block(frames, frames, (), {"poses": given, "suppress": kept})


def ids(params: track.TrackParams, *stops: int) -> list[int]:
    """Track ids of all frames, in blocks that end at these."""
    state, found = None, []
    for first, stop in zip((0, *stops), (*stops, 30), strict=True):
        table, state = track.run(block(first, stop), params, state)
        found += track.STAGE.checked(table)["track_id"].to_pylist()
    return found


def oks(**params: float) -> track.TrackParams:
    return track.TrackParams(similarity="oks", **params)  # type: ignore[arg-type]


def test_oks_remembers_nobody_unless_that_is_asked_for() -> None:
    plain, remembering = ids(oks()), ids(oks(memory_frames=10))
    assert plain == ids(oks(memory_frames=0, memory_similarity=0.9))
    assert len(set(remembering)) < len(set(plain))
    for strict in ({"memory_similarity": 1}, {"memory_reach": 1e-6}):
        assert len(set(ids(oks(memory_frames=10, **strict)))) == len(set(plain))


@pytest.mark.parametrize("similarity", ["iou", "oks"])
def test_blocks_change_no_id_with_memory(similarity: str) -> None:
    params = track.TrackParams(similarity=similarity, memory_frames=5)
    whole = ids(params)
    for stops in ((1, 2, 3, 4, 5, 6, 7, 8), (7, 15, 22), (29,)):
        assert ids(params, *stops) == whole


def test_tkm_alone_remembers_by_default() -> None:
    frames = {name: track.TrackParams(similarity=name).memory_frames for name in ("iou", "oks", "tbm", "tkm")}
    assert frames == {"iou": 0, "oks": 0, "tbm": 0, "tkm": 60}
    assert track.TrackParams() == track.TrackParams(similarity="tkm")
    assert track.TrackParams(memory_frames=0).memory_frames == 0


def test_what_somebody_must_reach_depends_on_the_similarity_unless_it_is_given() -> None:
    wanted = {name: track.TrackParams(similarity=name).memory_similarity for name in ("iou", "oks", "tbm", "tkm")}
    assert wanted == {"iou": 0.1, "oks": 0.1, "tbm": 0.5, "tkm": 0.5}
    assert track.TrackParams(similarity="oks", memory_similarity=0.3).memory_similarity == 0.3
    for wrong in ({"memory_frames": -1}, {"memory_similarity": 0}, {"memory_similarity": 1.1}, {"memory_reach": 0}):
        with pytest.raises(ValidationError, match="memory"):
            track.TrackParams(**wrong)  # type: ignore[arg-type]
