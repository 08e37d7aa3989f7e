"""Parameters are read from every layout in which they are published, and from nothing that could run code."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tkm.weights import WeightsError
from tkm.weights.files import read_state_dict

PARAMETERS = OrderedDict(
    {"conv.weight": torch.arange(6.0).reshape(2, 3), "bn.num_batches_tracked": torch.tensor(7), "half": torch.ones(2).half()}
)
PARALLEL = {f"module.{name}": tensor for name, tensor in PARAMETERS.items()}


@pytest.mark.parametrize(
    "content",
    [
        PARAMETERS,
        PARALLEL,
        {"state_dict": PARALLEL, "best_state_dict": PARAMETERS, "model": "pose_hrnet", "epoch": 3, "optimizer": {"state": {}}},
        {"best_state_dict": PARAMETERS, "epoch": 3},
        {"model": PARAMETERS, "optimizer": {"state": {}, "param_groups": []}, "epoch": 25},
        {"meta": {"epoch": 210}, "state_dict": PARAMETERS},
    ],
    ids=["flat", "parallel", "training checkpoint", "best epoch", "torchvision's reference", "MMPose"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "old pickle"])
def test_every_published_layout_is_read(tmp_path: Path, content: Any, zipped: bool) -> None:
    torch.save(content, tmp_path / "file", _use_new_zipfile_serialization=zipped)
    assert_equal(read_state_dict(tmp_path / "file"))


def test_safetensors_are_known_by_their_bytes_whatever_the_file_is_called(tmp_path: Path) -> None:
    save_file(dict(PARALLEL), tmp_path / "weights.pth")
    assert_equal(read_state_dict(tmp_path / "weights.pth"))


def test_a_pickle_that_needs_more_than_tensors_is_refused_and_what_it_needs_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": PARAMETERS, "perf": Fraction(1, 2)}, tmp_path / "best.pth")
    with pytest.raises(WeightsError, match=r"best\.pth.*fractions\.Fraction.*torch\.save\(checkpoint"):
        read_state_dict(tmp_path / "best.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "old pickle"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    torch.save({"state_dict": PARAMETERS, "extra": Trap()}, tmp_path / "trap.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"trap\.pth"):
        read_state_dict(tmp_path / "trap.pth")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "holds no parameters"),
        ([torch.ones(2)], "holds no parameters"),
        ({"state_dict": {}}, "holds no parameters"),
        ({"conv.weight": torch.ones(2), "note": "mine"}, "note"),
    ],
)
def test_a_file_without_parameters_by_name_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=rf"odd\.pth .*{said}"):
        read_state_dict(tmp_path / "odd.pth")


def test_parameters_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(PARAMETERS | {"half": torch.tensor([1, torch.nan])}, tmp_path / "diverged.pth")
    with pytest.raises(WeightsError, match=r"diverged\.pth.*half"):
        read_state_dict(tmp_path / "diverged.pth")


def whole(kind: str, path: Path) -> bytes:
    if kind == "safetensors":
        save_file(dict(PARAMETERS), path)
    else:
        torch.save(PARAMETERS, path, _use_new_zipfile_serialization=kind == "archive")
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["safetensors", "archive", "old pickle"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.95])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    content = whole(kind, tmp_path / "cut")
    (tmp_path / "cut").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="cut"):
        read_state_dict(tmp_path / "cut")


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"<html><body>404</body></html>", b"PK\x03\x04 and no archive"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"page\.pth"):
        read_state_dict(tmp_path / "page.pth")


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(WeightsError, match=rf"{path} cannot be read"):
            read_state_dict(path)


def assert_equal(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == PARAMETERS.keys()
    for name, tensor in PARAMETERS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numpys_numbers_and_arrays_beside_the_parameters_keep_nobody_from_loading_them(tmp_path: Path, module: bytes) -> None:
    meta = {"joint_weights": np.ones(17, np.float32), "colours": np.zeros((17, 3), np.uint8)}  # as MMPose tells of a data set
    content = {"epoch": np.int64(3), "perf": np.float64(0.7), "meta": meta, "state_dict": {"module.a": torch.ones(2)}}
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)  # whose pickle is not compressed
    data = path.read_bytes()
    assert b"numpy._core.multiarray" in data
    path.write_bytes(data.replace(b"numpy._core.multiarray", module))
    assert read_state_dict(path)["a"].tolist() == [1, 1]


def test_files_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    torch.save({"perf": np.float64(0.7), "state_dict": PARAMETERS}, tmp_path / "pose.pth")
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read_state_dict, [tmp_path / "pose.pth"] * 60):
            assert_equal(found)
