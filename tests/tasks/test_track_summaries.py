"""A track's row in `tracks`: when it is in view, in how many frames, and what its poses are on the mean."""

from __future__ import annotations

import pyarrow as pa

from tasks.publish import track_summaries


def test_each_track_is_summed_up_over_its_own_rows() -> None:
    persons = pa.table(
        {
            "frame": pa.array([0, 0, 2, 2, 4], pa.int64()),
            "pts_ns": pa.array([0, 0, 80, 80, 160], pa.int64()),
            "track_id": pa.array([3, 7, 3, 7, 3], pa.int64()),
            "box_score": pa.array([0.5, 1.0, 0.25, 0.5, 0.75], pa.float32()),
            "pose_score": pa.array([0.25, 0.5, 0.25, 1.0, 1.0], pa.float32()),
            "box_y1": pa.array([10, 0, 20, 0, 30], pa.float32()),
            "box_y2": pa.array([20, 40, 40, 60, 60], pa.float32()),
        }
    )
    found = {name: values.tolist() for name, values in track_summaries(persons).items()}
    assert found == {
        "track_id": [3, 7],
        "first_frame": [0, 0],
        "first_pts_ns": [0, 0],
        "last_frame": [4, 2],
        "last_pts_ns": [160, 80],
        "poses": [3, 2],
        "mean_box_score": [0.5, 0.75],
        "mean_pose_score": [0.5, 0.75],
        "mean_height_px": [20.0, 50.0],
    }


def test_nobody_has_no_track() -> None:
    whole = {name: pa.array([], pa.int64()) for name in ("frame", "pts_ns", "track_id")}
    parts = {name: pa.array([], pa.float32()) for name in ("box_score", "pose_score", "box_y1", "box_y2")}
    assert {len(values) for values in track_summaries(pa.table({**whole, **parts})).values()} == {0}
