"""What a stage is. One value a stage; artifact keys, resume, schema checks, Prefect tasks, Dask resources, options read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Params(BaseModel):
    """Parameters of a stage: frozen and validated. All of them are part of the artifact's key. The word `none` is None."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[info.field_name or ""].annotation
        return None if value == "none" and type(None) in get_args(annotation) else value


def digest_field(of: str) -> Any:
    """A parameter that is the SHA-256 of a file, or None; a run finds it, and no option sets it."""
    return Field(None, pattern=r"^[0-9a-f]{64}$", description=f"digest of {of}", json_schema_extra={"option": None})


@dataclass(frozen=True)
class Resources:
    """What one task of the stage occupies on a Dask worker."""

    cpus: int = 0
    gpus: int = 0

    def for_dask(self) -> dict[str, float]:
        """As Dask's `resources=` takes it."""
        return {name: float(count) for name, count in (("CPU", self.cpus), ("GPU", self.gpus)) if count}


@dataclass(frozen=True)
class Block:
    """Consecutive sampled frames of one video, with what the stages before made of them.

    frames         (T,) int64, numbers of the frames in their video
    pts_ns         (T,) int64, their presentation times
    images         T arrays (height, width, 3) uint8 RGB, upright; empty for a stage that asks for none
    inputs         table of each input stage, by its name, with the rows of these frames
    input_params   parameters of each input stage, by its name; they are in its key, and so in the key of who takes it
    core           the frames [start, stop) of these that rows are wanted of; the others, a stage's halo, are there to be
                   looked at
    pending        names of the stages that see this block after this one, in the same pass
    shared         what a stage of this pass leaves, by name, for pending ones: costly, and part of no artifact
    """

    frames: NDArray[np.int64]
    pts_ns: NDArray[np.int64]
    images: tuple[NDArray[np.uint8], ...]
    inputs: Mapping[str, pa.Table]
    input_params: Mapping[str, Params] = field(default_factory=dict)
    core: tuple[int, int] | None = None
    pending: frozenset[str] = frozenset()
    shared: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frames.shape != self.pts_ns.shape or (self.images and len(self.images) != len(self.frames)):
            lengths = f"frames {self.frames.shape}, pts_ns {self.pts_ns.shape}, images ({len(self.images)},)"
            raise ValueError(f"a Block's fields differ in length: {lengths}")
        start, stop = self.core or (0, len(self.frames))
        if not 0 <= start <= stop <= len(self.frames):
            raise ValueError(f"Block.core {self.core} does not lie within its {len(self.frames)} frames")

    @property
    def core_frames(self) -> NDArray[np.int64]:
        """(T',) numbers of the frames that rows are wanted of."""
        return self.frames if self.core is None else self.frames[slice(*self.core)]


@dataclass(frozen=True)
class Stage:
    """A step from tables to a table.

    run         sees one of these shapes, by what the stage looks at:
                the root stage             run(source, info, params) -> table, info what is known of the video's frames
                rows of a file             run(rows, frames, params) -> table, frames (T,) int64 the sampled ones
                a frame by itself          run(block, params) -> table
                frames in order            run(block, params, state) -> (table, state), state a small table, None at first
                corrections of people      run(block, made, params) -> (table, edits), the block of all frames, made the
                                           corrections in force by name, edits a table of what became of them
                the whole video            run(frames, images, params) -> table, frames (T,) int64 the sampled ones, images an
                                           iterator of (number, picture) over every frame from the first to the last of these
    inputs      the stages whose tables it takes; empty for the root stage
    output      Arrow schema of its table; each row belongs to a frame, rows come in frame order
    version     raised whenever the results for the same input change
    images      whether it looks at pixels
    in_order    whether it carries state from frame to frame
    whole       whether it sees the whole video at once, frames that are not sampled too
    given       whether it takes rows that a user gave (storage.given), whose digest is its parameter `sha256`
    corrects    whether it takes what people corrected (storage.corrections), whose names are its parameter `records`, and all
                rows of its inputs at once
    unread      columns of its inputs that it does not look at, where those of all frames would fill the memory
    weights     digests of the weights files it uses, by what they are for, under these parameters by stage name
    leaves_out  names of inputs that it does not take under these parameters, and that its key is not made from
    halo        how many sampled frames before and after its own it looks at, under these parameters
    is_active   whether a run with these parameters, by stage name, has the stage at all; where not, it has no key, and its
                takers go without it
    """

    name: str
    run: Callable[..., Any]
    Params: type[Params]
    inputs: tuple[Stage, ...]
    output: pa.Schema
    resources: Resources
    version: int
    images: bool = False
    in_order: bool = False
    whole: bool = False
    given: bool = False
    corrects: bool = False
    unread: tuple[str, ...] = ()
    weights: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda params: {}  # noqa: ARG005
    halo: Callable[[Mapping[str, Any]], int] = lambda params: 0  # noqa: ARG005
    leaves_out: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda params: ()  # noqa: ARG005
    is_active: Callable[[Mapping[str, Any]], bool] = lambda params: True  # noqa: ARG005 - every stage's takes the params

    def checked(self, table: pa.Table) -> pa.Table:
        """The table, if it has the stage's schema; TypeError naming stage and difference otherwise."""
        if not table.schema.equals(self.output):
            differing = set(table.schema) ^ set(self.output)
            raise TypeError(f"stage {self.name} made a table that does not fit its schema: {sorted(f.name for f in differing)}")
        return table
