"""A run from S3 to S3 with secrets that only the settings file holds: it works, and they stay there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from flows.cluster import S3Settings, connect
from storage import s3
from storage.store import Store
from tests.flows.commands import tkm
from tests.s3_server import S3Server


@pytest.mark.slow
def test_annotate_from_s3_to_s3_and_the_secrets_stay_in_the_settings_file(
    s3_root: str, s3_server: S3Server, people_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(s3_root).write("videos/Zwölf Läufer 1.mp4", people_clip.read_bytes())
    environment = s3_server.environment()
    for variable in environment:
        monkeypatch.delenv(variable)
    lines = [f'endpoint_url = "{s3_server.endpoint_url}"', f'access_key_id = "{s3_server.access_key_id}"']
    lines += [f'secret_access_key = "{s3_server.secret_access_key}"']
    (tmp_path / "settings.toml").write_text("\n".join(["[s3]", *lines]))
    home, output = tmp_path / "prefect", f"{s3_root}/out"
    command = ["annotate", f"{s3_root}/videos", "-o", output, "--settings", str(tmp_path / "settings.toml")]
    said = [tkm(*command, home=home), tkm(*command, home=home)]
    assert [done.returncode for done in said] == [0, 0], said[0].stderr + said[1].stderr
    assert "detect 12" in said[0].stdout
    assert "none, all was there" in said[1].stdout
    monkeypatch.setenv("TKM_S3__ENDPOINT_URL", s3_server.endpoint_url)
    monkeypatch.setenv("TKM_S3__ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("TKM_S3__SECRET_ACCESS_KEY", s3_server.secret_access_key)
    rendered = tmp_path / "renders"
    said += [tkm("show", output), tkm("status", output, "--json"), tkm("render", output, "-o", str(rendered))]
    said += [tkm("doctor", "-o", output)]
    assert [done.returncode for done in said[2:]] == [0, 0, 0, 0], [done.stderr for done in said[2:]]
    assert "Zwolf_Laufer" in said[2].stdout
    assert {stage["stage"]: stage["done"] for stage in json.loads(said[3].stdout)["stages"]}["publish"] == 1
    assert len(list(rendered.glob("*.mp4"))) == 1
    assert "can be written and read" in said[5].stdout
    places = s3_server.objects(s3_root.rpartition("/")[2])
    assert any("tables/poses/_delta_log" in name for name in places)
    prefect = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any(output.encode() in data for data in prefect.values()), "what Prefect records of a run was not looked at"
    places |= prefect
    places |= {str(done.args): (done.stdout + done.stderr).encode() for done in said}
    for secret in (s3_server.secret_access_key, s3_server.access_key_id):
        assert [name for name, data in places.items() if secret.encode() in data] == []


def read_environment() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}


def test_workers_of_another_cluster_get_the_settings_for_the_run_only(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the workers' own")
    resources = {"CPU": 1, "GPU": 1}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, resources=resources, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as theirs,
    ):
        monkeypatch.setattr(s3, "_applied", {"AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": None})
        with connect(cluster.scheduler_address, 1) as client:
            during = client.submit(read_environment, pure=False).result()
            assert during == {"AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": None}
        after = theirs.submit(read_environment, pure=False).result()
        assert after == {"AWS_SECRET_ACCESS_KEY": None, "AWS_SESSION_TOKEN": "the workers' own"}
        logs = str(theirs.get_worker_logs()) + str(theirs.get_scheduler_logs())
        shown = repr(S3Settings(s3.applied()))  # which Dask logs, where logs are not silenced
        assert "AWS_SECRET_ACCESS_KEY" in shown
        assert "hush" not in logs + shown
