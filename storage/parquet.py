"""Tables as Parquet in memory: the bytes that are digested are the bytes that are stored and read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet: floats byte-stream split, dictionaries for dictionary columns only, zstd."""
    floats, dictionaries = [], []
    for field in table.schema:
        if pa.types.is_dictionary(field.type):
            dictionaries.append(field.name)
        elif pa.types.is_floating(field.type):
            floats.append(field.name)
        elif pa.types.is_fixed_size_list(field.type) and pa.types.is_floating(field.type.value_type):
            floats.append(f"{field.name}.list.element")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=dictionaries or False, use_byte_stream_split=floats or False)
    return bytes(sink.getvalue().to_pybytes())


def read_parquet(data: bytes) -> pa.Table:
    """The table in Parquet bytes.

    They are copied into memory of Arrow's own: its threads may let go of what they read only while the interpreter ends, and one
    that then has to ask Python for the lock aborts the process (apache/arrow#34314).
    """
    buffer = pa.allocate_buffer(len(data))
    np.frombuffer(buffer, np.uint8)[:] = np.frombuffer(data, np.uint8)
    return pq.read_table(pa.BufferReader(buffer))
