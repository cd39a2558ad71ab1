"""What the units of a rollout did, kept up to date: each look costs as much as there is new.

Everything that a rollout counts (units of an arm, those with an event, requests, the sum of a split) is a sum over units, and
what a unit adds to it depends on its own cases alone. So of the units that something new is known of, what they added is
taken out and what they add now is put in. With the cases of all units as new this is the reading from the beginning: there
is no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from andon.deploy.rollout_record import Plan, Rail
from andon.measure.event import Event
from andon.measure.figure import Figure
from andon.monitor.cases import Look, answers_of_a_unit, chance, counts, partly, unseen
from andon.monitor.firsts import Firsts
from andon.monitor.rails import event_rail, events, sample, value_rail, values
from andon.store.runs import Runs

__all__ = ["Units", "kind_of"]

_PLACE = ("stream", "sequence")
_MINE = pl.col("mine")
_ARMS = (_MINE, ~_MINE)
_Flags = dict[str, pl.Expr]


def kind_of(look: Look, *, alone: bool) -> str:
    """Whether a look compares events (``bad``) or takes what each case gave (``value``)."""
    return "bad" if isinstance(look, Event) and not alone else "value"


@dataclass(frozen=True, slots=True)
class _List:
    """Which cases a list of units takes, since when each is known, what it gave and the chance it had to be seen."""

    which: pl.Expr
    known: pl.Expr
    value: pl.Expr
    odds: pl.Expr

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """These cases of some rows."""
        named = {"known_us": self.known, "value": self.value, "chance": self.odds}
        return rows.filter(self.which).select("key", *_PLACE, "mine", "rho", **named)


class Units:
    """The units of one rollout, whose guardrails are ``looks``; ``alone``: held against goals.

    ``shares`` maps each route to the part of its automatic answers that people look at; it may grow.
    """

    def __init__(self, plan: Plan, looks: Mapping[str, Look], shares: Mapping[int, float], *, alone: bool) -> None:
        self._plan, self._looks, self._shares = plan, looks, shares
        self._kinds = {name: kind_of(look, alone=alone) for name, look in looks.items()}
        self._late = [name for name, look in looks.items() if look.late]
        # That nobody complained yet says nothing while they may.
        self._silent = {name for name, look in looks.items() if isinstance(look, Event) and look.kind}
        self._rows = Runs("key", _PLACE)
        self._waiting: pl.DataFrame | None = None
        self._limit = 0
        self._begin(dict.fromkeys(self._late, False))

    def _begin(self, sampled: dict[str, bool]) -> None:
        self._sampled = sampled
        self._sums: Counter[str] = Counter()
        self.places: Counter[int] = Counter()
        """How many units came first in each place: twice the route's number, and one more for the candidate's arm."""
        self._lists = {name: self._list(name) for name in self._wanted(0)}

    def _list(self, name: str) -> Firsts[Any]:
        rail = name.partition(" ")[2]
        if self._kinds[rail] == "bad":
            return events(rail, self._plan)
        return values(rail, self._plan, self._looks[rail])

    @property
    def height(self) -> int:
        """How many rows are kept."""
        return self._rows.height

    def take(self, new: pl.DataFrame, known: pl.DataFrame, limit_us: int) -> None:
        """Decisions that are ``new``, and what is ``known`` now of some of all that were made; labels of cases until ``limit_us``
        had time to come.

        ``new`` has ``andon.monitor.cases.shape`` and the columns of early looks; ``known``, with ``key`` and the place in the
        log, the columns of late ones for decided cases.
        """
        said = [name for name in known.columns if name not in ("key", *_PLACE)]
        fresh = new.join(known.drop("key"), on=list(_PLACE), how="left", maintain_order="left") if said else new
        self._rows.add(fresh.clear())
        before = self._rows.find(pl.concat([new["key"], known["key"], self._ripened(new, limit_us)]))
        changed = before.drop(said).join(known.drop("key"), on=list(_PLACE), how="inner").select(before.columns)
        after = pl.concat([before.join(changed, on=list(_PLACE), how="anti"), changed, fresh])
        self._rows.add(pl.concat([changed, fresh]))
        self._count(before, after, limit_us)

    def _ripened(self, new: pl.DataFrame, limit_us: int) -> pl.Series:
        """Units with a case that has become old enough since the last look."""
        cases = new.select("time_us", "key").clear() if self._waiting is None else self._waiting
        young = pl.col("time_us") > limit_us
        if self._late:
            self._waiting = pl.concat([cases.filter(young), new.select("time_us", "key").filter(young)])
        return cases.filter(~young)["key"]

    def _count(self, before: pl.DataFrame, after: pl.DataFrame, limit_us: int) -> None:
        old_us, self._limit = self._limit, limit_us
        sampled = self._samples(before, after)
        if sampled != self._sampled or limit_us < old_us:
            doubts = {name: n for name, n in self._sums.items() if name.startswith("? ")}
            self._begin(sampled)
            self._sums.update(doubts)
            before, after = after.clear(), self._rows.all()
            if self._late:
                self._waiting = after.select("time_us", "key").filter(pl.col("time_us") > limit_us)
        for rows, at, sign in ((before, old_us, -1), (after, limit_us, 1)):
            sums, places = self._sum(rows, at)
            for name, n in sums.items():
                self._sums[name] += sign * n
            for place, n in places.items():
                self.places[place] += sign * n
        then, now = self._wanted(old_us), self._wanted(limit_us)
        for name, one in self._lists.items():
            one.swap(then[name].of(before), now[name].of(after))

    def _samples(self, before: pl.DataFrame, after: pl.DataFrame) -> dict[str, bool]:
        """For each late look whether what is known is a sample (``andon.monitor.cases.counted``)."""
        flags = {f"? unseen {name}": unseen(name).sum() for name in self._late}
        flags |= {f"? partly {name}": partly(name, self._kinds[name]).sum() for name in self._late}
        for rows, sign in ((before, -1), (after, 1)):
            for name, n in rows.select(**flags).row(0, named=True).items() if flags else ():
                self._sums[name] += sign * n
        sums = self._sums
        return {name: sums[f"? unseen {name}"] > 0 and sums[f"? partly {name}"] > 0 for name in self._late}

    # ------------------------------------------------------------------------------------------------------- what is summed

    def _sum(self, rows: pl.DataFrame, limit_us: int) -> tuple[dict[str, int], dict[int, int]]:
        """What these units add: units and cases for each flag, and units by the place in which they came first."""
        flags = self._flags(limit_us)
        asked = {f"cases {name}": one.sum() for name, one in flags.items()}
        place = (pl.col("epoch") * 2 + _MINE.cast(pl.Int64)).min().alias(" place")
        units = rows.group_by("key").agg(place, **{name: one.any() for name, one in flags.items()})
        found = units.select(pl.exclude("key", " place").sum()).row(0, named=True)
        found |= rows.select(**asked).row(0, named=True)
        return found, dict(units.group_by(" place").len().iter_rows())

    def _flags(self, limit_us: int) -> _Flags:
        """What is counted of cases, and of units with such a case, by its name and arm (0: the candidate's)."""
        ripe = pl.col("time_us") <= limit_us
        found: _Flags = {"all": pl.lit(True)}
        for name, kind in self._kinds.items():
            went, bad = self._counts(name, ripe), pl.col(f"bad:{name}")
            found[f"known {name}"] = went
            found |= {f"bad {name}": went & bad} if kind == "bad" else {}
            if name in self._late:
                found |= {f"ripe {name}": went & ripe, f"unseen {name}": unseen(name)}
        return {f"{name}:{arm}": one & mine for name, one in found.items() for arm, mine in enumerate(_ARMS)}

    def _counts(self, name: str, ripe: pl.Expr) -> pl.Expr:
        """Whether a case counts; ``ripe`` are those of which what is late had time to come."""
        kind = self._kinds[name]
        value = pl.col(f"{kind}:{name}")
        if name not in self._late:
            return value.is_not_null()
        went = counts(name, kind, self._shares, sampled=self._sampled[name])
        return went & (ripe | value.cast(pl.Boolean)) if name in self._silent else went

    def _wanted(self, limit_us: int) -> dict[str, _List]:
        """The lists of units, each with the cases that it takes."""
        return {f"{part} {name}": one for name in self._kinds for part, one in self._parts(name, limit_us)}

    def _parts(self, name: str, limit_us: int) -> Iterator[tuple[str, _List]]:
        old = pl.col("time_us") <= limit_us
        kind, went = self._kinds[name], self._counts(name, old)
        value = pl.col(f"{kind}:{name}")
        which = went & value if kind == "bad" else went
        if name not in self._late:
            yield "known", _List(which, pl.col("time_us"), value, pl.lit(1.0))
            return
        ripe, sampled = which & old, self._sampled[name]
        odds, known = chance(name, self._shares, sampled=sampled), pl.col(f"known:{name}")
        if kind == "value" and (sampled or name in self._plan.limits):
            # By when it was decided each unit's first case is its first: wrong answers may be known sooner than right ones,
            # people's own sooner than those that they look at again, and against a goal no other arm shares the bias.
            yield "ripe", _List(ripe, pl.col("time_us"), value, odds)
            if not sampled:
                # What has come and does not count, or had its time and did not come, gives no hope any more.
                may = value.is_not_null() | (~old & pl.col(f"open:{name}").fill_null(True))
                hoped = value.fill_null(self._best(name))
                yield "hoped", _List(_MINE & may, pl.col("time_us"), hoped, pl.lit(1.0))
            return
        yield "known", _List(which, known, value, odds)
        yield "ripe", _List(ripe, known, value, odds)

    def _best(self, name: str) -> float:
        """The value that speaks most for a release."""
        look = self._looks[name]
        return look.high if isinstance(look, Figure) and look.worse == "lower" else getattr(look, "low", 0.0)

    # ------------------------------------------------------------------------------------------------------- what is said

    def arms(self, what: str = "all") -> tuple[int, int]:
        """Units of (candidate, live): all of them, or ``known`` or ``ripe`` and a guardrail's name."""
        return self._sums[f"{what}:0"], self._sums[f"{what}:1"]

    def rail(self, name: str) -> Rail:
        """A guardrail as it stands."""
        ripe = self._lists.get(f"ripe {name}")
        seen = self._lists.get(f"known {name}", ripe)
        assert seen is not None
        if self._kinds[name] == "value":
            made = value_rail(name, self._plan, seen, ripe, self._lists.get(f"hoped {name}"))
        else:
            bad, asked = (self.arms(f"cases {what} {name}") for what in ("bad", "known"))
            requests = (bad[0], asked[0]), (bad[1], asked[1])
            grown = None if ripe is None else (ripe, self.arms(f"ripe {name}"))
            made = event_rail(name, seen, self.arms(f"known {name}"), requests, grown)
        return sample(made, seen.now, self._cases(name))

    def _cases(self, name: str) -> float | None:
        """In a sample, how many automatic answers a unit of the candidate has."""
        if not self._sampled.get(name):
            return None
        return answers_of_a_unit(self._sums[f"cases unseen {name}:0"], self._sums[f"unseen {name}:0"])
