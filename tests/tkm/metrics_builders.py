"""Videos for the tests of metrics: hand-made, random, and read from bonn's files; and the clean-up once more, as plain loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from tkm.datasets import posetrack18
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import POSETRACK_15

BONN = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bonn"
needs_bonn = pytest.mark.skipif(not BONN.is_dir(), reason=f"needs bonn's sequences in {BONN}")
JOINTS = len(POSETRACK_15.keypoints)
HEAD_SIZE_PX = 30.0  # of everyone here: a head box of 30 x 40 pixels, its diagonal times 0.6


def person(frame, track_id, x, y=100.0, score=0.9, joints=range(JOINTS)):
    """One row of `video`: joint j lies 20 j pixels right of (x, y); joints not named are not given."""
    xy_px = np.full((JOINTS, 2), np.nan)
    for joint in joints:
        xy_px[joint] = x + 20 * joint, y
    return frame, track_id, xy_px, np.broadcast_to(np.asarray(score, float), (JOINTS,))


def video(people, frames, name="000001_bonn_test", regions=None, is_labeled=None, head_boxes=True):
    """A sequence of rows that `person` gives, by rising frame; regions by frame."""
    P = len(people)
    xy_px = np.array([row[2] for row in people], np.float64).reshape(P, JOINTS, 2)
    score = np.array([row[3] for row in people], np.float64).reshape(P, JOINTS)
    return Sequence(
        name=name, skeleton=POSETRACK_15, frame_names=tuple(f"{t:06d}.jpg" for t in range(frames)),
        image_id=np.arange(frames), is_labeled=np.ones(frames, np.bool_) if is_labeled is None else np.asarray(is_labeled),
        size_px=np.full((frames, 2), 1000), ignore_regions=tuple((regions or {}).get(t, ()) for t in range(frames)),
        people=People(
            frame=np.array([row[0] for row in people], np.int64), track_id=np.array([row[1] for row in people], np.int64),
            score=np.full(P, np.nan), box_xyxy_px=np.full((P, 4), np.nan),
            head_xyxy_px=np.tile([0.0, 0.0, 30.0, 40.0] if head_boxes else [np.nan] * 4, (P, 1)),
            area_px2=np.full(P, np.nan), is_crowd=np.zeros(P, np.bool_), xy_px=xy_px, keypoint_score=score,
            visibility=np.full((P, JOINTS), -1, np.int8),
        ),
    )  # fmt: skip


def random_video(seed, frames=12, name=None):
    """Truth and prediction of people who meet: missed and doubled people and points, ghosts, swaps of ids, ties, regions.

    Points lie on a grid of 3 pixels, so that equal distances are frequent, and scores have one decimal.
    """
    rng = np.random.default_rng(seed)
    truth, prediction = [], []
    places = rng.integers(0, 30, (4, 2)) * 3.0
    ids = np.arange(4) + 5
    region = np.array([[20.0, 20.0], [120.0, 20.0], [120.0, 60.0], [20.0, 60.0]])
    for t in range(frames):
        places += rng.integers(-3, 4, places.shape) * 3.0
        if rng.random() < 0.2:
            ids[:2] = ids[1], ids[0]
        if rng.random() < 0.1:
            ids[rng.integers(4)] = ids.max() + 1
        if rng.random() < 0.1:
            continue
        here, found = [], []
        for n in np.flatnonzero(rng.random(4) < 0.9).tolist():
            pose = places[n] + rng.integers(-4, 5, (JOINTS, 2)) * 3.0
            here.append((t, n, np.where(rng.random((JOINTS, 1)) < 0.8, pose, np.nan), np.full(JOINTS, np.nan)))
            for copy in range(int(rng.choice([0, 1, 2], p=[0.15, 0.7, 0.15]))):
                moved = np.where(rng.random((JOINTS, 1)) < 0.8, pose + rng.integers(-4, 5, (JOINTS, 2)) * 3.0, np.nan)
                found.append((t, ids[n] + 100 * copy, moved, rng.integers(1, 10, JOINTS) / 10))
        if rng.random() < 0.3:
            found.append((t, 300 + t, rng.integers(-5, 40, (JOINTS, 2)) * 3.0, rng.integers(1, 10, JOINTS) / 10))
        order = rng.permutation(len(found))
        truth += here
        prediction += [found[i] for i in order] if rng.random() < 0.9 else []
    is_labeled = rng.random(frames) < 0.9
    regions = dict.fromkeys(range(0, frames, 2), (region, region[:2]))
    name = name or f"{seed:06d}_bonn_test"
    return video(truth, frames, name, regions, is_labeled), video(prediction, frames, name, is_labeled=is_labeled)


def plain_frames(truth, prediction, kept, smallest_px=-np.inf):
    """The clean-up as plain loops: of each frame that is kept its predicted and its true people, (id, {joint: x, y}, scores)."""
    found = []
    for t in np.flatnonzero(kept).tolist():
        polygons = [shapely.Polygon(corners) for corners in truth.ignore_regions[t] if len(corners) >= 3]
        frame = []
        for people in (prediction.people, truth.people):
            rows = []
            for row in np.flatnonzero(people.frame == t).tolist():
                points = {}
                for joint, (x, y) in enumerate(people.xy_px[row].tolist()):
                    given = np.isfinite(x) and np.isfinite(y) and x > smallest_px and y > smallest_px
                    if given and not any(polygon.contains(shapely.Point(x, y)) for polygon in polygons):
                        points[joint] = (x, y)
                if points:
                    rows.append((int(people.track_id[row]), points, people.keypoint_score[row]))
            frame.append(rows)
        found.append(frame)
    return found


def annotated(truth):
    return np.isin(np.arange(len(truth)), truth.people.frame)


def distances_of(joint, predicted, true):
    """Ids of both, who have the joint, and the distances (true, predicted) in head sizes."""
    predicted, true = ([who for who in people if joint in who[1]] for people in (predicted, true))
    distance = [[np.hypot(*np.subtract(p[1][joint], q[1][joint])) / HEAD_SIZE_PX for p in predicted] for q in true]
    ids = [[who[0] for who in people] for people in (predicted, true)]
    return *ids, np.array(distance, float).reshape(len(true), len(predicted))


def bonn():
    """Pairs of truth and prediction, by name."""
    names = sorted(path.name for path in (BONN / "gt").glob("*.json"))
    return [tuple(read(BONN / which / name) for which in ("gt", "pred")) for name in names]


def read(path):
    return posetrack18.read(json.loads(path.read_text()), path.stem)
