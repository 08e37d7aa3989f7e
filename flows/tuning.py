"""Thresholds of a row of the ablation, tuned by MOTA on annotated clips; the store keeps what was found, by all it rests on."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from distributed import Client

from flows.ablation_rows import Row, row_params
from flows.calls import Call, run_all
from flows.errors import EvaluationError
from storage.runs import Failure
from storage.sealed import DocumentError, seal, unseal
from storage.store import Store
from tasks import embed, estimate, index, paths, publish, refine, suppress, track
from tasks.stage import Params, Resources
from tasks.tuning import (
    DROPPED_GRID,
    MEMORY_GRID,
    MIN_POSE_SCORE_GRID,
    NMS_GRID,
    Clip,
    Setting,
    Trial,
    keypoint_scores,
    pooled_average_precision,
    pooled_mota,
    trials,
)

_VERSION = 1  # of what tuning does, beside the stages' own
_STAGES = (suppress.STAGE, track.STAGE, paths.STAGE, refine.STAGE, publish.STAGE)


@dataclass(frozen=True)
class Tuned:
    """The setting of a row's highest MOTA on the tuning clips, what it reaches there, and how many settings were tried."""

    setting: Setting
    mota: float
    average_precision: float
    tried: int


def tuned(
    client: Client, store: Store, row: Row, params: Mapping[str, Params], digests: Mapping[str, str], clips: Sequence[Clip]
) -> Tuned:
    """Tune a row: its suppression threshold, then the floor for pose scores, then a memory, each with all keypoint thresholds.

    Args: params, by stage, from which `row_params` makes the row's; digests, of heads, by role.
    Raises: EvaluationError, which names clips, where some cannot be tried.
    """
    start = Setting(NMS_GRID[row.method][0])
    name = f"ablation/tuning/{_digest(row, row_params(params, row, start, digests), clips)}.json"
    try:
        return unseal(store.read(name), lambda kept: Tuned(**{**kept, "setting": Setting(**kept["setting"])}))
    except (FileNotFoundError, DocumentError):
        found = _search(client, store, row, partial(row_params, params, row, digests=digests), clips, start)
    store.write(name, seal(asdict(found)))
    return found


def _search(client: Client, store: Store, row: Row, params_of: Any, clips: Sequence[Clip], start: Setting) -> Tuned:
    scores = np.concatenate(_on_clips(client, clips, keypoint_scores, store, params_of(start)))
    if not len(scores):
        raise EvaluationError(f"row {row.name}: nobody was found on any of the tuning clips")
    thresholds = [None if not share else _short(float(np.quantile(scores, share))) for share in DROPPED_GRID]
    found: dict[Setting, tuple[float, float]] = {}

    def look(settings: Sequence[Setting]) -> Setting:
        """Try settings under every keypoint threshold; the best of all so far."""
        by_clip = _on_clips(client, clips, trials, store, [params_of(one) for one in settings], thresholds)
        for n, setting in enumerate(settings):
            of_setting: list[Trial] = [own[n] for own in by_clip]
            points = [trial.points for trial in of_setting]
            average_precision = pooled_average_precision(points)
            for t, threshold in enumerate(thresholds):
                mota = pooled_mota([trial.counts[t] for trial in of_setting], points)
                found[replace(setting, keypoint_threshold=threshold)] = (mota, average_precision)
        return max(found, key=lambda setting: found[setting][0])

    best = look([replace(start, nms=nms) for nms in NMS_GRID[row.method]])
    others = MIN_POSE_SCORE_GRID[1:]
    best = look([Setting(best.nms, floor) for floor in others])
    if row.memory:
        at_best = replace(best, keypoint_threshold=None)
        best = look([replace(at_best, memory_frames=n, memory_similarity=least) for n, least in MEMORY_GRID[row.similarity]])
    return Tuned(best, *found[best], len(found))


def _on_clips(client: Client, clips: Sequence[Clip], function: Any, store: Store, *arguments: Any) -> list[Any]:
    """A function's results on every clip, in their order."""
    names = [clip.plan.video for clip in clips]
    calls = [
        Call(name, clip.plan.source, "tune", f"tune-{name}-{uuid.uuid4().hex[:8]}", function, (store, clip, *arguments))
        for name, clip in zip(names, clips, strict=True)
    ]
    found = run_all(client, uuid.uuid4().hex[:8], calls, Resources(cpus=1))
    if failed := [one.message for one in found.values() if isinstance(one, Failure)]:
        raise EvaluationError("\n".join(failed[:5]))
    return [found[name] for name in names]


def _short(value: float) -> float:
    """Three digits, which say enough of a threshold."""
    return float(f"{value:.3g}")


def _digest(row: Row, params: Mapping[str, Params], clips: Sequence[Clip]) -> str:
    """Of all that decides what tuning finds."""
    facts: dict[str, Any] = {
        "version": _VERSION,
        "stages": {stage.name: stage.version for stage in _STAGES},
        "params": {stage.name: params[stage.name].model_dump(mode="json") for stage in (*_STAGES, embed.STAGE)},
        "grids": (NMS_GRID[row.method], MIN_POSE_SCORE_GRID, DROPPED_GRID, MEMORY_GRID[row.similarity] if row.memory else ()),
        "clips": sorted(_keys(clip, params) for clip in clips),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]


def _keys(clip: Clip, params: Mapping[str, Params]) -> list[str]:
    """Keys of what a clip's trials are computed from."""
    stages = [index.STAGE, estimate.STAGE, *([embed.STAGE] if embed.STAGE.is_active(params) else [])]
    keys = [clip.plan.keys[stage.name] for stage in stages]
    return [*keys, clip.truth.frames_key, clip.truth.poses_key]
