"""The report as who opens it meets it: its numbers are the tables', and nothing that others have named acts on its reader."""

from __future__ import annotations

import base64
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.report import report
from storage import runs, tables
from storage.evaluation_schemas import SCORES
from storage.runs import Failure
from storage.schemas import FAILURES
from storage.sources import Source
from storage.store import Store, StoreError
from tasks.merge import merge
from tasks.plan import VideoPlan
from tests.builders import standing
from tests.flows.results import PTS, publish, write_clip
from tests.tasks.plans import finished, recorded_run

ALL = list(range(len(PTS)))
HOSTILE = "<img src=x onerror=alert(1)>&amp;\"'{{ 7 * 7 }}\x1b[31m\u202e.mp4"
TOLD = "<img src=x onerror=alert(1)>&amp;\"'{{ 7 * 7 }}\\x1b[31m\\u202e.mp4"
MESSAGE = "it is </td></table><script>alert('x')</script> & \"bad\"\x07"


class Page(HTMLParser):
    """A report, taken apart: tags with their attributes, and what is read in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.counts = "", {}
        self._count: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._count = dict(attrs).get("data-count")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._count:
            self.counts[self._count] = data
            self._count = None

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def two_videos(root: str, folder: Path) -> Store:
    """A video with a hostile name, where a person jumps at frame 10, one with nobody, a failure, and an evaluation."""
    store = Store(root)
    for name in (HOSTILE, "empty.mp4"):
        write_clip(folder / name)
    places = [(60.0, 100.0) if frame < 10 else (180.0, 100.0) for frame in ALL]
    people = standing([*ALL, 0, 1], [*places, (120, 100), (120, 100)])
    publish(store, Source(str(folder / HOSTILE)), ALL, people, [4] * 21 + [7] * 2)
    publish(store, Source(str(folder / "empty.mp4")), ALL[:5], standing([], []), [])
    failed = {"video": "bad-1", "uri": f"/in/{HOSTILE}", "stage": "index", "message": MESSAGE, "is_permanent": True,
              "run": "r", "shard": 3}  # fmt: skip
    tables.replace_failures(store, 3, ["bad-1"], pa.Table.from_pylist([failed], schema=FAILURES))
    return store


@pytest.fixture
def store(any_root: str, tmp_path: Path) -> Store:
    return two_videos(any_root, tmp_path)


def test_its_numbers_are_those_of_the_tables(store: Store) -> None:
    page = Page(report(store, None))
    videos = tables.read(store, "videos").to_pandas()
    suspects = tables.read(store, "suspects")
    assert suspects.num_rows == 1
    expected = {name: f"{videos[name].sum():,}" for name in ("frames", "poses", "tracks", "suspects")}
    assert page.counts == {**expected, "videos": "2", "of video": f"{videos['duration_ns'].sum() / 1e9:.1f} s", "failed": "1"}
    people = tables.read(store, "frames")["persons"].to_pylist()
    titles = re.findall(r"(\d+): ([\d,]+) frames", page.text)
    assert titles == [(str(n), str(people.count(n))) for n in range(max(people) + 1)]
    (suspect,) = suspects.to_pylist()
    assert (suspect["kind"], suspect["frame"], suspect["track_id"]) == ("switch", 10, 4)
    assert "frame 10, " in page.text


def test_what_others_have_named_is_text_and_nothing_else(store: Store) -> None:
    html = report(store, None)
    page = Page(html)
    assert TOLD in page.text
    assert "</td></table><script>alert('x')</script> & \"bad\"\\x07" in page.text
    assert page.all("script") == []
    assert [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", html)


def test_it_asks_for_nothing_from_elsewhere_and_forbids_it(store: Store) -> None:
    html = report(store, None)
    page = Page(html)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "a", "base", "video"} == set()
    every = [one for _, attributes in page.tags for one in attributes.items()]
    references = [value or "" for name, value in every if name in ("src", "href", "srcset")]
    assert references
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in references)
    assert not re.search(r"url\(|@import", html)
    policies = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_a_suspect_is_shown_in_its_frame_and_those_around_it(store: Store) -> None:
    page = Page(report(store, None))
    pictures = page.all("img")
    assert [picture["alt"] for picture in pictures] == ["9 before", "frame 10", "11 after"]
    before, at, _ = (
        cv2.imdecode(np.frombuffer(base64.b64decode((picture["src"] or "").partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
        for picture in pictures
    )
    colourful = [int((np.ptp(picture.astype(int), axis=2) > 60).sum()) for picture in (before, at)]
    assert colourful[1] > 2 * colourful[0], "the person is drawn where the suspect is, which is where nobody was before"


def test_a_video_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    store = two_videos(str(tmp_path / "out"), tmp_path)
    (tmp_path / HOSTILE).unlink()
    page = Page(report(store, None))
    assert page.all("img") == []
    assert f"no picture: {tmp_path}/{TOLD}" in page.text
    write_clip(tmp_path / HOSTILE, PTS[:7])
    assert "is not the video that was annotated" in Page(report(store, None)).text


def test_scores_stand_where_there_is_truth(tmp_path: Path) -> None:
    store = two_videos(str(tmp_path / "out"), tmp_path)
    assert "Against truth" not in report(store, None)
    run = runs.new_run(store)
    facts = {"settings": {}, "input": HOSTILE, "started": "2026-01-01T00:00:00Z", "versions": {"torch": "2.x"}}
    runs.start_run(store, run, facts)
    runs.write_failures(store, run, "03-0000", [Failure("bad-1", "/in/bad.mp4", "detect", MESSAGE, False, 3)])
    runs.end_run(store, run, {"ended": "2026-01-01T00:01:00Z", "seconds": 60.0, "videos": 1})
    same = {"evaluation": "e", "run": run, "truth": "/truth/<b>.json", "protocol": "official", "keypoint_threshold": 0.4,
            "detector": "nanodet", "videos": 1, "frames": 21, "joint": "total"}  # fmt: skip
    scores = [{**same, "metric": "mota", "value": 61.25}, {**same, "metric": "hota", "value": None}]
    tables.create_tables(store, [SCORES])
    tables.replace_scores(store, "e", {"scores": pa.Table.from_pylist(scores, schema=SCORES)})
    page = Page(report(store, run))
    assert "/truth/<b>.json" in page.text
    assert "61.2" in page.text
    assert page.counts["failed"] == "1"
    assert TOLD in page.text, "what the run was given"
    assert "2026-01-01T00:01:00Z" in page.text
    assert "torch 2.x" in page.text


def test_a_run_is_told_by_its_own_rows_also_when_the_tables_show_another(short_run: VideoPlan, tmp_path: Path) -> None:
    shutil.copytree(short_run.store.root, tmp_path / "out")
    store = Store(str(tmp_path / "out"))
    plan = replace(short_run, store=store)
    tables.create_tables(store)
    run = recorded_run(plan)
    assert merge(store, run, plan.shard, [finished(plan)]) == (1, [])
    shown = Page(report(store, run))
    assert shown.counts["frames"] == "20"
    tables.rewrite_shard(store, plan.shard, [])
    assert Page(report(store, run)).counts == shown.counts
    assert Page(report(store, run)).all("img") == shown.all("img")
    assert "movenet-thunder.safetensors" in shown.text


def test_a_store_without_results_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="tkm annotate"):
        report(Store(str(tmp_path)), None)


def test_the_command_writes_where_it_is_told_or_beside_the_results(tmp_path: Path) -> None:
    store = two_videos(str(tmp_path / "out"), tmp_path)
    done = CliRunner().invoke(app, ["report", store.root])
    assert done.exit_code == 0, done.output
    assert store.list("reports").keys() == {"reports/latest.html"}
    done = CliRunner().invoke(app, ["report", store.root, "-o", str(tmp_path / "new" / "report.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "report.html").read_text().startswith("<!doctype html>")
