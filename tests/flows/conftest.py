"""A Prefect server of the tests' own, once a session, and small real videos."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest


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
def people_clip(tmp_path_factory: pytest.TempPathFactory, demo_clip: Path) -> Path:
    """The first 12 frames of the bundled clip at half its size: three people, decoded and estimated in seconds."""
    path = tmp_path_factory.mktemp("clips") / "people.mp4"
    with av.open(str(demo_clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=60, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 544, 960, "yuv420p"
        for n, frame in enumerate(source.decode(video=0)):
            if n == 12:
                break
            small = frame.reformat(544, 960, "yuv420p")
            small.pts, small.time_base = n, Fraction(1, 60)
            target.mux(stream.encode(small))
        target.mux(stream.encode())
    return path
