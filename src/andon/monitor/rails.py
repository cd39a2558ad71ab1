"""Guardrails of a rollout from the units of the log: each counts once, in the order in which it became known how it went.

Events of two arms are counted; means, and a release that is held against its goals alone, take each unit's first case with
what it gave. Evidence is looked at after every unit, whenever one happens to look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec
import polars as pl

from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import Plan, Rail
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.detect import walk_on
from andon.measure.evidence import Counts
from andon.measure.figure import Figure
from andon.measure.guardrail import Guardrail
from andon.monitor.cases import Look
from andon.monitor.firsts import Firsts, Tallied, firsts

__all__ = ["Events", "event_rail", "events", "firsts", "guard_of", "pairs", "sample", "value_rail", "values"]

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Path:
    """How far one e-process has come: the logarithm of each part, and the largest of all so far."""

    logs: tuple[float, ...]
    peak: float = 0.0

    def on(self, test: Counts, units: pl.DataFrame) -> _Path:
        """After these units."""
        if not units.height:
            return self
        walked, logs = walk_on(test, units["mine"].to_numpy(), units["rho"].to_numpy(), self.logs)
        return _Path(logs, max(self.peak, float(walked.max())))


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a guardrail so far: how many of each arm by the probability of the draw, and how far both tests came."""

    begun: Guardrail
    harm: _Path
    safe: _Path
    counts: dict[float, _Pair] = field(default_factory=dict)

    def on(self, units: pl.DataFrame) -> Events:
        """After these units with an event."""
        found = dict(self.counts)
        by_rho = units.group_by("rho").agg(mine=pl.col("mine").sum(), n=pl.len())
        for rho, mine, n in by_rho.iter_rows():
            had = found.get(rho, (0, 0))
            found[rho] = had[0] + int(mine), had[1] + int(n - mine)
        begun = self.begun
        return Events(begun, self.harm.on(begun.harm, units), self.safe.on(begun.safe, units), found)

    @property
    def guard(self) -> Guardrail:
        """The guardrail after them."""
        made = self.begun
        for rho in sorted(self.counts):
            made = made.add(*self.counts[rho], rho)
        if not self.counts:
            return made
        harm, safe = (msgspec.structs.replace(test, peak=path.peak) for test, path in self._tests(made))
        return msgspec.structs.replace(made, harm=harm, safe=safe)

    def _tests(self, made: Guardrail) -> tuple[tuple[Counts, _Path], ...]:
        return (made.harm, self.harm), (made.safe, self.safe)


def events(name: str, plan: Plan) -> Firsts[Events]:
    """The units with an event of a guardrail, none yet."""
    begun = Guardrail.begin(name, plan.margin)
    harm, safe = (_Path((0.0,) * len(test.ratios)) for test in (begun.harm, begun.safe))
    return Firsts(Events(begun, harm, safe), Events.on)


def guard_of(name: str, plan: Plan, cases: pl.DataFrame) -> Guardrail:
    """The guardrail after the first of these cases with an event of each unit, each with its ``known_us``, ``mine`` and ``rho``."""
    made = events(name, plan)
    cases = cases.with_columns(value=pl.lit(True), chance=pl.lit(1.0))
    made.swap(cases.clear(), cases)
    return made.now.evidence.guard


def values(name: str, plan: Plan, look: Look) -> Firsts[Difference | Alone]:
    """The units of a guardrail on values, none yet: against a goal, or the other arm's mean."""
    worse: Literal["higher", "lower"] = look.worse if isinstance(look, Figure) else "higher"
    low, high = (look.low, look.high) if isinstance(look, Figure) else (0.0, 1.0)
    alpha = min(level_of(plan) + plan.beta, 0.5)
    if name in plan.limits:
        return Firsts(Alone.begin(plan.limits[name], low, high, worse=worse, alpha=alpha), _alone_on)
    return Firsts(Difference.begin(low, high, plan.margins[name], worse=worse, alpha=alpha), _difference_on)


def _alone_on(before: Difference | Alone, units: pl.DataFrame) -> Difference | Alone:
    assert isinstance(before, Alone)
    return before.many(units.filter("mine")["value"].to_numpy())


def _difference_on(before: Difference | Alone, units: pl.DataFrame) -> Difference | Alone:
    assert isinstance(before, Difference)
    return before.many(*(units[column].to_numpy() for column in ("mine", "rho", "value")))


def event_rail(
    name: str,
    seen: Firsts[Events],
    units: _Pair,
    requests: tuple[_Pair, _Pair],
    ripe: tuple[Firsts[Events], _Pair] | None = None,
) -> Rail:
    """A guardrail on events; ``ripe`` are those of a late one whose labels had time to come, with their units.

    ``requests`` are (with the event, in all) of the candidate and of the live version.
    """
    made = Rail(name, seen.now.evidence.guard, units, requests=requests)
    if ripe is None:
        return made
    return msgspec.structs.replace(made, late=True, matured=ripe[0].now.evidence.guard, matured_units=ripe[1])


def value_rail(
    name: str,
    plan: Plan,
    known: Firsts[Difference | Alone],
    ripe: Firsts[Difference | Alone] | None = None,
    hoped: Firsts[Difference | Alone] | None = None,
) -> Rail:
    """A guardrail on values; ``ripe`` are those cases of a late one whose labels had time to come.

    Against a goal ``hoped`` has every unit, what may still become known of it taken for the best: what shows harm even so is harm,
    as each factor of its wealth is at most the one that will be known.
    """
    evidence = known.now.evidence
    if hoped is not None:
        evidence = msgspec.structs.replace(evidence, harm=hoped.now.evidence.harm)
    made = Rail(name, Guardrail.begin(name, plan.margin), known.now.arms, other=evidence)
    if ripe is None:
        return made
    matured = ripe.now
    return msgspec.structs.replace(made, late=True, matured_other=matured.evidence, matured_units=matured.arms)


def sample(made: Rail, seen: Tallied[Events] | Tallied[Difference | Alone], cases: float | None) -> Rail:
    """The rail, with how much one of the units ``seen`` of the candidate stands for, where they are a sample."""
    if cases is None:
        return made
    stands = seen.stands / seen.mine if seen.mine else 1.0
    return msgspec.structs.replace(made, sampled=True, weight=round(stands or 1.0, 6), cases=round(cases, 6))


def pairs(
    name: str, plan: Plan, table: pl.DataFrame, theirs: pl.Series, ours: pl.Series, known: str = "time_us"
) -> Guardrail:
    """Units with a case in which one alone failed: the shadow with probability one half, if both fail as often.

    ``known`` is the column that says since when that is known.
    """
    alone = table.select("stream", "sequence", "key", known_us=known, mine=theirs, rho=pl.lit(0.5)).filter(
        theirs ^ ours
    )
    return guard_of(name, plan, alone)
