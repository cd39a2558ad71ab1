"""The doctor's look at the log: the streams that are written first, what waits behind them, the tables, and the sums.

What the write-ahead log, the decision log and the inbox promise one another is in `andon.store.tally`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import DAY, SECOND, iso
from andon.store.frame import Frame, Gap
from andon.store.reader import StreamReader, read_stream
from andon.store.segment import SEGMENT_HEAD_SIZE, segment_path, segment_starts, stream_end, streams
from andon.surface.doctor_check import Case, Check, good, look, size_text, stop, unknown
from andon.surface.station import count, minute

if TYPE_CHECKING:
    from andon.store.tally import Tally
    from andon.store.workspace import Workspace

__all__ = ["agreement", "backlog", "losses", "tables", "wal"]

_NOT_OPEN = "the workspace cannot be opened"
_CONSUMERS = {"log": "shipped to the decision log", "inbox": "put before people", "windows": "measured"}
_MOST_COUNTED = 32 << 20
_SLOW, _STUCK = 60.0, 600.0


def wal(case: Case) -> Check:
    """The write-ahead log: no stream rewound, no damage that nobody counted; every frame when everything is looked at."""
    if case.workspace is None:
        return unknown("wal", _NOT_OPEN)
    workspace = case.workspace
    names = streams(workspace.wal_dir)
    if not names:
        return good("wal", "nothing was written yet")
    for stream in names:
        reached = max(_reached(case, stream).values(), default=0)
        if stream_end(workspace.wal_dir / stream) < reached:
            words = f"the stream {stream} ends before a place that was read already: deleted, or restored from an old backup"
            return stop("wal", words, "put the newest folder wal back, or begin a new workspace", stream=stream)
    torn = [path for stream in names for path in (workspace.wal_dir / stream).glob("torn-*")]
    known = case.known.ask(lambda: workspace.journal.read(limit=10_000, action="log.gap"))
    counted = {event.subject: event.evidence.get("rows") for event in known or []}
    facts = {"streams": len(names), "torn": len(torn), "gaps": len(counted)}
    looked = "whole by its ends"
    if case.deep:
        gaps, frames, all_of_it = _scan(workspace, names)
        facts |= {"frames": frames, "gaps_there": len(gaps)}
        looked = f"{frames:,} frames{'' if all_of_it else ', the newest'}, each as it was written"
        if known is not None and (new := [gap for gap in gaps if _subject(gap) not in counted]):
            return _new_damage(case, new, facts)
    told = f"; {count(len(torn), 'torn end')} set aside, which nobody was told of" if torn else ""
    if counted:
        rows = [int(n) for n in counted.values() if isinstance(n, int)]
        more = "" if len(rows) == len(counted) else " and a number that is not known"
        words = f"damaged in {count(len(counted), 'place')}: {count(sum(rows), 'row')}{more} lost, all counted{told}"
        return look("wal", words, "`andon journal --action log.gap` says where; look at the disk", **facts)
    return good("wal", f"{count(len(names), 'stream')}: {looked}{told}", **facts)


def _subject(gap: Gap) -> str:
    return f"stream {gap.stream} at {gap.offset}"


def _new_damage(case: Case, gaps: list[Gap], facts: dict[str, int]) -> Check:
    """Damage that the journal does not know: the controller will count it, unless it has passed there."""
    first = gaps[0]
    lost = "an unknown number of rows" if first.rows is None else count(first.rows, "row")
    words = f"bytes {first.offset:,} to {first.end:,} of the stream {first.stream} cannot be read: {lost} damaged"
    passed = [gap for gap in gaps if gap.end <= _reached(case, gap.stream).get("inbox", 0)]
    if passed:
        next_ = "what was read before that is in the decision log (`andon doctor --log` counts it); look at the disk"
        return stop("wal", f"{words} after they were read", next_, **facts)
    return stop(
        "wal",
        f"{words}, and not counted yet",
        "the controller counts it as lost when it comes there; look at the disk",
        **facts,
    )


def _reached(case: Case, stream: str) -> dict[str, int]:
    """How far each consumer has read a stream; nothing with the database gone."""
    found = {name: _offsets(case, name) for name in _CONSUMERS}
    return {name: offsets.get(stream, 0) for name, offsets in found.items() if offsets is not None}


def _offsets(case: Case, consumer: str) -> dict[str, int] | None:
    """How far a consumer has read, by stream; None with the database gone."""
    assert case.workspace is not None
    return case.known.once(("offsets", consumer), partial(case.workspace.windows.offsets, consumer))


def _scan(workspace: Workspace, names: list[str]) -> tuple[list[Gap], int, bool]:
    """(damage, sound frames, whether all of it was read)."""
    from andon.store.tally import newest

    gaps, frames, whole = list[Gap](), 0, True
    for stream in names:
        start, all_of_it = newest(workspace, stream)
        whole &= all_of_it
        for entry in read_stream(workspace.wal_dir, stream, start):
            if isinstance(entry, Gap):
                gaps.append(entry)
            else:
                frames += 1
    return gaps, frames, whole


def losses(case: Case) -> Check:
    """What was lost and counted: dropped by the shadow, refused by a full disk, damaged; all of it when asked for."""
    from andon.store.view import losses as counted

    if case.workspace is None:
        return unknown("losses", _NOT_OPEN)
    if not case.known.ask(lambda: True):
        return unknown("losses", case.known.why)
    workspace = case.workspace
    if "losses" not in workspace.log.tables():
        return good("losses", "no loss was ever counted")
    rows = counted(workspace)
    sums: dict[str, int] = {}
    for what, n in rows.select("what", "n").iter_rows():
        sums[what] = sums.get(what, 0) + (n or 0)
    told = ", ".join(f"{what} {n:,}" for what, n in sorted(sums.items()))
    newest = rows["time_us"].max()
    since = workspace.clock.now() - newest if isinstance(newest, int) else 0
    if not rows.height:
        return good("losses", "no loss was ever counted")
    words = f"{count(sum(sums.values()), 'row')} counted as lost: {told}; the last at {iso(int(newest or 0))[:16]}"  # type: ignore[arg-type]
    if since < DAY:
        return look("losses", words, "a full shadow ring drops; a full disk refuses: see run/*.log", **sums)
    return good("losses", words, **sums)


def backlog(case: Case) -> Check:
    """What waits behind the write-ahead log: bytes, rows, and for how long."""
    from andon.monitor.controller import LEASE

    if case.workspace is None:
        return unknown("backlog", _NOT_OPEN)
    workspace, waits = case.workspace, dict[str, int]()
    names = streams(workspace.wal_dir)
    for consumer in _CONSUMERS:
        offsets = _offsets(case, consumer)
        if offsets is None:
            return unknown("backlog", case.known.why)
        waits[consumer] = sum(_behind(workspace, stream, offsets.get(stream, 0)) for stream in names)
    worst = max(waits, key=lambda name: waits[name])
    rows, oldest = _waiting(workspace, _offsets(case, worst) or {}, names)
    rate = workspace.clock.rate()
    seconds = None if oldest is None or rate == 0 else max(0.0, (workspace.clock.now() - oldest) / SECOND / rate)
    facts = {"bytes": waits, "rows": rows, "seconds": seconds}
    if not waits[worst] or rows == 0:
        return good("backlog", "everything that was written is shipped, measured and put before people", **facts)
    n = size_text(waits[worst]) if rows is None else f"{count(rows, 'row')} ({size_text(waits[worst])})"
    words = f"{n} wait to be {_CONSUMERS[worst]}" + ("" if seconds is None else f", the oldest for {seconds:,.0f} s")
    leads = case.known.ask(lambda: workspace.leases.holder(LEASE)) is not None
    if not leads:
        return look(
            "backlog", f"{words}; no controller leads", "`andon up` takes them in; nothing of it is lost", **facts
        )
    if seconds is None or seconds < _SLOW:
        return good("backlog", words, **facts)
    made = look if seconds < _STUCK else stop
    return made(
        "backlog", f"{words}: the controller does not keep up", "run/controller.log in the workspace says why", **facts
    )


def _behind(workspace: Workspace, stream: str, offset: int) -> int:
    """Bytes of frames behind an offset; offsets jump where the machine was booted."""
    folder, size = workspace.wal_dir / stream, 0
    for start in segment_starts(folder):
        end = start + segment_path(folder, start).stat().st_size
        size += max(0, end - max(offset, start + SEGMENT_HEAD_SIZE))
    return size


def _waiting(workspace: Workspace, offsets: dict[str, int], names: list[str]) -> tuple[int | None, int | None]:
    """(rows behind these offsets or None where they are too many to count, event time of the oldest one)."""
    rows, oldest, read = 0, None, 0
    for stream in names:
        reader = StreamReader(workspace.wal_dir, stream, offsets.get(stream, 0))
        while entries := reader.poll(1 << 20):
            for entry in entries:
                read += entry.end - entry.offset
                if isinstance(entry, Frame):
                    rows += entry.count
                    oldest = entry.time_us if oldest is None else min(oldest, entry.time_us)
            if read > _MOST_COUNTED:
                return None, oldest
    return rows, oldest


def tables(case: Case) -> Check:
    """The decision log: every table opens, every file that it names is there; read through when everything is looked at."""
    from andon.store.extent import readable, table_files

    if case.workspace is None:
        return unknown("tables", _NOT_OPEN)
    log = case.workspace.log
    found = [table_files(log, table) for table in log.tables()]
    rows = {one.table: one.rows for one in found}
    for one in found:
        if one.faulty:
            words = (
                f"{one.table}: {one.faulty} of {count(one.files, 'file')} gone or of another size, first {one.gone[0]}"
            )
            return stop("tables", words, "restore the folder log from a backup", rows=rows)
    if not found:
        return good("tables", "nothing was shipped to the decision log yet")
    for one in found if case.deep else ():
        read = readable(log, one.table)
        if read < one.rows:
            words = f"{one.table}: expected {one.rows:,} rows, read {read:,}"
            return stop("tables", words, "restore the folder log from a backup", rows=rows)
    how = "read through" if case.deep else "every file is there"
    total, files = sum(rows.values()), sum(one.files for one in found)
    return good("tables", f"{count(len(found), 'table')}, {files:,} files, {total:,} rows: {how}", rows=rows)


def agreement(case: Case) -> Check:
    """Whether the write-ahead log, the decision log and the inbox agree, row by row and by id."""
    from andon.store.tally import tally

    if case.workspace is None:
        return unknown("agreement", _NOT_OPEN)
    if case.known.trouble:
        return unknown("agreement", case.known.trouble)
    keep = 3600.0 if case.charter is None else case.charter.gateway.idempotency_seconds
    found = tally(case.workspace, remembered_us=round(keep * SECOND))
    if found.since_us is None or found.until_us is None:
        return good("agreement", "nothing was written yet")
    since, until = (minute(time) for time in (found.since_us, found.until_us))
    part = f"{since} to {until}" + ("" if found.whole else ", the newest of the write-ahead log")
    facts = {"since": iso(found.since_us), "until": iso(found.until_us), **msgspec.to_builtins(found)}
    if wrong := _wrong(found):
        return stop("agreement", f"{wrong[0]} ({part})", wrong[1], **facts)
    rows = sum(one.rows for one in found.tables)
    waits = f", {found.waiting:,} not shipped yet" if found.waiting else ""
    asked = "" if found.unasked is None else f"; {count(found.pending, 'pending case')}, each with an item or a review"
    words = f"{count(rows, 'row')} of the write-ahead log, each in the decision log once{waits}{asked}"
    if found.shed:
        span = " to ".join(
            iso(time)[:19].replace("T", " ")
            for time in (min(one.since_us for one in found.shed), max(one.until_us for one in found.shed))
        )
        missing = f"{count(sum(one.rows for one in found.shed), 'answer')} in no log ({span}, logging.pressure: shed)"
        return look(
            "agreement", f"{words}; {missing} ({part})", "`andon journal --action log.shed` says where", **facts
        )
    return good("agreement", f"{words} ({part})", **facts)


def _wrong(found: Tally) -> tuple[str, str] | None:
    """What does not add up, and what to do next."""
    for one in found.tables:
        parts = [f"{n:,} {how}" for n, how in ((one.missing, "missing"), (one.twice, "there twice")) if n]
        if parts:
            words = f"{one.table}: of {count(one.rows, 'row')} that were shipped {' and '.join(parts)}"
            next_ = "keep the workspace as it is, and restore the folder log from a backup"
            return (f"{words}, such as {', '.join(one.ids)}" if any(one.ids) else words), next_
    if found.repeated:
        next_ = "`andon journal --decision ID` shows both; do two lines share one workspace?"
        return f"decided twice under one id: {', '.join(found.repeated)}", next_
    if found.unasked:
        words = f"{count(found.unasked, 'pending case')} with neither an item nor a review, such as"
        next_ = "was the database edited, or restored in part? Restore it whole: the inbox then reads on from there"
        return f"{words} {', '.join(found.unasked_ids)}", next_
    return None
