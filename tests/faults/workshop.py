"""What all faults share: Prefect, an S3 server, a cluster for clean runs, the scenes and their undisturbed results."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from flows.annotate import Summary, annotate
from flows.cluster import connect
from flows.server import prefect_server
from storage.store import Store
from tests.faults import scenes
from tests.faults.scenes import Scene
from tests.s3_server import BUCKET, S3Server, serve

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900  # a command that takes longer hangs, however busy the machine
_OTHER = {"track": {"iou_gate": 0.99}}  # what scenes.OTHER says, as settings


@dataclass(frozen=True)
class Calm:
    """A scene's results when nothing disturbs it: everything that lies below the root, and the tables."""

    contents: Mapping[str, bytes]
    tables: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Workshop:
    """Where faults are tried.

    folder   for what belongs to one fault
    made     undisturbed results, by name of the scene and whether it is under other parameters
    """

    folder: Path
    s3: S3Server
    prefect_url: str
    dask: str
    made: dict[tuple[str, bool], Calm] = field(default_factory=dict)

    def scene(self, name: str, root_kind: str) -> Scene:
        """A scene by its name; clips lie where the results go."""
        if name == "poses":
            return Scene("poses", str(self.folder.parent / "poses.parquet"), of_poses=True)
        return Scene("clips", f"s3://{BUCKET}/clips" if root_kind == "s3" else str(self.folder.parent / "clips"))

    def calm(self, name: str, is_other: bool = False) -> Calm:
        """A scene's undisturbed results, made when they are first asked for."""
        if (name, is_other) not in self.made:
            root = self.new_root("folder")
            engine = {"dask": self.dask, "chunk_frames": 3}
            _annotate(self.scene(name, "folder"), root, engine, _OTHER if is_other else {})
            self.made[name, is_other] = Calm(scenes.objects(root), scenes.published(root))
        return self.made[name, is_other]

    def new_root(self, kind: str) -> str:
        """An address below which nothing lies."""
        name = uuid.uuid4().hex[:12]
        return f"s3://{BUCKET}/{name}/results" if kind == "s3" else str(self.folder / name / "results")

    def start(self, log: Path, command: list[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start `tkm` in a process group of its own, which writes what it says to a file."""
        variables = {**os.environ, "PREFECT_API_URL": self.prefect_url, "COLUMNS": "160", **(environment or {})}
        with log.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env=variables, start_new_session=True,
            )  # fmt: skip

    def run(self, log: Path, command: list[str]) -> int:
        """Exit status of a command."""
        return self.start(log, command).wait(SECONDS)

    def clean(self, scene: Scene, root: str, chunk_frames: int) -> Summary:
        """Run a scene with nothing in its way."""
        return _annotate(scene, root, {"dask": self.dask, "chunk_frames": chunk_frames}, {})


def _annotate(scene: Scene, root: str, engine: Mapping[str, Any], settings: Mapping[str, Any]) -> Summary:
    videos, poses = (None, scene.address) if scene.of_poses else (scene.address, None)
    return annotate(videos, root, {"engine": engine, **settings}, poses, quiet=True)


@contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """Start what all faults share; ended with the context."""
    (folder / "s3").mkdir(parents=True)
    (folder / "work").mkdir()
    clips = folder / "clips"
    scenes.write_clips(clips)
    scenes.write_poses(folder / "poses.parquet")
    with serve(folder / "s3") as s3, _environment(s3.environment()), prefect_server() as wait, connect(None, 1) as client:
        for clip in clips.iterdir():
            Store(f"s3://{BUCKET}").write(f"clips/{clip.name}", clip.read_bytes())
        wait()
        yield Workshop(folder / "work", s3, _prefect_url(), str(client.scheduler.address))  # type: ignore[union-attr]


def _prefect_url() -> str:
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        del os.environ[name]
    os.environ.update({**variables, "AWS_EC2_METADATA_DISABLED": "true"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
