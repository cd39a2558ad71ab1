"""Who decided lately, in numbers, and how many cases a day there are: from the windows that are stored anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.clock import DAY, HOUR

if TYPE_CHECKING:
    from andon.monitor.deciders import Decider
    from andon.surface.station import Known
    from andon.surface.visit import Visit

__all__ = ["Decided", "Part", "Tone", "decided"]

Tone = Literal["people", "machine", "candidate", "idle"]
_DAYS = 7


class Part(msgspec.Struct, frozen=True):
    """One part of a whole: who, in which colour, its ``share`` of 1 and, where something was counted, ``n`` cases."""

    name: str
    tone: Tone
    share: float
    says: str = ""
    n: int | None = None


class Decided(msgspec.Struct, frozen=True):
    """What was decided in [``since_us``, ``until_us``): ``n`` cases, ``per_day`` of them a day, by whom (``parts``).

    ``waiting`` of those of the people are not answered yet.
    """

    since_us: int
    until_us: int
    n: int
    per_day: float
    waiting: int
    parts: tuple[Part, ...]

    @property
    def says(self) -> str:
        """How many cases there are, for people."""
        amount = f"{self.per_day:,.0f}" if self.per_day >= 10 else f"{self.per_day:.2g}"
        return f"about {amount} cases a day"


def decided(visit: Visit, known: Known) -> Decided | None:
    """The last seven days with decisions, or two windows where those are longer; None where nothing is known."""
    from andon.monitor.deciders import over_time

    project = visit.project
    length, now = project.charter.monitor.window_us, visit.now_us
    reach = max(_DAYS * DAY, 2 * length)
    since_us = max(0, now - reach)
    # A preview asks twice: how many cases move, and whether people can keep up.
    found = known.once("decided", lambda: over_time(project.workspace, length, since_us=since_us))
    if not found:
        return None
    since, until = found[0].start_us, min(now, found[-1].start_us + found[-1].length_us)
    counts: dict[Decider, int] = {}
    for share in found:
        for who, n in share.counts.items():
            counts[who] = counts.get(who, 0) + n
    n = sum(counts.values())
    # A line that has run for a minute says nothing about its day.
    if n == 0 or until - since < HOUR:
        return None
    parts = tuple(_part(who, counts[who], n) for who in sorted(counts))
    waiting = sum(share.waiting for share in found)
    return Decided(since, until, n, n * DAY / (until - since), waiting, tuple(sorted(parts, key=_order)))


def _part(who: Decider, n: int, total: int) -> Part:
    if who.kind == "people":
        return Part("people", "people", n / total, n=n)
    if who.kind == "safe_default":
        return Part("the safe default", "idle", n / total, n=n)
    if who.arm == "candidate":
        return Part(f"{who.version} as candidate", "candidate", n / total, n=n)
    return Part(who.version or "a model", "machine", n / total, n=n)


def _order(part: Part) -> tuple[int, str]:
    return ("people", "machine", "candidate", "idle").index(part.tone), part.name
