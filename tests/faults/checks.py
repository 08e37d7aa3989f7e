"""What must hold whatever has happened: nothing claims to be done that is not, and nothing finished is done again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from flows.status import run_status
from storage import runs, tables
from storage.artifacts import Artifact, all_keys
from storage.runs import read_plan
from storage.store import Store
from tasks import publish
from tasks.verify import verify_artifacts, verify_given, verify_records, verify_tables
from tests.faults import scenes
from tests.faults.workshop import Calm

Committed = Mapping[tuple[str, str], Mapping[tuple[int, int], Collection[str]]]  # by stage and key: parts of spans of frames


def committed(root: str) -> Committed:
    """What is committed: by stage and key, the names of the parts of each span of frames."""
    store, found = Store(root), dict[tuple[str, str], dict[tuple[int, int], list[str]]]()
    for stage, keys in all_keys(store).items():
        for key in keys:
            chunks = Artifact(store, stage, key).chunks()
            found[stage, key] = {(c.start, c.stop): [part.name for part in (c.part, c.state) if part] for c in chunks}
    return found


def false_claims(root: str, calm: Collection[Calm]) -> list[str]:
    """A sentence on each thing that the store says is done, and is not. `calm` are the results that there may be."""
    store = Store(root)
    said = []
    whole = set()
    for stage, keys in all_keys(store).items():
        for key in keys:
            artifact = Artifact(store, stage, key)
            damage = [found for chunk in artifact.chunks() if (found := artifact.damage(chunk))]
            said += [f"committed, but {found}" for found in damage]
            if not damage and artifact.manifest() is not None:
                whole.add((stage, key))
    if tables.open_table(store, "videos") is not None:
        said += _false_rows(scenes.published(root), [one.tables for one in calm])
    for run in runs.all_runs(store):
        last = {(row["stage"], row["key"], row["video"]) for row in read_plan(store, run).to_pylist()}
        published = {video for stage, key, video in last if stage == publish.STAGE.name and (stage, key) in whole}
        told = {stage.stage: stage.done for stage in run_status(store, run).stages}
        if told.get(publish.STAGE.name, 0) > len(published):
            said.append(f"status of {run} says that {told[publish.STAGE.name]} videos are done, but {len(published)} are")
    return said


def _false_rows(found: Mapping[str, pd.DataFrame], expected: Collection[Mapping[str, pd.DataFrame]]) -> list[str]:
    """Videos that `videos` says are published, whose rows are not those of their artifact."""
    said = []
    for video in found["videos"].itertuples():
        if not video.publish_key:
            continue  # claimed by a run that did not come to its end
        for calm in expected:
            if video.publish_key in set(calm["videos"].publish_key):
                names = [name for name in calm if name != "failures"]
                own = {name: _of(found[name], video.name) for name in names}
                said += [f"published, but {line}" for line in scenes.different(own, {n: _of(calm[n], video.name) for n in names})]
                break
        else:
            said.append(f"{video.name} is published from {video.publish_key}, which no undisturbed run makes")
    return said


def _of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["name"] == name].reset_index(drop=True)


def found_by_verify(root: str) -> list[str]:
    """All that `tkm verify` would report."""
    store = Store(root)
    damage = [line for stage in verify_artifacts(store, lambda _: None) for line in stage.damage]
    return [*damage, *verify_given(store), *verify_records(store), *verify_tables(store).damage]


def repeated(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Objects that are gone or were written again."""
    return [name for name, fact in before.items() if after.get(name) != fact]


def computed_again(frames: Mapping[str, int], kept: Committed, calm: Calm) -> list[str]:
    """Stages of which a run computed more frames than were missing."""
    whole = _frames(calm)
    said = []
    for stage, count in frames.items():
        mine = [(key, spans) for (name, key), spans in kept.items() if name == stage and key in whole.get(stage, {})]
        missing = sum(whole.get(stage, {}).values()) - sum(stop - start for _, spans in mine for start, stop in spans)
        if stage != "index" and count > missing:
            said.append(f"{count} frames of {stage} were computed, but {missing} were missing")
    return said


def _frames(calm: Calm) -> dict[str, dict[str, int]]:
    """Frames of each artifact of undisturbed results, by stage and key, from the names of its parts."""
    found: dict[str, dict[str, int]] = {}
    for name in calm.contents:
        folder, *rest = name.split("/")
        if folder == "artifacts" and "-state-" not in rest[-1]:
            start, stop = rest[-1].split("-")[:2]
            stage, key = rest[:2]
            found.setdefault(stage, {})[key] = found.get(stage, {}).get(key, 0) + int(stop) - int(start)
    return found
