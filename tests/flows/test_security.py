"""What a stranger's names, files, servers and stores can do through the command line: nothing but be told of."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from deltalake import write_deltalake
from typer.testing import CliRunner

from flows.again import Wanted
from flows.cli import app
from flows.export import export
from flows.render import render
from flows.settings import SettingsError, load_settings
from flows.terminal import one_line, plain, shown
from flows.weights import chosen_params
from storage import runs, tables
from storage.schemas import VIDEOS
from storage.sources import InputError, Source
from storage.store import Store, StoreError
from storage.trainings import Checkpoint, Training
from tests.flows.commands import tkm
from tests.flows.given_runs import annotated, of_file, people
from tests.web_server import Request, serve
from tkm.networks import checkpoints, faster_rcnn_start
from tkm.networks.resnet import ResNet
from tkm.weights import WeightsError

HOSTILE = "[red]\x1b]0;owned\x07\x1b[31m[/nothing] \u202e4pm\ntkm: all is well"


def test_what_acts_on_a_terminal_is_spelt_out() -> None:
    assert plain("a\x1b[2Jb\rc\x07\x9bd\x7f\u202ee\u2028f") == r"a\x1b[2Jb\rc\x07\x9bd\x7f\u202ee\u2028f"
    assert plain("two\nlines\t跑步 ü 👩\u200d👩") == "two\nlines\t跑步 ü 👩\u200d👩"
    assert one_line("two\nlines") == r"two\nlines"
    assert shown("[red]x[/red]") == r"\[red]x\[/red]"
    assert plain("https://me:hush@host") == "https://***@host"


def in_one_line(text: str) -> str:
    """What is printed, without the ends of lines that a narrow terminal makes."""
    return " ".join(text.split())


def for_ever(request: Request) -> None:
    request.begin(200, Transfer_Encoding="chunked")
    request.go_on_for_ever()


@pytest.mark.slow
def test_a_folder_of_traps_is_a_list_of_failures(tmp_path: Path) -> None:
    """One run over a pipe, a device, a stream, a file of terabytes and a name that plays tricks."""
    videos = tmp_path / "videos"
    videos.mkdir()
    os.mkfifo(videos / "pipe.mp4")
    (videos / "device.mp4").symlink_to("/dev/zero")
    with (videos / "sparse.mp4").open("wb") as file:
        file.truncate(2 * 10**12)
    (videos / f"{HOSTILE.replace('/', ':')}.mp4").write_text("no video")
    output = tmp_path / "out"
    with serve({"/live.mp4": for_ever}) as url:
        (tmp_path / "list.txt").write_text(f"videos\n{url}/live.mp4\n", encoding="utf-8")
        done = tkm("annotate", str(tmp_path / "list.txt"), "-o", str(output), home=tmp_path / "prefect")
    assert done.returncode == 1, done.stderr
    said = done.stdout + done.stderr
    for told in ("pipe.mp4 is a pipe, a device", "device.mp4 is a pipe, a device", "live.mp4 is a stream, which may never end"):
        assert told in in_one_line(said)
    assert "sparse.mp4 has 2000.0 GB, and the limit is 1000 GB: raise it with --max-video-gb" in in_one_line(said)
    status = tkm("status", str(output))
    assert (status.returncode, "live.mp4 is a stream" in in_one_line(status.stdout)) == (0, True)
    failures = tables.read(Store(str(output)), "failures").to_pandas()
    assert len(failures) == 5
    [named] = failures[failures.uri.str.endswith(f"{HOSTILE.replace('/', ':')}.mp4")].itertuples()
    lineage = tkm("lineage", f"{output}@{named.run}", named.video)
    assert lineage.returncode == 0, lineage.stderr
    for text in (said, status.stdout, lineage.stdout):
        assert r"[red]\x1b]0;owned\x07\x1b[31m[:nothing] \u202e4pm\ntkm: all is well.mp4" in in_one_line(text)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not re.search("^tkm: all is well", text, re.MULTILINE)


NAMES = ("../../evil", "..", "/etc/cron.d/root", "~/home", "evil#../x", "$(date)", "x" * 100)
NO_NAMES = ("a\0b", "a\nb", "\x1b[31mred", "y" * 300)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Results of poses whose videos are called as strangers please."""
    made = Store(str(tmp_path_factory.mktemp("named") / "below" / "out"))
    annotated(made, *((of_file(name), people(name, 1, (0, 0, 100.0))) for name in (*NAMES, *NO_NAMES)))
    return made


@pytest.mark.parametrize("format_", ["posetrack18", "posetrack17"])
def test_an_export_writes_into_its_folder_whatever_videos_are_called(store: Store, format_: str, tmp_path: Path) -> None:
    ids = [of_file(name).video_id for name in NAMES]
    written = {Path(name) for name in export(store, None, format_, str(tmp_path / "below" / "files"), ids)}
    assert len(written) == len(NAMES)
    assert {path.parent for path in written} == {tmp_path / "below" / "files"}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == written


def test_an_export_of_a_name_that_no_file_should_have_says_so(store: Store, tmp_path: Path) -> None:
    for name in NO_NAMES:
        with pytest.raises((StoreError, OSError)) as refused:
            list(export(store, None, "posetrack18", str(tmp_path / "files"), [of_file(name).video_id]))
        assert "stay below" in str(refused.value) or "too long" in str(refused.value)
        assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize("video", ["../../evil", "/tmp/evil", "a/b", "x\0"])
def test_an_id_in_a_store_of_others_is_no_path_for_overlays(video: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    runs.start_run(store, runs.new_run(store), {})
    tables.create_tables(store)
    has_text = {field.name: pa.types.is_string(field.type) or pa.types.is_dictionary(field.type) for field in VIDEOS}
    empty: dict[str, Any] = {name: "" if is_text else 0 for name, is_text in has_text.items()}
    rows = pa.Table.from_pylist([{**empty, "video": video, "codec": "h264"}], schema=VIDEOS)
    write_deltalake(tables.table_uri(store, "videos"), tables.as_written("videos", rows), mode="append")
    with pytest.raises(StoreError, match=r"holds a video with the id .* none of this package's"):
        render(store, None, tmp_path / "renders")
    assert not (tmp_path / "renders").exists()


class Trap:
    """An object that runs code where it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.ran,)


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint that would run code, and the file that is there once it has."""
    ran = tmp_path / "ran"
    torch.save({"state_dict": {"conv1.weight": torch.ones(2)}, "extra": Trap(ran)}, tmp_path / "trap.pth")
    return tmp_path / "trap.pth", ran


NETWORKS = {
    "pose": {"estimate": {"network": "resnet-50"}},
    "detector": {"detect": {"network": "faster-rcnn-resnet-50-v2"}},
    "matching": {"track": {"similarity": "tkm"}, "refine": {"on": False}},
    "body": {"track": {"similarity": "tbm"}, "refine": {"on": False}},
    "refinement": {"refine": {"on": True}},
}


@pytest.mark.parametrize("role", NETWORKS)
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(
    role: str, trap: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, ran = trap
    chosen = load_settings({**NETWORKS[role], "weights": {role: str(file)}})
    with pytest.raises(WeightsError, match=rf"--{role}-weights .*trap\.pth"):
        chosen_params(Store(str(tmp_path / "out")), Wanted(()), chosen)
    assert not ran.exists()


def test_neither_does_one_to_start_from_nor_one_of_a_training(trap: tuple[Path, Path], tmp_path: Path) -> None:
    file, ran = trap
    with pytest.raises(WeightsError, match=r"trap\.pth"):
        checkpoints.start_backbone(ResNet(50), file)
    with pytest.raises(WeightsError, match=r"trap\.pth"):
        faster_rcnn_start.from_imagenet("faster-rcnn-resnet-50", file)
    training = Training(Store(str(tmp_path)), "pose", "0" * 40)
    training.save(Checkpoint(0, 1, {"x": Trap(ran)}, {}, {}, {}, []))
    with pytest.raises(Exception, match="weights_only"):
        training.newest()
    assert not ran.exists()


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"engine": {"dask": "tls://me:hush@host:1"}}, "engine.dask"),
        ({"weights": {"pose": ["https://me:hush@host/x.pth"]}}, "weights.pose"),
        ({"weights": "https://me:hush@host/x.pth"}, "weights"),
        ({"index": {"frames": "https://me:hush@host"}}, "index.frames"),
        ({"s3": {"secret_access_key": ["hush"]}}, "s3.secret_access_key"),
    ],
)
def test_what_is_wrong_with_settings_is_said_without_secrets(section: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)) as wrong:
        load_settings(section)
    assert "hush" not in str(wrong.value)


def test_a_settings_file_that_is_broken_at_a_secret_does_not_show_it(tmp_path: Path) -> None:
    for text in ('[s3]\nsecret_access_key = "hush\n', "[s3]\nsecret_access_key = hush\n", '[s3]\nhush = "hush" "hush"\n'):
        (tmp_path / "settings.toml").write_text(text)
        with pytest.raises(SettingsError, match="not TOML") as wrong:
            load_settings({}, tmp_path / "settings.toml")
        assert "hush" not in str(wrong.value)


@pytest.mark.timeout(60)
def test_a_settings_file_without_end_is_none() -> None:
    with pytest.raises(SettingsError, match=r"/dev/zero has more than 1,000,000 characters"):
        load_settings({}, Path("/dev/zero"))


URL = "https://me:hush@host/x.json"
COMMANDS = {
    "input": ["annotate", URL, "-o", "{out}"],
    "output": ["annotate", "{clip}", "-o", "https://me:hush@host/out"],
    "detections": ["annotate", "{clip}", "-o", "{out}", "--detections", URL],
    "images": ["annotate", "{clip}", "-o", "{out}", "--detections", "{results}", "--images", URL],
    "weights": ["annotate", "{clip}", "-o", "{out}", "--pose-weights", URL, "--estimate-network", "resnet-50"],
    "truth": ["evaluate", "{out}", "--truth", URL],
    "predictions": ["evaluate", URL, "--truth", "{truth}"],
    "against": ["evaluate", "{truth}", "--truth", "{truth}", "--against", URL],
    "against a store": ["evaluate", "{truth}", "--truth", "{truth}", "--against", "https://me:hush@host/out"],
    "export": ["export", "{out}", "--format", "coco", "--output", "https://me:hush@host/out"],
    "status": ["status", "https://me:hush@host/out"],
    "rerun": ["rerun", "{out}", "--stage", "embed", "--matching-weights", URL],
    "init": ["train", "pose", "-o", "{out}", "--truth", "{truth}", "--images", "{images}", "--init", URL],
    "training's truth": ["train", "pose", "-o", "{out}", "--truth", URL, "--init", "{truth}"],
    "training's images": ["train", "pose", "-o", "{out}", "--truth", "{truth}", "--images", URL, "--init", "{truth}"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_an_address_with_a_password_is_refused_before_prefect_hears_of_it(
    command: list[str], store: Store, tmp_path: Path, demo_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # whoever asks it fails otherwise
    (written,) = export(store, None, "posetrack18", str(tmp_path / "truth"), [of_file("$(date)").video_id])
    (tmp_path / "results.json").write_text('[{"image_id": 1, "bbox": [1, 1, 9, 9], "score": 1, "category_id": 1}]')
    (tmp_path / "images" / "$(date)").mkdir(parents=True)
    (tmp_path / "images" / "$(date)" / "000000.jpg").write_bytes(b"")
    files = {"results": tmp_path / "results.json", "images": tmp_path / "images"}
    places = {"out": store.root, "clip": demo_clip, "truth": written, **files}
    done = CliRunner().invoke(app, [part.format(**places) for part in command])
    assert isinstance(done.exception, InputError | StoreError), f"{done.exception!r} {done.output}"
    assert "would be recorded" in str(done.exception)
    assert "hush" not in f"{done.exception} {done.output}"
    written_below = (*tmp_path.rglob("*"), *Path(store.root).rglob("*"))
    assert not any(b"hush" in path.read_bytes() for path in written_below if path.is_file())


def test_a_failure_repeats_no_secret_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.work import transient_failure

    monkeypatch.setenv("AWS_SESSION_TOKEN", "hush" * 9)
    source = Source("https://host/x.mp4")
    error = OSError(f"403, url='https://elsewhere/x?X-Amz-Signature=hush&a=1' {'hush' * 9}")
    message = transient_failure(source, "index", error).message
    assert message == "https://host/x.mp4 could not be finished: 403, url='https://elsewhere/x?X-Amz-Signature=***&a=1' ***"


