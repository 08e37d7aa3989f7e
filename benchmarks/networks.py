"""Speed and storage of the paper's networks and heads, all stages one after the other in one process, as Markdown.

python -m benchmarks.networks --detector faster-rcnn-resnet-101 --network resnet-152 --input-px 384x288 [--frames N]

Weights are random, in the layouts of published files, and reach the stages as a user's do. A random detector finds nobody: where
it is a Faster R-CNN, boxes are given, NanoDet's of the same frames, and its stage is timed over these frames by itself. Random
poses lie anywhere: nothing is suppressed, so that every detection survives. movenet-thunder has its own weights, and suppression
its defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import clips, report
from benchmarks.annotate import CHUNK_FRAMES, annotate, no_report, peak_mb, plan_of
from benchmarks.forward import forward_seconds, network_rows, seconds_alone
from benchmarks.machine import machine, versions
from benchmarks.random_weights import write_detector, write_pose
from storage.given import Given, write_given
from storage.schemas import CANDIDATES
from storage.store import Store
from storage.video import decode
from storage.weights import keep
from tasks import detect, embed, estimate, given, index, paths, refine, suppress, track, trained
from tasks.execute import run_frames, run_index, timeline
from tasks.heads import Role, option, with_weights
from tasks.pipeline import PIPELINE, STEPS
from tasks.plan import VideoPlan
from tasks.stage import Params
from tkm.networks import faster_rcnn, runtime
from tkm.networks.facts import NETWORKS
from tkm.networks.pose import PoseNetwork
from tkm.refinement import support

TAU = 5
FRAMES = {"cpu": 8, "cuda": 200}
DETECTOR_FRAMES = 32  # at most so many are held to time the detector's forward passes alone
STORED = (estimate.STAGE, embed.STAGE, paths.STAGE, refine.STAGE)  # what a surviving detection is kept in


class Setting(NamedTuple):
    """What is measured: names as in `tkm annotate`, and a folder with the clip, in which everything else is put."""

    detector: str
    network: str
    input_px: str | None
    has_heads: bool
    clip: Path
    folder: Path

    @property
    def store(self) -> Store:
        """Where the run's artifacts are."""
        return Store(str(self.folder / "store"))


def prepare(setting: Setting) -> tuple[dict[str, Params], dict[str, Params]]:
    """Make weights and boxes, and keep them as a user's are; parameters of the run, and of one by the detector.

    In a process of its own, so that the peak memory of the other is the run's.
    """
    torch.manual_seed(0)
    runtime.prepare_thread()
    size = {"input_px": setting.input_px} if setting.input_px else {}
    estimated = estimate.EstimateParams.model_validate({"network": setting.network, **size})
    params: dict[str, Params] = {stage.name: stage.Params() for stage in PIPELINE} | {"estimate": estimated}
    boxes = plan_of(setting.clip, setting.folder / "boxes")
    run_detect(boxes)
    crops = np.stack(network_rows(boxes, estimated)[1])
    files = write_pose(setting.folder, setting.network, crops, TAU, with_heads=setting.has_heads)
    params["detect"] = detect.DetectParams(network=setting.detector)
    if setting.network != estimate.EMBEDDED:
        params["suppress"] = suppress.SuppressParams(method="cnms", cnms_iou=1, min_pose_score=0)
    if setting.has_heads:
        params |= {"track": track.TrackParams(similarity="tkm"), "refine": refine.RefineParams(on=True)}
        params["paths"] = paths.PathsParams(tau=TAU)
    else:
        params |= {"track": track.TrackParams(similarity="oks"), "refine": refine.RefineParams(on=False)}
    if setting.detector != detect.EMBEDDED:
        files["detector"] = write_detector(setting.folder / "detector.pth", setting.detector)
    digests: dict[Role, str] = {role: keep(setting.store, str(file), option(role)) for role, file in files.items()}
    by_detector = with_weights(params, digests)
    if setting.detector != detect.EMBEDDED:
        found = boxes.artifact(detect.STAGE).read()
        own = write_given(setting.store, Given("boxes", found, len(timeline(boxes).frames)))
        params["boxes"] = given.GivenParams(sha256=own)
    return with_weights(params, digests), by_detector


def run_detect(plan: VideoPlan) -> float:
    """Run index and detect; wall seconds of detect."""
    frames = run_index(plan, no_report)
    began = time.perf_counter()
    run_frames(plan, [detect.STAGE], 0, frames, chunk_frames=CHUNK_FRAMES, threads=runtime.cores(), report=no_report)
    return time.perf_counter() - began


def measure(setting: Setting) -> dict[str, Any]:
    """All that the report says."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        params, by_detector = pool.submit(prepare, setting).result()
    few = index.IndexParams(frames=f":{runtime.BLOCK_FRAMES[runtime.device().type]}")
    annotate(plan_of(setting.clip, setting.folder / "store", {**params, "index": few}))
    plan = plan_of(setting.clip, setting.folder / "store", params)
    load = os.getloadavg()[0]
    processor_began = time.process_time()
    seconds = annotate(plan)
    processor_seconds = time.process_time() - processor_began
    manifests = {stage.name: manifest for stage in plan.stages if (manifest := plan.artifact(stage).manifest())}
    people = manifests["publish"].rows
    stored = [stage for stage in STORED if stage in plan.stages]
    found: dict[str, Any] = {
        "detector": setting.detector,
        "network": setting.network,
        "input_px": plan.params["estimate"].input_px,  # type: ignore[attr-defined]
        "has_heads": setting.has_heads,
        "device": runtime.description(),
        "threads": runtime.cores(),
        "load": load,
        "frames": len(timeline(plan).frames),
        "detections": manifests["suppress"].rows,
        "people": people,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "shared_seconds": {stage.name: manifests[stage.name].seconds for stage in STEPS["networks"] if stage in plan.stages},
        "bytes": {stage.name: manifests[stage.name].bytes / people for stage in stored},
        "plain_bytes": {stage.name: plan.artifact(stage).read().nbytes / people for stage in stored},
    }
    detector = plan_of(setting.clip, setting.folder / "store", by_detector)
    if setting.detector != detect.EMBEDDED:
        found["detector_seconds"] = run_detect(detector)
    found["peak_mb"] = peak_mb()
    found["gpu_mb"] = torch.cuda.max_memory_allocated() / 1e6 if runtime.device().type == "cuda" else None
    found["forward"] = passes(plan, detector)
    found["gmac"] = gmac(plan, round(people / found["frames"]))
    return found


def passes(plan: VideoPlan, by_detector: VideoPlan) -> dict[str, float]:
    """Seconds of the forward passes alone: detector, backbone with keypoint head, and the heads at the cells of embed."""
    params = plan.params["estimate"]
    assert isinstance(params, estimate.EstimateParams)
    canvases, crops = network_rows(plan, params)
    alone = forward_seconds(params, canvases, crops)
    if given.BOXES in plan.stages:
        line = timeline(plan)
        some = line.frames[:DETECTOR_FRAMES]
        images = [image for _, image in decode(plan.source, line.info, some)]
        network = detect.detector(by_detector.params["detect"])  # type: ignore[arg-type]
        step = faster_rcnn.ROWS[runtime.device().type]
        spent = seconds_alone(images, lambda frames: frames, partial(faster_rcnn.find_people, network), step)  # type: ignore[arg-type]
        alone["detect"] = spent * len(line.frames) / len(some)
    if embed.STAGE in plan.stages:
        pose = estimate.pose_network(params)
        heads = _heads(plan, pose).values()
        alone["heads"] = seconds_alone(
            crops, lambda pixels: pose.features(pose.normalise(pixels)), lambda maps: [head(maps) for head in heads]
        )
    return alone


def _heads(plan: VideoPlan, pose: PoseNetwork) -> dict[str, Callable[[tuple[Tensor, ...]], Tensor]]:
    """What embed asks each head of the backbone's maps, by the head's kind: any cells, for all of them cost the same."""
    digests = plan.params["embed"]
    assert isinstance(digests, embed.EmbedParams)
    matching, refinement = trained.matching(str(digests.matching)), trained.refinement(str(digests.refinement))
    K, S = len(pose.skeleton.keypoints), 1 + CANDIDATES
    cell = torch.arange(K * S, device=runtime.device()).reshape(1, K, S)

    def cells(maps: tuple[Tensor, ...]) -> Tensor:
        return cell.expand(len(maps[0]), -1, -1)

    return {
        "matching": lambda maps: matching.at(maps, cells(maps)),
        "refinement": lambda maps: refinement.scalars(maps, pose.responses(maps), cells(maps)),
    }


@torch.inference_mode()
def gmac(plan: VideoPlan, people: int) -> dict[str, float]:
    """Billions of multiplications a person, by part: of a frame with so many, all near one another, between frames like it."""
    params = plan.params["estimate"]
    assert isinstance(params, estimate.EstimateParams)
    pose, device = estimate.pose_network(params), runtime.device()
    crop = pose.normalise(torch.zeros(1, *params.size_px, 3, dtype=torch.uint8, device=device))
    found = {"pose network": _gmac(lambda: pose(crop))}
    if embed.STAGE not in plan.stages:
        return found
    maps = pose.features(crop)
    found |= {f"{kind} module": _gmac(partial(head, maps)) for kind, head in _heads(plan, pose).items()}
    digest = str(plan.params["embed"].matching)  # type: ignore[attr-defined]
    classifiers, K, S = trained.matching(digest).classifiers, len(pose.skeleton.keypoints), 1 + CANDIDATES
    f = torch.zeros(people, K, classifiers.channels, device=device)
    found["G_k in track"] = _gmac(lambda: classifiers(f[:, None], f[None])) / people
    found["G_k in paths"] = found["G_k in track"]
    own, context = (torch.zeros(1, n, m, classifiers.channels, device=device) for n, m in ((K, S), (2 * TAU, K)))
    found["G_k in refine"] = _gmac(lambda: support(classifiers, own, context, torch.arange(2 * TAU) < TAU))
    return found


def _gmac(work: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 2e9


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default=detect.EMBEDDED, choices=(detect.EMBEDDED, *faster_rcnn.DESIGNS))
    parser.add_argument("--network", default=estimate.EMBEDDED, choices=NETWORKS)
    parser.add_argument("--input-px", metavar="HxW", help="size of a crop (default: the network's own)")
    frames = FRAMES[runtime.device().type]
    parser.add_argument("--frames", type=int, default=frames, help="length to repeat the demo clip to (here %(default)s)")
    parser.add_argument("--no-heads", action="store_true", help="track by oks, refine nothing")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead")
    options = parser.parse_args()
    machine_line = machine()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"  # these weights are no user's, and go with the folder
        clip = Path(folder) / "clip.mp4"
        clips.repeat(clips.DEMO, clip, options.frames)
        setting = Setting(options.detector, options.network, options.input_px, not options.no_heads, clip, Path(folder))
        found = measure(setting)
    print(json.dumps(found) if options.json else f"- {machine_line}\n- {versions()}\n\n{report.networks(found)}")


if __name__ == "__main__":
    main()
