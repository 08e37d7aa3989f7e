"""The script that one would write in an afternoon with the same networks: a loop over frames, one thing after another.

OpenCV's VideoCapture, the detector on a square canvas of 416, the pose network on one crop after another, torch's own
threads, results in a list and one Parquet file at the end. Nothing overlaps, resumes or tracks. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from benchmarks import clips
from tkm.networks.movenet import MoveNetThunder, movenet_thunder
from tkm.networks.nanodet import NanoDet, nanodet

SCORE, NMS_IOU, CROP_SCALE = 0.25, 0.5, 1.25  # those of detect and estimate, so that both make as many crops


def find_people(detector: NanoDet, image: np.ndarray) -> np.ndarray:
    """Boxes (P, 4) of the people in a frame, in its pixels."""
    height, width = image.shape[:2]
    scale = 416 / max(height, width)
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    canvas = np.zeros((416, 416, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    output = detector(detector.normalise(torch.from_numpy(canvas[None])))
    score, box = output.person_score[0].numpy(), output.box_xyxy_px[0].numpy()
    box, score = box[score >= SCORE], score[score >= SCORE]
    sides = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), score.tolist(), SCORE, NMS_IOU)
    return np.clip(box[np.asarray(kept, int)] / scale, 0, [width, height, width, height])


def pose_of(network: MoveNetThunder, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (17, 2) in pixels of the frame and their scores (17,)."""
    side = CROP_SCALE * max(box[2:] - box[:2])
    corner = (box[:2] + box[2:] - side) / 2
    to_frame = np.array([[side / 256, 0, corner[0]], [0, side / 256, corner[1]]])
    crop = cv2.warpAffine(image, to_frame, (256, 256), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    pose = network.decode(network(torch.from_numpy(crop[None]).permute(0, 3, 1, 2).float()))
    return corner + pose.xy[0].numpy() * side, pose.score[0].numpy()


@torch.inference_mode()
def annotate(clip: Path, parquet: Path, detector: NanoDet, network: MoveNetThunder) -> tuple[int, int]:
    """Annotate a clip; numbers of frames and of crops."""
    video, rows, frame = cv2.VideoCapture(str(clip)), [], 0
    while True:
        found, bgr = video.read()
        if not found:
            break
        image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        for box in find_people(detector, image):
            xy, score = pose_of(network, image, box)
            rows.append({"frame": frame, "box": box.tolist(), "xy": xy.ravel().tolist(), "score": score.tolist()})
        frame += 1
    pd.DataFrame(rows).to_parquet(parquet)
    return frame, len(rows)


def main() -> None:
    """Measure in this process, after the same warm-up as ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=clips.DEMO, help="the clip to repeat (default: the demo clip)")
    parser.add_argument("--frames", type=int, default=300, help="length to repeat it to (default: 300)")
    options = parser.parse_args()
    detector, network = nanodet(), movenet_thunder()
    with tempfile.TemporaryDirectory() as folder:
        for length in (8, options.frames):
            clips.repeat(options.clip, Path(folder) / "clip.mp4", length)
            began = time.perf_counter()
            frames, crops = annotate(Path(folder) / "clip.mp4", Path(folder) / "poses.parquet", detector, network)
            seconds = time.perf_counter() - began
    print(json.dumps({"frames": frames, "crops": crops, "seconds": seconds, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
