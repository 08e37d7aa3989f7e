"""estimate: from detections to poses. Crops of all detections, heatmaps, the pose, and each keypoint's local maxima."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from storage.codecs import candidates_to_table, detections_from_table
from storage.schemas import CANDIDATE_POSES, CANDIDATES
from tasks import detect, given, index
from tasks.stage import Block, Params, Resources, Stage, digest_field
from tkm import cropping, weights
from tkm.geometry import crops_around, cut_crops
from tkm.networks import runtime
from tkm.networks.facts import FACTS, NetworkName
from tkm.skeleton import skeleton_of
from tkm.types import CandidateSet, DetectionSet, PoseSet

if TYPE_CHECKING:
    from torch import Tensor

    from tkm.networks.pose import PoseNetwork, PoseOutput

EMBEDDED: NetworkName = "movenet-thunder"  # the network whose weights are in the package


class EstimateParams(Params):
    """Parameters of estimate."""

    network: NetworkName = Field(EMBEDDED, description="backbone and keypoint head; others than the default need --pose-weights")
    input_px: str = Field(
        default_factory=lambda validated: _written(FACTS[validated["network"]].input_px[0]),
        description="height x width of a crop: 256x256 for movenet-thunder; for others 384x288 (the default), 256x192, 256x256 "
        "or 384x384, that which their weights were trained at",
    )
    weights: str | None = digest_field("the network's weights; none for the embedded ones")
    skeleton: Literal["coco_17", "posetrack_15", "mpii_16"] = Field("coco_17", description="keypoints of the network's head")
    caffe_style: bool = Field(
        False,
        description="ResNets with the stride at a bottleneck's first 1x1 convolution, as in Caffe; a file does not tell",
    )
    flip_test: bool = Field(False, description="mean of the heatmaps of a crop and of its mirror image, at twice the time")
    crop_scale: float = Field(
        1.25, ge=1, le=2, description="size of a crop, in sizes of the box padded to its aspect (a square: of its longer side)"
    )
    grey_margin: float | None = Field(
        default_factory=lambda validated: FACTS[validated["network"]].grey_margin,
        ge=0,
        description="pixels farther from the box than this share of its sides become blank; none keeps them (default 0.05 for "
        "movenet-thunder, none for others)",
    )
    heatmaps: bool = Field(False, description="keep full heatmaps (float16, 136 KB a detection at 256x256)")

    @model_validator(mode="after")
    def _suits_the_network(self) -> EstimateParams:
        facts = FACTS[self.network]
        sizes = [_written(size) for size in facts.input_px]
        if self.input_px not in sizes:
            raise ValueError(f"input_px {self.input_px} does not go with {self.network}: give {' or '.join(sizes)}")
        if self.skeleton not in facts.skeletons:
            raise ValueError(f"{self.network} has the keypoints of {' or '.join(facts.skeletons)}, not of {self.skeleton}")
        if self.caffe_style and not self.network.startswith("resnet-"):
            raise ValueError(f"caffe_style is for ResNets, and {self.network} is none")
        return self

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of a crop."""
        return next(size for size in FACTS[self.network].input_px if _written(size) == self.input_px)


def _written(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]}x{size_px[1]}"


class _Estimated(NamedTuple):
    """Poses and candidates in crop coordinates, one row a crop."""

    xy: Tensor  # (P, K, 2)
    score: Tensor  # (P, K)
    candidate_xy: Tensor  # (P, K, C, 2)
    candidate_response: Tensor  # (P, K, C)
    candidate_weighted: Tensor  # (P, K, C)
    candidate_cell: Tensor  # (P, K, C)
    cell: Tensor  # (P, K)
    heatmap: Tensor  # (P, K, height, width), or (P, 0) where it is not asked for


def run(block: Block, params: EstimateParams) -> pa.Table:
    """Poses of all detections of a block of frames, in the detections' order.

    Where `embed` sees the block too, the backbone's maps are left for it as `features`, on the device, a row a detection.
    """
    import torch  # here: see tkm.networks.runtime

    detections = detections_from_table(block.inputs["boxes" if "boxes" in block.inputs else "detect"])
    if not len(detections):
        return _table(detections, _nobody(params), params)
    network = pose_network(params)
    is_shared = "embed" in block.pending

    def answers(output: PoseOutput) -> tuple[Tensor, ...]:
        return (*_decode(network, output, params.heatmaps), *(output.features if is_shared else ()))

    answered = runtime.forward(
        lambda crops: network(crops, params.flip_test),
        _pixels(block, detections, params),
        network.normalise,
        answers,
        stay_on_device=True,
    )
    own = len(_Estimated._fields)
    if is_shared:
        block.shared["features"] = answered[own:]
    found = _Estimated(*(field.cpu() for field in answered[:own]))
    if not torch.isfinite(found.score).all():
        raise weights.WeightsError(f"{params.network} answers with numbers that are not finite: its weights are of no use")
    crops = crops_around(detections.box_xyxy_px, _aspect(params), params.crop_scale)
    on_frame = found._replace(
        xy=torch.from_numpy(crops.to_image(found.xy.numpy())),
        candidate_xy=torch.from_numpy(crops.to_image(found.candidate_xy.numpy())),
    )
    return _table(detections, on_frame, params)


def backbone_features(block: Block, detections: DetectionSet, params: EstimateParams) -> tuple[Tensor, ...]:
    """The backbone's maps of some of a block's detections, at least one, on the device; rows in the detections' order.

    The same bits as `run` leaves for `embed`.
    """
    network = pose_network(params)
    return runtime.forward(
        network.features, _pixels(block, detections, params), network.normalise, lambda maps: maps, stay_on_device=True
    )


def pose_network(params: EstimateParams) -> PoseNetwork:
    """The network with its weights, on the device, ready to run; built once a process.

    Raises WeightsError where the weights are missing or do not fit the network, its size or its keypoints.
    """
    # Threads that start together would each build a network of their own.
    with _building:
        return _network(params.network, params.skeleton, params.caffe_style, _digest(params))


_building = Lock()


@cache
def _network(name: str, skeleton: str, caffe_style: bool, sha256: str) -> PoseNetwork:
    from tkm.networks import checkpoints, pose

    if (name, sha256) == (EMBEDDED, weights.digest(EMBEDDED)):
        return runtime.prepared(pose.embedded())
    network = checkpoints.pose_network(weights.locate(sha256), name, skeleton_of(skeleton), caffe_style=caffe_style)
    return runtime.prepared(network)


def _digest(params: EstimateParams) -> str:
    """Digest of the weights file that the network gets."""
    if params.weights is not None:
        return params.weights
    if params.network != EMBEDDED:
        raise weights.WeightsError(
            f"no weights of {params.network} come with the package, only those of {EMBEDDED}: give a published checkpoint of it "
            "by --pose-weights FILE"
        )
    return weights.digest(EMBEDDED)


def _aspect(params: EstimateParams) -> float:
    height, width = params.size_px
    return width / height


def _pixels(block: Block, detections: DetectionSet, params: EstimateParams) -> Tensor:
    """(P, height, width, 3) uint8, the detections' crops: cut on the device where it is a GPU."""
    import torch

    device, fill = runtime.device(), FACTS[params.network].fill
    pixels = torch.empty((len(detections), *params.size_px, 3), dtype=torch.uint8, device=device)
    for frame, image in zip(block.frames, block.images, strict=True):
        mine = np.flatnonzero(detections.frame == frame)
        if not len(mine):
            continue
        boxes = detections.box_xyxy_px[mine]
        crops = crops_around(boxes, _aspect(params), params.crop_scale)
        if device.type == "cuda":
            on_device = torch.tensor(image, device=device)
            cut = cropping.cut_crops(on_device, crops, boxes, params.size_px, params.grey_margin, fill)
        else:
            cut = torch.from_numpy(cut_crops(image, crops, boxes, params.size_px, params.grey_margin, fill))
        pixels[torch.from_numpy(mine)] = cut
    return pixels


def _decode(network: PoseNetwork, output: PoseOutput, heatmaps: bool) -> _Estimated:
    """The pose from the weighted map; candidates from the raw one, where a displaced truth still stands."""
    from tkm.heatmaps import gather_cells, local_maxima

    pose = network.decode(output)
    maxima = local_maxima(output.heatmap, CANDIDATES)
    return _Estimated(
        xy=pose.xy,
        score=pose.score,
        candidate_xy=network.place(output.heatmap, maxima.cell),
        candidate_response=maxima.response,
        candidate_weighted=gather_cells(pose.weighted_heatmap, maxima.cell),
        candidate_cell=maxima.cell,
        cell=pose.cell,
        heatmap=output.heatmap if heatmaps else output.heatmap.new_empty(len(output.heatmap), 0),
    )


def _nobody(params: EstimateParams) -> _Estimated:
    import torch

    K = len(skeleton_of(params.skeleton).keypoints)
    own, of_candidates = (0, K), (0, K, CANDIDATES)
    shapes = ((*own, 2), own, (*of_candidates, 2), of_candidates, of_candidates, of_candidates, own, (0, 1))
    return _Estimated(*(torch.zeros(shape) for shape in shapes))


def _table(detections: DetectionSet, found: _Estimated, params: EstimateParams) -> pa.Table:
    poses = PoseSet(
        frame=detections.frame,
        detection=detections.detection,
        box_xyxy_px=detections.box_xyxy_px,
        box_score=detections.score,
        xy_px=found.xy.numpy(),
        score=found.score.numpy(),
    )
    candidates = CandidateSet(
        xy_px=found.candidate_xy.numpy(),
        response=found.candidate_response.numpy(),
        weighted=found.candidate_weighted.numpy(),
        cell=found.candidate_cell.numpy().astype(np.int32),
        pose_cell=found.cell.numpy().astype(np.int32),
    )
    heatmaps = found.heatmap.numpy().astype(np.float16) if params.heatmaps else None
    return candidates_to_table(poses, candidates, skeleton_of(params.skeleton), heatmaps)


def _weights(params: Mapping[str, Any]) -> dict[str, str]:
    own = params["estimate"]
    return {EMBEDDED if own.weights is None else "pose": _digest(own)}


STAGE = Stage(
    "estimate",
    run,
    EstimateParams,
    inputs=(index.STAGE, given.BOXES, detect.STAGE),
    output=CANDIDATE_POSES,
    resources=Resources(gpus=1),
    version=2,
    images=True,
    weights=_weights,
    is_active=lambda params: params["poses"].sha256 is None,
)
