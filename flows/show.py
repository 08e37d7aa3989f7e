"""show: results as small tables for a terminal: the videos, the people in them, the first poses.

Every table is cut to some rows and says how many more there are, and reads only the videos whose rows it shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from flows.terminal import one_line
from storage.store import Store, StoreError
from tasks.merge import read_results

ROWS = 20
# Few enough for a terminal: one of the head, one of the arms, one of the legs.
KEYPOINTS = ("nose", "left_wrist", "right_ankle")


def videos_of(store: Store, run: str | None) -> pd.DataFrame:
    """Rows of `videos`, by id: the latest of every video, or of one run. StoreError where there are none."""
    videos: pd.DataFrame = read_results(store, run, "videos").to_pandas()
    if videos.empty:
        what = store.root if run is None else f"run {run} of {store.root}"
        raise StoreError(f"{what} holds no finished videos; make some with `tkm annotate INPUT --output {store.root}`")
    return videos.sort_values("video", ignore_index=True)


def results_overview(store: Store, run: str | None, rows: int = ROWS) -> Table:
    """The videos of the results, by id, with what was found in each, and the sums in the last line."""
    videos = videos_of(store, run)
    table = Table(title="videos", show_footer=True, caption=_more(len(videos) - rows, "videos"))
    table.add_column("video", footer=f"{len(videos)} in all", overflow="fold")
    table.add_column("size", footer="")
    table.add_column("seconds", footer=f"{videos['duration_ns'].sum() / 1e9:.1f}", justify="right")
    for name in ("frames", "tracks", "poses"):
        table.add_column(name, footer=str(videos[name].sum()), justify="right")
    for row in videos.head(rows).to_dict("records"):
        size = f"{row['width_px']} x {row['height_px']}" if row["width_px"] else "not known"
        seconds = f"{row['duration_ns'] / 1e9:.1f}"
        table.add_row(one_line(row["video"]), size, seconds, *(str(row[name]) for name in ("frames", "tracks", "poses")))
    return table


def people(store: Store, run: str | None, rows: int = ROWS) -> Table:
    """The tracks of the results, one a person followed, video by video, the longest in view first.

    A track that was lost and found again is in view for less than the time from its first frame to its last: each of
    its poses counts for the time between two sampled frames of the video (their median).
    """
    videos = videos_of(store, run)
    total = int(videos["tracks"].sum())
    # Videos that come wholly after the last row shown are not read.
    shown = videos.loc[videos["tracks"].cumsum() - videos["tracks"] < rows, "video"].tolist()
    tracks = read_results(store, run, "tracks", videos=shown).to_pandas()
    frames = read_results(store, run, "frames", videos=shown, columns=["video", "pts_ns"]).to_pandas()
    between_ns = frames.sort_values("pts_ns").groupby("video", observed=True)["pts_ns"].agg(_median_step)
    tracks["in_view_s"] = tracks["poses"] * tracks["video"].map(between_ns).astype(np.float64) / 1e9
    tracks = tracks.sort_values(["video", "in_view_s", "track_id"], ascending=[True, False, True]).head(rows)
    title = f"people: {total} tracks in {len(videos)} video{'s' if len(videos) > 1 else ''}"
    table = Table(title=title, caption=_more(total - len(tracks), "tracks"))
    table.add_column("video", overflow="fold")
    table.add_column("track id", justify="right")
    for name in ("from s", "to s", "in view s", "frames", "mean box score", "mean height px"):
        table.add_column(name, justify="right")
    last = None
    for row in tracks.to_dict("records"):
        table.add_row(
            one_line(row["video"]) if row["video"] != last else "",
            str(row["track_id"]),
            f"{row['first_pts_ns'] / 1e9:.2f}",
            f"{row['last_pts_ns'] / 1e9:.2f}",
            f"{row['in_view_s']:.2f}",
            str(row["poses"]),
            f"{row['mean_box_score']:.2f}",
            f"{row['mean_height_px']:.0f}",
        )
        last = row["video"]
    return table


def first_poses(store: Store, run: str | None, rows: int = 5) -> Table:
    """The first rows of `poses`, with some of their keypoints, as the table itself holds them."""
    videos = videos_of(store, run)
    first = videos.loc[videos["poses"].gt(0), "video"].head(1).tolist()
    columns = ["video", "frame", "pts_ns", "track_id", "box_x1", "box_y1", "box_x2", "box_y2", "box_score"]
    joints = [f"{keypoint}_{axis}" for keypoint in KEYPOINTS for axis in ("x", "y", "score")]
    poses = read_results(store, run, "poses", videos=first, columns=[*columns, *joints])
    poses = poses.sort_by([("frame", "ascending"), ("track_id", "ascending")])
    title = f"poses of {one_line(first[0])}" if first else "poses: nobody was found"
    table = Table(title=title, caption=_more(int(videos["poses"].sum()) - min(rows, poses.num_rows), "rows"))
    own = ("frame", "time s", "track_id", "box px (x1 y1 x2 y2)", "box_score")
    for name in (*own, *(f"{keypoint} px (score)" for keypoint in KEYPOINTS)):
        table.add_column(name, justify="right")
    for row in poses.slice(0, rows).to_pylist():
        box = " ".join(f"{row[f'box_{side}']:.0f}" for side in ("x1", "y1", "x2", "y2"))
        points = (_point(*(row[f"{keypoint}_{axis}"] for axis in ("x", "y", "score"))) for keypoint in KEYPOINTS)
        time_s = f"{row['pts_ns'] / 1e9:.3f}"
        table.add_row(str(row["frame"]), time_s, str(row["track_id"]), box, f"{row['box_score']:.2f}", *points)
    return table


def _point(x: float | None, y: float | None, score: float | None) -> str:
    return "" if x is None or y is None or score is None else f"{x:.0f} {y:.0f} ({score:.2f})"


def _median_step(pts_ns: Any) -> float:
    """Median time between neighbours of ascending times; 0 for a single one."""
    return float(np.median(np.diff(pts_ns))) if len(pts_ns) > 1 else 0.0


def _more(rows: int, what: str) -> str | None:
    return f"and {rows} more {what if rows > 1 else what[:-1]}" if rows > 0 else None
