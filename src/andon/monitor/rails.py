"""Guardrails of a rollout from the cases of the log: each unit counts once, in the order in which it became known how it went.

Events of two arms are counted (``judge_events``); means, and a release that is held against its goals alone, take each
unit's first case with what it gave (``judge_values``). Evidence is looked at after every unit, whenever one happens to look.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import polars as pl

from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import Plan, Rail
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.detect import walk
from andon.measure.evidence import Counts
from andon.measure.figure import Figure
from andon.measure.guardrail import Guardrail
from andon.monitor.cases import Look

__all__ = ["early_rail", "firsts", "judge_events", "judge_values", "late_rail", "pairs", "value_rail"]

_ORDER = ("known_us", "stream", "sequence")


def firsts(cases: pl.DataFrame) -> pl.DataFrame:
    """Each unit's first case, in the order in which they became known."""
    return cases.sort(_ORDER).unique("key", keep="first", maintain_order=True)


def judge_events(name: str, plan: Plan, events: pl.DataFrame) -> Guardrail:
    """The guardrail after these events: each unit's first (by ``known_us``) counts, with its ``rho`` and arm ``mine``."""
    first = firsts(events)
    made = Guardrail.begin(name, plan.margin)
    if not first.height:
        return made
    counts = first.group_by("rho").agg(mine=pl.col("mine").sum(), n=pl.len()).sort("rho")
    for rho, mine, n in counts.iter_rows():
        made = made.add(int(mine), int(n - mine), rho)
    arms, rhos = first["mine"].to_numpy()[None, :], first["rho"].to_numpy()[None, :]
    return msgspec.structs.replace(made, harm=_peaked(made.harm, arms, rhos), safe=_peaked(made.safe, arms, rhos))


def _peaked(test: Counts, mine: np.ndarray, rho: np.ndarray) -> Counts:
    """The same with the largest evidence that there was after any event."""
    return msgspec.structs.replace(test, peak=max(0.0, float(walk(test, mine, rho).max())))


def judge_values(plan: Plan, name: str, look: Look, first: pl.DataFrame) -> Difference | Alone:
    """The evidence of units with their first case (``mine``, ``rho``, ``value``): against a goal, or the other arm's mean."""
    worse: Literal["higher", "lower"] = look.worse if isinstance(look, Figure) else "higher"
    low, high = (look.low, look.high) if isinstance(look, Figure) else (0.0, 1.0)
    alpha = min(level_of(plan) + plan.beta, 0.5)
    if name in plan.limits:
        own = first.filter("mine")["value"].to_numpy()
        return Alone.begin(plan.limits[name], low, high, worse=worse, alpha=alpha).many(own)
    begun = Difference.begin(low, high, plan.margins[name], worse=worse, alpha=alpha)
    return begun.many(*(first[column].to_numpy() for column in ("mine", "rho", "value")))


def value_rail(plan: Plan, name: str, look: Look, known: pl.DataFrame, ripe: pl.DataFrame | None = None) -> Rail:
    """A guardrail on values; ``ripe`` are those cases of a late one whose labels had time to come."""
    made = Rail(name, Guardrail.begin(name, plan.margin), _arms(known), other=judge_values(plan, name, look, known))
    if ripe is None:
        return made
    matured = judge_values(plan, name, look, ripe)
    return msgspec.structs.replace(made, late=True, matured_other=matured, matured_units=_arms(ripe))


def _arms(first: pl.DataFrame) -> tuple[int, int]:
    mine = int(first["mine"].sum())
    return mine, first.height - mine


def early_rail(name: str, plan: Plan, bad: pl.DataFrame, units: tuple[int, int], asked: tuple[int, int]) -> Rail:
    """A guardrail on events that are known at once; ``asked`` are the requests of both arms that count."""
    return Rail(name, judge_events(name, plan, bad), units, requests=_requests(bad, asked))


def late_rail(name: str, plan: Plan, look: Look, known: pl.DataFrame, cases: float | None, as_of_us: int) -> Rail:
    """A guardrail that waits for labels, people or feedback, and what of it had time to come.

    ``known`` and ``cases`` are what ``andon.monitor.cases.counted`` gives.
    """
    ripe = known.filter(pl.col("time_us") <= as_of_us - plan.horizon_us)
    if "value" in known.columns:
        if cases is not None:
            # People's own answers are known before those that they look at again: by when they were decided both come alike.
            known = ripe = ripe.with_columns(known_us="time_us")
        made = value_rail(plan, name, look, firsts(known), firsts(ripe))
        return _sample(made, firsts(known), cases)
    made = _late_events(name, plan, known, ripe)
    return _sample(made, firsts(known.filter("bad")), cases)


def _sample(made: Rail, seen: pl.DataFrame, cases: float | None) -> Rail:
    """The rail, with how much one of the units it has ``seen`` of the candidate stands for, where they are a sample."""
    if cases is None:
        return made
    stands = seen.filter("mine").select((1 / pl.col("chance")).mean()).item()
    return msgspec.structs.replace(made, sampled=True, weight=round(stands or 1.0, 6), cases=round(cases, 6))


def _late_events(name: str, plan: Plan, known: pl.DataFrame, ripe: pl.DataFrame) -> Rail:
    guards = [judge_events(name, plan, part.filter("bad")) for part in (known, ripe)]
    counted = [
        (int(part.filter("mine")["key"].n_unique()), int(part.filter(~pl.col("mine"))["key"].n_unique()))
        for part in (known, ripe)
    ]
    asked = int(known["mine"].sum())
    requests = _requests(known.filter("bad"), (asked, known.height - asked))
    return Rail(name, guards[0], counted[0], True, guards[1], counted[1], requests=requests)


def _requests(bad: pl.DataFrame, asked: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Requests (with the event, in all) of the candidate and of the live version."""
    mine = int(bad["mine"].sum())
    return (mine, asked[0]), (bad.height - mine, asked[1])


def pairs(name: str, plan: Plan, table: pl.DataFrame, theirs: pl.Series, ours: pl.Series) -> Guardrail:
    """Units with a case in which one alone failed: the shadow with probability one half, if both fail as often."""
    alone = table.select("stream", "sequence", "key", known_us="time_us", mine=theirs, rho=pl.lit(0.5)).filter(
        theirs ^ ours
    )
    return judge_events(name, plan, alone)
