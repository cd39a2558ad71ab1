"""One table in the two shapes a model is given it: a polars frame (convenient) or numpy columns (fast).

Both are *canonical*, so that training and production hand over the very same values: numbers (kinds bool, int and
float) are float64, 0 and 1 for booleans, missing is NaN in numpy and null in polars; category and text are strings or
None; an image is its bytes or None.

>>> from andon.core.record import Field
>>> fields = (Field("cough", "bool", optional=True), Field("age", "category"))
>>> columns = columns_of(pl.DataFrame({"cough": [True, None], "age": ["Yes", "No"]}), fields)
>>> columns["cough"].tolist(), columns["age"].tolist()
([1.0, nan], ['Yes', 'No'])
>>> frame_of(columns, fields).to_dict(as_series=False)
{'cough': [1.0, None], 'age': ['Yes', 'No']}
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from andon.core.record import Field
from andon.core.registry import did_you_mean
from andon.errors import ContractError

__all__ = ["NUMERIC", "Block", "Columns", "columns_of", "frame_of", "length_of", "take"]

#: Kinds that reach a model as float64.
NUMERIC = frozenset({"bool", "int", "float"})

#: Column name -> array; all of one length.
Columns = Mapping[str, np.ndarray[Any, Any]]


class Block(Mapping[str, "np.ndarray[Any, Any]"]):
    """Canonical columns of which the numeric ones are those of one matrix, so that a model may take it as it is.

    ``matrix`` has the shape (rows, names), float64, C-contiguous; text columns are added one by one.

    >>> block = Block(("a", "b"), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> block["b"].tolist(), list(block), length_of(block)
    ([2.0, 4.0], ['a', 'b'], 2)
    """

    __slots__ = ("_others", "matrix", "names")

    def __init__(self, names: tuple[str, ...], matrix: np.ndarray[Any, Any]) -> None:
        self.names = names
        self.matrix = matrix
        self._others: dict[str, np.ndarray[Any, Any]] = {}

    def add(self, name: str, column: np.ndarray[Any, Any]) -> None:
        """Add a text column."""
        self._others[name] = column

    def part(self, start: int, end: int) -> Block:
        """The rows from ``start`` to before ``end``, as views."""
        found = Block(self.names, self.matrix[start:end])
        for name, column in self._others.items():
            found.add(name, column[start:end])
        return found

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        found = self._others.get(name)
        return self.matrix[:, self.names.index(name)] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from self.names
        yield from self._others

    def __len__(self) -> int:
        return len(self.names) + len(self._others)


def length_of(columns: Columns) -> int:
    """How many rows the columns have; 0 when there are no columns."""
    if isinstance(columns, Block):
        return len(columns.matrix)
    return next((len(column) for column in columns.values()), 0)


def take(columns: Columns, rows: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Some of the rows, by a slice or an index array."""
    return {name: column[rows] for name, column in columns.items()}


def columns_of(frame: pl.DataFrame, fields: Sequence[Field]) -> dict[str, np.ndarray[Any, Any]]:
    """The fields of a frame as canonical numpy columns; raises ``ContractError`` when one is not there."""
    missing = [field.name for field in fields if field.name not in frame.columns]
    if missing:
        raise ContractError(
            f"the data have no column {missing[0]!r}; {did_you_mean(missing[0], frame.columns)}",
            field=f"x.{missing[0]}",
        )
    return {field.name: _column(frame[field.name], field) for field in fields}


def _column(series: pl.Series, field: Field) -> np.ndarray[Any, Any]:
    if field.kind in NUMERIC:
        try:
            return series.cast(pl.Float64).to_numpy()
        except pl.exceptions.PolarsError as error:
            raise ContractError(
                f"{field.name}: expected {field.kind}, found a value of type {series.dtype} that is no number",
                field=f"x.{field.name}",
            ) from error
    if field.kind == "image":
        values = [_image(value) for value in series.to_list()]
    else:
        values = series.cast(pl.String).to_list()
    return np.array([*values, None], dtype=object)[:-1]


def _image(value: bytes | str | None) -> bytes | None:
    return base64.b64decode(value) if isinstance(value, str) else value


def frame_of(columns: Columns, fields: Sequence[Field]) -> pl.DataFrame:
    """Canonical columns as the polars frame that user code is given; missing is null everywhere."""
    return pl.DataFrame([_series(columns[field.name], field) for field in fields])


def _series(column: np.ndarray[Any, Any], field: Field) -> pl.Series:
    if field.kind in NUMERIC:
        if column.dtype == np.float64:
            return pl.Series(field.name, column, nan_to_null=True)  # told the type, it would be converted: twice the time
        return pl.Series(field.name, column, dtype=pl.Float64, nan_to_null=True)
    kind = pl.Binary if field.kind == "image" else pl.String
    return pl.Series(field.name, column.tolist(), dtype=kind)
