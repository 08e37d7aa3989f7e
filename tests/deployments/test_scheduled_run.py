"""The deployments as the README has them, with a real server, work pool, worker, schedule and S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from storage import runs, tables
from storage.store import Store
from tests.deployments.operating import DEPLOYMENTS, Server, listener, prefect_server, prefect_worker, wait_until
from tests.flows.commands import by_poses
from tests.s3_server import S3Server

_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
block = CustomWebhookNotificationBlock(name="tests", url=sys.argv[1], json_data={"text": "{{subject}}: {{body}}"})
print(block.save("tests"))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_scheduled_runs_compute_what_is_new_one_at_a_time_and_an_alert_tells_of_failed_videos(
    s3_root: str, s3_server: S3Server, people_clip: Path, tmp_path: Path
) -> None:
    Store(s3_root).write("videos/people.mp4", people_clip.read_bytes())
    store = Store(f"{s3_root}/results")
    with listener() as (address, heard), prefect_server(tmp_path) as server, prefect_worker(server, tmp_path) as log:
        server.prefect("work-pool", "create", "tkm", "--type", "process", "--overwrite")
        deploy(server, f"{s3_root}/videos", store.root, tmp_path)
        alert(server, address, tmp_path)

        first = scheduled_run(server)
        wait_until(lambda: server.state(first)["name"] == "Running")
        too_early = server.ended(server.start_run("annotate"))
        assert (too_early["type"], too_early["message"]) == ("CANCELLED", "Deployment concurrency limit reached.")
        assert server.ended(first)["name"] == "Completed", log.read_text()
        assert tables.read(store, "videos").to_pylist()[0]["name"] == "people.mp4"
        assert tables.read(store, "poses").num_rows > 0
        assert what_came_of_it(store)["frames"]["detect"] == 12

        second = scheduled_run(server)
        assert server.ended(second)["name"] == "Completed", log.read_text()
        assert sum(what_came_of_it(store)["frames"].values()) == 0

        Store(s3_root).write("videos/broken.mp4", b"this is no video")
        third = server.start_run("annotate")
        again = server.start_run("rerun", stage="track", changes=["similarity=iou"])
        assert server.ended(third)["name"] == "VideosFailed", log.read_text()
        assert "1 failed" in server.state(third)["message"]
        assert server.ended(again)["name"] == "Completed", log.read_text()
        wait_until(lambda: heard)
        assert "VideosFailed" in heard[0]
        assert "broken.mp4" in heard[0]
        by_stage = {run["stage"]: run["set"] for run in started(store) if "stage" in run}
        assert by_stage == {"track": ["similarity=iou"]}

    kept = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(store.root.encode() in data for data in kept.values()), "what Prefect records of a run was not looked at"
    assert [name for name, data in kept.items() if s3_server.secret_access_key.encode() in data] == []


def deploy(server: Server, videos: str, results: str, folder: Path) -> None:
    """Deploy both, with addresses and settings of ours in the file."""
    written = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())
    for deployment in written["deployments"]:
        deployment["parameters"] |= {"output": results, "settings": by_poses()}
    written["deployments"][0]["parameters"]["input"] = videos
    (folder / "prefect.yaml").write_text(yaml.safe_dump(written))
    server.prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(folder / "prefect.yaml"))


def alert(server: Server, address: str, folder: Path) -> None:
    """Have alerts sent to an address, as the README says."""
    block = server.python(_BLOCK, address)
    (folder / "alerts.yaml").write_text((DEPLOYMENTS / "automations.yaml").read_text().replace("BLOCK_ID", block))
    server.prefect("automation", "create", "--from-file", str(folder / "alerts.yaml"))
    made = {automation["name"] for automation in server.ask("automations/filter", {}) if automation["enabled"]}
    assert made == {"tkm-run-in-trouble", "tkm-run-not-begun", "tkm-run-not-in-time", "tkm-run-is-gone"}


def scheduled_run(server: Server) -> str:
    """The run that a worker takes once runs of `annotate` are scheduled."""
    before = {run["id"] for run in server.runs("annotate")}
    with server.schedule("annotate", seconds=20):
        wait_until(lambda: len(server.runs("annotate")) > len(before))
    taken = next(run for run in server.runs("annotate") if run["id"] not in before)
    assert taken["auto_scheduled"]
    return str(taken["id"])


def started(store: Store) -> list[dict[str, Any]]:
    """What every run was told to do."""
    return [runs.read_facts(store, run)[0] for run in runs.all_runs(store)]


def what_came_of_it(store: Store) -> dict[str, Any]:
    """What the latest run of a store recorded at its end."""
    ended = runs.read_facts(store, runs.all_runs(store)[-1])[1]
    assert ended is not None
    return ended
