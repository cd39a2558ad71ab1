"""The frame: one batch of rows on disk, self-describing and checksummed, and the ids that point into a stream.

A frame is a 60-byte header and a payload. The header (little-endian) holds: magic ``ANDF``, format, kind, two reserved
bytes, the stream's generation, the first eight bytes of the contract's hash, the route's epoch, the sequence number of
its first row, its count of rows, its event time, the payload's length, a CRC32 of the payload, and a CRC32 of the header
itself. Rows of a stream are numbered without holes, so what is missing between two frames can be counted exactly. A
sound header in front of a damaged payload tells how many rows that cost and where the next frame begins; so bytes that
a client sent are searched for frames only where a header itself is damaged.

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
from mmap import mmap
from struct import Struct
from zlib import crc32

import msgspec

__all__ = [
    "HEAD_SIZE",
    "MAGIC",
    "MAX_PAYLOAD",
    "NO_CONTRACT",
    "Fault",
    "Frame",
    "FrameKind",
    "Gap",
    "Head",
    "Span",
    "frame_at",
    "head_at",
    "next_span",
    "pack_head",
    "parse_server_id",
    "server_id",
    "span_at",
]

MAGIC = b"ANDF"
FORMAT = 1
NO_CONTRACT = bytes(8)
MAX_PAYLOAD = 1 << 30

_HEAD = Struct("<4sBBHI8sqQIqII")
_SEAL = Struct("<I")
HEAD_SIZE = _HEAD.size + _SEAL.size

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


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a sound header says of its frame, whose payload nobody has looked at: ``end`` is where the next one begins."""

    end: int
    first: int
    count: int
    generation: int
    time_us: int
    check: int


class Span(msgspec.Struct, frozen=True, gc=False):
    """Where a frame lies in a buffer and which rows it holds, without a copy of its payload.

    ``sound`` is False when the header can be trusted and the payload cannot.
    """

    position: int
    end: int
    first: int
    count: int
    generation: int
    sound: bool


def server_id(stream: str, generation: str, sequence: int) -> str:
    """The id of a row whose client gave none: it says where the row is."""
    return f"{stream}-{generation}-{sequence:x}"


def parse_server_id(id: str) -> tuple[str, str, int] | None:
    """(stream, generation, sequence) of a server id, or None when it is a client's own id."""
    match = _SERVER_ID.fullmatch(id)
    if match is None:
        return None
    return match[1], match[2], int(match[3], 16)


def pack_head(kind: int, payload: bytes, stamp: tuple[int, bytes, int, int, int, int]) -> bytes:
    """The header of a frame; ``stamp`` is (generation, contract, epoch, first, count, time_us)."""
    head = _pack(MAGIC, FORMAT, kind, 0, *stamp, len(payload), crc32(payload))
    return head + _seal(crc32(head))


_pack, _seal = _HEAD.pack, _SEAL.pack


def head_at(data: bytes | mmap, position: int) -> Head | Fault:
    """The header at ``position`` of ``data``, or the fault there. Its own checksum is verified, the payload not read."""
    body = position + HEAD_SIZE
    if len(data) < body:
        start = bytes(data[position : position + len(MAGIC)])
        return Fault.SHORT if MAGIC.startswith(start) else Fault.BAD
    head = data[position : position + _HEAD.size]
    magic, format, _, _, generation, _, _, first, count, time_us, length, check = _HEAD.unpack(head)
    if magic != MAGIC or format != FORMAT or _SEAL.unpack_from(data, body - _SEAL.size)[0] != crc32(head):
        return Fault.BAD
    return Head(body + length, first, count, generation, time_us, check)


def span_at(data: bytes | mmap, position: int) -> Span | Fault:
    """The frame that starts at ``position`` of ``data``, or the fault there. Both checksums are verified."""
    head = head_at(data, position)
    if not isinstance(head, Head):
        return head
    end = head.end
    if len(data) < end:
        return Fault.SHORT
    sound = crc32(data[position + HEAD_SIZE : end]) == head.check
    return Span(position, end, head.first, head.count, head.generation, sound)


def frame_at(stream: str, data: bytes | mmap, span: Span, base: int) -> Frame | None:
    """The frame of a sound span; ``base`` is the logical offset of ``data[0]``. None for a kind of a later release."""
    values = _HEAD.unpack_from(data, span.position)
    kind = _KINDS.get(values[2])
    if kind is None:
        return None
    _, contract, epoch, first, count, time_us = values[4:10]
    payload = data[span.position + HEAD_SIZE : span.end]
    offset, end = base + span.position, base + span.end
    return Frame(stream, kind, offset, end, contract, epoch, first, count, time_us, payload, f"{span.generation:08x}")


def next_span(data: bytes | mmap, position: int) -> Span | None:
    """The first frame with a sound header at or after ``position``: how a reader finds its way behind damaged bytes."""
    while (found := data.find(MAGIC, position)) >= 0:
        span = span_at(data, found)
        if isinstance(span, Span):
            return span
        position = found + 1
    return None
