"""A stage's results may change only together with its version: else stores would mix old rows with new ones.

golden.json holds each stage's version and coarse facts of its table on 20 frames of the bundled clip: for shots with cuts put
between them, for boxes and poses, what the run itself found, given back for every second frame, for embed, paths and refine, with
heads of random weights, for correct with a few edits. After a wanted change, raise the stage's version and run
`python -m tests.tasks.test_versions`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from storage.corrections import Correction
from storage.given import Kind, given_of, sequences_from_table
from storage.store import Store
from storage.video import decode
from tasks import correct, detect, given, index, publish, shots
from tasks.execute import timeline
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan
from tasks.stage import Block, Stage
from tests.conftest import DEMO_CLIP, head_params, plan_of, run_all
from tkm.corrections import Anchor, Edit
from tkm.skeleton import COCO_17

GOLDEN = Path(__file__).parent / "golden.json"
_CHOSEN = {"pose_cell", "candidate_cell", "place"}  # where the greatest of numbers stands: of two near ones, processors differ


def facts(table: pa.Table) -> dict[str, Any]:
    """Number of rows, and mean and spread of every numeric column that holds any: equal across processors but for rounding."""
    found: dict[str, Any] = {"rows": table.num_rows}
    for field in table.schema:
        column = table[field.name].combine_chunks()
        values = column.flatten() if pa.types.is_list(field.type) else column
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        if values.null_count == len(values):
            continue
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
            found[field.name] = [float(np.nanmean(numbers)), float(np.nanstd(numbers))]
            if not pa.types.is_floating(values.type) and field.name not in _CHOSEN:
                place = np.arange(len(numbers))
                found[field.name].append(float((numbers * np.cos(place)).sum()))  # tells one order from another
    return found


def facts_of_runs(plan: VideoPlan, refined: VideoPlan) -> dict[str, dict[str, Any]]:
    tables = {stage.name: plan.artifact(stage).read() for stage in plan.stages} | {"shots": shots_of_run(plan)}
    tables |= {stage.name: refined.artifact(stage).read() for stage in refined.stages if stage not in plan.stages}
    tables |= {stage.name: given_of_run(plan, stage) for stage in (given.BOXES, given.POSES)}
    tables |= {"correct": corrected_of_run(plan)}
    return {stage.name: {"version": stage.version, "facts": facts(tables[stage.name])} for stage in PIPELINE}


def shots_of_run(plan: VideoPlan) -> pa.Table:
    """Shots of the run's frames, every second one sampled, made to hold cuts of every kind: to other views, and to less light."""
    line = timeline(plan)

    def views() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number, image in decode(plan.source, line.info, line.frames):
            mirrored = image[:, ::-1] if 5 <= number < 8 else image
            yield number, mirrored // 2 if number >= 15 else mirrored

    return shots.STAGE.checked(shots.run(line.frames[::2], views(), shots.ShotsParams(split=True)))


def given_of_run(plan: VideoPlan, stage: Stage) -> pa.Table:
    """The run's boxes or published poses as if a user had given them, of every second frame."""
    kind: Kind = "boxes" if stage is given.BOXES else "poses"
    rows = plan.artifact(detect.STAGE if stage is given.BOXES else publish.STAGE).read()
    (sequence,) = sequences_from_table(rows, "cam01", "the run")
    return stage.checked(stage.run(given_of(sequence, kind, None).table, timeline(plan).frames[::2], given.GivenParams()))


def corrected_of_run(plan: VideoPlan) -> pa.Table:
    """The run where a track is split, another deleted in some frames, a keypoint moved and one hidden."""
    line, K = timeline(plan), len(COCO_17.keypoints)
    inputs = {stage.name: plan.artifact(stage).read() for stage in correct.STAGE.inputs if stage in plan.stages}
    rows = plan.artifact(publish.STAGE).read().to_pylist()

    def anchor(frame: int, place: int) -> Anchor:
        row = [row for row in rows if row["frame"] == frame][place]
        box = tuple(row[f"box_{side}"] for side in ("x1", "y1", "x2", "y2"))
        return Anchor(frame, box, (None,) * K)  # type: ignore[arg-type]

    edits = (
        Edit("split", anchor(8, 0)),
        Edit("delete", anchor(5, 1), last_frame=9),
        Edit("move", anchor(3, 0), joint=9, xy_px=(400.0, 800.0)),
        Edit("hide", anchor(3, 1), joint=10),
    )
    name = f"20260101T000000000000Z-{'0' * 64}"
    made = {name: Correction(plan.video, "", "", "", "", COCO_17.name, edits)}
    block = Block(line.frames, line.pts_ns, (), inputs)
    table, told = correct.run(block, made, correct.CorrectParams(records=(name,)))
    assert all(told["is_applied"].to_pylist())
    return correct.STAGE.checked(table)


@pytest.mark.parametrize("name", [stage.name for stage in PIPELINE])
def test_results_and_version_change_together(short_run: VideoPlan, refined_run: VideoPlan, name: str) -> None:
    golden, now = json.loads(GOLDEN.read_text())[name], facts_of_runs(short_run, refined_run)[name]
    same = golden["facts"].keys() == now["facts"].keys() and all(
        np.allclose(golden["facts"][column], now["facts"][column], rtol=2e-3, atol=2e-3) for column in golden["facts"]
    )
    if golden["version"] == now["version"]:
        assert same, f"the results of {name} changed: raise its version, then run python -m tests.tasks.test_versions"
    else:
        pytest.fail(f"the version of {name} changed: run python -m tests.tasks.test_versions")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        frames = {"index": index.IndexParams(frames=":20")}
        plans = [plan_of(Store(folder), DEMO_CLIP, frames | heads) for heads in ({}, head_params(Path(folder)))]
        for plan in plans:
            run_all(plan)
        GOLDEN.write_text(json.dumps(facts_of_runs(*plans), indent=1))
