"""JSON lines: one object per line; a line that is none becomes a reject with its number and reason.

>>> frame, rows, rejects = parse_jsonl(b'{"n": 1}\\n[2]\\n{"n": 2.5, "t": "a"}\\n', "cases.jsonl")
>>> frame.rows(), rows.to_list(), rejects.rows()
([(1.0, None), (2.5, 'a')], [1, 3], [(2, 'line 2: expected an object, found a list of 1')])
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from andon.data.conform import REJECTS_SCHEMA
from andon.data.validator import show
from andon.errors import UsageError

__all__ = ["parse_jsonl"]

_CHUNK = 100_000
_WIDEST = 2**63


def parse_jsonl(data: bytes, name: str) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """One column per key found anywhere; numbers, truth values and texts keep their type, a mixture becomes text.

    Raises ``UsageError`` when no line is an object.
    """
    records = _records(data.removeprefix(b"\xef\xbb\xbf"))
    frames: list[pl.DataFrame] = []
    numbers: list[int] = []
    faults: list[tuple[int, str]] = []
    while chunk := list(islice(records, _CHUNK)):
        good = [(number, row) for number, row, _ in chunk if row is not None]
        faults += [(number, reason) for number, row, reason in chunk if row is None]
        numbers += [number for number, _ in good]
        if good:
            frames.append(_frame([row for _, row in good]))
    if not frames:
        why = f"; the first fault: {faults[0][1]}" if faults else ""
        raise UsageError(f"{name}: no line is a JSON object{why}")
    frame = pl.concat(_alike(frames), how="diagonal")
    return frame, pl.Series("row", numbers, dtype=pl.Int64), pl.DataFrame(faults, schema=REJECTS_SCHEMA, orient="row")


def _records(data: bytes) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """Every line that is not blank: the number of its row, its object, or None and why."""
    decode = msgspec.json.Decoder().decode
    row = 0
    for line, text in enumerate(data.split(b"\n"), 1):
        if not text.strip():
            continue
        row += 1
        try:
            value = decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield row, None, f"line {line}: not JSON ({error})"
            continue
        fault = _fault(value)
        yield (row, None, f"line {line}: {fault}") if fault else (row, value, "")


def _fault(value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"expected an object, found {show(value)}"
    if not value:
        return "the object has no values"
    for key, found in value.items():
        if isinstance(found, (list, dict)):
            return f"{show(key)}: expected a single value, found {show(found)}"
        if type(found) is int and not -_WIDEST <= found < _WIDEST:
            return f"{show(key)}: expected a number of at most 64 bits, found {show(found)}"
    return None


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    keys = dict.fromkeys(key for row in rows for key in row)
    return pl.DataFrame([_series(key, [row.get(key) for row in rows]) for key in keys])


def _series(name: str, values: list[Any]) -> pl.Series:
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    for kind, dtype in ((bool, pl.Boolean), (int, pl.Int64), (str, pl.String)):
        if kinds == {kind}:
            return pl.Series(name, values, dtype=dtype)
    if kinds <= {int, float}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _alike(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Chunks may have found different types for one column: numbers meet as floats, anything else as text."""
    types: dict[str, Any] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            known = types.get(name, pl.Null)
            if known == pl.Null or known == dtype:
                types[name] = dtype
            elif dtype != pl.Null:
                types[name] = pl.Float64 if {known, dtype} == {pl.Int64, pl.Float64} else pl.String
    plain = {name: pl.String if dtype == pl.Null else dtype for name, dtype in types.items()}
    return [frame.cast({name: plain[name] for name in frame.columns}) for frame in frames]
