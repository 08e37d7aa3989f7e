"""The networks' forward passes alone: the rows of a finished run, in the same batches and as many threads, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storage.codecs import detections_from_table
from storage.video import decode
from tasks import detect, estimate
from tasks.execute import timeline
from tasks.plan import VideoPlan
from tkm.geometry import crops_around, cut_crops, letterbox
from tkm.networks import runtime
from tkm.networks.movenet import movenet_thunder
from tkm.networks.nanodet import nanodet

Pixels = NDArray[np.uint8]


def network_rows(plan: VideoPlan) -> tuple[list[Pixels], list[Pixels]]:
    """The networks' inputs of a finished run, as pixels: a canvas a frame, a crop a detection."""
    line = timeline(plan)
    params = plan.params["estimate"]
    assert isinstance(params, estimate.EstimateParams)
    detections = detections_from_table(plan.artifact(detect.STAGE).read())
    canvases: list[Pixels] = []
    crops: list[Pixels] = []
    for number, image in decode(plan.source, line.info, line.frames):
        canvases.append(letterbox(image)[0])
        boxes = detections.box_xyxy_px[detections.frame == number]
        if len(boxes):
            cut = cut_crops(image, crops_around(boxes, scale=params.crop_scale), boxes, grey_margin=params.grey_margin)
            crops.extend(cut)
    return canvases, crops


def forward_seconds(canvases: list[Pixels], crops: list[Pixels], threads: int) -> dict[str, float]:
    """Seconds of forward passes a thread, by stage: what the wall shows where the threads do nothing else.

    Making floats of pixels is not counted; a pass has the one row that it has in a run on a CPU.
    """
    detector, pose = runtime.on_device(nanodet), runtime.on_device(movenet_thunder)

    def timed(network: nn.Module, pixels: Tensor) -> float:
        began = time.perf_counter()
        network(pixels)
        return time.perf_counter() - began

    @torch.inference_mode()
    def detection(canvas: Pixels) -> float:
        return timed(detector, detector.normalise(torch.from_numpy(canvas[None])))

    @torch.inference_mode()
    def estimation(crop: Pixels) -> float:
        return timed(pose, torch.from_numpy(crop[None]).permute(0, 3, 1, 2).float())

    def in_threads(seconds: Iterable[float]) -> float:
        return sum(seconds) / threads

    with ThreadPoolExecutor(threads, initializer=runtime.prepare_thread) as pool:
        return {
            "detect": in_threads(pool.map(detection, canvases)),
            "estimate": in_threads(pool.map(estimation, crops)),
        }
