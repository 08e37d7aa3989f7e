"""The networks' forward passes alone: the rows of a finished run, in the same batches and as many threads, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storage.codecs import detections_from_table
from storage.video import decode
from tasks import detect, estimate, given
from tasks.execute import timeline
from tasks.plan import VideoPlan
from tkm.geometry import crops_around, cut_crops, letterbox
from tkm.networks import runtime
from tkm.networks.facts import FACTS
from tkm.networks.nanodet import nanodet

Pixels = NDArray[np.uint8]


def network_rows(plan: VideoPlan, params: estimate.EstimateParams) -> tuple[list[Pixels], list[Pixels]]:
    """The networks' inputs for the boxes of a finished run, as pixels: NanoDet's canvas a frame, a crop a detection."""
    line = timeline(plan)
    found = given.BOXES if given.BOXES in plan.stages else detect.STAGE
    detections = detections_from_table(plan.artifact(found).read())
    height_px, width_px = params.size_px
    canvases: list[Pixels] = []
    crops: list[Pixels] = []
    for number, image in decode(plan.source, line.info, line.frames):
        canvases.append(letterbox(image)[0])
        boxes = detections.box_xyxy_px[detections.frame == number]
        if len(boxes):
            around = crops_around(boxes, width_px / height_px, params.crop_scale)
            crops.extend(cut_crops(image, around, boxes, params.size_px, params.grey_margin, FACTS[params.network].fill))
    return canvases, crops


def forward_seconds(params: estimate.EstimateParams, canvases: list[Pixels], crops: list[Pixels]) -> dict[str, float]:
    """Seconds of NanoDet's and the pose network's forward passes, by stage, as `seconds_alone` counts them."""
    detector, pose = runtime.on_device(nanodet), estimate.pose_network(params)
    return {
        "detect": seconds_alone(canvases, detector.normalise, detector),
        "estimate": seconds_alone(crops, pose.normalise, pose),
    }


def seconds_alone(
    pixels: Sequence[Pixels], prepare: Callable[[Tensor], Any], network: Callable[[Any], object], rows: int | None = None
) -> float:
    """Seconds of forward passes over all rows: what the wall shows where nothing else is done.

    On a CPU in as many threads as cores, on a GPU in one, in passes of the shape that they have in a run (`rows`, by default
    crops'). `prepare`, which makes the network's input of pixels on the device, is not counted.
    """
    kind = runtime.device().type
    threads, step = runtime.cores() if kind == "cpu" else 1, rows or runtime.ROWS[kind]

    @torch.inference_mode()
    def timed(start: int) -> float:
        part = np.stack([pixels[n % len(pixels)] for n in range(start, start + step)])
        with torch.autocast(kind, torch.float16, enabled=kind == "cuda"):
            prepared = prepare(torch.from_numpy(part).to(runtime.device()))
            began = _now()
            network(prepared)
            return _now() - began

    with ThreadPoolExecutor(threads, initializer=runtime.prepare_thread) as pool:
        return sum(pool.map(timed, range(0, len(pixels), step))) / threads


def _now() -> float:
    if runtime.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
