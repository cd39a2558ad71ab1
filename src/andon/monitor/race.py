"""How a rollout went, as it is drawn: its share and states over time, and each guardrail's evidence as a race of two lines.

Pure: from the looks that were kept (``andon.monitor.course``) and the transitions of the journal. A race is won where a
line reaches its threshold: *harm is proven* at 1/alpha of the guardrail, *safe is proven* at 1/beta. Evidence is in
natural logarithms; the number itself is its exponential: 1 is none, 20 is what chance reaches once in 20 rollouts.

>>> rollout = Rollout("v2#1", Plan("v2", "v1", ("canary", "live"), ("error",)), "canary", "canary", share=0.05)
>>> seen = Sight(60_000_000, 0.05, (40, 760), {"error": Seen(0.4, 1.9, 0.5, 1.9)})
>>> (race,) = races(rollout, [seen])
>>> [(point.time_us, point.harm, point.safe) for point in race.points], round(race.safe_at or 0, 2), race.said
([(0, 0.0, 0.0), (60000000, 0.4, 1.9)], 3.0, 'not_yet')
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from andon.deploy.rollout_proof import level_of, said_of
from andon.deploy.rollout_record import Evidence, Plan, Rollout, State, Transition
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.guardrail import Guardrail, Said

__all__ = [
    "MOST",
    "Act",
    "Band",
    "Drawn",
    "Point",
    "Race",
    "Seen",
    "Sight",
    "Step",
    "Weight",
    "actor_of",
    "bands",
    "races",
    "sighted",
    "thinned",
    "weights",
]

#: The most looks that are kept of one rollout.
MOST = 300
#: Evidence below this is drawn and told as this: it must be finite to be stored.
_LEAST = -99.0
#: A look is kept once so much of the rollout's time has gone by since the last one that was.
_PART = 150
_SHADOW = ", in the shadow"


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One guardrail at one look: both logarithms, the largest that there had been after any event, and the verdict."""

    harm: float
    safe: float
    harm_peak: float
    safe_peak: float
    said: Said = "not_yet"


class Sight(msgspec.Struct, frozen=True):
    """One look: the candidate's share then, units of (candidate, live), and each guardrail."""

    time_us: int
    share: float
    units: tuple[int, int]
    rails: dict[str, Seen]


class Step(msgspec.Struct, frozen=True):
    """One transition: from where to where, why, what was done. ``by`` is the person who caused it, if one did, by ``act``.

    ``sequence`` is its event in the journal; ``share`` is the candidate's after it.
    """

    number: int
    time_us: int
    before: State
    after: State
    reason: str
    sentence: str
    do: str
    share: float
    by: str
    act: str
    sequence: int


class Weight(msgspec.Struct, frozen=True):
    """From then on the candidate had this share of the units."""

    time_us: int
    share: float


class Band(msgspec.Struct, frozen=True):
    """It was in one state, for one reason, in [``since_us``, ``until_us``)."""

    state: State
    reason: str
    since_us: int
    until_us: int


class Act(msgspec.Struct, frozen=True):
    """What a person did to the rollout, when."""

    time_us: int
    by: str
    what: str


class Point(msgspec.Struct, frozen=True):
    """One look at one guardrail: the evidence of harm and of safe, and the units of both arms so far."""

    time_us: int
    units: int
    harm: float
    safe: float


class Race(msgspec.Struct, frozen=True):
    """One guardrail's evidence over time, to be held against ``harm_at`` and ``safe_at`` (None: no verdict of safe here).

    ``proven_us`` is the first look at which the verdict was known that it has now, ``proven_units`` the units then.
    """

    name: str
    said: Said
    harm_at: float
    safe_at: float | None
    points: tuple[Point, ...]
    proven_us: int | None = None
    proven_units: int | None = None


class Drawn(msgspec.Struct, frozen=True):
    """A rollout over time, [``since_us``, ``until_us``]; ``steps`` are the newest first, ``omitted`` older ones not read.

    ``bands``, ``weights`` and ``acts`` are the oldest first.
    """

    since_us: int
    until_us: int
    weights: tuple[Weight, ...]
    bands: tuple[Band, ...]
    acts: tuple[Act, ...]
    races: tuple[Race, ...]
    steps: tuple[Step, ...]
    omitted: int = 0


# --------------------------------------------------------------------------------------------------------- the looks


def sighted(rollout: Rollout, evidence: Evidence) -> Sight | None:
    """What a look saw; None where there was nothing to see yet."""
    plan = rollout.plan
    rails = {rail.name: _seen(rail.other or rail.guard, said_of(plan, rail)) for rail in evidence.rails}
    units = (evidence.candidate, evidence.live)
    if evidence.shadow is not None:
        part = _shadow_level(plan, len(evidence.shadow.rails))
        for guard in evidence.shadow.rails:
            said: Said = "harm" if guard.verdict(part, plan.beta) == "harm" else "not_yet"
            rails[guard.name + _SHADOW] = _seen(guard, said)
        units = (evidence.shadow.cases, evidence.shadow.cases)
    return Sight(evidence.as_of_us, rollout.share, units, rails) if rails else None


def _seen(test: Guardrail | Difference | Alone, said: Said) -> Seen:
    harm, safe = test.harm, test.safe
    logs = (harm.log_e, safe.log_e, harm.peak, safe.peak)
    now, safe_now, peak, safe_peak = (round(max(one, _LEAST), 4) for one in logs)
    return Seen(now, safe_now, peak, safe_peak, said)


def _shadow_level(plan: Plan, rails: int) -> float:
    return plan.alpha / 2 / max(1, rails)


def thinned(sights: Sequence[Sight], new: Sight) -> tuple[Sight, ...] | None:
    """The looks with one more; None where it is too close to the last one. There are never more than `MOST`.

    Where there would be, the one goes that stands closest between its neighbours: so they become even over time.

    >>> looks: tuple[Sight, ...] = ()
    >>> for second in range(0, 86_400, 3):
    ...     looks = thinned(looks, Sight(second * 1_000_000, 0.05, (0, 0), {})) or looks
    >>> len(looks), looks[0].time_us, looks[-1].time_us > 85_000_000_000
    (300, 0, True)
    >>> thinned(looks, Sight(looks[-1].time_us + 1, 0.05, (0, 0), {})) is None
    True
    """
    if sights:
        gone, whole = new.time_us - sights[-1].time_us, new.time_us - sights[0].time_us
        if gone <= 0 or gone * _PART < whole:
            return None
    found = [*sights, new]
    if len(found) > MOST:
        gaps = [found[at + 1].time_us - found[at - 1].time_us for at in range(1, len(found) - 1)]
        del found[1 + gaps.index(min(gaps))]
    return tuple(found)


def races(rollout: Rollout, sights: Iterable[Sight]) -> tuple[Race, ...]:
    """A race for each pair of the shadow that was looked at, and for each guardrail of the plan; from no evidence on."""
    plan = rollout.plan
    ordered = sorted(sights, key=lambda one: one.time_us)
    pairs = dict.fromkeys(name for one in ordered for name in one.rails if name.endswith(_SHADOW))
    part = -math.log(_shadow_level(plan, len(pairs)))
    found = [_race(name, ordered, rollout.began_us, part, None) for name in pairs]
    level = -math.log(level_of(plan))
    found += [_race(name, ordered, rollout.began_us, level, -math.log(plan.beta)) for name in plan.guardrails]
    return tuple(found)


def _race(name: str, sights: Sequence[Sight], began_us: int, harm_at: float, safe_at: float | None) -> Race:
    seen = [(one.time_us, sum(one.units), one.rails[name]) for one in sights if name in one.rails]
    points = [Point(min(began_us, seen[0][0]) if seen else began_us, 0, 0.0, 0.0)]
    points += [Point(time, units, one.harm, one.safe) for time, units, one in seen]
    said: Said = seen[-1][2].said if seen else "not_yet"
    first = None
    if said != "not_yet":
        first = next((time, units) for time, units, one in seen if one.said == said)
    return Race(name, said, harm_at, safe_at, tuple(points), *(first or ()))


# ------------------------------------------------------------------------------------------------------ the journal


def actor_of(made: Transition, evidence: Evidence) -> tuple[str, str]:
    """The person who caused a transition and what they did; empty where nobody did.

    >>> from andon.deploy.rollout_record import Standing
    >>> held = Transition(4, "canary", "hold", "canary", "human_gate", "held by ann")
    >>> actor_of(held, Evidence(Standing(9, "v1", "v2", 0.05, held=True, actor="ann", action="hold")))
    ('ann', 'hold')
    """
    word, line = evidence.word, evidence.standing
    if word is not None:
        froze = word.what == "freeze" and (made.after, made.reason) == ("frozen", "person")
        goes_on = word.what == "resume" and made.before in ("frozen", "hold") and made.reason in ("", "person")
        if froze or goes_on:
            return word.actor, word.what
    return (line.actor, line.action) if made.reason in ("person", "human_gate") else ("", "")


def weights(rollout: Rollout, steps: Sequence[Step]) -> tuple[Weight, ...]:
    """The candidate's share over time, a step for each change; ``steps`` are the oldest first."""
    found = [Weight(rollout.began_us, 0.0)] if not steps or steps[0].number == 1 else []
    for one in steps:
        if not found or found[-1].share != one.share:
            found.append(Weight(max(one.time_us, found[-1].time_us) if found else one.time_us, one.share))
    return tuple(found)


def bands(rollout: Rollout, steps: Sequence[Step], until_us: int) -> tuple[Band, ...]:
    """The states over time, one after another; ``steps`` are the oldest first."""
    places: list[tuple[State, str, int]] = []
    if not steps or steps[0].number == 1:
        places.append(("draft", "", rollout.began_us))
    for one in steps:
        if not places or places[-1][:2] != (one.after, one.reason):
            # Event time may be set back; a chart's time is not.
            places.append((one.after, one.reason, max(one.time_us, places[-1][2] if places else 0)))
    ends = [*(since for *_, since in places[1:]), until_us]
    return tuple(
        Band(state, reason, since, max(since, end)) for (state, reason, since), end in zip(places, ends, strict=True)
    )
