import os
import re
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.sources import InputError, Source, content_digest, find_sources, fingerprint, image_paths
from storage.store import Store
from tests.storage.clips import write_images


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def found(input: object, below: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(source.uri, below), source.kind) for source in find_sources(str(input))]


def test_a_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "clip.mp4", "clip.bin")
    assert find_sources(str(tmp_path / "clip.mp4")) == [Source(f"{tmp_path}/clip.mp4", "video")]
    assert find_sources(str(tmp_path / "clip.bin")) == [Source(f"{tmp_path}/clip.bin", "video")]


def test_one_file_has_one_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/clip.mp4")
    monkeypatch.chdir(tmp_path)
    for name in ("a/clip.mp4", "./a/../a/clip.mp4", f"file://{tmp_path}/a/clip.mp4", "a", "a/", "a/*"):
        assert find_sources(name) == [Source(f"{tmp_path}/a/clip.mp4")]


def test_a_folder_holds_videos_and_folders_of_images(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a/c d ü.mkv", "a/notes.txt", "a/._c.mkv", ".cache/x.mp4")
    write_images(tmp_path / "images/val/000342_mpii_test", ["000000.jpg", "000001.jpg"])
    write_images(tmp_path / "images/val/000522_mpii_test", ["000000.PNG"])
    assert found(tmp_path, tmp_path) == [
        ("a/c d ü.mkv", "video"),
        ("b.MP4", "video"),
        ("images/val/000342_mpii_test", "frames"),
        ("images/val/000522_mpii_test", "frames"),
    ]
    assert found(tmp_path / "images/val/000342_mpii_test", tmp_path) == [("images/val/000342_mpii_test", "frames")]


def test_a_glob_names_files_and_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a1.mp4", "a2.mp4", "b1.mp4", "a3/deep/x.avi")
    assert found(tmp_path / "a*", tmp_path) == [("a1.mp4", "video"), ("a2.mp4", "video"), ("a3/deep/x.avi", "video")]
    assert found(tmp_path / "**/*.avi", tmp_path) == [("a3/deep/x.avi", "video")]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "take [1].mp4", "take 1.mp4")
    assert found(tmp_path / "take [1].mp4", tmp_path) == [("take [1].mp4", "video")]


def test_a_text_list_starts_at_its_folder_and_keeps_what_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "lists/../a.mp4", "lists/b.bin")
    write_images(tmp_path / "lists/seq", ["0.jpg"])
    lines = ["# training", "", "../a.mp4", "  b.bin  ", "seq", "../a.mp4", "gone.mp4", "s3://bucket/dir/c.mp4"]
    (tmp_path / "lists/clips.txt").write_text("\n".join([*lines, f"{tmp_path}/d.mov"]), encoding="utf-8")
    assert find_sources(str(tmp_path / "lists/clips.txt")) == [
        Source(f"{tmp_path}/a.mp4"),
        Source(f"{tmp_path}/d.mov"),
        Source(f"{tmp_path}/lists/b.bin"),
        Source(f"{tmp_path}/lists/gone.mp4"),
        Source(f"{tmp_path}/lists/seq", "frames"),
        Source("s3://bucket/dir/c.mp4"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "uri\na.mp4\nb.mp4\n",
        "split,uri\ntrain,a.mp4\nval,b.mp4\n",
        "file\na.mp4\nb.mp4\n",
        "a.mp4\nb.mp4\n",
        "\ufeffuri\r\na.mp4\r\n\r\nb.mp4\r\n",
    ],
)
def test_a_csv_list(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert found(tmp_path / "list.csv", tmp_path) == [("a.mp4", "video"), ("b.mp4", "video")]


def test_a_parquet_list(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2, 3], "uri": ["b.mp4", "a.mp4", None]}), tmp_path / "list.parquet")
    assert found(tmp_path / "list.parquet", tmp_path) == [("a.mp4", "video"), ("b.mp4", "video")]


def test_input_that_names_nothing_says_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, "none/readme.md")
    (tmp_path / "empty.txt").write_text("# nothing yet\n")
    (tmp_path / "list.csv").write_text("path,split\na.mp4,train\n")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    (tmp_path / "latin.txt").write_bytes("für.mp4".encode("latin-1"))
    pq.write_table(pa.table({"path": ["a.mp4"]}), tmp_path / "list.parquet")
    for name, said in {
        "gone": "no such file or folder",
        "none": "no videos in this folder",
        "*.mov": "no video matches this pattern",
        "empty.txt": "names no videos",
        "list.csv": "no column `uri`, only path, split",
        "list.parquet": "no column `uri`, only path",
        "bad.parquet": "cannot be read as a list",
        "latin.txt": "cannot be read as a list",
    }.items():
        with pytest.raises(InputError, match=said) as caught:
            find_sources(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(InputError, match="nosuch://x"):
        find_sources("nosuch://x/a.mp4")


NAMES = ["Zwölf Läufer 1.mp4", "100%.mp4", "a+b#c.mp4", "take [1].mp4", "what? %20.mp4", "x::y.mp4"]


def test_addresses_on_s3_work_like_paths(s3_root: str) -> None:
    store = Store(s3_root)
    for name in NAMES:
        store.write(f"videos/day 2/{name}", name.encode())
    store.write("videos/seq/2.jpg", b"2")
    store.write("videos/seq/10.jpg", b"10")
    store.write("videos/notes.md", b"")
    store.write("videos/list.txt", "\n".join([*(f"day 2/{name}" for name in NAMES), "seq"]).encode())
    clips = [Source(f"{s3_root}/videos/day 2/{name}") for name in sorted(NAMES)]
    frames = Source(f"{s3_root}/videos/seq", "frames")
    assert find_sources(f"{s3_root}/videos") == find_sources(f"{s3_root}/videos/list.txt") == [*clips, frames]
    assert find_sources(s3_root.replace("s3:", "s3a:")) == [*clips, frames]
    assert find_sources(f"{s3_root}/videos/*/*.mp4") == clips
    for clip, name in zip(clips, sorted(NAMES), strict=True):
        assert find_sources(clip.uri) == [clip]
        assert content_digest(clip) == sha256(name.encode()).hexdigest()
    assert [path.rpartition("/")[2] for path in image_paths(frames)] == ["2.jpg", "10.jpg"]
    for nothing in ("gone", "videos/gone.mp4", "videos/gone*.mp4"):
        with pytest.raises(InputError, match=r"no such file|no video matches"):
            find_sources(f"{s3_root}/{nothing}")


def test_the_fingerprint_sees_what_is_replaced_on_s3(s3_root: str) -> None:
    store = Store(s3_root)
    clip, frames = Source(f"{s3_root}/a.mp4"), Source(f"{s3_root}/seq", "frames")
    for content in (b"one", b"two"):
        store.write("a.mp4", b"one")
        store.write("seq/0.jpg", b"one")
        assert len(find_sources(s3_root)) == 2
        before = [fingerprint(clip), fingerprint(frames)]
        assert before == [fingerprint(clip), fingerprint(frames)]
        store.write("a.mp4", content)
        store.write("seq/0.jpg", content)
        is_same = [old == new for old, new in zip(before, [fingerprint(clip), fingerprint(frames)], strict=True)]
        assert is_same == [content == b"one"] * 2, "of the same size, told apart by what they hold"
    with pytest.raises(FileNotFoundError):
        fingerprint(Source(f"{s3_root}/gone.mp4"))


def test_ids_are_readable_safe_unique_and_stable() -> None:
    assert Source("/data/walk 01.mp4").video_id == "walk_01-cf69cbfa"
    uris = ["/a/clip.mp4", "/b/clip.mp4", "/a/clip.mov", "s3://a/clip.mp4", "/a/" + "x" * 300 + ".mp4"]
    uris += ["/a/跑步.mp4", "/a/o'x; DROP.mp4", "/a/seq"]
    ids = [Source(uri).video_id for uri in uris]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,48}-[0-9a-f]{8}", name) for name in ids)
    assert ids[5].startswith("video-")
    assert Source("/data/läufer.mp4").video_id.startswith("laufer-")
    assert Source("/data/000342_mpii_test", "frames").video_id.startswith("000342_mpii_test-")
    several = [Source(f"/data/poses.parquet#{name}", "poses").video_id for name in ("one", "two")]
    assert [name[:-9] for name in several] == ["one", "two"], "not of their common file"


def test_the_digest_is_of_content_not_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b.mp4").write_bytes(b"x" * 3_000_000)
    (tmp_path / "c.mp4").write_bytes(b"x" * 2_999_999 + b"y")
    digests = [content_digest(Source(str(tmp_path / name))) for name in ("a.mp4", "b.mp4", "c.mp4")]
    assert digests[0] == digests[1] != digests[2]
    assert re.fullmatch("[0-9a-f]{64}", digests[0])


def test_the_digest_of_a_folder_of_frames_sees_order_and_content(tmp_path: Path) -> None:
    def digest(folder: str, **images: bytes) -> str:
        (tmp_path / folder).mkdir()
        for name, content in images.items():
            (tmp_path / folder / f"{name}.jpg").write_bytes(content)
        (tmp_path / folder / "notes.txt").write_text(folder)
        return content_digest(Source(str(tmp_path / folder), "frames"))

    one = digest("one", f2=b"A", f10=b"B")
    assert one == digest("renamed", g0=b"A", g1=b"B")
    assert one != digest("swapped", f2=b"B", f10=b"A")
    assert one != digest("longer", f2=b"A", f10=b"B", f11=b"B")


def test_the_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = touch(tmp_path, "a.mp4") / "a.mp4"
    before = fingerprint(Source(str(path)))
    assert fingerprint(Source(str(path))) == before
    stat = path.stat()
    (tmp_path / "new").write_bytes(b"A.mp4")
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").replace(path)  # same size, same time: the inode tells
    assert fingerprint(Source(str(path))) != before


def test_the_fingerprint_of_a_folder_sees_each_image(tmp_path: Path) -> None:
    source = Source(str(write_images(tmp_path / "seq", ["0.jpg", "1.jpg"])), "frames")
    before = fingerprint(source)
    assert fingerprint(source) == before
    os.utime(tmp_path / "seq/1.jpg", ns=(1, 1))
    assert fingerprint(source) != before


def test_what_is_gone_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        content_digest(Source(str(tmp_path / "gone.mp4")))
    with pytest.raises(FileNotFoundError):
        fingerprint(Source(str(tmp_path / "gone.mp4")))
