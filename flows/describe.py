"""describe: the stages, every setting, and the tables with their columns and units, as the code itself knows them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from flows.options import option_name
from flows.settings import S3, S3_SECRETS, Engine, Limits, Weights, own_parameters
from storage.evaluation_schemas import EVALUATED
from storage.learning_schemas import TRAINED
from storage.schemas import PUBLISHED, describe, description_of, name_of, unit_of
from tasks import evaluation
from tasks.heads import ROLES, option
from tasks.pipeline import PIPELINE, STEPS
from tasks.stage import Stage


def whole() -> Iterator[str | Table]:
    """Everything, piece by piece, for a terminal."""
    for stage in (*PIPELINE, *evaluation.STAGES):
        step = next((name for name, stages in STEPS.items() if stage in stages), "evaluate")
        yield f"\n[bold]{stage.name}[/] (version {stage.version}, step {step}) takes {_inputs(stage)}; {escape(_doc(stage))}"
        for name, field in own_parameters(stage).items():
            yield _setting(option_name(stage, name), field)
        yield _columns(stage.output)
    yield "\n[bold]Weights[/]: files of networks and trained heads; stages' keys hold their digests"
    for role in ROLES:
        yield _setting(option(role), Weights.model_fields[role])
    yield "\n[bold]Limits[/] of each stage, which change no result"
    for name, field in Limits.model_fields.items():
        yield _setting(f"--STAGE-{name.replace('_', '-')}", field)
    yield "\n[bold]Engine[/]: how a run is carried out, which changes no result"
    for name, field in Engine.model_fields.items():
        yield _setting(f"--{name.replace('_', '-')}", field)
    yield "\n[bold]S3[/]: over what the environment and profiles say"
    for name, field in S3.model_fields.items():
        yield _setting(f"TKM_S3__{name.upper()}" if name in S3_SECRETS else f"--s3-{name.replace('_', '-')}", field)
    yield "\n[bold]Published tables[/]"
    for schema in (*PUBLISHED, *EVALUATED, *TRAINED):
        yield _columns(schema)


def stage_table() -> str:
    """The pipeline as a Markdown table, for the README."""
    lines = ["| stage | takes | makes | on | what it does |", "| --- | --- | --- | --- | --- |"]
    for stage in (*PIPELINE, *evaluation.STAGES):
        where = "GPU" if stage.resources.gpus else "CPU"
        lines.append(f"| {stage.name} | {_inputs(stage)} | `{name_of(stage.output)}` | {where} | {_doc(stage)} |")
    return "\n".join(lines)


def _setting(option: str, field: Any) -> str:
    is_told = field.default is None or field.default_factory is not None  # the latter by the description
    default = "" if is_told else f" [dim]default: {field.default}[/]"
    return f"  {option}  {escape(field.description)}{default}"


def _columns(schema: Any) -> Table:
    title = f"{name_of(schema)}: {describe(schema)}"
    table = Table("column", "type", "unit", "what it holds", title=title, title_justify="left")
    for field in schema:
        table.add_row(field.name, str(field.type).split("<")[0], unit_of(field), description_of(field))
    return table


def _inputs(stage: Stage) -> str:
    return ", ".join(source.name for source in stage.inputs) or ("the video" if stage in PIPELINE else "annotations")


def _doc(stage: Stage) -> str:
    text = inspect.getdoc(sys.modules[stage.run.__module__]) or ""
    return " ".join(text.split("\n\n")[0].split()).partition(": ")[2]
