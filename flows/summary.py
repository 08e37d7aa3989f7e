"""What came of a run, for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from flows.terminal import one_line, shown

_LINES = 10  # of edits that do not apply; the table `corrections` has all


def summarise(console: Console, summary: Any) -> None:
    """Tell a run's summary: videos, frames, failures, corrections, and where to look next."""
    computed = ", ".join(f"{stage} {count}" for stage, count in summary.frames.items() if count)
    nothing = "none" if summary.failures else "none, all was there"
    console.print(
        f"\n{summary.videos} videos in {summary.seconds:.1f} s: {summary.changed} published, "
        f"{len(summary.failures)} failed. Frames computed: {computed or nothing}.",
        highlight=False,
    )
    for failure in summary.failures:
        again = "; tried again with --retry-failed" if failure.is_permanent else "; run again to retry"
        console.print(f"  [red]failed[/] at {failure.stage}: {one_line(failure.message)}{again}", highlight=False, soft_wrap=True)
    root = shown(summary.root)
    if summary.applied or summary.unapplied:
        console.print(f"corrections: {summary.applied} edits made, {len(summary.unapplied)} do not apply", highlight=False)
        for line in summary.unapplied[:_LINES]:
            console.print(f"  [yellow]not applied[/]: {one_line(line)}", highlight=False, soft_wrap=True)
        if (more := len(summary.unapplied) - _LINES) > 0:
            console.print(f"  and {more} more: tkm corrections {root}", highlight=False, soft_wrap=True)
    console.print(
        f"tables: {root}/tables   run: {summary.run}\n"
        + (f"report: {shown(summary.report)}\n" if summary.report else "")
        + f"next:   tkm show {root}   tkm render {root}   tkm status {root}",
        highlight=False,
        soft_wrap=True,
    )
