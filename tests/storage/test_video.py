from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from storage.sources import Source
from storage.store import Store
from storage.video import MAX_SIDE_PX, VideoError, VideoInfo, decode, probe
from tests.storage import clips

KINDS: dict[str, Callable[[Path], Path]] = {
    "closed GOP": lambda folder: clips.write_clip(folder / "clip.mp4"),
    "open GOP": lambda folder: clips.write_clip(folder / "clip.mp4", options=clips.H264_OPEN_GOP),
    "open GOP, Matroska": lambda folder: clips.write_clip(folder / "clip.mkv", options=clips.H264_OPEN_GOP),
    "open GOP, transport stream": lambda folder: clips.write_clip(folder / "clip.ts", options=clips.H264_OPEN_GOP),
    "open GOP, HEVC": lambda folder: clips.write_clip(folder / "clip.mp4", "libx265", clips.HEVC_OPEN_GOP),
    "intra refresh": lambda folder: clips.write_clip(folder / "clip.mp4", options=clips.H264_INTRA_REFRESH),
    "variable rate": lambda folder: clips.write_clip(folder / "clip.mp4", pts_ms=clips.VFR_MS),
    "variable rate, open GOP, Matroska": lambda folder: clips.write_clip(
        folder / "clip.mkv", options=clips.H264_OPEN_GOP, pts_ms=clips.VFR_MS
    ),
    "raw stream without times": lambda folder: clips.write_clip(folder / "clip.h264"),
    "AVI": lambda folder: clips.write_clip(folder / "clip.avi", "mpeg4", {"g": "12"}),
    "AVI, B-frames": lambda folder: clips.write_clip(folder / "clip.avi", "mpeg4", {"g": "12", "bf": "2"}),
    "AVI, times that run backwards": lambda folder: clips.write_clip(folder / "clip.avi"),
    "VP8": lambda folder: clips.write_clip(
        folder / "clip.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "20", "b": "50k"}
    ),
    "VP9": lambda folder: clips.write_clip(folder / "clip.webm", "libvpx-vp9", {"lag-in-frames": "16", "g": "20"}),
    "MPEG-2": lambda folder: clips.write_clip(folder / "clip.mpg", "mpeg2video", {"g": "12", "bf": "2"}),
    "animated GIF": lambda folder: clips.write_clip(folder / "clip.gif", "gif", {}, pix_fmt="rgb8"),
    "portrait": lambda folder: clips.write_clip(folder / "clip.mp4", rotation=-90),
    "one frame": lambda folder: clips.write_clip(folder / "clip.mp4", frames=1),
}


def sequential(path: Path, rotation_degrees: int) -> list[np.ndarray]:
    """Every frame, by PyAV alone, from the first to the last."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [np.rot90(picture, rotation_degrees // 90) for picture in pictures]


def assert_decodes(
    source: Source, info: VideoInfo, expected: list[np.ndarray], frames: np.ndarray, threads: int = 1
) -> None:
    numbers, pictures = zip(*decode(source, info, frames, threads), strict=True)
    assert list(numbers) == frames.tolist()
    for number, picture in zip(numbers, pictures, strict=True):
        np.testing.assert_array_equal(picture, expected[number], err_msg=f"frame {number} of {frames}")


@pytest.mark.parametrize("write", KINDS.values(), ids=KINDS.keys())
def test_any_chunk_decodes_to_the_bits_of_sequential_decoding(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    source = Source(str(path))
    info = probe(source)
    expected = sequential(path, info.rotation_degrees)
    assert len(info) == len(info.is_key_frame) == len(expected)
    assert expected[0].shape == (info.height_px, info.width_px, 3)
    T = len(info)
    assert_decodes(source, info, expected, np.arange(T), threads=2)
    for start in range(T):
        assert_decodes(source, info, expected, np.arange(start, min(start + 7, T)))
    assert_decodes(source, info, expected, np.unique([0, T // 3, T - 1]))


def test_damage_between_distant_frames_does_no_harm(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "clip.mp4", frames=120, options=clips.H264_OPEN_GOP)
    source = Source(str(path))
    info = probe(source)
    expected = sequential(path, 0)
    for number in range(40, 70):
        clips.overwrite_packet(path, number)
    assert_decodes(source, info, expected, np.array([3, 97, 110]))


def test_times_are_exact_and_start_where_the_file_starts(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.mkv"):
        info = probe(Source(str(clips.write_clip(tmp_path / name, pts_ms=clips.VFR_MS))))
        np.testing.assert_array_equal(info.pts_ns, np.array(clips.VFR_MS) * 1_000_000)
        assert info.pts_ns.dtype == np.int64
    info = probe(Source(str(clips.write_clip(tmp_path / "clip.mpg", "mpeg2video", {"g": "12", "bf": "2"}))))
    assert info.pts_ns[0] > 0
    assert set(np.diff(info.pts_ns)) == {40_000_000}


@pytest.mark.parametrize("name", ["clip.h264", "clip.avi"])
def test_files_without_usable_times_run_at_their_rate(name: str, tmp_path: Path) -> None:
    info = probe(Source(str(clips.write_clip(tmp_path / name))))
    assert set(np.diff(info.pts_ns)) == {40_000_000}
    assert not info.is_key_frame.any()


def test_frames_that_share_a_time_stay_distinct(tmp_path: Path) -> None:
    times_ms = [n * 40 for n in range(40)]
    path = clips.write_clip(tmp_path / "clip.mkv", codec="mjpeg", options={}, pts_ms=times_ms, pix_fmt="yuvj420p")
    # Frame 11 opens a cluster, with its time in ms as element 0xe7: it gets frame 10's.
    data = path.read_bytes()
    assert data.count(b"\xe7\x82\x01\xb8") == 1
    path.write_bytes(data.replace(b"\xe7\x82\x01\xb8", b"\xe7\x82\x01\x90"))
    source = Source(str(path))
    info = probe(source)
    np.testing.assert_array_equal(info.pts_ns[9:13], [360_000_000, 400_000_000, 400_000_001, 440_000_000])
    assert_decodes(source, info, sequential(path, 0), np.array([10, 11, 12, 30]))


def test_key_frames_are_where_the_encoder_put_them(tmp_path: Path) -> None:
    info = probe(Source(str(clips.write_clip(tmp_path / "clip.mp4"))))
    np.testing.assert_array_equal(np.flatnonzero(info.is_key_frame), [0, 12, 24, 36])
    assert info.codec == "h264"


def test_frames_that_an_edit_list_hides_do_not_count(tmp_path: Path) -> None:
    times_ms = [(n - 10) * 40 for n in range(40)]
    path = clips.write_clip(
        tmp_path / "clip.mp4", pts_ms=times_ms, container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"}
    )
    source = Source(str(path))
    info = probe(source)
    expected = sequential(path, 0)
    assert len(info) == len(expected) == 30
    assert info.pts_ns[0] == 0
    for start in (0, 1, 13, 25):
        assert_decodes(source, info, expected, np.arange(start, start + 5))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_turns_pictures_upright_as_other_readers_do(rotation: int, tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "clip.mp4", rotation=rotation)
    source = Source(str(path))
    info = probe(source)
    assert (info.width_px, info.height_px) == ((48, 64) if rotation % 180 else (64, 48))
    assert info.rotation_degrees == rotation % 360
    ((_, picture),) = decode(source, info, np.array([0]))
    other = cv2.VideoCapture(str(path)).read()[1][:, :, ::-1]
    assert other.shape == picture.shape
    assert np.abs(picture.astype(int) - other).mean() < 5


def test_colours_follow_the_files_own_matrix(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    # BT.709 red in limited range, marked as such.
    y_cb_cr = (63, 102, 240)
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane, value in zip(frame.planes, y_cb_cr, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "colormatrix=bt709:qp=1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux([*stream.encode(frame), *stream.encode(None)])
    source = Source(str(path))
    ((_, picture),) = decode(source, probe(source), np.array([0]))
    assert np.abs(picture.reshape(-1, 3).mean(axis=0) - [255, 0, 0]).max() < 4


def test_names_with_spaces_and_other_letters(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "Zwölf Läufer %03d [1] 跑步.mp4", frames=3)
    source = Source(str(path))
    assert [number for number, _ in decode(source, probe(source), np.arange(3))] == [0, 1, 2]


def test_files_on_s3_decode_as_local_ones(tmp_path: Path, s3_root: str) -> None:
    path = clips.write_clip(tmp_path / "clip.mp4", options=clips.H264_OPEN_GOP)
    Store(s3_root).write("Läufer #1 100%.mp4", path.read_bytes())
    source = Source(f"{s3_root}/Läufer #1 100%.mp4")
    info = probe(source)
    assert_decodes(source, info, sequential(path, 0), np.array([5, 14, 38]))
    with pytest.raises(FileNotFoundError):
        probe(Source(f"{s3_root}/gone.mp4"))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda p: p.with_suffix(".mp4").write_bytes(b"") or p.with_suffix(".mp4"), "is an empty file"),
        (lambda p: p.with_suffix(".mp4").write_text("no video\n" * 99) and p.with_suffix(".mp4"), "is no video"),
        (lambda p: clips.truncate(clips.write_clip(p.with_suffix(".mp4")), 0.7), "is truncated"),
        (
            lambda p: clips.truncate(
                clips.write_clip(p.with_suffix(".mp4"), container_options={"movflags": "faststart"}), 0.7
            ),
            "is truncated: it ends early, after 2[0-9] frames",
        ),
        (lambda p: clips.truncate(clips.write_clip(p.with_suffix(".mkv"), frames=100), 0.6), "is truncated"),
        (lambda p: clips.truncate(clips.write_clip(p.with_suffix(".avi"), "mpeg4", {}), 0.6), "is truncated"),
        (lambda p: clips.write_empty_clip(p.with_suffix(".mp4")), "has no video stream"),
        (
            lambda p: clips.overwrite_packet(
                clips.write_clip(p.with_suffix(".mp4"), "mjpeg", {}, frames=1, pix_fmt="yuvj420p"), 0
            ),
            "no frames that can be decoded",
        ),
        (lambda p: clips.write_sound(p.with_suffix(".wav")), "has no video stream"),
        (lambda p: clips.write_clip(p.with_suffix(".mp4"), frames=1, size=(MAX_SIDE_PX + 8, 16)), "8200 x 16 pixels"),
        (lambda p: p.mkdir() or p, "is a folder"),
    ],
    ids=[
        *("empty", "text", "cut mp4", "cut mp4 with index", "cut mkv", "cut avi", "no frames", "undecodable"),
        *("sound", "too large", "folder"),
    ],
)
def test_what_can_never_be_read_says_why_and_names_the_file(
    write: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "clip")
    with pytest.raises(VideoError, match=said) as caught:
        probe(Source(str(path)))
    assert path.name in str(caught.value)


def test_a_codec_that_ffmpeg_does_not_know(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"qqqq"))
    with pytest.raises(VideoError, match=r"clip\.mp4.*(no decoder|can be decoded)"):
        probe(Source(str(path)))


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    clips.write_clip(tmp_path / "other.ts")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", f"{tmp_path}/other.ts", "#EXT-X-ENDLIST", ""]
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    with pytest.raises(VideoError, match=r"list\.m3u8 is a playlist"):
        probe(Source(str(tmp_path / "list.m3u8")))


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        probe(Source(str(tmp_path / "gone.mp4")))


def test_a_destroyed_frame_is_named_and_the_others_are_given(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "clip.mp4", codec="mjpeg", options={}, pix_fmt="yuvj420p")
    source = Source(str(path))
    expected = sequential(path, 0)
    clips.overwrite_packet(path, 30)
    info = probe(source)
    assert_decodes(source, info, expected, np.arange(30))
    assert_decodes(source, info, expected, np.arange(31, 40))
    with pytest.raises(VideoError, match=r"clip\.mp4: frame 30 \(at 1\.200 s\) cannot be decoded"):
        list(decode(source, info, np.arange(40)))


@pytest.mark.parametrize("frames", [[3, 2], [3, 3], [-1, 2], [39, 40]])
def test_frames_that_are_not_there_are_refused(frames: list[int], tmp_path: Path) -> None:
    source = Source(str(clips.write_clip(tmp_path / "clip.mp4")))
    with pytest.raises(ValueError, match=r"frames must ascend and lie in 0 \.\. 39"):
        list(decode(source, probe(source), np.array(frames)))


def test_no_frames_decode_to_nothing(tmp_path: Path) -> None:
    source = Source(str(clips.write_clip(tmp_path / "clip.mp4")))
    assert list(decode(source, probe(source), np.zeros(0, np.int64))) == []


def test_a_folder_of_images_is_a_video_at_25_fps(tmp_path: Path) -> None:
    source = Source(str(clips.write_images(tmp_path / "frames", [f"{n:06}.png" for n in range(12)])), "frames")
    info = probe(source)
    assert (info.width_px, info.height_px, info.codec) == (64, 48, "images")
    np.testing.assert_array_equal(info.pts_ns, np.arange(12) * 40_000_000)
    assert info.is_key_frame.all()
    assert_decodes(source, info, [clips.picture(n) for n in range(12)], np.array([0, 3, 11]))


def test_grey_images_and_images_with_alpha_become_rgb(tmp_path: Path) -> None:
    rgb = clips.picture(0)
    cv2.imwrite(str(tmp_path / "0.png"), rgb[:, :, 0])
    cv2.imwrite(str(tmp_path / "1.png"), np.dstack([rgb[:, :, ::-1], np.full((48, 64), 9, np.uint8)]))
    source = Source(str(tmp_path), "frames")
    assert_decodes(source, probe(source), [np.repeat(rgb[:, :, :1], 3, axis=2), rgb], np.arange(2))


def test_an_image_of_another_size_or_no_image_is_named(tmp_path: Path) -> None:
    clips.write_images(tmp_path, ["0.png", "1.png", "2.png", "3.png"])
    clips.write_images(tmp_path, ["2.png"], size=(32, 32))
    (tmp_path / "3.png").write_bytes(b"")
    source = Source(str(tmp_path), "frames")
    info = probe(source)
    with pytest.raises(VideoError, match=r"2\.png has 32 x 32 pixels"):
        list(decode(source, info, np.arange(4)))
    with pytest.raises(VideoError, match=r"3\.png is not an image"):
        list(decode(source, info, np.array([3])))
