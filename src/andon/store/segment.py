"""Segments: the files a stream is made of, and how the end of one is found again after a crash.

A stream is a directory; a segment in it is named by its logical start offset in 16 hex digits. Its 40-byte header holds
the generation, the start, the first row's sequence, and a tag of the machine's boot. Offsets never go back: where a
tail is cut the next segment starts behind it, and after a reboot it starts 4 GiB further on, since consumers may have
read bytes that a power loss then took. So an offset, once seen, always means the same bytes.
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from struct import Struct
from zlib import crc32

import msgspec

from andon.errors import UsageError
from andon.store.files import create_file, unavailable
from andon.store.frame import Span, next_span, span_at

__all__ = [
    "SEGMENT_HEAD_SIZE",
    "SegmentHead",
    "Tail",
    "boot_tag",
    "create_segment",
    "drop_segments",
    "read_head",
    "recover",
    "segment_path",
    "segment_starts",
    "sequence_at",
    "stream_end",
    "streams",
]

_MAGIC = b"ANDS"
_HEAD = Struct("<4sBBHIQQQ")
_CHECKSUM = Struct("<I")
SEGMENT_HEAD_SIZE = _HEAD.size + _CHECKSUM.size
_REBOOT_JUMP = 1 << 32


class SegmentHead(msgspec.Struct, frozen=True):
    """What a segment says about itself: ``generation``, logical ``start``, ``first`` sequence, ``boot`` tag."""

    generation: int
    start: int
    first: int
    boot: int


class Tail(msgspec.Struct, frozen=True):
    """Where to write next: the active segment's ``start``, the ``position`` in that file, and the next ``sequence``."""

    start: int
    position: int
    sequence: int
    generation: int


def boot_tag() -> int:
    """A number that changes when the machine boots; 0 where the system does not tell."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return 0
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def streams(directory: Path) -> list[str]:
    """The names of the streams in a directory, sorted; none when it does not exist yet."""
    if not directory.is_dir():
        return []
    return sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and segment_starts(entry))


def segment_starts(folder: Path) -> list[int]:
    """The start offsets of a stream's segments, in order; none when there is no such stream yet."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is needed, and this runs in every poll
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4], 16) for name in names if len(name) == 20 and name.endswith(".wal"))


def segment_path(folder: Path, start: int) -> Path:
    """The file of the segment that starts at a logical offset."""
    return folder / f"{start:016x}.wal"


def stream_end(folder: Path) -> int:
    """The logical offset at which a stream ends on disk by now; a frame that is being written may count in part.

    A last segment that holds no frame yet ends where it begins: nobody can have read further.
    """
    starts = segment_starts(folder)
    if not starts:
        return 0
    size = segment_path(folder, starts[-1]).stat().st_size
    return starts[-1] + (size if size > SEGMENT_HEAD_SIZE else 0)


def create_segment(folder: Path, head: SegmentHead) -> Path:
    """Create an empty segment whose header is complete or absent, never half."""
    packed = _HEAD.pack(_MAGIC, 1, 0, 0, head.generation, head.start, head.first, head.boot)
    path = segment_path(folder, head.start)
    if not create_file(path, packed + _CHECKSUM.pack(crc32(packed)), sync=False):
        raise UsageError(f"{path} exists already; two writers share the stream {folder.name}, stop one")
    return path


def read_head(data: bytes) -> SegmentHead | None:
    """The header at the beginning of a segment's bytes; None when it is damaged."""
    if len(data) < SEGMENT_HEAD_SIZE:
        return None
    packed = data[: _HEAD.size]
    magic, format, _, _, generation, start, first, boot = _HEAD.unpack(packed)
    if magic != _MAGIC or format != 1 or _CHECKSUM.unpack_from(data, _HEAD.size)[0] != crc32(packed):
        return None
    return SegmentHead(generation, start, first, boot)


def drop_segments(folder: Path, offset: int) -> int:
    """Delete the segments that lie wholly before ``offset``, never the last one; returns how many went."""
    starts = segment_starts(folder)
    gone = [start for start, following in pairwise(starts) if following <= offset]
    for start in gone:
        segment_path(folder, start).unlink(missing_ok=True)
    return len(gone)


def recover(folder: Path, known: Tail | None = None) -> Tail:
    """Find the end of a stream, make it sound, and say where to write; creates the stream when it is new.

    A torn tail (a frame that a killed process or a full disk left unfinished) is kept aside in a ``torn-*`` file and
    cut. ``known`` is an end found earlier: only what came after it is scanned. Raises ``Unavailable``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        starts = segment_starts(folder)
        if not starts:
            return _begin(folder, SegmentHead(_draw(), 0, 0, boot_tag()))
        return _recover_last(folder, starts, known)
    except OSError as error:
        raise unavailable(f"the stream {folder.name} could not be opened", error) from error


def _draw() -> int:
    return secrets.randbits(32)


def _begin(folder: Path, head: SegmentHead) -> Tail:
    create_segment(folder, head)
    return Tail(head.start, SEGMENT_HEAD_SIZE, head.first, head.generation)


def _recover_last(folder: Path, starts: list[int], known: Tail | None) -> Tail:
    start = starts[-1]
    path = segment_path(folder, start)
    size = path.stat().st_size
    if known is not None and known.start == start and known.position == size:
        return known
    data = path.read_bytes()
    head = read_head(data)
    sequence, end, generation = _scan(data, head, known if known is not None and known.start == start else None)
    if sequence is None:
        sequence = sequence_at(folder, start) or 0
    sound = end == len(data)
    if sound and head is not None and head.boot == boot_tag():
        return Tail(start, end, sequence, generation)
    _cut_tail(path, data, end)
    following = start + len(data)
    if head is None or head.boot != boot_tag():
        following += _REBOOT_JUMP
    return _begin(folder, SegmentHead(_draw(), following, sequence, boot_tag()))


def _scan(data: bytes, head: SegmentHead | None, known: Tail | None) -> tuple[int | None, int, int]:
    """(next sequence, end of the last whole frame, generation) of a segment's bytes; a damaged payload keeps its rows."""
    sequence = None if head is None else head.first
    position, generation = SEGMENT_HEAD_SIZE, 0 if head is None else head.generation
    if known is not None and known.position <= len(data):
        sequence, position, generation = known.sequence, known.position, known.generation
    while position < len(data):
        span = span_at(data, position)
        found = span if isinstance(span, Span) else next_span(data, position + 1)
        if found is None:
            break
        sequence, position, generation = found.first + found.count, found.end, found.generation
    return sequence, min(position, len(data)), generation


def sequence_at(folder: Path, offset: int) -> int | None:
    """The sequence of the row that belongs at an offset, by what lies before it; None where nothing tells."""
    for start in reversed([start for start in segment_starts(folder) if start < offset]):
        data = segment_path(folder, start).read_bytes()[: offset - start]
        sequence, _, _ = _scan(data, read_head(data), None)
        if sequence is not None:
            return sequence
        if start == 0:
            return 0
    return 0 if offset == 0 else None


def _cut_tail(path: Path, data: bytes, end: int) -> None:
    """Set the bytes behind ``end`` aside. What was written whole is never here: its header tells how long it is."""
    if end < len(data):
        create_file(path.with_name(f"torn-{path.stem}-{end:x}-{secrets.token_hex(3)}"), data[end:])
        os.truncate(path, end)
