"""Trainings in a store: what is trained, its checkpoints, its metrics by epoch, and the weights that came of it.

    training/<key>/training.json                     what is trained, from what, under which parameters
    training/<key>/checkpoints/<epoch>-<step>.pt     all that is needed to go on after so many epochs and steps of the next
    training/<key>/checkpoints/<epoch>-<step>.json   commits a checkpoint: its bytes and their SHA-256
    training/<key>/curves.png                        its metrics by epoch, as a picture
    training/<key>/<file>                            the trained weights
    training/<key>/done.json                         commits these: their name, bytes and SHA-256

The key is a digest of all that decides the result, as an artifact's: the same training again goes on where it stopped, another
seed or learning rate is another training. Metrics stand in the table `trainings`, too.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from storage.artifacts import artifact_key
from storage.sealed import DocumentError, seal, unseal
from storage.store import Store

_KEPT = 2  # checkpoints; the one before the newest is there in case that one is damaged


class Metric(NamedTuple):
    """One number of an epoch, counted from 0: of `train`, a mean over the epoch, or of `val`, after it."""

    epoch: int
    split: str
    name: str
    value: float


class Checkpoint(NamedTuple):
    """Where a training stood after `epoch` whole epochs and `step` steps of the next.

    model, optimiser, scaler   their state dicts
    sums                       of the losses of those steps, by name
    metrics                    of the whole epochs
    """

    epoch: int
    step: int
    model: dict[str, Any]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    sums: dict[str, float]
    metrics: list[Metric]


class Trained(NamedTuple):
    """The weights that came of a training: their name below the store's root, their size and SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Training:
    """One training in a store."""

    store: Store
    what: str
    key: str

    @classmethod
    def plan(
        cls, store: Store, what: str, version: int, params: Mapping[str, Any], weights: Mapping[str, str], data: Mapping[str, str]
    ) -> Training:
        """The training of `what` under these parameters, from weights and data with these digests, by what they are for.

        Args: version, raised whenever the results of the same training change.
        """
        return cls(store, what, artifact_key(f"train-{what}", version, dict(params), dict(weights), dict(data)))

    @property
    def folder(self) -> str:
        """Prefix of all that the training keeps, below the store's root."""
        return f"training/{self.key}"

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Write down what the training is, for people; where it was begun before, what was written then stays."""
        self.store.create(f"{self.folder}/training.json", seal({"what": self.what, **facts}))

    def save(self, checkpoint: Checkpoint) -> None:
        """Commit a checkpoint; of those before it all but the newest are removed."""
        import torch  # here: see tkm.networks.runtime

        stem = f"{self.folder}/checkpoints/{checkpoint.epoch:04d}-{checkpoint.step:08d}"
        with self.store.new_file(f"{stem}.pt") as path:
            torch.save({**checkpoint._asdict(), "metrics": [tuple(metric) for metric in checkpoint.metrics]}, path)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
        self.store.write(f"{stem}.json", seal({"bytes": size, "sha256": sha256}))
        earlier = [name for name in self._committed() if name < stem]
        for name in earlier[: 1 - _KEPT]:
            self._withdraw(name)

    def newest(self, *, withdraw: bool = True) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """The newest checkpoint that is whole, or None; and addresses of newer ones, which are damaged.

        With `withdraw` these are removed.
        """
        damaged: list[str] = []
        for stem in reversed(self._committed()):
            found = self._read(stem)
            if found is not None:
                return found, tuple(damaged)
            damaged.append(f"{self.store.root}/{stem}.pt")
            if withdraw:
                self._withdraw(stem)
        return None, tuple(damaged)

    def finish(self, file: str, data: bytes) -> Trained:
        """Commit the trained weights."""
        trained = Trained(f"{self.folder}/{file}", len(data), hashlib.sha256(data).hexdigest())
        self.store.write(trained.name, data)
        self.store.write(f"{self.folder}/done.json", seal(trained._asdict()))
        return trained

    def finished(self) -> Trained | None:
        """The trained weights where the training is done, and they are whole; None where there is work left."""
        try:
            trained = unseal(self.store.read(f"{self.folder}/done.json"), lambda facts: Trained(**facts))
            data = self.store.read(trained.name)
        except (FileNotFoundError, DocumentError):
            return None
        return trained if hashlib.sha256(data).hexdigest() == trained.sha256 else None

    def _committed(self) -> list[str]:
        """Stems of the committed checkpoints, the oldest first."""
        names = self.store.list(f"{self.folder}/checkpoints")
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def _read(self, stem: str) -> Checkpoint | None:
        """A committed checkpoint; None where its bytes are not those that were committed."""
        import torch

        try:
            sha256 = unseal(self.store.read(f"{stem}.json"), lambda commit: commit["sha256"])
            data = self.store.read(f"{stem}.pt")
        except (FileNotFoundError, DocumentError):
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return Checkpoint(**{**state, "metrics": [Metric(*metric) for metric in state["metrics"]]})

    def _withdraw(self, stem: str) -> None:
        self.store.delete(f"{stem}.json")
        self.store.delete(f"{stem}.pt")
