"""Parameters out of the files that hold them: safetensors, or what `torch.save` wrote, bare or in a training checkpoint."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tkm.weights import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

# Where training checkpoints keep the parameters: deep-high-resolution-net's best epoch, most trainers, torchvision's references.
WRAPPERS = ("best_state_dict", "state_dict", "model")
_PARALLEL = "module."  # what torch's DataParallel puts before every name


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the CPU and of the file's own dtypes. The file's name tells nothing, its bytes do.

    Of a pickle only tensors, numbers and plain containers are ever built (`weights_only=True`), so that a file cannot run code.
    Raises WeightsError, which names the file, where it cannot be read, would need more than that, or holds no parameters.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
        # Eight bytes of a header's length, then the header, which is JSON; a pickle starts with 0x80, a zip archive with PK.
        content = _safetensors(path) if head[8:] == b"{" and not head.startswith((b"PK", b"\x80")) else _pickled(path)
    except OSError as wrong:
        raise WeightsError(f"weights file {path} cannot be read: {wrong.strerror or wrong}") from wrong
    return _parameters(path, content)


def _safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # imports torch: see tkm.networks.runtime

    try:
        found: dict[str, Tensor] = load_file(path)
    except SafetensorError as wrong:
        raise WeightsError(f"weights file {path} is a damaged safetensors file: {wrong}") from wrong
    return found


def _pickled(path: Path) -> object:
    import torch

    try:
        # torch keeps this list for the whole process: taken back after reading, it would be missing to another thread's reading.
        torch.serialization.add_safe_globals(_of_numpy())
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as wrong:
        needed = re.search(r"GLOBAL ([\w.]+)", str(wrong))
        if needed is None:
            raise WeightsError(f"weights file {path} is neither a safetensors file nor one that torch.save wrote") from wrong
        raise WeightsError(
            f"weights file {path} is a pickle that holds more than tensors ({needed[1]}), and reading that could run its code. "
            "Where you trust it, keep its parameters alone: checkpoint = torch.load(FILE, weights_only=False); "
            'torch.save(checkpoint.get("state_dict", checkpoint), NEW_FILE)'
        ) from wrong
    except OSError:
        raise
    except Exception as wrong:  # the unpickler lets through whatever bytes that are cut short or no pickle lead it to
        said = str(wrong).partition("\n")[0]
        raise WeightsError(f"weights file {path} is damaged, or no file of weights: {said or type(wrong).__name__}") from wrong


def _of_numpy() -> list[Any]:
    """What numpy's numbers and arrays of them are pickled as, under its old name too: training checkpoints keep scores beside the
    parameters, MMPose's of 1.x what they know of the data set (colours, sigmas). Arrays of objects are not among these.
    """
    made_by = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.empty(0).__reduce__()[0]}
    named = [(made, f"numpy.{core}.multiarray.{name}") for name, made in made_by.items() for core in ("core", "_core")]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_)]
    return [np.dtype, np.ndarray, *kinds, *named]


def _parameters(path: Path, content: object) -> dict[str, Tensor]:
    import torch

    if isinstance(content, Mapping):
        # deep-high-resolution-net keeps the network's name as `model`: a wrapper is only what holds something.
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(
            f"weights file {path} holds no parameters by name: give a state dict, or a checkpoint with one under "
            f"{', '.join(WRAPPERS)}"
        )
    odd = next((name for name, value in content.items() if not isinstance(value, torch.Tensor)), None)
    if odd is not None:
        raise WeightsError(f"weights file {path} holds something else than tensors among its parameters: {odd}")
    broken = next((name for name, value in content.items() if value.is_floating_point() and not value.isfinite().all()), None)
    if broken is not None:
        raise WeightsError(f"weights file {path} has numbers that are not finite in {broken}: its training diverged")
    parallel = all(str(name).startswith(_PARALLEL) for name in content)
    return {str(name)[len(_PARALLEL) if parallel else 0 :]: tensor for name, tensor in content.items()}
