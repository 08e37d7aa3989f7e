"""What changed from one run to another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flows.diff import Side, diff
from storage.sources import InputError
from storage.store import Store, StoreError
from tasks import track
from tasks.compare import RowsChanged, compare_rows
from tasks.merge import published_rows
from tasks.plan import VideoPlan
from tests.flows.commands import tkm
from tests.flows.recorded import copied, recorded, tracked_again
from tests.tasks.plans import finished

Rows = dict[str, pa.Table]


@pytest.fixture
def plan(short_run: VideoPlan, tmp_path: Path) -> VideoPlan:
    return copied(short_run, tmp_path / "store")


@pytest.fixture
def rows(short_run: VideoPlan) -> Rows:
    return published_rows(short_run.store, "20260101-000000-000000", finished(short_run))


def changed(rows: Rows, name: str, column: str, values: np.ndarray) -> Rows:
    table = rows[name]
    place = table.schema.get_field_index(column)
    return {**rows, name: table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))}


def test_another_parameter_changes_what_rests_on_it(plan: VideoPlan) -> None:
    first = recorded(plan)
    other = tracked_again(plan, track.TrackParams(similarity="oks", iou_gate=1.0))
    second = recorded(other)
    found = diff(Side(plan.store, first), Side(plan.store, None))
    assert [(one.stage, one.what, one.before, one.after, one.videos) for one in found.changes] == [
        ("track", "iou_gate", "0.1", "1.0", 1)
    ]
    (video,) = found.videos
    assert video.stages == ("track", "publish")
    assert found.rows["frames"] == RowsChanged()
    assert found.rows["poses"].changed == video.people.renumbered > 0
    assert (found.rows["poses"].added, found.rows["poses"].removed, found.moved) == (0, 0, 0)
    assert video.people.tracks[1] > video.people.tracks[0]
    back = diff(Side(plan.store, second), Side(plan.store, first))
    assert back.rows["tracks"].removed == found.rows["tracks"].added
    assert back.changes[0].before == "1.0"


def test_the_same_artifacts_are_the_same_and_nothing_of_them_is_read(plan: VideoPlan) -> None:
    first, second = recorded(plan), recorded(plan)
    shutil.rmtree(Path(plan.store.root) / "artifacts")
    found = diff(Side(plan.store, first), Side(plan.store, second))
    assert not found.is_any
    assert (found.same, found.changes) == (1, ())


def test_rows_that_are_equal_are_the_same_whatever_made_them(plan: VideoPlan) -> None:
    first = recorded(plan)
    recorded(tracked_again(plan, track.TrackParams(similarity="oks", iou_gate=0.10001)))
    found = diff(Side(plan.store, first), Side(plan.store, None))
    assert (found.is_any, found.same, len(found.changes)) == (False, 1, 1)


def test_videos_of_one_side_only_are_named(plan: VideoPlan, tmp_path: Path) -> None:
    run = recorded(plan)
    empty = Store(str(tmp_path / "empty"))
    with pytest.raises(StoreError, match="holds no run"):
        diff(Side(plan.store, None), Side(empty, None))
    gone = recorded(plan, is_published=False)
    (Path(plan.store.root) / "runs" / gone / f"plan-{plan.shard:02d}-0000.parquet").unlink()
    found = diff(Side(plan.store, run), Side(plan.store, gone))
    assert (found.only_first, found.only_second, found.is_any) == ((plan.source.name,), (), True)
    assert found.rows["videos"] == RowsChanged(removed=1)
    with pytest.raises(InputError, match=r"neither .* has finished a video"):
        diff(Side(plan.store, gone), Side(plan.store, gone))


def test_moved_keypoints_are_measured(rows: Rows) -> None:
    x = rows["poses"]["nose_x"].to_numpy().copy()
    x[:5] += np.array([1, 2, 3, 4, 40], np.float32)
    found, people = compare_rows(rows, changed(rows, "poses", "nose_x", x), same_detections=True)
    assert found["poses"] == RowsChanged(changed=5)
    assert (people.moved, people.keypoints) == (5, 17 * rows["poses"].num_rows)
    assert people.median_px == pytest.approx(3, abs=1e-3)
    assert people.max_px == pytest.approx(40, abs=1e-3)


def test_people_are_found_again_by_their_boxes_where_detections_are_numbered_anew(rows: Rows) -> None:
    poses = rows["poses"]
    order = np.lexsort((-poses["detection"].to_numpy(), poses["frame"].to_numpy()))
    second = {**rows, "poses": poses.take(order)}
    numbers = poses["detection"].to_numpy()
    found, people = compare_rows(rows, changed(second, "poses", "detection", numbers), same_detections=False)
    assert found["poses"] == RowsChanged()
    assert (people.moved, people.renumbered) == (0, 0)
    fewer, _ = compare_rows(rows, {**rows, "poses": poses.slice(3)}, same_detections=False)
    assert fewer["poses"] == RowsChanged(removed=3)


def test_ids_that_only_have_other_names_are_not_regrouped(rows: Rows) -> None:
    ids = rows["poses"]["track_id"].to_numpy()
    renamed = compare_rows(rows, changed(rows, "poses", "track_id", 7 - ids), same_detections=True)[1]
    assert (renamed.renumbered, renamed.regrouped) == (len(ids), 0)
    swapped = ids.copy()
    last = np.flatnonzero(rows["poses"]["frame"].to_numpy() == 19)
    swapped[last] = np.roll(ids[last], 1)
    people = compare_rows(rows, changed(rows, "poses", "track_id", swapped), same_detections=True)[1]
    assert people.renumbered == people.regrouped == len(last) > 1


@pytest.mark.slow
def test_the_command_tells_it_and_its_exit_status_only_when_asked(plan: VideoPlan) -> None:
    first = recorded(plan)
    recorded(tracked_again(plan, track.TrackParams(similarity="oks", iou_gate=1.0)))
    root = plan.store.root
    said = tkm("diff", f"{root}@{first}", root)
    assert said.returncode == 0, said.stderr
    assert "track iou_gate: 0.1 -> 1.0" in said.stdout
    assert tkm("diff", f"{root}@{first}", root, "--exit-code").returncode == 1
    told = json.loads(tkm("diff", root, root, "--exit-code", "--json").stdout)
    assert (told["differ"], told["same"]) == (False, 1)
