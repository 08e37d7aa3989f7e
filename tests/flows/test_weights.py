"""Users' weights in whole runs: where they are kept, what another head computes again, what is refused before anything starts."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from flows.again import wanted_again
from flows.annotate import Summary, annotate, rerun
from flows.preview import preview
from flows.settings import SettingsError, load_settings
from flows.sides import side_of_store
from storage import runs
from storage.store import Store, StoreError
from tasks.merge import read_results
from tests.flows.commands import by_poses, tkm
from tests.heads import save_random_head
from tkm.networks.pose import PoseNetwork
from tkm.weights import WeightsError, digest

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

FRAMES, CHUNK = 6, 2
REFINED = {"track": {"similarity": "tkm"}, "refine": {"on": True}, "paths": {"tau": 2}}
EVERY = {"index": {"frames": f":{FRAMES}"}, "engine": {"chunk_frames": CHUNK}}
AFTER_EMBED = dict.fromkeys(("embed", "track", "paths", "refine", "publish"), FRAMES)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Head files of random weights, by name."""
    folder = tmp_path_factory.mktemp("heads")
    made = {
        "matching": ("matching", 0, 2), "other matching": ("matching", 1, 2), "body": ("body", 0, 2),
        "refinement": ("refinement", 0, 2), "other refinement": ("refinement", 1, 2), "of single frames": ("refinement", 0, 0),
    }  # fmt: skip
    return {
        name: str(save_random_head(folder / f"{name}.safetensors", kind, seed, tau))  # type: ignore[arg-type]
        for name, (kind, seed, tau) in made.items()
    }


@pytest.fixture(autouse=True)
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no user's weights yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def original(
    tmp_path_factory: pytest.TempPathFactory, people_clip: Path, prefect_server: None, heads: dict[str, str]
) -> tuple[Path, Summary]:
    """A store with one run that tracks by keypoint matching and refines."""
    root = tmp_path_factory.mktemp("weights")
    weights = {"matching": heads["matching"], "refinement": heads["refinement"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        return root / "out", annotate(str(people_clip), str(root / "out"), {**EVERY, **REFINED, "weights": weights}, quiet=True)


@pytest.fixture
def store(original: tuple[Path, Summary], tmp_path: Path) -> Store:
    """A copy of that store, to change."""
    shutil.copytree(original[0], tmp_path / "out")
    return Store(str(tmp_path / "out"))


def again(store: Store, stage: str, *changes: str, **weights: str) -> Summary:
    return rerun(store.root, None, stage, changes, [], {"engine": {"chunk_frames": CHUNK}, "weights": weights}, quiet=True)


def computed(summary: Summary) -> dict[str, int]:
    assert summary.failures == ()
    return {stage: frames for stage, frames in summary.frames.items() if frames}


def poses(store: Store, run: str | None = None) -> pd.DataFrame:
    """All numbers of the published poses."""
    rows = read_results(store, run, "poses").to_pandas().sort_values(["frame", "detection"], ignore_index=True)
    return rows.select_dtypes("number")


def sha256(address: str) -> str:
    return hashlib.sha256(Path(address).read_bytes()).hexdigest()


def test_a_run_keeps_weights_by_digest_and_addresses_in_its_facts(
    original: tuple[Path, Summary], heads: dict[str, str], people_clip: Path
) -> None:
    root, summary = original
    stages = ("index", "detect", "estimate", "suppress", *AFTER_EMBED)
    assert computed(summary) == dict.fromkeys(stages, FRAMES)
    store = Store(str(root))
    assert set(store.list("weights")) == {f"weights/{sha256(heads[name])}" for name in ("matching", "refinement")}
    weights = runs.read_facts(store, summary.run)[0]["settings"]["weights"]
    assert (weights["matching"], weights["pose"]) == (heads["matching"], None)
    params = {row["stage"]: row["params"] for row in runs.read_plan(store, summary.run).to_pylist()}
    assert sha256(heads["matching"]) in params["track"]
    assert sha256(heads["refinement"]) not in params["track"]
    detector = side_of_store(store, summary.run, []).detector
    assert detector == "NanoDet (score_threshold 0.25, nms_iou 0.5), poses by MoveNet Thunder"
    rows = poses(store)
    moved = np.hypot(rows.nose_x - rows.nose_initial_x, rows.nose_y - rows.nose_initial_y)
    assert moved.notna().all()
    assert (moved > 0).any(), "a refinement head of random weights moves keypoints"


def test_the_same_again_computes_nothing_also_where_the_file_has_another_name(
    store: Store, heads: dict[str, str], people_clip: Path, tmp_path: Path
) -> None:
    shutil.copy(heads["matching"], tmp_path / "renamed")
    weights = {"matching": str(tmp_path / "renamed"), "refinement": heads["refinement"], "body": heads["body"]}
    settings = {**EVERY, **REFINED, "weights": weights}
    found = preview(str(people_clip), store, load_settings(settings))
    assert (set(found.missing.values()), found.notes) == ({0}, ("--body-weights is not used: that takes --track-similarity tbm",))
    assert len(store.list("weights")) == 2, "a preview writes nothing"
    assert computed(annotate(str(people_clip), store.root, settings, quiet=True)) == {}


@pytest.mark.parametrize("role", ["matching", "refinement"])
def test_another_head_runs_embed_and_what_rests_on_it_and_no_network_of_the_first_run(
    store: Store, heads: dict[str, str], role: str
) -> None:
    before, first = poses(store), runs.all_runs(store)[-1]
    summary = again(store, "embed", **{role: heads[f"other {role}"]})
    assert computed(summary) == AFTER_EMBED
    after = poses(store)
    assert not after.equals(before)
    assert poses(store, first).equals(before), "URI@RUN stays what that run gave"
    same = [column for column in after if "_initial_" in column or column in ("frame", "detection", "box_score")]
    assert after[same].equals(before[same]), "what was detected and estimated is what it was"
    back = again(store, "embed", **{role: heads[role]})
    assert (computed(back), back.changed) == ({}, 1)
    assert poses(store).equals(before)


def test_a_rerun_without_the_option_keeps_the_heads_of_the_run_and_brings_them_from_the_store(store: Store) -> None:
    assert computed(again(store, "paths", "tau=1")) == {"paths": FRAMES, "refine": FRAMES, "publish": FRAMES}
    assert computed(again(store, "track", "similarity=iou")) == {"track": FRAMES, "publish": FRAMES}


def test_what_a_lost_feature_table_held_is_computed_again_and_no_more(store: Store) -> None:
    before = poses(store)
    part = sorted((Path(store.root) / "artifacts" / "embed").rglob("*.parquet"))[1]
    part.write_bytes(part.read_bytes()[:-7])
    assert computed(again(store, "refine")) == {"embed": CHUNK, "refine": FRAMES, "publish": FRAMES}
    assert poses(store).equals(before)


def test_heads_come_in_with_a_stage_that_the_run_did_not_have(
    heads: dict[str, str], people_clip: Path, tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "out"))
    first = annotate(str(people_clip), store.root, by_poses(**EVERY), quiet=True)
    tracked = again(store, "track", "similarity=tkm", matching=heads["matching"])
    assert computed(tracked) == {"embed": FRAMES, "track": FRAMES, "publish": FRAMES}
    assert poses(store).nose_initial_x.isna().all(), "the run refined nothing, and a rerun of it does not"
    embedded = rerun(store.root, first.run, "track", ["similarity=tkm"], [], EVERY, quiet=True)
    assert computed(embedded) == {"embed": FRAMES, "track": FRAMES, "publish": FRAMES}
    params = {row["stage"]: row["params"] for row in runs.read_plan(store, embedded.run).to_pylist()}
    assert digest("matching") in params["track"], "where no file is given, the head in the package"
    assert "refine" not in params
    changes = ("track.similarity=tbm", "refine.on=true", "paths.tau=0")
    weights = {"body": heads["body"], "refinement": heads["of single frames"]}
    by_itself = rerun(store.root, first.run, "embed", changes, [], {**EVERY, "weights": weights}, quiet=True)
    assert computed(by_itself) == {stage: FRAMES for stage in AFTER_EMBED if stage != "paths"}
    assert poses(store).nose_initial_x.notna().all()


def test_a_stage_that_is_not_run_again_does_not_change_under_its_takers(store: Store, heads: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"--stage track does not run embed again.*choose --stage embed"):
        again(store, "track", matching=heads["other matching"])
    with pytest.raises(SettingsError, match=r"--stage track does not run embed again.*choose --stage embed"):
        again(store, "track", "similarity=tbm", body=heads["body"])
    with pytest.raises(SettingsError, match=r"--set embed\.matching.*by its own option"):
        wanted_again(store, None, "embed", [f"matching={'0' * 64}"], [])


def test_heads_that_do_not_fit_are_refused_before_anything_starts(
    store: Store, heads: dict[str, str], people_clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"--matching-weights .*body\.safetensors is a body head"):
        again(store, "embed", matching=heads["body"])
    with pytest.raises(WeightsError, match=r"the run's refinement head .* and --refine-divisor is weights"):
        again(store, "refine", "divisor=weights")
    stranger = save_random_head(tmp_path / "stranger", "matching", pose_sha256="0" * 64)
    command = ["annotate", str(people_clip), "-o", str(tmp_path / "new"), "--track-similarity", "tkm"]
    done = tkm(*command, "--matching-weights", str(stranger))
    assert done.returncode == 2
    assert f"--matching-weights {stranger} was trained on features of movenet-thunder with the weights 00000000" in done.stderr
    assert "Traceback" not in done.stderr
    assert "starting" not in done.stderr
    assert not (tmp_path / "new").exists()
    done = tkm("rerun", store.root, "--stage", "embed", "--set", "paths.tau=0")
    assert done.returncode == 2
    assert "--paths-tau is 0" in done.stderr
    assert len(runs.all_runs(store)) == 1


def test_a_users_pose_network_runs_by_its_file_and_other_weights_estimate_again(people_clip: Path, tmp_path: Path) -> None:
    network = {"network": "resnet-50", "input_px": "256x192"}
    settings: dict[str, Any] = {"index": {"frames": ":1"}, "detect": {"score_threshold": 0.6}, "estimate": network}
    first, second = (str(random_checkpoint(tmp_path / f"{seed}.pth", seed)) for seed in (0, 1))
    store = Store(str(tmp_path / "out"))
    annotate(str(people_clip), store.root, {**settings, "weights": {"pose": first}}, quiet=True)
    before = poses(store)
    assert len(before) == 3
    detector = side_of_store(store, None, []).detector
    assert detector.endswith(f"(score_threshold 0.6, nms_iou 0.5), poses by resnet-50 (weights {sha256(first)[:8]})")
    summary = again(store, "estimate", pose=second)
    assert computed(summary) == dict.fromkeys(("estimate", "suppress", "track", "publish"), 1)
    assert not poses(store).equals(before)
    with pytest.raises(WeightsError, match=rf"--pose-weights {second}"):
        annotate(str(people_clip), store.root, {"estimate": {"network": "hrnet-w32"}, "weights": {"pose": second}}, quiet=True)


def random_checkpoint(path: Path, seed: int) -> Path:
    """A ResNet in a published layout that has learned nothing; its responses are raised, or nobody would score enough."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = PoseNetwork("resnet-50").keypoints.state_dict()
    state["head.final_layer.bias"] += 0.5
    published = {name.removeprefix("backbone.").removeprefix("head."): tensor for name, tensor in state.items()}
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in published.items()}}, path)
    return path


def test_poses_from_a_file_cannot_be_matched_by_features(
    store: Store, heads: dict[str, str], people_clip: Path, tmp_path: Path
) -> None:
    part = next((Path(store.root) / "artifacts" / "publish").rglob("*.parquet"))
    shutil.copy(part, tmp_path / "people.parquet")
    settings = {**EVERY, "track": {"similarity": "tkm"}, "weights": {"matching": heads["matching"]}}
    with pytest.raises(SettingsError, match="--track-similarity tkm looks at features of people's pictures"):
        annotate(None, str(tmp_path / "new"), settings, str(tmp_path / "people.parquet"), quiet=True)


def test_weights_that_a_store_has_lost_are_missed_before_results_are_withdrawn(store: Store, heads: dict[str, str]) -> None:
    store.delete(f"weights/{sha256(heads['refinement'])}")
    before = store.list("manifests").keys()
    with pytest.raises(StoreError, match="lacks the weights file"):
        again(store, "refine")
    assert store.list("manifests").keys() == before
    assert computed(again(store, "publish")) == {"publish": FRAMES}
