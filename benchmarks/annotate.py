"""`make bench`: how fast one process annotates, and how much of that time the networks' forward passes alone would take.

After a warm-up on a few frames, the demo clip, repeated to 300 frames, goes through all stages in this process. Then the same
rows go through the networks alone, in as many threads. Prints a Markdown table for benchmarks/README.md.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

from storage.codecs import detections_from_table
from storage.sources import Source, content_digest
from storage.store import Store
from storage.video import decode
from tasks import detect, estimate, track
from tasks.execute import run_frames, run_in_order, run_index, timeline
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan, plan_video
from tkm.geometry import cut_crops, letterbox, square_crops
from tkm.networks import runtime
from tkm.networks.movenet import movenet_thunder
from tkm.networks.nanodet import nanodet

CLIP = Path(__file__).resolve().parents[1] / "deployments" / "demo" / "cam01.mp4"


def repeat_clip(path: Path, frames: int) -> None:
    """The demo clip again and again, without coding it anew, until it has so many frames."""
    with av.open(str(CLIP)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        assert stream.time_base is not None
        length = sum(packet.duration or 0 for packet in packets)
        bodies = [(bytes(packet), packet.pts or 0, packet.dts or 0, packet.duration, packet.is_keyframe) for packet in packets]
        for n in range(frames):
            body, pts, dts, duration, is_key = bodies[n % len(bodies)]
            packet = av.Packet(body)
            shift = n // len(bodies) * length
            packet.pts, packet.dts, packet.duration, packet.time_base = pts + shift, dts + shift, duration or 0, stream.time_base
            packet.is_keyframe = is_key
            packet.stream = copied
            target.mux(packet)


def annotate(plan: VideoPlan) -> dict[str, float]:
    """Run all stages; wall seconds a step."""
    seconds: dict[str, float] = {}

    def no_report(stage: str, frames: int) -> None:
        """Nobody looks."""

    def timed(step: str, began: float) -> None:
        seconds[step] = time.perf_counter() - began

    began = time.perf_counter()
    frames = run_index(plan, no_report)
    timed("index", began)
    began = time.perf_counter()
    run_frames(plan, STEPS["networks"], 0, frames, chunk_frames=128, threads=runtime.cores(), report=no_report)
    timed("networks", began)
    began = time.perf_counter()
    run_in_order(plan, track.STAGE, chunk_frames=128, report=no_report)
    timed("track", began)
    began = time.perf_counter()
    run_frames(plan, STEPS["publish"], 0, frames, chunk_frames=128, threads=1, report=no_report)
    timed("publish", began)
    return seconds


def network_rows(plan: VideoPlan) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """The networks' inputs of a run, as pixels: a canvas a frame, a crop a detection."""
    line = timeline(plan)
    params = plan.params["estimate"]
    assert isinstance(params, estimate.EstimateParams)
    detections = detections_from_table(plan.artifact(detect.STAGE).read())
    canvases, crops = [], []
    for number, image in decode(plan.source, line.info, line.frames):
        canvases.append(letterbox(image)[0])
        boxes = detections.box_xyxy_px[detections.frame == number]
        if len(boxes):
            cut = cut_crops(image, square_crops(boxes, params.crop_scale), boxes, grey_margin=params.grey_margin)
            crops.extend(cut)
    return canvases, crops


def forward_seconds(canvases: list[NDArray[np.uint8]], crops: list[NDArray[np.uint8]], threads: int) -> float:
    """Wall seconds that the forward passes alone take in so many threads."""
    detector, pose = nanodet(), movenet_thunder()

    @torch.inference_mode()
    def one(canvas_or_crop: NDArray[np.uint8]) -> float:
        row = torch.from_numpy(canvas_or_crop[None])
        if len(canvas_or_crop) == 256:
            pixels = row.permute(0, 3, 1, 2).float()
            began = time.perf_counter()
            pose(pixels)
        else:
            pixels = detector.normalise(row)
            began = time.perf_counter()
            detector(pixels)
        return time.perf_counter() - began

    with ThreadPoolExecutor(threads, initializer=runtime.prepare_thread) as pool:
        return sum(pool.map(one, [*canvases, *crops])) / threads


def main() -> None:
    """Measure and print."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    threads = runtime.cores()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        params = {stage.name: stage.Params() for stage in PIPELINE}
        for count, name in ((8, "warm-up"), (frames, "out")):
            repeat_clip(clip, count)
            source = Source(str(clip))
            plan = plan_video(Store(f"{folder}/{name}"), source, content_digest(source), params)
            seconds = annotate(plan)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        people = plan.artifact(PIPELINE[-1]).read().num_rows / frames
        sizes = {stage.name: manifest.bytes for stage in plan.stages if (manifest := plan.artifact(stage).manifest())}
        canvases, crops = network_rows(plan)
        forward = forward_seconds(canvases, crops, threads)
    wall = sum(seconds.values())
    print(f"{platform.processor() or platform.machine()}, {threads} of {os.cpu_count()} cores, torch {torch.__version__}\n")
    print("| measure | value |\n| --- | --- |")
    print(f"| frames | {frames} |\n| people published a frame | {people:.2f} |\n| crops a frame | {len(crops) / frames:.2f} |")
    for step, spent in seconds.items():
        print(f"| {step}, frames/s | {frames / spent:.1f} |")
    print(f"| whole, frames/s | {frames / wall:.2f} |")
    print(f"| forward passes alone, s | {forward:.1f} |\n| efficiency: that by the wall seconds | {forward / wall:.2f} |")
    print(f"| peak memory, MB | {peak_mb:.0f} |\n| bytes a frame in the store | {sum(sizes.values()) / frames:.0f} |")


if __name__ == "__main__":
    main()
