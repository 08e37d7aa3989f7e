"""What runs on Dask workers to make a clip. Imported there at once, with the compiler that it brings: see flows.warm for why."""

from __future__ import annotations

import cv2
from distributed import get_worker

from flows.cluster import PROGRESS_TOPIC
from flows.settings import Limits
from flows.work import patiently, transient_failure
from storage.runs import Failure
from storage.sources import InputError, Source
from storage.store import StoreError
from tasks.synthesize import ClipOrder, make_clip
from tkm.synthetic import clip  # noqa: F401 - what make_clip draws with

STAGE = "draw"


def source_of(order: ClipOrder) -> Source:
    """The video that a clip becomes."""
    return Source(order.address, "video" if order.form == "mp4" else "frames")


def draw(order: ClipOrder, limits: Limits) -> int | Failure:
    """Make a clip: number of its frames, or why it cannot be made."""
    worker = get_worker()
    cv2.setNumThreads(1)  # a task has one core; OpenCV would start a thread on each that the machine has

    def report(frames: int) -> None:
        worker.log_event(PROGRESS_TOPIC, {"video": order.name, "stage": STAGE, "frames": frames})

    try:
        patiently(limits, lambda: make_clip(order, report), (InputError, StoreError, ImportError))
        return order.spec.frames
    except Exception as error:
        return transient_failure(source_of(order), STAGE, error)
