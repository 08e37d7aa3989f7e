"""Results as other tools read them: PoseTrack's and COCO's JSON, CVAT's and Label Studio's files, and plain Parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from storage import annotated_coco, cvat, labelstudio
from storage.artifacts import Artifact
from storage.given import given_pictures, read_given
from storage.handed_out import HandedOut
from storage.parquet import GroupedWriter
from storage.schemas import name_of
from storage.sources import InputError, Source, image_paths
from storage.store import Store
from tasks import index
from tasks.handing_out import handed_out
from tasks.merge import RESULTS, Finished, published_rows
from tasks.predictions import in_skeleton, sequence_of
from tkm.datasets import coco, posetrack17, posetrack18, sequence
from tkm.datasets.errors import DatasetError
from tkm.datasets.ids import first_image_ids
from tkm.skeleton import COCO_17, POSETRACK_15


@dataclass(frozen=True)
class Exported:
    """A video whose results are exported.

    run            whose results they are
    finished       identity, and the keys of its artifacts
    source         where the video was read from
    name           its name without suffix
    poses_sha256   digest of the given poses that it is known by, None where it has pictures
    """

    run: str
    finished: Finished
    source: Source
    name: str
    poses_sha256: str | None

    def refused(self, error: DatasetError) -> InputError:
        """What to raise where a format has no place for its results."""
        return InputError(f"{self.finished.video} cannot be exported: {error}")


def posetrack_documents(
    store: Store, videos: Sequence[Exported], year: Literal[2017, 2018], suspects_only: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and document, as in PoseTrack's files of a year, of one video at a time, in order of the names.

    Those of 2018 tell whose people they are, so that they can come back corrected (storage.annotated_coco).

    Raises InputError for track ids that PoseTrack's evaluator refuses.
    """
    first = first_image_ids({video.name: _frames(store, video) for video in videos}) if year == 2018 else {}
    for video in sorted(videos, key=lambda video: video.name):
        own, given = _both(store, video, suspects_only)
        if suspects_only and not len(given.frames):
            continue
        results = in_skeleton(own, POSETRACK_15)
        try:
            posetrack18.check_track_ids(results)
        except DatasetError as error:
            raise video.refused(error) from None
        if year == 2017:
            yield video.name, posetrack17.write(results)
            continue
        document = posetrack18.write(results, first[video.name])
        annotated_coco.mark(document, [given], POSETRACK_15)
        yield video.name, document


def coco_documents(store: Store, videos: Sequence[Exported], suspects_only: bool = False) -> dict[str, Any]:
    """COCO's dataset `annotations` and list `results` of all videos together, in the skeleton of their poses.

    The dataset tells whose people they are, so that they can come back corrected (storage.annotated_coco).

    Raises InputError where the poses have several skeletons, or frames of different videos one number.
    """
    both = [_both(store, video, suspects_only) for video in sorted(videos, key=lambda video: video.name)]
    chosen = [(own, given) for own, given in both if len(given.frames) or not suspects_only]
    if not chosen:
        return {}
    found = [own for own, _ in chosen]
    # A video without people has no skeleton of its own.
    owners = {one.skeleton: one.name for one in found if len(one.people)}
    if len(owners) > 1:
        named = ", ".join(f"{skeleton.name} ({name})" for skeleton, name in owners.items())
        raise InputError(f"COCO's files hold one skeleton, the poses have several: {named}; choose with --videos")
    skeleton = next(iter(owners), COCO_17)
    same = [in_skeleton(one, skeleton) for one in found]
    try:
        dataset, results = coco.write_dataset(same), coco.write_results(same)
    except DatasetError as error:
        raise InputError(f"these videos cannot be exported together: {error}; choose with --videos") from None
    annotated_coco.mark(dataset, [given for _, given in chosen], skeleton)
    return {"annotations": dataset, "results": results}


def cvat_files(store: Store, videos: Sequence[Exported], suspects_only: bool = False) -> Iterator[tuple[str, bytes]]:
    """Name and content of CVAT's XML of one video at a time, and at the end of the labels that tasks are created with."""
    skeletons = {}
    for video in sorted(videos, key=lambda video: video.name):
        _, given = _both(store, video, suspects_only)
        if len(given.frames) or not suspects_only:
            skeletons[given.skeleton.name] = given.skeleton
            yield f"{video.name}.xml", cvat.write(given)
    _check_one(skeletons)
    for skeleton in skeletons.values():
        yield cvat.LABELS_FILE, cvat.write_labels(skeleton)


def labelstudio_files(
    store: Store, videos: Sequence[Exported], images: str | None, suspects_only: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Name and content of Label Studio's tasks of one video at a time, and at the end of the project's labelling interface.

    Args: images, what stands before the names of the pictures; None for Label Studio's local storage.
    """
    skeletons = {}
    for video in sorted(videos, key=lambda video: video.name):
        _, given = _both(store, video, suspects_only)
        if len(given.frames) or not suspects_only:
            skeletons[given.skeleton.name] = given.skeleton
            tasks = labelstudio.write(given, labelstudio.PREFIX if images is None else images)
            yield f"{video.name}.json", json.dumps(tasks, separators=(",", ":"), allow_nan=False).encode()
    _check_one(skeletons)
    for skeleton in skeletons.values():
        yield labelstudio.CONFIG_FILE, labelstudio.write_config(skeleton)


def _check_one(skeletons: Mapping[str, Any]) -> None:
    if len(skeletons) > 1:
        named = ", ".join(skeletons)
        raise InputError(f"the poses have several skeletons, which are labelled differently: {named}; choose with --videos")


def write_tables(store: Store, target: Store, videos: Iterable[Exported]) -> list[str]:
    """Write the published tables as Parquet files by video and frame, one video in memory at a time; names of the files.

    All appear when all are written, each in one step.
    """
    names = [f"{name_of(schema)}.parquet" for schema in RESULTS]
    with ExitStack() as files:
        paths = [files.enter_context(target.new_file(name)) for name in names]
        with ExitStack() as writing:
            writers = [
                writing.enter_context(GroupedWriter(path, schema)) for path, schema in zip(paths, RESULTS, strict=True)
            ]
            for video in sorted(videos, key=lambda video: video.finished.video):
                rows = published_rows(store, video.run, video.finished)
                for writer, schema in zip(writers, RESULTS, strict=True):
                    writer.add(rows[name_of(schema)])
    return names


def read_sequence(store: Store, video: Exported) -> sequence.Sequence:
    """A video's results with names for all its frames. DamagedArtifactError where artifacts are not whole."""
    return _sequence(store, video, published_rows(store, video.run, video.finished))


def _both(store: Store, video: Exported, suspects_only: bool) -> tuple[sequence.Sequence, HandedOut]:
    """A video's results, and who of them is handed out to be corrected: of suspects, both in the frames around them alone."""
    rows = published_rows(store, video.run, video.finished)
    found = _sequence(store, video, rows)
    width_px, height_px = found.size_px[0].tolist()
    given = handed_out(
        rows,
        run=video.run,
        name=video.name,
        size_px=(width_px, height_px),
        pictures=found.frame_names,
        suspects_only=suspects_only,
    )
    if suspects_only:
        found = found.in_frames(np.isin(np.arange(len(found)), given.frames))
    return found, given


def _sequence(store: Store, video: Exported, rows: Mapping[str, pa.Table]) -> sequence.Sequence:
    found = sequence_of(rows["poses"], _frame_index(store, video).read(), video.name)
    names, ids = _pictures(store, video)
    if len(names) != len(found):
        names = [f"{frame:06d}.jpg" for frame in range(len(found))]
    # A folder that is called as the video tells PoseTrack's tools whose the pictures are.
    whole = tuple(name if "/" in name else f"images/{video.name}/{name}" for name in names)
    return replace(found, frame_names=whole, image_id=np.array(ids, np.int64) if len(ids) == len(found) else found.image_id)


def _pictures(store: Store, video: Exported) -> tuple[list[str], list[int]]:
    """Names of the frames' pictures, those in the folder of frames or in the file of poses, and their numbers, if it has some."""
    if video.source.kind == "poses" and video.poses_sha256 is not None:
        return given_pictures(read_given(store, video.poses_sha256))
    if video.source.kind == "frames":
        with suppress(OSError):  # the folder may be gone; the results are not
            return [path.rpartition("/")[2] for path in image_paths(video.source)], []
    return [], []


def _frame_index(store: Store, video: Exported) -> Artifact:
    return Artifact(store, index.STAGE.name, video.finished.index_key)


def _frames(store: Store, video: Exported) -> int:
    manifest = _frame_index(store, video).manifest()
    return manifest.rows if manifest is not None else 0
