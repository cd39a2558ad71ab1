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
from andon.deploy.gateway_rows import Row, adapted
from andon.errors import ContractError

__all__ = [
    "DATATYPES",
    "InferRequest",
    "Output",
    "Tensor",
    "checked_shape",
    "datatype",
    "decode_infer",
    "flag",
    "rows_of",
    "tensor_fault",
]

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
#: Parameters that ask for what this server does not do, so that nobody is answered as if it did.
_NOT_HERE = ("shared_memory_region", "classification")

Parameters = dict[str, str | int | float | bool | None]


class Tensor(msgspec.Struct):
    """One tensor of a request: ``data`` nested or flat, row-major; None while they are behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: Parameters = {}


class Output(msgspec.Struct):
    """One output that is asked for."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[Output] | None = None


decode_infer = msgspec.json.Decoder(InferRequest)
_tags = msgspec.json.Decoder(dict[str, str])


def datatype(field: Field) -> str:
    """The datatype of a field: BOOL, INT64, FP64, and BYTES for all texts."""
    return _TENSOR.get(field.kind, "BYTES")


def flag(parameters: Parameters, name: str, default: bool) -> bool:
    """A parameter that is true or false; raises ``ContractError``."""
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ContractError(f"parameters.{name}: expected true or false", field=f"parameters.{name}")
    return value


def rows_of(request: InferRequest, fields: Sequence[Field], limit: int) -> list[Row]:
    """The rows of a request whose tensors have their data; raises ``ContractError``.

    Inputs are tensors of shape [n] or [n, 1] named like the fields, or a single one of shape [n, fields] in the order of
    the contract. ``unit``, ``id``, ``tags`` (a JSON object as text) and ``human`` come as BYTES tensors, one for each
    row; as parameters of the request ``unit``, ``tags`` and ``human`` hold for every row, and ``id`` for a single one.
    """
    names = [field.name for field in fields]
    kinds = {field.name: field.kind for field in fields}
    special: dict[str, list[Any]] = {}
    columns: dict[str, list[Any]] = {}
    seen: set[str] = set()
    for tensor in request.inputs:
        _refuse(tensor, seen)
        values = list(_flat(tensor))
        if tensor.name in kinds:
            columns[tensor.name] = _column(tensor, values, kinds[tensor.name])
        elif tensor.name in _SPECIAL and len(tensor.shape) in (1, 2):
            special[tensor.name] = _words(tensor, values)
        elif len(tensor.shape) == 2 and tensor.shape[1] == len(names) and not columns:
            columns = _split(tensor, values, fields)
        else:
            raise tensor_fault(tensor, f"no input has this name; {did_you_mean(tensor.name, names)}")
    count = _count({**columns, **special}, limit)
    for name in _SPECIAL:
        if request.parameters.get(name) is not None and name not in special:
            special[name] = [_parameter(name, request.parameters[name], count)] * count
    return [_row(columns, special, at) for at in range(count)]


def _refuse(tensor: Tensor, seen: set[str]) -> None:
    """A tensor that is there already, or that asks for what is not here."""
    if tensor.name in seen:
        raise tensor_fault(tensor, "it is there twice")
    seen.add(tensor.name)
    for name in _NOT_HERE:
        if name in tensor.parameters:
            raise tensor_fault(tensor, f"{name} is not offered here; send the data")


def _row(columns: dict[str, list[Any]], special: dict[str, list[Any]], at: int) -> Row:
    """One row; tags that cannot be read are its own fault and no other's."""
    found = {name: values[at] or None for name, values in special.items()}
    row = Row({name: values[at] for name, values in columns.items()}, found.get("unit"), found.get("id"))
    row.human = found.get("human")
    if tags := found.get("tags"):
        try:
            row.tags = _tags.decode(tags)
        except msgspec.DecodeError:
            row.fault = ContractError("tags: expected a JSON object of texts, as text", field="tags")
    return row


def _count(columns: dict[str, list[Any]], limit: int) -> int:
    counts = {len(values) for values in columns.values()}
    if len(counts) != 1:
        raise ContractError(f"inputs: expected tensors of one length, found {sorted(counts) or 'none'}", field="inputs")
    count = counts.pop()
    if not 0 < count <= limit:
        raise ContractError(f"inputs: expected 1 to {limit} rows, found {count}", field="inputs")
    return count


def checked_shape(tensor: Tensor) -> list[int]:
    """The shape of a tensor; raises ``ContractError`` when it or the datatype is none."""
    if tensor.datatype not in DATATYPES:
        raise tensor_fault(
            tensor, f"datatype {tensor.datatype[:20]!r} is unknown; {did_you_mean(tensor.datatype[:20], DATATYPES)}"
        )
    if not tensor.shape or len(tensor.shape) > _DEPTH or any(size < 0 for size in tensor.shape):
        raise tensor_fault(tensor, f"expected a shape of 1 to {_DEPTH} sizes, found {tensor.shape[:9]}")
    return tensor.shape


def _flat(tensor: Tensor) -> Iterator[Any]:
    """The elements of a tensor, checked against its shape and datatype."""
    count, allowed = prod(checked_shape(tensor)), DATATYPES[tensor.datatype]
    values = list(_leaves(tensor, tensor.data or [], 0))
    if len(values) != count:
        raise tensor_fault(tensor, f"expected {count} elements for the shape {tensor.shape}, found {len(values)}")
    for value in values:
        if value is not None and (
            not isinstance(value, allowed) or (allowed[0] is not bool and isinstance(value, bool))
        ):
            raise tensor_fault(tensor, f"expected {tensor.datatype} elements, found a {type(value).__name__}")
        yield value


def _leaves(tensor: Tensor, data: list[Any], depth: int) -> Iterator[Any]:
    if depth > _DEPTH:
        raise tensor_fault(tensor, "the data are nested too deeply")
    for value in data:
        if isinstance(value, list):
            yield from _leaves(tensor, value, depth + 1)
        else:
            yield value


def _column(tensor: Tensor, values: list[Any], kind: str) -> list[Any]:
    if len(tensor.shape) > 1 and prod(tensor.shape[1:]) != 1:
        raise tensor_fault(tensor, f"expected the shape [n] or [n, 1], found {tensor.shape}")
    return [adapted(value, kind) for value in values]


def _words(tensor: Tensor, values: list[Any]) -> list[Any]:
    """What goes with a row; whole numbers may name a unit."""
    if tensor.datatype != "BYTES" and not (tensor.name == "unit" and "INT" in tensor.datatype):
        raise tensor_fault(tensor, f"expected BYTES, found {tensor.datatype}")
    return [None if value is None else str(value) for value in _column(tensor, values, "text")]


def _split(tensor: Tensor, values: list[Any], fields: Sequence[Field]) -> dict[str, list[Any]]:
    width = len(fields)
    return {field.name: [adapted(value, field.kind) for value in values[at::width]] for at, field in enumerate(fields)}


def _parameter(name: str, value: Any, count: int) -> str:
    where = f"parameters.{name}"
    if name == "unit" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ContractError(f"{where}: expected text, found {type(value).__name__}", field=where)
    if name == "id" and count > 1:
        raise ContractError(
            f"{where}: expected a single row, found {count}; send a BYTES tensor 'id' with one for each", field=where
        )
    return value


def tensor_fault(tensor: Tensor, message: str) -> ContractError:
    """What is wrong with a tensor, with its name."""
    return ContractError(f"inputs: {tensor.name[:60]!r}: {message}", field="inputs")
