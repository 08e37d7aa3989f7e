"""index: which frames a video has, when they are shown, where decoding can start, and which of them the run samples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from storage.codecs import index_to_table
from storage.schemas import FRAMES_INDEX
from storage.sources import Source
from storage.video import VideoError, VideoInfo
from tasks.stage import Params, Resources, Stage
from tkm.sampling import check_sampling, sample


class IndexParams(Params):
    """Parameters of index: sampling, the largest cost lever on a large dataset."""

    fps: float | None = Field(None, gt=0, description="sample this many frames a second of video (default: all)")
    every: int = Field(1, ge=1, description="sample every Nth frame")
    frames: str | None = Field(
        None, pattern=r"^[0-9]*:[0-9]*$", description="sample frames A:B only, B not included; either may be left out"
    )

    @model_validator(mode="after")
    def _sampling_is_clear(self) -> IndexParams:
        check_sampling(self.fps, self.every, self.frame_range())
        return self

    def frame_range(self) -> tuple[int | None, int | None]:
        """First frame and the one after the last, None where open."""
        if self.frames is None:
            return None, None
        start, stop = self.frames.split(":")
        return int(start) if start else None, int(stop) if stop else None


def run(source: Source, info: VideoInfo, params: IndexParams) -> pa.Table:
    """Every frame of a video; VideoError where the parameters leave no frame of it."""
    sampled = sample(info.pts_ns, params.fps, params.every, params.frame_range())
    if not len(sampled):
        raise VideoError(f"{source.uri}: --frames {params.frames} leaves none of its {len(info.pts_ns)} frames")
    is_sampled = np.zeros(len(info.pts_ns), bool)
    is_sampled[sampled] = True
    return index_to_table(info, is_sampled)


STAGE = Stage("index", run, IndexParams, inputs=(), output=FRAMES_INDEX, resources=Resources(cpus=1), version=1)
