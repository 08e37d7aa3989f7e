"""`--detections`: what of it is refused, which video gets what, and what a run then computes and publishes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from flows.again import wanted_again
from flows.annotate import Summary, annotate, rerun
from flows.detections import wanted_videos
from flows.preview import preview
from flows.render import render, still
from flows.settings import SettingsError, load_settings
from flows.status import run_status
from storage import runs
from storage.artifacts import Artifact
from storage.given import read_given
from storage.runs import read_plan
from storage.sources import InputError
from storage.store import Store, StoreError
from tasks.merge import read_results
from tasks.verify import verify_artifacts, verify_tables
from tests.flows.commands import BY_POSES, assert_same, by_poses, kill_when, published, start, tkm
from tkm.skeleton import POSETRACK_15

NAMES = ["head_bottom" if name == "neck" else name for name in POSETRACK_15.keypoints]
FRAMES = 6  # of people_clip
FIRST = by_poses(index={"frames": f":{FRAMES}"})


def person(frame: int, x_px: float = 100.0, **fields: Any) -> dict[str, Any]:
    """An entry of a PoseTrack file: somebody of some 70 x 150 px."""
    keypoints = [value for k in range(15) for value in (x_px + 5 * k, 100 + 30 * (k % 6), 1)]
    return {"image_id": frame, "category_id": 1, "keypoints": keypoints, "track_id": 0, **fields}


def document(video: str, frames: int, people: list[dict[str, Any]]) -> dict[str, Any]:
    """A file of PoseTrack 2018."""
    images = [{"id": n, "file_name": f"images/val/{video}/{n:06d}.jpg", "vid_id": video} for n in range(frames)]
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person", "keypoints": NAMES}]}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def pictures(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.full((300, 300, 3), 90, np.uint8))
    return folder


def given_rows(store: Store, input_: Path | None, detections: Path, images: Path | None = None) -> Mapping[str, pd.DataFrame]:
    """What each video, by its address's end, is given."""
    texts = [None if path is None else str(path) for path in (input_, detections, images)]
    wanted = wanted_videos(store, *texts, load_settings({}))
    return {
        uri.rpartition("/")[2]: read_given(store, str(params.sha256)).to_pandas()
        for uri, own in wanted.given.items()
        for params in own.values()
    }


RESULT = {"image_id": 20000020001, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.5}


def test_results_know_pictures_by_the_numbers_of_posetrack_or_by_their_names(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    pictures(tmp_path / "pt" / "000002_bonn_test", ["000001.jpg", "000003.jpg"])  # the second picture is frame 1
    dets = write(tmp_path / "pt.json", [RESULT, {**RESULT, "image_id": 20000020003, "score": 0.25}])
    found = given_rows(store, tmp_path / "pt", dets)["000002_bonn_test"]
    assert found[["frame", "box_x1", "box_y2", "box_score"]].to_numpy().tolist() == [[0, 10, 60, 0.5], [1, 10, 60, 0.25]]
    pictures(tmp_path / "coco", ["000000000785.jpg", "000000040083.jpg"])
    dets = write(tmp_path / "coco.json", [{**RESULT, "image_id": 40083}])
    assert given_rows(store, tmp_path / "coco", dets)["coco"].frame.tolist() == [1]


def test_images_tell_which_picture_an_id_is(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    one, two = document("one", 3, []), document("two", 2, [])
    for image in two["images"]:
        image["id"] += 100
    images = tmp_path / "images"
    write(images / "one.json", one), write(images / "two.json", two)
    keypoints = [float(value) for value in range(1, 52)]
    posed = {"image_id": 101, "category_id": 1, "keypoints": keypoints, "score": 0.5}
    lists = tmp_path / "results"
    write(lists / "a.json", [{**posed, "image_id": 2}]), write(lists / "b.json", [posed, {**posed, "image_id": 7}])
    found = given_rows(store, None, lists, images)
    assert {name: rows.frame.tolist() for name, rows in found.items()} == {"a.json#one": [2], "b.json#two": [1]}
    # In the 17 slots of PoseTrack's files of 2018, since the results are for such.
    columns = ["nose_x", "neck_x", "left_shoulder_y", "right_ankle_score"]
    assert found["b.json#two"][columns].to_numpy().tolist() == [[1, 4, 17, 51]]
    assert set(found["b.json#two"].skeleton) == {"posetrack_15"}
    wanted = wanted_videos(store, None, str(lists), str(images), load_settings({}))
    assert [note for note in wanted.notes if "1 of 2 results" in note]
    write(images / "two.json", document("two", 2, []))
    with pytest.raises(InputError, match="image id 0 is a picture of one and of two"):
        given_rows(store, None, lists, images)


def test_videos_and_files_go_together_by_name_and_what_is_left_aside_is_told(tmp_path: Path, demo_clip: Path) -> None:
    store, videos = Store(str(tmp_path / "out")), tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (videos / name).symlink_to(demo_clip)
    boxes = pd.DataFrame({"video": ["b", "a", "c"], "frame": 0, "box_x1": [1.0, 2, 3], "box_y1": 0.0})
    boxes["box_x2"] = boxes["box_y2"] = 90.0
    boxes.loc[0, "box_y2"] = 0.5
    boxes.to_parquet(tmp_path / "boxes.parquet")
    assert {name: rows.box_x1.tolist() for name, rows in given_rows(store, videos, tmp_path / "boxes.parquet").items()} == {
        "a.mp4": [2.0], "b.mp4": []
    }  # fmt: skip
    notes = wanted_videos(store, str(videos), str(tmp_path / "boxes.parquet"), None, load_settings({})).notes
    assert [" ".join(note.split()[-1:]) for note in notes] == ["c", "pixel"]
    boxes[1:].to_parquet(tmp_path / "boxes.parquet")
    with pytest.raises(InputError, match=r"nothing for 1 of the 2 videos: b; it has a, c"):
        given_rows(store, videos, tmp_path / "boxes.parquet")
    (videos / "below").mkdir()
    (videos / "b.mp4").rename(videos / "below" / "a.mp4")
    with pytest.raises(InputError, match="several videos are called a"):
        given_rows(store, videos, tmp_path / "boxes.parquet")


_GOOD = document("v", 2, [person(0)])
_BOX = {"frame": [0], "box_x1": [1.0], "box_y1": [1.0], "box_x2": [9.0], "box_y2": [9.0]}


@pytest.mark.parametrize(
    ("content", "images", "said"),
    [
        ([RESULT], None, "d.json is a list of results, which know their pictures by image id only"),
        ([RESULT], _GOOD, "d.json: none of its image ids, such as 20000020001, is a picture of"),
        ([{**RESULT, "image_id": 1}], _GOOD, "d.json holds boxes, in which poses have yet to be found: name the videos too"),
        ([{"image_id": 1, "keypoints": [1.0] * 51}], _GOOD, "d.json: results[0].score is missing"),
        ([{**RESULT, "image_id": 1, "bbox": [5, 5, -3, 1]}, {"image_id": 1, "score": 1, "keypoints": [1.0] * 51}], _GOOD,
         "d.json#images: frame 1 has a box that ends before it begins"),
        ([RESULT], {"annolist": [{"image": [{"name": "1.jpg"}]}]}, "tells no ids of its pictures"),
        ([RESULT], [], "images.json is a list of results"),
        (document("v", 0, []), None, "d.json tells neither of people nor of frames"),
        (document("v", 1, [person(3)]), None, "d.json: d: annotations[0].image_id must be the id of one of the images, not 3"),
        (document("v", 1, [person(0, bbox=[0, 0, 1e9, 5])]), None, "d.json: frame 0 has a box or keypoint more than"),
        (document("v", 1, [person(0, keypoints="x")]), None, "d.json: d: annotations[0].keypoints must be a list of 45"),
        (pd.DataFrame(_BOX), None, "d.parquet holds boxes"),
        (pd.DataFrame(_BOX)[:0], None, "d.parquet tells neither of people nor of frames"),
    ],
)  # fmt: skip
def test_poses_that_cannot_stand_alone_are_refused_and_nothing_is_written(
    content: Any, images: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / ("d.parquet" if isinstance(content, pd.DataFrame) else "d.json")
    content.to_parquet(path) if isinstance(content, pd.DataFrame) else write(path, content)
    told = None if images is None else write(tmp_path / "images.json", images)
    with pytest.raises(InputError) as refused:
        given_rows(Store(str(tmp_path / "out")), None, path, told)
    assert said in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_settings_that_do_not_go_with_given_poses_are_refused(tmp_path: Path) -> None:
    store, path = Store(str(tmp_path / "out")), str(write(tmp_path / "v.json", _GOOD))
    with pytest.raises(SettingsError, match="--split-shots looks at pictures"):
        wanted_videos(store, None, path, None, load_settings({"shots": {"split": True}}))
    with pytest.raises(InputError, match="--images goes with --detections"):
        wanted_videos(store, "video.mp4", None, path, load_settings({}))
    with pytest.raises(InputError, match="name the videos, or give --detections"):
        wanted_videos(store, None, None, None, load_settings({}))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "in" / "v.json", _GOOD), write(tmp_path / "in" / "below" / "v.json", _GOOD)
    with pytest.raises(InputError, match="several videos of one name: v"):
        given_rows(Store(str(tmp_path / "out")), None, tmp_path / "in")


def test_the_command_says_what_is_wrong_in_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"images": [')
    said = tkm("annotate", "--detections", str(broken), "-o", str(tmp_path / "out"))
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith(f"tkm: {broken}: ")
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_tracks_given_poses_by_oks_unless_features_are_asked_for(tmp_path: Path, shared_prefect: None) -> None:
    path, out = write(tmp_path / "v.json", document("v", 2, [person(0), person(1)])), tmp_path / "out"
    command = ["annotate", "--detections", str(path), "-o", str(out)]
    (tmp_path / "settings.toml").write_text('[track]\nsimilarity = "tkm"\n')
    for asked in (["--track-similarity", "tkm"], ["--refine"], ["--settings", str(tmp_path / "settings.toml")]):
        refused = tkm(*command, *asked)
        assert (refused.returncode, out.exists()) == (2, False)
        assert "looks at features of people's pictures" in refused.stderr
    done = tkm(*command)
    assert done.returncode == 0, done.stderr
    plan = read_plan(Store(str(out)), runs.find_run(Store(str(out)), None)).to_pylist()
    used = {row["stage"]: json.loads(row["params"]) for row in plan}
    assert list(used) == ["index", "poses", "suppress", "track", "publish"]
    assert used["track"]["similarity"] == "oks"


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory, people_clip: Path, prefect_server: None) -> tuple[Path, Path]:
    """A run by our own detector, and its boxes in a Parquet file."""
    root = tmp_path_factory.mktemp("detected")
    store = Store(str(root / "out"))
    run = annotate(str(people_clip), store.root, FIRST, quiet=True).run
    keys = {row["stage"]: row["key"] for row in read_plan(store, run).to_pylist()}
    Artifact(store, "detect", keys["detect"]).read().to_pandas().to_parquet(root / "boxes.parquet")
    return root / "out", root / "boxes.parquet"


def frames_of(summary: Summary) -> dict[str, int]:
    assert summary.failures == ()
    return {stage: count for stage, count in summary.frames.items() if count}


@pytest.mark.slow
def test_our_own_boxes_given_back_make_the_same_poses_bit_for_bit(
    detected: tuple[Path, Path], people_clip: Path, tmp_path: Path
) -> None:
    out, boxes = detected
    given = str(tmp_path / "given")
    summary = annotate(str(people_clip), given, FIRST, detections=str(boxes), quiet=True)
    assert frames_of(summary) == dict.fromkeys(("index", "boxes", "estimate", "suppress", "track", "publish"), FRAMES)
    assert_same(
        {name: rows.drop(columns="publish_key", errors="ignore") for name, rows in published(Store(given)).items()},
        {name: rows.drop(columns="publish_key", errors="ignore") for name, rows in published(Store(str(out))).items()},
    )
    assert frames_of(annotate(str(people_clip), given, FIRST, detections=str(boxes), quiet=True)) == {}
    sampled = annotate(str(people_clip), given, by_poses(index={"every": 5, "frames": ":6"}), detections=str(boxes), quiet=True)
    assert frames_of(sampled) == dict.fromkeys(("index", "boxes", "estimate", "suppress", "track", "publish"), 2)
    assert read_results(Store(given), None, "frames")["frame"].to_pylist() == [0, 5]
    stages = {stage.stage for stage in run_status(Store(given), sampled.run).stages}
    assert stages == {"index", "boxes", "estimate", "suppress", "track", "publish"}


@pytest.mark.slow
def test_videos_of_one_content_may_be_given_different_boxes(
    detected: tuple[Path, Path], people_clip: Path, tmp_path: Path
) -> None:
    rows = pd.read_parquet(detected[1])
    videos, boxes = tmp_path / "videos", tmp_path / "boxes.parquet"
    videos.mkdir()
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(people_clip, videos / name)
    rows = pd.concat([rows.assign(video="one"), rows[rows.frame < 4].assign(video="two")])
    rows.assign(video_frames=12).to_parquet(boxes)
    out = Store(str(tmp_path / "out"))
    assert frames_of(annotate(str(videos), out.root, FIRST, detections=str(boxes), quiet=True))["estimate"] == 2 * FRAMES

    def last_frames() -> dict[str, int]:
        poses = read_results(out, None, "poses").to_pandas()
        return {str(video).partition("-")[0]: frame for video, frame in poses.groupby("video", observed=True).frame.max().items()}

    assert last_frames() == {"one": 5, "two": 3}
    rows[(rows.video == "one") | (rows.frame < 2)].assign(video_frames=12).to_parquet(boxes)
    assert preview(str(videos), out, load_settings(FIRST), str(boxes)).missing == {
        "index": 0, "boxes": 1, "estimate": 1, "suppress": 1, "track": 1, "publish": 1,
    }  # fmt: skip
    changed = frames_of(annotate(str(videos), out.root, FIRST, detections=str(boxes), quiet=True))
    assert changed == dict.fromkeys(("boxes", "estimate", "suppress", "track", "publish"), FRAMES)
    assert last_frames() == {"one": 5, "two": 1}


@pytest.mark.slow
def test_published_poses_given_back_without_videos_are_tracked_the_same(detected: tuple[Path, Path], tmp_path: Path) -> None:
    out, _ = detected
    expected = DeltaTable(str(out / "tables" / "poses")).to_pandas().sort_values(["frame", "track_id"], ignore_index=True)
    expected.to_parquet(tmp_path / "poses.parquet")
    store = Store(str(tmp_path / "given"))
    summary = annotate(None, store.root, detections=str(tmp_path / "poses.parquet"), quiet=True)
    assert frames_of(summary) == dict.fromkeys(("index", "poses", "suppress", "track", "publish"), FRAMES)
    found = read_results(store, None, "poses").to_pandas().sort_values(["frame", "track_id"], ignore_index=True)
    same = [name for name in expected if name not in ("video", "run", "shard", "pts_ns", "detection", "pose_score", "skeleton")]
    pd.testing.assert_frame_equal(found[same], expected[same], check_exact=True)
    with pytest.raises(StoreError, match="was annotated from poses without pictures"):
        render(store, None, tmp_path / "renders")
    (tmp_path / "poses.parquet").unlink()
    again = rerun(store.root, None, "suppress", ["min_pose_score=0.999"], quiet=True)
    assert frames_of(again) == dict.fromkeys(("suppress", "track", "publish"), FRAMES)
    assert read_results(store, None, "poses").num_rows == 0
    assert read_results(store, summary.run, "poses").num_rows == len(expected)
    assert frames_of(rerun(store.root, None, "index", ["every=4"], quiet=True))["poses"] == 2
    with pytest.raises(SettingsError, match=r"shots\.split looks at pictures"):
        wanted_again(store, None, "shots", ["split=true"], [])


@pytest.mark.slow
def test_poses_alone_wherever_they_lie(any_root: str, prefect_server: None) -> None:
    store, output = Store(any_root), f"{any_root}/out"
    files = {
        "walk": document("walk", 4, [person(n, 100 + 8 * n, scores=[0.5] * 15) for n in range(4)]),
        "nobody": document("nobody", 3, []),
        "faint": document("faint", 1, [person(0), person(0, keypoints=[0] * 45)]),
    }
    for name, content in files.items():
        store.write(f"in/{name}.json", json.dumps(content).encode())
    first = annotate(None, output, detections=f"{any_root}/in", quiet=True)
    assert frames_of(first) == dict.fromkeys(("index", "poses", "suppress", "track", "publish"), 8)
    found = Store(output)
    videos = read_results(found, None, "videos").to_pandas().set_index("name")
    columns = ["video_frames", "frames", "poses", "tracks", "codec"]
    assert videos.loc["walk.json", columns].tolist() == [4, 4, 4, 1, "none"]
    assert videos.loc["nobody.json", columns].tolist() == [3, 3, 0, 0, "none"]
    assert videos.loc["faint.json", columns].tolist() == [1, 1, 1, 1, "none"]
    walk = read_results(found, None, "poses", videos=[videos.loc["walk.json", "video"]]).to_pandas().sort_values("frame")
    assert walk.neck_x.tolist() == [100 + 8 * n + 5 * POSETRACK_15.keypoints.index("neck") for n in range(4)]
    assert walk.pose_score.tolist() == [0.5] * 4
    assert walk.left_eye_x.isna().all()
    assert set(walk.skeleton) == {"posetrack_15"}
    store.write("in/nobody.json", json.dumps(document("nobody", 3, [person(1)])).encode())
    assert frames_of(annotate(None, output, detections=f"{any_root}/in/*.json", quiet=True)) == dict.fromkeys(frames_of(first), 3)
    assert not [line for stage in verify_artifacts(found, lambda _: None) for line in stage.damage]
    assert verify_tables(found).damage == ()


@pytest.mark.slow
def test_poses_over_pictures_and_a_video_of_another_length(tmp_path: Path, prefect_server: None) -> None:
    for video, frames in (("long", 3), ("short", 2)):
        pictures(tmp_path / "videos" / video, [f"{n}.png" for n in range(frames)])
        write(tmp_path / "in" / f"{video}.json", document(video, 3, [person(0)]))
    store = Store(str(tmp_path / "out"))
    summary = annotate(str(tmp_path / "videos"), store.root, detections=str(tmp_path / "in"), quiet=True)
    (failure,) = summary.failures
    assert (failure.stage, failure.is_permanent) == ("poses", True)
    assert "short has 2 frames, but what --detections gives for it speaks of 3 frames" in failure.message
    assert read_results(store, None, "videos")["name"].to_pylist() == ["long"]
    drawn = still(store, None, "long", 0)
    xy = np.array(person(0)["keypoints"]).reshape(15, 3)[:, :2]
    a, b = (xy[POSETRACK_15.keypoints.index(name)] for name in ("neck", "nose"))
    x, y = ((a + b) / 2).astype(int)
    assert (drawn[y, x] != 90).any(), "the limb from neck to nose is drawn"
    write(tmp_path / "in" / "short.json", document("short", 2, [person(0)]))
    mended = annotate(str(tmp_path / "videos"), store.root, detections=str(tmp_path / "in"), quiet=True)
    assert frames_of(mended) == dict.fromkeys(("poses", "suppress", "track", "publish"), 2)


@pytest.mark.slow
def test_a_killed_run_on_given_boxes_goes_on(
    detected: tuple[Path, Path], people_clip: Path, tmp_path: Path, shared_prefect: None
) -> None:
    out, boxes = detected
    given = Store(str(tmp_path / "given"))
    command = ["annotate", str(people_clip), "--detections", str(boxes), "-o", given.root]
    command += [*BY_POSES, "--frames", f":{FRAMES}", "--chunk-frames", "1"]
    process = start(tmp_path / "log", *command)
    kill_when(process, lambda: sum(name.endswith(".json") for name in given.list("chunks/estimate")) >= 2)
    said = tkm(*command)
    assert said.returncode == 0, said.stderr
    assert "boxes" not in said.stdout.partition("Frames computed")[2].partition("\n")[0]
    expected, found = published(Store(str(out)))["poses"], published(given)["poses"]
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
