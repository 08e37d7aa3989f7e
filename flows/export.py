"""export: published results written in the formats of other tools, in a folder or behind any URL."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, Literal

from flows.detections import name_of
from flows.settings import SettingsError
from flows.sides import finished_videos
from storage import runs
from storage.sources import InputError, Source
from storage.store import Store, StoreError
from tasks import given
from tasks.exports import Exported, coco_documents, cvat_files, labelstudio_files, posetrack_documents, write_tables
from tasks.merge import Finished

FORMATS = ("posetrack18", "posetrack17", "coco", "parquet", "cvat", "labelstudio")
CORRECTED = ("posetrack18", "coco", "cvat", "labelstudio")  # what can come back
_YEARS: dict[str, Literal[2017, 2018]] = {"posetrack18": 2018, "posetrack17": 2017}


def export(
    store: Store,
    run: str | None,
    format_: str,
    output: str,
    videos: Collection[str] = (),
    *,
    suspects_only: bool = False,
    images: str | None = None,
) -> Iterator[str]:
    """Write the results of a run, or the latest of every video (None), into a folder; yields the address of each file written.

    Args:
        store: whose results are exported.
        run: id of the run.
        format_: one of FORMATS.
        output: folder or URL, made where it is missing; files of the same names are replaced, each in one step.
        videos: ids, names, or globs of either; none means all.
        suspects_only: only the frames around suspects (tasks.handing_out), of videos that have some.
        images: what Label Studio's addresses of pictures begin with; None for its local storage.

    Raises SettingsError for another format or an option that it has not, StoreError where there is no such run or the folder
    cannot be written, InputError where there are no such videos, two of one name, or results that the format has no place for.
    """
    if format_ not in FORMATS:
        raise SettingsError(f"--format {format_}: there is no such format; choose one of {', '.join(FORMATS)}")
    if suspects_only and format_ not in CORRECTED:
        raise SettingsError(f"--suspects: {format_} is written whole; choose one of {', '.join(CORRECTED)}")
    if images is not None and format_ != "labelstudio":
        raise SettingsError(f"--images: {format_} has no addresses of pictures; leave it out, or give --format labelstudio")
    target = Store(output)
    target.reach()
    if target.folders("runs"):
        raise StoreError(f"{target.root} holds results of `tkm annotate`; give another --output")
    chosen = _exported(store, finished_videos(store, run, videos))
    if format_ != "parquet":
        _refuse_same_names(chosen)
    target.check()
    if format_ == "parquet":
        yield from (f"{target.root}/{name}" for name in write_tables(store, target, chosen))
        return
    count = 0
    for name, data in _files(store, format_, chosen, suspects_only, images):
        target.write(name, data)
        count += 1
        yield f"{target.root}/{name}"
    if not count:
        raise InputError("--suspects: these videos have no suspects; leave --suspects out to export all their people")


def _files(
    store: Store, format_: str, videos: list[Exported], suspects_only: bool, images: str | None
) -> Iterator[tuple[str, bytes]]:
    if format_ == "cvat":
        yield from cvat_files(store, videos, suspects_only)
    elif format_ == "labelstudio":
        yield from labelstudio_files(store, videos, images, suspects_only)
    else:
        documents = (
            iter(coco_documents(store, videos, suspects_only).items())
            if format_ == "coco"
            else posetrack_documents(store, videos, _YEARS[format_], suspects_only)
        )
        for name, document in documents:
            yield f"{name}.json", json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _exported(store: Store, found: list[tuple[str, Finished]]) -> list[Exported]:
    """Finished videos with what the plans of their runs know of them."""
    plans: dict[tuple[str, str], dict[str, Any]] = {}
    for run in {run for run, _ in found}:
        for row in runs.read_plan(store, run).to_pylist():
            plans.setdefault((run, row["video"]), row)[f"{row['stage']}_params"] = row["params"]
    exported = []
    for run, one in found:
        plan = plans.get((run, one.video))
        if plan is None:
            raise StoreError(f"{store.root} has lost the plan of run {run}, which {one.video} is of; annotate it again")
        source = Source(one.uri, plan["kind"])
        poses = json.loads(plan.get(f"{given.POSES.name}_params", "{}"))
        exported.append(Exported(run, one, source, name_of(source), poses.get("sha256")))
    return exported


def _refuse_same_names(videos: list[Exported]) -> None:
    owners: dict[str, str] = {}
    for video in videos:
        other = owners.setdefault(video.name, video.finished.video)
        if other != video.finished.video:
            raise InputError(f"{other} and {video.finished.video} are both called {video.name}; choose one with --videos")
