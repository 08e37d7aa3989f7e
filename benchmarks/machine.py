"""What the numbers were taken on: processor, cores, memory, versions. Names nothing that tells one machine from its likes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from tkm.networks import runtime

_PACKAGES = ("torch", "av", "opencv-python-headless", "pyarrow", "prefect", "distributed")


def machine() -> str:
    """One line on the hardware."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    cores = f"{runtime.cores()} of {os.cpu_count()} cores"
    device = runtime.device().type
    return f"{_processor()}, {cores}, {memory_gb:.0f} GB memory, networks on {device}; load when started: {load:.1f}"


def versions() -> str:
    """One line on the software."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, {packages}, {platform.system()} {platform.release().split('-')[0]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}{_vectors(facts)})"


def _vectors(facts: dict[str, str]) -> str:
    """The widest vector instructions, which decide a network's speed more than the clock."""
    flags = facts.get("flags", "").split()
    return next((f", {flag}" for flag in ("avx512f", "avx2", "avx") if flag in flags), "")
