"""Columns of arrays out of lists of JSON objects; what does not fit is told by file, entry and field.

Shape legend: N entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from tkm.datasets.errors import DatasetError
from tkm.types import Bool, Int

Double = NDArray[np.float64]
Default = TypeVar("Default")
_INT64 = range(-(2**63), 2**63)
_SHOWN = 60  # characters of a wrong value that a message repeats


def shown(value: object) -> str:
    """A value as a message shows it: what it is, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def list_of(document: Any, field: str, name: str) -> list[Any]:
    """A list in a JSON object; DatasetError where the object is none or the list is missing or no list."""
    if not isinstance(document, dict):
        raise DatasetError(f"{name}: must be a JSON object, not {shown(document)}")
    if field not in document:
        raise DatasetError(f"{name}: {field} is missing: a list is expected")
    if not isinstance(document[field], list):
        raise DatasetError(f"{name}: {field} must be a list, not {shown(document[field])}")
    return document[field]


@dataclass(frozen=True)
class Entries:
    """N JSON objects, and where each stands in its file: 'a.json: annotations[3]'.

    A method returns the field's values as one array and raises DatasetError for the first that does not fit. A null counts as
    missing. Where `missing` is None the field must be there.
    """

    objects: list[dict[str, Any]]
    where: Sequence[str]

    @classmethod
    def of(cls, document: Any, field: str, name: str) -> Entries:
        """The objects that a JSON object lists under a field."""
        objects = list_of(document, field, name)
        for n, entry in enumerate(objects):
            if not isinstance(entry, dict):
                raise DatasetError(f"{name}: {field}[{n}] must be a JSON object, not {shown(entry)}")
        return cls(objects, [f"{name}: {field}[{n}]" for n in range(len(objects))])

    def __len__(self) -> int:
        return len(self.objects)

    def take(self, rows: Sequence[int]) -> Entries:
        """Entries by their numbers."""
        return Entries([self.objects[n] for n in rows], [self.where[n] for n in rows])

    def refuse(self, n: int, field: str, expected: str) -> NoReturn:
        """Raise DatasetError for an entry's field."""
        value = self.objects[n].get(field)
        if value is None:
            raise DatasetError(f"{self.where[n]}.{field} is missing: {expected} is expected")
        raise DatasetError(f"{self.where[n]}.{field} must be {expected}, not {shown(value)}")

    def texts(self, field: str, missing: str | None = None) -> list[str]:
        """N strings."""
        values = self._column(field, missing)
        for n, value in enumerate(values):
            if not isinstance(value, str):
                self.refuse(n, field, "a string")
        return values

    def integers(self, field: str, missing: int | None = None) -> Int:
        """(N,) int64; 5.0 counts as 5."""
        values = self._column(field, missing)
        for n, value in enumerate(values):
            if type(value) is not int:  # a bool is an int to isinstance
                if not (isinstance(value, float) and value.is_integer()):
                    self.refuse(n, field, "a whole number")
                values[n] = int(value)
            if values[n] not in _INT64:
                self.refuse(n, field, "a whole number of 64 bits")
        return np.array(values, np.int64)

    def booleans(self, field: str, missing: bool | None = None) -> Bool:
        """(N,) bool; 0 and 1 count as false and true."""
        values = self._column(field, missing)
        for n, value in enumerate(values):
            if not isinstance(value, bool | int | float) or value not in (0, 1):
                self.refuse(n, field, "true or false")
        return np.array(values, np.bool_)

    def numbers(self, field: str, missing: float | None = None) -> Double:
        """(N,) float64, finite but for what `missing` puts in."""
        return self._array(field, (), missing, "a finite number")

    def rows(self, field: str, length: int, missing: float | None = None) -> Double:
        """(N, length) float64, finite but for what `missing` puts in; an empty list counts as missing where that is allowed."""
        return self._array(field, (length,), missing, f"a list of {length} finite numbers")

    def _column(self, field: str, missing: Default | None) -> list[Any]:
        values = [entry.get(field) for entry in self.objects]
        if missing is not None:
            return [missing if value is None else value for value in values]
        for n, value in enumerate(values):
            if value is None:
                self.refuse(n, field, "a value")
        return values

    def _array(self, field: str, shape: tuple[int, ...], missing: float | None, expected: str) -> Double:
        values = [entry.get(field) for entry in self.objects]
        present = [n for n, value in enumerate(values) if missing is None or (value is not None and value != [])]
        given = [values[n] for n in present]
        found = _numbers(given, (len(given), *shape))
        if found is None:  # one of them does not fit: which?
            wrong = next(n for n in present if _numbers([values[n]], (1, *shape)) is None)
            self.refuse(wrong, field, expected)
        array = np.full((len(values), *shape), np.nan if missing is None else missing)
        array[present] = found
        return array


def _numbers(values: list[Any], shape: tuple[int, ...]) -> Double | None:
    """The values as finite float64 of a shape; None where they are something else."""
    if not values:
        return np.empty(shape)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):  # lists of different lengths
        return None
    if array.dtype.kind not in "iuf" or array.shape != shape or not np.isfinite(array).all():
        return None
    return array.astype(np.float64)
