"""Digests of what users gave before, by digests of what their files told: a resume need not write it as Parquet to know it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from storage.given import Kind
from storage.sealed import DocumentError, seal, unseal
from storage.store import Store
from tkm.datasets.sequence import People, Sequence

_NAME = "digests/given.json"
_FORM = 1  # raised whenever `given_of` and `write_given` make other rows, or other facts, of the same file


@dataclass(frozen=True)
class Before:
    """What was kept of one video: the digest that names it below given/, and its rows."""

    sha256: str
    rows: int


def told_digest(sequence: Sequence, kind: Kind, frames: int | None, is_alone: bool) -> str:
    """Digest of all that decides what is kept of a video.

    Args: frames, their number where the file tells it; is_alone, whether there are no pictures, and facts of the frames are kept.
    """
    alone = [sequence.frame_names, sequence.image_id.tolist(), sequence.size_px.tolist()] if is_alone else []
    facts = [_FORM, kind, frames, sequence.skeleton.name, sequence.people.xy_px.shape, alone]
    told = hashlib.sha256(json.dumps(facts).encode())
    for field in fields(People):
        told.update(np.ascontiguousarray(getattr(sequence.people, field.name)).data)
    return told.hexdigest()


def read_before(store: Store) -> dict[str, Before]:
    """What was kept when something was last given, by `told_digest`; nothing where that is not known, or damaged."""
    try:
        return unseal(store.read(_NAME), _understood)
    except (FileNotFoundError, DocumentError):
        return {}


def _understood(value: Any) -> dict[str, Before]:
    return {told: Before(*one) for told, one in value["given"].items()}


def write_before(store: Store, kept: Mapping[str, Before]) -> None:
    """Remember what is kept of the videos of a run, in place of those of an earlier one."""
    store.write(_NAME, seal({"given": {told: [one.sha256, one.rows] for told, one in kept.items()}}))
