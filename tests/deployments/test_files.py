"""The deployment files hold together, and name what there is."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore

from flows.annotate import Summary, ended
from flows.settings import load_settings, refuse_secrets
from storage.runs import Failure
from tests.deployments.operating import DEPLOYMENTS, ROOT

COMPOSE = DEPLOYMENTS / "compose.yaml"
EXAMPLE = DEPLOYMENTS / ".env.example"


def compose_commands() -> list[list[str]]:
    services = yaml.safe_load(COMPOSE.read_text())["services"].values()
    commands = [service["command"] for service in services if "command" in service]
    defaults = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", command) for command in commands if isinstance(command, str)]
    return [shlex.split(command) for command in defaults]


def kubernetes_containers() -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOYMENTS / "kubernetes" / "dask.yaml").read_text())
    pods = [document["spec"]["template"]["spec"] for document in documents if document["kind"] == "Deployment"]
    return [container for pod in pods for container in pod["containers"]]


def kubernetes_commands() -> list[list[str]]:
    return [[*container["command"], *container.get("args", [])] for container in kubernetes_containers()]


def readme_commands() -> list[list[str]]:
    lines = (DEPLOYMENTS / "README.md").read_text().splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("dask ")]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def prefect_deployments() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())["deployments"]
    return found


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed (Debian has it)")
def test_docker_compose_takes_the_compose_file() -> None:
    command = ["docker-compose", "--env-file", str(EXAMPLE), "-f", str(COMPOSE), "config"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    wanted = {name for service in services.values() for name in service.get("depends_on", {})}
    assert wanted <= set(services)
    [device] = services["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("commands", [compose_commands, kubernetes_commands, readme_commands])
def test_dask_workers_offer_what_a_run_asks_for_and_preload_modules_that_exist(commands: Any) -> None:
    workers = [command for command in commands() if command[:2] == ["dask", "worker"]]
    offered = {
        resource.partition("=")[0]: option(one, "--preload") for one in workers for resource in option(one, "--resources").split()
    }
    assert set(offered) == {"CPU", "GPU"}
    assert all(find_spec(module) for module in offered.values())
    assert hasattr(importlib.import_module(offered["GPU"]), "dask_setup"), "whoever runs networks builds them beforehand"
    port = {option(command, "--port") for command in commands() if command[:2] == ["dask", "scheduler"]}
    assert {command[2].rpartition(":")[2] for command in workers} == port


def test_every_variable_of_the_compose_file_is_documented_in_the_example_and_the_other_way_round() -> None:
    documented = {line.partition("=")[0] for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")}
    assert set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) == documented


def test_secrets_reach_containers_by_their_environment_alone() -> None:
    assert re.search(r"^\.env$", (ROOT / ".gitignore").read_text(), re.MULTILINE), "a copy of .env.example must not be committed"
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("SECRET|PASSWORD|KEY_ID", name) or value.startswith("${"), name
    workers = [container for container in kubernetes_containers() if "worker" in container["command"]]
    assert all(container["envFrom"] == [{"secretRef": {"name": "tkm-s3"}}] for container in workers)
    assert not [entry for container in workers for entry in container["env"] if entry["name"].startswith("AWS_")]


def test_a_kubernetes_worker_that_offers_a_gpu_has_one() -> None:
    gpus = [
        container["resources"]["limits"].get("nvidia.com/gpu", 0)
        for container in kubernetes_containers()
        if "GPU=1" in container.get("args", [])
    ]
    assert gpus == [1]


def test_the_image_is_made_of_what_the_build_is_given_and_runs_as_nobody_special() -> None:
    lines = (DEPLOYMENTS / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == given
    assert all((ROOT / name).exists() for name in copied)
    assert [line for line in lines if line.startswith("USER")][-1] == "USER tkm"


@pytest.mark.parametrize("deployment", prefect_deployments(), ids=lambda deployment: deployment["name"])
def test_a_deployment_names_a_flow_and_parameters_that_it_takes(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow, parameters = getattr(importlib.import_module(module), name), deployment["parameters"]
    assert flow.name == deployment["name"] == name
    signature(flow.fn).bind_partial(**parameters)
    refuse_secrets(parameters["settings"])
    load_settings(parameters["settings"])
    assert deployment["work_pool"]["name"] in (DEPLOYMENTS / "README.md").read_text()


def test_alerts_are_of_the_deployments_tag_and_of_the_state_in_which_a_run_with_failed_videos_ends(tmp_path: Path) -> None:
    block = "00000000-0000-0000-0000-000000000001"
    written = yaml.safe_load((DEPLOYMENTS / "automations.yaml").read_text().replace("BLOCK_ID", block))["automations"]
    triggers: list[Any] = [AutomationCore.model_validate(automation).trigger for automation in written]
    [tag] = {tag for deployment in prefect_deployments() for tag in deployment["tags"]}
    assert {trigger.match_related.root["prefect.resource.id"] for trigger in triggers} == {f"prefect.tag.{tag}"}
    failure = Failure("v", "v.mp4", "index", "v.mp4 is no video", True, 0)
    state = ended(Summary("20260101-000000-abcdef", str(tmp_path), 1, 0, {}, (failure,), 1.0))
    assert f"prefect.flow-run.{state.name}" in triggers[0].expect
    assert "v.mp4 is no video" in state.message
    going_on = [trigger for trigger in triggers if "prefect.flow-run.Running" in trigger.after]
    assert len(going_on) == 2
    ends = {"Completed", state.name, "Failed", "Crashed", "TimedOut", "Cancelled"}
    assert all({f"prefect.flow-run.{end}" for end in ends} <= trigger.expect for trigger in going_on)
