"""What `tkm diff` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from flows.diff import Difference
from flows.terminal import one_line
from storage.sources import some

_SHOWN = 20  # videos, those with the most rows changed


def page(found: Difference) -> Iterator[Table | str]:
    """A difference, piece by piece, for a terminal."""
    yield f"from {one_line(found.first)}\nto   {one_line(found.second)}"
    if not found.is_any:
        yield f"the same rows: {found.same} videos"
    else:
        yield f"{len(found.videos)} videos have other rows, {found.same} the same"
    for names, where in ((found.only_first, found.first), (found.only_second, found.second)):
        if names:
            yield f"only in {one_line(where)}: {len(names)} videos: {one_line(some(names))}"
    for change in found.changes:
        before_after = one_line(f"{change.before} -> {change.after}")
        yield f"[bold]{change.stage}[/] {change.what}: {before_after}  ({change.videos} videos)"
    if found.is_any:
        yield _rows(found)
    if found.moved:
        far = f"by {found.median_px:.3g} px (median), at most {found.max_px:.4g} px"
        yield f"keypoints: {found.moved} of {found.keypoints} moved, {far}"
    if found.videos:
        yield _videos(found)


def as_json(found: Difference) -> dict[str, Any]:
    """A difference as plain values."""
    rows = {name: vars(changed) for name, changed in found.rows.items()}
    videos = [
        {
            **vars(video),
            "rows": {name: vars(changed) for name, changed in video.rows.items()},
            "people": {name: value for name, value in vars(video.people).items() if name != "distance_px"},
        }
        for video in found.videos
    ]
    changes = [vars(change) for change in found.changes]
    return {"differ": found.is_any, **vars(found), "changes": changes, "rows": rows, "videos": videos}


def _rows(found: Difference) -> Table:
    table = Table("table", "added", "removed", "changed", title="rows")
    for name, rows in found.rows.items():
        table.add_row(name, str(rows.added), str(rows.removed), str(rows.changed))
    return table


def _videos(found: Difference) -> Table:
    more = len(found.videos) - _SHOWN
    table = Table(title="videos with other rows", caption=f"and {more} more, in --json" if more > 0 else None)
    for name in ("video", "since", "poses", "tracks", "added", "removed", "changed", "moved keypoints", "median px", "max px"):
        table.add_column(name)
    for name in ("other id", "regrouped"):
        table.add_column(name)
    most = sorted(found.videos, key=lambda video: -sum(vars(video.rows["poses"]).values()))[:_SHOWN]
    for video in most:
        own, poses = video.people, video.rows["poses"]
        told = (
            "content" if video.is_other_content else video.stages[0],
            *(str(before) if before == after else f"{before} -> {after}" for before, after in (own.poses, own.tracks)),
            *(str(count) for count in (poses.added, poses.removed, poses.changed)),
            f"{own.moved} of {own.keypoints}",
            f"{own.median_px:.3g}",
            f"{own.max_px:.4g}",
            str(own.renumbered),
            str(own.regrouped),
        )
        table.add_row(one_line(video.name), *told)
    return table
