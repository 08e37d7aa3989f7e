"""Between samples (tkm.training.samples) and the table `samples`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from storage.codecs import column, list_array, list_column, table_of
from storage.learning_schemas import SAMPLES
from tkm.training.samples import Samples


def samples_to_table(samples: Samples) -> pa.Table:
    """Table `samples`, row for row."""
    return table_of(
        SAMPLES,
        frame=samples.frame,
        track_id=samples.track_id,
        cell=list_array(samples.cell.astype(np.int32)),
        xy_cells=list_array(samples.xy_cells),
        visibility=list_array(samples.visibility),
        inputs=pa.array([row.tobytes() for row in samples.inputs], pa.binary()),
        body=pa.array([row.tobytes() for row in samples.body], pa.binary()),
    )


def samples_from_table(
    table: pa.Table, keypoints: int, places: int, input_shape: tuple[int, ...], body_shape: tuple[int, ...]
) -> Samples:
    """Inverse of samples_to_table.

    Args: keypoints K, places S; input_shape and body_shape, of a row of `inputs` and of `body`, which the table does not tell.
    """
    K, S = keypoints, places

    def halves(name: str, shape: tuple[int, ...]) -> np.ndarray:
        content = b"".join(table[name].to_pylist())
        return np.frombuffer(content, np.float16).reshape(table.num_rows, *shape)

    return Samples(
        frame=column(table, "frame", np.int64),
        track_id=column(table, "track_id", np.int64),
        cell=list_column(table, "cell", K, S).astype(np.int64),
        xy_cells=list_column(table, "xy_cells", K, 2),
        visibility=list_column(table, "visibility", K),
        inputs=halves("inputs", input_shape),
        body=halves("body", body_shape),
    )
