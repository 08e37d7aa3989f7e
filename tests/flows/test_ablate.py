"""`tkm ablate` as its users meet it: real networks and heads of random weights on two short clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

from flows.ablate import Ablation, Data, ablate, prepare
from flows.ablation_report import markdown, write
from flows.annotate import annotate
from flows.evaluate import evaluate
from flows.settings import SettingsError, load_settings
from storage.artifacts import all_keys
from storage.store import Store
from tasks.merge import read_results
from tests.flows.commands import by_poses, tkm
from tests.heads import save_random_head
from tests.tkm.metrics_builders import video
from tkm.datasets import posetrack18
from tkm.skeleton import COCO_17, POSETRACK_15, convert
from tkm.weights import WeightsError

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

SAMPLED: dict[str, Any] = {"index": {"frames": ":8", "every": 2}}
ENGINE: dict[str, Any] = {}
NAMES = tuple(f"00000{n}_bonn_test" for n in (1, 2, 3))


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Dask cluster for all, on a machine without a user's weights: what is tested here is not how one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with LocalCluster(
            n_workers=1, threads_per_worker=3, resources={"CPU": 2, "GPU": 1}, host="127.0.0.1", dashboard_address=None
        ) as own:
            ENGINE["dask"] = own.scheduler_address
            yield


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("heads")
    made = {"matching": ("matching", 5), "body": ("body", 5), "refinement": ("refinement", 5), "self": ("refinement", 0)}
    return {name: str(save_random_head(folder / name, kind, n, tau)) for n, (name, (kind, tau)) in enumerate(made.items())}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, people_clip: Path, prefect_server: None) -> tuple[Data, Data]:
    """The clip twice, under two names, to report on, and once to tune on; truth is what is found on it, people as they stand."""
    root = tmp_path_factory.mktemp("ablation")
    for folder, names in (("val", NAMES[:2]), ("train", NAMES[2:])):
        (root / folder).mkdir()
        for name in names:
            shutil.copy(people_clip, root / folder / f"{name}.mp4")
    every = {**SAMPLED, "index": {"frames": ":8"}, "engine": ENGINE}
    annotate(str(people_clip), str(root / "first"), by_poses(**every), quiet=True)
    poses = read_results(Store(str(root / "first")), None, "poses").to_pandas()
    for folder, names in (("val", NAMES[:2]), ("train", NAMES[2:])):
        (root / f"{folder}-truth").mkdir()
        for name in names:
            document = posetrack18.write(video(_people(poses), 12, name=name))
            (root / f"{folder}-truth" / f"{name}.json").write_text(json.dumps(document))
    return tuple(Data(str(root / folder), str(root / f"{folder}-truth")) for folder in ("val", "train"))  # type: ignore[return-value]


def _people(poses: pd.DataFrame) -> list[Any]:
    xy_px = np.stack([poses[[f"{joint}_{axis}" for joint in COCO_17.keypoints]].to_numpy(float) for axis in "xy"], axis=-1)
    in_15, _ = convert(xy_px, np.ones(xy_px.shape[:2]), COCO_17, POSETRACK_15)
    return [(t, n, xy, np.ones(len(xy))) for t, n, xy in zip(poses.frame, poses.track_id, in_15, strict=True)]


def ablated(clips: tuple[Data, Data], output: Path, heads: dict[str, str], *rows: str) -> Ablation:
    files = {name: file for name, file in heads.items() if name != "self"}
    settings = {**SAMPLED, "engine": ENGINE, "weights": files}
    return ablate(*clips, str(output), rows, settings, heads.get("self"), quiet=True)


@pytest.fixture(scope="module")
def first(
    clips: tuple[Data, Data], heads: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Ablation]:
    output = tmp_path_factory.mktemp("ablated") / "out"
    return output, ablated(clips, output, heads, "M1", "M2", "M5", "M6", "M7", "G5", "M9")


def test_every_row_is_a_run_with_its_parameters_that_evaluates_to_what_the_table_says(
    first: tuple[Path, Ablation], clips: tuple[Data, Data]
) -> None:
    output, found = first
    assert [one.row.name for one in found.measured] == ["M1", "M2", "M5", "M6", "M7", "G5"]
    assert list(found.lacking) == ["M9"]
    assert found.sampling == "--every 2 --frames :8"
    best = found.measured[1]
    assert best.tuned.mota > 90, "the truth is what was found"
    params = {"protocol": "official", "keypoint_threshold": best.tuned.setting.keypoint_threshold}
    address = f"{output}@{best.evaluation.run}"
    again = evaluate(address, str(output), clips[0].truth, params, settings={"engine": ENGINE}, sampled_only=True)
    assert again.values == best.evaluation.values
    assert again.videos == 2


def test_rows_share_what_they_have_in_common(first: tuple[Path, Ablation]) -> None:
    keys = all_keys(Store(str(first[0])))
    contents = 1  # all clips are one content
    assert len(keys["detect"]) == len(keys["estimate"]) == contents
    settings = {(one.row.method, one.tuned.setting.nms, one.tuned.setting.min_pose_score) for one in first[1].measured}
    assert len(keys["suppress"]) == 1 + len(settings), "each setting, and the loose one that is tuned on"


def test_differences_are_between_rows_that_ran(first: tuple[Path, Ablation]) -> None:
    pairs = [(one.row.name, one.against.name) for one in first[1].compared]
    assert pairs == [("M2", "M1"), ("M5", "M2"), ("M6", "M5"), ("M7", "M5"), ("M7", "M6"), ("G5", "M5")]
    values = {one.row.name: one.evaluation.values["mota"]["Total with truth"] for one in first[1].measured}
    for one in first[1].compared:
        assert one.differences is not None
        expected = (values[one.row.name] or 0) - (values[one.against.name] or 0)
        assert one.differences.mota.difference == pytest.approx(expected)


def test_the_same_again_computes_nothing_and_says_the_same(
    first: tuple[Path, Ablation], clips: tuple[Data, Data], heads: dict[str, str]
) -> None:
    output, found = first
    before = {path: path.stat().st_mtime_ns for part in ("artifacts", "ablation") for path in (output / part).rglob("*.*")}
    again = ablated(clips, output, heads, "M1", "M2", "M5", "M6", "M7", "G5", "M9")
    after = {path: path.stat().st_mtime_ns for part in ("artifacts", "ablation") for path in (output / part).rglob("*.*")}
    assert after == before
    assert [one.tuned for one in again.measured] == [one.tuned for one in found.measured]
    assert [one.evaluation.values for one in again.measured] == [one.evaluation.values for one in found.measured]


def test_report_and_table_agree(first: tuple[Path, Ablation]) -> None:
    output, found = first
    report, table = write(Store(str(output)), "test", found)
    text, rows = (output / report).read_text(), pq.read_table(output / table).to_pandas()
    assert text == markdown(found)
    own = rows[rows.against.isna()].set_index(["row", "metric"]).value
    for name in ("M1", "M7", "G5"):
        line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {own[name, 'map']:.1f} | {own[name, 'mota']:.1f} |" in line


def test_what_cannot_run_is_said_before_anything_starts(
    clips: tuple[Data, Data], heads: dict[str, str], tmp_path: Path
) -> None:
    store, chosen = Store(str(tmp_path / "out")), load_settings({"weights": {"matching": heads["matching"]}})
    assert list(prepare(store, chosen, ["M3", "M5", "M8"], None, write=False).lacking) == ["M8"]
    with pytest.raises(SettingsError, match="row M8 needs --detect-network faster-rcnn-resnext-101"):
        prepare(store, chosen, ["M8"], None, write=False)
    assert prepare(store, chosen, ["M3", "M4", "M5", "M6", "M7"], None, write=False).lacking == {}, "the package has the others"
    of_hrnet = load_settings({"estimate": {"network": "hrnet-w48"}})
    with pytest.raises(SettingsError, match="row M4 needs --body-weights FILE, a head trained on hrnet-w48"):
        prepare(store, of_hrnet, ["M4"], None, write=False)
    with pytest.raises(WeightsError, match=r"--self-refinement-weights .*was trained over windows of 5 frames"):
        prepare(store, chosen, ["M6"], heads["refinement"], write=False)
    with pytest.raises(SettingsError, match=r"shots\.split"):
        prepare(store, load_settings({"shots": {"split": True}}), ["M1"], None, write=False)
    val, train = clips
    command = ["ablate", val.videos, "--truth", val.truth, "--tune-videos", train.videos, "--tune-truth", train.truth]
    done = tkm(*command, "-o", str(tmp_path / "out"), "--rows", "M8,N1")
    assert done.returncode == 2
    assert "row N1 needs --detect-network faster-rcnn-resnext-101" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
