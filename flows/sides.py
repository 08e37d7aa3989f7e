"""What is evaluated: the videos of a dataset, of one of its runs, or of files of predictions, and what found their people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from storage import runs, tables
from storage.artifacts import Artifact
from storage.sources import InputError, some
from storage.store import Store
from tasks import detect, estimate, given, index, publish
from tasks.evaluation import Results
from tasks.merge import finished_of_run

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
    found = _of_run(store, runs.find_run(store, run)) if run is not None else _published(store)
    chosen = _chosen(found, videos)
    if not chosen:
        what = store.root if run is None else f"run {run} of {store.root}"
        raise InputError(f"{what} holds no finished videos to evaluate; annotate some first")
    own_runs = sorted({one.run for one in chosen})
    detectors = sorted({detector for one in own_runs for detector in _detectors(store, one, {r.video for r in chosen})})
    address = store.root if run is None else f"{store.root}@{run}"
    return Side(address, ", ".join(own_runs), "; ".join(detectors), tuple(chosen))


def side_of_files(address: str, found: Sequence[Results], videos: Collection[str]) -> Side:
    """The videos of files of predictions."""
    twice = [name for name, count in Counter(one.video for one in found).items() if count > 1]
    if twice:
        raise InputError(f"{address} holds several videos of one name: {some(twice)}; give each once")
    return Side(address, address, f"those of {address}", tuple(_chosen(found, videos)))


def is_files(address: str) -> bool:
    """Whether an address names files of predictions, and not a store, which holds runs."""
    if address.endswith((".json", ".parquet")) or any(character in address for character in "*?["):
        return True
    root, run = runs.split_address(address)
    return run is None and not Store(root).folders("runs")


def _published(store: Store) -> list[Results]:
    runs.find_run(store, None)
    found = []
    for row in tables.read(store, "videos").to_pylist():
        manifest = Artifact(store, publish.STAGE.name, row["publish_key"]).manifest() if row["publish_key"] else None
        if manifest is None:
            raise InputError(f"{row['video']} is being annotated anew, or its artifact is gone; run `tkm annotate` to the end")
        keys = {"index_key": manifest.inputs[index.STAGE.name], "publish_key": manifest.key}
        found.append(Results(row["video"], _names(row["name"], row["video"]), row["run"], row["shard"], store.root, **keys))
    return found


def _of_run(store: Store, run: str) -> list[Results]:
    return [
        Results(one.video, _names(one.name, one.video), run, one.shard, store.root, one.index_key, one.publish_key)
        for one in finished_of_run(store, run)
    ]


def _names(name: str, video: str) -> tuple[str, ...]:
    """What files of truth may call a video: its name without suffix, its name, its id."""
    return tuple(dict.fromkeys((name.rpartition(".")[0] or name, name, video)))


def _chosen(found: Sequence[Results], videos: Collection[str]) -> list[Results]:
    if not videos:
        return list(found)
    chosen: set[str] = set()
    for pattern in videos:
        matching = {one.video for one in found if any(name == pattern or fnmatchcase(name, pattern) for name in one.names)}
        if not matching:
            known = some(one.names[0] for one in found)
            raise InputError(f"--videos {pattern}: there is no video of that id or name, only {known}")
        chosen |= matching
    return [one for one in found if one.video in chosen]


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
    poses = f"poses by {_network(estimate.STAGE.weights)}"
    if given.BOXES.name in params:
        return f"boxes from {file}, {poses}"
    own: Mapping[str, Any] = json.loads(params[detect.STAGE.name])
    return f"{_network(detect.STAGE.weights)} ({', '.join(f'{name} {value:g}' for name, value in own.items())}), {poses}"


def _network(weights: Iterable[str]) -> str:
    return ", ".join(_NETWORKS.get(name, name) for name in weights)
