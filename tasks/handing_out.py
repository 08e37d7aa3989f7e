"""Which of a video's people are handed out to be corrected: all, or those around suspicious places."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from storage.codecs import column, keypoints_from_columns, skeleton_of_table
from storage.handed_out import HandedOut
from tkm.types import Int

WINDOW_NS = 500_000_000  # on either side of a suspect: within it a suspect's jump and a track's gap are seen to begin and end
_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")


def handed_out(
    rows: Mapping[str, pa.Table],
    *,
    run: str,
    name: str,
    size_px: tuple[int, int],
    pictures: tuple[str, ...],
    suspects_only: bool,
) -> HandedOut:
    """A video's people in the frames that the run looked at, or those of them that lie around suspects.

    Args: rows, published ones of one video, as tasks.merge.published_rows gives them; the rest as in HandedOut.
    """
    poses = rows["poses"].sort_by([("frame", "ascending"), ("track_id", "ascending")])
    sampled = column(rows["frames"], "frame", np.int64)
    frames = _around_suspects(rows) if suspects_only else sampled
    poses = poses.filter(pa.array(np.isin(column(poses, "frame", np.int64), frames)))
    skeleton = skeleton_of_table(poses)
    xy_px, _ = keypoints_from_columns(poses, skeleton)
    return HandedOut(
        video=rows["videos"]["video"][0].as_py(),
        run=run,
        name=name,
        skeleton=skeleton,
        size_px=size_px,
        pictures=pictures,
        sampled=sampled,
        frames=frames,
        frame=column(poses, "frame", np.int64),
        detection=column(poses, "detection", np.int64),
        track_id=column(poses, "track_id", np.int64),
        box_xyxy_px=np.stack([column(poses, side, np.float32) for side in _BOX], axis=1),
        xy_px=xy_px,
    )


def _around_suspects(rows: Mapping[str, pa.Table]) -> Int:
    """The sampled frames that are at most WINDOW_NS before or after a suspect."""
    frame, pts_ns = (column(rows["frames"], name, np.int64) for name in ("frame", "pts_ns"))
    suspect_ns = column(rows["suspects"], "pts_ns", np.int64)
    first = np.searchsorted(pts_ns, suspect_ns - WINDOW_NS, side="left")
    last = np.searchsorted(pts_ns, suspect_ns + WINDOW_NS, side="right")
    change = np.zeros(len(frame) + 1, np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    return frame[np.cumsum(change)[:-1] > 0]
