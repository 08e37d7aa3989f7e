"""PoseTrack's evaluation as plain loops over JSON documents: what leonid-pishchulin/poseval 4258a15 computes, in other words.

Nothing of tkm is used, so that readers, clean-up and metrics are all held against it. Where the evaluator stops, at a
sequence with one frame to count, there is no tracking: None.
"""

from collections import Counter

import motmetrics
import numpy as np
import shapely

JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "head_bottom", "nose", "head_top",
)  # fmt: skip
GROUPS = ((14, 12, 13), (8, 9), (7, 10), (6, 11), (2, 3), (1, 4), (0, 5))
THRESHOLD = 0.5
NO_SCORE = -9999


def official(pairs):
    """Scores in percent by name, of documents (truth, prediction): 15 joints, 7 groups, total."""
    videos = [cleaned(frames_of(truth), frames_of(prediction)) for truth, prediction in pairs]
    curves = zip(*(curve_of(videos, j) for j in range(15)), strict=True)
    scores = dict(zip(("ap", "ap_precision", "ap_recall"), map(with_means, curves), strict=True))
    names = ("mota", "motp", "precision", "recall")
    if any(len(video) == 1 for video in videos):
        return scores | dict.fromkeys(names)
    tracking = zip(*(tracking_of(videos, j) for j in range(15)), strict=True)
    return scores | dict(zip(names, map(with_means, tracking), strict=True))


def with_means(values):
    defined = [value for value in values if not np.isnan(value)]
    groups = [sum(values[j] for j in group) / len(group) for group in GROUPS]
    return [*values, *groups, sum(defined) / len(defined) if defined else np.nan]


def frames_of(document):
    """Of each frame its people and regions. A person is (track id, head box, points or None); a point joint, x, y, score."""
    if "annolist" in document:
        return [
            ([person_of_2017(rect) for rect in frame["annorect"]],
             [[(p["x"][0], p["y"][0]) for p in region["point"]] for region in frame.get("ignore_regions", [])])
            for frame in document["annolist"]
        ]  # fmt: skip
    names = document["categories"][0]["keypoints"]
    return [
        ([person_of_2018(one, names) for one in document["annotations"] if one["image_id"] == image["id"]],
         [list(zip(x, y, strict=True)) for x, y in zip(
             image.get("ignore_regions_x", []), image.get("ignore_regions_y", []), strict=True)])
        for image in document["images"]
    ]  # fmt: skip


def person_of_2017(rect):
    head = tuple(rect[side][0] for side in ("x1", "y1", "x2", "y2")) if "x1" in rect else None
    listed = rect.get("annopoints")
    points = None
    if listed and "point" in listed[0]:
        points = [(p["id"][0], p["x"][0], p["y"][0], p.get("score", [NO_SCORE])[0]) for p in listed[0]["point"]]
    return rect["track_id"][0], head, points


def person_of_2018(one, names):
    head = None
    if "bbox_head" in one:
        x, y, width, height = one["bbox_head"]
        head = x, y, x + width, y + height
    points = []
    for slot, name in enumerate(names):
        x, y, visible = one["keypoints"][3 * slot : 3 * slot + 3]
        if name in JOINTS and not x == y == visible == 0:
            points.append((JOINTS.index(name), x, y, one["scores"][slot] if one.get("scores") else NO_SCORE))
    return one["track_id"], head, points


def cleaned(true_frames, predicted_frames):
    """The frames that count, (true people, predicted people), with the points of a person by joint: (x, y), score."""
    assert len(true_frames) == len(predicted_frames)
    kept = []
    for (true, regions), (predicted, _) in zip(true_frames, predicted_frames, strict=True):
        if not true:
            continue
        polygons = [shapely.Polygon(corners) for corners in regions]
        sides = []
        for people in (true, predicted):
            left = []
            for track_id, head, points in people:
                if points is None:
                    continue
                outside = [p for p in points if not any(area.contains(shapely.Point(p[1], p[2])) for area in polygons)]
                if polygons and not outside:
                    continue
                by_joint = {}
                for joint, x, y, score in outside:
                    by_joint.setdefault(joint, ((x, y), score))
                left.append((track_id, head, by_joint))
            sides.append(left)
        kept.append(tuple(sides))
    return kept


def distance_of(true, predicted, joint):
    _, head, true_points = true
    _, _, predicted_points = predicted
    if joint not in true_points or joint not in predicted_points:
        return np.inf
    x1, y1, x2, y2 = head
    size = 0.6 * np.linalg.norm(np.subtract([x2, y2], [x1, y1]))
    length = np.linalg.norm(np.subtract(true_points[joint][0], predicted_points[joint][0]))
    return length / size if size else np.inf


def hits_of(true, predicted):
    """For each predicted person of a frame, the joints that lie where the true person that it is given to has them."""
    share = np.zeros((len(predicted), len(true)))
    for p, one in enumerate(predicted):
        for q, other in enumerate(true):
            found = sum(distance_of(other, one, j) <= THRESHOLD for j in range(15))
            share[p, q] = found / len(other[2]) if other[2] else 0
    owner = [None] * len(predicted)
    for q in range(len(true)):
        claims = [share[p, q] if list(share[p]).index(max(share[p])) == q else 0 for p in range(len(predicted))]
        if claims and max(claims) > 0:
            owner[claims.index(max(claims))] = q
    return [
        {j for j in one[2] if q is not None and distance_of(true[q], one, j) <= THRESHOLD}
        for one, q in zip(predicted, owner, strict=True)
    ]


def curve_of(videos, joint):
    points, to_find = [], 0
    for true, predicted in (frame for video in videos for frame in video):
        to_find += sum(joint in one[2] for one in true)
        points += [
            (one[2][joint][1], joint in hits)
            for one, hits in zip(predicted, hits_of(true, predicted), strict=True) if joint in one[2]
        ]  # fmt: skip
    if not points:
        return 0.0, 0.0, 0.0
    points.reverse()
    ranked = sorted(points, key=lambda point: -point[0])
    found = np.cumsum([hit for _, hit in ranked])
    precision = [number / (n + 1) for n, number in enumerate(found)]
    if not to_find:
        return np.nan, 100 * precision[-1], np.nan
    recall = [0, *(number / to_find for number in found)]
    area = sum((recall[n + 1] - recall[n]) * max(precision[n:]) for n in range(len(precision)))
    return 100 * area, 100 * precision[-1], 100 * recall[-1]


def tracking_of(videos, joint):
    events, distance = Counter(), 0.0
    for video in videos:
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for true, predicted in video[:-1]:
            if not true or not predicted:
                accumulator.update([0], [0], [[np.nan]])
                continue
            rows, columns = ([one for one in people if joint in one[2]] for people in (true, predicted))
            far = np.array([[distance_of(one, other, joint) for other in columns] for one in rows], float)
            far = far.reshape(len(rows), len(columns))
            ids = [[one[0] for one in people] for people in (rows, columns)]
            accumulator.update(*ids, np.where(far <= THRESHOLD, far, np.nan))
        if len(video) < 2:
            continue
        happened = accumulator.mot_events
        events += Counter(happened.Type)
        distance += happened.D[happened.Type.isin(["MATCH", "SWITCH"])].sum()
    found = events["MATCH"] + events["SWITCH"]
    objects, detections = found + events["MISS"], found + events["FP"]
    wrong = events["MISS"] + events["FP"] + events["SWITCH"]
    return (
        100 * (1 - wrong / objects) if objects else np.nan,
        100 * (1 - distance / found) if found else 0.0,
        100 * found / detections if detections else np.nan,
        100 * found / objects if objects else np.nan,
    )
