"""Retention: what the charter says is kept for so many days goes then, everywhere, and the journal says how much.

One round is planned, written down, done and journalled, in this order; a round that was killed is found again by its
plan and brought to the same end, counted once. Days of the decision log are deleted whole, so a row goes between
``retain_days`` and a day later. A day with a case that still waits for a person stays until that is decided. A round is
bounded; when it left something, the next one comes soon. What time it is is believed with care (``andon.monitor.believed``):
what is deleted does not come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import DAY
from andon.deploy.shadow import empty_rings
from andon.monitor.believed import Believed
from andon.store.items import decided_before, drop_decided, waiting_days
from andon.store.log import OldDays
from andon.store.rolling import torn_files
from andon.store.shape import day_of, is_decisions

if TYPE_CHECKING:
    from pathlib import Path

    from andon.store.workspace import Workspace

__all__ = ["ACTION", "Keeper", "file_us", "held_days"]

ACTION = "log.retained"
_KIND, _KEY = "retention", "round"
_ITEMS, _FILES = 2000, 500


class _Plan(msgspec.Struct):
    """What one round deletes. A table's entry is renewed right before it is deleted; ids and files stay as planned."""

    number: int
    before_us: int
    tables: dict[str, OldDays] = {}
    items: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.tables or self.items or self.files)

    def counts(self) -> dict[str, int]:
        """What is deleted, by what it is, as the journal says it."""
        found = {table: old.rows for table, old in self.tables.items()}
        found |= {"review items": len(self.items), "torn files": len(self.files)}
        return {what: n for what, n in found.items() if n}


class Keeper:
    """Holds one workspace to ``days`` (``logging.retain_days``); made by whoever leads, since nobody else may delete.

    ``believed`` is the time that it goes by.
    """

    def __init__(self, workspace: Workspace, days: int) -> None:
        self._workspace = workspace
        self._days = days
        self.believed = Believed(workspace, days)

    def turn(self) -> bool:
        """Finish what was begun, or do one round; whether there is more to delete. Raises ``Unavailable``; call it again."""
        states = self._workspace.states
        self.believed.look()
        found = states.get(_KIND, _KEY, _Plan)
        plan = self._planned() if found is None else found[0]
        if not plan.empty:
            if found is None:
                states.put(_KIND, _KEY, plan)
            self._tables(plan)
            if plan.items:
                drop_decided(self._workspace.db, plan.items)
            for name in plan.files:
                (self._workspace.wal_dir / name).unlink(missing_ok=True)
            self._tell(plan)
            states.delete(_KIND, _KEY)
        empty_rings(self._workspace, plan.before_us)
        day = day_of(plan.before_us)
        for table in self._workspace.log.tables():
            self._workspace.log.sweep(table, day)  # also what a kill left behind a deletion
        return not plan.empty

    def _planned(self) -> _Plan:
        workspace, log = self._workspace, self._workspace.log
        before_us = self.believed.now_us() - self._days * DAY
        day, held = day_of(before_us), held_days(workspace, before_us)
        olds = {table: log.old(table, day, held if _cases(table) else ()) for table in log.tables()}
        torn = [path for path in torn_files(workspace.wal_dir)[:_FILES] if file_us(workspace, path) < before_us]
        last = workspace.journal.latest(1, action=ACTION)
        return _Plan(
            (last[0].evidence.get("round", 0) if last else 0) + 1,
            before_us,
            {table: old for table, old in olds.items() if old is not None},
            tuple(decided_before(workspace.db, before_us, _ITEMS)),
            tuple(str(path.relative_to(workspace.wal_dir)) for path in torn),
        )

    def _tables(self, plan: _Plan) -> None:
        """Delete the planned days; what a table came to hold meanwhile is planned anew before it is deleted."""
        log, day = self._workspace.log, day_of(plan.before_us)
        for table, old in list(plan.tables.items()):
            held = held_days(self._workspace, plan.before_us) if _cases(table) else ()
            present: OldDays | None = old
            while present is not None and not log.dropped(table, present.number) and not log.drop(table, present):
                present = log.old(table, day, held)
                plan.tables = {**plan.tables, table: present or OldDays(old.number, (), 0)}
                self._workspace.states.put(_KIND, _KEY, plan)

    def _tell(self, plan: _Plan) -> None:
        journal = self._workspace.journal
        last = journal.latest(1, action=ACTION)
        if last and last[0].evidence.get("round") == plan.number:
            return
        gone = plan.counts()
        if not gone:
            return  # a case of that day was put before people meanwhile
        rows = sum(old.rows for old in plan.tables.values())
        told = [f"{rows} rows"] if rows else []
        told += [f"{gone[what]} of the {what}" for what in ("review items", "torn files") if what in gone]
        reason = f"decisions are kept for {self._days} days; older were {', '.join(told)}"
        journal.append("log.retained", "decision log", "controller", reason, {**gone, "round": plan.number})


def held_days(workspace: Workspace, before_us: int) -> frozenset[str]:
    """The days (ISO) before a time that stay, because a case of theirs still waits for a person."""
    return frozenset(day_of(day * DAY).isoformat() for day in waiting_days(workspace.db, before_us))


def file_us(workspace: Workspace, path: Path) -> int:
    """When a file was last written, in the line's time."""
    try:
        return workspace.clock.at(path.stat().st_mtime_ns // 1000)
    except FileNotFoundError:
        return workspace.clock.now()


def _cases(table: str) -> bool:
    """Whether what a person needs to decide is in a table."""
    return is_decisions(table) or table == "shadow"
