"""How fast PoseTrack's metrics are, on bonn's 15 sequences: one JSON.

python -m benchmarks.evaluate [--data FOLDER] [--repeats N]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tkm.datasets.sequence import People, Sequence
from tkm.metrics.average_precision import average_precision, point_detections
from tkm.metrics.cleaning import annotated_frames, labeled_frames
from tkm.metrics.hota import hota_sums
from tkm.metrics.identity import identity_counts
from tkm.metrics.mota import mota_counts
from tkm.metrics.oks import oks_average_precision, oks_evaluations
from tkm.metrics.scores import pool, score_video
from tkm.skeleton import POSETRACK_15

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bonn"
SLOTS = (
    "nose", "neck", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
Videos = list[tuple[Sequence, Sequence]]


def read(folder: Path) -> Videos:
    """Truth and prediction of every video of a folder with gt/ and pred/, by name."""
    return [(_sequence(path), _sequence(folder / "pred" / path.name)) for path in sorted((folder / "gt").glob("*.json"))]


def _sequence(path: Path) -> Sequence:
    found = json.loads(path.read_text())
    place = {image["id"]: t for t, image in enumerate(found["images"])}
    people = sorted(found["annotations"], key=lambda each: place[each["image_id"]])
    P, order = len(people), [SLOTS.index(joint) for joint in POSETRACK_15.keypoints]
    points = np.array([each["keypoints"] for each in people], np.float64).reshape(P, 17, 3)[:, order]
    boxes = np.array([[each.get(name, [np.nan] * 4) for name in ("bbox", "bbox_head")] for each in people], np.float64)
    boxes = boxes.reshape(P, 2, 4)
    boxes[..., 2:] += boxes[..., :2]
    scores = np.array([each["scores"] or [np.nan] * 17 for each in people], np.float64).reshape(P, 17)[:, order]
    regions = [zip(image["ignore_regions_x"], image["ignore_regions_y"], strict=True) for image in found["images"]]
    return Sequence(
        name=path.stem, skeleton=POSETRACK_15, frame_names=tuple(image["file_name"] for image in found["images"]),
        image_id=np.array(list(place)), is_labeled=np.array([image["is_labeled"] for image in found["images"]]),
        size_px=np.zeros((len(place), 2), np.int64),
        ignore_regions=tuple(tuple(np.column_stack(xy).astype(np.float64) for xy in polygons) for polygons in regions),
        people=People(
            frame=np.array([place[each["image_id"]] for each in people], np.int64),
            track_id=np.array([each["track_id"] for each in people], np.int64),
            score=np.array([each.get("score", np.nan) for each in people], np.float64),
            box_xyxy_px=boxes[:, 0], head_xyxy_px=boxes[:, 1], area_px2=np.full(P, np.nan), is_crowd=np.zeros(P, np.bool_),
            xy_px=np.where((points == 0).all(axis=2, keepdims=True), np.nan, points[..., :2]),
            keypoint_score=scores, visibility=points[..., 2].astype(np.int8),
        ),
    )  # fmt: skip


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of some times that work takes."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    """Measure, and print one JSON; exit status 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with gt/ and pred/ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not list((options.data / "gt").glob("*.json")):
        print(f"nothing to measure: there are no JSON files in {options.data / 'gt'}", file=sys.stderr)
        return 2

    videos = read(options.data)
    annotated = [annotated_frames(*video) for video in videos]

    def ap_and_mota() -> None:
        frames = [annotated_frames(*video) for video in videos]
        average_precision([point_detections(each) for each in frames])
        for each in frames:
            mota_counts(each, "official")

    work: dict[str, Callable[[], object]] = {
        "reading": lambda: read(options.data),
        "clean-up, AP and MOTA": ap_and_mota,
        "clean-up": lambda: [annotated_frames(*video) for video in videos],
        "AP": lambda: average_precision([point_detections(frames) for frames in annotated]),
        "MOTA": lambda: [mota_counts(frames, "official") for frames in annotated],
        "HOTA with its own clean-up": lambda: [hota_sums(labeled_frames(*video)) for video in videos],
        "IDF1": lambda: [identity_counts(frames) for frames in annotated],
        "all but OKS": lambda: pool(score_video(*video, "official", 0.3) for video in videos),
        "OKS": lambda: oks_average_precision([oks_evaluations(*video) for video in videos]),
    }
    taken = {name: seconds(each, options.repeats) for name, each in work.items()}
    frames = sum(len(truth) for truth, _ in videos)
    print(json.dumps({
        "frames": frames,
        "seconds": {name: round(value, 4) for name, value in taken.items()},
        "frames_per_second": {
            "AP and MOTA": round(frames / taken["clean-up, AP and MOTA"]),
            "reading, AP and MOTA": round(frames / (taken["reading"] + taken["clean-up, AP and MOTA"])),
            "all but OKS": round(frames / taken["all but OKS"]),
        },
    }, indent=2))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
