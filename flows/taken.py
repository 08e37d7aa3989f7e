"""What artifacts took to make, by their manifests: of many a sample is read."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from storage.artifacts import Artifact, Manifest
from storage.store import Store

SAMPLE = 200  # manifests that are read; of more artifacts the sums are estimated from these
_THREADS = 16  # at a time: it is the store that is waited for


@dataclass(frozen=True)
class Taken:
    """Seconds and bytes of so many artifacts of a stage, and the manifests that were read: where those are fewer, estimates."""

    artifacts: int
    seconds: float
    bytes: float
    manifests: tuple[Manifest, ...]
    is_estimate: bool


def taken(store: Store, stage: str, keys: Collection[str]) -> Taken:
    """What the artifacts of a stage under these keys took. One that is not whole takes nothing."""
    every = sorted(set(keys))
    sample = every[:: max(1, -(-len(every) // SAMPLE))]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda key: Artifact(store, stage, key).manifest(), sample))
    manifests = tuple(manifest for manifest in found if manifest)
    scale = len(every) / max(1, len(sample))
    return Taken(
        artifacts=len(every),
        seconds=scale * sum(manifest.seconds for manifest in manifests),
        bytes=scale * sum(manifest.bytes for manifest in manifests),
        manifests=manifests,
        is_estimate=len(sample) < len(every),
    )
