"""The doctor's look at retention: what is still there although the charter's ``logging.retain_days`` are over."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from andon.core.clock import DAY, HOUR
from andon.errors import Corrupt
from andon.monitor.keeping import file_us, held_days
from andon.store.items import decided_before
from andon.store.rolling import first_us, torn_files
from andon.store.segment import segment_starts, streams
from andon.store.shape import day_of
from andon.surface.doctor_check import Case, Check, good, look, unknown
from andon.surface.station import count

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["retention"]

_GRACE = HOUR
_MOST = 100_000


def retention(case: Case) -> Check:
    """Days of the log, decided review items, segments and torn ends that should be gone, and what still needs them."""
    workspace = case.workspace
    if workspace is None or case.charter is None:
        return unknown("retention", "the workspace cannot be opened, or the charter has faults")
    days = case.charter.checklist.logging.retain_days
    before_us = workspace.clock.now() - days * DAY - _GRACE * max(1, round(workspace.clock.rate()))
    held = case.known.ask(lambda: held_days(workspace, before_us)) or frozenset()
    old, waiting = _days(workspace, before_us, held)
    items = case.known.ask(lambda: decided_before(workspace.db, before_us, _MOST)) or []
    torn = [path for path in torn_files(workspace.wal_dir) if file_us(workspace, path) < before_us]
    found = {
        "day": len(old),
        "decided review item": len(items),
        "segment": _segments(workspace, before_us - DAY),
        "torn end": len(torn),
    }
    facts = {
        "retain_days": days,
        "waiting_days": waiting,
        **{f"{what.replace(' ', '_')}s": n for what, n in found.items()},
    }
    told = [count(n, what) for what, n in found.items() if n]
    since = f" (the oldest day is {old[0]})" if old else ""
    kept = (
        f"; {count(waiting, 'day')} of cases that wait for a person {'is' if waiting == 1 else 'are'} kept"
        if waiting
        else ""
    )
    if told:
        words = f"older than the {count(days, 'day')} that are promised: {', '.join(told)}{since}{kept}"
        return look("retention", words, "`andon up`: the controller deletes them; it says what is in its way", **facts)
    return good("retention", f"nothing is kept for longer than {count(days, 'day')}{kept}", **facts)


def _days(workspace: Workspace, before_us: int, held: frozenset[str]) -> tuple[list[str], int]:
    """The days whose files should be gone, and how many stay for an open case."""
    first = day_of(before_us - DAY) + timedelta(1)  # a day is deleted when all of it is older
    root = workspace.home / "log"
    found = {path.name[4:] for path in (*root.glob("*/day=*"), *root.glob("*/*/day=*")) if any(path.iterdir())}
    late = sorted(day for day in found if day < first.isoformat())
    return [day for day in late if day not in held], sum(day in held for day in late)


def _segments(workspace: Workspace, before_us: int) -> int:
    """Segments whose first frame should be gone."""
    late = 0
    for stream in streams(workspace.wal_dir):
        for start in segment_starts(workspace.wal_dir / stream):
            with suppress(Corrupt):
                began = first_us(workspace.wal_dir, stream, start)
                if began is None or began >= before_us:
                    break
                late += 1
    return late
