"""Settings of a run: the parameters of every stage and of the engine, from options, environment, file and defaults.

Options win over the environment (TKM_TRACK__SIMILARITY=oks, TKM_ENGINE__WORKERS=2), that over a settings file (TOML, one
section a stage, and `weights`, `engine` and `s3`), and that over the defaults. Section `weights` names files, whose digests
become parameters of the stages that use them. Section `s3` holds secrets: it acts by `use_s3` and is left out of whatever is
passed on or recorded.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, create_model, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from storage import s3
from storage.addresses import hidden
from storage.reading import MAX_VIDEO_BYTES
from tasks.heads import ROLES, Role
from tasks.pipeline import PIPELINE, STEPS
from tasks.retention import Keep
from tasks.stage import Params, Stage


class SettingsError(ValueError):
    """A setting is wrong; the message names it and says what is allowed."""


class Engine(BaseModel):
    """How a run is carried out. None of this changes a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dask: str | None = Field(
        None, pattern=r"^\w+://[^@]+$", description="address of a Dask scheduler, tcp://host:port (default: a local cluster)"
    )
    workers: int = Field(1, ge=1, le=256, description="worker processes of the local cluster; synthesize has one a core")
    chunk_frames: int = Field(128, ge=1, description="sampled frames that are committed together")
    retries: int = Field(2, ge=0, le=100, description="further attempts after a transient error, such as a network outage")
    max_failures: int | None = Field(None, ge=0, description="stop after more failed videos than this (default: never)")
    max_video_gb: float = Field(
        MAX_VIDEO_BYTES / 1e9, gt=0, allow_inf_nan=False, description="GB, 10^9 bytes, that a video may have; a larger one fails"
    )
    keep: Keep = Field("all", description="artifacts that stay once a video is published: those that re-runs start from, or none")
    verify: bool = Field(False, description="read every video again, even where size and change time are those of last time")
    retry_failed: bool = Field(False, description="try videos again that failed for good, such as broken files")
    report: bool = Field(True, description="write a report, an HTML file, at the end (default: do)")


class Weights(BaseModel):
    """Files of networks and trained heads in place of, or beside, the embedded ones: paths or URLs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pose: str | None = Field(None, min_length=1, description="checkpoint of the pose network")
    detector: str | None = Field(None, min_length=1, description="checkpoint of the detector")
    matching: str | None = Field(None, min_length=1, description="matching head, for similarity tkm and for refinement")
    body: str | None = Field(None, min_length=1, description="body head, for similarity tbm")
    refinement: str | None = Field(None, min_length=1, description="refinement head, for --refine")

    def files(self) -> dict[Role, str]:
        """Addresses of those that are given, by role."""
        return {role: address for role in ROLES if (address := getattr(self, role)) is not None}


class Limits(BaseModel):
    """How patient a run is with one stage of one video. None of this changes a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retries: int | None = Field(
        None, ge=0, le=100, description="further attempts of this stage after a transient error (default: --retries)"
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="seconds an attempt of this stage may take on a video, or on 16 chunks of a long one (default: no limit)",
    )


class StepLimits(Limits):
    """The limits of a step, of all its stages together, with those of the videos that it reads."""

    max_video_gb: float = MAX_VIDEO_BYTES / 1e9


class S3(BaseModel):
    """Where S3 is and who we are to it, over what AWS_* variables and ~/.aws say. None of this is recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_url: str | None = Field(None, description="http(s)://host:port of an S3 server that is not Amazon's")
    region: str | None = Field(None, min_length=1, description="region of the buckets")
    profile: str | None = Field(None, min_length=1, description="name in ~/.aws, there too on workers of another cluster")
    access_key_id: SecretStr | None = Field(None, min_length=1, description="who we are; by file or environment only")
    secret_access_key: SecretStr | None = Field(None, min_length=1, description="goes with access_key_id")
    session_token: SecretStr | None = Field(None, min_length=1, description="of temporary credentials")

    @field_validator("endpoint_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
            raise ValueError("give http://host:port or https://host, without user, password and path")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> S3:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together; give both or neither")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token goes with access_key_id and secret_access_key; give all three")
        return self


_FILE_CHARACTERS = 1_000_000  # far more than there are settings: a device without end is none
S3_SECRETS = ("access_key_id", "secret_access_key", "session_token")


class _Sources(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="TKM_", env_nested_delimiter="__", frozen=True, extra="forbid", protected_namespaces=(),
        hide_input_in_errors=True,
    )  # fmt: skip

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options first, then the environment; the file comes in below them."""
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        from_file = InitSettingsSource(settings_cls, init_kwargs=given.pop("_file", {}))
        return init_settings, EnvSettingsSource(settings_cls), from_file


def own_parameters(stage: Stage) -> dict[str, Any]:
    """Fields of the parameters that are a setting; those that a run finds for each video are marked by the option None."""
    return own_fields(stage.Params)


def own_fields(params: type[Params]) -> dict[str, Any]:
    """Fields that are a setting, as `own_parameters` has it, of any parameters."""
    fields = params.model_fields
    return {name: field for name, field in fields.items() if (field.json_schema_extra or {}).get("option", "") is not None}  # type: ignore[union-attr]


def _section(stage: Stage) -> Any:
    """A stage's parameters, which are part of its key, and beside them its limits, which are not."""
    bases = (stage.Params, Limits) if own_parameters(stage) else (Limits,)
    return create_model(f"{stage.name.capitalize()}Section", __base__=bases)


_SECTIONS: dict[str, Any] = {"weights": (Weights, Weights()), "engine": (Engine, Engine()), "s3": (S3, S3())} | {
    stage.name: (section, section()) for stage in PIPELINE if (section := _section(stage))
}
Settings: Any = create_model("Settings", __base__=_Sources, **_SECTIONS)


def stage_params(settings: Any) -> dict[str, Params]:
    """Parameters by stage name; they know which of them were set, and which are defaults."""
    return {
        stage.name: stage.Params(
            **getattr(settings, stage.name).model_dump(include=set(own_parameters(stage)), exclude_unset=True)
        )
        for stage in PIPELINE
    }


def manner(settings: Any, *, weights: bool = False) -> dict[str, dict[str, Any]]:
    """The settings that change no result, as options: of the engine, and the limits of stages; also `weights` where asked for."""
    limits = set(Limits.model_fields)
    stages = {stage.name: getattr(settings, stage.name).model_dump(include=limits) for stage in PIPELINE}
    files = {"weights": settings.weights.model_dump()} if weights else {}
    return {**files, "engine": settings.engine.model_dump(), **stages}


def step_limits(settings: Any, step: str) -> StepLimits:
    """Limits of an attempt at a step: the most generous of those that its stages set, `--retries` where none does."""
    sections = [getattr(settings, stage.name) for stage in STEPS[step]]
    retries = [section.retries for section in sections if section.retries is not None]
    seconds = [section.timeout_s for section in sections if section.timeout_s is not None]
    return StepLimits(
        retries=max(retries, default=settings.engine.retries),
        timeout_s=max(seconds, default=None),
        max_video_gb=settings.engine.max_video_gb,
    )


def load_settings(options: Mapping[str, Mapping[str, Any]], file: Path | None = None) -> Any:
    """Settings from options (section -> name -> value), environment and file; SettingsError names what is wrong."""
    from_file: dict[str, Any] = {}
    if file is not None:
        try:
            with file.open() as content:
                text = content.read(_FILE_CHARACTERS + 1)
            if len(text) > _FILE_CHARACTERS:
                raise SettingsError(f"the settings file {file} has more than {_FILE_CHARACTERS:,} characters: it is none")
            from_file = tomllib.loads(text)
        except OSError as error:
            raise SettingsError(f"cannot read the settings file {file}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"the settings file {file} is not TOML: {error}") from error
    sections = [f"TKM_{name.upper()}__" for name in _SECTIONS]
    for variable in os.environ:
        if variable.startswith("TKM_") and not variable.upper().startswith(tuple(sections)):
            raise SettingsError(f"{variable}: there is no such setting; variables begin with {', '.join(sections)}")
    try:
        make: Any = Settings
        return make(**options, _file=from_file)
    except ValidationError as error:
        raise SettingsError(sentence(error)) from error


def use_s3(settings: Any) -> None:
    """Make this process, and those that it starts, use S3 as the settings say; before anything opens S3.

    TKM_S3__* variables are turned into what S3 clients read and removed, so that who reads settings after this does not
    bring back what an option has overridden.
    """
    chosen: S3 = settings.s3
    secrets = {name: getattr(chosen, name) for name in S3_SECRETS}
    s3.apply(
        endpoint_url=chosen.endpoint_url,
        region=chosen.region,
        profile=chosen.profile,
        **{name: None if secret is None else secret.get_secret_value() for name, secret in secrets.items()},
    )
    for variable in [name for name in os.environ if name.upper().startswith("TKM_S3__")]:
        del os.environ[variable]


def refuse_secrets(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise SettingsError where settings that are passed to a flow, which Prefect shows and keeps, hold secrets."""
    section = settings.get("s3")
    for name in S3_SECRETS:
        if isinstance(section, Mapping) and name in section:
            raise SettingsError(
                f"s3.{name}: Prefect records what is passed to a flow, so this secret is known to it now: replace it, and give "
                f"the new one by TKM_S3__{name.upper()}, AWS_* variables or a profile where the flow runs"
            )


def sentence(error: ValidationError, *within: str) -> str:
    """One line a wrong setting: its name (within a section), what was given, what is wrong with it."""
    # A default that depends on a setting cannot be told where that is wrong: only the latter is an error of the user's.
    problems = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]
    return "\n".join(_line(problem, tuple(str(part) for part in (*within, *problem["loc"]))) for problem in problems)


def _line(problem: Any, place: tuple[str, ...]) -> str:
    name, section = ".".join(place), _SECTIONS.get(place[0])
    if problem["type"] == "extra_forbidden":
        names = [f"{section_}.{field}" for section_, (model, _) in _SECTIONS.items() for field in model.model_fields]
        similar = get_close_matches(name, [*names, *_SECTIONS], n=1)
        guess = f"did you mean {similar[0]}? " if similar else ""
        return f"{name}: there is no such setting; {guess}`tkm annotate --help` shows all of them"
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"{name}: must be a section of settings by name, such as [{name}] in a TOML file"
    is_shown = place[0] != "s3" and not isinstance(problem["input"], dict)  # there it may be a secret
    given = hidden(f" (given: {problem['input']!r})") if is_shown else ""
    if problem["type"] == "string_pattern_mismatch" and section:
        return f"{name}: not of the form that is wanted: {section[0].model_fields[place[1]].description}{given}"
    return f"{name}: {problem['msg'].removeprefix('Value error, ').replace('Input should', 'must')}{given}"
