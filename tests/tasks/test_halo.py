"""Stages that look at the frames around their own, and stages that share a pass: what they see, whatever the chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from storage.artifacts import DamagedArtifactError, Provenance
from storage.codecs import column
from storage.store import Store, StoreError
from tasks import detect, index, suppress
from tasks.execute import run_frames
from tasks.plan import VideoPlan
from tasks.stage import Block, Params, Resources, Stage

HALO, FRAMES = 3, 20
INPUT_CHUNKS = (0, 6, 8, 15, FRAMES)
SEEN = pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in
     (("frame", pa.int64()), ("first", pa.int64()), ("last", pa.int64()), ("score", pa.float64()))]
)  # fmt: skip


def around(block: Block, params: Params) -> pa.Table:
    """Of every frame its window's ends, and the sum of the scores of all detections in it."""
    frame = column(block.inputs["suppress"], "frame", np.int64)
    score = column(block.inputs["suppress"], "pose_score", np.float64)
    windows = [block.frames[np.abs(block.frames - t) <= HALO] for t in block.core_frames]
    return pa.table(
        {
            "frame": block.core_frames,
            "first": [window[0] for window in windows],
            "last": [window[-1] for window in windows],
            "score": [score[np.isin(frame, window)].sum() for window in windows],
        },
        schema=SEEN,
    )


def stage(name: str, run: Callable[..., pa.Table], *inputs: Stage, **more: Any) -> Stage:
    return Stage(name, run, Params, inputs=(suppress.STAGE, *inputs), output=SEEN, resources=Resources(cpus=1), version=1, **more)


AROUND = stage("around", around, halo=lambda _: HALO)


def plan_with(store: Store, short_run: VideoPlan, *stages: Stage) -> VideoPlan:
    """The short run's index, and its survivors in chunks of uneven lengths, under a plan that knows these stages too."""
    own = {one.name: f"{n:040d}" for n, one in enumerate(stages)}
    params = {**short_run.params, **{name: Params() for name in own}}
    plan = replace(short_run, store=store, keys={**short_run.keys, **own}, params=params)
    frames = short_run.artifact(index.STAGE).read()
    plan.artifact(index.STAGE).commit(0, frames.num_rows, frames, seconds=0, device="cpu")
    plan.artifact(index.STAGE).close(frames.num_rows, Provenance(1, {}, {}, {}, {}))
    survivors = short_run.artifact(suppress.STAGE).read().combine_chunks()
    for start, stop in pairwise(INPUT_CHUNKS):
        is_mine = np.isin(survivors["frame"].to_numpy(), np.arange(start, stop))
        plan.artifact(suppress.STAGE).commit(start, stop, survivors.filter(pa.array(is_mine)), seconds=0, device="cpu")
    return plan


def no_report(stage: str, frames: int) -> None:
    pass


def made(plan: VideoPlan, one: Stage, chunk_frames: int, *segments: tuple[int, int]) -> pa.Table:
    for start, stop in segments or ((0, FRAMES),):
        run_frames(plan, [one], start, stop, chunk_frames=chunk_frames, threads=2, report=no_report)
    return plan.artifact(one).read().combine_chunks()


@pytest.mark.parametrize(
    ("chunk_frames", "segments"),
    [(128, ()), (1, ()), (7, ()), (2, ((9, FRAMES), (0, 9)))],
    ids=["one chunk", "chunks of 1", "chunks of 7", "two segments"],
)
def test_a_halo_shows_the_frames_around_whatever_the_chunks(
    short_run: VideoPlan, tmp_path: Path, chunk_frames: int, segments: tuple[tuple[int, int], ...]
) -> None:
    plan = plan_with(Store(str(tmp_path)), short_run, AROUND)
    found = made(plan, AROUND, chunk_frames, *segments)
    frame = np.arange(FRAMES)
    assert found["frame"].to_pylist() == frame.tolist()
    assert found["first"].to_pylist() == np.maximum(frame - HALO, 0).tolist()
    assert found["last"].to_pylist() == np.minimum(frame + HALO, FRAMES - 1).tolist()
    whole = short_run.artifact(suppress.STAGE).read()
    score, of = column(whole, "pose_score", np.float64), column(whole, "frame", np.int64)
    assert found["score"].to_pylist() == [score[np.abs(of - t) <= HALO].sum() for t in frame]


def test_a_halo_reads_every_part_of_its_inputs_once(
    short_run: VideoPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_with(Store(str(tmp_path)), short_run, AROUND)
    reads: Counter[str] = Counter()
    read = Store.read

    def counted(store: Store, name: str) -> bytes:
        reads[name] += 1
        return read(store, name)

    monkeypatch.setattr(Store, "read", counted)
    made(plan, AROUND, 2)
    assert {reads[chunk.part.name] for chunk in plan.artifact(suppress.STAGE).chunks()} == {1}


def test_a_halo_that_reaches_into_damage_stops(short_run: VideoPlan, tmp_path: Path) -> None:
    plan = plan_with(Store(str(tmp_path)), short_run, AROUND)
    part = plan.artifact(suppress.STAGE).chunks()[1].part
    plan.store.write(part.name, plan.store.read(part.name)[::-1])
    with pytest.raises(DamagedArtifactError, match=part.name):
        made(plan, AROUND, 2, (2, 4))
    assert plan.artifact(AROUND).chunks() == []


def test_a_stage_with_a_halo_shares_no_pass_and_sees_no_pixels(short_run: VideoPlan, tmp_path: Path) -> None:
    looking = stage("looking", around, halo=lambda _: HALO, images=True)
    plan = plan_with(Store(str(tmp_path)), short_run, AROUND, looking)
    for stages in ([suppress.STAGE, AROUND], [looking]):
        with pytest.raises(ValueError, match="a stage with a halo"):
            run_frames(plan, stages, 0, FRAMES, chunk_frames=8, threads=1, report=no_report)


def test_stages_of_a_pass_leave_things_for_those_that_come_after_them(short_run: VideoPlan, tmp_path: Path) -> None:
    seen: list[tuple[str, frozenset[str], dict[str, Any]]] = []

    def noted(name: str, leaves: bool) -> Callable[[Block, Params], pa.Table]:
        def run(block: Block, params: Params) -> pa.Table:
            seen.append((name, block.pending, dict(block.shared)))
            assert block.input_params["suppress"] == short_run.params["suppress"]
            assert set(block.input_params) == ({"suppress"} if leaves else {"suppress", "first"})
            if leaves:
                block.shared["features"] = block.frames.tolist()
            return around(block, params)

        return run

    first = stage("first", noted("first", True))
    second = stage("second", noted("second", False), first, detect.STAGE)
    plan = plan_with(Store(str(tmp_path)), short_run, first, second)
    plan = replace(plan, keys={name: key for name, key in plan.keys.items() if name != "detect"})  # not part of this run
    run_frames(plan, [first, second], 0, FRAMES, chunk_frames=10, threads=1, report=no_report)
    halves = [list(range(10)), list(range(10, FRAMES))]
    assert seen == [
        ("first", frozenset({"second"}), {}),
        ("second", frozenset(), {"features": halves[0]}),
        ("first", frozenset({"second"}), {}),
        ("second", frozenset(), {"features": halves[1]}),
    ]


def test_weights_that_a_stage_uses_are_brought_before_it_runs(short_run: VideoPlan, tmp_path: Path) -> None:
    weighty = stage("weighty", around, weights=lambda _: {"matching": "0" * 64})
    plan = plan_with(Store(str(tmp_path)), short_run, weighty)
    with pytest.raises(StoreError, match=f"weights/{'0' * 64}"):
        made(plan, weighty, 8)
    assert plan.artifact(weighty).chunks() == []
