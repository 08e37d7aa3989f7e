"""Parameters of the training of heads, stage 2 of the paper."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field

from tasks.training import TrainParams
from tkm.training.schedule import STAGE_TWO, Schedule

# What measured best for the reduced heads, whose inputs are kept and which therefore can see them often.
REDUCED = Schedule("adam", lr=2e-3, epochs=24, milestones=(16, 21), weight_decay=1e-4)
Chosen = TypeVar("Chosen", bound="HeadTrainParams")


class HeadTrainParams(TrainParams):
    """Parameters that the training of every head has."""

    reduced: bool = Field(True, description="whether the heads are the embedded network's", json_schema_extra={"option": None})
    tau: int = Field(5, ge=0, le=64, description="sampled frames on each side of the window; 0 trains refinement on single frames")
    batch_size: int = Field(2, ge=1, description="videos a step, of all processes together")
    val_share: float = Field(0.1, ge=0, lt=1, description="share of the videos that is held out to validate on")

    @property
    def schedule(self) -> Schedule:
        """The paper's second stage, or that of the reduced heads, with what is asked for changed."""
        return (REDUCED if self.reduced else STAGE_TWO).changed(epochs=self.epochs, lr=self.lr)


class MatchingTrainParams(HeadTrainParams):
    """Parameters of the training of a matching or a body head."""

    tau: int = Field(5, ge=1, le=64, description="sampled frames on each side of the window that the head is for")
    most_frames: int = Field(48, ge=1, description="longest gap of a pair, in sampled frames")
    positives: int = Field(500, ge=1, description="positive pairs of a video and step; negative ones are four times as many")


class RefinementTrainParams(HeadTrainParams):
    """Parameters of the training of a refinement head."""

    divisor: Literal["window", "weights"] = Field("window", description="what Eq. 6 divides by: 2 tau + 1, or 1 + the sum of W")
    hidden_weight: float = Field(1.0, ge=0, description="weight of keypoints that are hidden in Eq. 2; the paper has 0")
    sigma: float = Field(3.0, gt=0, description="width of the Gaussians of Eq. 2, in cells of the heatmap")


class TemporalTrainParams(RefinementTrainParams):
    """Parameters of the training of a matching head and of a refinement head under it."""

    most_frames: int = MatchingTrainParams.model_fields["most_frames"]  # type: ignore[assignment] - the field itself
    positives: int = MatchingTrainParams.model_fields["positives"]  # type: ignore[assignment]

    def only(self, kind: type[Chosen]) -> Chosen:
        """Those of one of the two."""
        return kind(**{name: value for name, value in self.model_dump().items() if name in kind.model_fields})
