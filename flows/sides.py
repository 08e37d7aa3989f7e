"""What is evaluated: the videos of a dataset, of one of its runs, or of files of predictions, and what found their people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from storage import runs, tables
from storage.artifacts import Artifact
from storage.documents import find_documents
from storage.sources import InputError, some
from storage.store import Store
from tasks import detect, estimate, given, index, publish
from tasks.evaluation import Results
from tasks.merge import Finished, finished_of_run
from tasks.stage import Stage

_NETWORKS = {"nanodet": "NanoDet", "movenet-thunder": "MoveNet Thunder"}


@dataclass(frozen=True)
class Side:
    """Results that are evaluated: where they are, which run or file they are of, and what found their people."""

    address: str
    run: str
    detector: str
    results: tuple[Results, ...]


def side_of_store(store: Store, run: str | None, videos: Collection[str]) -> Side:
    """The videos of a run, or all that are published (None); of them those that `videos` names, by id, name or glob of either.

    Raises InputError where there are none, StoreError where there is no such run.
    """
    chosen = finished_videos(store, run, videos)
    results = tuple(
        Results(one.video, _names(one), own, one.shard, store.root, one.index_key, one.publish_key) for own, one in chosen
    )
    own_runs = sorted({one.run for one in results})
    detectors = sorted({detector for one in own_runs for detector in _detectors(store, one, {r.video for r in results})})
    address = store.root if run is None else f"{store.root}@{run}"
    return Side(address, ", ".join(own_runs), "; ".join(detectors), results)


def finished_videos(store: Store, run: str | None, videos: Collection[str]) -> list[tuple[str, Finished]]:
    """Finished videos, each after the run it is of: chosen and refused as by `side_of_store`."""
    found = [(run, one) for one in finished_of_run(store, runs.find_run(store, run))] if run is not None else _published(store)
    if not found:
        what = store.root if run is None else f"run {run} of {store.root}"
        raise InputError(f"{what} holds no finished videos; annotate some first")
    chosen = _chosen({one.video: _names(one) for _, one in found}, videos)
    return [(own, one) for own, one in found if one.video in chosen]


def side_of_files(address: str, found: Sequence[Results], videos: Collection[str]) -> Side:
    """The videos of files of predictions."""
    twice = [name for name, count in Counter(one.video for one in found).items() if count > 1]
    if twice:
        raise InputError(f"{address} holds several videos of one name: {some(twice)}; give each once")
    chosen = _chosen({one.video: one.names for one in found}, videos)
    return Side(address, address, f"those of {address}", tuple(one for one in found if one.video in chosen))


def is_files(address: str) -> bool:
    """Whether an address names files of predictions, and not a store, which holds runs."""
    if address.endswith((".json", ".parquet")) or any(character in address for character in "*?["):
        return True
    root, run = runs.split_address(address)
    return run is None and not Store(root).folders("runs")


def check_address(address: str) -> None:
    """Raise InputError or StoreError where an address of results cannot be taken: before it is passed to a flow, and recorded."""
    if is_files(address):
        find_documents(address)
    else:
        Store(runs.split_address(address)[0])


def _published(store: Store) -> list[tuple[str, Finished]]:
    runs.find_run(store, None)
    found = []
    for row in tables.read(store, "videos").to_pylist():
        manifest = Artifact(store, publish.STAGE.name, row["publish_key"]).manifest() if row["publish_key"] else None
        if manifest is None:
            raise InputError(f"{row['video']} is being annotated anew, or its artifact is gone; run `tkm annotate` to the end")
        index_key = manifest.inputs[index.STAGE.name]
        same = {name: row[name] for name in Finished.__dataclass_fields__ if name != "index_key"}
        found.append((row["run"], Finished(**same, index_key=index_key)))
    return found


def _names(one: Finished) -> tuple[str, ...]:
    """What files of truth may call a video: its name without suffix, its name, its id."""
    return tuple(dict.fromkeys((one.name.rpartition(".")[0] or one.name, one.name, one.video)))


def _chosen(names: Mapping[str, tuple[str, ...]], videos: Collection[str]) -> set[str]:
    """Ids of the videos that patterns name, all of them where there is none. InputError for a pattern that names none."""
    if not videos:
        return set(names)
    chosen: set[str] = set()
    for pattern in videos:
        matching = {
            video for video, own in names.items() if any(name == pattern or fnmatchcase(name, pattern) for name in own)
        }
        if not matching:
            known = some(own[0] for own in names.values())
            raise InputError(f"--videos {pattern}: there is no video of that id or name, only {known}")
        chosen |= matching
    return chosen


def _detectors(store: Store, run: str, videos: Collection[str]) -> set[str]:
    """What found the people of some videos of a run, and their poses."""
    facts, _ = runs.read_facts(store, run)
    file = facts.get("detections") or "a file"
    stages: dict[str, dict[str, str]] = {}
    for row in runs.read_plan(store, run).to_pylist():
        if row["video"] in videos:
            stages.setdefault(row["video"], {})[row["stage"]] = row["params"]
    return {_detector(own, file) for own in stages.values()}


def _detector(params: Mapping[str, str], file: str) -> str:
    if given.POSES.name in params:
        return f"poses from {file}"
    poses = f"poses by {_network(_params(params, estimate.STAGE))}"
    if given.BOXES.name in params:
        return f"boxes from {file}, {poses}"
    own = _params(params, detect.STAGE)
    thresholds = [f"{name} {own[name]:g}" for name in ("score_threshold", "nms_iou")]
    return f"{_network(own, *thresholds)}, {poses}"


def _params(params: Mapping[str, str], stage: Stage) -> Mapping[str, Any]:
    """A stage's parameters; those that a run did not know yet are what they are now by default."""
    return {**stage.Params().model_dump(), **json.loads(params[stage.name])}


def _network(params: Mapping[str, Any], *more: str) -> str:
    """Name of a network, with what makes it another: deformable convolutions, flip test, a user's weights by eight digits."""
    switches = [name.replace("_", " ") for name in ("deformable", "flip_test") if params.get(name)]
    weights = [f"weights {params['weights'][:8]}"] if params["weights"] else []
    facts = ", ".join([*switches, *weights, *more])
    return _NETWORKS.get(params["network"], params["network"]) + (f" ({facts})" if facts else "")
