"""The rows of a file held against a contract: typed columns for the model, and rejects with the gateway's sentences.

JSON lines go through the gateway's own validator. The columns of CSV and Parquet files are typed as ``data add`` types
them, so that a file that was added can be predicted, and a value that does not fit gets the validator's sentence.
An input in ``privacy.redact`` is in no sentence and in no copy of a row.

>>> import polars as pl
>>> from andon.data.delimited import Unread
>>> from andon.data.stream import Mark
>>> contract = Contract((Field("age", "int"), Field("name", "text")), "y", ("a", "b"))
>>> frame = pl.DataFrame({"age": ["41", "old"], "name": ["Ann", "Bo"]})
>>> chunk = Chunk(pl.Series([1, 2]), frame, [], [], [Unread(3, "line 4: ...", "x")], Mark())
>>> found = Checker(contract, redact=("name",)).check(chunk)
>>> found.columns["age"].tolist(), [(one.row, one.reason, one.came) for one in found.rejects]
([41.0], [(2, "age: expected a whole number, found 'old'", '{"age": "old"}'), (3, 'line 4: ...', None)])
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import polars as pl

from andon.core.record import Field, Scalar
from andon.core.registry import did_you_mean
from andon.data.conform import typed
from andon.data.contract import Contract
from andon.data.stream import Chunk
from andon.data.validator import FAULTS_MAX, FLOAT_MAX, fault
from andon.deploy.batcher import columns_of_rows
from andon.errors import ContractError, UsageError
from andon.model.columns import columns_of

__all__ = ["Checked", "Checker", "Reject"]

_TEXT_MAX = 1 << 20
_HIDDEN = "a value that is not shown (privacy.redact)"


class Reject(msgspec.Struct, frozen=True):
    """A row that gets no prediction: its number, its id, the first field at fault, why, and the row as it came (JSON)."""

    row: int
    id: str | None
    field: str | None
    reason: str
    came: str | None


@dataclass(frozen=True)
class Checked:
    """The rows that fit, as canonical columns, and the others. ``values`` gives the rows one by one, where it is asked.

    ``came`` gives a row that fits as it came, by its place.
    """

    rows: pl.Series
    ids: list[str | None] | None
    columns: Mapping[str, np.ndarray[Any, Any]]
    values: Callable[[], Iterable[Sequence[Scalar]]]
    came: Callable[[int], str | None]
    rejects: list[Reject] = field(default_factory=list)


class Checker:
    """Checks chunks. ``id`` names the column of ids; columns in ``ignored``, and the target, are passed over."""

    def __init__(
        self, contract: Contract, *, redact: Sequence[str] = (), id: str | None = None, ignored: Sequence[str] = ()
    ) -> None:
        self._contract = contract
        self._fields = contract.fields
        self._redact = frozenset(redact)
        self._id = id
        beside = {contract.target, *ignored, *([id] if id is not None else [])}
        self._beside = frozenset(beside - set(contract.names))
        self._validate = contract.validator()
        if id is not None and id in self._redact:
            raise UsageError(f"--id {id}: it is in privacy.redact, so it may not be copied; choose another column")

    def expect(self, columns: Sequence[str] | None, name: str) -> None:
        """Raise ``ContractError`` when a file's columns can fit no row; None is a file whose rows name their own."""
        if columns is None:
            return
        missing = [one.name for one in self._fields if not one.optional and one.name not in columns]
        if missing:
            names = ", ".join(repr(one) for one in missing)
            close = did_you_mean(missing[0], columns)
            raise ContractError(f"{name}: there is no column {names}, which the contract requires; {close}", field=missing[0])  # fmt: skip
        extra = [one for one in columns if one not in self._contract.names and one not in self._beside]
        if extra:
            names = ", ".join(repr(one) for one in extra[:FAULTS_MAX])
            close = did_you_mean(extra[0], self._contract.names)
            raise ContractError(
                f"{name}: not in the contract: column {names}; {close}",
                field=extra[0],
                hint="the model sees the columns of its contract only; pass others over with --ignore COLUMN",
            )
        if self._id is not None and self._id not in columns:
            raise UsageError(f"{name}: there is no column {self._id!r} (--id); {did_you_mean(self._id, columns)}")

    def check(self, chunk: Chunk) -> Checked:
        """Divide a chunk into the rows that fit and those that do not, in the order of the file."""
        found = self._objects(chunk) if chunk.frame is None else self._frame(chunk, chunk.frame)
        for one in chunk.unread:
            text = None if self._redact else one.text[:_TEXT_MAX]
            found.rejects.append(Reject(one.row, None, None, one.reason, text))
        found.rejects.sort(key=lambda one: one.row)
        return found

    def _frame(self, chunk: Chunk, frame: pl.DataFrame) -> Checked:
        columns, faults = [], []
        for one in self._fields:
            column = frame[one.name] if one.name in frame.columns else _absent(one, frame.height)
            if _sound(one, column):
                columns.append(column)
                continue
            series, said = typed(one, column)
            columns.append(series)
            if said.height:
                faults.append(
                    said.with_columns(pl.lit(one.name).alias("field"), _sentence(one, one.name in self._redact))
                )
        ids = None if self._id is None else _ids(frame[self._id])
        rejects, good = self._rejects(chunk, frame, ids, faults)
        whole = pl.DataFrame(columns)
        kept, came = (whole, frame) if not rejects else (whole.filter(good), frame.filter(good))
        return Checked(
            chunk.rows if not rejects else chunk.rows.filter(good),
            None if ids is None else ids.filter(good).to_list(),
            columns_of(kept, self._fields),
            kept.rows,
            lambda at: self._came(came.row(at, named=True)),
            rejects,
        )

    def _rejects(
        self, chunk: Chunk, frame: pl.DataFrame, ids: pl.Series | None, faults: list[pl.DataFrame]
    ) -> tuple[list[Reject], pl.Series]:
        good = pl.repeat(True, frame.height, eager=True)
        if not faults:
            return [], good
        by_row = pl.concat(faults).group_by("index", maintain_order=True).agg("said", "field").sort("index")
        rejects = []
        for index, said, fields in by_row.iter_rows():
            row = frame.row(index, named=True)
            id = None if ids is None else ids[index]
            rejects.append(Reject(chunk.rows[index], id, f"x.{fields[0]}", _joined(said), self._came(row)))
        return rejects, good.scatter(by_row["index"], False)

    def _objects(self, chunk: Chunk) -> Checked:
        numbers, ids, values, texts = list[int](), list[str | None](), list[list[Scalar]](), list[str]()
        rejects = []
        for number, value, text in zip(chunk.rows.to_list(), chunk.values, chunk.texts, strict=True):
            x, id = self._parted(value)
            try:
                values.append(self._validate(x))
            except ContractError as error:
                reason = self._veiled(error.message, x)
                rejects.append(Reject(number, id, error.field, reason, self._line(value, text)))
                continue
            numbers.append(number)
            ids.append(id)
            texts.append(text)
        return Checked(
            pl.Series("row", numbers, dtype=pl.Int64),
            None if self._id is None else ids,
            columns_of_rows(self._fields, values) if values else _no_columns(self._fields),
            lambda: values,
            lambda at: self._line(json.loads(texts[at]), texts[at]),
            rejects,
        )

    def _parted(self, value: Any) -> tuple[Any, str | None]:
        """What the model is to see, and the id."""
        if not isinstance(value, dict) or not self._beside:
            named = value.get(self._id) if isinstance(value, dict) and self._id is not None else None
            return value, None if named is None else _text(named)
        named = None if self._id is None else value.get(self._id)
        x = {name: found for name, found in value.items() if name not in self._beside}
        return x, None if named is None else _text(named)

    def _veiled(self, message: str, x: Any) -> str:
        if not self._redact:
            return message
        if not isinstance(x, dict):
            return _veil(message)
        for one in self._fields:
            said = fault(one, x[one.name]) if one.name in self._redact and one.name in x else None
            if said is not None:
                message = message.replace(f"{one.name}: {said}", f"{one.name}: {_veil(said)}")
        return message

    def _line(self, value: Any, text: str) -> str | None:
        if not self._redact:
            return text[:_TEXT_MAX]
        return self._came(value) if isinstance(value, dict) else None

    def _came(self, row: Mapping[str, Any]) -> str:
        """A row as JSON; where something is redacted, the columns that are known not to be."""
        known = {*self._contract.names, self._contract.target, *([self._id] if self._id is not None else ())}
        kept = {
            name: _plain(value)
            for name, value in row.items()
            if name not in self._redact and (not self._redact or name in known)
        }
        return json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace").decode()[:_TEXT_MAX]


def _sentence(one: Field, hidden: bool) -> pl.Expr:
    said = pl.col("said")
    return said if not hidden else said.map_elements(_veil, return_dtype=pl.String)


def _veil(said: str) -> str:
    """A sentence without the value that was found."""
    expected, found, _ = said.partition(", found ")
    return f"{expected}, found {_HIDDEN}" if found else said


def _joined(said: Sequence[str]) -> str:
    """All faults of a row as the validator tells them."""
    more = len(said) - FAULTS_MAX
    return "; ".join(said[:FAULTS_MAX]) + (f"; and {more} more" if more > 0 else "")


def _sound(one: Field, column: pl.Series) -> bool:
    """Whether all of a column of floats fits, seen at one glance; ``typed`` takes three looks at each column."""
    if one.kind != "float" or column.dtype != pl.Float64 or column.null_count() or not column.len():
        return False
    values = column.to_numpy()
    low = -FLOAT_MAX if one.low is None else max(one.low, -FLOAT_MAX)
    high = FLOAT_MAX if one.high is None else min(one.high, FLOAT_MAX)
    return bool(values.min() >= low and values.max() <= high)  # NaN is neither


def _absent(one: Field, height: int) -> pl.Series:
    return pl.Series(one.name, [None], dtype=pl.String).new_from_index(0, height)


def _no_columns(fields: Sequence[Field]) -> dict[str, np.ndarray[Any, Any]]:
    return {one.name: np.zeros(0) for one in fields}


def _ids(column: pl.Series) -> pl.Series:
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        return pl.Series([None if value is None else _text(value) for value in column.to_list()], dtype=pl.String)
    return column.cast(pl.String)


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
