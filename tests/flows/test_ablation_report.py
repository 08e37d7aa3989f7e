"""The report of an ablation: the paper's table with our numbers, and the same as Parquet."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow.parquet as pq

from flows.ablate import Ablation, Compared, Data, Measured
from flows.ablation_report import markdown, write
from flows.ablation_rows import BY_NAME
from flows.scoreboard import Evaluation
from flows.tuning import Tuned
from storage.learning_schemas import ABLATION
from storage.store import Store
from tasks.tuning import Setting
from tkm.metrics.bootstrap import Difference, Differences

METRICS = ("ap_before_threshold", "mota", "hota", "idf1", "id_switches")


def measured(name: str, setting: Setting, *values: float) -> Measured:
    totals = {metric: {"Total": -1.0, "Total with truth": value} for metric, value in zip(METRICS, values, strict=True)}
    evaluation = Evaluation(
        "digest", "store", f"run-{name}", "truth", "official", setting.keypoint_threshold, "NanoDet, poses by MoveNet", 3, 180,
        totals, {}, {}, (),
    )  # fmt: skip
    return Measured(BY_NAME[name], Tuned(setting, 61.0, 71.0, 56), evaluation)


def ablation() -> Ablation:
    m2 = measured("M2", Setting(0.2, 0.1, None), 75.04, 60.0, 50.0, 40.0, 120.0)
    m1 = measured("M1", Setting(0.6, 0.2, 0.25), 74.0, 58.5, 49.0, 39.0, 130.0)
    difference = Difference(1.04, 0.5, 1.5)
    differences = Differences(
        difference, Difference(1.5, -0.25, 3.0), difference, Difference(math.nan, math.nan, math.nan), Difference(-10, -20, -2)
    )
    compared = (Compared(BY_NAME["M2"], BY_NAME["M1"], differences),)
    lacking = {"M9": "--pose-weights FILE"}
    return Ablation((m1, m2), compared, lacking, Data("val", "val.json"), Data("train", "train.json"), "--every 4")


def test_the_report_has_our_numbers_beside_the_papers() -> None:
    lines = markdown(ablation()).splitlines()
    assert "| M1 | cNMS | IOU |  | 74.0 | 58.5 | 49.0 | 39.0 | 130 | 75.2 | 63.5 |" in lines
    assert "| M9 | pNMS | TKM | with context |  |  |  |  |  | 79.5 | 72.2 |" in lines
    assert "Row M9 needs --pose-weights FILE." in lines
    difference = next(line for line in lines if line.startswith("| M2 - M1"))
    assert "+1.04 [+0.50, +1.50] (+0.9) | +1.50 [-0.25, +3.00] (+1.3) |" in difference
    assert difference.endswith("| -10 [-20, -2] |")
    assert "| M1 | 0.6 |  | 0.2 | 0.25 |  | 56 | 61.0 | 71.0 | run-M1 |" in lines
    assert "| M2 |  | 0.2 | 0.1 | none |  | 56 | 61.0 | 71.0 | run-M2 |" in lines
    assert "- Frames: --every 4" in lines


def test_the_parquet_file_tells_what_the_report_tells(tmp_path: Path) -> None:
    store, found = Store(str(tmp_path)), ablation()
    report, rows = write(store, "val", found)
    assert (tmp_path / report).read_text() == markdown(found)
    table = pq.read_table(tmp_path / rows)
    assert table.schema.equals(ABLATION, check_metadata=False)
    assert table.schema.field("low").metadata[b"description"].startswith(b"lower end")
    facts = table.to_pandas()
    own = facts[facts.against.isna()].set_index(["row", "metric"]).loc[("M1", "map")]
    assert (own.value, own.paper, own.nms_threshold, own.keypoint_threshold) == (74.0, 75.2, 0.6, 0.25)
    assert math.isnan(own.low)
    differences = facts[facts.against == "M1"].set_index(["row", "metric"])
    less = differences.loc[("M2", "mota")]
    assert (less.value, less.low, less.high, less.paper) == (1.5, -0.25, 3.0, 1.3)
    assert math.isnan(differences.value["M2", "idf1"]), "undefined is null"
    assert table.num_rows == 3 * len(METRICS)


def test_a_single_clip_has_no_intervals() -> None:
    found = ablation()
    alone = Ablation(found.measured, (Compared(BY_NAME["M2"], BY_NAME["M1"], None),), {}, found.data, found.tuning, "")
    line = next(line for line in markdown(alone).splitlines() if line.startswith("| M2 - M1"))
    assert line == "| M2 - M1 | (+0.9) | (+1.3) |  |  |  |"
