"""Columns as tensors of the Open Inference Protocol v2, and a server's output tensors as scores of the classes.

>>> fields = (Field("age", "int"), Field("site", "category"))
>>> inputs = plan([Spec("age", "INT64", [-1, 1]), Spec("site", "BYTES", [-1])], fields)
>>> encode(inputs, {"age": np.array([41.0]), "site": np.array(["a"], dtype=object)}, 1)
[{'name': 'age', 'shape': [1, 1], 'datatype': 'INT64', 'data': [41]}, {'name': 'site', 'shape': [1], 'datatype': 'BYTES', 'data': ['a']}]
>>> decode([Tensor("p", "FP32", [1, 2], [[0.25, 0.75]])], 1, ("no", "yes")).tolist()
[[0.25, 0.75]]
>>> decode([Tensor("label", "BYTES", [2], ["yes", ""])], 2, ("no", "yes")).tolist()
[[0.0, 1.0], [nan, nan]]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan, prod
from typing import Any

import msgspec
import numpy as np
import polars as pl

from andon.core.record import Field
from andon.core.registry import did_you_mean
from andon.errors import UsageError, UserCodeError
from andon.model.columns import NUMERIC

__all__ = ["Input", "Spec", "Tensor", "decode", "encode", "plan"]

_DEPTH = 4
_FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
_INTS = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_ROUNDING = 1e-6

Scores = np.ndarray[Any, np.dtype[np.float64]]


class Spec(msgspec.Struct):
    """A tensor as a server's metadata names it; -1 in a shape is any number."""

    name: str
    datatype: str
    shape: list[int] = []


class Tensor(msgspec.Struct):
    """A tensor of an answer; ``data`` nested or flat, row-major."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Input(msgspec.Struct, frozen=True):
    """One input tensor and the columns that go into it; ``flat``: its shape is [rows], not [rows, columns]."""

    name: str
    datatype: str
    columns: tuple[str, ...]
    flat: bool = False


def plan(specs: Sequence[Spec], fields: Sequence[Field]) -> tuple[Input, ...]:
    """Which columns go into which tensors: by name, or all of them (numbers) into the only one, in their order.

    Raises ``UsageError`` when an input has no column, or a datatype that its column does not have.
    """
    known = {field.name: field for field in fields}
    if len(specs) == 1 and specs[0].name not in known:
        return (_matrix(specs[0], fields),)
    if not specs:
        raise UsageError("the server does not say what inputs the model takes, so columns cannot be mapped to them")
    for spec in specs:
        if spec.name not in known:
            raise UsageError(
                f"the server's model takes {spec.name[:60]!r}, which is no input here; {did_you_mean(spec.name, known)}",
                hint="name the inputs alike, or have features() make a matrix of numbers for a model with one input",
            )
        text = known[spec.name].kind not in NUMERIC
        if text != (spec.datatype == "BYTES") or (not text and spec.datatype not in {"BOOL", *_FLOATS, *_INTS}):
            raise UsageError(
                f"{spec.name}: the server's model takes {spec.datatype[:20]}, found {known[spec.name].kind}"
            )
    return tuple(Input(spec.name, spec.datatype, (spec.name,), len(spec.shape) < 2) for spec in specs)


def _matrix(spec: Spec, fields: Sequence[Field]) -> Input:
    texts = [field.name for field in fields if field.kind not in NUMERIC]
    width = spec.shape[-1] if len(spec.shape) == 2 else -1
    if texts or spec.datatype not in {*_FLOATS, *_INTS} or width not in (-1, len(fields)):
        raise UsageError(
            f"the server's model takes one tensor {spec.name[:60]!r} of {spec.datatype[:20]} with shape {spec.shape[:8]}; "
            f"found {len(fields)} columns" + (f", of which {texts[0]} is text" if texts else ""),
            hint="have features() make a matrix of numbers of that width",
        )
    return Input(spec.name, spec.datatype, tuple(field.name for field in fields))


def encode(inputs: Sequence[Input], x: Any, rows: int) -> list[dict[str, Any]]:
    """Rows (columns by name, a polars frame or a matrix) as tensors of a request; a missing value is null."""
    return [_tensor(one, x, rows) for one in inputs]


def _tensor(one: Input, x: Any, rows: int) -> dict[str, Any]:
    cells = [_cells(x, name, at, one.datatype) for at, name in enumerate(one.columns)]
    data = cells[0] if len(cells) == 1 else [cell for row in zip(*cells, strict=True) for cell in row]
    shape = [rows] if one.flat else [rows, len(cells)]
    return {"name": one.name, "shape": shape, "datatype": one.datatype, "data": data}


def _cells(x: Any, name: str, at: int, datatype: str) -> list[Any]:
    column = x[name] if isinstance(x, Mapping | pl.DataFrame) else x[:, at]
    values = column.to_list() if isinstance(column, pl.Series) else column.tolist()
    if datatype == "BYTES":
        return list(values)
    return [_number(value, name, datatype) for value in values]


def _number(value: Any, name: str, datatype: str) -> Any:
    if value is None or not isfinite(value):
        return None
    if datatype in _FLOATS:
        return float(value)
    if value != int(value) or (datatype == "BOOL" and value not in (0, 1)):
        takes = f"{name}: the server's model takes {datatype}"
        raise UserCodeError(f"{takes}, found {value:g}", kept=f"{takes}, found another number")
    return bool(value) if datatype == "BOOL" else int(value)


def _strange(message: str) -> UserCodeError:
    """An answer that is none: what is in it is the server's."""
    return UserCodeError(message, kept="the server's answer is not of the form that was expected")


def decode(outputs: Sequence[Tensor], rows: int, classes: tuple[str, ...], output: str = "") -> Scores:
    """Scores of the classes, shape (rows, classes). ``output`` names the tensor to read; raises ``UserCodeError``.

    Taken in this order: numbers of shape [rows, classes]; labels (texts, or whole numbers that are classes or their
    places), with the label's probability in a tensor called ``confidence`` where there is one; for two classes numbers of
    shape [rows] or [rows, 1], the probability of the second one. A row whose label is empty has no answer.
    """
    named = [one for one in outputs if one.name == output] if output else list(outputs)
    if not named:
        raise _strange(f"the server's answer has no output {output!r}: found {_names(outputs)}")
    for one in named:
        if one.datatype in _FLOATS and one.shape == [rows, len(classes)]:
            return _probabilities(one, _numbers(one).reshape(rows, len(classes)))
    for one in named:
        if one.datatype == "BYTES" or one.datatype in _INTS:
            return _labels(one, next((t for t in outputs if t.name == "confidence"), None), rows, classes)
    for one in named:
        if one.datatype in _FLOATS and len(classes) == 2 and one.shape in ([rows], [rows, 1]):
            second = _probabilities(one, _numbers(one))
            return np.stack([1 - second, second], axis=1)
    raise _strange(
        f"the server's answer has no probabilities of shape [{rows}, {len(classes)}] and no labels: found {_names(outputs)}"
    )


def _names(outputs: Sequence[Tensor]) -> str:
    found = [f"{one.name[:40]!r} {one.datatype[:20]} {one.shape[:8]}" for one in outputs[:5]]
    return ", ".join(found) or "no output"


def _leaves(one: Tensor, data: list[Any], depth: int = 0) -> Iterator[Any]:
    if depth > _DEPTH:
        raise _strange(f"the server's output {one.name[:40]!r} is nested too deeply")
    for value in data:
        if isinstance(value, list):
            yield from _leaves(one, value, depth + 1)
        else:
            yield value


def _flat(one: Tensor) -> list[Any]:
    values = list(_leaves(one, one.data))
    if len(one.shape) > _DEPTH or any(size < 0 for size in one.shape) or len(values) != prod(one.shape):
        raise _strange(f"the server's output {one.name[:40]!r} has {len(values)} elements for shape {one.shape[:8]}")
    return values


def _numbers(one: Tensor) -> Scores:
    values = _flat(one)
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _strange(f"the server's output {one.name[:40]!r} holds a {type(value).__name__}, expected numbers")
    try:
        return np.array([nan if value is None else float(value) for value in values], dtype=np.float64)
    except OverflowError:
        raise _strange(f"the server's output {one.name[:40]!r} holds a number that is too large") from None


def _probabilities(one: Tensor, found: Scores) -> Scores:
    beyond = found[(found < -_ROUNDING) | (found > 1 + _ROUNDING)]
    if beyond.size:
        raise _strange(
            f"the server's output {one.name[:40]!r}: expected probabilities from 0 to 1, found {beyond[0]:g}"
        )
    return found


def _labels(one: Tensor, confidence: Tensor | None, rows: int, classes: tuple[str, ...]) -> Scores:
    labels = _flat(one)
    if one.shape not in ([rows], [rows, 1]):
        raise _strange(f"the server's output {one.name[:40]!r} has shape {one.shape[:8]}, expected [{rows}]")
    shares = np.ones(rows)
    if confidence is not None and confidence.datatype in _FLOATS and confidence.shape in ([rows], [rows, 1]):
        shares = _probabilities(confidence, _numbers(confidence))
    result = np.full((rows, len(classes)), np.nan)
    for row, label in enumerate(labels):
        if label is None or label == "":
            continue
        share = shares[row]
        if not share >= 1 / len(classes) - _ROUNDING:
            raise _strange(f"the server says {share:g} for its likeliest of {len(classes)} classes, which cannot be")
        result[row] = (1 - share) / max(1, len(classes) - 1)
        result[row, _place(label, classes)] = share
    return result


def _place(label: Any, classes: tuple[str, ...]) -> int:
    if str(label) in classes:
        return classes.index(str(label))
    numbered = any(name.lstrip("-").isdecimal() for name in classes)
    if isinstance(label, int) and not isinstance(label, bool) and not numbered and 0 <= label < len(classes):
        return label
    raise _strange(
        f"the server answers with the class {str(label)[:60]!r}, which the charter does not have; "
        f"{did_you_mean(str(label)[:60], classes)}"
    )
