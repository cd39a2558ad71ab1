"""Tensors as raw bytes: the Open Inference Protocol's binary tensor data extension.

The body is the JSON, as long as the header ``Inference-Header-Content-Length`` says, and behind it the data of each
tensor that has ``binary_data_size``, in the order of the JSON: little-endian, row-major, without padding; a BOOL is one
byte, 0 or 1; a BYTES element is its length (4 bytes) and its bytes. Binary data know no null: in floating-point
tensors NaN stands for it, in BYTES of an optional input that is no free text nothing (""). An image comes as its bytes,
or as base64 text.

>>> packed("BYTES", ["a", ""])
b'\\x01\\x00\\x00\\x00a\\x00\\x00\\x00\\x00'
>>> given = InferRequest([Tensor("age", [2], "FP32", parameters={"binary_data_size": 8})])
>>> fill(given, bytes.fromhex("0000f0410000c07f"), (Field("age", "float", optional=True),), 10)
>>> given.inputs[0].data
[30.0, None]
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from andon.core.record import Field
from andon.deploy.gateway_rows import plain_body
from andon.deploy.gateway_tensors import InferRequest, Tensor, checked_shape, tensor_fault
from andon.deploy.protocol_message import Request
from andon.errors import ContractError, UsageError

__all__ = ["EXTENSION", "LENGTH", "fill", "packed", "split"]

#: What server metadata call it, and the header that says how long the JSON is.
EXTENSION = "binary_tensor_data"
LENGTH = "inference-header-content-length"
_SIZE = "binary_data_size"
_TYPES = {
    "BOOL": "u1",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def split(request: Request) -> tuple[bytes, bytes | None]:
    """The JSON of a request and the binary data behind it (None: the header is not there, all is JSON).

    Raises ``UsageError`` when the header is no length within the body.
    """
    body, header = plain_body(request), request.header(LENGTH.encode())
    if header is None:
        return body, None
    if not (header.isdigit() and len(header) < 16 and 0 < int(header) <= len(body)):
        found = header.decode("latin-1")[:20]
        raise UsageError(
            f"Inference-Header-Content-Length: expected 1 to {len(body)}, the bytes of the body, found {found!r}"
        )
    return body[: int(header)], body[int(header) :]


def fill(request: InferRequest, raw: bytes | None, fields: Sequence[Field], limit: int) -> None:
    """Give every tensor with ``binary_data_size`` its data, ``limit`` rows at most; raises ``ContractError``.

    Sizes are compared before anything is decoded, so the memory that is taken is bounded by the rows allowed.
    """
    by_name, at = {field.name: field for field in fields}, 0
    for tensor in request.inputs:
        size = _size(tensor, raw)
        if size is None:
            continue
        assert raw is not None
        if size > len(raw) - at:
            raise tensor_fault(tensor, f"{_SIZE} is {size}, but {len(raw) - at} bytes are left in the body")
        tensor.data = _decoded(tensor, raw[at : at + size], by_name.get(tensor.name), limit * max(1, len(fields)))
        at += size
    if raw is not None and at != len(raw):
        raise ContractError(
            f"inputs: expected {at} bytes of binary data, the sum of every {_SIZE}, found {len(raw)}", field="inputs"
        )


def _size(tensor: Tensor, raw: bytes | None) -> int | None:
    """The bytes of a tensor, or None when its data are in the JSON."""
    size = tensor.parameters.get(_SIZE)
    if size is None:
        if tensor.data is None:
            raise tensor_fault(tensor, f"expected data, or the parameter {_SIZE} and the data behind the JSON")
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise tensor_fault(tensor, f"{_SIZE}: expected a whole number of bytes")
    if tensor.data is not None:
        raise tensor_fault(tensor, f"expected data or {_SIZE}, found both")
    if raw is None:
        raise tensor_fault(tensor, f"it has {_SIZE}, so the header Inference-Header-Content-Length is needed")
    return size


def _decoded(tensor: Tensor, raw: bytes, field: Field | None, most: int) -> list[Any]:
    count = prod(checked_shape(tensor))
    if count > most:
        raise tensor_fault(tensor, f"expected at most {most} elements, found the shape {tensor.shape}")
    if tensor.datatype == "BYTES":
        return _texts(tensor, raw, count, field)
    kind = np.dtype(_TYPES[tensor.datatype])
    if len(raw) != count * kind.itemsize:
        expected = f"{count * kind.itemsize} bytes of {tensor.datatype} for the shape {tensor.shape}"
        raise tensor_fault(tensor, f"expected {expected}, found {len(raw)}")
    found = np.frombuffer(raw, kind)
    if tensor.datatype == "BOOL":
        if found.size and found.max() > 1:
            raise tensor_fault(tensor, f"a BOOL is one byte, 0 or 1; found {found.max()}")
        return list((found == 1).tolist())
    values: list[Any] = found.tolist()
    return [None if value != value else value for value in values] if kind.kind == "f" else values


def _texts(tensor: Tensor, raw: bytes, count: int, field: Field | None) -> list[Any]:
    """The elements of a BYTES tensor as texts."""
    bare = field is not None and field.optional and field.kind != "text"
    values: list[Any] = []
    at = 0
    while at < len(raw) and len(values) < count:
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if at + 4 > len(raw) or end > len(raw):
            raise tensor_fault(tensor, f"element {len(values)} ends beyond the {len(raw)} bytes of the tensor")
        element = raw[at + 4 : end]
        values.append(None if bare and not element else _text(tensor, element, len(values), field))
        at = end
    if at != len(raw) or len(values) != count:
        more = f" and {len(raw) - at} bytes more" if at != len(raw) else ""
        raise tensor_fault(tensor, f"expected {count} elements for the shape {tensor.shape}, found {len(values)}{more}")
    return values


def _text(tensor: Tensor, element: bytes, at: int, field: Field | None) -> str:
    if field is not None and field.kind == "image" and not (element.isascii() and b"\0" not in element):
        return b64encode(element).decode()  # no image file is plain ASCII: this one came as its bytes
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise tensor_fault(tensor, f"element {at} is not UTF-8 text") from None


def packed(datatype: str, values: Sequence[Any]) -> bytes:
    """The bytes of an output."""
    if datatype != "BYTES":
        return np.asarray(values, _TYPES[datatype]).tobytes()
    texts = [value.encode("utf-8", "replace") for value in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
