"""Rows of many videos as an Arrow dataset, for readers that ask for columns and hand over a filter, such as DuckDB.

A plain dataset has all of its files at once. Here what the filter says of `video` comes first, and files are looked for of the
videos alone that it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from storage.artifacts import Part
from storage.store import Store

# Rows of heads' features are some 20 KB each: what is read ahead of a slow reader must be bounded.
_BOUNDED = {"batch_size": 4096, "batch_readahead": 4, "fragment_readahead": 4}
_FORMAT, _HERE = ds.ParquetFileFormat(), LocalFileSystem()

Read = Callable[[Sequence[str], list[str] | None, pc.Expression | None], ds.Scanner]


class RowsByVideo(ds.FileSystemDataset):  # type: ignore[misc]  # pyarrow has no types
    """Rows of videos that are found when they are scanned.

    Args:
        schema: of the rows; it has a column `video`.
        videos: ids of the videos that there are rows of.
        read: makes a scanner of the rows of some of them, in order, with these columns (None for all) and this filter (None for
            all rows). It is called at each scan, with no more videos than the scan's filter leaves.
    """

    def __init__(self, schema: pa.Schema, videos: Collection[str], read: Read) -> None:
        # A fragment a video, of no file: what Arrow knows of each is enough for it to tell which of them a filter leaves.
        super().__init__([_fragment("", _HERE, video) for video in sorted(videos)], schema, _FORMAT, _HERE)
        self._read = read

    def scanner(self, columns: list[str] | None = None, filter: pc.Expression | None = None, **_: Any) -> ds.Scanner:
        """Scanner of the rows of the videos that the filter leaves, as DuckDB asks for it."""
        left = [ds.get_partition_keys(one.partition_expression)["video"] for one in self.get_fragments(filter)]
        return self._read(left, columns, filter)


def scan_parts(
    store: Store,
    schema: pa.Schema,
    parts: Mapping[str, Sequence[Part]],
    columns: list[str] | None,
    filter: pc.Expression | None,
) -> ds.Scanner:
    """Scanner of artifacts' parts, by video, whose rows get the column `video`; a column that a part lacks is null in its rows.

    Digests are not compared, for that takes all bytes: `tkm verify` does.
    """
    filesystem = store.arrow_filesystem()
    fragments = [
        _fragment(store.path(part.name), filesystem, video, part.bytes) for video, own in parts.items() for part in own
    ]
    return ds.FileSystemDataset(fragments, schema, _FORMAT, filesystem).scanner(columns=columns, filter=filter, **_BOUNDED)


def _fragment(path: str, filesystem: Any, video: str, size: int | None = None) -> Any:
    return _FORMAT.make_fragment(path, filesystem, partition_expression=ds.field("video") == video, file_size=size)
