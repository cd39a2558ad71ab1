"""Decision rows, decoded once for all consumers: the inbox, the windows and the decision log each take the same tables.

Consumers take the same frames in different portions. What one of them had decoded is kept until the decision log has
it, and is put together again for the next; only what nobody had decoded is decoded then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from andon.core.record import Field
from andon.store.frame import Frame, Gap
from andon.store.shape import is_decisions, rows_of

__all__ = ["Decoded"]


class _Piece:
    """The rows of ``count`` frames in a row, the first at ``offset``, the last ending at ``end``."""

    __slots__ = ("count", "end", "offset", "rows")

    def __init__(self, frames: Sequence[Frame | Gap], rows: pl.DataFrame) -> None:
        self.offset, self.end, self.count, self.rows = frames[0].offset, frames[-1].end, len(frames), rows


class Decoded:
    """Stands in for ``andon.store.shape.rows_of``, with a memory.

    >>> Decoded().rows("decisions/00", [], ()).height
    0
    """

    def __init__(self) -> None:
        self._pieces: dict[tuple[str, str], dict[int, _Piece]] = {}

    def rows(
        self, table: str, frames: Sequence[Frame | Gap], fields: Sequence[Field] = (), near_us: int = 0
    ) -> pl.DataFrame:
        """The rows of frames of one stream that all belong to one table. Raises ``Corrupt``; then nothing is kept."""
        if not frames or not is_decisions(table):
            return rows_of(table, frames, fields, near_us)
        known = self._pieces.setdefault((frames[0].stream, table), {})
        parts = [
            run.rows if isinstance(run, _Piece) else self._decode(known, table, run, fields)
            for run in _runs(frames, known)
        ]
        return parts[0] if len(parts) == 1 else pl.concat(parts)

    def _decode(
        self, known: dict[int, _Piece], table: str, frames: Sequence[Frame | Gap], fields: Sequence[Field]
    ) -> pl.DataFrame:
        rows = rows_of(table, frames, fields)
        known[frames[0].offset] = _Piece(frames, rows)
        return rows

    def forget(self, stream: str, end: int) -> None:
        """Let go of what lies before an offset of a stream."""
        for (of, _), known in self._pieces.items():
            if of == stream:
                for offset in [offset for offset, piece in known.items() if piece.end <= end]:
                    del known[offset]


def _runs(frames: Sequence[Frame | Gap], known: dict[int, _Piece]) -> Iterator[_Piece | Sequence[Frame | Gap]]:
    """The frames as pieces that are known, and the stretches between them."""
    at = begin = 0
    while at < len(frames):
        piece = known.get(frames[at].offset)
        last = at + piece.count - 1 if piece is not None else len(frames)
        if piece is None or last >= len(frames) or frames[last].end != piece.end:
            at += 1
            continue
        if begin < at:
            yield frames[begin:at]
        yield piece
        at = begin = last + 1
    if begin < len(frames):
        yield frames[begin:]
