"""The rows of the paper's ablation, Tables 3 and 4, by name: what each one is, what it needs, and its parameters by stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from flows.again import without_derived
from flows.arguments import SELF_REFINEMENT
from flows.settings import SettingsError, sentence
from tasks.heads import HEADS, ROLES, Role, option, with_weights
from tasks.pipeline import PIPELINE
from tasks.stage import Params
from tasks.tuning import Setting
from tkm.similarity import Measure

HeadRole = Literal["matching", "body", "refinement", "self-refinement"]
_BY_SIMILARITY: dict[Measure, tuple[HeadRole, ...]] = {"tkm": ("matching",), "tbm": ("body",)}
_BY_REFINEMENT: dict[str, tuple[HeadRole, ...]] = {"self": ("self-refinement",), "context": ("matching", "refinement")}


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    name         the paper's; G2 and the like are ours, M2 with a memory
    method       suppression: cNMS or pNMS
    similarity   between people of adjacent frames
    refinement   none, by the pose itself, or with the frames around as context
    paper        the paper's mAP and MOTA, in percent; None for what it has not
    against      rows whose difference to this one the table tells
    detector     the network that the row is about; None for that of the settings, the embedded one by default
    pose         likewise
    data         the paper's, by which its numbers were made
    memory       somebody who is missed for some frames keeps the id, which is not the paper's
    """

    name: str
    method: Literal["cnms", "pnms"]
    similarity: Measure
    refinement: Literal["none", "self", "context"] = "none"
    paper: tuple[float, float] | None = None
    against: tuple[str, ...] = ()
    detector: str | None = None
    pose: str | None = None
    data: str = "PoseTrack 2017"
    memory: bool = False

    @property
    def heads(self) -> tuple[HeadRole, ...]:
        """The trained heads that the row takes."""
        roles = (*_BY_SIMILARITY.get(self.similarity, ()), *_BY_REFINEMENT.get(self.refinement, ()))
        return tuple(dict.fromkeys(roles))


_RESNEXT: dict[str, Any] = {"detector": "faster-rcnn-resnext-101"}
_TABLE_4: dict[str, Any] = {**_RESNEXT, "pose": "hrnet-w48", "data": "PoseTrack 2018"}

# M1 to M7, and ours, run with whatever networks the settings name; in the paper those are ResNet-101 (detector) and ResNet-152.
ROWS: tuple[Row, ...] = (
    Row("M1", "cnms", "iou", paper=(75.2, 63.5)),
    Row("M2", "pnms", "iou", paper=(76.1, 64.8), against=("M1",)),
    Row("M3", "pnms", "oks", paper=(76.1, 65.0), against=("M2",)),
    Row("M4", "pnms", "tbm", paper=(76.1, 66.0), against=("M2", "M3")),
    Row("M5", "pnms", "tkm", paper=(76.1, 67.3), against=("M2", "M3", "M4")),
    Row("M6", "pnms", "tkm", "self", paper=(76.8, 68.1), against=("M5",)),
    Row("M7", "pnms", "tkm", "context", paper=(78.2, 69.6), against=("M5", "M6")),
    Row("M8", "pnms", "tkm", "context", paper=(79.0, 71.4), pose="resnet-152", **_RESNEXT),
    Row("M9", "pnms", "tkm", "context", paper=(79.5, 72.2), pose="hrnet-w48", **_RESNEXT),
    Row("G2", "pnms", "iou", against=("M2",), memory=True),
    Row("G3", "pnms", "oks", against=("M3",), memory=True),
    Row("G5", "pnms", "tkm", against=("M5", "G2", "G3"), memory=True),
    Row("G7", "pnms", "tkm", "context", against=("M7",), memory=True),
    Row("N1", "cnms", "iou", paper=(74.1, 63.7), **_TABLE_4),
    Row("N2", "pnms", "iou", paper=(74.8, 65.3), against=("N1",), **_TABLE_4),
    Row("N3", "pnms", "tbm", paper=(74.8, 65.9), against=("N2",), **_TABLE_4),
    Row("N4", "pnms", "tkm", paper=(74.8, 67.0), against=("N2", "N3"), **_TABLE_4),
    Row("N5", "pnms", "tkm", "self", paper=(75.7, 67.8), against=("N4",), **_TABLE_4),
    Row("N6", "pnms", "tkm", "context", paper=(76.7, 68.9), against=("N4", "N5"), **_TABLE_4),
)
BY_NAME = {row.name: row for row in ROWS}


def rows_named(names: Sequence[str]) -> list[Row]:
    """Rows by name, in the table's order. SettingsError for one that there is not."""
    if unknown := [name for name in names if name not in BY_NAME]:
        raise SettingsError(f"--rows {','.join(unknown)}: there is no such row; choose of {','.join(BY_NAME)}")
    if not names:
        raise SettingsError(f"--rows: name some, such as M1,M2; there are {','.join(BY_NAME)}")
    return [row for row in ROWS if row.name in names]


def needs(row: Row, params: Mapping[str, Params], heads: Collection[HeadRole]) -> str | None:
    """What a row lacks to run under these parameters and with heads of these roles, in words; None where it lacks nothing."""
    lacking = []
    for stage, role, network in (("detect", "detector", row.detector), ("estimate", "pose", row.pose)):
        if network is not None and params[stage].network != network:  # type: ignore[attr-defined]
            lacking.append(f"--{stage}-network {network} with its checkpoint ({option(_role(role))} FILE)")
    pose = row.pose or params["estimate"].network  # type: ignore[attr-defined]
    lacking += [f"{head_option(role)} FILE, a head trained on {pose}" for role in row.heads if role not in heads]
    if lacking and row.detector is not None:
        lacking.append(f"clips and annotations of {row.data} (train and val)")
    return "; ".join(lacking) or None


def head_option(role: HeadRole) -> str:
    """Option of the command line by which a head's file is given."""
    return SELF_REFINEMENT if role == "self-refinement" else option(_role(role))


def row_params(params: Mapping[str, Params], row: Row, setting: Setting, digests: Mapping[str, str]) -> dict[str, Params]:
    """A row's parameters by stage under a setting of what is tuned: those given, but for all that makes the row.

    Rows that look at a frame's neighbours, or at people as a whole, embed with all heads given, so that they share that artifact:
    what a row does not look at changes nothing in it.

    Args: digests, of the weights files there are, by role; self-refinement is a role of its own here.
    Raises: SettingsError where the parameters do not go together.
    """
    threshold = "cnms_iou" if row.method == "cnms" else "pnms_distance"
    changes: dict[str, dict[str, Any]] = {
        "suppress": {"method": row.method, threshold: setting.nms, "min_pose_score": setting.min_pose_score},
        "track": {"similarity": row.similarity, "memory_frames": 0},
        "refine": {"on": row.refinement != "none"},
    }
    if row.memory:
        changes["track"] |= {"memory_frames": setting.memory_frames, "memory_similarity": setting.memory_similarity}
    if row.refinement == "self":
        changes["paths"] = {"tau": 0}
    changed = dict(params)
    for stage in (stage for stage in PIPELINE if stage.name in changes):
        try:
            kept = without_derived(stage, params[stage.name].model_dump())  # such as what a similarity brings along
            changed[stage.name] = stage.Params(**{**kept, **changes[stage.name]})
        except ValidationError as error:
            raise SettingsError(f"row {row.name}: {sentence(error, stage.name)}") from error
    own = {role: digest for role, digest in digests.items() if role != "self-refinement"}
    if row.refinement == "self":
        own["refinement"] = digests["self-refinement"]
    used = with_weights(changed, {_role(role): digest for role, digest in own.items()})
    if any(role in row.heads for role in ("matching", "body")):
        used["embed"] = type(used["embed"])(**{kind: own.get(kind) for kind in HEADS})
    return used


def _role(name: str) -> Role:
    """A role by its name, which must be one of a run's: all of a row's are but for self-refinement."""
    return next(role for role in ROLES if role == name)
