"""A pose network as the training loop sees it: crops of people in batches, Eq. 2 on them, and what it is judged by.

Shape legend: N crops of H x W pixels, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from storage.labelled import LabelledImage, read_image
from tasks.ahead import loaded_ahead
from tasks.training import TrainParams
from tkm.geometry import Image
from tkm.networks.facts import FACTS
from tkm.training.crops import Augmentation, Draw, cut, draw, flipped, placement, to_crop
from tkm.training.losses import gaussian_targets, is_in_crop, is_right, keypoint_loss
from tkm.training.schedule import STAGE_ONE, sample_order
from tkm.types import Float

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tkm.networks.pose import PoseNetwork

PCK_SHARE = 0.1  # of the longer side of the person's box


class PoseTrainParams(TrainParams):
    """Parameters of the training of a pose network."""

    usual = STAGE_ONE

    network: Literal["resnet-50", "resnet-101", "resnet-152", "hrnet-w32", "hrnet-w48"] = Field(
        "resnet-50", description="backbone and keypoint head"
    )
    input_px: str = Field("384x288", description="height x width of a crop: 384x288, 256x192, 256x256 or 384x384")
    caffe_style: bool = Field(False, description="ResNets with the stride at a bottleneck's first 1x1 convolution, as in Caffe")
    new_head: bool = Field(False, description="the last layer of --pose-weights starts anew, for other keypoints than theirs")
    crop_scale: float = Field(1.25, ge=1, le=2, description="size of a crop, in sizes of the box padded to its aspect")
    sigma: float = Field(3.0, gt=0, description="width of the Gaussians of Eq. 2, in cells of the heatmap")
    scale: float = Field(0.35, ge=0, lt=1, description="augmentation: deviation of the crop's size, and its limit")
    rotation_degrees: float = Field(45.0, ge=0, le=90, description="augmentation: deviation of the angle of 60% of the crops")
    flip: float = Field(0.5, ge=0, le=1, description="augmentation: share of the crops that are mirrored")
    val_share: float = Field(
        0.05, ge=0, lt=1, description="share of the videos (of one video, of its pictures) that is held out to validate on"
    )

    @model_validator(mode="after")
    def _suits_the_network(self) -> PoseTrainParams:
        sizes = [f"{height}x{width}" for height, width in FACTS[self.network].input_px]
        if self.input_px not in sizes:
            raise ValueError(f"input_px {self.input_px} does not go with {self.network}: give {' or '.join(sizes)}")
        if self.caffe_style and not self.network.startswith("resnet-"):
            raise ValueError(f"caffe_style is for ResNets, and {self.network} is none")
        return self

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of a crop."""
        height, width = self.input_px.split("x")
        return int(height), int(width)

    @property
    def augmentation(self) -> Augmentation:
        """How crops vary in training."""
        return Augmentation(self.scale, self.rotation_degrees, self.flip)


class Person(NamedTuple):
    """One person to train on: the number of a row of a labelled image."""

    image: LabelledImage
    row: int


class Batch(NamedTuple):
    """N crops with their truth.

    pixels         (N, H, W, 3) uint8 RGB
    xy             (N, K, 2) float32, normalised crop coordinates; NaN where a keypoint is not annotated
    crop_px        (N, 2) float32, width and height of the crop in pixels of the picture
    person_px      (N,) float32, longer side of the person's box
    """

    pixels: Tensor
    xy: Tensor
    crop_px: Tensor
    person_px: Tensor


class PoseTrainee:
    """A pose network that learns Eq. 2 on crops of people (tasks.fit.Trainee).

    Where `val` is not empty, validation gives Eq. 2's mean as `loss` and the share of annotated keypoints that are right as
    `pck_0.1`: within a tenth of the longer side of the person's box.
    """

    def __init__(
        self, network: PoseNetwork, train: Sequence[Person], val: Sequence[Person], params: PoseTrainParams, threads: int
    ) -> None:
        self.model: PoseNetwork = network
        self.train, self.val, self.params, self.threads = train, val, params, threads
        assert isinstance(network.keypoints.cell_centre, float)  # type: ignore[attr-defined]
        self.cell_centre = network.keypoints.cell_centre  # type: ignore[attr-defined]

    def batches(self, epoch: int, rank: int, world: int, first: int) -> Iterator[Batch]:
        """Augmented crops, drawn from (seed, epoch, person)."""
        params = self.params
        order = sample_order(
            len(self.train), params.batch_size, seed=params.seed, epoch=epoch, rank=rank, world=world
        )

        def load(number: int) -> _Sample:
            drawn = draw(params.augmentation, np.random.default_rng([params.seed, epoch, number]))
            return _sample(self.train[number], drawn, params)

        for samples in loaded_ahead(load, order[first:].tolist(), self.threads):
            yield _batch(samples)

    def losses(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Eq. 2 as `loss`."""
        heatmap = model(self.model.normalise(batch.pixels)).heatmap
        return {"loss": self._loss(heatmap, batch)}

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """`loss` and `pck_0.1` over the people that are held out."""
        import torch

        if not self.val:
            return {}
        device = next(model.parameters()).device
        size = self.params.batch_size
        parts = [self.val[start : start + size] for start in range(0, len(self.val), size)]
        loss, right, known = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(3))
        for samples in loaded_ahead(lambda person: _sample(person, Draw(), self.params), parts, self.threads):
            batch = Batch(*(tensor.to(device) for tensor in _batch(samples)))
            output = model(self.model.normalise(batch.pixels))
            loss += self._loss(output.heatmap, batch) * len(samples)
            found, crop_px = self.model.decode(output).xy, batch.crop_px[:, None]
            is_known = is_in_crop(batch.xy)
            right += (is_right(found * crop_px, batch.xy * crop_px, batch.person_px, PCK_SHARE) & is_known).sum()
            known += is_known.sum()
        return {"loss": float(loss) / len(self.val), f"pck_{PCK_SHARE}": float(right / known)}

    def _loss(self, heatmap: Tensor, batch: Batch) -> Tensor:
        H, W = heatmap.shape[2:]
        target = gaussian_targets(batch.xy, H, W, self.cell_centre, self.params.sigma)
        return keypoint_loss(heatmap, target, is_in_crop(batch.xy))


def people_of(images: Sequence[LabelledImage]) -> list[Person]:
    """All people with a keypoint that is annotated, but for crowds."""
    known = [((image.visibility > 0).any(axis=1) & ~image.is_crowd) for image in images]
    return [Person(image, int(row)) for image, rows in zip(images, known, strict=True) for row in np.flatnonzero(rows)]


class _Sample(NamedTuple):
    """A row of a batch, on the CPU."""

    pixels: Image
    xy: Float
    crop_px: Float
    person_px: np.float32


def _sample(person: Person, drawn: Draw, params: PoseTrainParams) -> _Sample:
    image, row = person
    height, width = params.size_px
    box = image.box_xyxy_px[row]
    placed = placement(box, width / height, params.crop_scale, drawn)
    xy = flipped(image.xy_px[row], image.skeleton.flip_order, drawn)
    size = np.linalg.norm(placed[:, :2], axis=0).astype(np.float32)
    pixels = cut(read_image(image), placed, params.size_px, FACTS[params.network].fill)
    return _Sample(pixels, to_crop(xy, placed), size, np.float32((box[2:] - box[:2]).max()))


def _batch(samples: Sequence[_Sample]) -> Batch:
    import torch

    return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True)))
