"""The page of `tkm view` in a real browser: what it shows is what the tables hold."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from storage import tables
from storage.codecs import candidates_from_table, keypoints_from_columns
from storage.sources import Source
from storage.store import Store
from storage.video import decode, probe
from tasks import estimate
from tasks.merge import merge
from tasks.plan import VideoPlan
from tests.flows.results import publish
from tests.flows.viewed import SAMPLED, SIZE_PX, publish_two_people, served, two_people, write_numbered
from tests.tasks.plans import finished, recorded_run
from tkm.skeleton import COCO_17

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)>\"'&.mp4"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Viewed:
    """Results that are served, and the ids of their videos: two people, and the same in a file with a hostile name."""

    store: Store
    address: str
    clip: Path
    video: str
    hostile: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=as_root)
        yield found
        found.close()


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewed]:
    folder = tmp_path_factory.mktemp("viewed")
    store, clip = Store(str(folder / "results")), folder / "clip.mp4"
    write_numbered(clip)
    shutil.copy(clip, folder / HOSTILE)
    hostile = publish(store, Source(str(folder / HOSTILE)), SAMPLED, *two_people())
    video = publish_two_people(store, clip)
    with served(store) as address:
        yield Viewed(store, address, clip, video, hostile)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which no script may fail, and which may ask nobody but its own server."""
    opened, wrong = browser.new_page(viewport={"width": 1280, "height": 800}), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    opened.on("request", lambda asked: None if "//127.0.0.1:" in asked.url else wrong.append(asked.url))
    opened.on("dialog", lambda dialog: wrong.append(f"a dialog says {dialog.message}"))
    yield opened
    opened.close()
    assert wrong == []


def look(page: Page, viewed: Viewed, frame: int = 0, video: str | None = None) -> None:
    page.goto(f"{viewed.address}/#video={video or viewed.video}&frame={frame}")
    at(page, frame)


def at(page: Page, frame: int) -> None:
    """Wait until a frame is shown, with its people and its picture."""
    page.wait_for_selector(f'#stage[data-frame="{frame}"][data-picture="shown"]')


def until(page: Page, condition: str) -> None:
    """Wait until an expression is true. Not by the page's own hand: its policy forbids `eval`."""
    end = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def shown_people(page: Page) -> list[dict[str, Any]]:
    """Track id, box and keypoints of everybody who is drawn."""
    found: list[dict[str, Any]] = page.evaluate(
        "tkm.state.drawn.map((one) => ({track: one.trackId, box: one.box,"
        " joints: tkm.state.video.skeleton.keypoints.map((_, k) => one.joint(k))}))"
    )
    return found


def pixel(page: Page, x: float, y: float) -> list[int]:
    """Red, green and blue of what the canvas shows of a point of the frame."""
    script = """([x, y]) => {
        const {left, top, scale} = tkm.stage.view();
        const [column, row] = [Math.floor(left + x * scale), Math.floor(top + y * scale)];
        return [...tkm.stage.context.getImageData(column, row, 1, 1).data].slice(0, 3);
    }"""
    found: list[int] = page.evaluate(script, [x, y])
    return found


def rgb(colour: str) -> list[int]:
    return [int(colour[n : n + 2], 16) for n in (1, 3, 5)]


def click_row(page: Page, of: str, key: object) -> None:
    page.click(f'#{of} button[data-key="{key}"]')


def test_a_frame_is_shown_with_the_people_that_the_table_has(page: Page, viewed: Viewed) -> None:
    look(page, viewed, 30)
    poses = tables.read(viewed.store, "poses", videos=[viewed.video], frames=[30])
    people = shown_people(page)
    assert [one["track"] for one in people] == poses["track_id"].to_pylist() == [0, 1]
    assert page.get_attribute("#stage", "data-people") == "0 1"
    xy_px, score = keypoints_from_columns(poses, COCO_17)
    joints = np.array([one["joints"] for one in people], np.float32)
    assert np.array_equal(joints, np.concatenate([xy_px, score[..., None]], axis=2))
    boxes = [[row[f"box_{side}"] for side in ("x1", "y1", "x2", "y2")] for row in poses.to_pylist()]
    assert [one["box"] for one in people] == boxes
    assert "frame 30" in page.inner_text("#clock")
    ((_, picture),) = decode(Source(str(viewed.clip)), probe(Source(str(viewed.clip))), np.array([30]))
    corner = pixel(page, SIZE_PX[0] - 5, 5)
    assert np.abs(np.array(corner) - picture[5, -5]).max() <= 3, "the picture is that of the frame"
    colours = page.evaluate("tkm.state.about.colours")
    middle = xy_px[0, [COCO_17.keypoints.index(f"left_{joint}") for joint in ("knee", "ankle")]].mean(axis=0)
    assert np.abs(np.array(pixel(page, *middle.tolist())) - rgb(colours[0])).max() <= 12, "a limb in its colour"


def test_keys_step_through_the_sampled_frames(page: Page, viewed: Viewed) -> None:
    look(page, viewed)
    for key, frame in (("ArrowRight", 2), ("ArrowRight", 4), ("ArrowLeft", 2), ("Shift+ArrowRight", 22), ("Shift+ArrowLeft", 2),
                       ("PageDown", 26), ("PageUp", 0), ("End", 58), ("ArrowRight", 58), ("Home", 0)):  # fmt: skip
        page.keyboard.press(key)
        at(page, frame)
        people = 2 if frame >= 20 else 1
        assert page.inner_text("#people-count") == f"{people} people"
    assert page.url.endswith(f"#video={viewed.video}&frame=0")


def test_playing_shows_frame_after_frame_with_its_own_people_to_the_end(page: Page, viewed: Viewed) -> None:
    look(page, viewed)
    page.evaluate("""() => {
        const stage = document.getElementById("stage");
        window.seen = [];
        const look = () => seen.push([Number(stage.dataset.frame), stage.dataset.people, stage.dataset.picture]);
        new MutationObserver(look).observe(stage, {attributes: true});
    }""")
    page.keyboard.press("Space")
    at(page, 58)
    until(page, "document.getElementById('play').textContent === 'play'")
    seen = page.evaluate("seen")
    frames = [frame for frame, _, _ in seen]
    assert frames == sorted(frames)
    assert len(set(frames)) > 3, "it does not jump to the end"
    settled = [one for one in seen if one[1]]
    assert all(people == ("0 1" if frame >= 20 else "0") for frame, people, _ in settled)
    page.keyboard.press("Space")
    until(page, "tkm.player.isPlaying")
    page.keyboard.press("Space")
    assert page.evaluate("tkm.player.isPlaying") is False


def test_filters_leave_out_people_tracks_and_joints(page: Page, viewed: Viewed) -> None:
    look(page, viewed, 30)
    x, y = page.evaluate("tkm.state.drawn[1].joint(0).slice(0, 2)")
    with_both = pixel(page, x, y)
    page.locator("#min-pose").fill("0.6")
    page.wait_for_selector('#stage[data-people="0"]')
    assert page.inner_text("#people-count") == "1 of 2 people"
    assert pixel(page, x, y) != with_both, "whoever scores less is not drawn"
    assert page.locator("#tracks button").count() == 1
    until(page, "tkm.timeline.shown.bars.every((bar) => bar[0] === 0)")
    page.locator("#min-pose").fill("0")
    page.fill("#track-filter", "1")
    page.wait_for_selector('#stage[data-people="1"]')
    page.keyboard.press("Escape")
    page.wait_for_selector('#stage[data-people="0 1"]')
    click_row(page, "tracks", 1)
    page.wait_for_selector('#stage[data-people="1"]')
    click_row(page, "tracks", 1)
    page.wait_for_selector('#stage[data-people="0 1"]')
    page.locator("#min-keypoint").fill("0.9")
    until(page, "tkm.state.minKeypoint === 0.9")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert pixel(page, x, y) != with_both, "joints that score less are not drawn"


def test_suspects_are_those_of_the_table_and_are_jumped_to(page: Page, viewed: Viewed) -> None:
    look(page, viewed)
    suspects = tables.read(viewed.store, "suspects", videos=[viewed.video]).to_pylist()
    assert suspects
    assert page.inner_text("#suspect-count") == str(len(suspects))
    rows = page.locator("#suspects button")
    assert [int(row.get_attribute("data-frame") or -1) for row in rows.all()] == [one["frame"] for one in suspects]
    for one in [*suspects, suspects[0]]:
        page.keyboard.press("n")
        at(page, one["frame"])
        page.wait_for_selector(f'#suspects button[aria-current="true"][data-key="{one["suspect"]}"]')
    page.keyboard.press("p")
    at(page, suspects[-1]["frame"])
    page.select_option("#suspect-order", "time")
    in_time = sorted(suspects, key=lambda one: (one["frame"], one["suspect"]))
    assert [int(row.get_attribute("data-key") or -1) for row in rows.all()] == [one["suspect"] for one in in_time]
    click_row(page, "suspects", suspects[0]["suspect"])
    at(page, suspects[0]["frame"])


def test_the_timeline_has_the_tracks_and_is_sought_in_and_zoomed(page: Page, viewed: Viewed) -> None:
    look(page, viewed)
    until(page, "tkm.timeline.shown !== null")
    bars = page.evaluate("tkm.timeline.shown.bars")
    assert sorted([track, first, last] for track, _, first, last in bars) == [[0, 0, 29], [1, 10, 29]]
    box = page.locator("#timeline").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 15.5 / 30, box["y"] + box["height"] / 2)
    at(page, 30)
    page.mouse.wheel(0, -400)
    until(page, "tkm.timeline.shown.stop - tkm.timeline.shown.start < 30")
    start, stop = page.evaluate("tkm.timeline.range")
    assert start <= 15 < stop
    assert stop - start < 30
    page.mouse.dblclick(box["x"] + 5, box["y"] + 60)
    until(page, "tkm.timeline.shown.stop - tkm.timeline.shown.start === 30")


def test_security_names_of_strangers_are_text(page: Page, viewed: Viewed) -> None:
    look(page, viewed, 30, viewed.hostile)
    assert HOSTILE in page.inner_text("#videos")
    assert page.locator("main img").count() == 0
    page.fill("#video-filter", "<img")
    until(page, "document.querySelectorAll('#videos button').length === 1")
    assert page.inner_text("#video-count") == "1 of 2 videos"
    click_row(page, "videos", viewed.hostile)
    at(page, 0)


def test_where_the_video_is_gone_people_are_shown_without_pictures(page: Page, tmp_path: Path) -> None:
    clip, store = tmp_path / "gone.mp4", Store(str(tmp_path / "results"))
    write_numbered(clip)
    video = publish_two_people(store, clip)
    clip.unlink()
    with served(store) as address:
        page.goto(f"{address}/#video={video}&frame=30")
        page.wait_for_selector('#stage[data-frame="30"][data-picture="none"][data-people="0 1"]')
        assert str(clip) in page.inner_text("#no-picture")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector('#stage[data-frame="32"][data-picture="none"]')


@pytest.mark.slow
def test_a_click_on_a_joint_shows_its_candidates_and_what_refinement_made_of_them(
    page: Page, refined_run: VideoPlan, tmp_path: Path
) -> None:
    shutil.copytree(refined_run.store.root, tmp_path / "refined")
    plan = replace(refined_run, store=Store(str(tmp_path / "refined")))
    tables.create_tables(plan.store)
    merge(plan.store, recorded_run(plan), plan.shard, [finished(plan)])
    poses = tables.read(plan.store, "poses").to_pylist()
    people = plan.artifact(estimate.STAGE).read()
    k = COCO_17.keypoints.index("left_knee")
    with served(plan.store) as address:
        page.goto(f"{address}/#video={plan.video}&frame=10")
        at(page, 10)
        (row, *_) = (one for one in poses if one["frame"] == 10)
        page.locator("#min-keypoint").fill("0")
        page.fill("#track-filter", str(row["track_id"]))
        page.wait_for_selector(f'#stage[data-people="{row["track_id"]}"]')
        x, y = page.evaluate("([x, y]) => tkm.stage.toWindow(x, y)", [row["left_knee_x"], row["left_knee_y"]])
        page.mouse.click(x, y)
        page.wait_for_selector("#candidates tr[data-candidate]")
        assert page.inner_text("#joint-title") == f"left knee of track {row['track_id']}, frame 10"
        is_of = pc.and_(pc.equal(people["frame"], 10), pc.equal(people["detection"], row["detection"]))
        candidates = candidates_from_table(people.filter(is_of), COCO_17)
        wanted = [*candidates.xy_px[0, k].T, candidates.response[0, k]]
        rows = page.locator("#candidates tr[data-candidate]").all()
        for n, name in enumerate(("x", "y", "response")):
            found = np.array([float(one.get_attribute(f"data-{name}") or "nan") for one in rows], np.float32)
            assert np.array_equal(found, wanted[n][~np.isnan(wanted[n])]), name
        said = page.inner_text("#joint-places")
        assert f"{row['left_knee_x']:.1f}, {row['left_knee_y']:.1f} ({row['left_knee_score']:.3f})" in said
        assert f"{row['left_knee_initial_x']:.1f}, {row['left_knee_initial_y']:.1f}" in said
        assert page.locator("#candidates tr.taken").count() == 1
        page.keyboard.press("ArrowRight")
        until(page, "document.getElementById('joint-title').textContent.endsWith('frame 11')")
        assert page.evaluate("tkm.state.selected") == {"track": row["track_id"], "joint": "left_knee"}
