"""Rendered clips: what each is made from, whether it is there, and making one.

    videos/<name>.mp4, or images/<name>/000000.jpg ...     its pictures
    annotations/<name>.json, annotations_coco/<name>.json  what is true of them, in PoseTrack's 15 and COCO's 17 points
    manifests/clips/<key>.json                             commits the clip, and lists its files

A clip's key is a digest of all that decides its bytes, so a clip that is there is not made again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import cv2

from storage.artifacts import artifact_key
from storage.bodies import read_body
from storage.documents import read_document
from storage.sources import InputError
from storage.store import Store
from storage.video import picture_of
from storage.video_writer import mp4_writer
from tkm.geometry import Image
from tkm.skeleton import COCO_17, POSETRACK_15
from tkm.synthetic.annotations import annotation_document, first_image_id
from tkm.synthetic.spec import ClipSpec

if TYPE_CHECKING:
    from tkm.synthetic.clip import Clip
    from tkm.synthetic.truth import FrameTruth

VERSION = 1  # raised whenever the bytes of a clip change
Form = Literal["mp4", "frames"]
FOLDERS = ("videos", "images", "annotations", "annotations_coco", "manifests/clips")
_PACKAGES = ("numpy", "numba", "opencv-python-headless", "av")  # which the bytes may depend on
_IN_NAME = ("seed", "number", "preset", "domain")  # fields of a ClipSpec that the clip's name tells
_REPORTED = 10  # frames, so often a worker tells how far it is
_Report = Callable[[int], object]


@dataclass(frozen=True)
class Photo:
    """A picture to put people in front of: where it is, and the digest of its bytes."""

    uri: str
    sha256: str


@dataclass(frozen=True)
class ClipOrder:
    """A clip that is wanted: what decides it, and the store it goes to. Small; this is all that travels to a worker.

    form    "mp4", or "frames" for JPEGs
    body    name of the body model in the store
    photo   its background, None for a made one
    """

    store: Store
    spec: ClipSpec
    form: Form
    body: str
    photo: Photo | None = None

    @property
    def name(self) -> str:
        """What its files are called, safe in globs, and another for other content: '000007_crowd-camera_s1'.

        Number, preset, and seed, after the domain's name where that is not the open one; and eight digits of a digest of all else
        where something else was asked for.
        """
        spec = self.spec
        series = f"{'s' if spec.domain == 'open' else spec.domain}{spec.seed}"
        name = f"{spec.number:06d}_{spec.preset.replace('+', '-')}_{series}"
        plain = ClipSpec(spec.seed, spec.number, spec.preset, spec.domain)
        if spec == plain and self.photo is None:
            return name
        others = {field: value for field, value in asdict(spec).items() if field not in _IN_NAME}
        return f"{name}_{hashlib.sha256(json.dumps([others, self._photo_sha256], sort_keys=True).encode()).hexdigest()[:8]}"

    @property
    def key(self) -> str:
        """Digest of all that decides its bytes."""
        params = {"spec": asdict(self.spec), "form": self.form, "name": self.name}
        return artifact_key("clips", VERSION, params, {"body": self.body}, {"photo": self._photo_sha256})

    @property
    def manifest(self) -> str:
        """Name of the object that commits it."""
        return f"manifests/clips/{self.key}.json"

    @property
    def address(self) -> str:
        """Where its pictures are, as `tkm annotate` takes them."""
        return f"{self.store.root}/{f'videos/{self.name}.mp4' if self.form == 'mp4' else f'images/{self.name}'}"

    @property
    def _photo_sha256(self) -> str:
        return self.photo.sha256 if self.photo else ""


def is_made(order: ClipOrder, sizes: Mapping[str, int]) -> bool:
    """Whether a clip is whole: committed, and each of its files there in its size. `sizes` by name of all objects in FOLDERS."""
    if order.manifest not in sizes:
        return False
    try:
        files = json.loads(order.store.read(order.manifest))["files"]
        return all(sizes.get(file["name"]) == file["bytes"] for file in files)
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # damaged: made again, it is replaced
        return False


def make_clip(order: ClipOrder, report: _Report) -> None:
    """Make a clip and commit it; files that are there are replaced, each in one step, and equal orders give equal bytes.

    `report` is told the number of frames drawn since the last time.
    Raises InputError for a photo that has changed, VideoError for one that cannot be read.
    """
    from tkm.synthetic.clip import plan_clip  # here: it brings a compiler, which knowing what is there needs not

    photo = None if order.photo is None else _read(order.photo)
    clip = plan_clip(order.spec, read_body(order.store, order.body), photo)
    truth: list[FrameTruth] = []
    pictures = _counted(clip, truth, report)
    files = [_write_mp4(order, clip, pictures)] if order.form == "mp4" else list(_write_jpegs(order, clip, pictures))
    image_id = first_image_id(order.name, order.spec.number)
    for folder, skeleton in (("annotations", POSETRACK_15), ("annotations_coco", COCO_17)):
        document = annotation_document(order.name, order.spec, clip.roles, truth, skeleton, image_id)
        data = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        files.append(_write(order.store, f"{folder}/{order.name}.json", data))
    order.store.write(order.manifest, json.dumps(_facts(order, files), indent=1).encode())


def _counted(clip: Clip, truth: list[FrameTruth], report: _Report) -> Iterator[Image]:
    """The pictures of a clip; what is true of them is appended to `truth`."""
    done = 0
    for image, facts in clip.frames():
        truth.append(facts)
        yield image
        if len(truth) - done == _REPORTED:
            report(_REPORTED)
            done = len(truth)
    report(len(truth) - done)


def _write_mp4(order: ClipOrder, clip: Clip, pictures: Iterator[Image]) -> dict[str, Any]:
    spec, name = order.spec, f"videos/{order.name}.mp4"
    rate = Fraction(str(spec.fps)).limit_denominator(1001)
    with order.store.new_file(name) as path:
        size_px = spec.width_px, spec.height_px
        with mp4_writer(path, *size_px, rate, 1 / rate, crf=clip.crf, threads=1, preset="superfast") as write:
            for number, image in enumerate(pictures):
                write(image, number)
        return _entry(name, path.read_bytes())


def _write_jpegs(order: ClipOrder, clip: Clip, pictures: Iterator[Image]) -> Iterator[dict[str, Any]]:
    quality = round(95 - 2.5 * (clip.crf - 18))  # looks about as bad as H.264 of that crf: 95 at 18, 55 at 34
    for number, image in enumerate(pictures):
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        yield _write(order.store, f"images/{order.name}/{number:06d}.jpg", data.tobytes())


def _write(store: Store, name: str, data: bytes) -> dict[str, Any]:
    store.write(name, data)
    return _entry(name, data)


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _facts(order: ClipOrder, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": order.name,
        "key": order.key,
        "version": VERSION,
        "spec": asdict(order.spec),
        "form": order.form,
        "body": order.body,
        "photo": order.photo.sha256 if order.photo else None,
        "files": list(files),
        "environment": {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
    }


def _read(photo: Photo) -> Image:
    data = read_document(photo.uri)
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise InputError(f"{photo.uri} changed since the run began; run again")
    return picture_of(data, photo.uri)
