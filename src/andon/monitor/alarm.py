"""Alarms decide purely: gate results of closed windows go in, the next state and what to do about it come out.

::

    inactive --fail--> pending --for_windows fails in a row--> firing --pass--> recovering --resolve_after passes--> resolved
                          └--pass--> inactive                      ^--fail--┘                                           └--fail--> pending

``unsure`` and ``error`` are neither good nor bad news: they change no phase and break no row. A window's verdict may
change while its labels arrive; a verdict seen before for the same window counts once.

What an alarm owes (a notice, a fall-back) is part of its state until it is settled, so that a controller that is killed
between deciding and doing does it after all. Acting twice must therefore do no harm.

>>> from andon.measure.estimate import wilson
>>> from andon.measure.gate import Bound, gate
>>> bad = Seen(gate("error", wilson(30, 100), Bound.parse("<= 0.06")), window_us=0, rule=Rule(then="people"))
>>> state, actions = step({}, [bad], now=5)
>>> state["error"].phase, [action.what for action in actions]
('firing', ['fired', 'people'])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from andon.core.clock import DAY
from andon.core.verdict import Verdict
from andon.errors import Conflict, UsageError
from andon.measure.gate import GateResult

__all__ = [
    "LONGEST_SILENCE_US",
    "Alarm",
    "AlarmAction",
    "Phase",
    "Rule",
    "Seen",
    "What",
    "acknowledge",
    "alarm_key",
    "settle",
    "silence",
    "step",
]

LONGEST_SILENCE_US = 30 * DAY

Phase = Literal["inactive", "pending", "firing", "recovering", "resolved"]
What = Literal["fired", "resolved", "people", "rollback"]


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When to fire (``for_windows`` fails in a row), when to resolve (passes in a row), and what then besides telling."""

    for_windows: int = 1
    resolve_after: int = 1
    then: Literal["notify", "people", "rollback"] = "notify"


class Seen(msgspec.Struct, frozen=True):
    """The verdict on one window: the gate's result, the window's start, and the rule of this alarm."""

    result: GateResult
    window_us: int
    rule: Rule = Rule()


class Alarm(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one alarm. ``fails`` and ``passes`` count windows in a row; ``episode`` counts firings so far.

    ``since_us`` is when the phase began, ``fired_us`` when it last fired; ``result`` is the last verdict with its
    evidence, ``cause`` the one that it last fired for and ``cause_us`` the start of its window. ``owed`` are the actions decided and not yet settled.
    Until ``silenced_until_us`` (event time) nobody is sent a notice; it is judged and acts as ever.
    """

    key: str
    metric: str
    cohort: str = ""
    phase: Phase = "inactive"
    since_us: int = 0
    fired_us: int = 0
    fails: int = 0
    passes: int = 0
    episode: int = 0
    window_us: int | None = None
    result: GateResult | None = None
    acknowledged_by: str = ""
    acknowledged_us: int = 0
    note: str = ""
    owed: tuple[What, ...] = ()
    cause: GateResult | None = None
    cause_us: int | None = None
    silenced_until_us: int = 0
    silenced_by: str = ""

    @property
    def active(self) -> bool:
        """Whether it is firing, or recovering from that."""
        return self.phase in ("firing", "recovering")


class AlarmAction(msgspec.Struct, frozen=True):
    """Something to do: tell that it ``fired`` or was ``resolved``, hand over to ``people``, or ``rollback``."""

    what: What
    alarm: Alarm

    @property
    def result(self) -> GateResult | None:
        """The verdict that this is done for: windows judged since then may have said something else."""
        return self.alarm.result if self.what == "resolved" else self.alarm.cause or self.alarm.result

    @property
    def sentence(self) -> str:
        """That verdict in words."""
        return self.result.sentence if self.result is not None else f"{self.alarm.key} is {self.alarm.phase}"


def alarm_key(metric: str, cohort: str = "") -> str:
    """The name of an alarm: the metric, and the slice if it watches one.

    >>> alarm_key("error", "older"), alarm_key("error")
    ('error/older', 'error')
    """
    return f"{metric}/{cohort}" if cohort else metric


def step(state: Mapping[str, Alarm], seen: Sequence[Seen], now: int) -> tuple[dict[str, Alarm], list[AlarmAction]]:
    """The next state, and everything that is owed: new, or decided earlier and never settled.

    ``now`` is event time in microseconds. Alarms that nothing was seen of keep their state.
    """
    after = dict(state)
    for one in sorted(seen, key=lambda one: one.window_us):
        key = alarm_key(one.result.metric, one.result.cohort)
        alarm = after.get(key) or Alarm(key, one.result.metric, one.result.cohort)
        after[key] = _next(alarm, one, now)
    return after, [AlarmAction(what, alarm) for alarm in after.values() for what in alarm.owed]


def acknowledge(alarm: Alarm, actor: str, now: int, note: str = "") -> Alarm:
    """A person has seen it; raises ``Conflict`` when there is nothing to acknowledge.

    >>> acknowledge(Alarm("error", "error", phase="firing"), "ann", 7).acknowledged_by
    'ann'
    """
    if not alarm.active:
        raise Conflict(f"alarm {alarm.key!r} is {alarm.phase}; only one that is firing can be acknowledged")
    return msgspec.structs.replace(alarm, acknowledged_by=actor, acknowledged_us=now, note=note)


def silence(alarm: Alarm, actor: str, now: int, until_us: int) -> Alarm:
    """Send no notice of it until then; 0, or the present, ends that. Raises ``UsageError`` for more than `LONGEST_SILENCE_US`.

    >>> silence(Alarm("error", "error"), "ann", 7, 9).silenced_until_us, silence(Alarm("e", "e"), "ann", 7, 0).silenced_by
    (9, '')
    """
    if until_us - now > LONGEST_SILENCE_US:
        days = LONGEST_SILENCE_US // DAY
        raise UsageError(f"an alarm is silenced for at most {days} days at once, so that it is not forgotten")
    if until_us <= now:
        return msgspec.structs.replace(alarm, silenced_until_us=0, silenced_by="")
    return msgspec.structs.replace(alarm, silenced_until_us=until_us, silenced_by=actor)


def settle(alarm: Alarm, what: What) -> Alarm:
    """What was owed has been done.

    >>> settle(Alarm("error", "error", owed=("fired", "people")), "fired").owed
    ('people',)
    """
    return msgspec.structs.replace(alarm, owed=tuple(one for one in alarm.owed if one != what))


def _next(alarm: Alarm, seen: Seen, now: int) -> Alarm:
    verdict, last = seen.result.verdict, alarm.result
    if alarm.window_us is not None:
        same = seen.window_us == alarm.window_us and last is not None and verdict is last.verdict
        if seen.window_us < alarm.window_us or same:
            return msgspec.structs.replace(alarm, result=seen.result) if same else alarm
    alarm = msgspec.structs.replace(alarm, window_us=seen.window_us, result=seen.result)
    if verdict is Verdict.FAIL:
        return _failed(alarm, seen.rule, now)
    return _passed(alarm, seen.rule, now) if verdict is Verdict.PASS else alarm


def _failed(alarm: Alarm, rule: Rule, now: int) -> Alarm:
    alarm = msgspec.structs.replace(alarm, fails=alarm.fails + 1, passes=0)
    if alarm.active:
        return _enter(alarm, "firing", now)
    if alarm.fails < rule.for_windows:
        return _enter(alarm, "pending", now)
    owed: tuple[What, ...] = ("fired",) if rule.then == "notify" else ("fired", rule.then)
    fired = msgspec.structs.replace(
        _enter(alarm, "firing", now), fired_us=now, cause=alarm.result, cause_us=alarm.window_us
    )
    return msgspec.structs.replace(
        fired, episode=alarm.episode + 1, owed=_also(alarm.owed, owed), acknowledged_by="", note=""
    )


def _passed(alarm: Alarm, rule: Rule, now: int) -> Alarm:
    alarm = msgspec.structs.replace(alarm, fails=0, passes=alarm.passes + 1)
    if alarm.phase == "pending":
        return _enter(alarm, "inactive", now)
    if not alarm.active:
        return alarm
    if alarm.passes < rule.resolve_after:
        return _enter(alarm, "recovering", now)
    return msgspec.structs.replace(_enter(alarm, "resolved", now), owed=_also(alarm.owed, ("resolved",)))


def _enter(alarm: Alarm, phase: Phase, now: int) -> Alarm:
    return alarm if alarm.phase == phase else msgspec.structs.replace(alarm, phase=phase, since_us=now)


def _also(owed: tuple[What, ...], more: tuple[What, ...]) -> tuple[What, ...]:
    return owed + tuple(one for one in more if one not in owed)
