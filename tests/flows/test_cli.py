"""The command line as a person meets it: exit status, messages, no traceback; and the README's table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import stage_table

ROOT = Path(__file__).resolve().parents[2]


def tkm(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with a Prefect home of its own."""
    environment = {**os.environ, "COLUMNS": "160"} | ({"PREFECT_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=300)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["annotate", "no-such-folder", "-o", "out"], "no-such-folder"),
        (["annotate", "deployments/demo", "-o", "out", "--track-similarity", "cosine"], "track.similarity"),
        (["annotate", "deployments/demo", "-o", "out", "--settings", "nowhere.toml"], "nowhere.toml"),
        (["annotate", "deployments/demo"], "--output"),
        (["annotate", "deployments/demo", "-o", "out", "--no-such-option"], "--no-such-option"),
        (["status", "no-such-output"], "no-such-output"),
        (["show", "no-such-output"], "no-such-output"),
        (["render", "no-such-output"], "no-such-output"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(arguments: list[str], named: str) -> None:
    done = tkm(*arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (ROOT / "out").exists()


def test_describe_names_stages_options_columns_and_units() -> None:
    text = tkm("describe").stdout
    for word in ("--track-similarity", "--fps", "left_wrist_x", "pts_ns", "px", "ns", "survivors"):
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
def test_a_failed_video_is_told_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken [1].mp4").write_bytes(b"not a video")
    done = tkm("annotate", str(tmp_path / "videos"), "-o", str(tmp_path / "out"), home=tmp_path / "prefect")
    assert done.returncode == 1
    assert "broken [1].mp4" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
