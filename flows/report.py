"""report: one self-contained HTML file on what ran, what was found, and where to look first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flows.report_numbers import TRACK_LABELS, Numbers, numbers_of
from flows.report_pictures import Pictures, pictures_of
from flows.report_runs import RunTold, failures_told, runs_told, scores_told, stages_told
from flows.taken import SAMPLE
from flows.terminal import plain
from storage import runs
from storage.store import Store, StoreError

VIDEOS = 200  # that are listed
_MOST_PEOPLE = 20  # from here on frames are told together
_SURE = 0.3
_METRICS = {
    "ap_before_threshold": "mAP", "mota": "MOTA", "idf1": "IDF1", "hota": "HOTA", "id_switches": "ID switches",
    "oks_ap": "OKS-AP",
}  # fmt: skip
_VALUES = {
    "joint_speed": "{joint} moves {value:.0f} body heights a second, away from its body",
    "limb_length": "{joint}: the limb is {value:.1f} times as long as usual",
    "switch": "the body moves {value:.0f} body heights a second",
}


def write_report(store: Store, run: str) -> str:
    """Write the report of a run to reports/<run>.html of its store; the address."""
    name = runs.report_name(run)
    store.write(name, report(store, run).encode())
    return f"{store.root}/{name}"


def report(store: Store, run: str | None) -> str:
    """The report, HTML, of what the tables show, or of a run; StoreError where there is nothing to tell of."""
    run = None if run is None else runs.find_run(store, run)
    numbers = numbers_of(store, run)
    told = runs_told(store, run, numbers.videos)
    failures, failed = failures_told(store, run)
    if not numbers.videos and not failed and not told:
        raise StoreError(f"{store.root} holds no results; make some with `tkm annotate INPUT --output {store.root}`")
    stages = stages_told(store, told, numbers.videos)
    pictures = pictures_of(store, run, numbers.suspects, numbers.videos)
    page = SimpleNamespace(
        title=_title(numbers),
        address=store.root if run is None else f"{store.root}@{run}",
        counts=_counts(numbers, failed),
        curves=[
            (row["name"], *numbers.curves[row["video"]]) for row in numbers.videos if numbers.curves.get(row["video"], ([],))[0]
        ],
        people=_people(numbers),
        tracks=SimpleNamespace(values=numbers.track_lengths.tolist(), labels=TRACK_LABELS),
        joints=[
            SimpleNamespace(
                name=joint.replace("_", " "),
                counts=counts.tolist(),
                sure=counts[round(_SURE * len(counts)) :].sum() / counts.sum(),
            )
            for joint, counts in numbers.scores.items()
        ],
        kinds=[(kind.replace("_", " "), count) for kind, count in sorted(numbers.kinds.items())],
        suspects=_suspects(numbers, pictures),
        suspects_total=sum(numbers.kinds.values()),
        metrics=list(_METRICS.values()),
        scores=_scores(scores_told(store, told)),
        failures=failures,
        failed=failed,
        stages=stages,
        sample=SAMPLE,
        runs=[SimpleNamespace(run=one.run, facts=_facts(one)) for one in told],
        videos=numbers.videos[:VIDEOS],
        videos_total=len(numbers.videos),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}",
        version=version("tkm"),
    )
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"told": _told, "short": _short}
    return environment.get_template("report.html.jinja").render(report=page)


def _told(value: object) -> str:
    """What others have named, without secrets and without what acts on who reads it; the template escapes what is HTML."""
    return plain(str(value))


def _short(number: int) -> str:
    """A count in a few characters."""
    for limit, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= limit:
            return f"{number / (1000 if letter == 'k' else limit):.3g}{letter}"
    return str(number)


def _title(numbers: Numbers) -> str:
    if len(numbers.videos) == 1:
        return f"People in {numbers.videos[0]['name']}"
    return f"People in {len(numbers.videos):,} videos"


def _counts(numbers: Numbers, failed: int) -> list[tuple[str, int | str]]:
    seconds = numbers.total("duration_ns") / 1e9
    length = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    counts: list[tuple[str, int | str]] = [("videos", len(numbers.videos)), ("of video", length)]
    counts += [(name, numbers.total(name)) for name in ("frames", "poses", "tracks")]
    return [*counts, ("suspects", sum(numbers.kinds.values())), ("failed", failed)]


def _people(numbers: Numbers) -> Any:
    """Frames by people in them, those with very many together."""
    most = min(max(numbers.people, default=-1), _MOST_PEOPLE)
    values = [numbers.people[count] for count in range(most + 1)]
    if most == _MOST_PEOPLE:
        values[-1] = sum(count for people, count in numbers.people.items() if people >= most)
    labels = [f"{n}+" if n == _MOST_PEOPLE else str(n) for n in range(most + 1)]
    return SimpleNamespace(values=values, labels=labels)


def _suspects(numbers: Numbers, pictures: Sequence[Pictures]) -> list[Any]:
    names = {row["video"]: row["name"] for row in numbers.videos}
    return [
        SimpleNamespace(
            kind=row["kind"].replace("_", " "),
            what=_what(row),
            name=names[row["video"]],
            seconds=row["pts_ns"] / 1e9,
            pictures=own,
            **{name: row[name] for name in ("severity", "frame", "track_id", "other_track_id")},
        )
        for row, own in zip(numbers.suspects, pictures, strict=True)
    ]


def _what(row: dict[str, Any]) -> str:
    """What is suspicious, in words."""
    if row["kind"] == "switch" and row["other_track_id"] is not None:
        if row["limit"] < 1:  # an overlap of boxes
            return f"begins where track {row['other_track_id']} ended"
        return f"fits {row['value']:.1f} times better exchanged with track {row['other_track_id']}"
    return _VALUES[row["kind"]].format(joint=(row["joint"] or "").replace("_", " "), value=row["value"])


def _scores(rows: Sequence[dict[str, Any]]) -> list[Any]:
    return [
        SimpleNamespace(
            truth=row["truth"],
            protocol=row["protocol"],
            videos=row["videos"],
            threshold="none" if row["keypoint_threshold"] is None else f"{row['keypoint_threshold']:g}",
            values=[_score(metric, row["values"].get(metric)) for metric in _METRICS],
        )
        for row in rows
    ]


def _score(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if metric == "id_switches" else f"{value:.1f}"


def _facts(one: RunTold) -> list[tuple[str, str]]:
    """What a run recorded of itself, by what to call it."""
    started, ended = one.started, one.ended
    versions = ", ".join(f"{name} {number}" for name, number in started.get("versions", {}).items())
    state = "no end recorded: it goes on, or was killed" if ended is None else ended.get("stopped") or ended.get("ended", "")
    facts = [
        ("begun", started.get("started", "not known")),
        ("ended", state),
        ("input", started.get("input")),
        ("detections", started.get("detections")),
        ("repeats", f"stage {started['stage']} of {started['rerun'] or 'what was published'}" if "stage" in started else None),
        ("set", ", ".join(started.get("set", ()))),
        ("software", versions),
        ("videos", f"{one.videos:,} shown" + (f", {ended['videos']:,} in the run" if ended and "videos" in ended else "")),
        ("took", f"{ended['seconds']:,} s" if ended and "seconds" in ended else None),
    ]
    return [(name, str(value)) for name, value in facts if value]
