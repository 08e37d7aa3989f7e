"""boxes and poses: what a user gives in place of our detector, or of our networks, for the frames that are sampled."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.schemas import DETECTIONS, GIVEN_POSES
from tasks import index
from tasks.stage import Params, Resources, Stage, digest_field


class GivenParams(Params):
    """Parameters of boxes and poses."""

    sha256: str | None = digest_field("what --detections gives for the video")


def run(rows: pa.Table, frames: NDArray[np.int64], params: GivenParams) -> pa.Table:  # noqa: ARG001 - every stage takes its params
    """The rows, in frame order, of the sampled frames (T,)."""
    return rows.filter(pc.is_in(rows["frame"], pa.array(frames))).replace_schema_metadata(None)


BOXES = Stage(
    "boxes",
    run,
    GivenParams,
    inputs=(index.STAGE,),
    output=DETECTIONS,
    resources=Resources(cpus=1),
    version=1,
    given=True,
    is_active=lambda params: params["boxes"].sha256 is not None,
)
POSES = Stage(
    "poses",
    run,
    GivenParams,
    inputs=(index.STAGE,),
    output=GIVEN_POSES,
    resources=Resources(cpus=1),
    version=1,
    given=True,
    is_active=lambda params: params["poses"].sha256 is not None,
)
