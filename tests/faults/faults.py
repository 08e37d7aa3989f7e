"""The faults themselves. Each is drawn from a number, and so is everything about it: the same number, the same fault."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

import psutil

from storage.addresses import open_address
from storage.store import Store
from tests.faults import scenes
from tests.faults.http_proxy import SPOILS, draw_bursts, proxy_to
from tests.faults.scenes import OTHER, Scene
from tests.faults.workshop import SECONDS, Workshop

# Each in turn, so that a few faults hold many of them; what is quick, or harms in many ways, twice.
KINDS = (
    "kill group", "flip", "500", "kill worker", "truncate", "race", "full disk", "503", "kill flow", "cut answer",
    "race other", "reset", "cut upload", "stall", "lost answer", "flip", "kill group", "truncate",
)  # fmt: skip
_LONE_KIND_OF_ROOT = {"full disk": "folder"} | dict.fromkeys(SPOILS, "s3")
_MOST_OBJECTS = {"clips": 90, "poses": 60}  # of a whole run; a kill comes after some of them
_WAIT_S = 0.02


class NotPossibleError(RuntimeError):
    """This machine cannot have such a fault; the message says why."""


@dataclass(frozen=True)
class Fault:
    """One disturbance. `seed` decides all of it."""

    seed: int

    @cached_property
    def rng(self) -> Random:
        """Draws, in the order in which they are asked for."""
        return Random(self.seed)

    @property
    def kind(self) -> str:
        """Which of KINDS."""
        return KINDS[self.seed % len(KINDS)]

    @cached_property
    def root_kind(self) -> str:
        """`folder` or `s3`."""
        drawn = Random(f"{self.seed} root").choice(("folder", "s3"))
        return _LONE_KIND_OF_ROOT.get(self.kind, drawn)

    @cached_property
    def scene_name(self) -> str:
        """`clips` or `poses`."""
        return Random(f"{self.seed} scene").choice(("clips", "clips", "poses"))


@dataclass
class Happened:
    """What a fault came to.

    hit       whether it met anything: a run may have ended before it was killed
    status    exit status of the disturbed run; None where none was to end by itself
    damaged   the object that was damaged
    said      what the disturbed commands said
    notes     what was done, for the record
    """

    root: str
    scene: Scene
    hit: bool = True
    status: int | None = None
    damaged: str | None = None
    said: str = ""
    notes: str = ""


@contextmanager
def inflicted(fault: Fault, place: Workshop) -> Iterator[Happened]:
    """Let a fault happen to a run, or to what a run has left; what it was. Its disk, if any, is there until the context ends."""
    scene = place.scene(fault.scene_name, fault.root_kind)
    happened = Happened(place.new_root(fault.root_kind), scene)
    logs = place.folder / f"logs-{fault.seed}"
    logs.mkdir(exist_ok=True)
    if fault.kind == "full disk":
        with _small_disk(place.folder / f"disk-{fault.seed}") as disk:
            happened.root = str(disk / "results")
            _fill_disk(fault.rng, place, happened, logs, disk)
            happened.said = _read(logs)
            yield happened
        return
    act = {"kill": _kill, "flip": _damage, "truncate": _damage, "race": _race}.get(fault.kind.split()[0], _spoil)
    act(fault, place, happened, logs)
    happened.said = _read(logs)
    yield happened


def _kill(fault: Fault, place: Workshop, happened: Happened, logs: Path) -> None:
    """SIGKILL at random instants: each of a few runs, one after the other, or workers of one."""
    rng, whom = fault.rng, fault.kind.split()[1]
    instants = sorted(rng.randint(0, _MOST_OBJECTS[fault.scene_name]) for _ in range(rng.choice((1, 1, 2, 3))))
    if whom == "worker":
        process = place.start(logs / "run", happened.scene.command(happened.root, rng.randint(1, 5)))
        struck = [_strike_worker(process, happened.root, max(instant, 2), rng) for instant in instants[:2]]
        happened.status = process.wait(SECONDS)
        happened.hit = any(struck)
    else:
        struck = []
        for n, instant in enumerate(instants):
            process = place.start(logs / f"run{n}", happened.scene.command(happened.root, rng.randint(1, 5)))
            struck.append(_is_time(process, happened.root, instant, rng))
            if whom == "group":
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
            _wait_for_group(process)
        happened.hit = any(struck)
    happened.notes = f"{whom} after {', '.join(str(instant) for instant in instants)} objects"


def _is_time(process: subprocess.Popen[bytes], root: str, objects: int, rng: Random) -> bool:
    """Wait until so many objects lie below a root, and a moment longer; whether the process still runs then."""
    moment = rng.uniform(0, 0.1) if objects else rng.uniform(0, 6)
    fs, base = open_address(root)
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        fs.invalidate_cache()
        with suppress(FileNotFoundError):  # a temporary file went away under the listing
            if objects == 0 or len(fs.find(base)) >= objects:
                break
        time.sleep(_WAIT_S)
    time.sleep(moment)
    return process.poll() is None


def _strike_worker(process: subprocess.Popen[bytes], root: str, objects: int, rng: Random) -> bool:
    if not _is_time(process, root, objects, rng):
        return False
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
        if workers:
            rng.choice(workers).kill()
            return True
    return False


def _wait_for_group(process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(process.pid, 0)
            time.sleep(_WAIT_S)
        raise AssertionError("processes of a killed command stay behind")


def _spoil(fault: Fault, place: Workshop, happened: Happened, logs: Path) -> None:
    """A run through a network, or to a server, that has bad moments."""
    rng = fault.rng
    bursts = draw_bursts(rng, fault.kind, 500 if fault.scene_name == "clips" else 350)  # type: ignore[arg-type]
    command = happened.scene.command(happened.root, rng.randint(1, 5))
    with proxy_to(place.s3.endpoint_url, bursts, fault.seed) as proxy:
        happened.status = place.start(logs / "run", command, {"AWS_ENDPOINT_URL": proxy.url}).wait(SECONDS)
        happened.hit = sum(proxy.spoiled.values()) > 0
        happened.notes = f"{sum(proxy.spoiled.values())} of {sum(proxy.spoiled.values()) + proxy.passed} requests"


def _race(fault: Fault, place: Workshop, happened: Happened, logs: Path) -> None:
    """Two runs over one store, begun at a random distance; the one under other parameters, or not."""
    rng = fault.rng
    others = [(), OTHER if fault.kind == "race other" else ()]
    rng.shuffle(others)
    processes = []
    for n, other in enumerate(others):
        processes.append(place.start(logs / f"run{n}", happened.scene.command(happened.root, rng.randint(1, 5), *other)))
        if n == 0:
            time.sleep(rng.choice((0, rng.uniform(0, 8))))
    happened.status = max(process.wait(SECONDS) for process in processes)
    happened.notes = "two runs"


def _damage(fault: Fault, place: Workshop, happened: Happened, logs: Path) -> None:
    """Flip bits of an object, or cut it short: of a finished run, or of one that was killed on its way."""
    rng = fault.rng
    if rng.random() < 0.7:
        happened.scene = place.scene(fault.scene_name, "folder")  # ids of videos are of where they lie, and these are calm's
        scenes.copy_to(happened.root, place.calm(happened.scene.name).contents)
        state = "finished"
    else:
        process = place.start(logs / "run", happened.scene.command(happened.root, rng.randint(1, 5)))
        _is_time(process, happened.root, rng.randint(5, _MOST_OBJECTS[fault.scene_name]), rng)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait_for_group(process)
        state = "killed"
    store = Store(happened.root)
    by_class: dict[str, list[str]] = {}
    for name, size in store.list("").items():
        if size:
            by_class.setdefault(_class_of(name), []).append(name)
    name = rng.choice(by_class[rng.choice(sorted(by_class))])
    data = bytearray(store.read(name))
    if fault.kind == "flip":
        for _ in range(rng.choice((1, 1, 3))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        del data[rng.randrange(len(data)) :]
    store.write(name, bytes(data))
    happened.damaged, happened.notes = name, f"{name} of a {state} run"


def _class_of(name: str) -> str:
    """Objects that are damaged alike often: parts, states, and of tables logs and files, are classes of their own."""
    folder, *rest = name.split("/")
    details = {"artifacts": "-state-" in name, "tables": "_delta_log" in name, "runs": rest[-1].split("-")[0]}
    return f"{folder} {details.get(folder, '')}"


def _fill_disk(rng: Random, place: Workshop, happened: Happened, logs: Path, disk: Path) -> None:
    """Fill the disk in the middle of a run, for a while or until its end."""
    process = place.start(logs / "run", happened.scene.command(happened.root, rng.randint(1, 5)))
    filler = disk / "filler"
    happened.hit = _is_time(process, happened.root, rng.randint(1, _MOST_OBJECTS[happened.scene.name]), rng)
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    for_a_while = rng.random() < 0.5
    if for_a_while:
        threading.Timer(rng.uniform(1, 6), _emptier(filler)).start()
    happened.status = process.wait(SECONDS)
    filler.unlink(missing_ok=True)
    happened.notes = "for a while" if for_a_while else "until the end"


def _emptier(filler: Path) -> Callable[[], None]:
    return lambda: filler.unlink(missing_ok=True)


@contextmanager
def _small_disk(disk: Path) -> Iterator[Path]:
    disk.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        raise NotPossibleError(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _read(logs: Path) -> str:
    return "\n".join(log.read_text(errors="replace") for log in sorted(logs.iterdir()))
