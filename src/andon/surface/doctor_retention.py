"""The doctor's look at retention: what is still there although the charter's ``logging.retain_days`` are over."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from andon.core.clock import DAY, HOUR, iso
from andon.deploy.shadow import rings, unread_before
from andon.errors import Corrupt, Unavailable
from andon.monitor.believed import believed_us
from andon.monitor.keeping import file_us, held_days
from andon.store.items import decided_before
from andon.store.rolling import first_us, torn_files
from andon.store.segment import segment_starts, streams
from andon.store.shape import day_of
from andon.surface.doctor_check import Case, Check, good, look, unknown
from andon.surface.station import count

if TYPE_CHECKING:
    from pathlib import Path

    from andon.store.workspace import Workspace

__all__ = ["retention"]

_GRACE = HOUR
_MOST = 100_000


def retention(case: Case) -> Check:
    """What should be gone of the log, the inbox, the streams and the rings, and what still needs it; a clock not believed."""
    workspace = case.workspace
    if workspace is None or case.charter is None:
        return unknown("retention", "the workspace cannot be opened, or the charter has faults")
    days = case.charter.checklist.logging.retain_days
    now_us, ahead_us = case.known.ask(lambda: believed_us(workspace, days)) or (workspace.clock.now(), 0)
    if ahead_us:
        return _doubted(now_us, ahead_us)
    before_us = now_us - days * DAY - _GRACE * max(1, round(workspace.clock.rate()))
    held = case.known.ask(lambda: held_days(workspace, before_us)) or frozenset()
    old, waiting = _days(workspace, before_us, held)
    items = case.known.ask(lambda: decided_before(workspace.db, before_us, _MOST)) or []
    torn = [path for path in torn_files(workspace.wal_dir) if file_us(workspace, path) < before_us]
    found = {
        "day": len(old),
        "decided review item": len(items),
        "segment": _segments(workspace, before_us - DAY),
        "torn end": len(torn),
        "unread shadow case": sum(_unread(path, before_us) for path in rings(workspace.run_dir)),
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


def _doubted(now_us: int, ahead_us: int) -> Check:
    """Nobody but a person can tell whether the line was off for so long or the clock is wrong."""
    words = (
        f"the machine's clock is {ahead_us / DAY:.3g} days ahead of what this line has lived through ({iso(now_us)})"
    )
    return look(
        "retention",
        f"{words}: nothing is deleted for that",
        "set it right; if it is right, say so: `andon doctor --confirm-clock`",
        ahead_us=ahead_us,
    )


def _unread(path: Path, before_us: int) -> int:
    try:
        return unread_before(path, before_us)
    except Unavailable:
        return 0


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
