"""An ablation as the paper's table with our numbers beside it, in Markdown, and as Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pyarrow as pa

from flows.ablate import Ablation, Compared, Measured
from flows.ablation_rows import BY_NAME, Row
from storage.learning_schemas import ABLATION
from storage.parquet import parquet_bytes
from storage.store import Store
from tkm.metrics.bootstrap import Difference

# By metric: its heading, what an Evaluation calls it, what Differences do, and the place of the paper's number.
_METRICS = {
    "map": ("mAP", "ap_before_threshold", "average_precision", 0),
    "mota": ("MOTA", "mota", "mota", 1),
    "hota": ("HOTA", "hota", "hota", None),
    "idf1": ("IDF1", "idf1", "idf1", None),
    "id_switches": ("ID switches", "id_switches", "id_switches", None),
}
_NMS = {"cnms": "cNMS", "pnms": "pNMS"}
_REFINEMENT = {"none": "", "self": "self", "context": "with context"}


def write(store: Store, name: str, ablation: Ablation) -> tuple[str, str]:
    """Write the report and the table; their names below the store's root."""
    report, rows = f"ablation/{name}.md", f"ablation/{name}.parquet"
    store.write(report, markdown(ablation).encode())
    store.write(rows, parquet_bytes(table(ablation)))
    return report, rows


def table(ablation: Ablation) -> pa.Table:
    """Every value of every row, and every difference, as a table `ablation`."""
    by_name = {one.row.name: one for one in ablation.measured}
    rows = [row for one in ablation.measured for row in _own_rows(one)]
    rows += [row for one in ablation.compared for row in _difference_rows(one, by_name[one.row.name])]
    return pa.Table.from_pylist(rows, schema=ABLATION)


def _own_rows(one: Measured) -> Iterator[dict[str, object]]:
    for metric in _METRICS:
        value = {"value": _value(one, metric), "low": None, "high": None, "paper": _paper(one.row, metric)}
        yield {**_facts(one), "against": None, "metric": metric, **value}


def _difference_rows(one: Compared, of: Measured) -> Iterator[dict[str, object]]:
    for metric in _METRICS:
        found = _difference(one, metric)
        ends = (found.difference, found.low, found.high) if found else (math.nan,) * 3
        values = {name: None if math.isnan(end) else end for name, end in zip(("value", "low", "high"), ends, strict=True)}
        yield {**_facts(of), "against": one.against.name, "metric": metric, **values, "paper": _paper_difference(one, metric)}


def _facts(one: Measured) -> dict[str, object]:
    return {
        "row": one.row.name,
        "suppression": one.row.method,
        "similarity": one.row.similarity,
        "refinement": one.row.refinement,
        "nms_threshold": one.tuned.setting.nms,
        "min_pose_score": one.tuned.setting.min_pose_score,
        "keypoint_threshold": one.tuned.setting.keypoint_threshold,
        "memory_frames": one.tuned.setting.memory_frames if one.row.memory else 0,
        "memory_similarity": one.tuned.setting.memory_similarity if one.row.memory else None,
        "tuning_mota": one.tuned.mota,
        "tuning_map": one.tuned.average_precision,
        "run": one.evaluation.run,
        "videos": one.evaluation.videos,
    }


def markdown(ablation: Ablation) -> str:
    """The report."""
    return "\n\n".join(_parts(ablation)) + "\n"


def _parts(ablation: Ablation) -> Iterator[str]:
    first = ablation.measured[0].evaluation
    yield "# Ablation"
    yield "\n".join(
        (
            f"- Clips: {ablation.data.videos}, {first.videos} of them, truth {ablation.data.truth}",
            f"- Tuned on: {ablation.tuning.videos}, truth {ablation.tuning.truth}",
            f"- Frames: {ablation.sampling or 'all'}",
            f"- Networks: {first.detector}",
            "- mAP is that of all keypoints; MOTA, HOTA, IDF1 and ID switches come after the keypoint threshold. Mean (of ID "
            "switches the sum) over the joints that have truth, official protocol. The paper's numbers: its data, its networks.",
        )
    )
    headings = [heading for heading, *_ in _METRICS.values()]
    yield _markdown_table(
        ("row", "NMS", "similarity", "refinement", *headings, "paper's mAP", "paper's MOTA"),
        [_line(one) for one in ablation.measured] + [_lacking_line(BY_NAME[name]) for name in ablation.lacking],
    )
    for name, lack in ablation.lacking.items():
        yield f"Row {name} needs {lack}."
    if ablation.compared:
        yield "## Differences"
        yield "With 95% intervals, paired bootstrap over clips (none of a single clip); the paper's in brackets after them."
        yield _markdown_table(("rows", *headings), [_difference_line(one) for one in ablation.compared])
    yield "## Settings"
    yield "Each row's own, of the highest MOTA on the tuning clips; MOTA and mAP are those there. Memory: frames, similarity."
    yield _markdown_table(
        ("row", "cnms_iou", "pnms_distance", "min_pose_score", "keypoint threshold", "memory", "tried", "MOTA", "mAP", "run"),
        [_setting_line(one) for one in ablation.measured],
    )


def _line(one: Measured) -> list[str]:
    row = one.row
    values = [_number(_value(one, metric), 0 if metric == "id_switches" else 1) for metric in _METRICS]
    return [*_names(row), *values, *(_number(_paper(row, metric)) for metric in ("map", "mota"))]


def _lacking_line(row: Row) -> list[str]:
    return [*_names(row), *("" for _ in _METRICS), *(_number(_paper(row, metric)) for metric in ("map", "mota"))]


def _names(row: Row) -> list[str]:
    similarity = row.similarity.upper() + (", memory" if row.memory else "")
    return [row.name, _NMS[row.method], similarity, _REFINEMENT[row.refinement]]


def _difference_line(one: Compared) -> list[str]:
    cells = []
    for metric in _METRICS:
        digits = 0 if metric == "id_switches" else 2
        found, paper = _difference(one, metric), _paper_difference(one, metric)
        cell = "" if found is None else f"{found.difference:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
        cells.append(cell if paper is None else f"{cell} ({paper:+.1f})".strip())
    return [f"{one.row.name} - {one.against.name}", *cells]


def _setting_line(one: Measured) -> list[str]:
    setting, is_cnms = one.tuned.setting, one.row.method == "cnms"
    threshold = "none" if setting.keypoint_threshold is None else f"{setting.keypoint_threshold:g}"
    of_nms = (f"{setting.nms:g}", "") if is_cnms else ("", f"{setting.nms:g}")
    scores = (f"{one.tuned.mota:.1f}", f"{one.tuned.average_precision:.1f}")
    memory = f"{setting.memory_frames}, {setting.memory_similarity:g}" if one.row.memory else ""
    values = (f"{setting.min_pose_score:g}", threshold, memory, str(one.tuned.tried), *scores)
    return [one.row.name, *of_nms, *values, one.evaluation.run]


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def _value(one: Measured, metric: str) -> float | None:
    return one.evaluation.values[_METRICS[metric][1]]["Total with truth"]


def _difference(one: Compared, metric: str) -> Difference | None:
    found: Difference | None = getattr(one.differences, _METRICS[metric][2], None)
    return found


def _paper(row: Row, metric: str) -> float | None:
    place = _METRICS[metric][3]
    return row.paper[place] if row.paper is not None and place is not None else None


def _paper_difference(one: Compared, metric: str) -> float | None:
    own, other = _paper(one.row, metric), _paper(one.against, metric)
    return round(own - other, 1) if own is not None and other is not None else None


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"
