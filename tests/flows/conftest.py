"""A Prefect server of the tests' own, once a session, and small real videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pieces import write_piece


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect with a home and a database of its own."""
    from prefect.settings import PREFECT_HOME, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    with temporary_settings({PREFECT_HOME: home}), prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def shared_prefect(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in processes of their own report to the tests' server, and start sooner for it."""
    from prefect.settings import PREFECT_API_URL

    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))


@pytest.fixture(scope="session")
def people_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 12 frames of the bundled clip at half its size: three people, decoded and estimated in seconds."""
    path = tmp_path_factory.mktemp("clips") / "people.mp4"
    write_piece(path, 0, 12, 544, 960)
    return path
