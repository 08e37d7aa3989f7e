"""`tkm annotate --detections`: boxes or poses that users bring, matched with their videos, or standing for videos themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flows.again import Wanted
from flows.groups import file_name, sources_for
from flows.settings import SettingsError
from storage.documents import find_documents, read_annotations, stem
from storage.given import Kind, given_of, kind_of, write_given
from storage.sources import InputError, Source, image_paths, some
from storage.store import Store
from tasks.given import GivenParams
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import posetrack_image_id
from tkm.datasets.results import results_to_sequences
from tkm.datasets.sequence import Sequence as Annotated

_FRAMES_A_VIDEO = 10_000  # that PoseTrack's numbers of images leave room for


@dataclass(frozen=True)
class _Found:
    """What a file gives of one video; the address that stands for the video where there is no other; its frames, if told."""

    sequence: Annotated
    uri: str
    frames: int | None


def wanted_videos(
    store: Store, input_: str | None, detections: str | None, images: str | None, chosen: Any, *, write: bool = True
) -> Wanted:
    """The videos of a run under these settings, and what is given for each, which is put into the store (unless not to `write`).

    Boxes and poses are given for the videos of `input_` by name: of the file without suffix, or the id. Without `input_` every
    video of a file of poses stands for itself. `images` names files that tell which picture an image id of COCO results is.

    Raises InputError where a file cannot be read, videos and files do not fit together, or boxes come without videos.
    """
    if detections is None:
        if input_ is None or images is not None:
            wrong = "--images goes with --detections" if images else "name the videos, or give --detections FILE with poses"
            raise InputError(wrong)
        return Wanted(sources_for(input_, store))
    if input_ is None and chosen.shots.split:
        raise SettingsError("--split-shots looks at pictures: name the videos beside --detections, or leave it out")
    sources = [] if input_ is None else sources_for(input_, store)
    found, notes = _read(detections, images, sources)
    kinds: set[Kind] = {kind_of(one.sequence.people) for one in found if len(one.sequence.people)}
    kind: Kind = "boxes" if kinds == {"boxes"} else "poses"
    twice = [name for name, count in Counter(one.sequence.name for one in found).items() if count > 1]
    if twice:
        raise InputError(f"{detections} holds several videos of one name: {some(twice)}; give each name once")
    if input_ is None:
        if kind == "boxes":
            raise InputError(f"{detections} holds boxes, in which poses have yet to be found: name the videos too")
        pairs = [(Source(one.uri, "poses"), one) for one in found]
    else:
        pairs = _paired(sources, found, detections)
    return Wanted(
        tuple(source for source, _ in pairs),
        given={source.uri: {kind: _kept(store if write else None, source, one, kind)} for source, one in pairs},
        notes=tuple(notes),
    )


def _kept(store: Store | None, source: Source, one: _Found, kind: Kind) -> GivenParams:
    given = given_of(one.sequence, kind, one.frames)
    if source.kind != "poses":
        return GivenParams(sha256=write_given(store, given))
    width_px, height_px = one.sequence.size_px.max(axis=0, initial=0).tolist()
    names = [name for name in one.sequence.frame_names if name]
    return GivenParams(sha256=write_given(store, given, frame_names=names, size_px=(width_px, height_px)))


def _paired(sources: Sequence[Source], found: Sequence[_Found], detections: str) -> list[tuple[Source, _Found]]:
    """Every video with what is given for it; a single one with a single one, whatever their names."""
    if len(sources) == len(found) == 1:
        return [(sources[0], found[0])]
    by_name = {one.sequence.name: one for one in found}
    pairs, missing = [], []
    for source in sources:
        names = (name_of(source), file_name(source), source.video_id)
        one = next((by_name[name] for name in names if name in by_name), None)
        if one is None:
            missing.append(names[0])
        else:
            pairs.append((source, one))
    if missing:
        raise InputError(
            f"{detections} holds nothing for {len(missing)} of the {len(sources)} videos: {some(missing)}; it has "
            f"{some(by_name)}. Names must be those of the videos, without suffix; leave other videos out."
        )
    twice = [name for name, count in Counter(one.sequence.name for _, one in pairs).items() if count > 1]
    if twice:
        raise InputError(f"several videos are called {some(twice)}, which one does {detections} mean? Annotate them apart.")
    return pairs


def name_of(source: Source) -> str:
    """What files of annotations call a video: its name without suffix."""
    name = file_name(source)
    return stem(name) if source.kind == "poses" else name.rpartition(".")[0] or name if source.kind == "video" else name


def _read(detections: str, images: str | None, sources: Sequence[Source]) -> tuple[list[_Found], list[str]]:
    """What the files tell, by video, and sentences on what of it is left aside."""
    found, notes = [], []
    for uri in find_documents(detections):
        read = read_annotations(uri)
        if isinstance(read, list):
            own, left = _of_results(uri, read, images, sources)
            found += own
            notes += [f"{left} of the {len(read)} results in {uri} belong to none of the videos"] if left else []
            continue
        is_parquet = uri.endswith(".parquet")  # which tells of the frames that have people, not of their number
        for one in read:
            address = uri if len(read) == 1 else f"{uri}#{one.name}"
            found.append(_Found(one, address, None if is_parquet and sources else len(one)))
    return found, notes


def _of_results(uri: str, results: list[Any], images: str | None, sources: Sequence[Source]) -> tuple[list[_Found], int]:
    """Results in COCO's form by video, and how many of them belong to none."""
    frames: dict[int, tuple[str, int]] = {}
    lengths: dict[str, int] = {}
    if images is not None:
        for one in _of_images(images):
            frames |= {number: (one.name, frame) for frame, number in enumerate(one.image_id.tolist()) if number >= 0}
            lengths[one.name] = len(one)
    elif sources:
        for source in sources:
            numbers = dict(_numbers(source))
            frames |= numbers
            lengths[name_of(source)] = len(numbers)
    remedy = "name files that tell which picture an id is, with --images FILE (PoseTrack 2018 or COCO JSON)"
    if not frames:
        raise InputError(f"{uri} is a list of results, which know their pictures by image id only: {remedy}")
    ids = {row["image_id"] for row in results if isinstance(row, dict) and isinstance(row.get("image_id"), int)}
    if ids and not ids & frames.keys():
        where = images or "the videos given"
        shown = some(map(str, sorted(ids)))
        raise InputError(f"{uri}: none of its image ids, such as {shown}, is a picture of {where}; {remedy}")
    strange = ids - frames.keys()
    own = [row for row in results if not isinstance(row, dict) or row.get("image_id") not in strange]
    try:
        sequences = results_to_sequences(own, frames, lengths, uri)
    except DatasetError as error:
        raise InputError(str(error)) from None
    found = [_Found(one, f"{uri}#{one.name}", None if images is None else len(one)) for one in sequences]
    return found, len(results) - len(own)


def _of_images(images: str) -> Iterable[Annotated]:
    for uri in find_documents(images, (".json",)):
        read = read_annotations(uri)
        if isinstance(read, list):
            raise InputError(f"--images {uri} is a list of results; give a PoseTrack 2018 or COCO JSON that lists `images`")
        yield from read


def _numbers(source: Source) -> Iterable[tuple[int, tuple[str, int]]]:
    """Numbers by which results may know the pictures of a video: PoseTrack's, or those in the pictures' own names, as in COCO."""
    name = name_of(source)
    if posetrack_image_id(name, 0) is not None:
        for frame in range(_FRAMES_A_VIDEO):
            yield posetrack_image_id(name, frame) or 0, (name, frame)
    elif source.kind == "frames":
        for frame, path in enumerate(image_paths(source)):
            if (number := path.rpartition("/")[2].rpartition(".")[0]).isdecimal():
                yield int(number), (name, frame)
    elif name.isdecimal():
        yield int(name), (name, 0)
