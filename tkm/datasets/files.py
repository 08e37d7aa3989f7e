"""Which format a file has, told by looking at it."""

from __future__ import annotations

import json
from typing import Any, Literal, NoReturn

from tkm.datasets import coco, posetrack17, posetrack18
from tkm.datasets.coco_form import HEAD_BOTTOM, by_video, list_images
from tkm.datasets.columns import Entries, shown
from tkm.datasets.errors import DatasetError
from tkm.datasets.sequence import Sequence


def parse_json(data: bytes, where: str) -> Any:
    """The value of a JSON file. DatasetError, with file and position, where it is broken or holds NaN or Infinity."""

    def refuse(constant: str) -> NoReturn:
        raise DatasetError(f"{where}: {constant} is no JSON number")

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except json.JSONDecodeError as broken:
        raise DatasetError(f"{where}: not JSON: {broken.msg} at line {broken.lineno}, column {broken.colno}") from None
    except UnicodeDecodeError as broken:
        raise DatasetError(f"{where}: not JSON: byte {broken.start} is no UTF-8") from None
    except ValueError as broken:  # a number of thousands of digits
        raise DatasetError(f"{where}: not JSON that can be read: {str(broken).partition(';')[0]}") from None
    except RecursionError:
        raise DatasetError(f"{where}: lists and objects are nested too deeply") from None


def format_of(document: Any, name: str) -> Literal["posetrack17", "posetrack18", "coco"]:
    """Which format a document has: an object with `annolist` is PoseTrack's of 2017; one with `images`, `annotations` and
    `categories` is PoseTrack's of 2018 where a category has its keypoint head_bottom or images have its `vid_id`; else COCO's.

    Args: document, parsed JSON; name, of the file.
    Raises: DatasetError for anything else.
    """
    if isinstance(document, list):
        raise DatasetError(f"{name}: a list is COCO's results, which say nothing of their images: give the truth or frames too")
    if not isinstance(document, dict):
        raise DatasetError(f"{name}: must be a JSON object, not {shown(document)}")
    if "annolist" in document:
        return "posetrack17"
    missing = [field for field in ("images", "annotations", "categories") if field not in document]
    if missing:
        raise DatasetError(
            f"{name}: neither PoseTrack 2017 (needs annolist) nor PoseTrack 2018 or COCO (need images, annotations and "
            f"categories): {', '.join(missing)} missing; found {', '.join(sorted(document)) or 'nothing'}"
        )
    images, _ = list_images(document, name)
    of_posetrack = _has_head_bottom(document, name) or any("vid_id" in image for image in images.objects)
    return "posetrack18" if of_posetrack else "coco"


def read_document(document: Any, name: str) -> tuple[Sequence, ...]:
    """The sequences of a file of one of the formats that `format_of` tells apart.

    A file of PoseTrack's of 2018 whose images lie in several folders holds a sequence each.

    Args: document, parsed JSON; name, of the file.
    Raises: DatasetError for anything else, and where something is missing or does not fit.
    """
    of = format_of(document, name)
    if of == "posetrack17":
        return (posetrack17.read(document, name),)
    if of == "coco":
        return coco.read(document, name)
    is_one = len(by_video(list_images(document, name)[0], name)) <= 1
    return (posetrack18.read(document, name),) if is_one else posetrack18.read_videos(document, name)


def _has_head_bottom(document: Any, name: str) -> bool:
    categories = Entries.of(document, "categories", name).objects
    return any(isinstance(names := category.get("keypoints"), list) and HEAD_BOTTOM in names for category in categories)
