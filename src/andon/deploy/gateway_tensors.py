"""Tensors of the Open Inference Protocol v2 and rows of the contract: from one to the other and back.

>>> fields = (Field("cough", "bool"), Field("age", "int"))
>>> tensors = [Tensor("cough", [2], "BOOL", [True, False]), Tensor("age", [2, 1], "INT64", [[41], [7]])]
>>> [row.x for row in rows_of(InferRequest(tensors), fields, limit=10)]
[{'cough': True, 'age': 41}, {'cough': False, 'age': 7}]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import msgspec

from andon.core.record import Field
from andon.core.registry import did_you_mean
from andon.errors import ContractError

__all__ = ["DATATYPES", "InferRequest", "Row", "Tensor", "datatype", "decode_infer", "rows_of"]

#: Datatypes that this server reads, with the JSON values they hold.
DATATYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool, int),
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"), (int,)),
    **dict.fromkeys(("FP16", "FP32", "FP64"), (float, int)),
    "BYTES": (str,),
}
_SPECIAL = ("unit", "id", "tags", "human")
_TENSOR = {"bool": "BOOL", "int": "INT64", "float": "FP64"}
_DEPTH = 8

Parameters = dict[str, str | int | float | bool | None]


class Tensor(msgspec.Struct):
    """One tensor of a request: ``data`` nested or flat, row-major."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: Parameters = {}


class _Output(msgspec.Struct):
    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[_Output] | None = None


class Row(msgspec.Struct):
    """One row of a request: its inputs and what else a decision takes."""

    x: dict[str, Any]
    unit: str | None = None
    id: str | None = None
    tags: dict[str, str] | None = None
    human: str | None = None


decode_infer = msgspec.json.Decoder(InferRequest)
_tags = msgspec.json.Decoder(dict[str, str])


def datatype(field: Field) -> str:
    """The datatype of a field: BOOL, INT64, FP64, and BYTES for all texts."""
    return _TENSOR.get(field.kind, "BYTES")


def rows_of(request: InferRequest, fields: Sequence[Field], limit: int) -> list[Row]:
    """The rows of a request; raises ``ContractError``.

    Inputs are tensors of shape [n] or [n, 1] named like the fields, or a single one of shape [n, fields] in the order of
    the contract. ``unit``, ``id``, ``tags`` (a JSON object as text) and ``human`` come as BYTES tensors, one for each row,
    or for a single row as parameters of the request.
    """
    names = [field.name for field in fields]
    kinds = {field.name: field.kind for field in fields}
    special: dict[str, list[Any]] = {}
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        values = list(_flat(tensor))
        if tensor.name in kinds:
            columns[tensor.name] = _column(tensor, values, kinds[tensor.name])
        elif tensor.name in _SPECIAL and len(tensor.shape) in (1, 2):
            special[tensor.name] = _column(tensor, values, "text")
        elif len(tensor.shape) == 2 and tensor.shape[1] == len(names) and not columns:
            columns = _split(tensor, values, fields)
        else:
            raise _fault(tensor, f"no input has this name; {did_you_mean(tensor.name, names)}")
    count = _count({**columns, **special}, limit)
    if count == 1:
        for name in _SPECIAL:
            if name in request.parameters:
                special.setdefault(name, [_text(name, request.parameters[name])])
    return [_row(columns, special, at) for at in range(count)]


def _row(columns: dict[str, list[Any]], special: dict[str, list[Any]], at: int) -> Row:
    found = {name: values[at] or None for name, values in special.items()}
    if found.get("tags"):
        try:
            found["tags"] = _tags.decode(str(found["tags"]))
        except msgspec.DecodeError:
            raise ContractError("tags: expected a JSON object of texts, as text", field="tags") from None
    return Row({name: values[at] for name, values in columns.items()}, **found)


def _count(columns: dict[str, list[Any]], limit: int) -> int:
    counts = {len(values) for values in columns.values()}
    if len(counts) != 1:
        raise ContractError(f"inputs: expected tensors of one length, found {sorted(counts) or 'none'}", field="inputs")
    count = counts.pop()
    if not 0 < count <= limit:
        raise ContractError(f"inputs: expected 1 to {limit} rows, found {count}", field="inputs")
    return count


def _flat(tensor: Tensor) -> Iterator[Any]:
    """The elements of a tensor, checked against its shape and datatype."""
    allowed = DATATYPES.get(tensor.datatype)
    if allowed is None:
        raise _fault(
            tensor, f"datatype {tensor.datatype[:20]!r} is unknown; {did_you_mean(tensor.datatype, DATATYPES)}"
        )
    if not tensor.shape or len(tensor.shape) > _DEPTH or any(size < 0 for size in tensor.shape):
        raise _fault(tensor, f"expected a shape of 1 to {_DEPTH} sizes, found {tensor.shape[:9]}")
    values = list(_leaves(tensor, tensor.data, 0))
    if len(values) != prod(tensor.shape):
        raise _fault(
            tensor, f"expected {prod(tensor.shape)} elements for the shape {tensor.shape}, found {len(values)}"
        )
    for value in values:
        if value is not None and (
            not isinstance(value, allowed) or (allowed[0] is not bool and isinstance(value, bool))
        ):
            raise _fault(tensor, f"expected {tensor.datatype} elements, found a {type(value).__name__}")
        yield value


def _leaves(tensor: Tensor, data: list[Any], depth: int) -> Iterator[Any]:
    if depth > _DEPTH:
        raise _fault(tensor, "the data are nested too deeply")
    for value in data:
        if isinstance(value, list):
            yield from _leaves(tensor, value, depth + 1)
        else:
            yield value


def _column(tensor: Tensor, values: list[Any], kind: str) -> list[Any]:
    if len(tensor.shape) > 1 and prod(tensor.shape[1:]) != 1:
        raise _fault(tensor, f"expected the shape [n] or [n, 1], found {tensor.shape}")
    return [_value(value, kind) for value in values]


def _split(tensor: Tensor, values: list[Any], fields: Sequence[Field]) -> dict[str, list[Any]]:
    width = len(fields)
    return {field.name: [_value(value, field.kind) for value in values[at::width]] for at, field in enumerate(fields)}


def _value(value: Any, kind: str) -> Any:
    """Numbers 0 and 1 may stand for a bool, since many clients send every number in one tensor."""
    if kind == "bool" and value in (0, 1) and value is not None:
        return bool(value)
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ContractError(
            f"parameters.{name}: expected text, found {type(value).__name__}", field=f"parameters.{name}"
        )
    return value


def _fault(tensor: Tensor, message: str) -> ContractError:
    return ContractError(f"inputs: {tensor.name[:60]!r}: {message}", field="inputs")
