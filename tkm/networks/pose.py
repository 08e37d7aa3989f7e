"""The paper's pose network: backbone, keypoint head, and the modules for matching, whole bodies and refinement beside them.

Shape legend: N crops of H x W pixels, K keypoints, C candidates, h x w cells of the heatmaps.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from tkm.heatmaps import PoseEstimate
from tkm.networks.facts import Colours, NetworkFacts, facts_of
from tkm.networks.keypoint_head import HeatmapNetwork, HeatmapOutput, KeypointHead
from tkm.networks.matching import Body, Matching
from tkm.networks.movenet import MoveNetOutput, MoveNetThunder, movenet_thunder
from tkm.networks.refinement import Refinement
from tkm.skeleton import COCO_17, Skeleton

PoseOutput = HeatmapOutput | MoveNetOutput  # both have `heatmap` (N, K, h, w) and `features`, the backbone's maps


class KeypointNetwork(Protocol):
    """What MoveNetThunder and HeatmapNetwork have in common: a backbone and a keypoint head, and how their answers are read."""

    def normalise(self, pixels: Tensor) -> Tensor: ...

    def features(self, crops: Tensor) -> tuple[Tensor, ...]: ...

    def answer(self, features: Any) -> Any: ...

    def responses(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]: ...

    def averaged(self, output: Any, mirrored: Any, flip_order: tuple[int, ...]) -> Any: ...

    def decode(self, output: Any) -> PoseEstimate: ...

    def place(self, heatmap: Tensor, cell: Tensor) -> Tensor: ...


class Embedded(NamedTuple):
    """What the heads say of N crops, at C cells of each keypoint; (N, 0) where there is no such head. D channels.

    feature   (N, K, C, D) float32, F of the matching head; 0 where the cell is -1
    scalar    (N, K, C) float32, w_k . H of the refinement head (choice 8 of docs/method.md); NaN where the cell is -1
    body      (N, D) float32, F of the body head, averaged over the crop
    """

    feature: Tensor
    scalar: Tensor
    body: Tensor


class PoseNetwork(nn.Module):
    """Crops to heatmaps, and to what matching and refinement are computed from.

    name         one of tkm.networks.facts.NETWORKS
    skeleton     the keypoints that the head has, in its order
    deconvs      transposed convolutions of the keypoint head; None for the network's own number
    colours      order of the channels in which crops are fed; None for the network's own
    caffe_style  whether a ResNet's bottlenecks have their stride as in Caffe (tkm.networks.resnet)
    keypoints    backbone and keypoint head; None for new ones, of random weights
    matching     features F and classifiers G_k (tkm.networks.matching), or None
    body         the same for whole bodies (TBM, choice 15 of docs/method.md), or None
    refinement   features H and the 1 x 1 convolution on them (tkm.networks.refinement), or None

    Weights are random: tkm.networks.checkpoints loads files, `embedded` the network that comes with the package.
    Raises ValueError for an unknown name, for a skeleton that the network has no head for, and for Caffe's style of no ResNet.
    """

    keypoints: KeypointNetwork

    def __init__(
        self,
        name: str,
        skeleton: Skeleton = COCO_17,
        *,
        deconvs: int | None = None,
        colours: Colours | None = None,
        caffe_style: bool = False,
        keypoints: KeypointNetwork | None = None,
        matching: Matching | None = None,
        body: Body | None = None,
        refinement: Refinement | None = None,
    ) -> None:
        super().__init__()
        self.facts = facts_of(name)
        self.skeleton = skeleton
        if skeleton.name not in self.facts.skeletons:
            raise ValueError(f"{name} has keypoints of {', '.join(self.facts.skeletons)} only, not of {skeleton.name}")
        if caffe_style and not name.startswith("resnet-"):
            raise ValueError(f"Caffe's style is one of ResNets: {name} is none")
        if keypoints is None:
            keypoints = _keypoint_network(self.facts, len(skeleton.keypoints), deconvs, colours, caffe_style)
        self.keypoints = keypoints
        self.matching = matching
        self.body = body
        self.refinement = refinement

    def with_heads(
        self, *, matching: Matching | None = None, body: Body | None = None, refinement: Refinement | None = None
    ) -> PoseNetwork:
        """A network of these heads beside this one's backbone and keypoint head, whose parameters both share."""
        heads = {"matching": matching, "body": body, "refinement": refinement}
        return PoseNetwork(self.facts.name, self.skeleton, keypoints=self.keypoints, **heads)  # type: ignore[arg-type]

    def embed(self, features: tuple[Tensor, ...], cell: Tensor) -> Embedded:
        """What the heads say of crops with these backbone features, at cells (N, K, C) int64, row * w + column, -1 for none."""
        nothing = features[0].new_zeros(len(cell), 0)
        return Embedded(
            feature=nothing if self.matching is None else self.matching.at(features, cell),
            scalar=nothing if self.refinement is None else self.refinement.scalars(features, self.responses(features), cell),
            body=nothing if self.body is None else self.body.vector(features),
        )

    def responses(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The keypoint head's answers to these features that the refinement module looks at, (N, K, h, w) each; none but MoveNet's."""
        return self.keypoints.responses(features)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Crops (N, H, W, 3) uint8 RGB to what `forward` takes: channels in the network's order, standardised as in training."""
        return self.keypoints.normalise(pixels)

    def features(self, crops: Tensor) -> tuple[Tensor, ...]:
        """The backbone alone: its maps of normalised crops, with channels and strides as the network's facts say."""
        return self.keypoints.features(crops)

    def forward(self, crops: Tensor, flip_test: bool = False) -> PoseOutput:
        """Heatmaps and features of normalised crops (N, 3, H, W) float32.

        With flip_test the heatmaps are the mean of those of the crops and of their mirror images. Features are always those of
        the crops themselves.
        """
        output: PoseOutput = self.keypoints.answer(self.features(crops))
        if not flip_test:
            return output
        mirrored = self.keypoints.answer(self.features(crops.flip(3)))
        averaged: PoseOutput = self.keypoints.averaged(output, mirrored, self.skeleton.flip_order)
        return averaged

    def decode(self, output: PoseOutput) -> PoseEstimate:
        """The pose of the person whom each crop is about."""
        return self.keypoints.decode(output)

    def place(self, heatmap: Tensor, cell: Tensor) -> Tensor:
        """Where in the crop the local maxima in these cells stand.

        Args: heatmap (N, K, h, w); cell (N, K, C) int64, row * w + column, -1 for none.
        Returns: (N, K, C, 2) float32, share of the crop's width and height; NaN where the cell is -1.
        """
        return self.keypoints.place(heatmap, cell)


def _keypoint_network(
    facts: NetworkFacts, keypoints: int, deconvs: int | None, colours: Colours | None, caffe_style: bool
) -> KeypointNetwork:
    """Backbone and keypoint head of random weights; None for what is the network's own."""
    if facts.name == "movenet-thunder":
        return MoveNetThunder()
    from tkm.networks.hrnet import HRNet  # here: they import timm and torchvision, seconds that MoveNet need not wait
    from tkm.networks.resnet import ResNet

    family, _, size = facts.name.partition("-")
    backbone = ResNet(int(size), caffe_style) if family == "resnet" else HRNet(int(size[1:]))
    deconvs = facts.deconvs if deconvs is None else deconvs
    head = KeypointHead(facts.feature_channels[0], keypoints, deconvs)
    return HeatmapNetwork(backbone, head, facts.feature_strides_px[0] // 2**deconvs, colours or facts.colours)


def embedded() -> PoseNetwork:
    """MoveNet Thunder with the weights that come with the package, in evaluation mode.

    Raises ValueError where the weights file is damaged.
    """
    return PoseNetwork("movenet-thunder", keypoints=movenet_thunder()).eval()
