"""What may pass: a dying worker, a full disk, a network outage, a time-out, a video that changes. It is retried, and what is
finished stays.
"""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from flows.annotate import Summary, annotate
from storage import tables
from storage.schemas import PUBLISHED, name_of
from storage.store import Store
from tests.flows.commands import by_poses
from tests.s3_server import S3Server
from tests.storage import clips
from tests.tcp_relay import Relay, relay_to

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]


def run(input_: Path, output: Path | str, **settings: dict[str, Any]) -> Summary:
    return annotate(str(input_), str(output), by_poses(**settings), quiet=True)


def published(output: Path | str) -> dict[str, pd.DataFrame]:
    """What the tables say of people, without when and where it was found."""
    store = Store(str(output))
    found = {}
    for name in (name_of(schema) for schema in PUBLISHED):
        rows = tables.read(store, name).to_pandas().drop(columns=["run", "shard", "video", "uri"], errors="ignore")
        found[name] = rows.sort_values([key for key in ("frame", "track_id") if key in rows], ignore_index=True)
    return found


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    for name, rows in expected.items():
        pd.testing.assert_frame_equal(found[name], rows, check_exact=True, obj=name)


@contextmanager
def once(ready: Callable[[], object], act: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as something is so, while the context goes on; fails where that never was."""
    acted, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if ready():
                act()
                acted.set()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert acted.is_set(), "it was over too soon"


def committed(output: Path, stage: str) -> list[Path]:
    return list(output.glob(f"chunks/{stage}/*/*.json"))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, people_clip: Path) -> dict[str, pd.DataFrame]:
    """The tables of the clip, of a run that nothing disturbed."""
    output = tmp_path_factory.mktemp("calm") / "out"
    assert run(people_clip, output).failures == ()
    return published(output)


def kill_workers() -> None:
    children = psutil.Process().children(recursive=True)
    workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    assert workers
    for worker in workers:
        worker.send_signal(signal.SIGKILL)


def test_a_worker_that_dies_is_replaced_and_changes_nothing(
    calm: dict[str, pd.DataFrame], people_clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with once(lambda: committed(output, "suppress"), kill_workers):
        summary = run(people_clip, output, engine={"chunk_frames": 2})
    assert (summary.changed, summary.failures) == (1, ())
    assert_same(published(output), calm)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def test_a_disk_that_fills_up_fails_the_video_until_there_is_room(
    calm: dict[str, pd.DataFrame], people_clip: Path, small_disk: Path
) -> None:
    output, filler = small_disk / "out", small_disk / "filler"
    engine = {"chunk_frames": 1, "retries": 0}

    def full_for_a_while() -> None:
        fill(filler)
        time.sleep(5)
        filler.unlink()

    with once(lambda: committed(output, "detect"), full_for_a_while):
        first = run(people_clip, output, engine=engine)
    assert [failure.is_permanent for failure in first.failures] == [False]
    assert first.failures[0].message.startswith(f"{people_clip} could not be finished: No space left on device ({output}/")
    assert list(small_disk.rglob("*.tmp")) == []
    assert len(published(output)["failures"]) == 1
    finished = len(committed(output, "detect"))
    assert 0 < finished < 12
    second = run(people_clip, output, engine=engine)
    assert (second.changed, second.failures, second.frames["detect"]) == (1, (), 12 - finished)
    assert_same(published(output), calm)


def test_a_full_disk_ends_the_run_with_what_it_lacked(people_clip: Path, small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left on device") as caught:
        run(people_clip, small_disk / "out")
    assert caught.value.errno == errno.ENOSPC


def test_a_stage_that_takes_longer_than_allowed_fails_for_now(people_clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    late = run(people_clip, output, detect={"timeout_s": 0.05, "retries": 0})
    assert [(failure.stage, failure.is_permanent) for failure in late.failures] == [("detect", False)]
    assert "longer than 0.05 s, which --detect-timeout-s allows" in late.failures[0].message
    assert published(output)["videos"].empty
    patient = run(people_clip, output)
    assert (patient.changed, patient.failures) == (1, ())


@pytest.mark.parametrize(("engine", "detect", "attempts"), [({"retries": 1}, {}, 2), ({"retries": 0}, {"retries": 2}, 3)])
def test_attempts_are_as_many_as_the_settings_say(
    engine: dict[str, int], detect: dict[str, int], attempts: int, tmp_path: Path
) -> None:
    video, output = clips.write_clip(tmp_path / "clip.mp4", frames=1), tmp_path / "out"
    (output / "artifacts").mkdir(parents=True)
    (output / "artifacts" / "detect").write_text("in the way")  # detect runs, and cannot be committed
    summary = run(video, output, engine=engine, detect=detect)
    assert [(failure.stage, failure.is_permanent) for failure in summary.failures] == [("detect", False)]
    assert f"{output}/artifacts/detect" in summary.failures[0].message
    assert summary.frames["detect"] == attempts


def test_a_video_that_is_replaced_while_it_is_read_is_not_mixed(people_clip: Path, tmp_path: Path) -> None:
    video, output = tmp_path / "video.mp4", tmp_path / "out"
    shutil.copy(people_clip, video)
    other = clips.write_clip(tmp_path / "other.mp4", frames=3)
    with once(lambda: committed(output, "detect"), lambda: other.replace(video)):
        summary = run(video, output, engine={"chunk_frames": 1})
    assert [failure.is_permanent for failure in summary.failures] == [False]
    assert "was replaced or changed while it was read; run again" in summary.failures[0].message
    assert published(output)["videos"].empty
    assert run(video, output).failures == ()
    assert published(output)["videos"].frames.tolist() == [3]
    assert published(output)["poses"].empty


@pytest.fixture
def relay(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, s3_root: str) -> Iterator[Relay]:
    """A network that can go down, between this process and those it starts, and the S3 server."""
    with relay_to(s3_server.endpoint_url) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        yield relay


def begun(server: S3Server, root: str) -> bool:
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    listed = server.client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/chunks/suppress/".lstrip("/"))
    return bool(listed.get("Contents"))


def test_a_network_that_is_down_for_seconds_is_waited_for(
    calm: dict[str, pd.DataFrame], people_clip: Path, s3_server: S3Server, s3_root: str, relay: Relay
) -> None:
    root = f"{s3_root}/out"

    def outage() -> None:
        relay.cut()
        time.sleep(5)
        relay.restore()

    with once(lambda: begun(s3_server, root), outage):
        summary = run(people_clip, root, engine={"chunk_frames": 2})
    assert relay.refused > 0
    assert (summary.changed, summary.failures) == (1, ())
    assert_same(published(root), calm)
