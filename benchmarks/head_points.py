"""How well neck and head top are derived from other keypoints (`tkm.skeleton.convert`), where there is truth.

On the small PoseTrack sample of mmpose's tests: from the true nose and shoulders, and from MoveNet's poses in the true boxes.
Errors are PoseTrack's, distance over 0.6 x diagonal of the true head box, a hit at 0.5. Prints a Markdown table. With --bonn it
also prints where the true neck of many people lies between shoulders and head top.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from tkm.datasets.columns import Double
from tkm.datasets.files import parse_json
from tkm.datasets.posetrack18 import read
from tkm.datasets.sequence import Sequence
from tkm.geometry import crops_around, cut_crops
from tkm.skeleton import COCO_17, POSETRACK_15, convert

HIT = 0.5
CROP_SCALE, GREY_MARGIN = 1.25, 0.05  # those of estimate
SHOWN = ("neck", "head_top", "nose", "left_shoulder", "right_shoulder")


def movenet_poses(sequence: Sequence, folder: Path) -> tuple[Double, Double]:
    """Poses (P, 17, 2), in pixels, and scores (P, 17) of MoveNet in the true boxes of a sequence, as `estimate` makes them."""
    import torch

    from tkm.networks import runtime
    from tkm.networks.movenet import INPUT_SIZE_PX, movenet_thunder

    network = runtime.on_device(movenet_thunder)
    xy_px, score = [], []
    for t, frame_name in enumerate(sequence.frame_names):
        boxes = sequence.people.box_xyxy_px[sequence.people.frame == t].astype(np.float32)
        picture = cv2.imread(str(folder / frame_name))
        if picture is None:
            raise FileNotFoundError(folder / frame_name)
        image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        crops = crops_around(boxes, scale=CROP_SCALE)
        pixels = cut_crops(image, crops, boxes, size_px=(INPUT_SIZE_PX, INPUT_SIZE_PX), grey_margin=GREY_MARGIN)
        pose = runtime.forward(
            network,
            torch.from_numpy(pixels),
            lambda part: part.permute(0, 3, 1, 2).float(),
            lambda output: network.decode(output)._replace(weighted_heatmap=output.heatmap[:, 0]),
        )
        xy_px.append(crops.to_image(pose.xy.numpy()).astype(np.float64))
        score.append(pose.score.numpy().astype(np.float64))
    return np.concatenate(xy_px), np.concatenate(score)


def errors(sequence: Sequence, xy_px: Double) -> Double:
    """(P, 15) distances from the truth of poses (P, 15, 2), in units of PCKh; NaN where either has no such keypoint."""
    people = sequence.people
    diagonal_px = np.linalg.norm(people.head_xyxy_px[:, 2:] - people.head_xyxy_px[:, :2], axis=1)
    distance: Double = np.linalg.norm(xy_px - people.xy_px, axis=2) / (0.6 * diagonal_px[:, None])
    return distance


def from_truth(sequence: Sequence) -> Double:
    """(P, 15, 2) true poses, neck and head top replaced by those derived from the true nose and shoulders."""
    people = sequence.people
    with_face, score = convert(people.xy_px, people.keypoint_score, POSETRACK_15, COCO_17)
    return convert(with_face, score, COCO_17, POSETRACK_15)[0]


def neck_places(sequence: Sequence) -> Double:
    """(P,) places of the true neck on the line from the shoulders' middle (0) to the true head top (1); NaN where not given."""
    by_name = dict(zip(POSETRACK_15.keypoints, sequence.people.xy_px.swapaxes(0, 1), strict=True))
    shoulders = (by_name["left_shoulder"] + by_name["right_shoulder"]) / 2
    whole, part = by_name["head_top"] - shoulders, by_name["neck"] - shoulders
    place: Double = (part * whole).sum(axis=1) / np.square(whole).sum(axis=1)
    return place


def read_all(folder: Path) -> list[Sequence]:
    """PoseTrack's files of 2018 in a folder."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"no *.json in {folder}")
    return [read(parse_json(path.read_bytes(), str(path)), path.stem) for path in files]


def line(source: str, name: str, error: Double) -> str:
    """A row of the table."""
    error = error[~np.isnan(error)]
    return f"| {source} | {name} | {len(error)} | {np.median(error):.2f} | {(error <= HIT).mean():.0%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds posetrack18/, as in mmpose's tests/data")
    parser.add_argument("--bonn", type=Path, help="folder of truth files with neck, head top and shoulders")
    arguments = parser.parse_args()
    folder = arguments.data / "posetrack18"
    sequences = read_all(folder / "annotations" / "val")
    truth = np.concatenate([errors(sequence, from_truth(sequence)) for sequence in sequences])
    estimated = []
    for sequence in sequences:
        poses = convert(*movenet_poses(sequence, folder), COCO_17, POSETRACK_15)[0]
        estimated.append(errors(sequence, poses))
    print(f"| from | keypoint | people | median error | share <= {HIT} |\n| --- | --- | --- | --- | --- |")
    for source, error, names in (
        ("true nose and shoulders", truth, SHOWN[:2]),
        ("MoveNet in true boxes", np.concatenate(estimated), SHOWN),
    ):
        for name in names:
            print(line(source, name, error[:, POSETRACK_15.keypoints.index(name)]))
    if arguments.bonn:
        places = np.concatenate([neck_places(sequence) for sequence in read_all(arguments.bonn)])
        places = places[~np.isnan(places)]
        low, median, high = np.quantile(places, (0.25, 0.5, 0.75))
        print(
            f"\nNeck of {len(places)} people between shoulders and head top: median {median:.2f}, half in {low:.2f}-{high:.2f}."
        )


if __name__ == "__main__":
    main()
