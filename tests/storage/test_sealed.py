"""A document tells when it is not what was written; those of earlier versions are read as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storage import runs
from storage.runs import Failure, read_facts, read_failures, read_plan, start_run, write_failures, write_plan
from storage.schemas import PLAN
from storage.sealed import DamagedDocumentError, OtherFormError, is_damaged, seal, unseal
from storage.store import Store, StoreError

VALUE = {"uri": "/vidéos/a.mp4", "rows": [1, 2.5, None], "nested": {"z": True, "a": "x"}}
RUN = "20260101-000000-abcdef"


def understood(value: dict[str, Any]) -> tuple[Any, Any]:
    return value["uri"], value["rows"]


def test_what_is_sealed_is_read_as_it_was_written() -> None:
    assert unseal(seal(VALUE), lambda value: value) == VALUE
    assert unseal(seal(VALUE), understood) == ("/vidéos/a.mp4", [1, 2.5, None])


def test_no_flipped_bit_and_no_cut_changes_what_is_read_unnoticed() -> None:
    data = seal(VALUE)
    damaged = [data[:length] for length in range(len(data))]
    for byte in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[byte] ^= 1 << bit
            damaged.append(bytes(flipped))
    for one in damaged:
        try:
            found = unseal(one, understood)
        except DamagedDocumentError:
            continue
        assert found == understood(VALUE), one  # the name of the digest itself, or between two values


def test_a_document_of_an_earlier_version_is_read_and_one_of_a_later_is_no_damage() -> None:
    assert unseal(json.dumps(VALUE).encode(), understood) == understood(VALUE)
    with pytest.raises(OtherFormError):
        unseal(seal({"another": "form"}), understood)
    with pytest.raises(DamagedDocumentError):
        unseal(json.dumps({"another": "form"}).encode(), understood)
    assert not is_damaged(seal({"another": "form"}))
    assert not is_damaged(json.dumps([VALUE]).encode())
    assert is_damaged(seal(VALUE).replace(b"2.5", b"3.5"))


def flipped(store: Store, name: str, at: float) -> None:
    data = bytearray(store.read(name))
    data[int(at * len(data))] ^= 4
    store.write(name, bytes(data))


@pytest.fixture
def store(any_root: str) -> Store:
    """A run with a plan and a failure."""
    store = Store(any_root)
    start_run(store, RUN, {"input": "videos"})
    names = [name for name in PLAN.names if name != "shard"]
    write_plan(store, RUN, "03", [{**dict.fromkeys(names, f"value {n}"), "shard": 3} for n in range(50)])
    write_failures(store, RUN, "03", [Failure("a-1", "/a.mp4", "index", "/a.mp4 is broken", True, 3)])
    return store


def test_records_of_runs_are_read_back(store: Store) -> None:
    started, ended = read_facts(store, RUN)
    assert started["input"] == "videos"
    assert ended is None
    assert read_plan(store, RUN)["key"].to_pylist() == [f"value {n}" for n in range(50)]
    assert [failure.message for failure in read_failures(store, RUN)] == ["/a.mp4 is broken"]
    assert all(runs.is_whole_record(store, name) for name in store.list("runs"))


@pytest.mark.parametrize("name", ["started.json", "plan-03.parquet", "failures-03.json"])
@pytest.mark.parametrize("at", [0.1, 0.35, 0.6, 0.99])
def test_a_damaged_record_of_a_run_is_named_and_never_believed(store: Store, name: str, at: float) -> None:
    read = {"started.json": read_facts, "plan-03.parquet": read_plan, "failures-03.json": read_failures}[name]
    before = read(store, RUN)
    flipped(store, f"runs/{RUN}/{name}", at)
    if runs.is_whole_record(store, f"runs/{RUN}/{name}"):
        assert read(store, RUN) == before  # what Parquet keeps beside the rows
        assert name == "plan-03.parquet"
    else:
        with pytest.raises(StoreError, match=rf"{RUN}/{name} .* damaged; `tkm verify"):
            read(store, RUN)


def test_a_plan_with_other_rows_is_damaged(store: Store) -> None:
    import pyarrow.compute as pc

    from storage.parquet import parquet_bytes, read_parquet

    name = f"runs/{RUN}/plan-03.parquet"
    table = read_parquet(store.read(name))
    other = table.set_column(table.schema.get_field_index("key"), "key", pc.utf8_upper(table["key"]))
    store.write(name, parquet_bytes(other.cast(table.schema)))
    with pytest.raises(StoreError, match="has other rows than were written"):
        read_plan(store, RUN)


def test_records_of_an_earlier_version_are_read(store: Store) -> None:
    import pyarrow as pa

    from storage.parquet import parquet_bytes

    row = {**dict.fromkeys([name for name in PLAN.names if name != "shard"], "x"), "shard": 1}
    store.write(f"runs/{RUN}/plan-03.parquet", parquet_bytes(pa.Table.from_pylist([row], schema=PLAN)))
    failure = {"video": "v", "uri": "u", "stage": "index", "message": "m", "is_permanent": True, "shard": 1}
    store.write(f"runs/{RUN}/failures-03.json", json.dumps([failure]).encode())
    assert read_plan(store, RUN).to_pylist() == [row]
    assert read_failures(store, RUN) == [Failure(**failure)]
