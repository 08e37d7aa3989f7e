"""Average precision of whole people by object keypoint similarity (OKS), as COCO counts it: pycocotools does the counting.

Shape legend: P predicted people, Q true people, K keypoints, A ranges of area (all, medium, large), S thresholds of OKS.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tkm.datasets.sequence import Double, People, Sequence
from tkm.types import Bool, Int, check

STATISTICS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
_AREAS, THRESHOLDS, _MOST_PEOPLE = 3, 10, 20  # of pycocotools' parameters for keypoints
_PERSON = 1
_STDOUT = threading.Lock()


@dataclass(frozen=True)
class OksEvaluations:
    """The predicted people of one video, in a frame by falling score and the 20 best at most, and what COCO found of them.

    score          (P,) float64
    is_match       (A, S, P) bool, matched with a true person at this threshold
    is_ignored     (A, S, P) bool, neither right nor wrong: matched with one who does not count, or of an area out of range
    true_people    (A,) int64, how many there are to find: of this area, no crowd, with a labeled keypoint
    """

    score: Double
    is_match: Bool
    is_ignored: Bool
    true_people: Int

    def __post_init__(self) -> None:
        P = len(self.score)
        check(self, "score", (P,), np.float64)
        check(self, "is_match", (_AREAS, THRESHOLDS, P), np.bool_)
        check(self, "is_ignored", (_AREAS, THRESHOLDS, P), np.bool_)
        check(self, "true_people", (_AREAS,), np.int64)


def oks_evaluations(truth: Sequence, prediction: Sequence) -> OksEvaluations:
    """COCO's evaluation of every labeled frame of one video, of any skeleton, with its sigmas.

    A keypoint of the truth is labeled where its visibility is above 0, or, in a file without visibilities, where it is given.
    A true person's size is the area of the outline, without one that of the box, unscaled, without either that of the
    keypoints' own box. A predicted person's score is the file's, without one the mean of the keypoints' scores. Keypoints
    that are not given lie at (0, 0), as in COCO's files. Ignore regions are not read.

    Raises: ValueError where the skeletons or the numbers of frames differ, or a predicted person has no score at all.
    """
    if truth.skeleton.keypoints != prediction.skeleton.keypoints:
        raise ValueError(f"{truth.name}: truth is of {truth.skeleton.name}, prediction of {prediction.skeleton.name}")
    if len(truth) != len(prediction):
        raise ValueError(f"{truth.name}: the truth has {len(truth)} frames, the prediction {len(prediction)}")
    labeled = np.flatnonzero(truth.is_labeled).tolist()
    with silence():
        true, predicted = coco_dataset(labeled, _true_people(truth)), coco_dataset(labeled, _predicted_people(prediction))
        evaluation = COCOeval(true, predicted, "keypoints")
        evaluation.params.kpt_oks_sigmas = truth.skeleton.oks_sigmas.astype(np.float64)
        evaluation.params.imgIds, evaluation.params.catIds = labeled, [_PERSON]
        evaluation.evaluate()
    found: list[dict[str, Any] | None] = evaluation.evalImgs
    by_area = [[frame for frame in found[a * len(labeled) : (a + 1) * len(labeled)] if frame] for a in range(_AREAS)]
    nobody = np.empty((THRESHOLDS, 0), np.bool_)
    return OksEvaluations(
        np.array([score for frame in by_area[0] for score in frame["dtScores"]], np.float64),
        np.array([np.concatenate([nobody, *(frame["dtMatches"] > 0 for frame in frames)], axis=1) for frames in by_area]),
        np.array([np.concatenate([nobody, *(frame["dtIgnore"] for frame in frames)], axis=1) for frames in by_area], np.bool_),
        np.array([sum(int((frame["gtIgnore"] == 0).sum()) for frame in frames) for frames in by_area], np.int64),
    )


def oks_average_precision(videos: Rows[OksEvaluations]) -> dict[str, float]:
    """COCO's ten statistics, by name, in [0, 1], over all people of all videos; NaN for one without true people.

    Of equal scores the earlier video's comes first.
    """
    everybody = [_joined(videos, field) for field in ("score", "is_match", "is_ignored")]
    true_people = np.sum([np.zeros(_AREAS, np.int64), *(video.true_people for video in videos)], axis=0)
    # accumulate() takes no more than 20 people an image and cares for images no further: any blocks of 20 will do.
    blocks = [
        [array[..., first : first + _MOST_PEOPLE] for array in everybody]
        for first in range(0, max(everybody[0].size, 1), _MOST_PEOPLE)
    ]
    evaluation = COCOeval(iouType="keypoints")
    evaluation.params.imgIds, evaluation.params.catIds = list(range(len(blocks))), [_PERSON]
    evaluation._paramsEval = evaluation.params
    evaluation.evalImgs = [
        {
            "dtScores": score, "dtMatches": is_match[a], "dtIgnore": is_ignored[a],
            "gtIgnore": np.zeros(true_people[a] if block == 0 else 0),
        }
        for a in range(_AREAS) for block, (score, is_match, is_ignored) in enumerate(blocks)
    ]  # fmt: skip
    with silence():
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) if value >= 0 else np.nan for name, value in zip(STATISTICS, evaluation.stats, strict=True)}


def _joined(videos: Rows[OksEvaluations], field: str) -> NDArray[Any]:
    nobody = np.empty(0) if field == "score" else np.empty((_AREAS, THRESHOLDS, 0), np.bool_)
    return np.concatenate([nobody, *(getattr(video, field) for video in videos)], axis=-1)


def _true_people(truth: Sequence) -> Iterator[dict[str, Any]]:
    people = truth.people
    given = np.isfinite(people.xy_px.sum(axis=-1))
    visibility = np.where(given, np.where(people.visibility < 0, 2, people.visibility), 0)
    box_xyxy_px = _box_xyxy_px(people, given)
    size_px = box_xyxy_px[:, 2:] - box_xyxy_px[:, :2]
    area_px2 = np.where(np.isfinite(people.area_px2), people.area_px2, size_px.prod(axis=1))
    for person in range(len(people)):
        yield {
            "image_id": int(people.frame[person]),
            "bbox": [*box_xyxy_px[person, :2].tolist(), *size_px[person].tolist()],
            "area": float(area_px2[person]),
            "iscrowd": int(people.is_crowd[person]),
            "num_keypoints": int((visibility[person] > 0).sum()),
            "keypoints": _flat(people.xy_px[person], visibility[person]),
        }


def _predicted_people(prediction: Sequence) -> Iterator[dict[str, Any]]:
    people = prediction.people
    given = np.isfinite(people.xy_px.sum(axis=-1))
    # COCO's own area of a predicted pose: of the box of all its keypoints, those at (0, 0) included.
    xy_px = np.where(given[..., None], people.xy_px, 0)
    area_px2 = np.ptp(xy_px, axis=1).prod(axis=1)
    has_score = np.isfinite(people.keypoint_score)
    mean_score = np.divide(
        people.keypoint_score.sum(axis=1, where=has_score), has_score.sum(axis=1),
        out=np.full(len(people), np.nan), where=has_score.any(axis=1),
    )  # fmt: skip
    score = np.where(np.isfinite(people.score), people.score, mean_score)
    if np.isnan(score).any():
        frame = people.frame[np.argmax(np.isnan(score))]
        raise ValueError(f"{prediction.name}, frame {frame}: a predicted person has no score, and none of the keypoints has one")
    for person in range(len(people)):
        yield {
            "image_id": int(people.frame[person]),
            "area": float(area_px2[person]),
            "score": float(score[person]),
            "keypoints": _flat(xy_px[person], given[person]),
        }


def coco_dataset(frames: Iterable[int], people: Iterable[dict[str, Any]]) -> COCO:
    """People in pycocotools' form, true or found, with the `image_id`s that are `frames`; others are left out."""
    kept = dict.fromkeys(frames)
    dataset = COCO()
    # pycocotools takes the id 0 of a person for "no match".
    annotations = [person | {"id": number, "category_id": _PERSON} for number, person in enumerate(people, start=1)]
    dataset.dataset = {
        "images": [{"id": frame} for frame in kept],
        "categories": [{"id": _PERSON}],
        "annotations": [person for person in annotations if person["image_id"] in kept],
    }
    dataset.createIndex()
    return dataset


def _box_xyxy_px(people: People, given: Bool) -> Double:
    """(P, 4) float64, the file's boxes; where it has none the box of the given keypoints, or one at (0, 0) without extent."""
    low = people.xy_px.min(axis=1, where=given[..., None], initial=np.inf)
    high = people.xy_px.max(axis=1, where=given[..., None], initial=-np.inf)
    box_xyxy_px = np.concatenate([low, high], axis=1)
    box_xyxy_px[~given.any(axis=1)] = 0
    has_box = np.isfinite(people.box_xyxy_px.sum(axis=1))
    box_xyxy_px[has_box] = people.box_xyxy_px[has_box]
    return box_xyxy_px


def _flat(xy_px: Double, visibility: NDArray[Any]) -> list[float]:
    """COCO's x, y, visibility of each keypoint in turn, zeros where it is not given."""
    found: list[float] = np.column_stack([np.nan_to_num(xy_px), visibility]).ravel().tolist()
    return found


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what pycocotools prints away. One thread at a time: two that end in turn would leave standard output cut off."""
    with _STDOUT, contextlib.redirect_stdout(io.StringIO()):
        yield
