"""`tkm synthesize` as its users meet it: what it leaves, that equal orders give equal bytes, kills, and wrong usage."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.clips import checked_form, chosen_series, find_photos
from flows.settings import SettingsError
from storage.documents import find_documents, read_annotations
from storage.sources import InputError, find_sources
from storage.store import Store
from storage.video import decode, probe
from tests.flows.commands import kill_when, start, tkm, wait_for_group
from tkm.datasets.sequence import Sequence
from tkm.skeleton import COCO_17, POSETRACK_15
from tkm.synthetic.series import Series

pytestmark = pytest.mark.usefixtures("body_model")

FRAMES, FPS = 4, 12.5
SIZE = ("--frames", str(FRAMES), "--fps", str(FPS), "--width", "160", "--height", "96", "--people", "3")
CONTENT = ("--seed", "7", "--preset", "easy,crowd+camera", *SIZE)


def written(store: Store) -> dict[str, bytes]:
    return {name: store.read(name) for name in store.list("")}


@pytest.fixture(scope="module")
def dataset(body_model: object, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three clips, drawn by two processes. Read it, do not change it."""
    from prefect.settings import PREFECT_API_URL

    store = Store(str(tmp_path_factory.mktemp("dataset")))
    with pytest.MonkeyPatch.context() as patch:  # as `shared_prefect`, which is there for one test only
        patch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
        done = tkm("synthesize", store.root, "--videos", "3", *CONTENT, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 clips: 3 made")
    assert f"tkm annotate {store.root}/videos" in done.stdout
    return store


@pytest.mark.slow
def test_videos_and_files_of_truth_go_together_by_name_and_tell_the_same(dataset: Store) -> None:
    names = [source.name.removesuffix(".mp4") for source in find_sources(f"{dataset.root}/videos")]
    assert [name[:-9] for name in names] == ["000000_easy_s7", "000001_crowd-camera_s7", "000002_easy_s7"]
    image_ids: list[int] = []
    for source, name in zip(find_sources(f"{dataset.root}/videos"), names, strict=True):
        info = probe(source)
        assert (len(info), info.width_px, info.height_px, info.codec) == (FRAMES, 160, 96, "h264")
        np.testing.assert_allclose(info.pts_ns, np.arange(FRAMES) / FPS * 1e9, atol=1e5)
        pictures = np.stack([image for _, image in decode(source, info, np.arange(FRAMES))])
        assert pictures.std() > 5
        posetrack, coco = (read(f"{dataset.root}/{folder}/{name}.json") for folder in ("annotations", "annotations_coco"))
        assert (posetrack.name, posetrack.skeleton, coco.skeleton) == (name, POSETRACK_15, COCO_17)
        assert len(posetrack) == len(coco) == FRAMES
        one, other = posetrack.people, coco.people
        assert set(one.track_id.tolist()) <= {0, 1, 2}
        for field in ("frame", "track_id", "box_xyxy_px", "head_xyxy_px", "area_px2"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        for k, keypoint in enumerate(POSETRACK_15.keypoints):
            if keypoint in COCO_17.keypoints:
                j = COCO_17.keypoints.index(keypoint)
                np.testing.assert_array_equal(one.xy_px[:, k], other.xy_px[:, j])
                np.testing.assert_array_equal(one.visibility[:, k], other.visibility[:, j])
        image_ids += posetrack.image_id.tolist()
        document = json.loads(dataset.read(f"annotations/{name}.json"))
        visible = np.array([entry["bbox_visible"] for entry in document["annotations"]])
        full = np.array([entry["bbox"] for entry in document["annotations"]])
        assert (visible[:, :2] >= full[:, :2] - 1).all()
        assert (visible[:, :2] + visible[:, 2:] <= full[:, :2] + full[:, 2:] + 1).all()
        assert document["synthesis"]["number"] == int(name[:6])
        assert {entry["track_id"] for entry in document["annotations"]} <= {role["track_id"] for role in document["tracks"]}
    assert len(set(image_ids)) == 3 * FRAMES


def read(uri: str) -> Sequence:
    (found,) = read_annotations(uri)
    assert isinstance(found, Sequence)
    return found


@pytest.mark.slow
def test_manifests_list_every_file_with_its_digest(dataset: Store) -> None:
    manifests = [json.loads(dataset.read(name)) for name in dataset.list("manifests/clips")]
    listed = {file["name"]: file["sha256"] for manifest in manifests for file in manifest["files"]}
    files = {name: data for name, data in written(dataset).items() if not name.startswith(("manifests/", "bodies/"))}
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert len(listed) == 9


@pytest.mark.slow
def test_what_is_there_is_not_made_again_and_a_dry_run_tells_what_is_missing(dataset: Store) -> None:
    before = written(dataset)
    again = tkm("synthesize", dataset.root, "--videos", "2", *CONTENT)
    assert again.stdout.startswith("2 clips: 0 made, 2 there already")
    assert "starting" not in again.stderr
    would = tkm("synthesize", dataset.root, "--videos", "5", *CONTENT, "--dry-run")
    assert would.stdout.strip() == "5 clips: 3 there already, 2 would be made; nothing written"
    assert written(dataset) == before


@pytest.mark.slow
def test_killed_and_run_again_by_one_process_on_s3_the_bytes_are_the_same(
    dataset: Store, s3_root: str, shared_prefect: None, tmp_path: Path
) -> None:
    store = Store(f"{s3_root}/out")
    command = ["synthesize", store.root, *CONTENT, "--workers", "1", "--videos"]
    process = start(tmp_path / "log", *command, "40")
    kill_when(process, lambda: bool(store.list("manifests/clips")))
    wait_for_group(process)
    (name, *_) = sorted(store.list("annotations_coco"))
    store.write(name, store.read(name)[:-1])
    done = tkm(*command, "3", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = written(dataset)
    found = {name: store.read(name) for name in expected}
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.mark.slow
def test_photos_become_backgrounds_and_one_that_cannot_be_read_costs_only_its_clips(
    shared_prefect: None, tmp_path: Path, demo_clip: Path
) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(demo_clip.parents[2] / "docs" / "overlay.png", photos / "good.png")
    lot = [int(np.random.default_rng([1, number]).integers(2)) for number in range(2)]
    assert set(lot) == {0, 1}, "with this seed each photo is drawn"
    how = ("--seed", "1", *SIZE, "--format", "frames", "--backgrounds", str(photos))
    done = tkm("synthesize", str(output), "--videos", "2", *how, "--workers", "1")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert f"2 clips: {sum(lot)} made" in done.stdout
    assert f"{photos}/broken.jpg is not an image that can be read" in done.stdout
    sources = find_sources(f"{output}/images")
    assert [source.name[:6] for source in sources] == [f"{number:06d}" for number in range(2) if lot[number] == 1]
    for source in sources:
        info = probe(source)
        assert (len(info), info.width_px, info.height_px) == (FRAMES, 160, 96)
    assert sorted(uri.rpartition("/")[2] for uri in find_documents(f"{output}/annotations")) == [
        f"{source.name}.json" for source in sources
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--videos", "1", "--preset", "hard"], "no preset 'hard'; choose from easy, crowd, twins, dance, camera"),
        (["--videos", "1", "--backgrounds", "tests"], "this folder holds no"),
    ],
)
def test_wrong_usage_is_named_and_nothing_is_written(arguments: list[str], told: str, tmp_path: Path) -> None:
    done = tkm("synthesize", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_results_of_annotate_and_rendered_clips_do_not_mix(tmp_path: Path) -> None:
    Store(str(tmp_path)).write("runs/20260101-000000-abcdef/started.json", b"{}")
    done = tkm("synthesize", str(tmp_path), "--videos", "1")
    assert done.returncode == 2
    assert "holds results of `tkm annotate`" in done.stderr


def series(split: str | None = None, videos: int | None = None, presets: Items[str] = (), **content: Any) -> Series:
    return chosen_series(split, videos, presets, content.pop("backgrounds", None), content)


def test_options_become_a_series() -> None:
    assert series(videos=4, presets=["easy, twins", "crowd+camera"], seed=9, frames=None) == Series(
        4, seed=9, presets=("easy", "twins", "crowd+camera")
    )
    assert series("val").videos == 60
    assert list(series("train", 5).specs()) == list(series("train").specs())[:5]
    assert checked_form("frames", Series(1, width_px=161)) == "frames"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "--videos: say how many"),
        ({"videos": 0}, "videos must be 1 to"),
        ({"videos": 3, "presets": [""]}, "no preset ''"),
        ({"videos": 3, "people": 0}, "people must be"),
        ({"split": "test"}, "--split test: choose val or train"),
        ({"split": "val", "videos": 61}, "--split val has 60 clips; give 1 to 60"),
        ({"split": "val", "width_px": 640}, "--width: a --split is the same"),
        ({"split": "val", "seed": 0}, "--seed: a --split is the same"),
        ({"split": "val", "presets": ["easy"]}, "--preset: a --split is the same"),
        ({"split": "val", "backgrounds": "photos"}, "--backgrounds: a --split is the same"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told.replace("+", r"\+")):
        series(**options)


def test_a_form_of_pictures_that_there_is_not_is_named() -> None:
    with pytest.raises(SettingsError, match="--format avi: choose mp4 or frames"):
        checked_form("avi", Series(1))
    with pytest.raises(SettingsError, match="161 x 540: videos need even sides; or give --format frames"):
        checked_form("mp4", Series(1, width_px=161))


def test_backgrounds_that_are_not_there_are_named() -> None:
    with pytest.raises(InputError, match="no-such-folder: no such file or folder"):
        find_photos("no-such-folder")
