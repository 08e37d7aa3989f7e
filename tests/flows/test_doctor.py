from __future__ import annotations

from pathlib import Path

import pytest

from flows.doctor import Check, checks
from tests.s3_server import S3Server
from tkm import weights
from tkm.networks import runtime


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_a_machine_that_runs_these_tests_is_well(tmp_path: Path) -> None:
    found = checks(str(tmp_path / "new" / "out"))
    assert [check for check in found if not check.ok and check.name != "free disk space"] == []
    named = by_name(found)
    assert str(runtime.cores()) in named["cores and memory"].detail
    assert "torch" in named["packages"].detail
    assert "ms" in named["detector"].detail
    assert "ms" in named["pose network"].detail
    assert list(tmp_path.iterdir()) == [], "a look left something behind"


def test_without_an_output_no_store_is_looked_at() -> None:
    assert {"store", "free disk space"}.isdisjoint(by_name(checks(None)))


def test_damaged_weights_are_found_and_the_rest_still_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in weights.FOLDER.glob("*.safetensors"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = tmp_path / weights.WEIGHTS["nanodet"].file
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    runtime.on_device.cache_clear()
    named = by_name(checks(None))
    assert not named["weights"].ok
    assert damaged.name in named["weights"].detail
    assert named["weights"].advice
    assert not named["detector"].ok
    assert named["pose network"].ok


@pytest.mark.parametrize("output", ["", "nosuchprotocol://bucket/path"])
def test_an_impossible_output_is_a_finding_not_an_error(output: str) -> None:
    store = by_name(checks(output))["store"]
    assert not store.ok
    assert store.detail


def test_an_output_in_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    output = str(tmp_path / "file" / "out")
    store = by_name(checks(output))["store"]
    assert not store.ok
    assert output in store.detail


def test_an_output_on_s3_is_looked_at_and_named(s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_name(checks(f"{s3_root}/out"))
    assert found["store"] == Check("store", True, f"{s3_root}/out can be written and read", found["store"].advice)
    assert "free disk space" not in found
    assert s3_server.objects(s3_root.rpartition("/")[2]) == {}, "a look left something behind"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    store = by_name(checks(f"{s3_root}/out"))["store"]
    assert not store.ok
    assert "SignatureDoesNotMatch" in store.detail
    assert "hush" not in store.detail
