"""`tkm evaluate` as its users meet it: files of truth and of predictions, stores, tables, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distributed import LocalCluster

from flows.annotate import annotate
from flows.evaluate import evaluate
from flows.scoreboard import Evaluation
from storage import tables
from storage.artifacts import Artifact, all_keys
from storage.sources import InputError
from storage.store import Store
from tests.flows.commands import tkm
from tests.tkm.metrics_builders import BONN, needs_bonn, person, random_video, video
from tkm.datasets import posetrack17, posetrack18
from tkm.datasets.sequence import Sequence
from tkm.metrics.scores import COLUMNS, pool, score_video
from tkm.skeleton import POSETRACK_15

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

ENGINE: dict[str, Any] = {}
NAMES = ("000001_bonn_test", "000002_bonn_test", "000003_mpii_test")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One Dask cluster for all: what is tested here is not how one starts."""
    with LocalCluster(
        n_workers=1, threads_per_worker=3, resources={"CPU": 2, "GPU": 1}, host="127.0.0.1", dashboard_address=None
    ) as own:
        ENGINE["dask"] = own.scheduler_address
        yield


def write(folder: Path, sequences: list[Sequence], form: Any = posetrack18) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for sequence in sequences:
        (folder / f"{sequence.name}.json").write_text(json.dumps(form.write(sequence)))
    return str(folder)


def pairs() -> list[tuple[Sequence, Sequence]]:
    return [random_video(seed, name=name) for seed, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of truth and of predictions with track ids, three short videos."""
    root = tmp_path_factory.mktemp("files")
    both = pairs()
    return write(root / "truth", [truth for truth, _ in both]), write(root / "predictions", [found for _, found in both])


def scored(address: str, truth: str, output: Path | str, **params: Any) -> Evaluation:
    others = {name: params.pop(name) for name in ("against", "videos") if name in params}
    return evaluate(address, str(output), truth, {"protocol": "official", **params}, settings={"engine": ENGINE}, **others)


def annotated(detections: str, output: Path | str, images: str | None = None, **settings: Any) -> None:
    annotate(None, str(output), {"engine": ENGINE, **settings}, detections, images, quiet=True)


def totals(evaluation: Evaluation, *metrics: str) -> list[float | None]:
    return [evaluation.values[metric]["Total"] for metric in metrics]


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_files_of_predictions_score_as_their_arrays_do(files: tuple[str, str], tmp_path: Path, protocol: str) -> None:
    truth, predictions = files
    found = scored(predictions, truth, tmp_path, protocol=protocol, keypoint_threshold=0.4)
    expected = pool(score_video(*one, protocol, 0.4) for one in pairs())  # type: ignore[arg-type]
    of_points = ("ap_before_threshold", "ap_after_threshold")
    for metric in (*of_points, "mota", "motp", "precision", "recall", "hota", "idf1", "id_switches"):
        values = [found.values[metric][column] for column in COLUMNS]
        np.testing.assert_allclose(np.array(values, float), getattr(expected, metric), atol=1e-9, err_msg=metric)
    assert (found.videos, found.frames, found.protocol, found.keypoint_threshold) == (3, 36, protocol, 0.4)
    assert found.values["ap_before_threshold"] != found.values["ap_after_threshold"], "or the threshold does nothing"


def test_both_formats_of_posetrack_give_the_same_scores(files: tuple[str, str], tmp_path: Path) -> None:
    both = pairs()
    truth = write(tmp_path / "truth", [truth for truth, _ in both], posetrack17)
    predictions = write(tmp_path / "predictions", [found for _, found in both], posetrack17)
    old, new = scored(predictions, truth, tmp_path / "old"), scored(files[1], files[0], tmp_path / "new")
    for metric in ("ap_before_threshold", "mota", "hota", "idf1"):
        assert old.values[metric] == new.values[metric]


@needs_bonn
def test_bonn_scores_as_the_official_evaluator_recorded(tmp_path: Path) -> None:
    found = scored(str(BONN / "pred"), str(BONN / "gt"), tmp_path)
    recorded = json.loads((BONN / "poseval" / "total_MOT_metrics.json").read_text())
    for metric, official in (("mota", "mota"), ("motp", "motp"), ("precision", "pre"), ("recall", "rec")):
        values = [found.values[metric][column] for column in (*POSETRACK_15.keypoints, "Total")]
        np.testing.assert_allclose(np.array(values, float), recorded[official], atol=1e-6, err_msg=metric)
    assert found.values["mota"]["nose"] == pytest.approx(-7000)
    assert found.values["mota"]["Total"] == pytest.approx(-396.816, abs=1e-3)
    assert found.values["mota"]["Total with truth"] == pytest.approx(74.8, abs=0.05)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, files: tuple[str, str]) -> Path:
    """A store that `annotate --detections` filled with the poses of the predictions, tracked anew."""
    output = tmp_path_factory.mktemp("store") / "out"
    annotated(files[1], output, suppress={"min_pose_score": 0.0})
    return output


def test_a_store_is_scored_and_the_scores_are_tables(store: Path, files: tuple[str, str]) -> None:
    found = scored(str(store), files[0], store)
    assert found.detector == f"poses from {files[1]}"
    scores, by_video = (tables.read(Store(str(store)), name).to_pandas() for name in ("scores", "scores_by_video"))
    mine = scores[scores.evaluation == found.evaluation].set_index(["metric", "joint"])
    assert mine.value["mota", "Total with truth"] == found.values["mota"]["Total with truth"]
    assert set(mine.protocol) == {"official"}
    assert set(mine.detector) == {found.detector}
    assert set(mine.run) == set(tables.read(Store(str(store)), "videos")["run"].to_pylist())
    assert mine.keypoint_threshold.isna().all()
    assert (mine.videos == 3).all()
    own = by_video[(by_video.evaluation == found.evaluation) & (by_video.metric == "mota") & (by_video.joint == "Total")]
    assert own.set_index("video").value.to_dict() == {v: values["mota"]["Total"] for v, values in found.by_video.items()}
    assert len(own) == 3


def test_truth_stands_beside_the_poses_as_tables(store: Path, files: tuple[str, str]) -> None:
    scored(str(store), files[0], store)
    frames, people, videos = (
        tables.read(Store(str(store)), name).to_pandas() for name in ("truth_frames", "truth_poses", "videos")
    )
    assert set(frames.video) == set(people.video) == set(videos.video)
    truth = {name: one for name, (one, _) in zip(NAMES, pairs(), strict=True)}
    for video_id, name in videos.set_index("video").name.items():
        expected, mine = truth[Path(name).stem], people[people.video == video_id].reset_index(drop=True)
        assert mine.frame.tolist() == expected.people.frame.tolist()
        assert mine.track_id.tolist() == expected.people.track_id.tolist()
        wrist = POSETRACK_15.keypoints.index("left_wrist")
        np.testing.assert_array_equal(mine.left_wrist_x, expected.people.xy_px[:, wrist, 0])
        assert mine.left_eye_x.isna().all(), "PoseTrack has no eyes"
        assert frames[frames.video == video_id].is_labeled.tolist() == expected.is_labeled.tolist()


def test_scoring_again_computes_nothing_and_doubles_no_row(store: Path, files: tuple[str, str]) -> None:
    first = scored(str(store), files[0], store)
    root = Store(str(store))
    written = {path: path.stat().st_mtime_ns for path in (store / "artifacts").rglob("*.parquet")}
    rows = {name: tables.read(root, name).num_rows for name in ("scores", "scores_by_video", "truth_frames", "truth_poses")}
    assert scored(str(store), files[0], store) == first
    assert {path: path.stat().st_mtime_ns for path in (store / "artifacts").rglob("*.parquet")} == written
    assert {name: tables.read(root, name).num_rows for name in rows} == rows
    strict = scored(str(store), files[0], store, protocol="strict")
    assert strict.evaluation != first.evaluation
    assert tables.read(root, "scores").num_rows > rows["scores"], "another protocol stands beside the first"
    new = {path for path in (store / "artifacts").rglob("*.parquet") if path not in written}
    assert {path.parts[-3] for path in new} == {"score"}, "the truth and the OKS were there"


def test_a_damaged_score_is_computed_again(files: tuple[str, str], tmp_path: Path) -> None:
    first = scored(files[1], files[0], tmp_path)
    root = Store(str(tmp_path))
    key = sorted(all_keys(root)["score"])[0]
    part = tmp_path / Artifact(root, "score", key).chunks()[0].part.name
    part.write_bytes(part.read_bytes()[:-10])
    assert scored(files[1], files[0], tmp_path) == first


def test_results_of_two_runs_are_compared(store: Path, files: tuple[str, str], tmp_path: Path) -> None:
    truth = [one for one, _ in pairs()]
    perfect = write(tmp_path / "perfect", [with_scores(one) for one in truth])
    found = scored(perfect, files[0], tmp_path / "scores", against=str(store), protocol="strict")
    alone = scored(str(store), files[0], store, protocol="strict")
    assert found.against is not None
    assert found.against.detector == f"poses from {files[1]}"
    for name, metric in (("average_precision", "ap_after_threshold"), ("mota", "mota"), ("idf1", "idf1")):
        one = getattr(found.against.differences, name)
        expected = found.values[metric]["Total with truth"] - alone.values[metric]["Total with truth"]  # type: ignore[operator]
        assert one.difference == pytest.approx(expected)
        assert one.low <= one.difference <= one.high
        assert one.low > 0, "truth itself is better than anything"


def with_scores(truth: Sequence) -> Sequence:
    """Truth as predictions that are sure."""
    score = np.where(np.isnan(truth.people.xy_px[..., 0]), np.nan, 0.9)
    return replace(truth, people=replace(truth.people, keypoint_score=score))


def test_one_video_is_too_few_to_compare(files: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--against.*at least 2"):
        scored(files[1], files[0] + f"/{NAMES[0]}.json", tmp_path, against=files[1], videos=[NAMES[0]])


def test_truth_and_results_that_do_not_fit_together_are_named(files: tuple[str, str], tmp_path: Path) -> None:
    truth, predictions = files
    two = write(tmp_path / "two", [found for _, found in pairs()[:2]])
    with pytest.raises(InputError, match=f"no results for 1 of the 3 videos.*{NAMES[2]}"):
        scored(two, truth, tmp_path / "out")
    with pytest.raises(InputError, match=f"no truth for 1 videos.*{NAMES[2]}"):
        scored(predictions, write(tmp_path / "truth", [one for one, _ in pairs()[:2]]), tmp_path / "out")
    short = write(tmp_path / "short", [random_video(7, frames=5, name=NAMES[0])[1], *(found for _, found in pairs()[1:])])
    with pytest.raises(InputError, match=f"{NAMES[0]}: the results have 5 frames, the truth {NAMES[0]} has 12"):
        scored(short, truth, tmp_path / "out")
    wild = pairs()[0][1]
    ids = wild.people.track_id.copy()
    ids[0] = 10_000
    document = posetrack18.write(wild)
    document["annotations"][0]["track_id"] = 10_000
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / f"{NAMES[0]}.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"{NAMES[0]}.*frame {wild.people.frame[0]}.*10000"):
        scored(str(tmp_path / "wild"), truth + f"/{NAMES[0]}.json", tmp_path / "out")
    broken = tmp_path / "broken.json"
    broken.write_text('{"images": [')
    with pytest.raises(InputError, match=r"broken\.json.*not JSON"):
        scored(predictions, str(broken), tmp_path / "out")
    assert not (tmp_path / "out" / "tables").exists(), "nothing was published"


def test_chosen_videos_are_evaluated_and_truth_of_others_is_left_aside(files: tuple[str, str], store: Path) -> None:
    found = scored(str(store), files[0], store, videos=[NAMES[0], "000003*"])
    whole = scored(str(store), files[0], store)
    assert set(found.by_video) == {video for video in whole.by_video if not video.startswith(NAMES[1])}
    assert all(values == whole.by_video[video] for video, values in found.by_video.items())
    with pytest.raises(InputError, match=r"--videos elsewhere.*no video of that id or name"):
        scored(str(store), files[0], store, videos=["elsewhere"])


def test_frames_that_a_run_did_not_sample_but_the_truth_tells_of_are_an_error(files: tuple[str, str], tmp_path: Path) -> None:
    annotated(files[1], tmp_path / "every", index={"every": 2})
    with pytest.raises(InputError, match=r"frames that the run did not sample.*--every"):
        scored(str(tmp_path / "every"), files[0], tmp_path / "every")


def test_what_the_official_tool_crashes_on_has_an_answer(tmp_path: Path) -> None:
    """No predictions at all, one frame only, people without track ids, frames that nobody labelled."""
    truth = video([person(frame, 1, 10.0 * frame) for frame in range(4)], 6, is_labeled=[True] * 4 + [False] * 2)
    nobody = video([], 6)
    empty = scored(write(tmp_path / "nobody", [nobody]), write(tmp_path / "truth", [truth]), tmp_path / "out")
    assert totals(empty, "ap_after_threshold", "recall") == [0, 0]
    # Three frames are left, and each counts one miss and one false positive a joint: quirk 2 of the official protocol.
    assert totals(empty, "mota") == [pytest.approx(-100)]
    assert totals(scored(str(tmp_path / "nobody"), str(tmp_path / "truth"), tmp_path / "out", protocol="strict"), "mota") == [0]

    one = video([person(0, 1, 10.0)], 1)
    single = scored(write(tmp_path / "found1", [with_scores(one)]), write(tmp_path / "truth1", [one]), tmp_path / "out")
    assert totals(single, "ap_after_threshold", "mota") == [pytest.approx(100), None]
    assert any("last annotated frame" in note for note in single.notes)

    untracked = replace(with_scores(truth), people=replace(with_scores(truth).people, track_id=np.full(4, -1)))
    found = scored(write(tmp_path / "untracked", [untracked]), str(tmp_path / "truth"), tmp_path / "out")
    assert totals(found, "ap_after_threshold", "mota", "idf1") == [pytest.approx(100), None, None]
    assert any("No track ids" in note for note in found.notes)


def test_the_command_prints_the_papers_columns_and_what_they_rest_on(
    files: tuple[str, str], store: Path, shared_prefect: None, tmp_path: Path
) -> None:
    done = tkm("evaluate", str(store), "--truth", files[0], "--keypoint-threshold", "0.4")
    assert done.returncode == 0, done.stderr
    header = next(line for line in done.stdout.splitlines() if "Head" in line)
    assert header.split("┃")[2:-1] == sorted(header.split("┃")[2:-1], key=header.index)
    assert [name.strip() for name in header.strip("┃").split("┃")][1:] == [
        "Head", "Shou", "Elb", "Wri", "Hip", "Knee", "Ankl", "Total", "Total*"
    ]  # fmt: skip
    for said in ("mAP, all", "mAP, kept", "MOTA", "protocol: official", "keypoint threshold: 0.4", "detector: poses from"):
        assert said in done.stdout
    as_json = tkm("evaluate", files[1], "--truth", files[0], "--json")
    assert json.loads(as_json.stdout)["values"]["mota"]["Total"] is not None
    assert tkm("evaluate", str(store), "--truth", str(tmp_path / "none")).returncode == 2
    wrong = tkm("evaluate", str(store), "--truth", files[0], "--protocol", "lenient")
    assert wrong.returncode == 2
    assert "'official' or 'strict'" in wrong.stderr


def test_coco_truth_is_scored_by_oks(tmp_path: Path) -> None:
    names = ["nose", *(f"{side}_{joint}" for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
             for side in ("left", "right"))]  # fmt: skip
    rng = np.random.default_rng(3)
    people = [rng.uniform(50, 300, (17, 2)) for _ in range(3)]
    triples = [[float(value) for xy in one for value in (*xy, 2)] for one in people]
    images = [{"id": 100 + n, "file_name": f"{100 + n}.jpg", "width": 400, "height": 400} for n in range(3)]
    truth = {
        "images": images,
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
        "annotations": [
            {"id": n + 1, "image_id": 100 + n, "category_id": 1, "bbox": [50, 50, 250, 250], "area": 50_000.0, "iscrowd": 0,
             "num_keypoints": 17, "keypoints": one}
            for n, one in enumerate(triples)
        ],
    }  # fmt: skip
    results = [{"image_id": 100 + n, "category_id": 1, "keypoints": one, "score": 0.9} for n, one in enumerate(triples[:2])]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    output = tmp_path / "out"
    annotated(str(tmp_path / "results.json"), output, str(tmp_path / "truth.json"))
    found = scored(str(output), str(tmp_path / "truth.json"), output)
    assert "mota" not in found.values
    assert any("OKS only" in note for note in found.notes)
    assert found.values["oks_ar"]["Total"] == pytest.approx(200 / 3)
    assert found.values["oks_ap50"]["Total"] == pytest.approx(100 * 67 / 101), "precision 1 up to recall 2/3, in steps of 0.01"


def test_results_and_truth_may_lie_on_any_store(any_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ENGINE, "dask")  # its workers began before there was an S3 server
    both = pairs()[:2]
    truth, predictions = f"{any_root}/truth", f"{any_root}/predictions"
    for address, sequences in ((truth, [one for one, _ in both]), (predictions, [found for _, found in both])):
        for sequence in sequences:
            Store(address).write(f"{sequence.name}.json", json.dumps(posetrack18.write(sequence)).encode())
    output = f"{any_root}/out"
    annotated(predictions, output)
    found = scored(output, truth, output)
    rows = tables.read(Store(output), "scores").to_pandas()
    assert rows[(rows.metric == "mota") & (rows.joint == "Total")].value.tolist() == totals(found, "mota")
    assert isinstance(rows, pd.DataFrame)
