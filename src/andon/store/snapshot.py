"""One look at everything recorded: the decision log's tables, and what still lies in the write-ahead log only.

What was shipped is told by each table itself (the transaction version of each stream), so a frame is seen in the table
or in the tail, never in both and never in neither, also while the shipper is at work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from andon.core.record import Field
from andon.errors import Unavailable
from andon.store.frame import Frame
from andon.store.log import deletions
from andon.store.reader import read_stream
from andon.store.segment import streams
from andon.store.shape import DECISIONS, SCHEMAS, application, decision_schema, readable_rows, table_of

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["SHIPPED", "Snapshot"]

SHIPPED = "log"
"""The consumer whose offsets say how far each stream has been shipped to the decision log."""


class Snapshot:
    """The state of the log at the moment it was made, as lazy frames; times are half-open [``since_us``, ``until_us``).

    ``read`` names files of the tables that are left out, because somebody has read them before.
    """

    def __init__(self, workspace: Workspace, read: Mapping[str, frozenset[str]] | None = None) -> None:
        self._workspace = workspace
        self._read = read or {}
        self._log = workspace.log
        shipped = _shipped(workspace)  # first of all: what lies before is in the tables by now
        found = {name: workspace.log.open(name) for name in workspace.log.tables()}
        self._handles = {name: handle for name, handle in found.items() if handle is not None}
        self.deletions = {name: deletions(handle) for name, handle in self._handles.items()}
        """How often days were deleted from each table."""
        self._tail: dict[str, list[Frame]] = {}
        for stream in streams(workspace.wal_dir):
            self._read_tail(stream, shipped.get(stream, 0))

    def _read_tail(self, stream: str, start: int) -> None:
        app = application(stream)
        reached = {name: handle.transaction_version(app) or 0 for name, handle in self._handles.items()}
        for entry in read_stream(self._workspace.wal_dir, stream, start):
            if isinstance(entry, Frame) and entry.end > reached.get(table_of(entry), 0):
                self._tail.setdefault(table_of(entry), []).append(entry)

    def contracts(self) -> list[str]:
        """The contracts (hash in hex) under which anything was decided."""
        names = {*self._handles, *self._tail}
        return sorted(name.removeprefix(DECISIONS) for name in names if name.startswith(DECISIONS))

    def table(self, name: str) -> pl.LazyFrame:
        """A table that does not depend on a contract: ``feedback``, ``reviews``, ``shadow`` or ``losses``."""
        return self._union(name, SCHEMAS[name], ())

    def decisions(self, contract: str) -> pl.LazyFrame:
        """The decisions made under a contract: the system columns, then each input under its column of the log."""
        fields, _ = self._workspace.load_contract(contract)
        return self._union(DECISIONS + contract, decision_schema(fields), fields)

    def files(self) -> dict[str, frozenset[str]]:
        """The files of each table, those left out too."""
        return {name: frozenset(handle.file_uris()) for name, handle in self._handles.items()}

    def _union(self, name: str, schema: pl.Schema, fields: Sequence[Field]) -> pl.LazyFrame:
        parts = self._files(name, schema)
        tail = self._tail.get(name, [])
        if tail or not parts:
            parts.append(readable_rows(name, tail, fields).lazy())
        return pl.concat(parts)

    def _files(self, name: str, schema: pl.Schema) -> list[pl.LazyFrame]:
        handle = self._handles.get(name)
        if handle is None:
            return []
        read = self._read.get(name)
        if not read:
            return [pl.scan_delta(handle).select(schema.names())]
        left = [uri for uri in handle.file_uris() if uri not in read]
        day = {"day": schema["day"]}
        scan = [pl.scan_parquet(left, hive_partitioning=True, hive_schema=day, glob=False)] if left else []
        return [rows.select(schema.names()) for rows in scan]


def _shipped(workspace: Workspace) -> dict[str, int]:
    """How far each stream was shipped; nothing with the database gone: the whole write-ahead log is looked at then."""
    try:
        return workspace.windows.offsets(SHIPPED)
    except Unavailable:
        return {}
