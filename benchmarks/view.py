"""Looking through an hour of video: how long until it is there, to jump anywhere in it, and how it plays.

python -m benchmarks.view [--minutes M] [--people P] [--record NAME]

Rendered noise at 25 frames/s, 640 x 360, H.264 with a key frame every 250 frames, x264's default, and poses from a file. What
the server takes is measured by HTTP; what somebody sees, in headless Chromium, where playwright and Chromium are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.record import heading, record
from benchmarks.report import table
from tkm.skeleton import COCO_17

_ROOT = Path(__file__).resolve().parents[1]
_SIZE_PX, _FPS = (640, 360), 25
_SEEKS, _PLAYED = 40, 1500
_IN_FLIGHT = 5  # as the page has it


def make(path: Path, frames: int) -> None:
    """A video whose every frame is another piece of one noisy picture, as under a camera that moves."""
    width, height = _SIZE_PX
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 215, (height // 8 + 40, width // 8 + 40), np.uint8)
    large = np.kron(coarse, np.ones((8, 8), np.uint8))
    grey = np.full((height // 2, width), 128, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast", "crf": "26"})
        (stream.width, stream.height), stream.pix_fmt, stream.gop_size = _SIZE_PX, "yuv420p", 250
        for n in range(frames):
            x, y = round(150 + 140 * np.sin(n / 170)), round(150 + 140 * np.cos(n / 230))
            picture = np.concatenate([large[y : y + height, x : x + width], grey])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode(None))


def write_poses(path: Path, frames: int, people: int) -> None:
    """People who walk up and down, side by side; each leaves for a second every minute, so that tracks begin and end."""
    frame, person = (values.ravel() for values in np.meshgrid(np.arange(frames), np.arange(people), indexing="ij"))
    is_seen = (frame + person * 300) % (60 * _FPS) >= _FPS
    frame, person = frame[is_seen], person[is_seen]
    x = _SIZE_PX[0] * (person + 0.5) / people + 20 * np.sin(frame / 40 + person)
    place = np.random.default_rng(1).uniform(-0.45, 0.45, (len(COCO_17.keypoints), 2)) * (60, 150)
    joints: dict[str, Any] = {}
    for k, joint in enumerate(COCO_17.keypoints):
        joints[f"{joint}_x"] = (x + place[k, 0]).astype(np.float32)
        joints[f"{joint}_y"] = np.full(len(x), 180 + place[k, 1], np.float32)
        joints[f"{joint}_score"] = np.full(len(x), 0.9, np.float32)
    box = {"box_x1": x - 30, "box_x2": x + 30, "box_y1": np.full(len(x), 105.0), "box_y2": np.full(len(x), 255.0)}
    pq.write_table(pa.table({"frame": frame, **box, "box_score": np.full(len(x), 0.9), **joints}), path)


@contextmanager
def serving(results: Path) -> Iterator[tuple[str, int, float]]:
    """Address and process id of `tkm view`, and the seconds until it listened."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", "view", str(results), "--port", "0"]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield line.partition("look at ")[2].split()[0], process.pid, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return bytes(answer.read())


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def by_http(address: str, pid: int, frames: int) -> dict[str, Any]:
    """What the server takes."""
    rng = np.random.default_rng(2)
    video = json.loads(_get(f"{address}/api/videos"))["shown"][0]["video"]
    at = f"{address}/api/videos/{video}"
    found: dict[str, Any] = {"open": _seconds(lambda: [_get(at), _get(f"{at}/times")])}
    found["first"] = _seconds(lambda: _get(f"{at}/frames/0.jpg"))
    found["seeks"] = [_seconds(lambda: _get(f"{at}/frames/{n}.jpg")) for n in rng.integers(0, frames, _SEEKS)]  # noqa: B023 - called at once
    found["back"] = [_seconds(lambda: _get(f"{at}/frames/{frames // 2 - n}.jpg")) for n in range(_SEEKS)]  # noqa: B023 - likewise
    starts = rng.integers(0, frames - 256, _SEEKS)
    found["people"] = [_seconds(lambda: _get(f"{at}/people?start={n}&stop={n + 256}")) for n in starts]  # noqa: B023 - likewise
    found["timeline"] = [_seconds(lambda: _get(f"{at}/timeline?start=0&stop={frames}&columns=1200")) for _ in range(5)]
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        played = range(frames // 3, frames // 3 + min(_PLAYED, frames // 2))
        found["fps"] = len(played) / _seconds(lambda: list(pool.map(lambda n: _get(f"{at}/frames/{n}.jpg"), played)))
    found["mb"] = psutil.Process(pid).memory_info().rss / 1e6
    return found


def by_browser(address: str) -> dict[str, Any] | None:
    """What somebody sees; None where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        page = browser.new_page(viewport={"width": 1280, "height": 800})

        def shown() -> None:
            page.wait_for_selector('#stage[data-picture="shown"]:not([data-people=""])')

        def first() -> None:
            page.goto(address)
            shown()

        found: dict[str, Any] = {"open": _seconds(first)}

        def seek(place: int) -> None:
            page.evaluate("(place) => { document.getElementById('stage').dataset.picture = ''; tkm.player.seek(place); }", place)
            shown()

        length = page.evaluate("tkm.state.video.length")
        places = np.random.default_rng(3).integers(0, length, _SEEKS).tolist()
        found["seeks"] = [_seconds(lambda: seek(place)) for place in places]  # noqa: B023 - called at once
        seek(length // 2)
        page.evaluate("tkm.player.play()")
        page.wait_for_timeout(10_000)
        page.evaluate("tkm.player.pause()")
        found["played"], found["dropped"] = page.evaluate(f"[tkm.player.place - {length // 2}, tkm.player.dropped]")
        browser.close()
    return found


def measure(minutes: float, people: int, folder: Path) -> dict[str, Any]:
    """Make the video, annotate it from poses, and look through it."""
    frames = int(minutes * 60 * _FPS)
    video, poses, results = folder / "hour.mp4", folder / "hour.parquet", folder / "results"
    make(video, frames)
    write_poses(poses, frames, people)
    command = ["annotate", str(video), "--detections", str(poses), "--output", str(results), "--quiet"]
    subprocess.run([sys.executable, "-m", "flows.cli", *command], cwd=_ROOT, check=True)
    with serving(results) as (address, pid, listened):
        told = json.loads(_get(f"{address}/api/videos"))["shown"][0]
        return {
            "minutes": minutes, "frames": frames, "poses": told["poses"], "tracks": told["tracks"], "listened": listened,
            "http": by_http(address, pid, frames), "browser": by_browser(address),
        }  # fmt: skip


def report(found: dict[str, Any]) -> str:
    """The measurement as Markdown."""
    http, seen = found["http"], found["browser"]

    def spread(seconds: list[float]) -> str:
        return f"{statistics.median(seconds) * 1e3:.0f} ms, at most {max(seconds) * 1e3:.0f}"

    rows = [
        ("`tkm view` until it listens", f"{found['listened']:.1f} s"),
        ("opening the video: all its people are read", f"{http['open']:.2f} s"),
        ("its first frame", f"{http['first'] * 1e3:.0f} ms"),
        (f"a frame anywhere ({_SEEKS} at random)", spread(http["seeks"])),
        (f"a frame back ({_SEEKS} times)", spread(http["back"])),
        ("people of 256 frames", spread(http["people"])),
        ("the whole timeline", spread(http["timeline"])),
        (f"frames/s, one after the other, {_IN_FLIGHT} at a time", f"{http['fps']:.0f}"),
        ("memory of the server", f"{http['mb']:.0f} MB"),
    ]
    if seen:
        rows += [
            ("Chromium: from nothing to the first frame with its people", f"{seen['open']:.2f} s"),
            ("Chromium: a jump anywhere, until the frame and its people are shown", spread(seen["seeks"])),
            (f"Chromium: 10 s of playing at {_FPS} frames/s", f"{seen['played']} frames on, {seen['dropped']} of them left out"),
        ]
    return "\n".join(
        [
            f"## {found['minutes']:g} minutes: {found['frames']} frames of {_SIZE_PX[0]} x {_SIZE_PX[1]}, {found['poses']} poses "
            f"in {found['tracks']} tracks",
            f"`python -m benchmarks.view --minutes {found['minutes']:g}`\n",
            table(("looking through it", "takes"), rows),
        ]
    )


def main() -> None:
    """Measure, print, and keep the report where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.view", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--record", metavar="NAME")
    options = parser.parse_args()
    head = heading("Looking through an hour of video,")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.minutes, options.people, Path(folder))
    text = f"{head}\n\n{report(found)}"
    print(text)
    record(text, options.record)


if __name__ == "__main__":
    main()
