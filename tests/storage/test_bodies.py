"""The body model: built once a machine, kept once in a data set, and built again where it is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage import bodies
from storage.bodies import known_body, machine_body, read_body, stored_body
from storage.store import Store, StoreError
from tkm.synthetic.bodies.body import BodyModel


@pytest.fixture
def built(body_model: BodyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, and an export that is quick; what is said when it is used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(bodies.anny_export, "export_body_model", lambda: body_model)
    return []


def test_a_machine_builds_it_once_and_again_where_its_file_is_damaged(built: list[str], tmp_path: Path) -> None:
    data = machine_body(built.append)
    assert machine_body(built.append) == data
    assert len(built) == 1
    assert "once" in built[0]
    (file,) = (tmp_path / "cache" / "tkm").glob("*")
    for damage in (data[: len(data) // 2], data[:1000] + bytes(1000) + data[2000:], b""):
        file.write_bytes(damage)
        assert machine_body(built.append) == data
        assert file.read_bytes() == data
    assert len(built) == 4


def test_a_cache_that_cannot_be_written_is_no_obstacle(built: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tkm").symlink_to("/proc/nowhere")
    assert BodyModel.from_bytes(machine_body(built.append))
    assert "could not be kept" in built[-1]


def test_a_data_set_keeps_the_one_it_has_and_needs_no_other(
    built: list[str], body_model: BodyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "out"))
    assert known_body(store) is None
    name = stored_body(store, built.append)
    assert known_body(store) == name
    np.testing.assert_array_equal(read_body(store, name).template_m, body_model.template_m)
    monkeypatch.setattr(bodies, "machine_body", lambda _: pytest.fail("the data set has a model"))
    assert stored_body(store, built.append) == name


def test_a_damaged_one_in_a_data_set_is_refused_and_replaced(built: list[str], tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    name = stored_body(store, built.append)
    store.write(name, store.read(name)[:-1])
    with pytest.raises(StoreError, match="damaged; run again"):
        read_body(store, name)
    assert stored_body(store, built.append) == name
    assert read_body(store, name)


def test_where_neither_it_nor_its_source_is_there_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise bodies.PackageNotFoundError(package)

    monkeypatch.setattr(bodies, "version", missing)
    with pytest.raises(StoreError, match=r"pip install 'tkm\[synthetic\]'"):
        stored_body(Store(str(tmp_path / "out")), print)
