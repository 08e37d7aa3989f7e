"""What never ends, or is far larger than it looks, stops at a limit, and the error names file, limit and remedy."""

from __future__ import annotations

import json
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import containers, reading, sources, weights
from storage.documents import read_annotations, read_document
from storage.http import MAX_ANSWER_BYTES
from storage.reading import LimitError
from storage.sources import InputError, Source, content_digest, find_sources, image_paths
from storage.store import Store
from storage.video import MAX_SIDE_PX, VideoError, decode, picture_of, probe
from tests.storage.clips import write_clip, write_images
from tests.web_server import Request, serve
from tkm.skeleton import COCO_17


@contextmanager
def soon(seconds: float = 60) -> Iterator[None]:
    """End the process's wait for what never ends: a test that hangs fails."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.timeout(60)
@pytest.mark.parametrize("read", [content_digest, probe], ids=["digest", "probe"])
def test_a_pipe_or_a_device_is_no_video(tmp_path: Path, read: Callable[[Source], object]) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(LimitError, match=rf"{path} is a pipe, a device or a socket, which may never end: give a file"):
            read(Source(str(path)))


@pytest.mark.timeout(60)
def test_a_pipe_is_no_list_no_annotations_and_no_weights(tmp_path: Path) -> None:
    for name in ("list.txt", "boxes.json", "heads.pth"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(LimitError, match=r"list\.txt is a pipe"):
        find_sources(str(tmp_path / "list.txt"))
    with pytest.raises(LimitError, match=r"boxes\.json is a pipe"):
        read_document(str(tmp_path / "boxes.json"))
    with pytest.raises(InputError, match=r"--pose-weights: .*heads\.pth is a pipe"):
        weights.keep(None, str(tmp_path / "heads.pth"), "--pose-weights")


def test_pipes_among_the_images_of_a_folder_are_none_of_its_frames_and_links_are(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", ["x.png"])
    folder = write_images(tmp_path / "frames", ["1.png", "3.png"])
    (folder / "2.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (folder / "4.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(folder / "5.png")
    source = Source(str(folder), "frames")
    assert [Path(path).name for path in image_paths(source)] == ["1.png", "2.png", "3.png"]
    assert len(content_digest(source)) == 64
    assert len(probe(source)) == 3


def endless(request: Request) -> None:
    request.begin(200, Transfer_Encoding="chunked", Content_Type="text/html")
    request.go_on_for_ever()


def endless_range(request: Request) -> None:
    """Tells a length, and then does not keep to it."""
    if request.command == "HEAD":
        request.begin(200, Content_Length=1000, Accept_Ranges="bytes")
    else:
        request.begin(206, Transfer_Encoding="chunked", Content_Range="bytes 0-999/1000")
        request.go_on_for_ever()


def huge(request: Request) -> None:
    request.begin(200, Content_Length=10**15, Accept_Ranges="bytes")


@pytest.mark.timeout(120)
def test_a_stream_without_end_is_not_read(tmp_path: Path) -> None:
    with serve({"/live.mp4": endless, "/liar.mp4": endless_range, "/huge.mp4": huge}) as url, soon():
        (live,) = find_sources(f"{url}/live.mp4")
        with pytest.raises(LimitError, match=rf"{url}/live\.mp4 is a stream, which may never end: .*copy it"):
            content_digest(live)
        with pytest.raises(OSError, match=rf"sent more than {MAX_ANSWER_BYTES // 2**20} MiB where less was asked for"):
            content_digest(Source(f"{url}/liar.mp4"))
        with pytest.raises(LimitError, match=r"huge\.mp4 has 1000000\.0 GB, and the limit is 1000 GB: .*--max-video-gb"):
            content_digest(Source(f"{url}/huge.mp4"))


@pytest.mark.timeout(120)
def test_lists_annotations_and_weights_without_end_are_not_read() -> None:
    with serve({"/list.txt": endless, "/boxes.json": endless, "/heads.pth": endless}) as url, soon():
        with pytest.raises(LimitError, match=r"list\.txt is a stream"):
            find_sources(f"{url}/list.txt")
        with pytest.raises(LimitError, match=r"boxes\.json is a stream"):
            read_annotations(f"{url}/boxes.json")
        with pytest.raises(InputError, match=r"--pose-weights: .*heads\.pth is a stream"):
            weights.keep(None, f"{url}/heads.pth", "--pose-weights")


def test_a_video_on_a_web_server_is_read_as_ever(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    data = clip.read_bytes()

    def give(request: Request) -> None:
        first, _, last = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        is_part = "Range" in request.headers
        told = {"Content_Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"} if is_part else {}
        request.begin(206 if is_part else 200, Content_Length=len(part), Accept_Ranges="bytes", **told)
        if request.command != "HEAD":
            request.wfile.write(part)

    with serve({"/clip.mp4": give}) as url:
        source, local = Source(f"{url}/clip.mp4"), Source(str(clip))
        assert find_sources(source.uri) == [source]
        assert content_digest(source) == content_digest(local)
        info = probe(source)
        wanted = info.pts_ns[:0].astype(int)
        assert len(info) == 40
        assert list(decode(source, info, wanted)) == []


def test_of_a_file_that_grows_what_it_had_is_read(tmp_path: Path) -> None:
    path, stop = tmp_path / "growing.mp4", threading.Event()
    path.write_bytes(bytes(8 * 2**20))

    def grow() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(bytes(2**20))
                file.flush()
                time.sleep(0.0005)
                if file.tell() > 2**30:
                    return

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        with soon(30):
            content_digest(Source(str(path)))
    finally:
        stop.set()
        growing.join()


def test_a_video_larger_than_the_limit_is_not_begun(tmp_path: Path) -> None:
    with (tmp_path / "sparse.mp4").open("wb") as file:
        file.truncate(3 * 10**12)
    with soon(10), pytest.raises(LimitError, match=r"sparse\.mp4 has 3000\.0 GB, and the limit is 1000 GB: .*--max-video-gb"):
        content_digest(Source(str(tmp_path / "sparse.mp4")))
    folder = write_images(tmp_path / "frames", ["1.png", "2.png"])
    with pytest.raises(LimitError, match="the limit is 1e-07 GB"):
        content_digest(Source(str(folder), "frames"), 100)


def test_annotations_larger_than_the_limit_are_not_read(tmp_path: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(10 * 10**9)
    with soon(10), pytest.raises(LimitError, match=r"big\.json has 10\.0 GB, and the limit is 1 GB: split it"):
        read_annotations(str(tmp_path / "big.json"))
    Store(s3_root).write("big.json", b"[" + b"1," * 1000 + b"1]")
    Store(s3_root).write("empty.json", b"")
    monkeypatch.setattr("storage.documents.MAX_DOCUMENT_BYTES", 1000)
    with pytest.raises(LimitError, match=r"big\.json has .* GB, and the limit is 1e-06 GB: split it"):
        read_document(f"{s3_root}/big.json")
    assert read_document(f"{s3_root}/empty.json") == b""


def test_more_images_or_frames_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_images(tmp_path / "frames", [f"{n}.png" for n in range(5)])
    monkeypatch.setattr(sources, "MAX_IMAGES", 4)
    with pytest.raises(LimitError, match="frames holds more than 4 images, which is the limit for a folder: split it"):
        probe(Source(str(folder), "frames"))
    monkeypatch.setattr(containers, "MAX_FRAMES", 39)
    for name in ("clip.mp4", "clip.avi"):  # counted by packets, and by decoding
        path = write_clip(tmp_path / name)
        with pytest.raises(VideoError, match=rf"{name} has more than 39 frames, which is the limit: split it"):
            probe(Source(str(path)))


@pytest.mark.parametrize("column", ["frame", "video_frames"])
def test_a_table_that_speaks_of_a_trillion_frames_is_refused(tmp_path: Path, column: str) -> None:
    box = {"box_x1": [1.0], "box_y1": [1.0], "box_x2": [9.0], "box_y2": [9.0]}
    pq.write_table(pa.table({"frame": [0], **box, column: [10**12]}), tmp_path / "boxes.parquet")
    with soon(10), pytest.raises(InputError, match=r"boxes\.parquet.* 1000000000000 is beyond the 10,000,000 frames"):
        read_annotations(str(tmp_path / "boxes.parquet"))


def test_a_table_that_unfolds_to_more_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = pa.array([0] * 2_000_000)
    pq.write_table(pa.table({"frame": zeros, "box_x1": zeros, "uri": zeros}), tmp_path / "zeros.parquet")
    assert (tmp_path / "zeros.parquet").stat().st_size < 100_000
    monkeypatch.setattr(reading, "MAX_TABLE_BYTES", 10**7)
    for read in (read_annotations, find_sources):
        with pytest.raises(InputError, match=r"zeros\.parquet.*2,000,000 rows take .* the limit is 0\.01 GB: split it"):
            read(str(tmp_path / "zeros.parquet"))


def png_of_zeros(width_px: int, height_px: int) -> bytes:
    """A PNG that tells this size, and holds the first of its rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    row = chunk(b"IDAT", zlib.compress(bytes(width_px * 3 + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + row + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("size_px", [(MAX_SIDE_PX + 1, 2), (12_000, 9_000), (1_000_000, 1), (60_000, 4_000)])
def test_a_picture_that_unfolds_to_gigabytes_is_refused_by_its_header(size_px: tuple[int, int]) -> None:
    with pytest.raises(VideoError, match=rf"bomb\.png has .*{MAX_SIDE_PX} .*limit: scale it down"):
        picture_of(png_of_zeros(*size_px), "bomb.png")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:2,\n{}\n", "ffconcat version 1.0\nfile '{}'\n", "<?xml?><MPD><BaseURL>{}</BaseURL></MPD>"]
)
def test_a_playlist_does_not_have_others_opened(tmp_path: Path, text: str) -> None:
    os.mkfifo(tmp_path / "never.ts")  # whoever opens it waits for ever
    (tmp_path / "list.mp4").write_text(text.format(tmp_path / "never.ts"))
    with pytest.raises(VideoError, match=r"list\.mp4 is a playlist or a web page"):
        probe(Source(str(tmp_path / "list.mp4")))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"annolist": ' * 20_000, '{"images": [{"id": 1' + "0" * 5000 + "}]}", '"\\ud800"'],
    ids=["nested", "nested objects", "digits", "surrogate"],
)
def test_crafted_json_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "crafted.json").write_text(text)
    with pytest.raises(InputError, match=r"crafted\.json"):
        read_annotations(str(tmp_path / "crafted.json"))


def test_a_name_of_many_digits_is_sorted_as_any(tmp_path: Path) -> None:
    names = [f"a/{'9' * 5000}.jpg", "a/10.jpg", "a/9.jpg"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}
    (tmp_path / "digits.json").write_text(json.dumps({"images": images, "annotations": [], "categories": [category]}))
    (found,) = read_annotations(str(tmp_path / "digits.json"))
    assert found.frame_names == tuple(reversed(names))
