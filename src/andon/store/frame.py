"""The frame: one batch of rows on disk, self-describing and checksummed, and the ids that point into a stream.

A frame is a 56-byte header and a payload. The header (little-endian) holds: magic ``ANDF``, format, kind, two reserved
bytes, the stream's generation, the first eight bytes of the contract's hash, the route's epoch, the sequence number of
its first row, its count of rows, its event time, the payload's length, and a CRC32 of everything before it and of the
payload. Rows of a stream are numbered without holes, so what is missing between two frames can be counted exactly.

>>> server_id("w0", "00c0ffee", 255)
'w0-00c0ffee-ff'
>>> parse_server_id("w0-00c0ffee-ff")
('w0', '00c0ffee', 255)
>>> parse_server_id("order-17") is None
True
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from struct import Struct
from zlib import crc32

import msgspec

__all__ = [
    "CHECKSUM",
    "HEAD",
    "HEAD_SIZE",
    "MAGIC",
    "MAX_PAYLOAD",
    "NO_CONTRACT",
    "Fault",
    "Frame",
    "FrameKind",
    "Gap",
    "Span",
    "frame_at",
    "next_span",
    "parse_server_id",
    "server_id",
    "span_at",
]

MAGIC = b"ANDF"
FORMAT = 1
NO_CONTRACT = bytes(8)
MAX_PAYLOAD = 1 << 30

HEAD = Struct("<4sBBHI8sqQIqI")
CHECKSUM = Struct("<I")
HEAD_SIZE = HEAD.size + CHECKSUM.size

_SERVER_ID = re.compile(r"([A-Za-z][A-Za-z0-9_]*)-([0-9a-f]{8})-(0|[1-9a-f][0-9a-f]*)")


class FrameKind(IntEnum):
    """What the rows of a frame are. Numbers are stored: one is never reused for something else."""

    DECISION = 1
    FEEDBACK = 2
    REVIEW = 3
    LOSS = 4
    SHADOW = 5


_KINDS = {int(kind): kind for kind in FrameKind}


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One batch of a stream. ``offset`` and ``end`` are logical bytes in the stream; ``first`` is its first row's sequence.

    ``contract`` is eight bytes of the contract's hash; ``generation`` is eight hex digits, part of every server id.
    """

    stream: str
    kind: FrameKind
    offset: int
    end: int
    contract: bytes
    epoch: int
    first: int
    count: int
    time_us: int
    payload: bytes
    generation: str = "00000000"


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Bytes ``offset`` to ``end`` of a stream cannot be read. ``rows`` is exactly how many rows that cost; None: unknown."""

    stream: str
    offset: int
    end: int
    rows: int | None


class Fault(Enum):
    """Why no frame starts here: the bytes end before it does, or they are not a frame."""

    SHORT = "short"
    BAD = "bad"


class Span(msgspec.Struct, frozen=True, gc=False):
    """Where a sound frame lies in a buffer and which rows it holds, without a copy of its payload."""

    position: int
    end: int
    first: int
    count: int
    generation: int


def server_id(stream: str, generation: str, sequence: int) -> str:
    """The id of a row whose client gave none: it says where the row is."""
    return f"{stream}-{generation}-{sequence:x}"


def parse_server_id(id: str) -> tuple[str, str, int] | None:
    """(stream, generation, sequence) of a server id, or None when it is a client's own id."""
    match = _SERVER_ID.fullmatch(id)
    if match is None:
        return None
    return match[1], match[2], int(match[3], 16)


def span_at(data: bytes | memoryview, position: int) -> Span | Fault:
    """The sound frame that starts at ``position`` of ``data``, or the fault there. The checksum is verified."""
    body = position + HEAD_SIZE
    if len(data) < body:
        return _prefix_fault(data, position)
    magic, format, _, _, generation, _, _, first, count, _, length = HEAD.unpack_from(data, position)
    if magic != MAGIC or format != FORMAT or length > MAX_PAYLOAD:
        return Fault.BAD
    end = body + length
    if len(data) < end:
        return Fault.SHORT
    view = memoryview(data)
    expected = crc32(view[body:end], crc32(view[position : position + HEAD.size]))
    if CHECKSUM.unpack_from(data, position + HEAD.size)[0] != expected:
        return Fault.BAD
    return Span(position, end, first, count, generation)


def _prefix_fault(data: bytes | memoryview, position: int) -> Fault:
    """Less than a header is left: short if it could be the beginning of one."""
    start = bytes(data[position : position + len(MAGIC)])
    return Fault.SHORT if MAGIC.startswith(start) else Fault.BAD


def frame_at(stream: str, data: bytes, span: Span, base: int) -> Frame | None:
    """The frame of a verified span; ``base`` is the logical offset of ``data[0]``. None for a kind of a later release."""
    _, _, number, _, generation, contract, epoch, first, count, time_us, _ = HEAD.unpack_from(data, span.position)
    kind = _KINDS.get(number)
    if kind is None:
        return None
    payload = data[span.position + HEAD_SIZE : span.end]
    offset, end = base + span.position, base + span.end
    return Frame(stream, kind, offset, end, contract, epoch, first, count, time_us, payload, f"{generation:08x}")


def next_span(data: bytes, position: int) -> Span | None:
    """The first sound frame at or after ``position``: how a reader finds its way behind damaged bytes."""
    while (found := data.find(MAGIC, position)) >= 0:
        span = span_at(data, found)
        if isinstance(span, Span):
            return span
        position = found + 1
    return None
