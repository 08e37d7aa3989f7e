from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.overlay import COLOURS
from flows.render import render, still
from storage.sources import Source
from storage.store import Store, StoreError
from storage.video import decode, probe
from tests.builders import standing
from tests.flows.results import HEIGHT_PX, PTS, WIDTH_PX, publish, walking, write_clip

ALL = list(range(len(PTS)))


@pytest.fixture
def clip(tmp_path: Path) -> Source:
    path = tmp_path / "walk.mp4"
    write_clip(path)
    return Source(str(path))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def pictures(source: Source) -> np.ndarray:
    info = probe(source)
    return np.stack([rgb for _, rgb in decode(source, info, np.arange(len(info)))]).astype(int)


def changed(picture: np.ndarray, original: np.ndarray) -> np.ndarray:
    """(H, W) bool; what H.264 alone changes stays far below."""
    return np.abs(picture.astype(int) - original.astype(int)).max(axis=-1) > 40


def test_overlay_video_has_the_sampled_frames_at_the_times_of_the_source(
    clip: Source, store: Store, tmp_path: Path
) -> None:
    sampled = ALL[3::2]
    video = publish(store, clip, sampled, walking(sampled), [0] * len(sampled))
    (path,) = render(store, None, tmp_path / "drawn")
    assert path == tmp_path / "drawn" / f"{video}.mp4"
    info, source_ns = probe(Source(str(path))), probe(clip).pts_ns[sampled]
    assert (info.width_px, info.height_px, info.codec) == (WIDTH_PX, HEIGHT_PX, "h264")
    np.testing.assert_allclose(info.pts_ns, source_ns - source_ns[0], atol=1000)
    assert list(path.parent.iterdir()) == [path], "something temporary was left behind"


def test_people_are_drawn_where_they_stand_and_nothing_else_is_touched(
    clip: Source, store: Store, tmp_path: Path
) -> None:
    poses = walking(ALL)
    publish(store, clip, ALL, poses, [0] * len(ALL))
    (path,) = render(store, None, tmp_path / "drawn", trail_frames=0)
    drawn, original = pictures(Source(str(path))), pictures(clip)
    for frame in (0, len(ALL) - 1):
        diff = changed(drawn[frame], original[frame])
        x, y = poses.xy_px[frame].astype(int).T
        assert diff[y, x].mean() > 0.8
        x1, y1, x2, y2 = poses.box_xyxy_px[frame].astype(int)
        assert diff[y1 : y2 + 1, x1].mean() > 0.8, "no left edge of the box"
        assert not diff[:100, x2 + 8 :].any(), "something was drawn beside the person"


def test_trail_reaches_back_as_far_as_asked(clip: Source, store: Store) -> None:
    poses = walking(ALL)
    publish(store, clip, ALL, poses, [0] * len(ALL))
    feet_y = int(poses.box_xyxy_px[0, 3])

    def drawn_at(frame: int, trail: int) -> bool:
        """Whether the foot point of `frame` is marked in the last frame."""
        x = 60 + 2 * frame
        rgb = still(store, None, "walk.mp4", ALL[-1], trail_frames=trail)
        without = still(store, None, "walk.mp4", ALL[-1], trail_frames=0)
        return bool((rgb[feet_y - 1 : feet_y + 2, x - 1 : x + 1] != without[feet_y - 1 : feet_y + 2, x - 1 : x + 1]).any())

    assert drawn_at(1, trail=30)
    assert not drawn_at(1, trail=5)


def test_still_is_the_frame_of_the_video(clip: Source, store: Store, tmp_path: Path) -> None:
    publish(store, clip, ALL, walking(ALL), [0] * len(ALL))
    (path,) = render(store, None, tmp_path / "drawn", trail_frames=4)
    drawn = pictures(Source(str(path)))
    rgb = still(store, None, "walk.mp4", 12, trail_frames=4)
    assert rgb.dtype == np.uint8
    assert np.abs(drawn[12] - rgb).mean() < 4
    assert np.abs(drawn[2] - rgb).mean() > 6, "the measure would not tell frames apart"


def test_each_track_has_its_own_colour_in_rgb(clip: Source, store: Store) -> None:
    poses = standing([0, 0], [(60, 100), (170, 100)])
    publish(store, clip, ALL, poses, [4, 7])
    rgb = still(store, None, "walk.mp4", 0)
    for row, track in enumerate((4, 7)):
        x1, _, _, y2 = poses.box_xyxy_px[row].astype(int)
        assert tuple(rgb[y2, x1]) == COLOURS.by_idx(track).as_rgb()


def test_weak_keypoints_are_left_out(clip: Source, store: Store) -> None:
    poses = walking([0])
    poses.score[:] = 0.1
    publish(store, clip, ALL, poses, [0])
    inside = np.s_[40:160, 35:85]  # of the box, off its edges and the label
    weak, every = (still(store, None, "walk.mp4", 0, trail_frames=0, min_keypoint_score=low)[inside] for low in (0.2, 0.05))
    original = pictures(clip)[0][inside]
    assert not changed(weak, original).any()
    assert changed(every, original).any()


def test_frames_without_people_and_odd_sizes_from_a_folder_of_images(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for n in range(3):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((201, 241, 3), 90, np.uint8))
    publish(store, Source(str(folder), "frames"), [0, 1, 2], walking([1]), [0])
    (path,) = render(store, None, tmp_path / "drawn")
    info = probe(Source(str(path)))
    assert (len(info), info.width_px, info.height_px) == (3, 242, 202)
    drawn = pictures(Source(str(path)))
    assert not changed(drawn[0][:150], np.full((150, 242, 3), 90)).any()
    assert changed(drawn[1][:150], np.full((150, 242, 3), 90)).any()


def test_videos_are_chosen_by_id_name_or_pattern(clip: Source, store: Store, tmp_path: Path) -> None:
    other = tmp_path / "run[1].mp4"
    write_clip(other)
    walk = publish(store, clip, [0], walking([0]), [0])
    run = publish(store, Source(str(other)), [0], walking([0]), [0])
    for wanted, ids in ((walk, [walk]), ("walk.mp4", [walk]), ("run[1].mp4", [run]), ("*.mp4", [run, walk]), (None, [run, walk])):
        drawn = render(store, None, tmp_path / "drawn", video=wanted)
        assert [path.stem for path in drawn] == ids
    with pytest.raises(StoreError, match=r"(?s)'jump\*'.*run\[1\]\.mp4.*walk\.mp4"):
        render(store, None, tmp_path / "drawn", video="jump*")


def test_a_source_that_is_gone_is_named_and_the_others_are_drawn(clip: Source, store: Store, tmp_path: Path) -> None:
    gone = tmp_path / "gone.mp4"
    write_clip(gone)
    publish(store, Source(str(gone)), ALL, walking(ALL), [0] * len(ALL))
    walk = publish(store, clip, [0], walking([0]), [0])
    gone.unlink()
    with pytest.raises(StoreError, match=r"(?s)gone\.mp4.*bring the video back.*other 1 "):
        render(store, None, tmp_path / "drawn")
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == [f"{walk}.mp4"]


def test_a_source_that_was_replaced_is_not_drawn_over(clip: Source, store: Store, tmp_path: Path) -> None:
    video = publish(store, clip, ALL, walking(ALL), [0] * len(ALL))
    earlier = tmp_path / "drawn" / f"{video}.mp4"
    earlier.parent.mkdir()
    earlier.write_bytes(b"earlier")
    write_clip(Path(clip.uri), PTS + 900 * np.arange(len(PTS)))
    with pytest.raises(StoreError, match="not the video that was annotated"):
        render(store, None, tmp_path / "drawn")
    assert earlier.read_bytes() == b"earlier"
    assert list(earlier.parent.iterdir()) == [earlier]


def test_errors_say_what_to_do(clip: Source, store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="tkm annotate"):
        render(store, None, tmp_path / "drawn")
    publish(store, clip, [0, 4, 8], walking([0]), [0])
    with pytest.raises(StoreError, match=r"frame 5 .* not sampled.*\[4\]"):
        still(store, None, "walk.mp4", 5)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="--output"):
        render(store, None, tmp_path / "file")


def test_progress_is_reported_for_every_frame(clip: Source, store: Store, tmp_path: Path) -> None:
    video = publish(store, clip, [0, 4, 8], walking([0]), [0])
    seen: list[tuple[str, int, int]] = []
    render(store, None, tmp_path / "drawn", report=lambda *facts: seen.append(facts))
    assert seen == [(video, 1, 3), (video, 2, 3), (video, 3, 3)]
