"""Tuning on clips whose networks "have run": handmade poses in real artifacts, tried by the stages' own functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

from flows.ablation_rows import BY_NAME, row_params
from flows.tuning import tuned
from storage.codecs import candidates_to_table, index_to_table
from storage.schemas import CANDIDATES
from storage.sources import Source
from storage.store import Store
from storage.video import VideoInfo
from tasks import estimate, index, suppress
from tasks.evaluation import import_truth
from tasks.execute import close_if_whole
from tasks.pipeline import PIPELINE
from tasks.plan import plan_video
from tasks.stage import Block, Params, Stage
from tasks.tuning import LOOSE, Clip, Setting, keypoint_scores, pooled_average_precision, pooled_mota, trials
from tests.builders import standing
from tests.tkm.metrics_builders import video
from tkm.datasets import posetrack18
from tkm.skeleton import COCO_17, POSETRACK_15, convert
from tkm.types import CandidateSet, PoseSet

FRAMES = 8
HIDDEN_PX = 30.0  # of the second person below the first: boxes overlap by 0.67, keypoints lie a third of a person apart


def poses() -> PoseSet:
    """Two people who walk one behind the other, the first of them found twice."""
    frame, centre, score = [], [], []
    for t in range(FRAMES):
        x = 100.0 + 4 * t
        frame += [t] * 3
        centre += [(x, 200.0), (x, 200 + HIDDEN_PX), (x, 205.0)]
        score += [0.9, 0.88, 0.45]
    return standing(frame, centre, score)


def clip(store: Store, folder: Path, found: PoseSet, every: int = 1) -> Clip:
    """A clip of these poses, with artifacts as the networks leave them; the first two of a frame are its people."""
    params: dict[str, Params] = {stage.name: stage.Params() for stage in PIPELINE}
    params |= {"suppress": LOOSE, "index": index.IndexParams(every=every)}
    plan = plan_video(store, Source("/walk.mp4"), f"{every}" * 64, params)
    P, K = found.score.shape
    nowhere = np.full((P, K, CANDIDATES), np.nan, np.float32)
    candidates = CandidateSet(
        xy_px=np.full((P, K, CANDIDATES, 2), np.nan, np.float32), response=nowhere, weighted=nowhere,
        cell=np.full((P, K, CANDIDATES), -1, np.int32), pose_cell=np.zeros((P, K), np.int32),
    )  # fmt: skip
    sampled = np.arange(FRAMES) % every == 0
    info = VideoInfo(640, 480, 0, "h264", np.arange(FRAMES) * 50_000_000, np.ones(FRAMES, np.bool_))
    people = candidates_to_table(found, candidates, COCO_17).filter(sampled[found.frame])
    block = Block(np.flatnonzero(sampled), info.pts_ns[sampled], (), {"estimate": people})
    kept = suppress.run(block, LOOSE)
    tables: tuple[tuple[Stage, object, int], ...] = (
        (index.STAGE, index_to_table(info, sampled), FRAMES),
        (estimate.STAGE, people, int(sampled.sum())),
        (suppress.STAGE, kept, int(sampled.sum())),
    )
    for stage, table, frames in tables:
        plan.artifact(stage).commit(0, frames, stage.checked(table), seconds=0.0, device="cpu")
        close_if_whole(plan, stage, frames)
    true = found.take(found.detection < 2)
    xy_px, _ = convert(true.xy_px.astype(np.float64), true.score.astype(np.float64), COCO_17, POSETRACK_15)
    rows = [(int(t), int(n), xy, np.ones(len(xy))) for t, n, xy in zip(true.frame, true.detection, xy_px, strict=True)]
    path = folder / "000001_bonn_test.json"
    path.write_text(json.dumps(posetrack18.write(video(rows, FRAMES, name="000001_bonn_test"))))
    (truth,) = import_truth(store, str(path))  # type: ignore[misc]
    return Clip(plan, None, truth)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def of_row(name: str, setting: Setting) -> dict[str, Params]:
    return row_params({stage.name: stage.Params() for stage in PIPELINE}, BY_NAME[name], setting, {})


def scores(store: Store, one: Clip, *settings: dict[str, Params], threshold: float | None = None) -> list[tuple[float, float]]:
    """MOTA and mAP of each setting."""
    found = trials(store, one, settings, [threshold])
    return [(pooled_mota(trial.counts, [trial.points]), pooled_average_precision([trial.points])) for trial in found]


def test_a_trial_scores_what_a_setting_keeps(store: Store, tmp_path: Path) -> None:
    one = clip(store, tmp_path, poses())
    settings = (of_row("M2", Setting(0.15)), of_row("M2", Setting(0.001)), of_row("M1", Setting(0.5)), of_row("M1", Setting(0.7)))
    right, doubled, one_lost, both = scores(store, one, *settings)
    assert right == both == pytest.approx((100, 100))
    assert doubled[0] == pytest.approx(50), "a duplicate is a false positive for every two people"
    assert one_lost[0] == pytest.approx(50), "who is half hidden is taken for a duplicate"
    assert len(keypoint_scores(store, one, settings[0])) == 2 * len(keypoint_scores(store, one, settings[2])) > 0


def test_keypoints_under_the_threshold_are_not_tracked_but_count_for_map(store: Store, tmp_path: Path) -> None:
    one = clip(store, tmp_path, poses())
    assert scores(store, one, of_row("M2", Setting(0.15)), threshold=0.5)[0] == pytest.approx((100, 100))
    mota, average_precision = scores(store, one, of_row("M2", Setting(0.15)), threshold=0.99)[0]
    assert mota < 0
    assert average_precision == pytest.approx(100)


def test_truth_of_frames_that_are_not_sampled_is_left_aside(store: Store, tmp_path: Path) -> None:
    assert scores(store, clip(store, tmp_path, poses(), every=2), of_row("M2", Setting(0.15)))[0] == pytest.approx((100, 100))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(processes=False, n_workers=1, threads_per_worker=2, resources={"CPU": 2}, dashboard_address=None) as own:
        yield own


def test_tuning_finds_the_setting_that_is_clearly_better_and_keeps_it(store: Store, tmp_path: Path, client: Client) -> None:
    one = clip(store, tmp_path, poses())
    params: dict[str, Params] = {stage.name: stage.Params() for stage in PIPELINE}
    found = tuned(client, store, BY_NAME["M1"], params, {}, [one])
    assert found.setting == Setting(0.7), "of those that keep both people the first, at the defaults of all else"
    assert (found.mota, found.average_precision) == pytest.approx((100, 100))
    pnms = tuned(client, store, BY_NAME["M2"], params, {}, [one])
    assert pnms.setting == Setting(0.15), "where all are as good, the default stays"
    gone: Client = None  # type: ignore[assignment] - what is kept needs no cluster
    assert tuned(gone, store, BY_NAME["M1"], params, {}, [one]) == found
    with pytest.raises(AttributeError):
        tuned(gone, store, BY_NAME["M3"], params, {}, [one])


def test_tuning_raises_the_floor_where_that_drops_ghosts(store: Store, tmp_path: Path, client: Client) -> None:
    found = poses()
    ghost_px = np.where(found.detection == 2, 300.0, 0.0).astype(np.float32)  # the third of a frame stands where nobody is
    apart = PoseSet(
        found.frame, found.detection, found.box_xyxy_px + ghost_px[:, None],
        np.where(ghost_px > 0, np.float32(0.2), found.box_score),
        found.xy_px + ghost_px[:, None, None], found.score,
    )  # fmt: skip
    one = clip(store, tmp_path, apart)
    params: dict[str, Params] = {stage.name: stage.Params() for stage in PIPELINE}
    assert tuned(client, store, BY_NAME["M2"], params, {}, [one]).setting == Setting(0.15, 0.2)
