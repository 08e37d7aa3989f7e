"""doctor: what this machine has, and what is missing for a run. Nothing here raises; what fails says what to do."""

from __future__ import annotations

import platform
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import torch
from distributed.system import MEMORY_LIMIT
from packaging.requirements import Requirement
from torch import Tensor, nn

from storage.store import Store, StoreError
from tkm import weights
from tkm.networks import movenet, nanodet, pose, runtime

PACKAGES = ("torch", "prefect", "dask", "distributed", "av", "pyarrow", "deltalake", "fsspec", "s3fs", "supervision")
# FFmpeg's decoders by format, the first that is there counts. Its own `av1` only drives hardware, so it does not count.
DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),
    "mpeg4": ("mpeg4",),
}
FREE_BYTES = 2 * 10**9  # less and a run of a few hours of video may fill the disk
_TIMED_RUNS = 3


class Problem(Exception):  # noqa: N818 - a finding, not an error of the program
    """What a check found wrong, as a sentence."""


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, whether it will do, what was found, and what to do where it will not."""

    name: str
    ok: bool
    detail: str
    advice: str


def checks(output: str | None) -> list[Check]:
    """Look at everything a run needs; with `output`, also at whether results can be kept there. Never raises."""
    reinstall = "install this project again, into a fresh environment"
    pyav = "install PyAV's own wheel, which brings a whole FFmpeg: `pip install --force-reinstall --only-binary av av`"
    networks = "see device and weights above; CUDA_VISIBLE_DEVICES= (empty) keeps off the GPU"
    found = [
        _check("python", _python, "use CPython 3.11 or newer"),
        _check("packages", _packages, reinstall),
        _check("cores and memory", _machine, "see whether the container or machine limits what a process may ask"),
        _check("device", _device, "install the build of torch for this driver's CUDA version, or run on the CPU"),
        _check("decoders", _decoders, pyav),
        _check("encoder", _encoder, pyav),
        _check("weights", _weights, reinstall),
        _check("detector", _detector, networks),
        _check("pose network", _pose_network, networks),
    ]
    if output is not None:
        advice = "check the address, the credentials in the environment, and the rights; give another --output"
        found.append(_check("store", lambda: _store(output), advice))
        if "://" not in output:
            found.append(_check("free disk space", lambda: _disk(output), "make room, or give an --output with more"))
    return found


def _check(name: str, find: Callable[[], str], advice: str) -> Check:
    try:
        return Check(name, True, find(), advice)
    except Problem as problem:
        return Check(name, False, str(problem), advice)
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}", advice)


def _python() -> str:
    detail = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    if tuple(map(int, platform.python_version_tuple()[:2])) < (3, 11):
        raise Problem(detail)
    return detail


def _packages() -> str:
    """Versions that matter; a Problem where one is missing or not what this project asks for."""
    versions = {name: _version(name) for name in PACKAGES}
    wrong = [f"{name} is not installed" for name, version in versions.items() if version is None]
    for requirement in _requirements():
        version = _version(requirement.name)
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        raise Problem("; ".join(wrong))
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _requirements() -> list[Requirement]:
    """What this project asks for, optional parts left out; nothing where it runs from a checkout."""
    try:
        every = [Requirement(line) for line in metadata.requires("tkm") or []]
    except metadata.PackageNotFoundError:
        return []
    return [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> str:
    return f"{runtime.cores()} cores, {MEMORY_LIMIT / 2**30:.1f} GiB of memory"


def _device() -> str:
    if runtime.device().type == "cuda":
        free, total = torch.cuda.mem_get_info()
        return f"{runtime.description()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if any(Path("/dev").glob("nvidia[0-9]*")):
        raise Problem(f"there is an NVIDIA GPU, but this torch ({torch.__version__}) cannot use it")
    return f"{runtime.description()} (no GPU: everything runs on the CPU)"


def _decoders() -> str:
    missing = [name for name, codecs in DECODERS.items() if not any(_has_codec(codec, "r") for codec in codecs)]
    if missing:
        raise Problem(f"this FFmpeg cannot decode {', '.join(missing)}")
    libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"{', '.join(DECODERS)} (PyAV {av.__version__}, libavcodec {libavcodec})"


def _encoder() -> str:
    if not _has_codec("libx264", "w"):
        raise Problem("this FFmpeg cannot write H.264, which `tkm render` needs")
    return "libx264"


def _has_codec(name: str, mode: Any) -> bool:
    try:
        av.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _weights() -> str:
    for name in weights.WEIGHTS:
        weights.load(name)
    return ", ".join(f"{name} {weights.digest(name)[:8]}" for name in weights.WEIGHTS) + ", undamaged"


def _detector() -> str:
    size = nanodet.INPUT_SIZE_PX
    network = runtime.on_device(nanodet.nanodet)
    return _forward(network, size, network.normalise, lambda output: output, "frame")


def _pose_network() -> str:
    network = runtime.on_device(pose.embedded)
    return _forward(network, movenet.INPUT_SIZE_PX, network.normalise, network.decode, "person")


def _forward(
    network: nn.Module, size_px: int, prepare: Callable[[Tensor], Tensor], finish: Callable[[Any], Any], what: str
) -> str:
    """Run a network on empty pictures, at the shape that runs use; the best of a few passes after a first one."""
    runtime.prepare_thread()
    kind = runtime.device().type
    pixels = torch.zeros(runtime.ROWS[kind], size_px, size_px, 3, dtype=torch.uint8)
    seconds = []
    for _ in range(1 + _TIMED_RUNS):
        began = time.perf_counter()
        answers: Any = runtime.forward(network, pixels, prepare, finish)
        seconds.append(time.perf_counter() - began)
    if not all(bool(torch.isfinite(answer).all()) for answer in answers):
        raise Problem("it answers with numbers that are not finite")
    return f"{min(seconds[1:]) / len(pixels) * 1e3:.1f} ms a {what} on {'one CPU core' if kind == 'cpu' else 'the GPU'}"


def _store(output: str) -> str:
    """Write, read and delete; and see that an object is created once only, which commits rely on."""
    new: list[Path] = []
    name = f".check-{uuid.uuid4().hex}"
    try:
        store = Store(output)
        new = _missing_folders(Path(store.root)) if "://" not in output else []
        store.check()
        created = [store.create(name, b"tkm"), store.create(name, b"again")]
        kept = store.read(name)
        store.delete(name)
        if created != [True, False] or kept != b"tkm":
            raise Problem(f"{store.root} lets a second writer replace what a first one created: it cannot hold results")
    except StoreError as error:
        raise Problem(str(error)) from error
    finally:
        for folder in new:
            if folder.is_dir():
                folder.rmdir()
    return f"{store.root} can be written and read"


def _missing_folders(path: Path) -> list[Path]:
    """The folders of a path that are not there yet, the deepest first: a mere look must not leave them behind."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _disk(output: str) -> str:
    root = Path(Store(output).root)
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    usage = shutil.disk_usage(there)
    detail = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free on the disk of {there}"
    if usage.free < FREE_BYTES:
        raise Problem(detail)
    return detail
