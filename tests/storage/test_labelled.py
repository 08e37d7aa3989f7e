"""Labelled images: the same people whatever the format, and pictures found where users keep them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from storage import frame_cache
from storage.labelled import KEYPOINT_BOX_MARGIN, LabelledImage, data_digest, hold_out, read_image, read_labelled
from storage.sources import InputError, Source
from storage.store import Store
from storage.video import decode, probe
from tests.storage.clips import picture, write_clip
from tkm.datasets import coco, posetrack17, posetrack18
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import COCO_17, POSETRACK_15, Skeleton

MINI = Path(__file__).resolve().parents[3] / "shared" / "data" / "mmpose_mini"
FRAMES = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tkm" / "frames"


def sequence(name: str = "walk", skeleton: Skeleton = POSETRACK_15, frames: int = FRAMES) -> Sequence:
    """Two people a frame but in the last, which has nobody; the first keypoint of each is hidden, the last is not given."""
    P, K = 2 * (frames - 1), len(skeleton.keypoints)
    frame = np.repeat(np.arange(frames - 1), 2)
    left_top = np.stack([10.0 + 20 * (np.arange(P) % 2), 5.0 + frame], axis=1)
    xy_px = left_top[:, None] + np.random.default_rng(4).uniform(1, 19, (K, 2)).round(2)
    xy_px[:, -1] = np.nan
    visibility = np.full((P, K), 2, np.int8)
    visibility[:, 0], visibility[:, -1] = 1, 0
    people = People(
        frame=frame,
        track_id=np.arange(P) % 2 + 7,
        score=np.full(P, np.nan),
        box_xyxy_px=np.concatenate([left_top, left_top + 20], axis=1),
        head_xyxy_px=np.concatenate([left_top, left_top + 5], axis=1),
        area_px2=np.full(P, 300.0),
        is_crowd=np.arange(P) % 2 == 1,
        xy_px=xy_px,
        keypoint_score=np.full((P, K), np.nan),
        visibility=visibility,
    )
    return Sequence(
        name=name,
        skeleton=skeleton,
        frame_names=tuple(f"images/{name}/{t:06d}.png" for t in range(frames)),
        image_id=1000 + np.arange(frames),
        is_labeled=np.ones(frames, np.bool_),
        size_px=np.tile(np.array([64, 48]), (frames, 1)),
        ignore_regions=((np.array([[0.0, 0], [9, 0], [9, 9]]),),) + ((),) * (frames - 1),
        people=people,
    )


def write(path: Path, document: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def write_pictures(root: Path, own: Sequence) -> None:
    for t, name in enumerate(own.frame_names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), picture(t)[..., ::-1])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as PoseTrack and `tkm synthesize --format frames` have it."""
    own = sequence()
    write(tmp_path / "data" / "annotations" / "walk.json", posetrack18.write(own))
    write_pictures(tmp_path / "data", own)
    return tmp_path / "data"


def test_people_boxes_and_keypoints_are_those_of_the_file(data: Path) -> None:
    labelled, own = read_labelled(str(data / "annotations"), None), sequence()

    assert [len(one) for one in labelled] == [2, 2, 2, 0]
    assert [one.name for one in labelled] == list(own.frame_names)
    assert {one.video for one in labelled} == {"walk"}
    np.testing.assert_array_equal(
        np.concatenate([one.box_xyxy_px for one in labelled]), own.people.box_xyxy_px.astype(np.float32)
    )
    np.testing.assert_array_equal(np.concatenate([one.xy_px for one in labelled]), own.people.xy_px.astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([one.visibility for one in labelled]), own.people.visibility)
    assert [one.track_id.tolist() for one in labelled[:3]] == [[7, 8]] * 3
    assert labelled[0].is_crowd.tolist() == [False, True]
    assert [len(one.ignore_regions) for one in labelled] == [1, 0, 0, 0]


def test_pictures_are_read_as_rgb(data: Path) -> None:
    labelled = read_labelled(str(data / "annotations"), None)

    for t, one in enumerate(labelled):
        np.testing.assert_array_equal(read_image(one), picture(t))


def test_posetrack_2017_has_boxes_around_keypoints(data: Path) -> None:
    truth = write(data / "annotations17" / "walk.json", posetrack17.write(sequence()))

    one = read_labelled(str(truth), str(data))[0]
    low, high = np.nanmin(one.xy_px, axis=1), np.nanmax(one.xy_px, axis=1)

    np.testing.assert_allclose(
        one.box_xyxy_px[:, 2:] - one.box_xyxy_px[:, :2], (high - low) * (1 + KEYPOINT_BOX_MARGIN), rtol=1e-5
    )
    np.testing.assert_allclose((one.box_xyxy_px[:, 2:] + one.box_xyxy_px[:, :2]) / 2, (high + low) / 2, rtol=1e-5)


def test_hidden_and_seen_are_told_apart_in_posetracks_own_way_too(data: Path) -> None:
    own = sequence()
    people = replace(own.people, visibility=np.where(own.people.visibility == 2, 1, 0).astype(np.int8))
    truth = write(data / "annotations" / "walk.json", posetrack18.write(replace(own, people=people)))

    one = read_labelled(str(truth), None)[0]

    np.testing.assert_array_equal(one.visibility, own.people.visibility[:2])


def test_keypoints_of_coco_count_from_corners_as_ours_do(tmp_path: Path) -> None:
    own = sequence(skeleton=COCO_17)
    own = replace(own, frame_names=tuple(f"{t:012d}.png" for t in range(FRAMES)))
    truth = write(tmp_path / "person_keypoints_val.json", coco.write_dataset([own]))
    write_pictures(tmp_path / "val", own)

    labelled = read_labelled(str(truth), str(tmp_path / "val"))

    assert [len(one) for one in labelled] == [2, 2, 2, 0]
    np.testing.assert_allclose(labelled[0].xy_px, own.people.xy_px[:2] + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(labelled[0].box_xyxy_px, own.people.box_xyxy_px[:2].astype(np.float32))
    np.testing.assert_array_equal(labelled[0].visibility, own.people.visibility[:2])


def test_pictures_without_a_folder_in_their_names_lie_in_images(tmp_path: Path) -> None:
    own = sequence(skeleton=COCO_17)
    own = replace(own, frame_names=tuple(f"{t:012d}.png" for t in range(FRAMES)))
    truth = write(tmp_path / "annotations" / "people.json", coco.write_dataset([own]))
    write_pictures(tmp_path / "images", own)

    labelled = read_labelled(str(truth), None)

    np.testing.assert_array_equal(read_image(labelled[1]), picture(1))


def test_frames_in_which_nobody_was_looked_for_are_left_out(data: Path) -> None:
    own = sequence()
    truth = write(
        data / "annotations" / "walk.json", posetrack18.write(replace(own, is_labeled=np.array([True, False, True, False])))
    )

    assert [one.name for one in read_labelled(str(truth), None)] == [own.frame_names[0], own.frame_names[2]]


def test_people_with_neither_box_nor_two_keypoints_are_left_out(data: Path) -> None:
    own = sequence()
    people = replace(own.people, box_xyxy_px=own.people.box_xyxy_px.copy(), xy_px=own.people.xy_px.copy())
    people.box_xyxy_px[0] = people.box_xyxy_px[2] = np.nan
    people.xy_px[0, 1:] = np.nan
    truth = write(data / "annotations" / "walk.json", posetrack18.write(replace(own, people=people)))

    labelled = read_labelled(str(truth), None)

    assert [one.track_id.tolist() for one in labelled] == [[8], [7, 8], [7, 8], []]


@pytest.mark.parametrize("images", ["", "images"])
def test_pictures_are_found_below_the_folder_that_is_given(data: Path, images: str) -> None:
    labelled = read_labelled(str(data / "annotations"), str(data / images))

    np.testing.assert_array_equal(read_image(labelled[2]), picture(2))


def test_another_videos_pictures_of_the_same_names_are_not_taken(data: Path) -> None:
    with pytest.raises(InputError, match=r"walk\.json tells of images/walk/000000\.png, but below .*images/walk"):
        read_labelled(str(data / "annotations"), str(data / "images" / "walk"))


def test_truth_and_pictures_may_lie_in_a_bucket(data: Path, s3_root: str) -> None:
    store = Store(s3_root)
    for path in data.rglob("*.*"):
        store.write(path.relative_to(data).as_posix(), path.read_bytes())

    labelled, here = read_labelled(f"{s3_root}/annotations/*.json", None), read_labelled(str(data / "annotations"), None)

    assert data_digest(labelled) == data_digest(here)
    np.testing.assert_array_equal(read_image(labelled[1]), read_image(here[1]))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder as `tkm synthesize` has it, with a video of 70 frames."""
    write(tmp_path / "clip" / "annotations_coco" / "walk.json", posetrack18.write(sequence(skeleton=COCO_17, frames=70)))
    (tmp_path / "clip" / "videos").mkdir()
    write_clip(tmp_path / "clip" / "videos" / "walk.mp4", frames=70)
    return tmp_path / "clip"


@pytest.mark.parametrize("number", [3, 66])
def test_frames_of_a_video_are_those_that_decoding_gives(clip: Path, number: int) -> None:
    one = read_labelled(str(clip / "annotations_coco"), None)[number]
    source = Source(str(clip / "videos" / "walk.mp4"))
    info = probe(source)
    decoded = {n: image.astype(int) for n, image in decode(source, info, np.arange(len(info)))}

    image = read_image(one).astype(int)

    assert (one.frame, one.image_uri) == (number, source.uri)
    errors = {n: np.abs(image - other).mean() for n, other in decoded.items()}
    assert min(errors, key=errors.__getitem__) == number
    assert errors[number] < 4
    np.testing.assert_array_equal(read_image(one), image)


def test_a_video_that_was_replaced_is_decoded_anew(clip: Path, cache: Path) -> None:
    one = read_labelled(str(clip / "annotations_coco"), None)[0]
    before = read_image(one)
    assert len(list(cache.rglob("*.jpg"))) == 64

    write_clip(clip / "videos" / "walk.mp4", frames=70, size=(32, 32))
    frame_cache._folder.cache_clear()
    frame_cache._info.cache_clear()

    assert before.shape == (48, 64, 3)
    assert read_image(one).shape == (32, 32, 3)


def test_a_video_of_another_length_is_refused(clip: Path) -> None:
    write_clip(clip / "videos" / "walk.mp4", frames=69)

    with pytest.raises(InputError, match=r"walk\.json tells of 70 frames, but .*walk\.mp4 has 69"):
        read_labelled(str(clip / "annotations_coco"), None)


def missing_picture(data: Path) -> str:
    (data / "images" / "walk" / "000001.png").unlink()
    return r"walk\.json tells of pictures that are not below .*data: images/walk/000001\.png"


def no_pictures(data: Path) -> str:
    (data / "images").rename(data / "elsewhere")
    return r"data: it holds no pictures .* give the folder of its pictures or videos with --images"


def nobody(data: Path) -> str:
    document = posetrack18.write(sequence())
    write(data / "annotations" / "walk.json", {**document, "annotations": []})
    return "annotations: there is nobody in it"


def two_skeletons(data: Path) -> str:
    other = sequence("run", COCO_17)
    write(data / "annotations" / "run.json", posetrack18.write(other))
    write_pictures(data, other)
    return r"run\.json have the keypoints of coco_17, those of .*walk\.json of posetrack_15"


def results(data: Path) -> str:
    (data / "annotations" / "walk.json").write_text("[]")
    return r"walk\.json: .*a list is COCO's results"


@pytest.mark.parametrize("spoil", [missing_picture, no_pictures, nobody, two_skeletons, results])
def test_what_is_wrong_is_named(data: Path, spoil: Callable[[Path], str]) -> None:
    said = spoil(data)

    with pytest.raises(InputError, match=said):
        read_labelled(str(data / "annotations"), None)


def test_truth_that_lies_anywhere_needs_the_folder_of_its_pictures(data: Path) -> None:
    truth = write(data / "walk.json", posetrack18.write(sequence()))

    with pytest.raises(InputError, match="--images"):
        read_labelled(str(truth), None)
    assert len(read_labelled(str(truth), str(data))) == FRAMES


def test_a_picture_that_is_gone_is_named_with_the_file_that_tells_of_it(data: Path) -> None:
    one = read_labelled(str(data / "annotations"), None)[0]
    Path(one.image_uri).unlink()

    with pytest.raises(InputError, match=r"000000\.png: there is no such file, but .*walk\.json tells of it"):
        read_image(one)


def test_the_digest_is_of_what_is_said_and_not_of_where_it_lies(data: Path, tmp_path: Path) -> None:
    digest = data_digest(read_labelled(str(data / "annotations"), None))
    data.rename(tmp_path / "moved")
    moved = read_labelled(str(tmp_path / "moved" / "annotations"), None)

    assert data_digest(moved) == digest
    assert data_digest(moved[1:]) != digest
    box = moved[0].box_xyxy_px + np.float32(1)
    assert data_digest([replace(moved[0], box_xyxy_px=box), *moved[1:]]) != digest
    assert data_digest([replace(moved[0], ignore_regions=()), *moved[1:]]) != digest


def videos(count: int) -> list[LabelledImage]:
    people = sequence().people
    K = len(POSETRACK_15.keypoints)
    return [
        LabelledImage(
            f"v{v}/{t}.png", None, "a.json", f"v{v}", f"v{v}/{t}.png", POSETRACK_15, people.box_xyxy_px[:1].astype(np.float32),
            np.full((1, K, 2), np.nan, np.float32), np.zeros((1, K), np.int8), np.zeros(1, np.int64), np.zeros(1, np.bool_),
        )
        for v in range(count) for t in range(3)
    ]  # fmt: skip


def test_held_out_videos_are_whole_and_stay_so_when_data_are_added() -> None:
    training, held = hold_out(videos(40), 0.25, seed=1)
    _, more = hold_out(videos(60), 0.25, seed=1)

    assert not {one.video for one in training} & {one.video for one in held}
    assert 3 <= len({one.video for one in held}) <= 20
    assert {one.name for one in held} == {one.name for one in more if int(one.video[1:]) < 40}
    assert {one.name for one in held} != {one.name for one in hold_out(videos(40), 0.25, seed=2)[1]}
    with pytest.raises(ValueError, match="leaves nobody held out"):
        hold_out(videos(40), 0.0, seed=1)


def test_of_one_video_pictures_are_held_out() -> None:
    pictures = [replace(one, video="all") for one in videos(40)]

    training, held = hold_out(pictures, 0.25, seed=1)

    assert len(training) + len(held) == 120
    assert 15 <= len(held) <= 45


def test_posetracks_and_cocos_own_files_are_read() -> None:
    if not MINI.is_dir():
        pytest.skip(f"{MINI} is not on this machine")
    posetrack = read_labelled(str(MINI / "posetrack18" / "annotations" / "val"), None)
    pictures = read_labelled(str(MINI / "coco" / "test_coco.json"), str(MINI / "coco"))

    assert (len(posetrack), sum(len(one) for one in posetrack)) == (3, 14)
    assert (len(pictures), sum(len(one) for one in pictures)) == (4, 14)
    assert set(np.unique(posetrack[0].visibility)) == {0, 2}
    assert any(one.ignore_regions for one in posetrack)
    for one in (*posetrack, *pictures):
        height_px, width_px = read_image(one).shape[:2]
        assert (one.box_xyxy_px[:, :2] < (width_px, height_px)).all()
