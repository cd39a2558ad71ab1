"""Degrees of automation that are earned: one rung for each slice, decided purely from what is known of it.

A slice stands on one level of the charter's ``automation.path``. Evidence suggests the next one up, and a breach of the
promise takes it down at once: ``decide`` says which, and why, in a sentence. It never goes up two levels at once, never
without evidence, and never loosens a threshold so that people have less to do. What a person lowered, no machine raises.

>>> from andon.measure.audit import audited
>>> rules = Rules()
>>> bad = audited([True] * 30 + [False] * 70, [0.1] * 100, rules.max_error)
>>> rung = decide(rules, Facts("older", "full", "v1", audit=bad))
>>> rung.kind, rung.to, rung.why
('demote', 'assist', 'breach')
>>> decide(rules, Facts("older", "shadow", "v1")).why      # nothing is known yet
'labels'
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from andon.core.record import Level
from andon.deploy.automation import LEVELS, Threshold
from andon.deploy.ladder_room import ROOM, Capacity, room_for
from andon.deploy.ladder_words import (
    broken,
    count_as,
    err_less,
    err_themselves,
    interval,
    no_model,
    nobody_judged,
    seen_by,
    too_few,
    too_much,
    were_wrong,
)
from andon.measure.audit import Audited, cases_needed
from andon.measure.estimate import Estimate, undefined

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = [
    "ROOM",
    "Capacity",
    "Facts",
    "Rules",
    "Rung",
    "Why",
    "better",
    "decide",
    "fewest",
    "lower",
    "next_up",
    "room_for",
    "rules_of",
]

Why = Literal[
    "breach", "top", "release", "labels", "evidence", "capacity", "only", "people", "watch", "earned", "unjudged"
]
"""Why a slice stays, rises or falls: ``breach`` (more errors than promised), ``top`` (no level above), ``release`` (no
version), ``labels`` (too few cases to tell), ``evidence`` (not shown yet), ``capacity`` (people could not decide the rest),
``only`` (the charter allows no more labels), ``people`` (they err less), ``watch`` (a shadow costs nothing), ``earned``, ``unjudged`` (too many answers that nobody judged, or could judge
without having seen them)."""


class Rules(msgspec.Struct, frozen=True):
    """What the charter says of automation. ``delta`` is the chance to err; ``limited``: only some labels may be automatic;
    ``seen``: at level partial people see the model's answer and theirs is the truth, so it shows nothing.
    """

    path: tuple[Level, ...] = LEVELS
    max_error: float = 0.02
    delta: float = 0.05
    promote: Literal["suggest", "automatic"] = "suggest"
    highest: Level = "partial"
    limited: bool = False
    seen: bool = False
    truth: Literal["external", "human"] = "external"
    reviewers_per_hour: float | None = None


class Facts(msgspec.Struct, frozen=True):
    """What is known of one slice.

    ``version`` answers or, in the shadow, would (None: there is none). ``audit`` is of the automatic answers since the
    level, version or threshold last changed, for which ``drawn`` were drawn and ``overdue`` of these should have been judged long ago, ``whole`` of all answers of the model since
    then, those included that went to people. ``learnt`` is the last threshold looked for, from the labels that ``source`` names, ``fallback`` one found among the audited cases. ``labels`` are
    the cases with a known truth, ``per_hour`` how many more come. ``human`` and ``model`` are the error rates of both on
    the same cases. ``rises`` counts how often this slice and version was measured at level partial before; ``cap`` is the
    level that the charter gives to this slice by name; the controller looks at ``look_at`` labels (0: as many as can show anything). ``lowered_by`` is the person
    who last lowered it; ``busy`` says why nothing may rise now.
    """

    slice: str
    level: Level
    version: str | None = None
    audit: Audited | None = None
    drawn: int = 0
    overdue: int = 0
    whole: Audited | None = None
    threshold: float | None = None
    coverage: float | None = None
    learnt: Threshold | None = None
    source: str = ""
    fallback: Threshold | None = None
    labels: int = 0
    per_hour: float = 0.0
    capacity: Capacity = Capacity()
    human: Estimate | None = None
    model: Estimate | None = None
    rises: int = 0
    cap: Level | None = None
    look_at: int = 0
    lowered_by: str = ""
    busy: str = ""


class Rung(msgspec.Struct, frozen=True):
    """Where a slice stands, where it goes, and why: ``reason`` is the sentence, ``why`` its word.

    ``to`` is the next level (None: it stays). A ``promote`` is a suggestion unless ``automatic``; ``held`` says then why
    only a person may do it. ``threshold`` and ``coverage`` (share of the cases) are those in force at level partial, else
    what was learnt. ``error`` is that of the automatic answers; it must be at most ``max_error``. ``evidence`` of a breach
    demotes from ``breach_at`` on (natural logarithms of e-values). ``drawn`` answers were drawn into the audit since,
    ``overdue`` of these should have been judged long ago.
    ``labels`` are the cases with a known truth that the next step is decided from (at partial and full the answers judged
    since it is as it is); ``labels_needed`` is how many in all would be enough, after about ``eta_hours``.
    """

    slice: str
    level: Level
    to: Level | None
    kind: Literal["stay", "promote", "demote"]
    why: Why
    reason: str
    threshold: float | None
    coverage: float | None
    error: Estimate
    max_error: float
    human_error: Estimate | None
    model_error: Estimate | None
    capacity: Capacity
    labels: int = 0
    labels_needed: int | None = None
    eta_hours: float | None = None
    automatic: bool = False
    held: str = ""
    version: str | None = None
    evidence: float = 0.0
    breach_at: float = 0.0
    drawn: int = 0
    overdue: int = 0


def rules_of(charter: Charter) -> Rules:
    """The rules of a charter."""
    automation, partial = charter.automation, charter.automation.partial
    return Rules(
        path=automation.path,
        max_error=partial.max_error,
        delta=1 - partial.confidence,
        promote=automation.promote,
        highest=automation.highest,
        limited=partial.only is not None and set(partial.only) < set(charter.target.classes),
        truth=charter.target.truth,
        seen=charter.target.truth == "human" and not partial.blind,
        reviewers_per_hour=charter.review.reviewers_per_hour,
    )


def fewest(max_error: float, delta: float) -> int:
    """How many labels could show anything at a first look, none of the answers being wrong.

    >>> fewest(0.02, 0.05)
    183
    """
    return math.ceil(math.log(delta / 2) / math.log1p(-max_error))


def next_up(path: tuple[Level, ...], level: Level) -> Level | None:
    """The next level of the path above this one.

    >>> next_up(("human", "shadow", "partial"), "shadow"), next_up(("human", "shadow"), "assist")
    ('partial', None)
    """
    return next((one for one in path if LEVELS.index(one) > LEVELS.index(level)), None)


def lower(path: tuple[Level, ...]) -> Level:
    """Where people decide again: the highest level of the path at which no answer is automatic.

    >>> lower(LEVELS), lower(("shadow", "partial", "full")), lower(("partial", "full"))
    ('assist', 'shadow', 'shadow')
    """
    found = [one for one in path if one in ("shadow", "assist")]
    return found[-1] if found else "shadow"


def better(human: Estimate | None, model: Estimate | None) -> Literal["people", "model", ""]:
    """Who errs less on the same cases; empty where the intervals do not tell.

    >>> from andon.measure.estimate import wilson
    >>> better(wilson(5, 500), wilson(40, 500)), better(wilson(5, 50), wilson(6, 50)), better(None, None)
    ('people', '', '')
    """
    if human is None or model is None or None in (human.low, human.high, model.low, model.high):
        return ""
    assert human.low is not None and human.high is not None and model.low is not None and model.high is not None
    return "people" if human.high < model.low else "model" if model.high < human.low else ""


def decide(rules: Rules, facts: Facts) -> Rung:
    """The rung of one slice. A breach comes before everything else, whoever set the level."""
    audit = facts.audit
    if facts.level in ("partial", "full") and audit is not None and audit.breached(rules.delta):
        return _down(rules, facts, audit)
    up = next_up(rules.path, facts.level)
    if up is None:
        return _stay(rules, facts, "top", f"{facts.level} is the highest level of automation.path")
    if facts.version is None:
        return _stay(rules, facts, "release", no_model(up))
    rung = {"shadow": _shadow, "full": _full}.get(up, _partial)(rules, facts, up)
    return _by_whom(rules, facts, rung) if rung.kind == "promote" else rung


def _by_whom(rules: Rules, facts: Facts, rung: Rung) -> Rung:
    """Whether the machine may do it by itself."""
    assert rung.to is not None
    held = ""
    if rules.promote != "automatic":
        held = "the charter leaves it to people (automation.promote)"
    elif LEVELS.index(rung.to) > LEVELS.index(rules.highest):
        held = f"above {rules.highest} it is for people to decide (automation.highest)"
    elif facts.cap is not None and LEVELS.index(rung.to) > LEVELS.index(facts.cap):
        held = (
            f"the charter gives {facts.slice} level {facts.cap} (automation.slices); above it is for people to decide"
        )
    elif rules.truth == "human" and rung.to in ("partial", "full") and (said := err_themselves(rules, facts.human)):
        held = said
    elif facts.lowered_by:
        held = f"{facts.lowered_by} lowered it; only a person raises it again"
    elif facts.busy:
        held = facts.busy
    return replace(rung, automatic=not held, held=held)


def _rung(rules: Rules, facts: Facts) -> Rung:
    audit, learnt = facts.audit, facts.learnt
    error = undefined("no automatic answer was audited yet") if audit is None else audit.error
    if facts.drawn and not error.n:
        error = undefined(f"of {facts.drawn} automatic answers drawn into the audit nobody said yet what is right")
    if facts.level not in ("partial", "full"):
        error = undefined(f"nothing is automatic at level {facts.level}")
    partial = facts.level == "partial" or learnt is None
    return Rung(
        slice=facts.slice,
        level=facts.level,
        to=None,
        kind="stay",
        why="top",
        reason="",
        threshold=facts.threshold if partial or learnt is None else learnt.value,
        coverage=facts.coverage if partial or learnt is None else learnt.coverage,
        error=error,
        max_error=rules.max_error,
        human_error=facts.human,
        model_error=facts.model,
        capacity=facts.capacity,
        labels=_counted(facts),
        version=facts.version,
        evidence=0.0 if audit is None else audit.log_breach,
        breach_at=-math.log(rules.delta),
        drawn=facts.drawn,
        overdue=facts.overdue,
    )


def _counted(facts: Facts) -> int:
    """The cases with a known truth that the next step is decided from; where answers are automatic, those judged since."""
    if facts.level not in ("partial", "full"):
        return facts.labels
    judged = facts.audit if facts.whole is None else facts.whole
    return 0 if judged is None else judged.n


def _stay(rules: Rules, facts: Facts, why: Why, reason: str, needed: int | None = None) -> Rung:
    if facts.overdue and facts.level in ("partial", "full"):
        reason += f"; {nobody_judged(facts)}"
    rung = replace(_rung(rules, facts), why=why, reason=reason, labels_needed=needed)
    if needed is None or facts.per_hour <= 0:
        return rung
    return replace(rung, eta_hours=max(0.0, (needed - rung.labels) / facts.per_hour))


def _up(rules: Rules, facts: Facts, to: Level, why: Why, reason: str) -> Rung:
    return replace(_rung(rules, facts), to=to, kind="promote", why=why, reason=reason)


def _down(rules: Rules, facts: Facts, audit: Audited) -> Rung:
    """One step down: to the answers that still keep the promise, else to people."""
    said = broken(rules, audit.error)
    again = facts.fallback
    rung = replace(_rung(rules, facts), kind="demote", why="breach")
    if facts.level == "full" and "partial" in rules.path and again is not None and again.value is not None:
        goes_on = f"from a confidence of {again.value:.4g} on it keeps the promise ({seen_by(rules, again.reason)})"
        return replace(rung, to="partial", threshold=again.value, coverage=again.coverage, reason=f"{said}; {goes_on}")
    return replace(rung, to=lower(rules.path), reason=f"{said}; people decide again")


def _shadow(rules: Rules, facts: Facts, up: Level) -> Rung:
    return _up(rules, facts, up, "watch", f"in the shadow {facts.version} can be watched: people decide as before")


def _partial(rules: Rules, facts: Facts, up: Level) -> Rung:
    """Assist and partial: part of the answers must be shown to be right as often as promised."""
    learnt = facts.learnt
    if learnt is None:
        least = facts.look_at or fewest(rules.max_error, rules.delta)
        return _stay(rules, facts, "labels", too_few(rules, facts, least), least)
    if learnt.value is None:
        return _stay(rules, facts, "labels", seen_by(rules, learnt.reason), learnt.labels_needed)
    said = seen_by(rules, learnt.reason)
    shown = f"from a confidence of {learnt.value:.4g} on, {learnt.coverage * 100:.3g} % of the cases, {said}"
    shown += f" ({facts.source})" if facts.source else ""
    room, left = facts.capacity, 1 - learnt.coverage
    if up == "partial" and room.short(left):
        shown += f"; {too_much(rules, room, left, ROOM)}"
        if room.adds(left):
            return _stay(rules, facts, "capacity", shown)
        shown += ", and no fewer are left to them as it is"
    return _up(rules, facts, up, "earned", shown)


def _full(rules: Rules, facts: Facts, up: Level) -> Rung:
    """Full: all answers of the model together must keep the promise, those too that people decide now."""
    if rules.limited:
        said = "full would decide the labels too that automation.partial.only leaves to people"
        return _stay(rules, facts, "only", said)
    if rules.seen:
        said = "people see the model's answer at level partial (automation.partial.blind) and theirs is the truth: it shows nothing"
        return _stay(rules, facts, "unjudged", said)
    if better(facts.human, facts.model) == "people":
        assert facts.human is not None and facts.model is not None
        return _stay(rules, facts, "people", err_less(rules, facts.human, facts.model))
    # The j-th time that a slice rises spends its part of the chance to err (as looks do).
    turn = facts.rises + 1
    alpha, whole = rules.delta / (turn * (turn + 1)), facts.whole
    if whole is None or not whole.n:
        said = "no answer of the model was judged yet at this level"
        return _stay(rules, facts, "labels", said, fewest(rules.max_error, rules.delta))
    seen = f"of {whole.n:,} of its answers whose truth is known, {interval(whole.error)} {were_wrong(rules)}"
    if whole.missing:
        seen += f", and {whole.missing:,} that nobody judged yet count as {count_as(rules)}"
    if whole.kept(alpha):
        return _up(
            rules, facts, up, "earned", f"{seen}: at most {rules.max_error:.4g} of all with {1 - alpha:.4g} confidence"
        )
    not_yet = f"{seen}: that does not show at most {rules.max_error:.4g} yet"
    if whole.worth == 0:
        return _stay(
            rules, facts, "unjudged", f"{seen}; no automatic answer is audited (automation.partial.audit_share)"
        )
    if whole.missing > rules.max_error * (whole.n + whole.missing):
        return _stay(rules, facts, "unjudged", not_yet)
    return _stay(rules, facts, "evidence", not_yet, _enough(rules, whole, alpha))


def _enough(rules: Rules, whole: Audited, alpha: float) -> int | None:
    """How many judged answers would show it, if errors stay as seen."""
    worth = whole.worth or whole.n
    # As if half a wrong answer had been seen before, at half the promised error: few cases without any show nothing.
    wrong = (whole.error.value or 0.0) * worth + 0.5
    needed = cases_needed(wrong / (worth + 1 / rules.max_error), rules.max_error, alpha)
    return None if needed is None else max(math.ceil(needed * whole.n / worth), whole.n + 1)
