"""What a run is to do: videos, and, where it repeats earlier runs, what those knew of them and what is made anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from flows.settings import SettingsError, own_parameters, sentence
from storage import runs, tables
from storage.sources import InputError, Source
from storage.store import Store
from tasks import correct, given, index, refine
from tasks.given import GivenParams
from tasks.heads import HeadsError, Role, unused, with_other_weights
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan, plan_video
from tasks.stage import Params, Stage

_THREADS = 16  # videos whose artifacts are opened again at a time: it is the store that is waited for
_Changes = Mapping[str, Mapping[str, str]]  # stage -> parameter -> value


@dataclass(frozen=True)
class Earlier:
    """What an earlier run knew of a video: its content, known also when the video is gone, and its parameters by stage."""

    content_sha256: str
    params: Mapping[str, Params]


@dataclass(frozen=True)
class Wanted:
    """The videos of a run; by address, what earlier runs knew of those that are run again, and, by stage, what a user gave.

    `notes` are sentences on what of it the run leaves aside. `corrections` are, by video, names of those that it is to have.
    """

    sources: Sequence[Source]
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    given: Mapping[str, Mapping[str, GivenParams]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    corrections: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def params(self, source: Source, chosen: Mapping[str, Params]) -> Mapping[str, Params]:
        """A video's parameters by stage: those chosen with what is given for it, or those of the run that is repeated; and its
        corrections.
        """
        earlier = self.earlier.get(source.uri)
        params = earlier.params if earlier else {**chosen, **self.given.get(source.uri, {})}
        records = tuple(self.corrections.get(source.video_id, ()))
        return {**params, correct.STAGE.name: correct.CorrectParams(records=records)}

    def poses_sha256(self, source: Source) -> str:
        """What stands for the content of a video that is known by its poses alone."""
        earlier = self.earlier.get(source.uri)
        return earlier.content_sha256 if earlier else str(self.given[source.uri]["poses"].sha256)


def wanted_again(
    store: Store,
    run: str | None,
    stage: str,
    changes: Iterable[str],
    videos: Collection[str],
    weights: Mapping[Role, str] | None = None,
) -> Wanted:
    """The videos of an earlier run, or where none is given all published ones, with the parameters they had, some changed.

    Args:
        store: that of the earlier runs.
        run: id of the run, None for the dataset: of every video the run whose results it shows.
        stage: the stage to run again.
        changes: `name=value` for a parameter of that stage, `later.name=value` for one of a stage that rests on it.
        videos: ids, names, or globs of either; none means all.
        weights: digests, by role, of weights files that take the place of those that the videos had.

    Raises SettingsError for a change that cannot be made, InputError where there are no such videos.
    """
    changed, digests = _changes(stage, changes), weights or {}
    planned = _planned(store, run)
    rows = {video: planned[video] for video in _chosen(planned, videos)}
    if not rows:
        what = store.root if run is None else f"run {run} of {store.root}"
        raise InputError(f"{what} holds no videos to run again; annotate them first")
    _refuse_shots_without_pictures(rows, changed)
    firsts = {video: next(iter(own.values())) for video, own in rows.items()}
    sources = {video: Source(first["uri"], first["kind"]) for video, first in firsts.items()}
    earlier = {
        source.uri: Earlier(firsts[video]["content_sha256"], _params_again(stage, rows[video], changed, digests))
        for video, source in sources.items()
    }
    notes = {note: None for one in earlier.values() for note in unused(one.params, digests)}
    return Wanted(tuple(sources.values()), earlier, notes=tuple(notes))


def distinct_params(wanted: Wanted) -> list[Mapping[str, Params]]:
    """The different parameters of the videos that are run again, but for what sampling, given rows and corrections change."""
    of_video = {index.STAGE.name, given.BOXES.name, given.POSES.name, correct.STAGE.name}
    found = {}
    for earlier in wanted.earlier.values():
        has_given = tuple(earlier.params[stage].sha256 is None for stage in (given.BOXES.name, given.POSES.name))  # type: ignore[attr-defined]
        shared = tuple(params.model_dump_json() for stage, params in earlier.params.items() if stage not in of_video)
        found[has_given, shared] = earlier.params
    return list(found.values())


def _refuse_shots_without_pictures(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], changes: _Changes) -> None:
    of_poses = [video for video, own in rows.items() if next(iter(own.values()))["kind"] == "poses"]
    if of_poses and any(_params(rows[video], changes)["shots"].split for video in of_poses):  # type: ignore[attr-defined]
        raise SettingsError(
            f"shots.split looks at pictures, and {of_poses[0]} was annotated from poses without any; name others with --videos"
        )


def dependents(stage: str) -> set[str]:
    """Names of a stage and of all that take, directly or not, what it makes. SettingsError for a name that is no stage's."""
    names_known = [known.name for known in PIPELINE]
    if stage not in names_known:
        raise SettingsError(f"--stage {stage}: there is no such stage; choose one of {', '.join(names_known)}")
    names = {stage}
    for later in PIPELINE:  # inputs stand before those that take them
        if names & {source.name for source in later.inputs}:
            names.add(later.name)
    return names


def reopen(store: Store, wanted: Wanted, stages: Collection[str]) -> None:
    """Withdraw what the store holds of these stages for the videos as they were, so that it is computed anew."""
    known = ((source, wanted.earlier[source.uri].content_sha256) for source in wanted.sources)
    plans = (plan_video(store, source, content_sha256, wanted.params(source, {})) for source, content_sha256 in known)
    by_key = {tuple(plan.keys.values()): plan for plan in plans}  # videos of one content share their artifacts
    chosen = [stage for stage in PIPELINE if stage.name in stages]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda plan: _withdraw(plan, chosen), by_key.values()))


def _withdraw(plan: VideoPlan, stages: Sequence[Stage]) -> None:
    # From the end, for a finished last stage needs none of the others.
    for stage in (stage for stage in reversed(stages) if stage.name in plan.keys):
        artifact = plan.artifact(stage)
        artifact.withdraw(artifact.chunks())


def _planned(store: Store, run: str | None) -> dict[str, dict[str, dict[str, Any]]]:
    """Plan rows by video and stage: of one run, or of every published video those of the run that it shows."""
    if run is not None:
        return _by_video(runs.read_plan(store, runs.find_run(store, run)).to_pylist())
    runs.find_run(store, None)
    shown = {row["video"]: row["run"] for row in tables.read(store, "videos", columns=["video", "run"]).to_pylist()}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in sorted(set(shown.values())):
        rows = runs.read_plan(store, one).to_pylist()
        found |= _by_video([row for row in rows if shown.get(row["video"]) == one])
    return dict(sorted(found.items()))


def _by_video(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["video"], {})[row["stage"]] = row
    return found


def _chosen(planned: Mapping[str, Mapping[str, Mapping[str, Any]]], videos: Collection[str]) -> list[str]:
    """Ids of the videos that are named; all of them where no name is given."""
    if not videos:
        return list(planned)
    names = {video: next(iter(rows.values()))["name"] for video, rows in planned.items()}
    chosen: set[str] = set()
    for pattern in videos:
        found = {video for video, name in names.items() if _matches(video, pattern) or _matches(name, pattern)}
        if not found:
            some = ", ".join(list(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise InputError(f"--videos {pattern}: there is no video of that id or name, only {some}")
        chosen |= found
    return [video for video in planned if video in chosen]


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _changes(stage: str, changes: Iterable[str]) -> _Changes:
    open_to_change = dependents(stage)
    found: dict[str, dict[str, str]] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise SettingsError(f"--set {change}: give it as name=value")
        section, dot, parameter = name.strip().rpartition(".")
        section = section if dot else stage
        if section not in open_to_change:
            others = ", ".join(known.name for known in PIPELINE if known.name in open_to_change)
            raise SettingsError(f"--set {change}: --stage {stage} runs only {others} again; choose the --stage it belongs to")
        found.setdefault(section, {})[parameter] = value.strip()
    for section, values in found.items():
        own = own_parameters(_stage(section))
        for parameter in values.keys() & _stage(section).Params.model_fields.keys() - own.keys():
            raise SettingsError(f"--set {section}.{parameter}: this is the digest of a file; give the file by its own option")
        _validated(_stage(section), values)  # said once, not once a video
    return found


def recorded_params(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Params]:
    """A video's parameters of all stages, from the rows of its plan by stage. SettingsError for what is not known today."""
    return _params(rows, {})


def _params(rows: Mapping[str, Mapping[str, Any]], changes: _Changes) -> dict[str, Params]:
    """A video's parameters of all stages; of those that it did not go through, the defaults, but that refine stays off."""
    absent = {refine.STAGE.name: {"on": False}}
    recorded = {
        stage.name: json.loads(rows[stage.name]["params"]) if stage.name in rows else absent.get(stage.name, {})
        for stage in PIPELINE
    }
    for stage in (stage for stage in PIPELINE if stage.name in changes):
        recorded[stage.name] = {**without_derived(stage, recorded[stage.name]), **changes[stage.name]}
    return {stage.name: _validated(stage, recorded[stage.name]) for stage in PIPELINE}


def without_derived(stage: Stage, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values without digests, which other weights replace, and without those that are but the default that others make: the size
    of crop that is a network's own does not go to another network.
    """
    own = {name: value for name, value in values.items() if name in own_parameters(stage)}
    derived = {name for name in own if stage.Params.model_fields[name].default_factory_takes_validated_data}
    by_default = _validated(stage, {name: value for name, value in own.items() if name not in derived}).model_dump()
    return {name: value for name, value in own.items() if name not in derived or value != by_default[name]}


def _params_again(
    stage: str, rows: Mapping[str, Mapping[str, Any]], changes: _Changes, digests: Mapping[Role, str]
) -> dict[str, Params]:
    """A video's parameters under changes and other weights. SettingsError where those reach stages that are not run again."""
    before = _params(rows, {})
    try:
        after = with_other_weights(before, _params(rows, changes), digests)
    except HeadsError as error:
        raise SettingsError(str(error)) from error
    again = dependents(stage)
    for one in PIPELINE:
        # A stage that the run had not is merely missing.
        if one.name in rows and one.name not in again and one.is_active(after) and before[one.name] != after[one.name]:
            raise SettingsError(
                f"--stage {stage} does not run {one.name} again, which would use other weights now: choose --stage {one.name}"
            )
    return after


def _stage(name: str) -> Stage:
    return next(stage for stage in PIPELINE if stage.name == name)


def _validated(stage: Stage, values: Mapping[str, Any]) -> Params:
    try:
        return stage.Params(**values)
    except ValidationError as error:
        raise SettingsError(sentence(error, stage.name)) from error
