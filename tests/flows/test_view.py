"""What `tkm view` serves is what the tables and videos hold, to this machine's own browser, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from flows.cli import app
from flows.view.bars import MAX_BARS, Timeline
from flows.view.results import Results
from flows.view.server import make_app
from storage import tables
from storage.codecs import candidates_from_table, column, keypoints_from_columns, list_column, poses_from_table
from storage.s3 import filesystem
from storage.sources import Source
from storage.store import Store
from storage.video import decode, probe
from tasks import estimate, refine
from tasks.merge import merge
from tasks.plan import VideoPlan
from tests.builders import standing
from tests.flows.commands import start
from tests.flows.results import publish
from tests.flows.viewed import FRAMES, SAMPLED, publish_two_people, two_people, write_numbered
from tests.tasks.plans import finished, recorded_run
from tkm.skeleton import COCO_17

HOST = "localhost"


def client(store: Store, run: str | None = None) -> TestClient:
    return TestClient(make_app(store, run, [HOST]), base_url=f"http://{HOST}", raise_server_exceptions=False)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_numbered(tmp_path / "clip.mp4")
    return tmp_path / "clip.mp4"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "results"))


def picture(asked: TestClient, video: str, frame: int, width: int | None = None) -> np.ndarray:
    answer = asked.get(f"/api/videos/{video}/frames/{frame}.jpg", params={"width": width} if width else None)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def assert_frames(asked: TestClient, video: str, source: Source, frames: list[int]) -> None:
    """Each of these frames, asked for in this order, is the one that is decoded by itself."""
    info = probe(source)
    for frame in frames:
        ((_, wanted),) = decode(source, info, np.array([frame]))
        found = picture(asked, video, frame)
        assert np.abs(found.astype(int) - wanted).mean() < 1, f"frame {frame} is another: neighbours differ by 3"


def test_a_frame_is_the_same_whether_it_is_played_to_stepped_back_to_or_jumped_to(store: Store, clip: Path) -> None:
    video = publish_two_people(store, clip)
    with client(store) as asked:
        assert_frames(asked, video, Source(str(clip)), [0, 2, 4, 10, 8, 6, 58, 56, 54, 0, 30, 32, 34, 20, 22])
        assert picture(asked, video, 30, width=160).shape == (120, 160, 3)


def test_folders_of_pictures_are_shown_too(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(6):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((120, 160, 3), 40 * n, np.uint8))
    source = Source(str(folder), "frames")
    video = publish(store, source, [0, 1, 2, 3, 5], standing([0, 5], [(60, 60), (70, 60)]), [0, 0])
    with client(store) as asked:
        assert_frames(asked, video, source, [5, 0, 2, 1])


@pytest.mark.slow
def test_results_and_videos_on_s3_are_shown(s3_root: str, clip: Path) -> None:
    filesystem().put_file(str(clip), f"{s3_root}/videos/clip.mp4")
    source, store = Source(f"{s3_root}/videos/clip.mp4"), Store(f"{s3_root}/results")
    video = publish(store, source, SAMPLED, *two_people())
    with client(store) as asked:
        assert_frames(asked, video, source, [40, 42, 2])
        assert asked.get(f"/api/videos/{video}").json()["row"]["uri"] == source.uri


def test_the_people_of_a_window_are_the_rows_of_the_table(store: Store, clip: Path) -> None:
    video = publish_two_people(store, clip)
    poses = tables.read(store, "poses")
    with client(store) as asked:
        about, opened = asked.get("/api/results").json(), asked.get(f"/api/videos/{video}").json()
        numbers, part = (
            np.frombuffer(asked.get(f"/api/videos/{video}/people", params={"start": start, "stop": stop}).content, "<f4")
            for start, stop in ((0, len(SAMPLED)), (12, 15))
        )
        times = np.frombuffer(asked.get(f"/api/videos/{video}/times").content, "<f8").reshape(2, -1)
    assert opened["skeleton"]["keypoints"] == list(COCO_17.keypoints)
    people = numbers.reshape(poses.num_rows, len(about["person"]) + 3 * 17)
    assert np.array_equal(np.array(SAMPLED)[people[:, 0].astype(int)], column(poses, "frame", np.int64))
    for n, name in enumerate(about["person"][1:], 1):
        assert np.array_equal(people[:, n], column(poses, name, np.float32)), name
    xy_px, score = keypoints_from_columns(poses, COCO_17)
    joints = people[:, len(about["person"]) :].reshape(-1, 17, 3)
    assert np.array_equal(joints, np.concatenate([xy_px, score[..., None]], axis=2), equal_nan=True)
    assert np.array_equal(part.reshape(-1, people.shape[1]), people[(people[:, 0] >= 12) & (people[:, 0] < 15)])
    frames = tables.read(store, "frames")
    assert np.array_equal(times, [column(frames, "frame", np.int64), column(frames, "pts_ns", np.int64)])
    assert opened["suspects"] == tables.read(store, "suspects").to_pylist()
    assert [one["joint"] for one in opened["suspects"]][:1] == ["left_wrist"]


def test_what_is_published_while_it_is_looked_at_shows_when_the_video_is_opened_again(store: Store, clip: Path) -> None:
    video = publish_two_people(store, clip)
    with client(store) as asked:
        before = asked.get(f"/api/videos/{video}").json()
        publish(store, Source(str(clip)), SAMPLED, standing([0, 2], [(80, 120), (82, 120)]), [7, 7])
        assert asked.get("/api/results").status_code == 200
        after = asked.get(f"/api/videos/{video}").json()
    assert [one["track_id"] for one in before["tracks"]] == [0, 1]
    assert [one["track_id"] for one in after["tracks"]] == [7]


def test_bars_are_the_stretches_in_which_a_track_is_seen(store: Store, clip: Path) -> None:
    seen = [0, 1, 2, 5, 6, 20, 21]
    places = sorted([*((place, 0) for place in seen), (12, 1), (13, 1)])
    score = [(0.9, 0.3)[track] for _, track in places]
    poses = standing([2 * place for place, _ in places], [(80.0, 120.0)] * len(places), score=score)
    video = publish(store, Source(str(clip)), SAMPLED, poses, [track for _, track in places])
    with client(store) as asked:
        def bars(**query: float) -> list[list[int]]:
            answer = asked.get(f"/api/videos/{video}/timeline", params={"start": 0, "stop": 30, "columns": 30, **query})
            return sorted(answer.json()["bars"])

        assert bars() == [[0, 0, 0, 2], [0, 0, 5, 6], [0, 0, 20, 21], [1, 1, 12, 13]]
        assert bars(columns=5) == [[0, 0, 0, 6], [0, 0, 20, 21], [1, 1, 12, 13]], "what a column hides is no gap"
        assert bars(track=1) == bars(start=10, stop=15) == [[1, 1, 12, 13]]
        assert bars(min_score=0.5) == [[0, 0, 0, 2], [0, 0, 5, 6], [0, 0, 20, 21]]
        people = asked.get(f"/api/videos/{video}/timeline", params={"start": 0, "stop": 30, "columns": 30}).json()["people"]
    assert people == [1 if place in (*seen, 12, 13) else 0 for place in range(30)]


def test_thousands_of_tracks_take_no_more_lanes_than_people_and_no_more_bars_than_a_screen_has(store: Store, clip: Path) -> None:
    video = publish_two_people(store, clip)
    looked = Results(store, None).open(video)
    tracks, length = 10_000, 5
    place = np.repeat(np.arange(tracks) * 3, length) + np.tile(np.arange(length), tracks)
    track_id = np.repeat(np.arange(tracks), length)
    order = np.lexsort((track_id, place))
    people = np.zeros((len(place), looked.people.shape[1]), np.float32)
    people[:, 0], people[:, 1], people[:, 3] = place[order], track_id[order], 1
    many = replace(looked, people=people, track_id=track_id[order])
    shown = Timeline(many).bars(0, 3 * tracks, 1000, 0.0, None)
    assert shown["lanes"] == 2, "nobody is in view with more than one other"
    assert len(shown["bars"]) + shown["left_out"] == tracks
    assert len(shown["bars"]) == MAX_BARS
    assert set(shown["people"]) == {2}
    near = Timeline(many).bars(300, 330, 1000, 0.0, None)
    assert near["left_out"] == 0
    for one in near["bars"]:
        for other in near["bars"]:
            assert one is other or one[1] != other[1] or one[3] < other[2] or other[3] < one[2], "bars of a lane lie side by side"


def test_security_what_is_not_of_the_results_is_not_found(store: Store, clip: Path) -> None:
    video = publish_two_people(store, clip)
    with client(store) as asked:
        for path in (
            "/api/videos/nobody-00000000", "/api/videos/nobody-00000000/times", "/api/videos/..%2f..%2fetc/frames/0.jpg",
            f"/api/videos/{video}/frames/1.jpg", f"/api/videos/{video}/frames/{FRAMES}.jpg", f"/api/videos/{video}/frames/-2.jpg",
            f"/api/videos/{video}/people?start=0&stop={len(SAMPLED) + 1}", f"/api/videos/{video}/people?start=3&stop=2",
            f"/api/videos/{video}/timeline?start=5&stop=5&columns=10", f"/api/videos/{video}/joint?frame=0&track=1&name=nose",
            f"/api/videos/{video}/joint?frame=0&track=0&name=tail", "/page/../server.py", "/page/%2e%2e/server.py",
            "/page/..%2fserver.py", "/docs", "/openapi.json",
        ):  # fmt: skip
            assert asked.get(path).status_code == 404, path
        for path in (f"/api/videos/{video}/frames/x.jpg", f"/api/videos/{video}/frames/0.jpg?width=99999999",
                     f"/api/videos/{video}/timeline?start=0&stop=5&columns=99999999"):  # fmt: skip
            assert asked.get(path).status_code == 422, path


def test_security_the_page_of_another_site_gets_nothing(store: Store, clip: Path) -> None:
    publish_two_people(store, clip)
    with client(store) as asked:
        for host in ("evil.example", "localhost.evil.example", "169.254.169.254", ""):
            assert asked.get("/api/videos", headers={"Host": host}).status_code == 400, host
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert asked.request(method, "/api/videos").status_code == 405
        for path in ("/", "/api/videos", "/page/main.js"):
            answer = asked.get(path, headers={"Origin": "https://evil.example"})
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"].startswith("default-src 'self';")
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in answer.headers


def test_a_video_that_is_gone_or_another_is_told_in_place_of_its_pictures(store: Store, clip: Path) -> None:
    video = publish_two_people(store, clip)
    clip.rename(clip.with_name("elsewhere.mp4"))
    with client(store) as asked:
        answer = asked.get(f"/api/videos/{video}/frames/0.jpg")
        assert (answer.status_code, str(clip) in answer.json()["detail"]) == (410, True)
        write_numbered(clip, frames=FRAMES + 1)
        answer = asked.get(f"/api/videos/{video}/frames/0.jpg")
        assert (answer.status_code, "not the video that was annotated" in answer.json()["detail"]) == (410, True)
        clip.unlink()
        clip.with_name("elsewhere.mp4").rename(clip)
        assert_frames(asked, video, Source(str(clip)), [4])


@pytest.fixture
def published(refined_run: VideoPlan, tmp_path: Path) -> VideoPlan:
    """A refined video as it is published, in a store of its own."""
    shutil.copytree(refined_run.store.root, tmp_path / "refined")
    plan = replace(refined_run, store=Store(str(tmp_path / "refined")))
    tables.create_tables(plan.store)
    assert merge(plan.store, recorded_run(plan), plan.shard, [finished(plan)]) == (1, [])
    return plan


@pytest.mark.slow
def test_candidates_and_responses_are_those_that_refinement_chose_from(published: VideoPlan) -> None:
    people, refined = published.artifact(estimate.STAGE).read(), published.artifact(refine.STAGE).read()
    rows = {(row["frame"], row["detection"]): n for n, row in enumerate(people.select(["frame", "detection"]).to_pylist())}
    candidates, poses = candidates_from_table(people, COCO_17), poses_from_table(people, COCO_17)
    taken, score = list_column(refined, "place", 17), list_column(refined, "score", 17)
    poses_shown = tables.read(published.store, "poses").to_pylist()
    with client(published.store) as asked:
        for n in (0, 7, refined.num_rows - 1):
            key = refined["frame"][n].as_py(), refined["detection"][n].as_py()
            (shown,) = (row for row in poses_shown if (row["frame"], row["detection"]) == key)
            for k in (0, 9, 16):
                query = {"frame": key[0], "track": shown["track_id"], "name": COCO_17.keypoints[k]}
                found = asked.get(f"/api/videos/{published.video}/joint", params=query).json()
                assert found["notes"] == []
                row = rows[key]
                assert found["initial"] == [*poses.xy_px[row, k].tolist(), float(poses.score[row, k])]
                response = [one["response"] for one in found["candidates"]]
                assert response == candidates.response[row, k][~np.isnan(candidates.response[row, k])].tolist()
                worth = [found["own_refined"], *(one["refined"] for one in found["candidates"])]
                assert found["refined"]["place"] == taken[n, k] == int(np.argmax(worth))
                assert worth[taken[n, k]] == found["refined"]["score"] == float(score[n, k])
                joint = COCO_17.keypoints[k]
                assert found["published"] == [shown[f"{joint}_{axis}"] for axis in ("x", "y", "score")]


@pytest.mark.slow
def test_where_artifacts_were_removed_what_is_not_known_is_said(published: VideoPlan) -> None:
    (first, *_) = tables.read(published.store, "poses").to_pylist()
    query = {"frame": first["frame"], "track": first["track_id"], "name": "nose"}
    with client(published.store) as asked:
        published.store.delete(f"manifests/embed/{published.keys['embed']}.json")
        found = asked.get(f"/api/videos/{published.video}/joint", params=query).json()
        assert found["refined"] is not None
        assert found["candidates"][0]["refined"] is None
        assert "removed" in found["notes"][0]
        published.store.delete(f"manifests/estimate/{published.keys['estimate']}.json")
        found = asked.get(f"/api/videos/{published.video}/joint", params=query).json()
        assert (found["candidates"], found["initial"]) == ([], None)
        assert "removed" in found["notes"][0]
        assert found["published"] == [first["nose_x"], first["nose_y"], first["nose_score"]]


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_security_the_command_serves_on_loopback_unless_told_otherwise_until_it_is_interrupted(
    store: Store, clip: Path, tmp_path: Path, host: str
) -> None:
    publish_two_people(store, clip)
    others = [] if host == "127.0.0.1" else ["--host", host, "--name", "viewer.example"]
    log = tmp_path / "log"
    process = start(log, "view", store.root, "--port", "0", *others)
    try:
        end = time.monotonic() + 120
        while "look at http://" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        address = log.read_text().partition("look at ")[2].split()[0]
        assert address.startswith(f"http://{host}:")
        assert ("there is no password" in log.read_text()) == bool(others)
        port = int(address.rpartition(":")[2])
        for name, is_known in (("localhost", True), ("viewer.example", bool(others)), ("evil.example", False)):
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/api/videos", headers={"Host": f"{name}:{port}"})
            answer = connection.getresponse()
            assert (b"clip" in answer.read()) == (answer.status == 200) == is_known, name
            connection.close()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert process.returncode in (0, 130), log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_port_that_is_taken_is_told_in_a_sentence(store: Store, clip: Path) -> None:
    publish_two_people(store, clip)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(app, ["view", store.root, "--port", str(taken.getsockname()[1])])
    assert "give another, or --port 0" in str(done.exception)


def test_a_store_without_results_is_told_before_a_server_starts(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["view", str(tmp_path)])
    assert "no finished videos" in str(done.exception)
