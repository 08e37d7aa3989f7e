"""How networks run: which device, how many rows a forward pass, how many threads. Chosen so that results never depend on company.

A ResNet's rows differ in their last bits between batch shapes, so every forward pass on one kind of device has one
fixed, padded shape. On a CPU it is one row on one thread, and whole blocks of frames run side by side in as many
threads as there are cores: no larger batch was faster, nothing is padded, and results do not depend
on the number of cores.

Here and in the stages torch is imported where networks run: that takes seconds, which whoever only plans, asks or starts others
does not need to wait.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

ROWS = {"cpu": 1, "cuda": 32}  # rows a forward pass
BLOCK_FRAMES = {"cpu": 2, "cuda": 16}  # frames that are decoded, annotated and handed on together
Network = TypeVar("Network", bound="nn.Module")
Output = TypeVar("Output", bound="tuple[Tensor, ...]")


@cache
def device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def description() -> str:
    """Kind of device and torch version: what equal bits are promised for, beside the key."""
    import torch

    name = torch.cuda.get_device_name() if device().type == "cuda" else "cpu"
    return f"{name}, torch {torch.__version__}"


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_thread() -> None:
    """Settings of a thread that runs networks: one core, denormal numbers flushed, which constant crops are slow with, and of
    cuDNN's algorithms those that give equal bits each time.
    """
    import torch

    torch.backends.cudnn.deterministic = True
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@cache
def memory_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_freed_memory() -> None:
    """Have glibc reuse freed tensors instead of returning them to the system, once a process; elsewhere nothing.

    Dask starts its workers with a trim threshold of 64 KB, under which every forward pass faults its memory in anew: half the
    speed on two cores (benchmarks/README.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    mallopt(trim_threshold, 1 << 30)
    mallopt(mmap_threshold, 32 << 20)


@cache
def on_device(network: Callable[[], Network]) -> Network:
    """The network that a constructor builds, on the device, ready to run; built once a process."""
    return prepared(network())


def prepared(network: Network) -> Network:
    """The network on the device, in evaluation mode, in the memory layout that convolutions are fastest in there."""
    import torch

    return network.eval().to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]


def forward(
    network: Callable[[Tensor], Any],
    pixels: Tensor,
    prepare: Callable[[Tensor], Tensor],
    finish: Callable[[Any], Output],
    *,
    stay_on_device: bool = False,
) -> Output:
    """Run (N, H, W, 3) uint8 pixels through a network in passes of one fixed shape, N >= 1.

    On the device, `prepare` makes the network's input of a pass, in channels-last memory, and `finish` a tuple of (rows, ...)
    tensors of its output. Those of all passes come back joined, as `in_passes` says.
    """
    return in_passes((pixels,), lambda part: finish(network(prepare(part[0]))), stay_on_device=stay_on_device)


def in_passes(
    rows: tuple[Tensor, ...], work: Callable[[tuple[Tensor, ...]], Output], *, stay_on_device: bool = False
) -> Output:
    """Work on tensors of N >= 1 rows each, in passes of one fixed shape on the device; N rows, on the CPU or left there.

    The last pass is filled up with zeros: what a row becomes depends on no other. On CUDA networks compute in float16 where
    PyTorch holds that to be safe (autocast); what comes out in float16 is returned in float32.
    """
    import torch

    kind, N = device().type, len(rows[0])
    step = ROWS[kind]
    parts = []
    with torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=kind == "cuda"):
        for start in range(0, N, step):
            part = tuple(tensor[start : start + step].to(device()) for tensor in rows)
            if lacking := step - len(part[0]):
                part = tuple(torch.cat([one, one.new_zeros((lacking, *one.shape[1:]))]) for one in part)
            parts.append(work(part))
        joined = [torch.cat(fields)[:N] for fields in zip(*parts, strict=True)]
        joined = [field.float() if field.dtype == torch.float16 else field for field in joined]
        if not stay_on_device:
            joined = [field.cpu() for field in joined]
    make: Any = getattr(type(parts[0]), "_make", tuple)  # a named tuple stays one
    made: Output = make(joined)
    return made
