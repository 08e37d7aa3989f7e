"""`tkm annotate --detections`: boxes or poses that users bring, matched with their videos, or standing for videos themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from flows.again import Wanted
from flows.groups import sources_for
from flows.settings import SettingsError
from storage.documents import find_documents, is_table, read_annotations, read_table, stem
from storage.given import Given, Kind, given_name, given_of, kind_of, write_given
from storage.given_digests import Before, read_before, told_digest, write_before
from storage.sources import IMAGE_SUFFIXES, InputError, Source, image_paths, some
from storage.store import Store
from tasks.given import GivenParams
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import posetrack_image_id
from tkm.datasets.results import COCO, POSETRACK, results_to_sequences
from tkm.datasets.sequence import Sequence as Annotated
from tkm.skeleton import POSETRACK_15

_THREADS = 16
_FRAMES_A_VIDEO = 10_000  # that PoseTrack's numbers of images leave room for


@dataclass(frozen=True)
class _Found:
    """What a file gives of one video; the address that stands for the video where there is no other; its frames, if told."""

    sequence: Annotated
    uri: str
    frames: int | None

    def given(self, kind: Kind) -> Given:
        """Its rows as they are kept. InputError where they cannot be."""
        try:
            return given_of(self.sequence, kind, self.frames)
        except ValueError as error:
            raise InputError(f"{self.uri}: {error}") from None


def wanted_videos(
    store: Store, input_: str | None, detections: str | None, images: str | None, chosen: Any, *, write: bool = True
) -> Wanted:
    """The videos of a run under these settings, and what is given for each, which is put into the store (unless not to `write`).

    Boxes and poses are given for the videos of `input_` by name: of the file without suffix, or the id. Without `input_` every
    video of a file of poses stands for itself. `images` names files that tell which picture an image id of COCO results is.

    Raises InputError where a file cannot be read, videos and files do not fit together, or boxes come without videos; nothing is
    written then.
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
    twice = [name for name, count in Counter(one.sequence.name for one in found).items() if count > 1]
    if twice:
        raise InputError(f"{detections} holds several videos of one name: {some(twice)}; give each name once")
    kinds: set[Kind] = {kind_of(one.sequence.people) for one in found if len(one.sequence.people)}
    kind: Kind = "boxes" if kinds == {"boxes"} else "poses"
    if input_ is None:
        if kind == "boxes":
            raise InputError(f"{detections} holds boxes, in which poses have yet to be found: name the videos too")
        if not found:
            raise InputError(f"{detections} tells of no video")
        if unknown := [one.uri for one in found if not len(one.sequence)]:
            raise InputError(f"{some(unknown)} tells neither of people nor of frames; name the videos too, or leave it out")
        pairs = [(Source(one.uri, "poses"), one) for one in found]
    else:
        pairs = _paired(sources, found, detections)
        if strangers := {one.sequence.name for one in found} - {one.sequence.name for _, one in pairs}:
            notes.append(f"{detections} also tells of videos that are not among those given: {some(sorted(strangers))}")
    told = [told_digest(one.sequence, kind, one.frames, source.kind == "poses") for source, one in pairs]
    before = read_before(store)
    there = {name for name, object_ in store.list_objects("given").items() if object_.is_young} if write else set()
    known = [before.get(key) for key in told]
    rows = [
        own if own and (given_name(own.sha256) in there or not write) else one.given(kind)
        for own, (_, one) in zip(known, pairs, strict=True)
    ]

    def keep(pair: tuple[Source, _Found], own: Before | Given) -> Before:
        source, one = pair
        if isinstance(own, Before):
            return own
        frames = one.sequence if source.kind == "poses" else None
        return Before(write_given(store if write else None, own, frames, there), own.table.num_rows)

    with ThreadPoolExecutor(_THREADS) as pool:  # it is the store that is waited for
        kept = list(pool.map(keep, pairs, rows))
    if write and (now := dict(zip(told, kept, strict=True))) != before:
        write_before(store, now)
    people = sum(len(one.sequence.people) for _, one in pairs)
    if left := people - sum(one.rows for one in kept):
        lacking = "keypoint" if kind == "poses" else "box of a pixel"
        notes.append(f"left out of {detections}: {left} of {people} people, who have no {lacking}")
    return Wanted(
        tuple(source for source, _ in pairs),
        given={source.uri: {kind: GivenParams(sha256=own.sha256)} for (source, _), own in zip(pairs, kept, strict=True)},
        notes=tuple(notes),
    )


def _paired(sources: Sequence[Source], found: Sequence[_Found], detections: str) -> list[tuple[Source, _Found]]:
    """Every video with what is given for it; a single one with a single one, whatever their names."""
    if len(sources) == len(found) == 1:
        return [(sources[0], found[0])]
    by_name = {one.sequence.name: one for one in found}
    pairs, missing = [], []
    for source in sources:
        names = (name_of(source), source.name, source.video_id)
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
    name = source.name
    return stem(name) if source.kind == "poses" else name.rpartition(".")[0] or name if source.kind == "video" else name


def _read(detections: str, images: str | None, sources: Sequence[Source]) -> tuple[list[_Found], list[str]]:
    """What the files tell, by video, and sentences on what of it is left aside."""
    found, results, notes = [], [], []
    for uri in find_documents(detections):
        read = read_annotations(uri)
        if isinstance(read, list):
            own, said = _of_results(uri, read, images, sources)
            results += own
            notes += said
            continue
        # A table tells of the frames that have people; of how many there are only where it says so.
        is_length_told = not sources or not is_table(uri) or "video_frames" in read_table(uri).column_names
        for one in read:
            address = uri if len(read) == 1 else f"{uri}#{one.name}"
            found.append(_Found(one, address, len(one) if is_length_told else None))
    return [*found, *_joined(results)], notes


def _joined(results: Sequence[_Found]) -> list[_Found]:
    """What lists of results tell, each of all videos: a video in which one list has nobody is another's."""
    nobody = {one.sequence.name: one for one in results if not len(one.sequence.people)}
    somebody = [one for one in results if len(one.sequence.people)]
    return [*somebody, *(nobody[name] for name in nobody.keys() - {one.sequence.name for one in somebody})]


def _of_results(
    uri: str, results: list[Any], images: str | None, sources: Sequence[Source]
) -> tuple[list[_Found], list[str]]:
    """Results in COCO's form by video, and sentences on what of them is left aside or may be meant otherwise."""
    pictures: list[tuple[str, Sequence[int], int]]
    known: list[Annotated] = []
    notes = []
    if images is not None:
        known = list(_of_images(images))
        pictures = [(one.name, one.image_id.tolist(), len(one)) for one in known]
        if len({one.skeleton for one in known}) > 1:
            raise InputError(f"{images} has files of several skeletons; give those of {uri} alone")
    else:
        pictures = [(name_of(source), numbers, len(numbers)) for source in sources for numbers in [_own_numbers(source)]]
    frames = _places(pictures, images)
    remedy = "name files that tell which picture an id is, with --images FILE (PoseTrack 2018 or COCO JSON)"
    if not frames and (results or not pictures):
        where = f"{images} tells no ids of its pictures" if images else "the videos' names tell none"
        raise InputError(f"{uri} is a list of results, which know their pictures by image id only, and {where}: {remedy}")
    ids = {row["image_id"] for row in results if isinstance(row, dict) and isinstance(row.get("image_id"), int)}
    if ids and not ids & frames.keys():
        shown = some(map(str, sorted(ids)))
        where = images or "the videos given"
        raise InputError(f"{uri}: none of its image ids, such as {shown}, is a picture of {where}; {remedy}")
    strange = ids - frames.keys()
    own = [row for row in results if not isinstance(row, dict) or row.get("image_id") not in strange]
    try:
        # Results are in the order of the annotations that they are for.
        layout = POSETRACK if known and known[0].skeleton is POSETRACK_15 else COCO
        sequences = results_to_sequences(own, frames, {name: length for name, _, length in pictures}, uri, layout)
    except DatasetError as error:
        raise InputError(str(error)) from None
    if known:  # in the order of the results
        sequences = tuple(replace(of, people=one.people, skeleton=one.skeleton) for of, one in zip(known, sequences, strict=True))
    found = [_Found(one, f"{uri}#{one.name}", None if images is None else len(one)) for one in sequences]
    if left := len(results) - len(own):
        notes.append(f"left out of {uri}: {left} of {len(results)} results, which belong to none of the videos")
    return found, notes


def _places(pictures: Iterable[tuple[str, Sequence[int], int]], images: str | None) -> dict[int, tuple[str, int]]:
    """By image id, video and frame. InputError for an id of two pictures; negative ones stand for none."""
    frames: dict[int, tuple[str, int]] = {}
    for name, numbers, _ in pictures:
        for place in ((number, (name, frame)) for frame, number in enumerate(numbers) if number >= 0):
            known = frames.setdefault(*place)
            if known != place[1]:
                (first, _), (second, _) = known, place[1]
                where = images or "the videos given"
                raise InputError(f"image id {place[0]} is a picture of {first} and of {second} in {where}: give them apart")
    return frames


def _of_images(images: str) -> Iterable[Annotated]:
    for uri in find_documents(images, (".json",)):
        read = read_annotations(uri)
        if isinstance(read, list):
            raise InputError(f"--images {uri} is a list of results; give a PoseTrack 2018 or COCO JSON that lists `images`")
        yield from read


def _own_numbers(source: Source) -> Sequence[int]:
    """By frame, numbers by which results may know the pictures of a video, -1 for none: PoseTrack's, which the names of video and
    picture make together, or, as in COCO, those that are pictures' names.
    """
    name = name_of(source)
    first = posetrack_image_id(name, 0)
    if source.kind == "frames":
        stems = [_stem(path) for path in image_paths(source)]
        return [(first or 0) + int(one) if one.isdecimal() else -1 for one in stems]
    if first is not None:
        return range(first, first + _FRAMES_A_VIDEO)
    is_picture = source.uri[source.uri.rfind(".") :].lower() in IMAGE_SUFFIXES
    return [int(name) if is_picture and name.isdecimal() else -1]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
