"""The doctor's look at files: the charter, who may read the workspace, tokens, the clock, and room on the disk."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from andon.config import CHARTER
from andon.core.clock import DAY, MINUTE, SECOND, iso
from andon.errors import CharterError
from andon.surface.doctor_check import Case, Check, good, look, size_text, stop, unknown
from andon.surface.station import count

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["NEEDED", "charter", "clock", "disk", "files", "tokens"]

NEEDED = ("workspace.json", "key", "clock", "routes", "routes/epoch", "wal", "contracts", "bundles", "blobs")
"""What a workspace cannot be opened or used without."""

_SECRETS = ("key", "redaction-key")
_LEAST_FREE = 256_000_000
_STEP_BACK = 2 * SECOND
_YOUNG = 10 * MINUTE
_MOST = 20_000


def charter(case: Case) -> Check:
    """The charter as it is on the disk now: a line that runs was started with it as it was then."""
    from andon.scope.charter import load

    try:
        found = load(case.root / CHARTER)
    except CharterError as error:
        first = error.faults[0] if error.faults else error.message
        n = max(1, len(error.faults))
        return stop("charter", f"{CHARTER} has {count(n, 'fault')}: {first}", "`andon check` shows them all", faults=n)
    return good("charter", f"{CHARTER} is valid: project {found.project}, {count(len(found.metrics), 'metric')}")


def files(case: Case) -> Check:
    """Everything that the workspace needs is there, readable, and open to its owner only."""
    home = case.home
    if not home.is_dir():
        return stop(
            "files", f"there is no workspace in {home.name}", "`andon up` makes one; or restore it from a backup"
        )
    gone = [name for name in NEEDED if not (home / name).exists()]
    if gone:
        return stop("files", f"the workspace has no {', '.join(gone)} any more", "restore it from a backup", gone=gone)
    closed = [path.name for path in _all(home, case.deep) if not os.access(path, os.R_OK)]
    if closed:
        more = f" and {len(closed) - 3} more" if len(closed) > 3 else ""
        return stop(
            "files", f"not readable: {', '.join(closed[:3])}{more}", "see their owner and mode", closed=len(closed)
        )
    return _whose(home)


def _whose(home: Path) -> Check:
    found = home.stat()
    mode = stat.S_IMODE(found.st_mode)
    words, next_ = f"{home.name} has the mode {mode:04o}", f"`chmod 700 {home.name}`"
    if mode & stat.S_IRWXO:
        return stop(
            "files", f"{words}: every account of this machine may read what was decided", next_, mode=f"{mode:04o}"
        )
    if mode & stat.S_IRWXG:
        return look("files", f"{words}: its group may read what was decided", next_, mode=f"{mode:04o}")
    open_ = [name for name in _SECRETS if (home / name).exists() and (home / name).stat().st_mode & 0o077]
    if open_:
        return stop("files", f"{open_[0]} can be read by others", f"`chmod 600 {home.name}/{open_[0]}`")
    if found.st_uid != os.geteuid():
        whose = f"{home.name} belongs to the account {found.st_uid}, and this one is {os.geteuid()}"
        return look("files", whose, "run the line and its commands under one account")
    return good("files", f"{home.name} is whole, readable, and open to its owner only", mode=f"{mode:04o}")


def _all(home: Path, deep: bool) -> Iterator[Path]:
    """Files and folders that are read; of what there may be very many only when everything is looked at."""
    many = () if deep else (home / "log", home / "blobs")
    for folder, names, found in os.walk(home):
        here = Path(folder)
        names[:] = [name for name in names if here / name not in many]
        yield from (here / name for name in (*names, *found) if not (here / name).is_socket())


def tokens(case: Case) -> Check:
    """The token file: closed to others, readable, and with somebody in it where tokens are required."""
    from andon.people.access import Access
    from andon.store.tokens import TokenFile

    file = TokenFile(case.home)
    required = case.charter is not None and case.charter.checklist.security.tokens == "required"
    wall = case.workspace.clock.wall() if case.workspace is not None else 0
    active = [token for token in Access(file).tokens() if token.state(wall) == "active"]
    if file.path.exists() and stat.S_IMODE(file.path.stat().st_mode) & 0o077:
        return stop("tokens", "tokens.json can be read by others", f"`chmod 600 {case.home.name}/tokens.json`")
    if required and not any(token.role == "owner" for token in active):
        who = "nobody can administer this line" if active else "nobody can call this line"
        return look(
            "tokens", f"{who}: tokens are required and no owner has one", "`andon token create NAME --role owner`"
        )
    words = "required" if required else "not asked for"
    return good(
        "tokens", f"tokens are {words}; {count(len(active), 'token')} active, kept as digests", active=len(active)
    )


def clock(case: Case) -> Check:
    """The line's clock and the machine's: whether they run, and whether either was set back behind what was recorded."""
    if case.workspace is None:
        return unknown("clock", "the workspace cannot be opened")
    clock = case.workspace.clock
    rate, now, wall = clock.rate(), clock.now(), clock.wall()
    newest = case.known.ask(lambda: case.workspace.journal.latest(1) if case.workspace else []) or []
    route = case.workspace.routes.current()
    walls = [*(event.wall_us for event in newest), *([route.wall_us] if route is not None else [])]
    behind = max(walls, default=0) - wall
    facts = {"now": iso(now), "machine": iso(wall), "rate": rate, "apart_seconds": round((now - wall) / SECOND, 3)}
    if behind > _STEP_BACK:
        words = f"the machine's clock is {behind // SECOND:,} s behind what was recorded last"
        return stop("clock", f"{words}: leases and tokens end at the wrong time", "set it right (NTP)", **facts)
    ahead = max((event.time_us for event in newest), default=0) - now
    if ahead > _STEP_BACK:
        words = f"the line's clock is {ahead // SECOND:,} s behind its last event: it was set back"
        return look(
            "clock", words, "deadlines and windows of that time come again; set it on if that was not meant", **facts
        )
    if rate == 0:
        words = f"the line's clock stands still at {iso(now)[:16].replace('T', ' ')}"
        next_ = "`andon.open(PATH).clock.set(rate=1.0)` in Python lets it go on"
        return look("clock", f"{words}: no deadline passes, no window ends", next_, **facts)
    if rate != 1:
        return good("clock", f"the line's clock runs {rate:g} times as fast as the machine's", **facts)
    apart = now - wall
    if abs(apart) < SECOND:
        return good("clock", "the line's clock is the machine's", **facts)
    way = "ahead of" if apart > 0 else "behind"
    return good("clock", f"the line's clock runs at the machine's pace, {_span(abs(apart))} {way} it", **facts)


def disk(case: Case) -> Check:
    """Free room against what a day writes: the logs and blobs changed within a day, and the database by its age."""
    if case.workspace is None:
        return unknown("disk", "the workspace cannot be opened")
    usage = shutil.disk_usage(case.home)
    share, room = usage.free / usage.total, f"{size_text(usage.free)} free"
    daily = _daily(case.workspace)
    facts = {"free_bytes": usage.free, "total_bytes": usage.total, "bytes_a_day": daily}
    next_ = "free some space, or keep fewer days (`logging: {retain_days: ...}`)"
    if usage.free < _LEAST_FREE or (daily is not None and usage.free < daily):
        return stop("disk", f"{room}: it is full within a day", next_, **facts)
    if daily is None:
        return good("disk", f"{room}; the line is too young to say what a day writes", **facts)
    days = usage.free / max(daily, 1)
    words = f"{room}; a day writes about {size_text(daily)}"
    if days < 14 or share < 0.03:
        return look(
            "disk",
            f"{words}: {days:.0f} days are left" if days < 14 else f"{words}; {share:.0%} is left",
            next_,
            **facts,
        )
    return good("disk", f"{words}: enough for {'years' if days > 1000 else f'{days:.0f} days'}", **facts)


class _Marker(msgspec.Struct):
    created_wall_us: int


def _daily(workspace: Workspace) -> int | None:
    """Bytes that a day writes, by what this line wrote within one; None for a line that is too young to tell."""
    from andon.store.extent import written

    made = msgspec.json.decode((workspace.home / "workspace.json").read_bytes(), type=_Marker).created_wall_us
    wall = workspace.clock.wall()
    age = wall - made
    if age < _YOUNG:
        return None
    database = workspace.home / "andon.db"
    grown = database.stat().st_size * DAY / age if workspace.db.sqlite and database.exists() else 0
    return round(written(workspace, wall - DAY, _MOST) * DAY / min(age, DAY) + grown)


def _span(us: int) -> str:
    days, rest = divmod(us // SECOND, 86_400)
    return count(days, "day") if days else f"{rest:,} s"
