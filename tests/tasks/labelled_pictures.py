"""Pictures of one person each, drawn plainly, and what is true of them, in files as COCO has them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from tkm.skeleton import COCO_17, Skeleton

HEIGHT, WIDTH = 160, 120


def write_pictures(folder: Path, pictures: int, skeleton: Skeleton = COCO_17, seed: int = 0) -> Path:
    """The annotation file of so many pictures, which lie beside it in images/."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for n in range(1, pictures + 1):
        keypoints = rng.uniform(0.2, 0.8, (len(skeleton.keypoints), 2)) * (WIDTH, HEIGHT)
        picture = rng.integers(60, 100, (HEIGHT, WIDTH, 3), np.uint8)
        for x, y in keypoints:
            cv2.circle(picture, (int(x), int(y)), 3, (255, 255, 255), -1)
        cv2.imwrite(str(folder / "images" / f"{n:012d}.png"), picture)
        images.append({"id": n, "file_name": f"images/{n:012d}.png", "width": WIDTH, "height": HEIGHT})
        flat = np.concatenate([keypoints, np.full((len(keypoints), 1), 2)], axis=1).round(1).ravel().tolist()
        box = [18, 24, 84, 112]
        annotations.append(
            {
                "id": n, "image_id": n, "category_id": 1, "keypoints": flat, "num_keypoints": len(keypoints), "bbox": box,
                "area": 84 * 112, "iscrowd": 0,
            }
        )  # fmt: skip
    names = list(skeleton.keypoints)
    category = {"id": 1, "name": "person", "keypoints": names, "skeleton": []}
    truth = folder / "annotations" / "people.json"
    truth.parent.mkdir()
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return truth
