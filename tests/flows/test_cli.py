"""The command line as a person meets it: exit status, messages, no traceback; and the README's table."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.describe import stage_table
from tests.flows.commands import BY_POSES, ROOT, tkm
from tests.s3_server import S3Server

HRNET = ["annotate", "deployments/demo", "-o", "out", "--estimate-network", "hrnet-w48"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["annotate", "no-such-folder", "-o", "out"], "no-such-folder"),
        (["annotate", "deployments/demo", "-o", "out", "--track-similarity", "cosine"], "track.similarity"),
        (["annotate", "deployments/demo", "-o", "out", "--settings", "nowhere.toml"], "nowhere.toml"),
        (["annotate", "deployments/demo"], "--output"),
        (["annotate", "deployments/demo", "-o", "out", "--no-such-option"], "--no-such-option"),
        (["annotate", "deployments/demo", "-o", "README.md"], "README.md"),
        (["annotate", "deployments/demo", "-o", "foo://x"], "foo"),
        (["annotate", "", "-o", "out"], "empty"),
        (["annotate", "deployments/demo", "-o", "s3:/bucket/out"], "s3://bucket/out"),
        (["annotate", "deployments/demo", "-o", "out", "--s3-endpoint-url", "localhost:9000"], "s3.endpoint_url"),
        (["annotate", "deployments/demo", "-o", "out", "--s3-secret-access-key", "x"], "--s3-secret-access-key"),
        (["annotat", "deployments/demo", "-o", "out"], "annotate"),
        (["annotate", "deployments/demo", "-o", "out", "--fsp", "5"], "--fps"),
        (["annotate", "deployments/demo", "-o", "out", "--fps", "0"], "index.fps: must be greater than 0 (given: '0')"),
        (["annotate", "deployments/demo", "-o", "out", "--frames", "9"], "index.frames: not of the form that is wanted: "),
        (["annotate", "deployments/demo", "-o", "out", "--dask", "tcp://localhost"], "--dask tcp://localhost"),
        (["annotate", "deployments/demo", "-o", "out", "--dask", "tpc://localhost:1"], "--dask tpc://localhost:1"),
        (["annotate", "deployments/demo", "-o", "out", "--dask", "tcp://127.0.0.1:1"], "Connection refused"),
        (["annotate", "deployments/demo", "-o", "README.md/out"], "README.md/out"),
        (["annotate", "deployments/demo", "-o", "/proc/out"], "/proc/out"),
        (["annotate", "deployments/demo", "-o", "deployments/demo"], "give another --output"),
        ([*HRNET, "--track-similarity", "tkm"], "--matching-weights FILE"),
        ([*HRNET, "--refine"], "none is embedded"),
        ([*HRNET, "--refine", "--dry-run"], "`tkm train temporal` makes one"),
        (HRNET, "--pose-weights FILE"),
        (["annotate", "deployments/demo", "-o", "out", "--pose-weights", "nowhere.pth"], "nowhere.pth: no such file"),
        (["annotate", "deployments/demo", "-o", "out", "--pose-weights", "README.md"], "--pose-weights README.md"),
        (["rerun", "no-such-output", "--stage", "track"], "no-such-output"),
        (["rerun", "no-such-output", "--stage", "trak"], "trak"),
        (["verify", "no-such-output"], "no-such-output"),
        (["status", "README.md"], "README.md"),
        (["status", "no-such-output"], "no-such-output"),
        (["show", "no-such-output"], "no-such-output"),
        (["render", "no-such-output"], "no-such-output"),
        (["export", "no-such-output", "--format", "coco", "-o", "out"], "no-such-output"),
        (["export", "no-such-output", "--format", "voc", "-o", "out"], "posetrack18, posetrack17, coco, parquet"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(arguments: list[str], named: str) -> None:
    done = tkm(*arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "starting" not in done.stderr
    assert not (ROOT / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "changes", "named"),
    [
        (["annotate", "deployments/demo", "-o", "ROOT/out"], {"AWS_SECRET_ACCESS_KEY": "hush"}, "SignatureDoesNotMatch"),
        (["annotate", "ROOT/videos", "-o", "out"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "nothing answers at http://127.0.0.1:9"),
        (["annotate", "deployments/demo", "-o", "s3://KEYID:hush@bucket/out"], {}, "would be recorded"),
        (["show", "ROOT/out"], {"TKM_S3__PROFILE": "nobody"}, "no AWS profile nobody"),
        (["status", "ROOT/out"], {"TKM_S3__SECRET_ACCESS_KEY": "hush"}, "s3: access_key_id"),
    ],
)
def test_s3_that_cannot_be_used_is_named_before_anything_starts(
    arguments: list[str], changes: dict[str, str], named: str, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in changes.items():
        monkeypatch.setenv(variable, value)
    done = tkm(*(argument.replace("ROOT", s3_root) for argument in arguments))
    assert done.returncode == 2
    assert named in done.stderr
    for never in ("Traceback", "Prefect", "hush", s3_server.secret_access_key):
        assert never not in done.stderr + done.stdout
    assert not (ROOT / "out").exists()


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("TKM_TRACK_SIMILARITY", "oks", "TKM_TRACK_SIMILARITY"),
        ("TKM_TRACK__SIMILARTY", "oks", "did you mean track.similarity?"),
        ("TKM_TRACK__SIMILARITY", "okss", "track.similarity: must be 'iou', 'oks', 'tbm' or 'tkm' (given: 'okss')"),
    ],
)
def test_a_mistyped_variable_is_named(variable: str, value: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    done = tkm("annotate", "deployments/demo", "-o", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert named in done.stderr


def test_describe_names_stages_options_columns_and_units() -> None:
    text = tkm("describe").stdout
    options = ("--track-similarity", "--fps", "--split-shots", "--shots-threshold")
    for word in (*options, "left_wrist_x", "pts_ns", "px", "ns", "survivors"):
        assert word in text


def test_the_readme_shows_the_stages_as_they_are() -> None:
    assert stage_table() in (ROOT / "README.md").read_text(), "put the output of `tkm describe --markdown` into README.md"


@pytest.mark.slow
def test_annotate_then_look_at_the_results(tmp_path: Path) -> None:
    output, home = tmp_path / "out", tmp_path / "prefect"
    command = ["annotate", "deployments/demo/cam01.mp4", "-o", str(output), "--frames", ":6"]
    would = tkm(*command, "--dry-run")
    assert would.returncode == 0
    assert "nothing written" in would.stdout
    assert not output.exists()
    done = tkm(*command, home=home)
    assert done.returncode == 0, done.stderr
    assert "detect 6" in done.stdout
    status = json.loads(tkm("status", str(output), "--json").stdout)
    assert {stage["stage"]: stage["done"] for stage in status["stages"]}["publish"] == 1
    assert status["state"] == "ended"
    assert "cam01" in tkm("show", str(output)).stdout
    assert tkm("show", f"{output}@{status['run']}").returncode == 0
    wrong_run = tkm("show", f"{output}@20000101-000000-abcdef")
    assert wrong_run.returncode == 2
    assert status["run"] in wrong_run.stderr
    rendered = tkm("render", str(output))
    assert rendered.returncode == 0, rendered.stderr
    assert Path(rendered.stdout.strip()).stat().st_size > 10_000
    again = tkm(*command, home=home)
    assert "none, all was there" in again.stdout


@pytest.mark.slow
def test_a_prefect_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = tkm("annotate", "deployments/demo/cam01.mp4", "-o", str(tmp_path / "out"), home=tmp_path / "prefect")
    assert done.returncode == 1
    assert "http://127.0.0.1:9/api" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_the_same_command_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "flows.cli", "annotate", "deployments/demo/cam01.mp4", "-o", str(output)]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    # A process group of its own, all of which is interrupted, as a terminal does; it must not inherit that these tests may run
    # in the background, where shells have Ctrl-C ignored.
    process = subprocess.Popen(
        [*command, *BY_POSES, "--chunk-frames", "4"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and not list(output.glob("chunks/suppress/*/*.json")):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from there" in told
    assert "Traceback" not in told
    done = tkm(*command[3:], *BY_POSES, home=tmp_path / "prefect")
    assert done.returncode == 0, done.stderr
    assert "suppress 100" not in done.stdout, "the chunks that were finished are not computed again"
    assert "track 100" in done.stdout


@pytest.mark.slow
def test_a_failed_video_is_told_and_exits_with_1(tmp_path: Path) -> None:
    videos, output = tmp_path / "videos", str(tmp_path / "out")
    videos.mkdir()
    (videos / "broken [1].mp4").write_bytes(b"not a video")
    done = tkm("annotate", str(videos), "-o", output, home=tmp_path / "prefect")
    assert done.returncode == 1
    assert "broken [1].mp4" in done.stdout
    assert "--retry-failed" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    shown = tkm("status", output)
    assert (shown.returncode, "broken [1].mp4" in shown.stdout) == (0, True)
    assert tkm("show", output).returncode == 2, "there is nothing to show"


@pytest.mark.slow
def test_more_failures_than_allowed_stop_the_run_before_the_rest(tmp_path: Path, demo_clip: Path) -> None:
    videos, output = tmp_path / "videos", str(tmp_path / "out")
    videos.mkdir()
    shutil.copy(demo_clip, videos)
    for name in ("one.mp4", "two.mp4"):
        (videos / name).write_text(f"{name} is no video")
    done = tkm("annotate", str(videos), "-o", output, "--max-failures", "1", home=tmp_path / "prefect")
    assert done.returncode == 1
    assert "more than 1 video failed (--max-failures)" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    status = json.loads(tkm("status", output, "--json").stdout)
    assert (status["state"], len(status["failures"])) == ("stopped", 2)
    assert {stage["stage"]: stage["done"] for stage in status["stages"]}["detect"] == 0


@pytest.mark.slow
def test_a_prefect_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "prefect").write_text("in the way")
    done = tkm("annotate", "deployments/demo/cam01.mp4", "-o", str(tmp_path / "out"), home=tmp_path / "prefect")
    assert done.returncode == 1
    assert f"{tmp_path}/prefect" in done.stderr
    assert "Traceback" not in done.stderr
