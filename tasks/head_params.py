"""Parameters of the training of heads, stage 2 of the paper."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field

from tasks.training import TrainParams
from tkm.training.schedule import STAGE_TWO, Schedule

# For the reduced heads, whose inputs are kept, and which therefore can be shown them often. Weight decay, because the rendered
# people that they are trained on are some hundreds.
REDUCED_PAIRS = Schedule("adam", lr=2e-3, epochs=30, milestones=(20, 27), weight_decay=1e-4)
REDUCED_WINDOWS = Schedule("adam", lr=1e-3, epochs=10, milestones=(7, 9), weight_decay=1e-4)
Chosen = TypeVar("Chosen", bound="HeadTrainParams")


class HeadTrainParams(TrainParams):
    """Parameters that the training of every head has."""

    reduced: bool = Field(True, description="whether the heads are the embedded network's", json_schema_extra={"option": None})
    epochs: int | None = Field(
        None,
        ge=1,
        description=f"passes over the videos (default {STAGE_TWO.epochs}, the paper's; for MoveNet {REDUCED_PAIRS.epochs}, and "
        f"{REDUCED_WINDOWS.epochs} for refinement)",
    )
    lr: float | None = Field(
        None,
        gt=0,
        description=f"first learning rate (default {STAGE_TWO.lr:g}, the paper's; for MoveNet {REDUCED_PAIRS.lr:g}, and "
        f"{REDUCED_WINDOWS.lr:g} for refinement)",
    )
    tau: int = Field(5, ge=0, le=64, description="sampled frames on each side of the window; 0: refinement of single frames")
    batch_size: int = Field(2, ge=1, description="videos a step, of all processes together")
    val_share: float = Field(0.1, ge=0, lt=1, description="share of the videos that is held out to validate on")


class PairTrainParams(HeadTrainParams):
    """Parameters of how pairs are drawn."""

    most_frames: int = Field(48, ge=1, description="longest gap of a pair, in sampled frames")
    positives: int = Field(500, ge=1, description="positive pairs of a video and step; negative ones are four times as many")


class MatchingTrainParams(PairTrainParams):
    """Parameters of the training of a matching or a body head."""

    tau: int = Field(5, ge=1, le=64, description="sampled frames on each side of the window that the head is for")

    @property
    def schedule(self) -> Schedule:
        """The paper's second stage, or that of the reduced heads, with what is asked for changed."""
        return (REDUCED_PAIRS if self.reduced else STAGE_TWO).changed(epochs=self.epochs, lr=self.lr)


class RefinementTrainParams(HeadTrainParams):
    """Parameters of the training of a refinement head."""

    divisor: Literal["window", "weights"] = Field("window", description="what Eq. 6 divides by: 2 tau + 1, or 1 + the sum of W")
    hidden_weight: float = Field(1.0, ge=0, description="weight of keypoints that are hidden in Eq. 2; the paper has 0")
    sigma: float = Field(3.0, gt=0, description="width of the Gaussians of Eq. 2, in cells of the heatmap")

    @property
    def schedule(self) -> Schedule:
        """The paper's second stage, or that of the reduced heads, with what is asked for changed."""
        return (REDUCED_WINDOWS if self.reduced else STAGE_TWO).changed(epochs=self.epochs, lr=self.lr)


class TemporalTrainParams(RefinementTrainParams, PairTrainParams):
    """Parameters of the training of a matching head and of a refinement head under it."""

    def only(self, kind: type[Chosen]) -> Chosen:
        """Those of one of the two."""
        return kind(**{name: value for name, value in self.model_dump().items() if name in kind.model_fields})
