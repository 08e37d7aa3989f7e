"""Every setting as an option of the command line: parameters of all stages, weights, engine, and of S3 what is no secret."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import typer

from flows.settings import S3, S3_SECRETS, Engine, Limits, Weights, own_fields, own_parameters
from tasks.heads import ROLES
from tasks.heads import option as weights_option
from tasks.pipeline import PIPELINE
from tasks.stage import Params, Stage


def option_name(stage: Stage, name: str) -> str:
    """Option of a stage's parameter or limit: `--track-similarity`; the sampling, of index, stands for itself: `--fps`.

    A parameter may have a name of its own instead, as `option` of its field's `json_schema_extra`: `--split-shots`.
    """
    if name in Limits.model_fields:
        return f"--{stage.name}-{name.replace('_', '-')}"
    own = stage.Params.model_fields[name].json_schema_extra
    if isinstance(own, dict) and "option" in own:
        return str(own["option"])
    prefix = f"{stage.name}-" if stage.inputs else ""
    return f"--{prefix}{name.replace('_', '-')}"


def _parameter_options() -> Iterable[tuple[str, str, inspect.Parameter]]:
    """Section, name and typer parameter for every setting that may be an option."""
    for stage in PIPELINE:
        for name, field in (own_parameters(stage) | Limits.model_fields).items():
            variable, flag = f"{stage.name}__{name}", option_name(stage, name)
            yield stage.name, name, _option(variable, flag, field, f"stage {stage.name}")
    for role in ROLES:
        field = Weights.model_fields[role]
        yield "weights", role, _option(f"weights__{role}", weights_option(role), field, "weights", "FILE")
    for name, field in Engine.model_fields.items():
        yield "engine", name, _option(f"engine__{name}", f"--{name.replace('_', '-')}", field, "engine")
    for name, field in S3.model_fields.items():
        if name not in S3_SECRETS:  # every user of a machine sees the command lines of all
            yield "s3", name, _option(f"s3__{name}", f"--s3-{name.replace('_', '-')}", field, "s3")


def _option(variable: str, flag: str, field: Any, panel: str, metavar: str | None = None) -> inspect.Parameter:
    is_flag = field.annotation is bool
    # A default that depends on other settings is told by the description.
    is_told = field.default is None or field.default_factory is not None or is_flag
    default = "" if is_told else f" (default {field.default})"
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_flag else flag,
        help=f"{field.description}{default}",
        rich_help_panel=panel,
        metavar=None if is_flag else metavar or _metavar(field.annotation),
        show_default=False,
    )
    annotation = Annotated[bool | None, option] if is_flag else Annotated[str | None, option]
    return inspect.Parameter(variable, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _metavar(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return {int: "N", float: "X", str: "TEXT"}[annotation]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting; it gets them as `options`, section -> name -> value, those given only."""
    return _with_options(command, [*_parameter_options()])


def with_manner(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, as `with_settings` does, the options of weights, engine and S3, and stages' limits."""
    sections = ("weights", "engine", "s3")
    manner = [option for option in _parameter_options() if option[0] in sections or option[1] in Limits.model_fields]
    return _with_options(command, manner)


def with_networks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that `with_manner` gives, but for --keep and --report, and those of networks and sampling."""
    sections = ("index", "detect", "estimate", "weights", "engine", "s3")
    chosen = [option for option in _parameter_options() if option[0] in sections or option[1] in Limits.model_fields]
    left_out = (("engine", "keep"), ("engine", "report"))
    return _with_options(command, [option for option in chosen if option[:2] not in left_out])


def with_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, as `with_settings` does, the options of the cluster and of S3."""
    return _with_options(command, _cluster_options())


def _cluster_options() -> list[tuple[str, str, inspect.Parameter]]:
    engine = (("engine", "dask"), ("engine", "workers"))
    return [option for option in _parameter_options() if option[0] == "s3" or option[:2] in engine]


def with_params(params: type[Params], *, cluster: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, as `with_settings` does, an option for every one of these parameters, all in section `params`.

    With `cluster` it also gets the options that `with_cluster` gives.
    """
    own = [
        ("params", name, _option(f"params__{name}", f"--{name.replace('_', '-')}", field, "parameters"))
        for name, field in own_fields(params).items()
    ]
    return lambda command: _with_options(command, [*own, *(_cluster_options() if cluster else ())])


def _with_options(
    command: Callable[..., None], settings: Sequence[tuple[str, str, inspect.Parameter]]
) -> Callable[..., None]:
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
    sections = {parameter.name: (section, name) for section, name, parameter in settings}

    def wrapped(**values: Any) -> None:
        options: dict[str, dict[str, Any]] = {}
        for variable, (section, name) in sections.items():
            value = values.pop(variable)
            if value is not None:
                options.setdefault(section, {})[name] = value
        command(options=options, **values)

    parameters = [*own, *(parameter for _, _, parameter in settings)]
    wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped
