"""Commands that are killed, at any moment, and run again; and commands that work on one store at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from flows.annotate import annotate
from storage import runs
from storage.addresses import open_address
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import BY_POSES, assert_same, committed_parts, kill_when, published, start, tkm, wait_for_group

pytestmark = [pytest.mark.usefixtures("prefect_server", "shared_prefect"), pytest.mark.slow]

FRAMES = 60


def commits(store: Store, stage: str) -> int:
    """Chunks of a stage that are committed while it is not closed."""
    return len([name for name in store.list(f"chunks/{stage}") if name.endswith(".json")])


# Chunk length of the command, whether only its first process is killed, and when.
_Moment = tuple[int, bool, Callable[[Store], bool]]
MOMENTS: dict[str, _Moment] = {
    "as soon as the run is recorded": (4, False, lambda store: bool(store.list("runs"))),
    "after the index": (4, False, lambda store: bool(store.list("manifests/index"))),
    "in the first segment of a long video": (2, True, lambda store: commits(store, "suppress") >= 2),
    "between two stages of a chunk": (4, False, lambda store: commits(store, "detect") > commits(store, "suppress")),
    "far into the networks' pass": (4, False, lambda store: commits(store, "estimate") >= 9),
    "in the middle of track": (1, False, lambda store: commits(store, "track") >= 3),
    "in the middle of refine": (1, False, lambda store: commits(store, "refine") >= 2),
    "in the middle of publish": (1, False, lambda store: commits(store, "publish") >= 2),
    "in the middle of merging": (4, False, lambda store: store.size(f"tables/frames/_delta_log/{1:020d}.json") is not None),
}


@pytest.fixture(scope="module")
def undisturbed(demo_clip: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """What a run that nobody disturbs publishes."""
    output = str(tmp_path_factory.mktemp("undisturbed"))
    annotate(str(demo_clip), output, {"index": {"frames": f":{FRAMES}"}}, quiet=True)
    return published(Store(output))


def written(store: Store, names: set[str]) -> dict[str, object]:
    """When each object was written."""
    fs, base = open_address(store.root)
    facts = {name: fs.info(f"{base}/{name}") for name in names}
    return {name: fact.get("LastModified", fact.get("mtime")) for name, fact in facts.items()}


def test_killed_at_every_stage_it_goes_on_and_repeats_no_finished_chunk(
    any_root: str, demo_clip: Path, undisturbed: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    store = Store(any_root)
    command = ["annotate", str(demo_clip), "-o", any_root, "--frames", f":{FRAMES}", "--chunk-frames"]
    kept: dict[str, object] = {}
    for moment, (chunk_frames, only_first, is_time) in MOMENTS.items():
        process = start(tmp_path / "log", *command, str(chunk_frames))
        kill_when(process, lambda is_time=is_time: is_time(store), only_first=only_first)  # type: ignore[misc]
        wait_for_group(process)
        finished = committed_parts(store)
        assert kept.keys() <= finished, f"killed {moment}: what earlier commands had finished is gone"
        kept |= {name: time for name, time in written(store, finished).items() if name not in kept}
    done = tkm(*command, "7")
    assert done.returncode == 0, done.stderr
    assert "track" not in done.stdout.split("Frames computed:")[1], "tracking was finished before the last kill"
    assert_same(published(store), undisturbed)
    assert written(store, set(kept)) == kept, "finished chunks were written again"
    assert tkm("verify", any_root).returncode == 0
    again = tkm(*command, "32")
    assert "none, all was there" in again.stdout


def test_runs_over_one_store_at_once_all_end_right(any_root: str, people_clip: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(people_clip, videos / name)
    command = ["annotate", str(videos), "-o", any_root, "--chunk-frames", "3"]
    command += BY_POSES  # with a memory, ids do not end where boxes do not overlap
    others = [[], [], ["--track-iou-gate", "0.99"]]
    processes = [start(tmp_path / f"log{n}", *command, *other) for n, other in enumerate(others)]
    for n, process in enumerate(processes):
        assert process.wait(240) == 0, (tmp_path / f"log{n}").read_text()
    store = Store(any_root)
    ids = runs.all_runs(store)
    assert len(ids) == 3
    shown = published(store)
    for name, table in shown.items():
        of_latest = read_results(store, ids[-1], name).to_pandas()
        assert len(table) == len(of_latest), name
    poses = read_results(store, None, "poses").to_pandas()
    assert set(poses.run) <= set(ids)
    assert not poses.duplicated(["video", "frame", "detection"]).any()
    counts = [read_results(store, run, "tracks").num_rows for run in ids]
    assert len(set(counts)) == 2, "each run's own results stay, whatever the dataset shows"
    assert tkm("verify", any_root).returncode == 0
