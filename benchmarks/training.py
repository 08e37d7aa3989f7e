"""Throughput and memory of a training step of the pose network: forward, Eq. 2, backward, Adam, on CPU or CUDA.

python -m benchmarks.training --network resnet-50 --input-px 256x192

Beside the step, the making of its crops: a picture read from a JPEG file, a crop cut with augmentation. Prints JSON. Processor
seconds are told beside those of the clock, since a machine that is busy with others changes the latter alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.machine import machine, versions
from storage.labelled import LabelledImage
from tasks.pose_trainee import Person, PoseTrainee, PoseTrainParams
from tkm.skeleton import COCO_17

FRAME_PX = (720, 1280)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet-50")
    parser.add_argument("--input-px", default="256x192")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--threads", type=int, default=None, help="of torch on a CPU (default: its own)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(chosen, Path(folder)), indent=1))


def measured(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What a step and its crops take."""
    import torch

    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    about = machine(), versions()
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    params = PoseTrainParams(network=chosen.network, input_px=chosen.input_px, batch_size=chosen.batch_size)
    trainee = _trainee(params, folder)
    cutting = _timed(lambda: next(trainee.batches(0, 0, 1, 0)), 1, device)
    batch = next(trainee.batches(0, 0, 1, 0))
    batch = type(batch)(*(tensor.to(device) for tensor in batch))
    is_cuda = device.type == "cuda"
    layout = torch.channels_last if is_cuda else torch.preserve_format
    model = trainee.model.train().to(device, memory_format=layout)  # type: ignore[call-overload]
    optimiser = params.schedule.optimiser_of(model.parameters())
    scaler = torch.amp.GradScaler(device.type, enabled=is_cuda)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.float16, enabled=is_cuda):
            loss = trainee.losses(model, batch)["loss"]
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

    step()  # what is allocated once
    stepping = _timed(step, chosen.steps, device)
    crops, kind = params.batch_size, "float16 (autocast)" if is_cuda else "float32"
    return {
        "network": f"{params.network}, {params.input_px}, batches of {crops}, {kind} on {device.type}",
        "machine": about[0],
        "versions": about[1],
        "torch_threads": torch.get_num_threads(),
        "step_crops_per_s": round(crops / stepping[0], 2),
        "step_processor_s_per_crop": round(stepping[1] / crops, 3),
        "cutting_crops_per_s": round(crops / cutting[0], 1),
        "cutting_processor_s_per_crop": round(cutting[1] / crops, 4),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "gpu_mb": round(torch.cuda.max_memory_allocated() / 2**20) if is_cuda else None,
    }


def _trainee(params: PoseTrainParams, folder: Path) -> PoseTrainee:
    """A network of random weights, and a person in each of a batch's pictures, which are JPEG files."""
    from tkm.networks.pose import PoseNetwork
    from tkm.networks.runtime import cores

    rng = np.random.default_rng(0)
    people = []
    for n in range(params.batch_size):
        noise = rng.integers(0, 256, (*(side // 8 for side in FRAME_PX), 3), np.uint8)
        cv2.imwrite(str(folder / f"{n}.jpg"), cv2.resize(noise, FRAME_PX[::-1], interpolation=cv2.INTER_CUBIC))
        box = np.array([[400, 100, 640, 640]], np.float32)
        xy_px = rng.uniform(box[:, :2], box[:, 2:], (1, 17, 2)).astype(np.float32)
        one = LabelledImage(
            image_uri=str(folder / f"{n}.jpg"), frame=None, truth="", video="", name=f"{n}", skeleton=COCO_17, box_xyxy_px=box,
            xy_px=xy_px, visibility=np.full((1, 17), 2, np.int8), track_id=np.zeros(1, np.int64), is_crowd=np.zeros(1, np.bool_),
        )  # fmt: skip
        people.append(Person(one, 0))
    return PoseTrainee(PoseNetwork(params.network), people, [], params, cores())


def _timed(work: Callable[[], object], times: int, device: Any) -> tuple[float, float]:
    """Seconds by the clock and of the processor that one call takes."""
    import torch

    def now() -> tuple[float, float]:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    began = now()
    for _ in range(times):
        work()
    ended = now()
    return (ended[0] - began[0]) / times, (ended[1] - began[1]) / times


if __name__ == "__main__":
    main()
