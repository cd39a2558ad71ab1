"""How far the machine's clock is believed before anything is deleted on its word.

A machine that starts with its clock a year ahead would find everything older than promised. So what was believed last is
kept, and from there the machine's time may run on as long as this process has lived, and an hour more. What is ahead of
that waits for an hour, in which a time server sets most clocks right; then it is believed if it would delete at most a
tenth of the promised days too early. What is further ahead is never believed by itself: a person says so (``confirm``).
Meanwhile time goes on from what was believed.

>>> began = Belief(1000 * DAY)
>>> believe(began, 1000 * DAY + HOUR, 0.0, 3 * DAY).ahead_us        # a short pause
0
>>> doubted = believe(began, 1365 * DAY, 0.0, 3 * DAY)
>>> doubted.ahead_us // DAY, doubted.wall_us == began.wall_us
(365, True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import DAY, HOUR, SECOND, iso, parse_time
from andon.errors import Conflict

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["Belief", "Believed", "believe", "believed_us", "confirm", "most_ahead_us"]

_KIND, _KEY = "retention", "clock"
_STEP = HOUR
_PATIENCE = 3600.0
_EARLY = 0.1


class Belief(msgspec.Struct, frozen=True):
    """The machine's time as far as it is believed (microseconds since 1970 UTC).

    ``ahead_us`` is how far the machine's clock is ahead of that, 0 where it is believed; ``waited`` for how many seconds a
    controller has lived with it so.
    """

    wall_us: int
    ahead_us: int = 0
    waited: float = 0.0


def most_ahead_us(days: int) -> int:
    """How far ahead a clock may be to be believed after an hour, where decisions are kept for ``days``: a tenth of them.

    >>> most_ahead_us(30) // DAY, most_ahead_us(1) / HOUR
    (3, 2.4)
    """
    return round(_EARLY * days * DAY)


def believe(before: Belief, wall_us: int, lived: float, most_us: int) -> Belief:
    """What is believed when the machine's clock says ``wall_us`` and this process has lived ``lived`` seconds since ``before``.

    A clock that was set back moves nothing back: what was believed once stays the measure.
    """
    expected = before.wall_us + round(lived * SECOND)
    ahead = wall_us - expected
    if ahead <= _STEP:
        return Belief(max(before.wall_us, wall_us))
    same = before.ahead_us and abs(ahead - before.ahead_us) <= _STEP
    waited = before.waited + lived if same else 0.0
    if ahead <= most_us and waited >= _PATIENCE:
        return Belief(wall_us)
    return Belief(expected, ahead, waited)


class Believed:
    """The belief of a workspace's controller, kept between its processes; ``days`` is how long decisions are kept.

    The first one believes the newest day of the log, where there is one.
    """

    def __init__(self, workspace: Workspace, days: int) -> None:
        self._workspace = workspace
        self._days = days
        self._lived = workspace.clock.monotonic()
        found = workspace.states.get(_KIND, _KEY, Belief)
        self._now = Belief(_newest(workspace)) if found is None else found[0]

    def look(self) -> Belief:
        """Look at the machine's clock again, and keep what is believed now. Raises ``Unavailable``."""
        workspace, steady = self._workspace, self._workspace.clock.monotonic()
        found = workspace.states.get(_KIND, _KEY, Belief)
        before, revision = (self._now, 0) if found is None else found
        most = most_ahead_us(self._days)
        now = believe(before, workspace.clock.wall(), steady - self._lived, most)
        if now.ahead_us > most >= before.ahead_us:
            _tell(workspace, now)
        try:
            workspace.states.put(_KIND, _KEY, now, revision)
        except Conflict:
            return self._now  # somebody confirmed it meanwhile: the next look reads that
        self._lived, self._now = steady, now
        return now

    def wall_us(self) -> int:
        """The machine's time, or what of it is believed where that is less."""
        clock = self._workspace.clock
        lived = self._now.wall_us + round((clock.monotonic() - self._lived) * SECOND)
        return min(clock.wall(), lived if self._now.ahead_us else lived + _STEP)

    def now_us(self) -> int:
        """The line's time then."""
        return _line_us(self._workspace, self.wall_us())


def believed_us(workspace: Workspace, days: int) -> tuple[int, int]:
    """(the line's time as far as it is believed, how far the clock is ahead of it without being believed by itself).

    For who looks beside a controller, or after it.
    """
    found = workspace.states.get(_KIND, _KEY, Belief)
    if found is None or not found[0].ahead_us:
        return workspace.clock.now(), 0
    now = found[0]
    return _line_us(workspace, now.wall_us), now.ahead_us if now.ahead_us > most_ahead_us(days) else 0


def confirm(workspace: Workspace, actor: str, reason: str = "") -> str:
    """A person says that the machine's clock is right; what that means, in a sentence. Raises ``Unavailable``."""
    clock = workspace.clock
    found = workspace.states.get(_KIND, _KEY, Belief)
    ahead = found[0].ahead_us if found is not None else 0
    workspace.states.put(_KIND, _KEY, Belief(clock.wall()))
    evidence = {"wall_us": clock.wall(), "ahead_us": ahead}
    workspace.journal.append("clock.confirmed", "the machine's clock", actor, reason, evidence)
    return f"noted: the machine's clock is right, it is {iso(clock.wall())}"


def _tell(workspace: Workspace, now: Belief) -> None:
    days = now.ahead_us / DAY
    reason = (
        f"it is {days:.3g} days ahead of what this line has lived through: nothing is deleted for that, "
        "until somebody says that it is right"
    )
    evidence = {"wall_us": now.wall_us + now.ahead_us, "ahead_us": now.ahead_us}
    workspace.journal.append("clock.doubted", "the machine's clock", "controller", reason, evidence)


def _newest(workspace: Workspace) -> int:
    """The machine's time at the end of the newest day of the log, or now where that is not over or there is none."""
    clock, newest = workspace.clock, workspace.log.newest_day()
    wall, rate = clock.wall(), clock.rate()
    if newest is None or not rate:
        return wall
    past = clock.now() - parse_time(newest.isoformat()) - DAY
    return wall - max(0, round(past / rate))


def _line_us(workspace: Workspace, wall_us: int) -> int:
    clock = workspace.clock
    return min(clock.now(), clock.at(wall_us))
