"""Random small files of truth and predictions in PoseTrack's formats of 2017 and 2018, with all that the evaluator may meet.

Few joints are used, so that people often tie in their shares of hits. Distances do not tie, for the assignment's choice among
equal ones is the solver's own; but some lie exactly on the threshold.
"""

import numpy as np

from tests.tkm.official_oracle import JOINTS

SLOTS = (
    "nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
USED = (3, 12, 14)  # joints of true people; predicted ones have joint 5 too
POINTLESS_2017 = ("missing", [], {}, [{}], [{"point": []}])
REGIONS = (
    [(0, 0), (150, 0), (150, 150), (0, 150)],
    [(100, 100), (300, 100), (100, 300), (300, 300)],  # its sides cross
    [(50, 50), (400, 60), (90, 400)],
    [],
)


def random_pair(rng):
    """Truth and prediction of one video, both of either format."""
    name = f"{rng.integers(1, 999999):06d}_bonn_test"
    frames, tracks = int(rng.integers(1, 7)), rng.permutation(6).tolist()
    places = rng.integers(20, 350, (3, 2)).astype(float)
    true, predicted, regions = [], [], []
    for _ in range(frames):
        places = places + rng.integers(-4, 5, places.shape)
        if rng.random() < 0.25:
            tracks[:2] = tracks[1], tracks[0]
        here, found = frame_of(rng, places, tracks)
        true.append(here)
        predicted.append(found)
        chosen = [REGIONS[n] for n in rng.permutation(len(REGIONS))[: rng.integers(1, 3)].tolist()]
        regions.append(chosen if rng.random() < 0.3 else ([], None)[rng.integers(2)])
    write = (document_2017, document_2018)
    return write[rng.integers(2)](rng, name, true, regions), write[rng.integers(2)](rng, name, predicted, [None] * frames)


def frame_of(rng, places, tracks):
    """True and predicted people of a frame: (track id, head box or None, points by joint: x, y, visibility, score or None)."""
    if rng.random() < 0.1:
        return [], [predicted_pose(rng, places[0], 8, {})]
    here = []
    for n in np.flatnonzero(rng.random(3) < 0.7).tolist():
        pointless = rng.random() < 0.25
        joints = [] if pointless else [j for j in USED if rng.random() < 0.8]
        x, y = places[n].tolist()
        points = {j: (x + 9 * k, y + int(rng.integers(-9, 9)), int(rng.integers(0, 3)), None) for k, j in enumerate(joints)}
        if points and rng.random() < 0.1:
            points[joints[0]] = (0, 0, 1, None)
        here.append((n, (x, y, x + 30, y + 40), points))
    if rng.random() < 0.2:
        # Nobody measures distances here, so heads may be missing.
        return [(track_id, None if rng.random() < 0.5 else head, points) for track_id, head, points in here], []
    found = []
    for track_id, _, points in here:
        copies = range(rng.choice([0, 1, 2], p=[0.2, 0.6, 0.2]))
        found += [predicted_pose(rng, places[track_id], tracks[track_id] + 10 * copy, points) for copy in copies]
    if rng.random() < 0.15:
        found.append((99, None, {}))
    if rng.random() < 0.15:
        found.append(predicted_pose(rng, places[0] + 5, 98, {}))
    return here, [found[n] for n in rng.permutation(len(found))]


def predicted_pose(rng, place, track_id, points):
    """A pose near the points, one of them just half a head off; anywhere where there are none."""
    scored = rng.random() < 0.8
    found = {}
    exact = ((9, 12), (0, -15), (15.000001, 0))
    for n, joint in enumerate((*USED, 5)):
        x, y, *_ = points.get(joint, (*place.tolist(), 1, None))
        if rng.random() < 0.8:
            off = exact[rng.integers(3)] if n == 0 and track_id < 10 else rng.normal(0, 9, 2).tolist()
            score = 0.0 if rng.random() < 0.05 else float(rng.random())
            found[joint] = (x + off[0], y + off[1], int(rng.integers(0, 2)), score if scored else None)
    if found and rng.random() < 0.1:
        joint = next(iter(found))
        found[joint] = (0, 0, 1, found[joint][3])
    return track_id, None, found


def document_2017(rng, name, people, regions):
    frames = []
    for t, (here, polygons) in enumerate(zip(people, regions, strict=True)):
        frame = {"image": [{"name": f"images/{name}/{t:08d}.jpg"}], "imgnum": [t + 1], "annorect": []}
        for track_id, head, points in here:
            rect = {"track_id": [track_id], "score": [float(rng.random())]}
            if head:
                rect |= {side: [value] for side, value in zip(("x1", "y1", "x2", "y2"), head, strict=True)}
            listed = [
                {"id": [joint], "x": [x], "y": [y], **({} if score is None else {"score": [score]}),
                 **({} if rng.random() < 0.5 else {"is_visible": [visible]})}
                for joint, (x, y, visible, score) in points.items()
            ]  # fmt: skip
            if listed and rng.random() < 0.1:
                # At the same place: no region takes the first alone, after which the evaluator would take the second.
                listed.append(listed[0] | {"score": [float(rng.random())]})
            rect["annopoints"] = [{"point": listed}] if listed else POINTLESS_2017[rng.integers(len(POINTLESS_2017))]
            if rect["annopoints"] == "missing":
                del rect["annopoints"]
            frame["annorect"].append(rect)
        if polygons is not None:
            frame["ignore_regions"] = [{"point": [{"x": [x], "y": [y]} for x, y in polygon]} for polygon in polygons]
        frames.append(frame | ({} if rng.random() < 0.5 else {"is_labeled": [int(rng.integers(2))]}))
    return {"annolist": frames}


def document_2018(rng, name, people, regions):
    images, annotations = [], []
    for t, (here, polygons) in enumerate(zip(people, regions, strict=True)):
        image = {"id": 100 + t, "frame_id": 100 + t, "vid_id": "1", "file_name": f"images/val/{name}/{t:06d}.jpg"}
        if polygons is not None:
            image |= {f"ignore_regions_{axis}": [[corner[n] for corner in polygon] for polygon in polygons]
                      for n, axis in enumerate("xy")}  # fmt: skip
        images.append(image | {"is_labeled": bool(rng.integers(2))})
        for track_id, head, points in here:
            slots = [points.get(JOINTS.index(slot) if slot in JOINTS else -1, (0, 0, 0, 0.5)) for slot in SLOTS]
            one = {"id": len(annotations), "image_id": 100 + t, "track_id": track_id, "category_id": 1,
                   "keypoints": [value for slot in slots for value in slot[:3]], "score": float(rng.random())}  # fmt: skip
            if all(slot[3] is not None for slot in slots):
                one["scores"] = [slot[3] for slot in slots]
            elif rng.random() < 0.5:
                one["scores"] = []
            if head:
                one["bbox_head"] = [head[0], head[1], head[2] - head[0], head[3] - head[1]]
            annotations.append(one)
    order = rng.permutation(len(annotations)).tolist()
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(SLOTS)}
    return {"images": images, "annotations": [annotations[n] for n in order], "categories": [category]}
