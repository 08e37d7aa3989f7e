"""Whether real networks take rendered people for people, and how fast clips are made: one JSON.

python -m benchmarks.synthetic [--preset P] [--clips N] [--seed S] [--every N] [--repeats N] [--save FOLDER]

Clips are made as `tkm synthesize` makes them, H.264 included, and read again. The embedded default finds people in every n-th
frame as `tkm annotate` does: a person counts as found where a box of the stage `detect` overlaps its true box by IOU 0.5 or more,
one box a person. Poses are those of the stage `estimate` in the true boxes. People of whom at least 80% of COCO's 17 points are
seen are judged; OKS is over all their points in view, with the area that is seen (as COCO's masks have it) and with the box's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from storage.bodies import stored_body
from storage.codecs import detections_from_table, detections_to_table, poses_from_table
from storage.sources import Source
from storage.store import Store
from storage.video import decode, probe
from tasks import detect, estimate
from tasks.stage import Block
from tasks.synthesize import ClipOrder, make_clip
from tkm.datasets import posetrack18
from tkm.datasets.columns import Double
from tkm.datasets.files import parse_json
from tkm.datasets.sequence import People
from tkm.geometry import Image
from tkm.similarity import iou as box_iou
from tkm.skeleton import COCO_17
from tkm.synthetic.spec import ClipSpec
from tkm.types import Bool, DetectionSet

SEEN_SHARE, FOUND_IOU = 0.8, 0.5
SPEED_PRESETS = ("easy", "camera", "crowd+camera")
SPEED_PEOPLE = 5


@dataclass(frozen=True)
class Judged:
    """The people of one frame, P of them, and what the networks made of them.

    is_clear   (P,) bool, at least 80% of the points are seen
    iou        (P,) float64, with the detection that is matched to the person, 0 for none
    oks_seen   (P,) float64, of the pose in the true box, with the area that is seen
    oks_box    (P,) float64, with the box's area
    """

    is_clear: Bool
    iou: Double
    oks_seen: Double
    oks_box: Double


def judge(image: Image, people: People) -> Judged:
    """What detector and pose network make of a frame whose people are known."""
    frames, pts_ns = np.zeros(1, np.int64), np.zeros(1, np.int64)
    block = Block(frames, pts_ns, (image,), {})
    found = detect.run(block, detect.DetectParams())
    iou = box_iou(people.box_xyxy_px.astype(np.float32), detections_from_table(found).box_xyxy_px)
    person, detection = linear_sum_assignment(-iou)
    matched = np.zeros(len(people))
    matched[person] = iou[person, detection]
    P = len(people)
    truth = DetectionSet(
        frame=np.zeros(P, np.int64),
        detection=np.arange(P),
        box_xyxy_px=people.box_xyxy_px.astype(np.float32),
        score=np.ones(P, np.float32),
    )
    given = Block(frames, pts_ns, (image,), {"boxes": detections_to_table(truth)})
    poses = poses_from_table(estimate.run(given, estimate.EstimateParams()), COCO_17)
    sides_px = people.box_xyxy_px[:, 2:] - people.box_xyxy_px[:, :2]
    return Judged(
        is_clear=(people.visibility == 2).mean(axis=1) >= SEEN_SHARE,
        iou=matched,
        oks_seen=_oks(poses.xy_px, people.xy_px, people.area_px2),
        oks_box=_oks(poses.xy_px, people.xy_px, sides_px.prod(axis=1)),
    )


def _oks(xy_px: Any, true_xy_px: Double, area_px2: Double) -> Double:
    """(P,) OKS over the points that are given, as COCO defines it."""
    distance2 = np.square(xy_px - true_xy_px).sum(axis=2)
    similarity = np.exp(-distance2 / (2 * area_px2[:, None] * np.square(2 * COCO_17.oks_sigmas.astype(np.float64))))
    oks: Double = np.nanmean(similarity, axis=1)
    return oks


def clips(store: Store, body: str, preset: str, count: int, seed: int) -> Iterator[ClipOrder]:
    """Make clips, one after the other."""
    for number in range(count):
        order = ClipOrder(store, ClipSpec(seed=seed, number=number, preset=preset), "mp4", body)
        make_clip(order, lambda frames: None)  # noqa: ARG005 - nobody watches
        yield order


def judged(order: ClipOrder, every: int, save: Path | None) -> Iterator[Judged]:
    """Every n-th frame of a clip."""
    document = parse_json(order.store.read(f"annotations_coco/{order.name}.json"), order.name)
    truth = posetrack18.read(document, order.name)
    source = Source(order.address, "video")
    wanted = np.arange(0, len(truth), every)
    for number, image in decode(source, probe(source), wanted):
        mine = truth.people.frame == number
        people = People(**{name: values[mine] for name, values in vars(truth.people).items()})
        if save is not None and number == wanted[len(wanted) // 2]:
            cv2.imwrite(str(save / f"{order.name}.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if len(people):
            yield judge(image, people)


def frames_per_second(store: Store, body: str, preset: str, repeats: int) -> dict[str, float]:
    """Of clips of 60 frames, 960 x 540, with 5 people, in one process: the best of some, plan and H.264 included."""
    best_wall, best_processor = 0.0, 0.0
    for number in range(-1, repeats):
        # The first one compiles the kernels, and does not count.
        spec = ClipSpec(seed=77, number=max(number, 0), preset=preset, people=SPEED_PEOPLE, frames=2 if number < 0 else 60)
        wall, processor = time.perf_counter(), time.process_time()
        make_clip(ClipOrder(store, spec, "mp4", body), lambda frames: None)  # noqa: ARG005
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        if number >= 0:
            best_wall, best_processor = max(best_wall, spec.frames / wall), max(best_processor, spec.frames / processor)
    return {"wall": round(best_wall, 1), "processor": round(best_processor, 1)}


def main() -> None:
    """Measure, and print one JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="easy")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--every", type=int, default=10, help="frames from one that is judged to the next")
    parser.add_argument("--repeats", type=int, default=3, help="clips a preset whose speed is measured; 0 for none")
    parser.add_argument("--save", type=Path, help="folder for a frame of each clip")
    options = parser.parse_args()
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)  # speed is a process's, on one core
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        body = stored_body(store, print)
        people = [
            judge_
            for order in clips(store, body, options.preset, options.clips, options.seed)
            for judge_ in judged(order, options.every, options.save)
        ]
        speed = {preset: frames_per_second(store, body, preset, options.repeats) for preset in SPEED_PRESETS if options.repeats}
    is_clear = np.concatenate([one.is_clear for one in people])
    iou, seen, box = (np.concatenate([getattr(one, name) for one in people]) for name in ("iou", "oks_seen", "oks_box"))
    print(json.dumps({
        "preset": options.preset,
        "clips": options.clips,
        "seed": options.seed,
        "people": len(is_clear),
        "clear": int(is_clear.sum()),
        "found": round(float((iou[is_clear] >= FOUND_IOU).mean()), 4),
        "found_all": round(float((iou >= FOUND_IOU).mean()), 4),
        "oks_seen": round(float(seen[is_clear].mean()), 4),
        "oks_box": round(float(box[is_clear].mean()), 4),
        "oks_seen_all": round(float(seen.mean()), 4),
        "speed": speed,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
